/* server/syscallfilter.h: which calls to the kernel a process may still make (seccomp, by libseccomp).
 * Three lists, from wide to narrow; what a list does not name ends the process (SIGSYS), except for calls
 * that libraries try and do well without (they get EACCES) and calls newer than the lists (ENOSYS).
 *
 * Filters stack: a call passes when every filter lets it pass. Programs started inherit them. */
#ifndef SERVER_SYSCALLFILTER_H
#define SERVER_SYSCALLFILTER_H

#include "base/err.h"

enum syscallfilter_list {
    /* A server with its sockets bound: accepts and answers, computes, uses files (which ones:
     * landlock.h). No new socket, no way to give an old one another peer, no new process, no new code. */
    SYSCALLFILTER_SERVER = 1,
    /* Starts programs and talks with them through pipes; no sockets. */
    SYSCALLFILTER_STARTER = 2,
    /* A program that turns stdin into stdout: files may be read, memory had; it may become another
     * program once more, for that is how it begins. No sockets, no signals, no processes, no threads. */
    SYSCALLFILTER_CONVERTER = 4,
};

/* From here on for every thread of the process. Needs no_new_privs. ERR_UNSUPPORTED where the kernel has
 * no seccomp filters or a surrounding sandbox forbids them; then nothing has changed. */
ERR_MUST_USE err syscallfilter_load(enum syscallfilter_list list, struct errinfo *info);

#endif

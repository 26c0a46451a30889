/* server/sandbox_probe.h: the sandbox tried out: children of this process enter it, and each then really
 * tries one of the things that must not work. Nothing is asked of another machine unless the sandbox has
 * a hole; addresses are those kept for documentation (RFC 5737, RFC 3849). Thread rule: a process of one
 * thread, which forks. */
#ifndef SERVER_SANDBOX_PROBE_H
#define SERVER_SANDBOX_PROBE_H

#include "server/sandbox.h"

enum { SANDBOX_PROBE_TRIES = 20, SANDBOX_PROBE_DETAIL = 96, SANDBOX_PROBE_PATIENCE_S = 10 };

enum sandbox_probe_outcome {
    SANDBOX_PROBE_WORKED,
    SANDBOX_PROBE_REFUSED,
    SANDBOX_PROBE_ENDED, /* the kernel ended the process that tried */
    SANDBOX_PROBE_STUCK, /* neither within SANDBOX_PROBE_PATIENCE_S seconds, or the child died of
                            something else */
};

struct sandbox_probe_try {
    const char *what; /* static */
    enum sandbox_probe_outcome outcome;
    char detail[SANDBOX_PROBE_DETAIL]; /* the system's words for a refusal, or "" */
    bool held;                         /* it went as it has to */
};

struct sandbox_probe {
    struct sandbox_report report;
    struct sandbox_probe_try tries[SANDBOX_PROBE_TRIES];
    size_t n;
    bool held; /* all of them */
};

/* `landlock_limit` and `files_may_be_free` as in sandbox_options. sandbox_enter's errors when the sandbox
 * itself is not to be had; ERR_IO when a folder (in $TMPDIR, else /tmp), a socket or a process for trying
 * is not. */
ERR_MUST_USE err sandbox_probe(int landlock_limit, bool files_may_be_free, struct sandbox_probe *out,
                               struct errinfo *info);

#endif

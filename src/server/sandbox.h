/* server/sandbox.h: what `fathom serve` locks itself into once its sockets are bound, its model is mapped
 * and its database is open. From then on no thread of the process, new or old,
 *   - opens a connection, to this machine or another one: connections come, none goes out;
 *   - starts a program, or runs code that was not loaded before;
 *   - touches files outside of its data folder, except to read `read` and what the system tells of itself
 *     (/proc, /sys/devices/system, /sys/fs/cgroup, the time zones, /dev/null, /dev/urandom);
 *   - has a capability, even if root started it: files of others in the data folder are no longer its;
 *   - is traced by another process of the same user, or leaves a core file; new files are the owner's
 *     alone.
 * Two locks of the kernel: seccomp (syscallfilter.h) for what may be done, Landlock (landlock.h) for which
 * files, and TCP a second time. What a library tries without need gets EACCES, what no library of ours
 * does ends the process (SIGSYS; the kernel's log has the number of the call).
 *
 * What the caller sees to: SQLite keeps temporary tables in memory (PRAGMA temp_store=MEMORY), for /tmp
 * is gone, too; names are looked up, libraries loaded and processes started before. Devices (GPUs) do not
 * work behind it. There is no way out of it but the end of the process.
 * Thread rule: once, from any thread. */
#ifndef SERVER_SANDBOX_H
#define SERVER_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { SANDBOX_READ_MAX = 32 };

struct sandbox_options {
    const char *data;        /* the folder that may be changed, with all beneath it; NULL: none */
    const char *const *read; /* [n_read] files or folders that may be read; they must be there */
    size_t n_read;           /* at most SANDBOX_READ_MAX */
    /* A kernel without Landlock is an error unless this is set. Then no connection goes out all the same,
     * but every file the user has may be read and changed: say so to whoever starts the server. */
    bool files_may_be_free;
    /* Tests: use no more of Landlock than ABI N - 1 has (1: as if there were none). 0: what the kernel
     * has. */
    int landlock_limit;
};

enum sandbox_landlock {
    SANDBOX_LANDLOCK_NONE,
    SANDBOX_LANDLOCK_PARTIAL, /* files; TCP is refused by seccomp alone */
    SANDBOX_LANDLOCK_FULL,    /* files and TCP: ABI 4 */
};

struct sandbox_report {
    bool seccomp; /* on every thread */
    enum sandbox_landlock landlock;
    int landlock_abi; /* 0: none */
};

/* All or an error that names what could not be had: ERR_UNSUPPORTED (the kernel), ERR_NOTFOUND or ERR_IO
 * (a path, a thread), ERR_ARGUMENT (a descriptor is open that could send to anybody: it is named). After
 * an error the process is in between and has to end. *out on success. */
ERR_MUST_USE err sandbox_enter(const struct sandbox_options *options, struct sandbox_report *out,
                               struct errinfo *info);

/* One line for the person who starts the server: what is held, or "OFF". */
enum { SANDBOX_TEXT = 192 };
const char *sandbox_text(const struct sandbox_report *report, char text[SANDBOX_TEXT]);

#endif

/* server/landlock.h: the kernel's Landlock: which files a process may touch, whatever it calls; from its
 * ABI 4 on (Linux 6.7) which TCP ports, too. What is allowed can only shrink, and programs it starts
 * inherit it. Source: the kernel's userspace-api/landlock.rst; the constants stand here because headers
 * are often older than kernels. */
#ifndef SERVER_LANDLOCK_H
#define SERVER_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* What may be done with a file, or with everything beneath a folder. */
enum landlock_access {
    LANDLOCK_READ,
    LANDLOCK_EXECUTE, /* read, and begin as a program */
    LANDLOCK_WRITE, /* read, change, make and remove; neither execute nor make devices, links, sockets */
};

struct landlock_path {
    const char *path;
    enum landlock_access access;
    bool optional; /* it may be missing */
};

enum { LANDLOCK_ABI_TCP = 4 };

/* The kernel's ABI; 0: it has no Landlock, or it is switched off. */
int landlock_abi(void);

/* From here on no thread of the process reaches another file than `paths` say, and with ABI 4 none
 * connects by TCP or binds a port (ports bound before go on). What is open stays open. Needs no_new_privs
 * in the calling thread; sets it in the others. `abi`: what to make use of, at least 1, at most
 * landlock_abi(). ERR_UNSUPPORTED for abi 0; ERR_NOTFOUND, ERR_IO that name the path; everythread_call's
 * errors. After an error some threads may be restricted. */
ERR_MUST_USE err landlock_restrict(int abi, const struct landlock_path *paths, size_t n,
                                   struct errinfo *info);

#endif

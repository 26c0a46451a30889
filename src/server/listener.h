/* server/listener.h: sockets that a server listens on, made before it gives up the right to make any. */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include <stdbool.h>

#include "base/err.h"

/* address in numbers: "127.0.0.1", "::1", "0.0.0.0" …; port 0: any. *chosen: which one it is. The caller
 * closes *out. ERR_ARGUMENT, ERR_IO with the reason. */
ERR_MUST_USE err listener_tcp(const char *address, unsigned port, int *out, unsigned *chosen,
                              struct errinfo *info);
/* A Unix socket for its owner alone (mode 0600). One that was left behind by a program that is no more is
 * replaced; what is no socket, or is in use, is not. */
ERR_MUST_USE err listener_unix(const char *path, int *out, struct errinfo *info);

#endif

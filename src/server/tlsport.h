/* server/tlsport.h: who speaks HTTP in the clear to a port that speaks TLS is told so, in the clear, and
 * let go; the request is not answered. */
#ifndef SERVER_TLSPORT_H
#define SERVER_TLSPORT_H

#include <stdbool.h>

struct tlsport { /* of one connection; in the caller's memory for as long as that is open */
    int fd;
    bool heard; /* its first byte */
};

/* Listens in to what comes, before the handshake begins. `session` is a gnutls_session_t, whose transport
 * is `fd`. */
void tlsport_listen(struct tlsport *t, void *session, int fd);

#endif

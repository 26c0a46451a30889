/* server/tlsport.c: see tlsport.h. */
#include "server/tlsport.h"

#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char tlsport_body[] =
    "{\"error\":{\"message\":\"this port speaks TLS: its address begins with https://\","
    "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"tls_needed\"}}";

/* What is left unread would reset the connection, and the answer with it. */
static void tlsport_answer(int fd)
{
    enum { TLSPORT_MOST = 64 };
    char reply[512], rest[1024];
    int n = snprintf(reply, sizeof reply,
                     "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     strlen(tlsport_body), tlsport_body);
    ssize_t put = send(fd, reply, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)put; /* who does not take it has gone */
    shutdown(fd, SHUT_WR);
    for (n = 0; n < TLSPORT_MOST && recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0; n++) {
    }
}

/* A method begins with a capital; no record of TLS does. */
static ssize_t tlsport_pull(gnutls_transport_ptr_t user, void *data, size_t n)
{
    struct tlsport *t = user;
    const char *first = data;
    ssize_t got = recv(t->fd, data, n, 0);
    if (got > 0 && !t->heard) {
        t->heard = true;
        if (*first >= 'A' && *first <= 'Z') {
            tlsport_answer(t->fd);
            return 0;
        }
    }
    return got;
}

void tlsport_listen(struct tlsport *t, void *session, int fd)
{
    *t = (struct tlsport){.fd = fd};
    gnutls_transport_set_ptr2(session, t, gnutls_transport_get_ptr(session));
    gnutls_transport_set_pull_function(session, tlsport_pull);
}

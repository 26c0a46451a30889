/* server/httpserver.h: HTTP/1.1 over libmicrohttpd: connections, bodies, limits and deadlines.
 *
 * A request is handed on when it is whole. Refused before: bodies over their cap (413), or when those of all
 * requests together are over theirs (503, Retry-After), a head that is too long or reads in two ways
 * (431, 400, 417: requesthead.h), what is no HTTP (400). Who leaves too many bytes of replies unread gets no
 * others (429: replyroom.h). When seven eighths of the connections are taken,
 * who comes displaces who has said nothing for longest (clientlist.h). After a request in chunks its
 * connection ends. A connection that does not finish its headers in HTTPSERVER_HEADERS_S, its body in
 * HTTPSERVER_BODY_S, or does not read its reply for HTTPSERVER_IDLE_S is closed; so is one whose peer has
 * gone, and its source with it: when writing to it fails, if only what keeps it waiting (a peer that has
 * closed its own direction may well read on).
 *
 * Waiting costs no processor time but a look every quarter of a second while somebody is connected. */
#ifndef SERVER_HTTPSERVER_H
#define SERVER_HTTPSERVER_H

#include "server/exchange.h"

enum {
    HTTPSERVER_BODY_MAX = 16 << 20,
    HTTPSERVER_BODIES_MAX = 256 << 20, /* of all requests under way */
    HTTPSERVER_REPLIES_EACH = 64 << 20, /* that wait to be read, of one owner */
    HTTPSERVER_REPLIES_MAX = 256 << 20, /* likewise, of all */
    HTTPSERVER_CONNECTIONS = 4096,
    HTTPSERVER_HEADERS_S = 20,
    HTTPSERVER_BODY_S = 120,
    HTTPSERVER_IDLE_S = 60,
    HTTPSERVER_THREADS = 2,
};

struct httpserver;

struct httpserver_deadlines { /* seconds; 0: those above */
    double headers, body, keepalive;
    unsigned idle;
};

struct httpserver_options {
    int listener;         /* a bound, listening socket; taken */
    const char *tls_cert; /* PEM texts; NULL: no TLS */
    const char *tls_key;
    size_t body_max;            /* of most requests (exchange_allow_body); 0: HTTPSERVER_BODY_MAX */
    size_t bodies_max;          /* 0: HTTPSERVER_BODIES_MAX */
    size_t replies_each;        /* 0: HTTPSERVER_REPLIES_EACH */
    size_t replies_max;         /* 0: HTTPSERVER_REPLIES_MAX */
    unsigned connections;       /* 0: HTTPSERVER_CONNECTIONS */
    unsigned per_address;       /* connections from one address; 0: any number */
    struct httpserver_deadlines deadlines;
    /* Called for every request, first when its headers are there (`whole` false: a reply given then refuses
     * the body), then when it is whole. Must give a reply by then. */
    void (*handle)(void *user, struct exchange *x, bool whole);
    void *user;
};

/* ERR_ARGUMENT for certificates that are none, ERR_IO, ERR_NOMEM. The listener is closed on errors too. */
ERR_MUST_USE err httpserver_start(const struct httpserver_options *options, struct httpserver **out,
                                  struct errinfo *info);
/* Closes all sources, then all connections. NULL is fine. */
void httpserver_stop(struct httpserver *s);

size_t httpserver_connections(const struct httpserver *s); /* open now */

#endif

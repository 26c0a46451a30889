/* server/exchange_data.h: what exchange.c shares with the parts of the HTTP server about an exchange. */
#ifndef SERVER_EXCHANGE_DATA_H
#define SERVER_EXCHANGE_DATA_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdint.h>

#include "server/exchange.h"
#include "server/worker.h"

struct httpserver;
struct replyroom;
struct replystream_list;

struct exchange_field {
    struct exchange_field *next;
    char *name, *value; /* name: owned, with the value behind it */
};

struct exchange {
    struct httpserver *server;
    struct MHD_Connection *connection;
    const char *method;     /* NULL: its headers have not come */
    const char *target_end; /* of what was asked for, where it came; NULL: it has control characters */
    bool odd;               /* its path is decoded to another one than it seems to be */
    char *path;
    struct strbuf body;
    size_t counted;  /* of its bytes, among all bodies */
    size_t body_max; /* 0: the server's */
    struct caller *caller;
    struct worker_job job;
    bool deferred; /* to a worker */

    /* The reply. */
    unsigned status;
    struct exchange_field *fields;
    struct MHD_Response *response; /* NULL: from the source */
    bool replied, broken;          /* broken: a header could not be kept */
    struct exchange_source source;
    bool has_source, closed;
    struct strbuf out; /* what the source gave and nobody took yet, from `taken` on */
    size_t taken;
    struct replyroom *room; /* the server's */
    size_t unread;          /* of the reply's bytes, as `room` counts them */
    struct exchange *unread_next, **unread_link; /* where that is not 0 */
    bool ended, cut;       /* cut: before its source said all */
    bool streaming;        /* its head has gone out */

    /* Waking; under `lock`. */
    pthread_mutex_t lock;
    bool woken, suspended;
    double gone; /* since when: its reader, or the server stops; 0: neither */
    bool silent; /* its reader says no more: it reads on, or has gone */
    bool ask;    /* which of both: by sending something */
    double last; /* when something was sent last; MHD's thread alone writes it */
    double since; /* when it came whole */
    struct replystream_list *among; /* the server's exchanges with a source; NULL: it is none of them */
    struct exchange *next, **link;
};

/* Of a request that begins to come; NULL: out of memory. Its source was closed when it is freed. */
struct exchange *exchange_new(struct httpserver *server, struct replyroom *room,
                              struct MHD_Connection *connection);
void exchange_free(struct exchange *x);
/* The headers have come; the path is copied. False: out of memory. */
bool exchange_begin(struct exchange *x, const char *method, const char *path);

#endif

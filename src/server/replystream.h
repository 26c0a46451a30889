/* server/replystream.h: replies out of sources (exchange_stream): what is made is sent; with nothing made,
 * the connection is suspended, and its source woken when something is due: a sign of life, or its end,
 * because the reader has gone or the server stops.
 *
 * Thread rule: replystream_pull and what MHD reads by, on the exchange's own thread; the rest any. */
#ifndef SERVER_REPLYSTREAM_H
#define SERVER_REPLYSTREAM_H

#include <pthread.h>

#include "server/exchange.h"

struct MHD_Response;

struct replystream_list { /* of exchanges with a source */
    pthread_mutex_t lock;
    struct exchange *first;
    double keepalive; /* seconds without a byte */
    bool stopping;
};

void replystream_list_init(struct replystream_list *l, double keepalive);
void replystream_list_deinit(struct replystream_list *l);

/* An exchange that came whole and has a source: it is looked after until replystream_forget. */
void replystream_watch(struct replystream_list *l, struct exchange *x);
void replystream_forget(struct replystream_list *l, struct exchange *x); /* closes its source */
void replystream_close_source(struct exchange *x);                       /* if it has one that is open */

/* Makes x->out hold enough to go on with, or all there is. False: there is nothing yet, and the connection
 * was suspended. */
bool replystream_pull(struct exchange *x);
/* The reply that begins with x->out; NULL: out of memory. */
struct MHD_Response *replystream_response(struct exchange *x);
/* For HEAD: a head that says no length, since nobody knows it, and nothing behind it, where libmicrohttpd would
 * put a last chunk: the connection ends there. NULL: out of memory. */
struct MHD_Response *replystream_head(void);

/* Has a reader gone, is a sign of life due? Every quarter of a second is often enough. */
void replystream_look(struct replystream_list *l);
bool replystream_any(struct replystream_list *l);
/* The sources of now, and those that still come, end at the next look. */
void replystream_stop(struct replystream_list *l);

#endif

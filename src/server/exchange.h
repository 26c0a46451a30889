/* server/exchange.h: one HTTP request, which has come whole, and its reply: what a handler sees of the web.
 *
 * A reply is given at once (exchange_reply) or comes out of a source: piece by piece as it is made, or whole
 * when it is whole. A source that has nothing yet costs no thread: whoever makes the next piece wakes the
 * exchange.
 *
 * Thread rule: handlers and sources of one exchange run one at a time, on any of the server's threads, and hold
 * one that others wait for, but for a handler's call that was deferred;
 * exchange_wake and exchange_cut may be called from any thread until the source was closed. */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

struct exchange;

/* ---- the request; all borrowed, they live as long as the exchange ---- */

const char *exchange_method(const struct exchange *x);
const char *exchange_path(const struct exchange *x);                     /* decoded, without the query */
const char *exchange_query(const struct exchange *x, const char *name);  /* decoded; NULL: absent */
const char *exchange_header(const struct exchange *x, const char *name); /* NULL: absent */
const char *exchange_cookie(const struct exchange *x, const char *name); /* NULL: absent */
/* How many headers of that name there are: two Host headers are an attack. */
size_t exchange_header_count(const struct exchange *x, const char *name);
const char *exchange_body(const struct exchange *x, size_t *len); /* NUL-terminated */
void exchange_take_body(struct exchange *x, struct strbuf *out);  /* moves it to *out, which was empty */

/* From the handler's first call: the second one comes on a thread of the pool (worker.h), where it may take its
 * time. `owner` is borrowed; a request with more than EXCHANGE_LIGHT bytes is heavy in any case. A light one
 * that turns out to be heavy is deferred once more from there, and comes again on a heavy one's turn. */
enum { EXCHANGE_LIGHT = 32 << 10 };
void exchange_defer(struct exchange *x, const char *owner, bool heavy);
bool exchange_heavy(const struct exchange *x);
/* From the handler's first call: the body may have `most` bytes, whatever the server's cap of one is. */
void exchange_allow_body(struct exchange *x, size_t most);

/* ---- the reply ---- */

/* An additional header; both are copied. Short of memory or with a line break inside, the reply becomes 500.
 * */
void exchange_add_header(struct exchange *x, const char *name, const char *value);
/* Takes the bytes of `body` (which is empty afterwards); NULL: no body. `type` is a constant. */
void exchange_reply(struct exchange *x, unsigned status, const char *type, struct strbuf *body);
/* For bytes that outlive the program's replies: embedded files. */
void exchange_reply_static(struct exchange *x, unsigned status, const char *type, const void *body, size_t len);

enum exchange_more {
    EXCHANGE_WAIT, /* nothing more now: exchange_wake will tell */
    EXCHANGE_END,
};

struct exchange_source {
    /* Appends what there is, if anything. Out of memory: EXCHANGE_END after as much as could be said. */
    enum exchange_more (*pull)(void *user, struct exchange *x, struct strbuf *out);
    /* Once, when the reply is over or its reader has gone; exchange_wake may not be called afterwards. */
    void (*close)(void *user);
    void *user;
    const char *type;      /* of the content; a constant */
    const char *keepalive; /* sent when nothing has been for EXCHANGE_KEEPALIVE_S: means nothing; a constant */
    bool whole;            /* the reply is one document */
};

/* The reply's head waits for its first bytes, of a document for the last ones, so that exchange_fail can still
 * say how it ended; but not longer than EXCHANGE_KEEPALIVE_S. */
enum { EXCHANGE_KEEPALIVE_S = 5 };

/* The source is closed by the exchange, whatever happens. */
void exchange_stream(struct exchange *x, const struct exchange_source *source);
/* From within pull: status and type of a reply that is not as expected. False: too late, it has begun. */
bool exchange_fail(struct exchange *x, unsigned status, const char *type);
void exchange_wake(struct exchange *x);
/* Ends a reply out of a source where it is, as if its reader had gone: its connection breaks. From any thread,
 * as exchange_wake. */
void exchange_cut(struct exchange *x);

/* ---- what the guard found out about who asks (server/guard.h) ---- */

struct caller;
const struct caller *exchange_caller(const struct exchange *x); /* NULL: nobody in particular */
void exchange_set_caller(struct exchange *x, struct caller *caller); /* taken: mem_free */

#endif

/* server/ratelimit.h: how much a key may ask now: requests per minute (a bucket that holds a minute's worth and
 * fills evenly), answers at a time, tokens a day. In memory: a restart forgets the minute, the day's tokens
 * are the caller's to look up (usagestore_today). Time in milliseconds since 1970; a clock that goes back fills
 * nothing.
 *
 * Thread rule: any function from any thread. */
#ifndef SERVER_RATELIMIT_H
#define SERVER_RATELIMIT_H

#include "server/keystore.h"

struct ratelimit;

ERR_MUST_USE err ratelimit_new(struct ratelimit **out, struct errinfo *info);
void ratelimit_free(struct ratelimit *r); /* NULL is fine */

/* When to try again. */
struct ratelimit_wait {
    unsigned seconds; /* Retry-After */
    bool day;         /* the day's tokens are used up; false: it asks too fast, or too much at a time */
};

/* A request of key `id` for so many answers begins: ERR_OK, and it must be ended with ratelimit_end. ERR_BUSY:
 * not now; the message says which limit, and *wait when to try again. ERR_ARGUMENT: never so many.
 * ERR_NOMEM. */
ERR_MUST_USE err ratelimit_begin(struct ratelimit *r, const char *id, const struct keystore_limits *limits,
                                 unsigned answers, uint64_t tokens_today, int64_t now,
                                 struct ratelimit_wait *wait, struct errinfo *info);
void ratelimit_end(struct ratelimit *r, const char *id, unsigned answers);

/* Seconds until the tokens of another day may be used. */
unsigned ratelimit_day_left(int64_t now);

/* The next key, from place *at on (0 at first), of which something runs; false: no more. */
bool ratelimit_running(struct ratelimit *r, size_t *at, char id[VAULT_ID + 1]);

#endif

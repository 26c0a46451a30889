/* server/replyroom.h: the bytes of replies that are made and that nobody has taken yet: of each owner, and of
 * all. Who leaves more than that unread is refused (429, Retry-After) before another reply is made; who leaves
 * hardly any (EXCHANGE_LIGHT) never is, whatever others do.
 *
 * Thread rule: any thread; those of one exchange one at a time. */
#ifndef SERVER_REPLYROOM_H
#define SERVER_REPLYROOM_H

#include <pthread.h>

#include "server/exchange.h"

struct replyroom {
    pthread_mutex_t lock;
    size_t each, all;       /* bytes; of one owner, of everybody */
    size_t kept;            /* of all replies */
    struct exchange *first; /* those that have any */
};

void replyroom_init(struct replyroom *r, size_t each, size_t all);
void replyroom_deinit(struct replyroom *r);

/* May another reply be made for the owner of `x` (exchange_defer)? False: it was given one that refuses it. */
bool replyroom_admits(struct exchange *x);
/* The reply of `x` has that many bytes now; 0: they were taken, or it is over. */
void replyroom_set(struct exchange *x, size_t bytes);

#endif

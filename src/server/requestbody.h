/* server/requestbody.h: the bodies of requests as they come, within their limits: of each, and of all
 * together. What is over them is refused and not kept.
 *
 * Thread rule: any thread; those of one exchange one at a time. */
#ifndef SERVER_REQUESTBODY_H
#define SERVER_REQUESTBODY_H

#include <pthread.h>

#include "server/exchange.h"

struct requestbody_limits {
    pthread_mutex_t lock;
    size_t each, all; /* bytes; of one where its exchange has no cap of its own (exchange_allow_body) */
    size_t kept;      /* of all requests under way */
};

void requestbody_limits_init(struct requestbody_limits *l, size_t each, size_t all);
void requestbody_limits_deinit(struct requestbody_limits *l);

/* Whether its header announces more than fits; it is refused then (413). */
bool requestbody_announces_too_much(const struct requestbody_limits *l, struct exchange *x);
/* More of it; nothing is kept of a body whose exchange has its reply. It is given one here when it does not
 * fit: 413, or 503 with Retry-After where that is all of them together. ERR_NOMEM. */
ERR_MUST_USE err requestbody_take(struct requestbody_limits *l, struct exchange *x, const char *data, size_t n);
/* It counts no longer. */
void requestbody_drop(struct requestbody_limits *l, struct exchange *x);

#endif

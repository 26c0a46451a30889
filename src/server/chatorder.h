/* server/chatorder.h: the messages of a chat of a file, in an order in which none comes before its parent.
 * Internal to chatimport. */
#ifndef SERVER_CHATORDER_H
#define SERVER_CHATORDER_H

#include "base/json.h"

struct chatorder {
    size_t *parent, *first, *next; /* [n + 1] index of a message; n: none, and the place of all first turns */
    size_t *order;                 /* [n] */
    size_t n;
};

/* By the ids of the file, {"id","parent"}: a parent that is not among the messages is none. Where the order of
 * the file serves it is kept. ERR_ARGUMENT: a message without an id, two with one, or each other's parents.
 * ERR_NOMEM. */
ERR_MUST_USE err chatorder_find(const json_t *messages, struct chatorder *out, struct errinfo *info);
void chatorder_deinit(struct chatorder *o); /* a zeroed one is fine */

#endif

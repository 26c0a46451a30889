/* server/chatowner.h: whose chats are: counted, and handed on. Errors and thread rule: chatstore.h.
 */
#ifndef SERVER_CHATOWNER_H
#define SERVER_CHATOWNER_H

#include "server/chatstore.h"

/* The owner's chats, without temporary ones. */
ERR_MUST_USE err chatowner_count(struct chatstore *s, const char *owner, size_t *n,
                                 struct errinfo *info);

/* All chats of `from` and their folders become `to`'s, at once or not at all, and so do presets
 * whose names `to` has not; *n counts the chats. Temporary ones stay. For a store that nobody uses
 * otherwise: what runs for `from` would not find its chat any more. ERR_ARGUMENT: too many presets
 * for one owner; asked again, it goes on where it stopped. */
ERR_MUST_USE err chatowner_change(struct chatstore *s, const char *from, const char *to, size_t *n,
                                  struct errinfo *info);

#endif

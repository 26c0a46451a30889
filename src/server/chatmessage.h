/* server/chatmessage.h: a message as a row, sealed with its chat's key, and as the JSON that the page gets.
 * Internal to the store of chats; everything here is called inside a transaction, the chat's key being the
 * shelf's. */
#ifndef SERVER_CHATMESSAGE_H
#define SERVER_CHATMESSAGE_H

#include "server/chatrecord.h"
#include "server/chattree.h"

/* What chatmessage_read wants to find in a row, in this order. */
#define CHATMESSAGE_COLUMNS "m.number, m.id, m.parent, m.role, m.state, m.created, m.body"

/* A new message, not stored: MESSAGE with a new id. `attachments` may be NULL. */
ERR_MUST_USE err chatmessage_new(const char *parent, bool user, const char *content, const json_t *attachments,
                                 const char *think, int64_t now, json_t **out, struct errinfo *info);

ERR_MUST_USE err chatmessage_insert(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                    const json_t *message, int64_t *number, struct errinfo *info);
/* Its state and what is sealed; the rest of a message never changes. */
ERR_MUST_USE err chatmessage_update(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                    const json_t *message, struct errinfo *info);
/* The row the statement stands on. ERR_CORRUPT: it cannot be opened; those below show what can be said of it,
 * with a content that says so. */
ERR_MUST_USE err chatmessage_read(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                  sqlite3_stmt *row, json_t **out, struct errinfo *info);
/* ERR_NOTFOUND: the chat has no such message. `number` may be NULL. */
ERR_MUST_USE err chatmessage_find(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                  const char *id, json_t **out, int64_t *number, struct errinfo *info);
/* Appends to `list` what follows message *last of the chat (0: from the first on), the oldest first, for
 * CHATRECORD_PORTION_S; *last moves on, *more: there may be others. */
ERR_MUST_USE err chatmessage_some(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                                  json_t *list, int64_t *last, bool *more, struct errinfo *info);

/* A string field of a MESSAGE; "" when it is null. */
const char *chatmessage_text(const json_t *message, const char *field);
const char *chatmessage_state_name(enum chattree_state state);
/* The state named so. ERR_ARGUMENT. */
ERR_MUST_USE err chatmessage_state(const char *name, enum chattree_state *out, struct errinfo *info);

#endif

/* server/chatrecord.h: a chat as a row, sealed, and as the JSON that the page gets. Internal to the store of
 * chats; everything here is called inside a transaction of the shelf's database. */
#ifndef SERVER_CHATRECORD_H
#define SERVER_CHATRECORD_H

#include "base/json.h"
#include "server/database.h"

/* Who has much to read lets others at the database this often. */
#define CHATRECORD_PORTION_S 0.005

/* Chats that live in one place: on the disk, or in memory alone. */
struct chatrecord_shelf {
    struct database *database;
    struct vault_key *key;  /* of the chat that was read or made last */
    struct vault_key *tags; /* of the hashes that find folders */
    bool temporary;         /* in memory: neither listed nor searched */
};

struct chatrecord {
    int64_t number, created, updated;
    int64_t days; /* forget_after_days; 0: none */
    bool pinned, temporary;
    bool damaged; /* what is sealed cannot be opened */
    char owner[VAULT_ID + 1], id[VAULT_ID + 1], leaf[VAULT_ID + 1]; /* "": none */
    json_t *head;                              /* {"title","folder","system","settings"}: what is sealed */
};

/* What chatrecord_read wants to find in a row, in this order. */
#define CHATRECORD_COLUMNS \
    "c.number, c.id, c.pinned, c.created, c.updated, c.forget_after_days, c.leaf, c.head, c.owner"

/* Chats that are still coming in (chatimport.h) are seen by nobody: reads go to the view chat_seen, and what is
 * meant for these, too, to the table chat. */

/* A new chat of that owner without a row, with a new id and a new key on the shelf. */
ERR_MUST_USE err chatrecord_new(struct chatrecord_shelf *shelf, const char *owner, int64_t now,
                                struct chatrecord *out, struct errinfo *info);
void chatrecord_deinit(struct chatrecord *r); /* a zeroed one is fine */

/* The row the statement stands on; its key is then the shelf's. ERR_CORRUPT. */
ERR_MUST_USE err chatrecord_read(struct chatrecord_shelf *shelf, sqlite3_stmt *row, struct chatrecord *out,
                                 struct errinfo *info);
/* The key of a record that was read or made before, on the shelf again. ERR_CORRUPT. */
ERR_MUST_USE err chatrecord_key(struct chatrecord_shelf *shelf, const struct chatrecord *r,
                                struct errinfo *info);
/* What can be said of such a row when it cannot be opened: its head is a title that says so. */
ERR_MUST_USE err chatrecord_damaged(const struct chatrecord_shelf *shelf, sqlite3_stmt *row,
                                    struct chatrecord *out, struct errinfo *info);
/* The number of the owner's chat, whatever state its row is in. ERR_NOTFOUND. */
ERR_MUST_USE err chatrecord_number(const struct chatrecord_shelf *shelf, const char *owner, const char *id,
                                   int64_t *number, struct errinfo *info);
/* ERR_NOTFOUND: the owner has no such chat on this shelf. */
ERR_MUST_USE err chatrecord_find(struct chatrecord_shelf *shelf, const char *owner, const char *id,
                                 struct chatrecord *out, struct errinfo *info);

/* The record's row: a new one (with its key; gives the record its number), or the one it has. */
ERR_MUST_USE err chatrecord_insert(struct chatrecord_shelf *shelf, struct chatrecord *r, struct errinfo *info);
ERR_MUST_USE err chatrecord_update(struct chatrecord_shelf *shelf, const struct chatrecord *r,
                                   struct errinfo *info);
/* Of another owner from now on, with the key of the record that was read last: its own. One that is damaged is
 * so for the new owner, too: who writes in the file cannot hand chats on. */
ERR_MUST_USE err chatrecord_give(struct chatrecord_shelf *shelf, struct chatrecord *r, const char *to,
                                 struct errinfo *info);
/* Only what every message changes: updated and leaf. */
ERR_MUST_USE err chatrecord_touch(struct chatrecord_shelf *shelf, const struct chatrecord *r,
                                  struct errinfo *info);
/* The key, then as many messages as have room, one at least, and the row, if there is room left behind the
 * last one: *whole. *room (DATABASE_DELETED in a new transaction) falls by what went; the rest of a large chat,
 * which nobody can read any more, goes in transactions that follow. */
ERR_MUST_USE err chatrecord_delete(struct chatrecord_shelf *shelf, int64_t number, size_t *room, bool *whole,
                                   struct errinfo *info);

/* Whether to read or delete its messages takes its time. */
ERR_MUST_USE err chatrecord_large(const struct chatrecord_shelf *shelf, int64_t number, bool *large,
                                  struct errinfo *info);

/* CHAT. */
ERR_MUST_USE err chatrecord_json(const struct chatrecord *r, json_t **out, struct errinfo *info);
/* ROW: without what may be long. */
ERR_MUST_USE err chatrecord_row(const struct chatrecord *r, json_t **out, struct errinfo *info);
const char *chatrecord_title(const struct chatrecord *r);

/* The tag of an owner's folder. */
ERR_MUST_USE err chatrecord_folder(const struct chatrecord_shelf *shelf, const char *owner, const char *folder,
                                   unsigned char tag[VAULT_TAG], struct errinfo *info);

/* JSON as sealed bytes (mem_free) and back. */
ERR_MUST_USE err chatrecord_seal(const struct vault_key *k, const char *ad, const json_t *value,
                                 unsigned char **sealed, size_t *n, struct errinfo *info);
ERR_MUST_USE err chatrecord_unseal(const struct vault_key *k, const char *ad, const void *sealed, size_t n,
                                   json_t **value, struct errinfo *info);
err chatrecord_nomem(struct errinfo *info); /* ERR_NOMEM, with the message of all of these */

#endif

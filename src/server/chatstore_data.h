/* server/chatstore_data.h: what a store of chats is made of. Internal to it. */
#ifndef SERVER_CHATSTORE_DATA_H
#define SERVER_CHATSTORE_DATA_H

#include "server/chatmessage.h"
#include "server/chatrecord.h"
#include "server/chatstore.h"

struct chatsearch;

enum { CHATSTORE_DISK, CHATSTORE_MEMORY, CHATSTORE_SHELVES };

struct chatstore {
    struct chatrecord_shelf shelves[CHATSTORE_SHELVES];
    struct database *held; /* the memory's, owned */
    struct chatsearch *search;
    int claim; /* on the disk's folder */
    int64_t imports, cut_off; /* the latest one's number, and that of the latest cut off by the program's end */
};

/* Where the page before ended: what comes after it is less, field by field. */
struct chatstore_place {
    int64_t pinned, updated, number;
};

/* Begins a transaction where the owner's chat `id` is, and reads it. ERR_NOTFOUND, and on any other error, too,
 * there is nothing to end. *shelf and *chat (chatrecord_deinit) are the caller's until database_end. */
ERR_MUST_USE err chatstore_enter(struct chatstore *s, const char *owner, const char *id,
                                 struct chatrecord_shelf **shelf, struct chatrecord *chat,
                                 struct errinfo *info);
/* The same for the chat that the message `id` is in. */
ERR_MUST_USE err chatstore_enter_message(struct chatstore *s, const char *owner, const char *id,
                                         struct chatrecord_shelf **shelf, struct chatrecord *chat,
                                         struct errinfo *info);
/* Ends it with `e`, and gives `document` to *out when all went well. */
ERR_MUST_USE err chatstore_leave(struct chatrecord_shelf *shelf, struct chatrecord *chat, err e,
                                 json_t *document, json_t **out, struct errinfo *info);

/* Drops what came in with the imports `first` to `last`, which are over. */
ERR_MUST_USE err chatstore_drop_coming(struct chatstore *s, int64_t first, int64_t last, struct errinfo *info);


#endif

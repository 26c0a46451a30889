/* server/chatstore.h: chats at rest: made, listed, changed, forgotten. Messages are chattree.h's, the search is
 * chatsearch.h's, files to take away and bring back are chatexport.h's and chatimport.h's.
 *
 * What a person wrote (titles, folders, system prompts, messages, attachments) is sealed with a key of its own
 * for each chat; deleting a chat overwrites its key, then its rows, and empties the log: nothing of it can be
 * read from the files again. Temporary chats are in memory alone, are not listed, searched or exported, and end
 * with the store. Each call names the owner (the id of a key, or "local"): what is another's is ERR_NOTFOUND,
 * as if it did not exist.
 *
 * Documents are JSON as the page gets them, new references (json_decref):
 *   CHAT
 * {"id","title","folder","pinned","temporary","created","updated","forget_after_days","system","settings",
 *         "leaf"}
 *   ROW (of a list)
 * a CHAT without "system" and "settings"
 *   MESSAGE
 * {"id","parent","role","content","reasoning","attachments":[{"name","text"}],"state","error","think",
 *         "created","stats"}
 * Ids are 32 hex digits; times are milliseconds since 1970, and `now` is always given by the caller. Errors
 * besides those named: ERR_IO (the disk is full, for example; then nothing changed), ERR_CORRUPT (a row was
 * damaged), ERR_NOMEM.
 *
 * Thread rule: any function from any thread. */
#ifndef SERVER_CHATSTORE_H
#define SERVER_CHATSTORE_H

#include "base/json.h"
#include "server/database.h"

enum {
    CHATSTORE_TITLE_MAX = 1000, /* bytes, as all of these */
    CHATSTORE_FOLDER_MAX = 200,
    CHATSTORE_SYSTEM_MAX = 1 << 20,
    CHATSTORE_SETTINGS_MAX = 1 << 16,
    CHATSTORE_DAYS_MAX = 36500,
    CHATSTORE_LIST_MAX = 500, /* chats of one page; 0 means CHATSTORE_LIST */
    CHATSTORE_LIST = 50,
    CHATSTORE_TEMPORARY_MAX = 32, /* an owner's; one more, and the one unused for longest goes */
    CHATSTORE_PRESETS_MAX = 100,
};

struct chatstore;

/* Over a database that must outlive it, and that no other store of chats has open (ERR_IO). Answers that were
 * being written when the program ended become "interrupted". With `index`, a thread fills the search index in
 * the background; else the first search does.
 */
ERR_MUST_USE err chatstore_open(struct database *d, bool index, struct chatstore **out, struct errinfo *info);
void chatstore_close(struct chatstore *s); /* NULL is fine */

/* `fields`: an object with any of title, folder, system, settings, temporary, forget_after_days (those of
 * CHAT). ERR_ARGUMENT names the field that is unknown, of a wrong type or too long. */
ERR_MUST_USE err chatstore_create(struct chatstore *s, const char *owner, const json_t *fields, int64_t now,
                                  json_t **chat, struct errinfo *info);
/* `fields`: any of title, folder, pinned, system, settings, forget_after_days, leaf. `updated` stays. */
ERR_MUST_USE err chatstore_patch(struct chatstore *s, const char *owner, const char *id, const json_t *fields,
                                 json_t **chat, struct errinfo *info);
ERR_MUST_USE err chatstore_chat(struct chatstore *s, const char *owner, const char *id, json_t **chat,
                                struct errinfo *info);
/* Whether reading all its messages, or deleting them, takes more than some milliseconds; others get their turn
 * meanwhile. No such chat is a small one. */
ERR_MUST_USE err chatstore_large(struct chatstore *s, const char *owner, const char *id, bool *large,
                                 struct errinfo *info);
/* {"chat":CHAT,"messages":[MESSAGE …]}: the whole tree, the oldest first. A damaged message has a content
 * that says so. */
ERR_MUST_USE err chatstore_get(struct chatstore *s, const char *owner, const char *id, json_t **out,
                               struct errinfo *info);

struct chatstore_query {
    const char *folder; /* only of this folder; NULL: all */
    const char *search; /* only those that hold all these words; NULL or "": all. Never syntax */
    const char *before; /* the id of the last chat of the page before; NULL: the first page */
    size_t limit;
};
/* {"chats":[ROW …],"more":bool}: pinned ones first, then the latest; others get their turn meanwhile. With
 * `search` each has "snippet" (text in which the hits stand between \u0002 and \u0003) and "message" (the id of
 * the hit, null when it is the title). */
ERR_MUST_USE err chatstore_list(struct chatstore *s, const char *owner, const struct chatstore_query *query,
                                json_t **out, struct errinfo *info);

ERR_MUST_USE err chatstore_delete(struct chatstore *s, const char *owner, const char *id, struct errinfo *info);
/* All of the owner's, temporary ones too; none is no error. On an error some may be gone: ask again. */
ERR_MUST_USE err chatstore_delete_all(struct chatstore *s, const char *owner, struct errinfo *info);

/* Retention, at start and every hour: deletes what was not used for forget_after_days of its own, or for `days`
 * (0: no such rule), whichever is earlier; and temporary chats a day old. *forgotten counts them. What came in
 * with imports that the program's end cut off goes, too, uncounted. */
ERR_MUST_USE err chatstore_forget(struct chatstore *s, size_t days, int64_t now, size_t *forgotten,
                                  struct errinfo *info);

/* {"presets":[{"name","system","settings"} …]}, in the order they were put. */
ERR_MUST_USE err chatstore_presets(struct chatstore *s, const char *owner, json_t **out, struct errinfo *info);
/* Replaces all; `presets` is such a list. */
ERR_MUST_USE err chatstore_put_presets(struct chatstore *s, const char *owner, const json_t *presets,
                                       struct errinfo *info);

#endif

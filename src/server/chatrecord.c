/* server/chatrecord.c: see chatrecord.h. */
#include "server/chatrecord.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

enum { CHATRECORD_AD = 112 };

err chatrecord_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory for chats");
}

/* ---- Sealed JSON. ---- */

err chatrecord_seal(const struct vault_key *k, const char *ad, const json_t *value, unsigned char **sealed,
                    size_t *n, struct errinfo *info)
{
    char *text = json_text_dup(value, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0;
    unsigned char *bytes = text ? mem_alloc(length + VAULT_EXTRA) : NULL;
    if (bytes) {
        vault_seal(k, ad, text, length, bytes);
        *sealed = bytes;
        *n = length + VAULT_EXTRA;
    }
    mem_free(text);
    return bytes ? ERR_OK : chatrecord_nomem(info);
}

err chatrecord_unseal(const struct vault_key *k, const char *ad, const void *sealed, size_t n, json_t **value,
                      struct errinfo *info)
{
    char *text = mem_alloc(n);
    if (!text) {
        return chatrecord_nomem(info);
    }
    err e = vault_unseal(k, ad, sealed, n, text, info);
    e = e == ERR_OK ? json_parse(text, n - VAULT_EXTRA, ad, value, info) : e;
    mem_free(text);
    return e;
}

/* ---- Records. ---- */

static void chatrecord_ad(const struct chatrecord *r, const char *what, char ad[CHATRECORD_AD])
{
    snprintf(ad, CHATRECORD_AD, "chat %s of %s: %s", r->id, r->owner, what);
}

static void chatrecord_copy_id(char to[VAULT_ID + 1], const unsigned char *from)
{
    snprintf(to, VAULT_ID + 1, "%s", from ? (const char *)from : "");
}

err chatrecord_new(struct chatrecord_shelf *shelf, const char *owner, int64_t now, struct chatrecord *out,
                   struct errinfo *info)
{
    struct chatrecord r = {.created = now, .updated = now, .temporary = shelf->temporary};
    TRY(vault_id(r.id, info));
    snprintf(r.owner, sizeof r.owner, "%s", owner);
    r.head = json_pack("{s:s, s:n, s:s, s:{}}", "title", "", "folder", "system", "", "settings");
    if (!r.head) {
        return chatrecord_nomem(info);
    }
    vault_key_random(shelf->key);
    *out = r;
    return ERR_OK;
}

void chatrecord_deinit(struct chatrecord *r)
{
    json_decref(r->head);
    r->head = NULL;
}

err chatrecord_key(struct chatrecord_shelf *shelf, const struct chatrecord *r, struct errinfo *info)
{
    unsigned char wrapped[VAULT_WRAPPED];
    char ad[CHATRECORD_AD];
    TRY(database_key_get(shelf->database, r->number, wrapped, info));
    chatrecord_ad(r, "key", ad);
    return vault_unwrap(database_vault(shelf->database), wrapped, ad, shelf->key, info);
}

/* What lies open in a row. */
static struct chatrecord chatrecord_open_part(const struct chatrecord_shelf *shelf, sqlite3_stmt *row)
{
    struct chatrecord r = {
        .number = sqlite3_column_int64(row, 0),
        .pinned = sqlite3_column_int(row, 2) != 0,
        .created = sqlite3_column_int64(row, 3),
        .updated = sqlite3_column_int64(row, 4),
        .days = sqlite3_column_int64(row, 5),
        .temporary = shelf->temporary,
    };
    chatrecord_copy_id(r.id, sqlite3_column_text(row, 1));
    chatrecord_copy_id(r.leaf, sqlite3_column_text(row, 6));
    chatrecord_copy_id(r.owner, sqlite3_column_text(row, 8));
    return r;
}

err chatrecord_read(struct chatrecord_shelf *shelf, sqlite3_stmt *row, struct chatrecord *out,
                    struct errinfo *info)
{
    struct chatrecord r = chatrecord_open_part(shelf, row);
    char ad[CHATRECORD_AD];
    chatrecord_ad(&r, "head", ad);
    TRY(chatrecord_key(shelf, &r, info));
    TRY(chatrecord_unseal(shelf->key, ad, sqlite3_column_blob(row, 7), (size_t)sqlite3_column_bytes(row, 7),
                          &r.head, info));
    *out = r;
    return ERR_OK;
}

err chatrecord_damaged(const struct chatrecord_shelf *shelf, sqlite3_stmt *row, struct chatrecord *out,
                       struct errinfo *info)
{
    *out = chatrecord_open_part(shelf, row);
    out->damaged = true;
    out->head = json_pack("{s:s, s:n, s:s, s:{}}", "title", "(damaged: cannot be read)", "folder", "system", "",
                          "settings");
    return out->head ? ERR_OK : chatrecord_nomem(info);
}

err chatrecord_number(const struct chatrecord_shelf *shelf, const char *owner, const char *id, int64_t *number,
                      struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(shelf->database, &st, info, "SELECT number FROM chat_seen WHERE id = ?1 AND owner = ?2",
                       "tt", id, owner));
    TRY(database_next(shelf->database, st, &row, info));
    if (!row) {
        return err_set(info, ERR_NOTFOUND, "there is no chat %.40s", id);
    }
    *number = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return ERR_OK;
}

err chatrecord_find(struct chatrecord_shelf *shelf, const char *owner, const char *id, struct chatrecord *out,
                    struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(shelf->database, &st, info,
                       "SELECT " CHATRECORD_COLUMNS " FROM chat_seen c WHERE c.id = ?1 AND c.owner = ?2", "tt",
                       id, owner));
    TRY(database_next(shelf->database, st, &row, info));
    if (!row) {
        return err_set(info, ERR_NOTFOUND, "there is no chat %.40s", id);
    }
    err e = chatrecord_read(shelf, st, out, info);
    sqlite3_reset(st);
    return e;
}

/* What a row holds besides numbers. */
struct chatrecord_sealed {
    unsigned char *head, tag[VAULT_TAG];
    size_t n_head, n_tag; /* n_tag 0: no folder */
};

static err chatrecord_prepare(const struct chatrecord_shelf *shelf, const struct chatrecord *r,
                              struct chatrecord_sealed *out, struct errinfo *info)
{
    char ad[CHATRECORD_AD];
    const char *folder = json_string_value(json_object_get(r->head, "folder"));
    if (folder) {
        TRY(chatrecord_folder(shelf, r->owner, folder, out->tag, info));
        out->n_tag = sizeof out->tag;
    }
    chatrecord_ad(r, "head", ad);
    return chatrecord_seal(shelf->key, ad, r->head, &out->head, &out->n_head, info);
}

static err chatrecord_put_key(struct chatrecord_shelf *shelf, const struct chatrecord *r, struct errinfo *info)
{
    unsigned char wrapped[VAULT_WRAPPED];
    char ad[CHATRECORD_AD];
    chatrecord_ad(r, "key", ad);
    vault_wrap(database_vault(shelf->database), shelf->key, ad, wrapped);
    return database_key_put(shelf->database, r->number, wrapped, info);
}

err chatrecord_insert(struct chatrecord_shelf *shelf, struct chatrecord *r, struct errinfo *info)
{
    struct database *d = shelf->database;
    struct chatrecord_sealed x = {0};
    TRY(chatrecord_prepare(shelf, r, &x, info));
    err e = database_run(
        d, info,
        "INSERT INTO chat(id, owner, folder_tag, pinned, created, updated, forget_after_days, leaf,"
        " head) VALUES(?1, ?2, ?3, ?4, ?5, ?6, nullif(?7, 0), nullif(?8, ''), ?9)",
        "ttbiiiitb", r->id, r->owner, x.n_tag ? x.tag : NULL, x.n_tag, (int64_t)r->pinned, r->created,
        r->updated, r->days, r->leaf, x.head, x.n_head);
    mem_free(x.head);
    TRY(e);
    r->number = database_last_row(d);
    return chatrecord_put_key(shelf, r, info);
}

err chatrecord_update(struct chatrecord_shelf *shelf, const struct chatrecord *r, struct errinfo *info)
{
    struct chatrecord_sealed x = {0};
    TRY(chatrecord_prepare(shelf, r, &x, info));
    err e = database_run(shelf->database, info,
                         "UPDATE chat SET folder_tag = ?2, pinned = ?3, updated = ?4, owner = ?8,"
                         " forget_after_days = nullif(?5, 0), leaf = nullif(?6, ''), head = ?7"
                         " WHERE number = ?1",
                         "ibiiitbt", r->number, x.n_tag ? x.tag : NULL, x.n_tag, (int64_t)r->pinned, r->updated,
                         r->days, r->leaf, x.head, x.n_head, r->owner);
    mem_free(x.head);
    return e;
}

err chatrecord_give(struct chatrecord_shelf *shelf, struct chatrecord *r, const char *to, struct errinfo *info)
{
    snprintf(r->owner, sizeof r->owner, "%s", to);
    if (r->damaged) {
        return database_run(shelf->database, info,
                            "UPDATE chat SET owner = ?2, folder_tag = NULL WHERE number = ?1", "it", r->number,
                            to);
    }
    TRY(chatrecord_update(shelf, r, info));
    return chatrecord_put_key(shelf, r, info);
}

err chatrecord_touch(struct chatrecord_shelf *shelf, const struct chatrecord *r, struct errinfo *info)
{
    return database_run(shelf->database, info,
                        "UPDATE chat SET updated = ?2, leaf = nullif(?3, '') WHERE number = ?1", "iit",
                        r->number, r->updated, r->leaf);
}

/* A row's bytes of the log, with those of its indexes. */
static void chatrecord_fill(sqlite3_stmt *row, int column, size_t *room)
{
    enum { CHATRECORD_PAGES = 2 << 12 };
    size_t bytes = (size_t)sqlite3_column_int64(row, column) + CHATRECORD_PAGES;
    *room -= bytes < *room ? bytes : *room;
}

/* The last message of the chat for which there is room; *whole: none follows it, and there is some left. */
static err chatrecord_delete_to(struct database *d, int64_t chat, size_t *room, int64_t *last, bool *whole,
                                struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = true;
    *last = 0;
    TRY(database_query(d, &st, info,
                       "SELECT number, length(body) FROM message WHERE chat = ?1 ORDER BY number", "i", chat));
    TRY(database_next(d, st, &row, info));
    while (row && *room > 0) {
        *last = sqlite3_column_int64(st, 0);
        chatrecord_fill(st, 1, room);
        TRY(database_next(d, st, &row, info));
    }
    sqlite3_reset(st);
    *whole = !row && *room > 0;
    return ERR_OK;
}

static err chatrecord_delete_row(struct database *d, int64_t number, size_t *room, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(d, &st, info, "DELETE FROM chat WHERE number = ?1 RETURNING length(head)", "i", number));
    TRY(database_next(d, st, &row, info));
    if (row) {
        chatrecord_fill(st, 0, room);
        TRY(database_next(d, st, &row, info));
    }
    return ERR_OK;
}

err chatrecord_delete(struct chatrecord_shelf *shelf, int64_t number, size_t *room, bool *whole,
                      struct errinfo *info)
{
    struct database *d = shelf->database;
    int64_t last;
    TRY(database_key_erase(d, number, info));
    TRY(chatrecord_delete_to(d, number, room, &last, whole, info));
    TRY(database_run(d, info, "DELETE FROM message WHERE chat = ?1 AND number <= ?2", "ii", number, last));
    return *whole ? chatrecord_delete_row(d, number, room, info) : ERR_OK;
}

err chatrecord_large(const struct chatrecord_shelf *shelf, int64_t number, bool *large, struct errinfo *info)
{
    enum { CHATRECORD_MESSAGE = 1 << 10 /* as if it had these, too */, CHATRECORD_LARGE = 1 << 20 };
    int64_t bytes = 0;
    sqlite3_stmt *st;
    bool row = true;
    TRY(database_query(shelf->database, &st, info, "SELECT length(body) FROM message WHERE chat = ?1", "i",
                       number));
    while (row && bytes < CHATRECORD_LARGE) {
        TRY(database_next(shelf->database, st, &row, info));
        bytes += row ? sqlite3_column_int64(st, 0) + CHATRECORD_MESSAGE : 0;
    }
    sqlite3_reset(st);
    *large = bytes >= CHATRECORD_LARGE;
    return ERR_OK;
}

/* ---- What is made of them. ---- */

const char *chatrecord_title(const struct chatrecord *r)
{
    const char *title = json_string_value(json_object_get(r->head, "title"));
    return title ? title : "";
}

err chatrecord_row(const struct chatrecord *r, json_t **out, struct errinfo *info)
{
    json_t *days = r->days ? json_integer(r->days) : json_null();
    json_t *row = json_pack("{s:s, s:O?, s:O?, s:b, s:b, s:I, s:I, s:o, s:s?}", "id", r->id, "title",
                            json_object_get(r->head, "title"), "folder", json_object_get(r->head, "folder"),
                            "pinned", r->pinned, "temporary", r->temporary, "created", (json_int_t)r->created,
                            "updated", (json_int_t)r->updated, "forget_after_days", days, "leaf",
                            r->leaf[0] ? r->leaf : NULL);
    if (!row) {
        return chatrecord_nomem(info);
    }
    *out = row;
    return ERR_OK;
}

err chatrecord_json(const struct chatrecord *r, json_t **out, struct errinfo *info)
{
    json_t *chat = NULL;
    TRY(chatrecord_row(r, &chat, info));
    if (json_object_set(chat, "system", json_object_get(r->head, "system")) != 0 ||
        json_object_set(chat, "settings", json_object_get(r->head, "settings")) != 0) {
        json_decref(chat);
        return chatrecord_nomem(info);
    }
    *out = chat;
    return ERR_OK;
}

err chatrecord_folder(const struct chatrecord_shelf *shelf, const char *owner, const char *folder,
                      unsigned char tag[VAULT_TAG], struct errinfo *info)
{
    struct strbuf words = {0};
    err e = strbuf_printf(&words, "%s%c%s", owner, '\0', folder);
    if (e == ERR_OK) {
        vault_tag(shelf->tags, words.data, words.len, tag);
    }
    strbuf_deinit(&words);
    return e == ERR_OK ? ERR_OK : chatrecord_nomem(info);
}

/* server/chatmessage.c: see chatmessage.h. */
#include "server/chatmessage.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"

enum { CHATMESSAGE_AD = 200, CHATMESSAGE_USER = 0, CHATMESSAGE_ASSISTANT = 1 };

static const char *const chatmessage_states[] = {"done",        "writing", "stopped",
                                                 "interrupted", "failed",  "length"};
enum { CHATMESSAGE_STATES = sizeof chatmessage_states / sizeof *chatmessage_states };

const char *chatmessage_state_name(enum chattree_state state)
{
    return chatmessage_states[state];
}

err chatmessage_state(const char *name, enum chattree_state *out, struct errinfo *info)
{
    for (size_t i = 0; i < CHATMESSAGE_STATES; i++) {
        if (strcmp(name, chatmessage_states[i]) == 0) {
            *out = (enum chattree_state)i;
            return ERR_OK;
        }
    }
    return err_set(info, ERR_ARGUMENT, "\"%.40s\" is no state of a message", name);
}

const char *chatmessage_text(const json_t *message, const char *field)
{
    const char *text = json_string_value(json_object_get(message, field));
    return text ? text : "";
}

err chatmessage_new(const char *parent, bool user, const char *content, const json_t *attachments,
                    const char *think, int64_t now, json_t **out, struct errinfo *info)
{
    char id[VAULT_ID + 1];
    TRY(vault_id(id, info));
    json_t *list = attachments ? json_incref((json_t *)(uintptr_t)attachments) : json_array();
    *out = json_pack("{s:s, s:s?, s:s, s:s, s:s, s:o, s:s, s:n, s:s, s:I, s:n}", "id", id, "parent", parent,
                     "role", user ? "user" : "assistant", "content", content, "reasoning", "", "attachments",
                     list, "state", user ? "done" : "writing", "error", "think", think, "created",
                     (json_int_t)now, "stats");
    return *out ? ERR_OK : chatrecord_nomem(info);
}

/* What never changes about a message binds what is sealed to its place in its tree. */
static void chatmessage_ad(const struct chatrecord *chat, const json_t *m, char ad[CHATMESSAGE_AD])
{
    snprintf(ad, CHATMESSAGE_AD, "message %s of chat %s: %s after %s at %lld", chatmessage_text(m, "id"),
             chat->id, chatmessage_text(m, "role"), chatmessage_text(m, "parent"),
             (long long)json_integer_value(json_object_get(m, "created")));
}

static err chatmessage_seal(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                            const json_t *m, unsigned char **body, size_t *n, struct errinfo *info)
{
    char ad[CHATMESSAGE_AD];
    json_t *sealed = json_pack("{s:O, s:O, s:O, s:O, s:O, s:O}", "content", json_object_get(m, "content"),
                               "reasoning", json_object_get(m, "reasoning"), "attachments",
                               json_object_get(m, "attachments"), "error", json_object_get(m, "error"), "think",
                               json_object_get(m, "think"), "stats", json_object_get(m, "stats"));
    if (!sealed) {
        return chatrecord_nomem(info);
    }
    chatmessage_ad(chat, m, ad);
    err e = chatrecord_seal(shelf->key, ad, sealed, body, n, info);
    json_decref(sealed);
    if (e == ERR_OK && *n > DATABASE_ROW) { /* it could not be deleted while the disk is full */
        mem_free(*body);
        return err_set(info, ERR_ARGUMENT, "the message takes %zu bytes as JSON, at most %d are stored", *n,
                       DATABASE_ROW);
    }
    return e;
}

err chatmessage_insert(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                       const json_t *message, int64_t *number, struct errinfo *info)
{
    unsigned char *body = NULL;
    size_t n = 0;
    enum chattree_state state = CHATTREE_DONE;
    bool user = strcmp(chatmessage_text(message, "role"), "user") == 0;
    TRY(chatmessage_state(chatmessage_text(message, "state"), &state, info));
    TRY(chatmessage_seal(shelf, chat, message, &body, &n, info));
    err e = database_run(shelf->database, info,
                         "INSERT INTO message(id, chat, parent, role, state, created, body)"
                         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                         "titiiib", chatmessage_text(message, "id"), chat->number,
                         json_string_value(json_object_get(message, "parent")),
                         (int64_t)(user ? CHATMESSAGE_USER : CHATMESSAGE_ASSISTANT), (int64_t)state,
                         (int64_t)json_integer_value(json_object_get(message, "created")), body, n);
    mem_free(body);
    if (e == ERR_OK) {
        *number = database_last_row(shelf->database);
    }
    return e;
}

err chatmessage_update(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                       const json_t *message, struct errinfo *info)
{
    unsigned char *body = NULL;
    size_t n = 0;
    enum chattree_state state = CHATTREE_DONE;
    TRY(chatmessage_state(chatmessage_text(message, "state"), &state, info));
    TRY(chatmessage_seal(shelf, chat, message, &body, &n, info));
    err e = database_run(shelf->database, info, "UPDATE message SET state = ?2, body = ?3 WHERE id = ?1", "tib",
                         chatmessage_text(message, "id"), (int64_t)state, body, n);
    mem_free(body);
    return e;
}

/* What of a message lies open in its row. */
static json_t *chatmessage_open_part(sqlite3_stmt *row)
{
    int64_t state = sqlite3_column_int64(row, 4);
    return json_pack("{s:s, s:s?, s:s, s:s, s:I}", "id", (const char *)sqlite3_column_text(row, 1), "parent",
                     (const char *)sqlite3_column_text(row, 2), "role",
                     sqlite3_column_int64(row, 3) == CHATMESSAGE_USER ? "user" : "assistant", "state",
                     chatmessage_states[state >= 0 && state < CHATMESSAGE_STATES ? state : CHATTREE_FAILED],
                     "created", (json_int_t)sqlite3_column_int64(row, 5));
}

err chatmessage_read(const struct chatrecord_shelf *shelf, const struct chatrecord *chat, sqlite3_stmt *row,
                     json_t **out, struct errinfo *info)
{
    char ad[CHATMESSAGE_AD];
    json_t *sealed = NULL, *message = chatmessage_open_part(row);
    if (!message) {
        return chatrecord_nomem(info);
    }
    chatmessage_ad(chat, message, ad);
    err e = chatrecord_unseal(shelf->key, ad, sqlite3_column_blob(row, 6), (size_t)sqlite3_column_bytes(row, 6),
                              &sealed, info);
    if (e == ERR_OK && json_object_update_missing(message, sealed) != 0) {
        e = chatrecord_nomem(info);
    }
    json_decref(sealed);
    if (e != ERR_OK) {
        json_decref(message);
        return e;
    }
    *out = message;
    return ERR_OK;
}

/* What can be said of a row that cannot be opened. */
static err chatmessage_damaged(sqlite3_stmt *row, json_t **out, struct errinfo *info)
{
    json_t *sealed = json_pack("{s:s, s:s, s:[], s:n, s:s, s:n}", "content", "(damaged: cannot be read)",
                               "reasoning", "", "attachments", "error", "think", "off", "stats");
    json_t *message = chatmessage_open_part(row);
    if (!sealed || !message || json_object_update_missing(message, sealed) != 0) {
        json_decref(sealed);
        json_decref(message);
        return chatrecord_nomem(info);
    }
    json_decref(sealed);
    *out = message;
    return ERR_OK;
}

/* One damaged message costs nobody the others. */
static err chatmessage_show(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                            sqlite3_stmt *row, json_t **out, struct errinfo *info)
{
    err e = chatmessage_read(shelf, chat, row, out, info);
    return e == ERR_CORRUPT ? chatmessage_damaged(row, out, info) : e;
}

err chatmessage_find(const struct chatrecord_shelf *shelf, const struct chatrecord *chat, const char *id,
                     json_t **out, int64_t *number, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row;
    TRY(database_query(shelf->database, &st, info,
                       "SELECT " CHATMESSAGE_COLUMNS " FROM message m WHERE m.id = ?1 AND m.chat = ?2", "ti",
                       id, chat->number));
    TRY(database_next(shelf->database, st, &row, info));
    if (!row) {
        return err_set(info, ERR_NOTFOUND, "there is no message %.40s in this chat", id);
    }
    if (number) {
        *number = sqlite3_column_int64(st, 0);
    }
    err e = chatmessage_show(shelf, chat, st, out, info);
    sqlite3_reset(st);
    return e;
}

err chatmessage_some(const struct chatrecord_shelf *shelf, const struct chatrecord *chat, json_t *list,
                     int64_t *last, bool *more, struct errinfo *info)
{
    const double until = progress_clock() + CHATRECORD_PORTION_S;
    sqlite3_stmt *st;
    TRY(database_query(shelf->database, &st, info,
                       "SELECT " CHATMESSAGE_COLUMNS " FROM message m WHERE m.chat = ?1 AND m.number > ?2"
                       " ORDER BY m.number",
                       "ii", chat->number, *last));
    do {
        json_t *message = NULL;
        TRY(database_next(shelf->database, st, more, info));
        if (*more) {
            TRY(chatmessage_show(shelf, chat, st, &message, info));
            *last = sqlite3_column_int64(st, 0);
            TRY(json_array_append_new(list, message) == 0 ? ERR_OK : chatrecord_nomem(info));
        }
    } while (*more && progress_clock() < until);
    sqlite3_reset(st);
    return ERR_OK;
}

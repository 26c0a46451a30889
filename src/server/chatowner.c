/* server/chatowner.c: see chatowner.h. */
#include "server/chatowner.h"

#include <string.h>

#include "server/chatstore_data.h"

err chatowner_count(struct chatstore *s, const char *owner, size_t *n, struct errinfo *info)
{
    struct database *d = s->shelves[CHATSTORE_DISK].database;
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_begin(d, info));
    err e = database_query(d, &st, info, "SELECT count(*) FROM chat_seen WHERE owner = ?1", "t", owner);
    e = e == ERR_OK ? database_next(d, st, &row, info) : e;
    size_t found = row ? (size_t)sqlite3_column_int64(st, 0) : 0;
    TRY(database_end(d, e, info));
    *n = found;
    return ERR_OK;
}

/* The first of the owner's chats, as much of it as can be read; *row false: there is none. */
static err chatowner_first(struct chatrecord_shelf *shelf, const char *owner,
                           struct chatrecord *out, bool *row, struct errinfo *info)
{
    sqlite3_stmt *st;
    TRY(database_query(shelf->database, &st, info,
                       "SELECT " CHATRECORD_COLUMNS " FROM chat_seen c WHERE c.owner = ?1 LIMIT 1", "t",
                       owner));
    TRY(database_next(shelf->database, st, row, info));
    if (!*row) {
        return ERR_OK;
    }
    err e = chatrecord_read(shelf, st, out, info);
    e = e == ERR_CORRUPT ? chatrecord_damaged(shelf, st, out, info) : e;
    sqlite3_reset(st);
    return e;
}

static err chatowner_move_all(struct chatrecord_shelf *shelf, const char *from, const char *to,
                              size_t *n, struct errinfo *info)
{
    bool row = true;
    for (*n = 0;; ++*n) {
        struct chatrecord r = {0};
        TRY(chatowner_first(shelf, from, &r, &row, info));
        if (!row) {
            return ERR_OK;
        }
        err e = chatrecord_give(shelf, &r, to, info);
        chatrecord_deinit(&r);
        TRY(e);
    }
}

static bool chatowner_has_preset(const json_t *presets, const json_t *one)
{
    const char *name = json_string_value(json_object_get(one, "name"));
    for (size_t i = 0; i < json_array_size(presets); i++) {
        if (strcmp(json_string_value(json_object_get(json_array_get(presets, i), "name")), name) ==
            0) {
            return true;
        }
    }
    return false;
}

/* Appends what `has` lacks of `more`. */
static err chatowner_join(json_t *has, const json_t *more, struct errinfo *info)
{
    for (size_t i = 0; i < json_array_size(more); i++) {
        json_t *one = json_array_get(more, i);
        if (!chatowner_has_preset(has, one) && json_array_append(has, one) != 0) {
            return chatrecord_nomem(info);
        }
    }
    return ERR_OK;
}

static err chatowner_presets(struct chatstore *s, const char *from, const char *to,
                             struct errinfo *info)
{
    json_t *old = NULL, *new = NULL;
    err e = chatstore_presets(s, from, &old, info);
    e = e == ERR_OK ? chatstore_presets(s, to, &new, info) : e;
    json_t *has = json_object_get(new, "presets"), *more = json_object_get(old, "presets");
    if (e == ERR_OK && json_array_size(more) > 0) {
        e = chatowner_join(has, more, info);
        e = e == ERR_OK ? chatstore_put_presets(s, to, has, info) : e;
        e = e == ERR_OK && json_array_clear(more) == 0 ? chatstore_put_presets(s, from, more, info)
                                                       : e;
    }
    json_decref(old);
    json_decref(new);
    return e;
}

err chatowner_change(struct chatstore *s, const char *from, const char *to, size_t *n,
                     struct errinfo *info)
{
    struct chatrecord_shelf *shelf = &s->shelves[CHATSTORE_DISK];
    size_t moved = 0;
    TRY(chatowner_presets(s, from, to, info));
    TRY(database_begin(shelf->database, info));
    TRY(database_end(shelf->database, chatowner_move_all(shelf, from, to, &moved, info), info));
    *n = moved;
    return ERR_OK;
}

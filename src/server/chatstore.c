/* server/chatstore.c: see chatstore.h. */
#include "server/chatstore.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/progress.h"
#include "base/strbuf.h"
#include "server/chatfields.h"
#include "server/chatsearch.h"
#include "server/chatstore_data.h"

enum { CHATSTORE_BATCH = 16 /* chats deleted in one step */ };
/* Of a step that deletes many chats: longer than CHATRECORD_PORTION_S, since its commit and scrubbing the log
 * behind it cost as much again, and some chats should share them. */
static const double CHATSTORE_MANY_S = 0.03;
static const int64_t CHATSTORE_ALWAYS = INT64_MAX;

/* ---- Opening. ---- */

static err chatstore_open_shelf(struct chatrecord_shelf *shelf, struct database *d, bool temporary,
                                struct errinfo *info)
{
    shelf->database = d;
    shelf->temporary = temporary;
    TRY(vault_key_new(&shelf->key, info));
    TRY(vault_key_new(&shelf->tags, info));
    vault_derive(database_vault(d), "folders_", 0, shelf->tags);
    return ERR_OK;
}

/* Answers that nobody writes any more. */
static err chatstore_interrupt(struct database *d, struct errinfo *info)
{
    TRY(database_begin(d, info));
    err e = database_run(d, info, "UPDATE message SET state = ?2 WHERE state = ?1", "ii",
                         (int64_t)CHATTREE_WRITING, (int64_t)CHATTREE_INTERRUPTED);
    return database_end(d, e, info);
}

/* Imports that nobody goes on with. */
static err chatstore_cut_off(struct chatstore *s, struct database *d, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_begin(d, info));
    err e = database_query(d, &st, info, "SELECT coalesce(max(import), 0) FROM coming", "");
    e = e == ERR_OK ? database_next(d, st, &row, info) : e;
    s->imports = s->cut_off = row ? sqlite3_column_int64(st, 0) : 0;
    return database_end(d, e, info);
}

err chatstore_open(struct database *d, bool index, struct chatstore **out, struct errinfo *info)
{
    struct chatstore *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return chatrecord_nomem(info);
    }
    err e = database_claim(d, &s->claim, info);
    e = e == ERR_OK ? chatstore_open_shelf(&s->shelves[CHATSTORE_DISK], d, false, info) : e;
    e = e == ERR_OK ? database_new(&s->held, info) : e;
    e = e == ERR_OK ? chatstore_open_shelf(&s->shelves[CHATSTORE_MEMORY], s->held, true, info) : e;
    e = e == ERR_OK ? chatstore_interrupt(d, info) : e;
    e = e == ERR_OK ? chatstore_cut_off(s, d, info) : e;
    e = e == ERR_OK ? chatsearch_open(&s->shelves[CHATSTORE_DISK], index, &s->search, info) : e;
    if (e != ERR_OK) {
        chatstore_close(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void chatstore_close(struct chatstore *s)
{
    if (!s) {
        return;
    }
    chatsearch_close(s->search);
    for (size_t i = 0; i < CHATSTORE_SHELVES; i++) {
        vault_key_free(s->shelves[i].key);
        vault_key_free(s->shelves[i].tags);
    }
    database_close(s->held);
    file_unlock(s->claim);
    mem_free(s);
}

/* ---- Finding the shelf. ---- */

err chatstore_enter(struct chatstore *s, const char *owner, const char *id, struct chatrecord_shelf **shelf,
                    struct chatrecord *chat, struct errinfo *info)
{
    err e = ERR_NOTFOUND;
    for (size_t i = 0; i < CHATSTORE_SHELVES && e == ERR_NOTFOUND; i++) {
        struct chatrecord_shelf *at = &s->shelves[i];
        TRY(database_begin(at->database, info));
        e = chatrecord_find(at, owner, id, chat, info);
        if (e == ERR_OK) {
            *shelf = at;
            return ERR_OK;
        }
        e = database_end(at->database, e, info);
    }
    return e;
}

/* Which chat a message is in, on either shelf. */
static err chatstore_chat_of(struct chatrecord_shelf *shelf, const char *owner, const char *id,
                             char chat[VAULT_ID + 1], struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row;
    TRY(database_query(
        shelf->database, &st, info,
        "SELECT c.id FROM message m JOIN chat c ON c.number = m.chat WHERE m.id = ?1 AND c.owner = ?2", "tt",
        id, owner));
    TRY(database_next(shelf->database, st, &row, info));
    if (!row) {
        return err_set(info, ERR_NOTFOUND, "there is no message %.40s", id);
    }
    strncpy(chat, (const char *)sqlite3_column_text(st, 0), VAULT_ID);
    sqlite3_reset(st);
    return ERR_OK;
}

err chatstore_enter_message(struct chatstore *s, const char *owner, const char *id,
                            struct chatrecord_shelf **shelf, struct chatrecord *chat, struct errinfo *info)
{
    err e = ERR_NOTFOUND;
    for (size_t i = 0; i < CHATSTORE_SHELVES && e == ERR_NOTFOUND; i++) {
        struct chatrecord_shelf *at = &s->shelves[i];
        char in[VAULT_ID + 1] = "";
        TRY(database_begin(at->database, info));
        e = chatstore_chat_of(at, owner, id, in, info);
        e = e == ERR_OK ? chatrecord_find(at, owner, in, chat, info) : e;
        if (e == ERR_OK) {
            *shelf = at;
            return ERR_OK;
        }
        e = database_end(at->database, e, info);
    }
    return e;
}

err chatstore_leave(struct chatrecord_shelf *shelf, struct chatrecord *chat, err e, json_t *document,
                    json_t **out, struct errinfo *info)
{
    chatrecord_deinit(chat);
    e = database_end(shelf->database, e, info);
    if (e == ERR_OK && out) {
        *out = document;
    } else {
        json_decref(document);
    }
    return e;
}

/* ---- Making and changing. ---- */

/* Makes room for one more temporary chat of the owner. */
static err chatstore_make_room(struct chatrecord_shelf *shelf, const char *owner, struct errinfo *info)
{
    return database_run(shelf->database, info,
                        "DELETE FROM chat WHERE number IN (SELECT number FROM chat WHERE owner = ?1"
                        " ORDER BY updated DESC, number DESC LIMIT -1 OFFSET ?2)",
                        "ti", owner, (int64_t)CHATSTORE_TEMPORARY_MAX - 1);
}

err chatstore_create(struct chatstore *s, const char *owner, const json_t *fields, int64_t now, json_t **chat,
                     struct errinfo *info)
{
    bool temporary = chatfields_temporary(fields);
    struct chatrecord_shelf *shelf = &s->shelves[temporary ? CHATSTORE_MEMORY : CHATSTORE_DISK];
    struct chatrecord r = {0};
    json_t *document = NULL;
    TRY(database_begin(shelf->database, info));
    err e = chatrecord_new(shelf, owner, now, &r, info);
    e = e == ERR_OK ? chatfields_apply(&r, fields, true, info) : e;
    e = e == ERR_OK && temporary ? chatstore_make_room(shelf, owner, info) : e;
    e = e == ERR_OK ? chatrecord_insert(shelf, &r, info) : e;
    e = e == ERR_OK ? chatsearch_chat(shelf, &r, info) : e;
    e = e == ERR_OK ? chatrecord_json(&r, &document, info) : e;
    return chatstore_leave(shelf, &r, e, document, chat, info);
}

static err chatstore_patch_in(struct chatrecord_shelf *shelf, struct chatrecord *r, const json_t *fields,
                              struct errinfo *info)
{
    TRY(chatsearch_forget_title(shelf, r, info));
    TRY(chatfields_apply(r, fields, false, info));
    if (r->leaf[0] && json_object_get(fields, "leaf")) {
        json_t *leaf = NULL;
        TRY(chatmessage_find(shelf, r, r->leaf, &leaf, NULL, info));
        json_decref(leaf);
    }
    TRY(chatrecord_update(shelf, r, info));
    return chatsearch_title(shelf, r, info);
}

err chatstore_patch(struct chatstore *s, const char *owner, const char *id, const json_t *fields, json_t **chat,
                    struct errinfo *info)
{
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord r = {0};
    json_t *document = NULL;
    TRY(chatstore_enter(s, owner, id, &shelf, &r, info));
    err e = chatstore_patch_in(shelf, &r, fields, info);
    e = e == ERR_OK ? chatrecord_json(&r, &document, info) : e;
    return chatstore_leave(shelf, &r, e, document, chat, info);
}

/* ---- Reading. ---- */

err chatstore_chat(struct chatstore *s, const char *owner, const char *id, json_t **chat, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord r = {0};
    json_t *document = NULL;
    TRY(chatstore_enter(s, owner, id, &shelf, &r, info));
    err e = chatrecord_json(&r, &document, info);
    return chatstore_leave(shelf, &r, e, document, chat, info);
}

err chatstore_large(struct chatstore *s, const char *owner, const char *id, bool *large, struct errinfo *info)
{
    err e = ERR_NOTFOUND;
    bool found = false;
    for (size_t i = 0; i < CHATSTORE_SHELVES && e == ERR_NOTFOUND; i++) {
        const struct chatrecord_shelf *shelf = &s->shelves[i];
        int64_t number = 0;
        TRY(database_begin(shelf->database, info));
        e = chatrecord_number(shelf, owner, id, &number, info);
        e = e == ERR_OK ? chatrecord_large(shelf, number, &found, info) : e;
        e = database_end(shelf->database, e, info);
    }
    if (e == ERR_OK || e == ERR_NOTFOUND) {
        *large = found;
        return ERR_OK;
    }
    return e;
}

/* A portion of its messages, and the chat as it is then. */
static err chatstore_get_some(struct chatstore *s, const char *owner, const char *id, json_t *messages,
                              int64_t *last, bool *more, json_t **chat, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = NULL;
    struct chatrecord r = {0};
    json_t *document = NULL;
    TRY(chatstore_enter(s, owner, id, &shelf, &r, info));
    err e = chatmessage_some(shelf, &r, messages, last, more, info);
    e = e == ERR_OK ? chatrecord_json(&r, &document, info) : e;
    return chatstore_leave(shelf, &r, e, document, chat, info);
}

err chatstore_get(struct chatstore *s, const char *owner, const char *id, json_t **out, struct errinfo *info)
{
    json_t *chat = NULL, *messages = json_array(), *document = NULL;
    err e = messages ? ERR_OK : chatrecord_nomem(info);
    int64_t last = 0;
    for (bool more = true; more && e == ERR_OK;) {
        json_decref(chat);
        chat = NULL;
        e = chatstore_get_some(s, owner, id, messages, &last, &more, &chat, info);
    }
    if (e == ERR_OK && !(document = json_pack("{s:O, s:O}", "chat", chat, "messages", messages))) {
        e = chatrecord_nomem(info);
    }
    json_decref(chat);
    json_decref(messages);
    if (e == ERR_OK) {
        *out = document;
    }
    return e;
}

static err chatstore_place_of(struct chatrecord_shelf *shelf, const char *owner, const char *before,
                              struct chatstore_place *out, struct errinfo *info)
{
    struct chatrecord r = {0};
    *out = (struct chatstore_place){2, CHATSTORE_ALWAYS, CHATSTORE_ALWAYS};
    if (before) {
        TRY(chatrecord_find(shelf, owner, before, &r, info));
        *out = (struct chatstore_place){r.pinned, r.updated, r.number};
        chatrecord_deinit(&r);
    }
    return ERR_OK;
}

/* Appends the rows of `st` to `list`, at most until it has `limit`, for CHATRECORD_PORTION_S, and one at least;
 * *after is then the last one's place. *more: there was another. */
static err chatstore_collect(struct chatrecord_shelf *shelf, sqlite3_stmt *st, size_t limit,
                             struct chatstore_place *after, json_t *list, bool *more, struct errinfo *info)
{
    const double until = progress_clock() + CHATRECORD_PORTION_S;
    TRY(database_next(shelf->database, st, more, info));
    while (*more && json_array_size(list) < limit) {
        struct chatrecord r = {0};
        json_t *row = NULL;
        err e = chatrecord_read(shelf, st, &r, info);
        e = e == ERR_CORRUPT ? chatrecord_damaged(shelf, st, &r, info)
                             : e; /* it can still be seen, and deleted */
        e = e == ERR_OK ? chatrecord_row(&r, &row, info) : e;
        *after = (struct chatstore_place){r.pinned, r.updated, r.number};
        chatrecord_deinit(&r);
        TRY(e);
        if (json_array_append_new(list, row) != 0) {
            return chatrecord_nomem(info);
        }
        TRY(database_next(shelf->database, st, more, info));
        if (progress_clock() >= until) {
            break;
        }
    }
    sqlite3_reset(st);
    return ERR_OK;
}

static err chatstore_list_plain(struct chatrecord_shelf *shelf, const char *owner,
                                const struct chatstore_query *query, struct chatstore_place *after,
                                json_t *list, bool *more, struct errinfo *info)
{
    unsigned char tag[VAULT_TAG];
    sqlite3_stmt *st;
    if (query->folder) {
        TRY(chatrecord_folder(shelf, owner, query->folder, tag, info));
    }
    TRY(database_query(
        shelf->database, &st, info,
        "SELECT " CHATRECORD_COLUMNS " FROM chat_seen c WHERE c.owner = ?1"
        " AND (c.pinned, c.updated, c.number) < (?2, ?3, ?4) AND (?5 IS NULL OR c.folder_tag = ?5)"
        " ORDER BY c.pinned DESC, c.updated DESC, c.number DESC LIMIT ?6",
        "tiiibi", owner, after->pinned, after->updated, after->number, query->folder ? tag : NULL, sizeof tag,
        (int64_t)(query->limit - json_array_size(list)) + 1));
    return chatstore_collect(shelf, st, query->limit, after, list, more, info);
}

/* A portion of the list, in a transaction of its own. */
static err chatstore_list_some(struct chatstore *s, const char *owner, const struct chatstore_query *query,
                               struct chatstore_place *after, json_t *list, bool *more, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = &s->shelves[CHATSTORE_DISK];
    *more = false;
    TRY(database_begin(shelf->database, info));
    err e = json_array_size(list) == 0 ? chatstore_place_of(shelf, owner, query->before, after, info) : ERR_OK;
    if (e == ERR_OK && query->search) {
        e = chatsearch_list(s->search, owner, query, after, query->limit, list, more, info);
    } else if (e == ERR_OK) {
        e = chatstore_list_plain(shelf, owner, query, after, list, more, info);
    }
    return database_end(shelf->database, e, info);
}

err chatstore_list(struct chatstore *s, const char *owner, const struct chatstore_query *query, json_t **out,
                   struct errinfo *info)
{
    struct chatstore_query q = *query;
    struct chatstore_place after = {0};
    json_t *list = json_array(), *document = NULL;
    bool more = true;
    q.search = q.search && q.search[0] ? q.search : NULL;
    q.limit = q.limit == 0 ? CHATSTORE_LIST : q.limit < CHATSTORE_LIST_MAX ? q.limit : CHATSTORE_LIST_MAX;
    err e = !list ? chatrecord_nomem(info) : q.search ? chatsearch_fill(s->search, info) : ERR_OK;
    do {
        e = e == ERR_OK ? chatstore_list_some(s, owner, &q, &after, list, &more, info) : e;
    } while (e == ERR_OK && more && !q.search && json_array_size(list) < q.limit);
    if (e == ERR_OK && !(document = json_pack("{s:O, s:b}", "chats", list, "more", more))) {
        e = chatrecord_nomem(info);
    }
    json_decref(list);
    if (e == ERR_OK) {
        *out = document;
    }
    return e;
}

/* ---- Deleting. ---- */

/* Of what one step deletes. */
struct chatstore_portion {
    size_t room;
    double until;
};

static struct chatstore_portion chatstore_portion(double seconds)
{
    return (struct chatstore_portion){DATABASE_DELETED, progress_clock() + seconds};
}

/* Inside a transaction: the chat's words, as many as there is time for, then its key and rows, as
 * chatrecord_delete. */
static err chatstore_drop(struct chatrecord_shelf *shelf, int64_t number, struct chatstore_portion *p,
                          bool *whole, struct errinfo *info)
{
    TRY(chatsearch_forget(shelf, number, p->until, whole, info));
    if (!*whole) {
        p->room = 0;
        return ERR_OK;
    }
    return chatrecord_delete(shelf, number, &p->room, whole, info);
}

static err chatstore_delete_from(struct chatrecord_shelf *shelf, const char *owner, const char *id,
                                 struct errinfo *info)
{
    for (bool whole = false; !whole;) {
        int64_t number = 0;
        TRY(database_begin_delete(shelf->database, info));
        struct chatstore_portion p = chatstore_portion(CHATRECORD_PORTION_S);
        err e = chatrecord_number(shelf, owner, id, &number, info);
        e = e == ERR_OK ? chatstore_drop(shelf, number, &p, &whole, info) : e;
        TRY(database_end(shelf->database, e, info));
        TRY(database_scrub(shelf->database, info));
    }
    return ERR_OK;
}

err chatstore_delete(struct chatstore *s, const char *owner, const char *id, struct errinfo *info)
{
    err e = chatstore_delete_from(&s->shelves[CHATSTORE_DISK], owner, id, info);
    return e == ERR_NOTFOUND ? chatstore_delete_from(&s->shelves[CHATSTORE_MEMORY], owner, id, info) : e;
}

/* Which chats go: a statement that finds a number of them, ?4, by what stands beside it. */
struct chatstore_going {
    const char *sql, *owner; /* ?1 */
    int64_t a, b;            /* ?2, ?3 */
};

static const char CHATSTORE_ALL_OF[] = "SELECT number FROM chat_seen WHERE owner = ?1 LIMIT ?4";
/* Now, and the days of the rule for all; 0: only their own rules. */
static const char CHATSTORE_UNUSED[] =
    "SELECT number FROM chat_seen WHERE updated <= ?2 - 86400000 * min("
    "coalesce(forget_after_days, nullif(?3, 0)), coalesce(nullif(?3, 0), forget_after_days)) LIMIT ?4";
static const char CHATSTORE_COMING[] = "SELECT chat FROM coming WHERE import BETWEEN ?2 AND ?3 LIMIT ?4";

/* Some of them, inside a transaction: *n are gone, *more may be left. */
static err chatstore_drop_some(struct chatrecord_shelf *shelf, const struct chatstore_going *g, size_t *n,
                               bool *more, struct errinfo *info)
{
    int64_t numbers[CHATSTORE_BATCH];
    size_t found = 0;
    struct chatstore_portion p = chatstore_portion(CHATSTORE_MANY_S);
    sqlite3_stmt *st;
    bool row = true, whole = true;
    *n = 0;
    TRY(database_query(shelf->database, &st, info, g->sql, "tiii", g->owner, g->a, g->b,
                       (int64_t)CHATSTORE_BATCH));
    while (true) {
        TRY(database_next(shelf->database, st, &row, info));
        if (!row) {
            break;
        }
        numbers[found++] = sqlite3_column_int64(st, 0);
    }
    for (size_t i = 0; i < found && p.room > 0; i++) {
        TRY(chatstore_drop(shelf, numbers[i], &p, &whole, info));
        *n += whole;
    }
    *more = found == CHATSTORE_BATCH || *n < found;
    return ERR_OK;
}

/* All of them, some at a time, so that others get their turn; *total counts them. */
static err chatstore_drop_all(struct chatrecord_shelf *shelf, const struct chatstore_going *g, size_t *total,
                              struct errinfo *info)
{
    for (bool more = true; more;) {
        size_t n;
        TRY(database_begin_delete(shelf->database, info));
        TRY(database_end(shelf->database, chatstore_drop_some(shelf, g, &n, &more, info), info));
        TRY(database_scrub(shelf->database, info));
        *total += n;
    }
    return ERR_OK;
}

err chatstore_drop_coming(struct chatstore *s, int64_t first, int64_t last, struct errinfo *info)
{
    const struct chatstore_going going = {CHATSTORE_COMING, NULL, first, last};
    size_t n = 0;
    return chatstore_drop_all(&s->shelves[CHATSTORE_DISK], &going, &n, info);
}

err chatstore_delete_all(struct chatstore *s, const char *owner, struct errinfo *info)
{
    const struct chatstore_going going = {CHATSTORE_ALL_OF, owner, 0, 0};
    size_t n = 0;
    for (size_t i = 0; i < CHATSTORE_SHELVES; i++) {
        TRY(chatstore_drop_all(&s->shelves[i], &going, &n, info));
    }
    return ERR_OK;
}

err chatstore_forget(struct chatstore *s, size_t days, int64_t now, size_t *forgotten, struct errinfo *info)
{
    const int64_t rule = days < CHATSTORE_DAYS_MAX ? (int64_t)days : CHATSTORE_DAYS_MAX;
    size_t n = 0;
    TRY(chatstore_drop_coming(s, 0, s->cut_off, info));
    for (size_t i = 0; i < CHATSTORE_SHELVES; i++) {
        const int64_t after = s->shelves[i].temporary ? 1 : rule;
        const struct chatstore_going going = {CHATSTORE_UNUSED, NULL, now, after};
        TRY(chatstore_drop_all(&s->shelves[i], &going, &n, info));
    }
    *forgotten = n;
    return ERR_OK;
}

/* ---- Presets. ---- */

/* The key and the words that seal an owner's presets. */
static err chatstore_preset_key(const struct chatrecord_shelf *shelf, const char *owner, struct strbuf *ad,
                                struct errinfo *info)
{
    vault_derive(database_vault(shelf->database), "presets_", 0, shelf->key);
    return strbuf_printf(ad, "presets of %s", owner) == ERR_OK ? ERR_OK : chatrecord_nomem(info);
}

static err chatstore_read_presets(const struct chatrecord_shelf *shelf, const char *owner, json_t **out,
                                  struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    struct strbuf ad = {0};
    TRY(database_query(shelf->database, &st, info, "SELECT body FROM preset WHERE owner = ?1", "t", owner));
    TRY(database_next(shelf->database, st, &row, info));
    if (!row) {
        *out = json_pack("{s:[]}", "presets");
        return *out ? ERR_OK : chatrecord_nomem(info);
    }
    err e = chatstore_preset_key(shelf, owner, &ad, info);
    e = e == ERR_OK ? chatrecord_unseal(shelf->key, ad.data, sqlite3_column_blob(st, 0),
                                        (size_t)sqlite3_column_bytes(st, 0), out, info)
                    : e;
    strbuf_deinit(&ad);
    return e;
}

err chatstore_presets(struct chatstore *s, const char *owner, json_t **out, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = &s->shelves[CHATSTORE_DISK];
    struct chatrecord none = {0};
    json_t *document = NULL;
    TRY(database_begin(shelf->database, info));
    err e = chatstore_read_presets(shelf, owner, &document, info);
    return chatstore_leave(shelf, &none, e, document, out, info);
}

static err chatstore_write_presets(const struct chatrecord_shelf *shelf, const char *owner,
                                   const json_t *presets, struct errinfo *info)
{
    unsigned char *body = NULL;
    size_t n = 0;
    struct strbuf ad = {0};
    json_t *document = json_pack("{s:O}", "presets", presets);
    err e = document ? chatstore_preset_key(shelf, owner, &ad, info) : chatrecord_nomem(info);
    e = e == ERR_OK ? chatrecord_seal(shelf->key, ad.data, document, &body, &n, info) : e;
    e = e == ERR_OK ? database_run(shelf->database, info, "INSERT OR REPLACE INTO preset VALUES(?1, ?2)", "tb",
                                   owner, body, n)
                    : e;
    mem_free(body);
    json_decref(document);
    strbuf_deinit(&ad);
    return e;
}

err chatstore_put_presets(struct chatstore *s, const char *owner, const json_t *presets, struct errinfo *info)
{
    struct chatrecord_shelf *shelf = &s->shelves[CHATSTORE_DISK];
    TRY(chatfields_presets(presets, info));
    TRY(database_begin(shelf->database, info));
    return database_end(shelf->database, chatstore_write_presets(shelf, owner, presets, info), info);
}

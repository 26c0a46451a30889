/* server/chatsearch.c: see chatsearch.h. The index keeps no text (contentless FTS5): what leaves it must be
 * told to it word for word as it came in, which is why titles and messages are taken out before they change. */
#include "server/chatsearch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "server/chatstore_data.h"
#include "server/searchwords.h"

enum { CHATSEARCH_SLICE = 64 /* messages under one lock */, CHATSEARCH_TEXT_MAX = 1 << 20 };

struct chatsearch {
    struct chatrecord_shelf *shelf;
    int64_t filled_to; /* every chat up to this number is in the index */
    atomic_bool full, stopping;
    bool has_thread;
    pthread_t thread;
};

/* ---- Rows of the index: a message's is 2 * number, a title's 2 * the chat's number + 1. ---- */

static err chatsearch_words(const char *text, struct strbuf *out, struct errinfo *info)
{
    return searchwords_append(text, strnlen(text, CHATSEARCH_TEXT_MAX), out) == ERR_OK ? ERR_OK
                                                                                       : chatrecord_nomem(info);
}

static err chatsearch_add(struct database *d, int64_t row, int64_t chat, int64_t message, const char *text,
                          struct errinfo *info)
{
    struct strbuf words = {0};
    err e = chatsearch_words(text, &words, info);
    if (e == ERR_OK && words.len > 0) {
        e = database_run(d, info, "INSERT INTO scratch.words(rowid, text) VALUES(?1, ?2)", "it", row,
                         words.data);
        e = e == ERR_OK ? database_run(d, info, "INSERT INTO scratch.place VALUES(?1, ?2, ?3)", "iii", row,
                                       chat, message)
                        : e;
    }
    strbuf_deinit(&words);
    return e;
}

static err chatsearch_remove(struct database *d, int64_t row, const char *text, struct errinfo *info)
{
    struct strbuf words = {0};
    TRY(database_run(d, info, "DELETE FROM scratch.place WHERE row = ?1", "i", row));
    if (database_changes(d) == 0) {
        return ERR_OK; /* it was not in the index */
    }
    err e = chatsearch_words(text, &words, info);
    e = e == ERR_OK
            ? database_run(d, info, "INSERT INTO scratch.words(words, rowid, text) VALUES('delete', ?1, ?2)",
                           "it", row, words.data)
            : e;
    strbuf_deinit(&words);
    return e;
}

/* Whether the chat's words are in the index; else they come when it is the chat's turn. */
static err chatsearch_has(struct database *d, int64_t chat, bool *has, struct errinfo *info)
{
    sqlite3_stmt *st;
    TRY(database_query(d, &st, info, "SELECT 1 FROM scratch.filled WHERE chat = ?1", "i", chat));
    TRY(database_next(d, st, has, info));
    sqlite3_reset(st);
    return ERR_OK;
}

/* ---- Kept up to date. ---- */

err chatsearch_title(const struct chatrecord_shelf *shelf, const struct chatrecord *chat, struct errinfo *info)
{
    bool has = false;
    if (shelf->temporary) {
        return ERR_OK;
    }
    TRY(chatsearch_has(shelf->database, chat->number, &has, info));
    return has ? chatsearch_add(shelf->database, 2 * chat->number + 1, chat->number, 0, chatrecord_title(chat),
                                info)
               : ERR_OK;
}

err chatsearch_forget_title(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                            struct errinfo *info)
{
    return shelf->temporary
               ? ERR_OK
               : chatsearch_remove(shelf->database, 2 * chat->number + 1, chatrecord_title(chat), info);
}

err chatsearch_chat(const struct chatrecord_shelf *shelf, const struct chatrecord *chat, struct errinfo *info)
{
    if (shelf->temporary) {
        return ERR_OK;
    }
    TRY(database_run(shelf->database, info, "INSERT INTO scratch.filled VALUES(?1)", "i", chat->number));
    return chatsearch_title(shelf, chat, info);
}

static bool chatsearch_over(const json_t *message)
{
    return strcmp(chatmessage_text(message, "state"), "writing") != 0;
}

err chatsearch_message(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                       const json_t *message, int64_t number, struct errinfo *info)
{
    bool has = false;
    if (shelf->temporary) {
        return ERR_OK;
    }
    TRY(chatsearch_has(shelf->database, chat->number, &has, info));
    return has && chatsearch_over(message) ? chatsearch_add(shelf->database, 2 * number, chat->number, number,
                                                            chatmessage_text(message, "content"), info)
                                           : ERR_OK;
}

/* The chat that has this number; its key is then the shelf's. */
static err chatsearch_record(struct chatrecord_shelf *shelf, int64_t number, struct chatrecord *out,
                             struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(shelf->database, &st, info,
                       "SELECT " CHATRECORD_COLUMNS " FROM chat c WHERE c.number = ?1", "i", number));
    TRY(database_next(shelf->database, st, &row, info));
    err e = row ? chatrecord_read(shelf, st, out, info) : err_set(info, ERR_NOTFOUND, "there is no such chat");
    sqlite3_reset(st);
    return e;
}

/* Adds or removes all messages of a chat; *n counts them. */
static err chatsearch_messages(struct chatrecord_shelf *shelf, const struct chatrecord *chat, bool add,
                               size_t *n, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = true;
    TRY(database_query(shelf->database, &st, info,
                       "SELECT " CHATMESSAGE_COLUMNS " FROM message m WHERE m.chat = ?1", "i", chat->number));
    while (true) {
        json_t *message = NULL;
        TRY(database_next(shelf->database, st, &row, info));
        if (!row) {
            return ERR_OK;
        }
        int64_t number = sqlite3_column_int64(st, 0);
        TRY(chatmessage_read(shelf, chat, st, &message, info));
        const char *text = chatmessage_text(message, "content");
        err e = !add ? chatsearch_remove(shelf->database, 2 * number, text, info)
                : chatsearch_over(message)
                    ? chatsearch_add(shelf->database, 2 * number, chat->number, number, text, info)
                    : ERR_OK;
        json_decref(message);
        TRY(e);
        ++*n;
    }
}

err chatsearch_forget(struct chatrecord_shelf *shelf, int64_t number, struct errinfo *info)
{
    struct chatrecord chat = {0};
    size_t n = 0;
    if (shelf->temporary) {
        return ERR_OK;
    }
    err e = chatsearch_record(shelf, number, &chat, info);
    e = e == ERR_OK ? chatsearch_forget_title(shelf, &chat, info) : e;
    e = e == ERR_OK ? chatsearch_messages(shelf, &chat, false, &n, info) : e;
    chatrecord_deinit(&chat);
    if (e == ERR_CORRUPT) { /* its words stay in memory, but lead nowhere */
        e = database_run(shelf->database, info, "DELETE FROM scratch.place WHERE chat = ?1", "i", number);
    }
    return e == ERR_OK
               ? database_run(shelf->database, info, "DELETE FROM scratch.filled WHERE chat = ?1", "i", number)
               : e;
}

/* ---- Filled at the start. ---- */

/* The next chat after number `from` that is not in the index: *number 0 when there is none. */
static err chatsearch_next(struct database *d, int64_t from, int64_t *number, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(
        d, &st, info,
        "SELECT number FROM chat WHERE number > ?1 AND number NOT IN (SELECT chat FROM scratch.filled)"
        " ORDER BY number LIMIT 1",
        "i", from));
    TRY(database_next(d, st, &row, info));
    *number = row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return ERR_OK;
}

static err chatsearch_fill_chat(struct chatrecord_shelf *shelf, int64_t number, size_t *n, struct errinfo *info)
{
    struct chatrecord chat = {0};
    err e = chatsearch_record(shelf, number, &chat, info);
    e = e == ERR_OK ? chatsearch_chat(shelf, &chat, info) : e;
    e = e == ERR_OK ? chatsearch_messages(shelf, &chat, true, n, info) : e;
    chatrecord_deinit(&chat);
    return e == ERR_CORRUPT ? ERR_OK : e; /* what is damaged is found by nothing */
}

/* Some chats after number *at, which moves on; it becomes 0 after the last. */
static err chatsearch_slice(struct chatrecord_shelf *shelf, int64_t *at, struct errinfo *info)
{
    for (size_t n = 0; n < CHATSEARCH_SLICE; n++) {
        int64_t number = 0;
        TRY(chatsearch_next(shelf->database, *at, &number, info));
        *at = number;
        if (number == 0) {
            return ERR_OK;
        }
        TRY(chatsearch_fill_chat(shelf, number, &n, info));
    }
    return ERR_OK;
}

err chatsearch_fill(struct chatsearch *s, struct errinfo *info)
{
    struct database *d = s->shelf->database;
    while (!atomic_load(&s->full) && !atomic_load(&s->stopping)) {
        TRY(database_begin(d, info));
        int64_t at = s->filled_to;
        err e = chatsearch_slice(s->shelf, &at, info);
        if (e == ERR_OK) {
            s->filled_to = at;
        }
        TRY(database_end(d, e, info)); /* a commit that writes nothing does not fail */
        atomic_store(&s->full, at == 0);
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); /* the lock is for others, too */
    }
    return ERR_OK;
}

static void *chatsearch_run(void *of)
{
    struct chatsearch *s = of;
    /* An error here is met again, and told, by the first search. */
    return chatsearch_fill(s, NULL) == ERR_OK ? s : NULL;
}

err chatsearch_open(struct chatrecord_shelf *shelf, bool fill, struct chatsearch **out, struct errinfo *info)
{
    struct chatsearch *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return chatrecord_nomem(info);
    }
    s->shelf = shelf;
    err e = database_begin(shelf->database, info);
    if (e == ERR_OK) {
        int rc =
            sqlite3_exec(database_handle(shelf->database),
                         "DROP TABLE IF EXISTS scratch.words; DROP TABLE IF EXISTS scratch.place;"
                         "DROP TABLE IF EXISTS scratch.filled;"
                         "CREATE VIRTUAL TABLE scratch.words USING fts5(text, content='', columnsize=0,"
                         " tokenize='ascii');"
                         "CREATE TABLE scratch.place(row INTEGER PRIMARY KEY, chat INTEGER, message INTEGER);"
                         "CREATE TABLE scratch.filled(chat INTEGER PRIMARY KEY)",
                         NULL, NULL, NULL);
        e = rc == SQLITE_OK ? ERR_OK : database_error(shelf->database, rc, info);
        e = database_end(shelf->database, e, info);
    }
    if (e == ERR_OK && fill && pthread_create(&s->thread, NULL, chatsearch_run, s) != 0) {
        e = err_set(info, ERR_IO, "cannot start the thread that fills the search index");
    } else {
        s->has_thread = e == ERR_OK && fill;
    }
    if (e != ERR_OK) {
        chatsearch_close(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void chatsearch_close(struct chatsearch *s)
{
    if (s) {
        atomic_store(&s->stopping, true);
        if (s->has_thread) {
            pthread_join(s->thread, NULL);
        }
        mem_free(s);
    }
}

/* ---- Searching. ---- */

/* What was found in a chat: the text of the message that has it, or the title. */
static err chatsearch_found(struct chatrecord_shelf *shelf, const struct chatrecord *chat, int64_t message,
                            const struct searchwords_query *q, json_t *into, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    json_t *m = NULL;
    struct strbuf snippet = {0};
    TRY(database_query(shelf->database, &st, info,
                       "SELECT " CHATMESSAGE_COLUMNS " FROM message m WHERE m.number = ?1", "i", message));
    TRY(database_next(shelf->database, st, &row, info));
    err e = row ? chatmessage_read(shelf, chat, st, &m, info) : ERR_OK;
    sqlite3_reset(st);
    const char *text = m ? chatmessage_text(m, "content") : chatrecord_title(chat);
    if (e == ERR_OK &&
        (searchwords_snippet(q, text, &snippet) != ERR_OK ||
         json_object_set_new(into, "snippet", json_string(snippet.data)) != 0 ||
         json_object_set_new(into, "message", m ? json_string(chatmessage_text(m, "id")) : json_null()) != 0)) {
        e = chatrecord_nomem(info);
    }
    strbuf_deinit(&snippet);
    json_decref(m);
    return e;
}

/* The chat of the row, with what was found in it, to the list. */
static err chatsearch_hit(struct chatrecord_shelf *shelf, sqlite3_stmt *st, const struct searchwords_query *q,
                          json_t *list, struct errinfo *info)
{
    struct chatrecord r = {0};
    json_t *chat = NULL;
    err e = chatrecord_read(shelf, st, &r, info);
    e = e == ERR_OK ? chatrecord_json(&r, &chat, info) : e;
    e = e == ERR_OK ? chatsearch_found(shelf, &r, sqlite3_column_int64(st, 8), q, chat, info) : e;
    if (e == ERR_OK && json_array_append(list, chat) != 0) {
        e = chatrecord_nomem(info);
    }
    json_decref(chat);
    chatrecord_deinit(&r);
    return e == ERR_CORRUPT ? ERR_OK : e; /* damaged since it was indexed */
}

err chatsearch_list(struct chatsearch *s, const char *owner, const struct chatstore_query *query,
                    const struct chatstore_place *after, size_t limit, json_t *list, bool *more,
                    struct errinfo *info)
{
    struct chatrecord_shelf *shelf = s->shelf;
    struct searchwords_query q;
    struct strbuf expression = {0};
    unsigned char tag[VAULT_TAG];
    sqlite3_stmt *st;
    bool row = true;
    searchwords_parse(query->search, &q);
    if (q.n == 0) {
        return ERR_OK; /* no letter, no digit: nothing has it */
    }
    if (query->folder) {
        TRY(chatrecord_folder(shelf, owner, query->folder, tag, info));
    }
    err e = searchwords_expression(&q, &expression) == ERR_OK ? ERR_OK : chatrecord_nomem(info);
    e = e != ERR_OK
            ? e
            : database_query(
                  shelf->database, &st, info,
                  "WITH hit AS (SELECT p.chat AS chat, max(p.message) AS message FROM scratch.words"
                  "  JOIN scratch.place p ON p.row = words.rowid WHERE words MATCH ?7 GROUP BY p.chat),"
                  " page AS (SELECT c.number AS number, hit.message AS message FROM hit JOIN chat c ON "
                  "c.number = hit.chat"
                  "  WHERE c.owner = ?1 AND (c.pinned, c.updated, c.number) < (?2, ?3, ?4)"
                  "  AND (?5 IS NULL OR c.folder_tag = ?5)"
                  "  ORDER BY c.pinned DESC, c.updated DESC, c.number DESC LIMIT ?6)"
                  " SELECT " CHATRECORD_COLUMNS ", page.message FROM page JOIN chat c ON c.number = page.number"
                  " ORDER BY c.pinned DESC, c.updated DESC, c.number DESC",
                  "tiiibit", owner, after->pinned, after->updated, after->number, query->folder ? tag : NULL,
                  sizeof tag, (int64_t)limit + 1, expression.data);
    for (size_t n = 0; e == ERR_OK && (e = database_next(shelf->database, st, &row, info)) == ERR_OK && row;
         n++) {
        *more = n == limit;
        if (*more) {
            break;
        }
        e = chatsearch_hit(shelf, st, &q, list, info);
    }
    strbuf_deinit(&expression);
    return e;
}

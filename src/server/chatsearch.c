/* server/chatsearch.c: see chatsearch.h. The index keeps no text (contentless FTS5): what leaves it must be
 * told to it word for word as it came in, which is why titles and messages are taken out before they change. Of
 * a chat in scratch.filled it has the title, and the messages after number `gone` up to number `last`. */
#include "server/chatsearch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/progress.h"
#include "server/chatstore_data.h"
#include "server/searchwords.h"

enum { CHATSEARCH_TEXT_MAX = 1 << 20 };

struct chatsearch {
    struct chatrecord_shelf *shelf;
    int64_t filled_to; /* every chat up to this number is in the index */
    atomic_bool full, stopping;
    bool has_thread;
    pthread_t thread;
};

/* ---- Rows of the index: the number of the chat and that of the message, 0 for the title; so that what is
 * found in a chat comes together. ---- */

static bool chatsearch_row(int64_t chat, int64_t message, int64_t *row)
{
    *row = chat << 32 | message;
    return chat <= INT32_MAX && message <= UINT32_MAX; /* who has more does not find the newest */
}

static const char CHATSEARCH_ADD[] = "INSERT INTO scratch.words(rowid, text) VALUES(?1, ?2)";
static const char CHATSEARCH_REMOVE[] =
    "INSERT INTO scratch.words(words, rowid, text) VALUES('delete', ?1, ?2)";

/* Adds or removes (`sql`) the words of a text. */
static err chatsearch_put(struct database *d, const char *sql, int64_t chat, int64_t message, const char *text,
                          struct errinfo *info)
{
    struct strbuf words = {0};
    int64_t row;
    err e = searchwords_append(text, strnlen(text, CHATSEARCH_TEXT_MAX), &words) == ERR_OK
                ? ERR_OK
                : chatrecord_nomem(info);
    if (e == ERR_OK && words.len > 0 && chatsearch_row(chat, message, &row)) {
        e = database_run(d, info, sql, "it", row, words.data);
    }
    strbuf_deinit(&words);
    return e;
}

/* Whether the words of the chat's message (0: its title) are in the index, or would be; else they come when it
 * is their turn, or the chat is about to go. */
static err chatsearch_has(struct database *d, int64_t chat, int64_t message, bool *has, struct errinfo *info)
{
    sqlite3_stmt *st;
    TRY(database_query(d, &st, info,
                       "SELECT 1 FROM scratch.filled"
                       " WHERE chat = ?1 AND (?2 = 0 OR (gone < ?2 AND ?2 <= last))",
                       "ii", chat, message));
    TRY(database_next(d, st, has, info));
    sqlite3_reset(st);
    return ERR_OK;
}

/* ---- Kept up to date. ---- */

/* Adds or removes a title, of a chat that is in the index. */
static err chatsearch_put_title(const struct chatrecord_shelf *shelf, const char *sql,
                                const struct chatrecord *chat, struct errinfo *info)
{
    bool has = false;
    if (shelf->temporary) {
        return ERR_OK;
    }
    TRY(chatsearch_has(shelf->database, chat->number, 0, &has, info));
    return has ? chatsearch_put(shelf->database, sql, chat->number, 0, chatrecord_title(chat), info) : ERR_OK;
}

err chatsearch_title(const struct chatrecord_shelf *shelf, const struct chatrecord *chat, struct errinfo *info)
{
    return chatsearch_put_title(shelf, CHATSEARCH_ADD, chat, info);
}

err chatsearch_forget_title(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                            struct errinfo *info)
{
    return chatsearch_put_title(shelf, CHATSEARCH_REMOVE, chat, info);
}

/* The chat, with messages up to `last`. */
static err chatsearch_enter(const struct chatrecord_shelf *shelf, const struct chatrecord *chat, int64_t last,
                            struct errinfo *info)
{
    TRY(database_run(shelf->database, info, "INSERT INTO scratch.filled VALUES(?1, 0, ?2)", "ii", chat->number,
                     last));
    return chatsearch_title(shelf, chat, info);
}

err chatsearch_chat(const struct chatrecord_shelf *shelf, const struct chatrecord *chat, struct errinfo *info)
{
    return shelf->temporary ? ERR_OK : chatsearch_enter(shelf, chat, INT64_MAX, info);
}

/* Adds or removes a message, unless it is still being written. */
static err chatsearch_put_message(const struct chatrecord_shelf *shelf, const char *sql,
                                  const struct chatrecord *chat, const json_t *message, int64_t number,
                                  struct errinfo *info)
{
    bool over = strcmp(chatmessage_text(message, "state"), "writing") != 0;
    return over ? chatsearch_put(shelf->database, sql, chat->number, number,
                                 chatmessage_text(message, "content"), info)
                : ERR_OK;
}

err chatsearch_message(const struct chatrecord_shelf *shelf, const struct chatrecord *chat,
                       const json_t *message, int64_t number, struct errinfo *info)
{
    bool has = false;
    if (shelf->temporary) {
        return ERR_OK;
    }
    TRY(chatsearch_has(shelf->database, chat->number, number, &has, info));
    return has ? chatsearch_put_message(shelf, CHATSEARCH_ADD, chat, message, number, info) : ERR_OK;
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

/* Some of a chat's messages. */
struct chatsearch_portion {
    int64_t last, to; /* those behind the one up to the other, as far as there is time; `last` moves on */
    double until;     /* as progress_clock; one is done in any case */
    bool more;        /* whether others may follow */
};

/* Adds or removes those that can be read: what is damaged is found by nothing. */
static err chatsearch_messages(struct chatrecord_shelf *shelf, const char *sql, const struct chatrecord *chat,
                               struct chatsearch_portion *p, struct errinfo *info)
{
    sqlite3_stmt *st;
    TRY(database_query(shelf->database, &st, info,
                       "SELECT " CHATMESSAGE_COLUMNS " FROM message m WHERE m.chat = ?1 AND m.number > ?2"
                       " AND m.number <= ?3 ORDER BY m.number",
                       "iii", chat->number, p->last, p->to));
    do {
        json_t *message = NULL;
        TRY(database_next(shelf->database, st, &p->more, info));
        err e = p->more ? chatmessage_read(shelf, chat, st, &message, info) : ERR_CORRUPT;
        p->last = p->more ? sqlite3_column_int64(st, 0) : p->last;
        e = e == ERR_OK ? chatsearch_put_message(shelf, sql, chat, message, p->last, info) : e;
        json_decref(message);
        TRY(e == ERR_CORRUPT ? ERR_OK : e);
    } while (p->more && progress_clock() < p->until);
    sqlite3_reset(st);
    return ERR_OK;
}

/* Words of a damaged chat stay in memory, but lead nowhere. */
static err chatsearch_forget_some(struct chatrecord_shelf *shelf, int64_t number, struct chatsearch_portion *p,
                                  struct errinfo *info)
{
    struct chatrecord chat = {0};
    err e = chatsearch_record(shelf, number, &chat, info);
    e = e == ERR_OK ? chatsearch_messages(shelf, CHATSEARCH_REMOVE, &chat, p, info) : e;
    e = e == ERR_OK && !p->more ? chatsearch_forget_title(shelf, &chat, info) : e;
    chatrecord_deinit(&chat);
    p->more = p->more && e == ERR_OK;
    return e == ERR_CORRUPT ? ERR_OK : e;
}

err chatsearch_forget(struct chatrecord_shelf *shelf, int64_t number, double until, bool *whole,
                      struct errinfo *info)
{
    struct chatsearch_portion p = {.until = until};
    struct database *d = shelf->database;
    sqlite3_stmt *st;
    bool has = false;
    *whole = true;
    if (shelf->temporary) {
        return ERR_OK;
    }
    TRY(database_query(d, &st, info, "SELECT gone, last FROM scratch.filled WHERE chat = ?1", "i", number));
    TRY(database_next(d, st, &has, info));
    if (!has) {
        return ERR_OK;
    }
    p.last = sqlite3_column_int64(st, 0);
    p.to = sqlite3_column_int64(st, 1);
    sqlite3_reset(st);
    TRY(chatsearch_forget_some(shelf, number, &p, info));
    *whole = !p.more;
    if (p.more) {
        return database_run(d, info, "UPDATE scratch.filled SET gone = ?2 WHERE chat = ?1", "ii", number,
                            p.last);
    }
    return database_run(d, info, "DELETE FROM scratch.filled WHERE chat = ?1", "i", number);
}

/* ---- Filled at the start. ---- */

/* The next chat after number `from` that is not whole in the index: *number 0 when there is none; *last -1:
 * nothing of it is. One that is about to go stays as it is. */
static err chatsearch_next(struct database *d, int64_t from, int64_t *number, int64_t *last,
                           struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    TRY(database_query(d, &st, info,
                       "SELECT c.number, coalesce(f.last, -1) FROM chat_seen c"
                       " LEFT JOIN scratch.filled f ON f.chat = c.number WHERE c.number > ?1"
                       " AND (f.chat IS NULL OR (f.gone = 0 AND f.last < ?2)) ORDER BY c.number LIMIT 1",
                       "ii", from, INT64_MAX));
    TRY(database_next(d, st, &row, info));
    *number = row ? sqlite3_column_int64(st, 0) : 0;
    *last = row ? sqlite3_column_int64(st, 1) : -1;
    sqlite3_reset(st);
    return ERR_OK;
}

/* A portion of the chat's messages, those behind p->last, with the title before the first. */
static err chatsearch_fill_chat(struct chatrecord_shelf *shelf, int64_t number, struct chatsearch_portion *p,
                                struct errinfo *info)
{
    struct chatrecord chat = {0};
    err e = chatsearch_record(shelf, number, &chat, info);
    e = e == ERR_OK && p->last < 0 ? chatsearch_enter(shelf, &chat, 0, info) : e;
    e = e == ERR_OK ? chatsearch_messages(shelf, CHATSEARCH_ADD, &chat, p, info) : e;
    chatrecord_deinit(&chat);
    if (e == ERR_OK) {
        return database_run(shelf->database, info, "UPDATE scratch.filled SET last = ?2 WHERE chat = ?1", "ii",
                            number, p->more ? p->last : INT64_MAX);
    }
    return e == ERR_CORRUPT ? ERR_OK : e; /* what is damaged is found by nothing */
}

/* A portion of what comes after chat number *at, which moves on; it becomes INT64_MAX after the last. */
static err chatsearch_slice(struct chatrecord_shelf *shelf, int64_t *at, struct errinfo *info)
{
    struct chatsearch_portion p = {.to = INT64_MAX, .until = progress_clock() + CHATRECORD_PORTION_S};
    do {
        int64_t number = 0;
        TRY(chatsearch_next(shelf->database, *at, &number, &p.last, info));
        if (number == 0) {
            *at = INT64_MAX;
            return ERR_OK;
        }
        p.more = false;
        TRY(chatsearch_fill_chat(shelf, number, &p, info));
        *at = p.more ? *at : number;
    } while (progress_clock() < p.until);
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
        atomic_store(&s->full, at == INT64_MAX);
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
        int rc = sqlite3_exec(database_handle(shelf->database),
                              "DROP TABLE IF EXISTS scratch.words; DROP TABLE IF EXISTS scratch.filled;"
                              "CREATE VIRTUAL TABLE scratch.words USING fts5(text, content='', columnsize=0,"
                              " tokenize='ascii');"
                              "CREATE TABLE scratch.filled(chat INTEGER PRIMARY KEY, gone INTEGER NOT NULL,"
                              " last INTEGER NOT NULL)",
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

/* Chats that have the words, in the order of their numbers, each with its newest message that does (0: the
 * title). */
struct chatsearch_hits {
    struct chatsearch_found {
        int64_t chat, message;
    } * found;
    size_t n, room;
};

static err chatsearch_hit(struct chatsearch_hits *hits, int64_t row, struct errinfo *info)
{
    struct chatsearch_found one = {row >> 32, row & UINT32_MAX};
    if (hits->n > 0 && hits->found[hits->n - 1].chat == one.chat) {
        hits->n--; /* rows come in order: the later message is the newer one */
    } else if (hits->n == hits->room) {
        size_t room = hits->room ? 2 * hits->room : 256;
        struct chatsearch_found *more = mem_resize(hits->found, room, sizeof *more);
        if (!more) {
            return chatrecord_nomem(info);
        }
        hits->found = more;
        hits->room = room;
    }
    hits->found[hits->n++] = one;
    return ERR_OK;
}

static err chatsearch_collect(struct database *d, const struct searchwords_query *q,
                              struct chatsearch_hits *hits, struct errinfo *info)
{
    struct strbuf expression = {0};
    sqlite3_stmt *st;
    bool row = true;
    err e = searchwords_expression(q, &expression) == ERR_OK ? ERR_OK : chatrecord_nomem(info);
    e = e == ERR_OK ? database_query(d, &st, info,
                                     "SELECT rowid FROM scratch.words WHERE words MATCH ?1 ORDER BY rowid", "t",
                                     expression.data)
                    : e;
    while (e == ERR_OK && (e = database_next(d, st, &row, info)) == ERR_OK && row) {
        e = chatsearch_hit(hits, sqlite3_column_int64(st, 0), info);
    }
    strbuf_deinit(&expression);
    return e;
}

static int chatsearch_compare(const void *a, const void *b)
{
    int64_t x = ((const struct chatsearch_found *)a)->chat, y = ((const struct chatsearch_found *)b)->chat;
    return (x > y) - (x < y);
}

/* Puts what was found in the chat into its document: some text of the message, or of the title. */
static err chatsearch_describe(struct chatrecord_shelf *shelf, const struct chatrecord *chat, int64_t message,
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

/* The chat, with what was found in it, to the list. */
static err chatsearch_add(struct chatrecord_shelf *shelf, const struct chatsearch_found *found,
                          const struct searchwords_query *q, json_t *list, struct errinfo *info)
{
    struct chatrecord r = {0};
    json_t *chat = NULL;
    err e = chatsearch_record(shelf, found->chat, &r, info);
    e = e == ERR_OK ? chatrecord_row(&r, &chat, info) : e;
    e = e == ERR_OK ? chatsearch_describe(shelf, &r, found->message, q, chat, info) : e;
    if (e == ERR_OK && json_array_append(list, chat) != 0) {
        e = chatrecord_nomem(info);
    }
    json_decref(chat);
    chatrecord_deinit(&r);
    return e == ERR_CORRUPT ? ERR_OK : e; /* damaged since it was indexed */
}

/* Walks the owner's chats in the order of the list, which touches an index alone, and picks those that were
 * hit: where many were, the page is soon full; where few were, the walk is all there is. */
static err chatsearch_walk(struct chatrecord_shelf *shelf, sqlite3_stmt *st, const struct chatsearch_hits *hits,
                           const struct searchwords_query *q, size_t limit, json_t *list, bool *more,
                           struct errinfo *info)
{
    bool row = true;
    for (size_t left = hits->n, n = 0; left > 0;) {
        TRY(database_next(shelf->database, st, &row, info));
        if (!row) {
            return ERR_OK;
        }
        struct chatsearch_found key = {sqlite3_column_int64(st, 0), 0};
        const struct chatsearch_found *found =
            bsearch(&key, hits->found, hits->n, sizeof key, chatsearch_compare);
        if (!found) {
            continue;
        }
        *more = n == limit;
        if (*more) {
            return ERR_OK;
        }
        TRY(chatsearch_add(shelf, found, q, list, info));
        n++;
        left--;
    }
    return ERR_OK;
}

err chatsearch_list(struct chatsearch *s, const char *owner, const struct chatstore_query *query,
                    const struct chatstore_place *after, size_t limit, json_t *list, bool *more,
                    struct errinfo *info)
{
    struct chatrecord_shelf *shelf = s->shelf;
    struct searchwords_query q;
    struct chatsearch_hits hits = {0};
    unsigned char tag[VAULT_TAG];
    sqlite3_stmt *st;
    searchwords_parse(query->search, &q);
    if (q.n == 0) {
        return ERR_OK; /* no letter, no digit: nothing has it */
    }
    if (query->folder) {
        TRY(chatrecord_folder(shelf, owner, query->folder, tag, info));
    }
    err e = chatsearch_collect(shelf->database, &q, &hits, info);
    e = e == ERR_OK
            ? database_query(shelf->database, &st, info,
                             query->folder ? "SELECT number FROM chat_seen WHERE owner = ?1 AND folder_tag = ?5"
                                             " AND (pinned, updated, number) < (?2, ?3, ?4)"
                                             " ORDER BY pinned DESC, updated DESC, number DESC"
                                           : "SELECT number FROM chat_seen WHERE owner = ?1"
                                             " AND (pinned, updated, number) < (?2, ?3, ?4)"
                                             " ORDER BY pinned DESC, updated DESC, number DESC",
                             query->folder ? "tiiib" : "tiii", owner, after->pinned, after->updated,
                             after->number, tag, sizeof tag)
            : e;
    e = e == ERR_OK ? chatsearch_walk(shelf, st, &hits, &q, limit, list, more, info) : e;
    mem_free(hits.found);
    return e;
}

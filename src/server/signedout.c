/* server/signedout.c: see signedout.h. All are kept in memory, in order, and as rows of `meta`: "signed out
 * OWNER NAME", with the time. Without a name: all of the owner's that would be over by then. */
#include "server/signedout.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define SIGNEDOUT_ROW "signed out "

struct signedout {
    struct database *database;
    pthread_mutex_t lock;
    struct signedout_session *sessions; /* [n], by owner and name */
    size_t n, cap;
};

/* Where the session is, or would be. With the lock. */
static size_t signedout_place(const struct signedout *s, const char *owner, const char *name, bool *there)
{
    size_t from = 0, to = s->n;
    *there = false;
    while (from < to && !*there) {
        size_t at = from + (to - from) / 2;
        int order = strcmp(s->sessions[at].owner, owner);
        order = order ? order : strcmp(s->sessions[at].name, name);
        *there = order == 0;
        from = order < 0 ? at + 1 : order == 0 ? at : from;
        to = order > 0 ? at : to;
    }
    return from;
}

/* With the lock. */
static err signedout_keep(struct signedout *s, const struct signedout_session *session, struct errinfo *info)
{
    bool there;
    size_t at = signedout_place(s, session->owner, session->name, &there);
    if (!there) {
        struct signedout_session *more = mem_grow(s->sessions, s->n, &s->cap, sizeof *more);
        if (!more) {
            return err_set(info, ERR_NOMEM, "out of memory for a session's end");
        }
        s->sessions = more;
        memmove(more + at + 1, more + at, (s->n++ - at) * sizeof *more);
    }
    s->sessions[at] = *session;
    return ERR_OK;
}

/* With the lock. Those that are over go; where the owner still has as many as may be, all of them become one:
 * *session, without a name. */
static void signedout_make_room(struct signedout *s, struct signedout_session *session, int64_t now)
{
    bool there;
    size_t from = signedout_place(s, session->owner, "", &there), to = from, kept = from;
    int64_t last = session->until;
    for (; to < s->n && strcmp(s->sessions[to].owner, session->owner) == 0; to++) {
        if (s->sessions[to].until >= now) {
            last = s->sessions[to].until > last ? s->sessions[to].until : last;
            s->sessions[kept++] = s->sessions[to];
        }
    }
    if (kept - from >= SIGNEDOUT_EACH) {
        kept = from;
        session->name[0] = '\0';
        session->until = last;
    }
    memmove(s->sessions + kept, s->sessions + to, (s->n - to) * sizeof *s->sessions);
    s->n -= to - kept;
}

/* ---- Rows. ---- */

/* Inside a transaction. Of those that are over no rows are kept. */
static err signedout_clear(struct signedout *s, int64_t now, struct errinfo *info)
{
    return database_run(s->database, info,
                        "DELETE FROM meta WHERE name GLOB '" SIGNEDOUT_ROW "*' AND value < ?1", "i", now);
}

/* Inside a transaction. */
static err signedout_read(struct signedout *s, int64_t now, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = true;
    TRY(signedout_clear(s, now, info));
    TRY(database_query(s->database, &st, info,
                       "SELECT substr(name, 12, 32), substr(name, 45), value FROM meta WHERE name GLOB"
                       " '" SIGNEDOUT_ROW "*'", ""));
    while (true) {
        TRY(database_next(s->database, st, &row, info));
        if (!row) {
            return ERR_OK;
        }
        struct signedout_session one = {.until = sqlite3_column_int64(st, 2)};
        snprintf(one.owner, sizeof one.owner, "%s", (const char *)sqlite3_column_text(st, 0));
        snprintf(one.name, sizeof one.name, "%s", (const char *)sqlite3_column_text(st, 1));
        TRY(signedout_keep(s, &one, info));
    }
}

/* Inside a transaction. What was made one is one. */
static err signedout_write(struct signedout *s, const struct signedout_session *session, struct errinfo *info)
{
    char row[sizeof SIGNEDOUT_ROW + VAULT_ID + 1 + SIGNEDOUT_NAME];
    snprintf(row, sizeof row, SIGNEDOUT_ROW "%.*s ", VAULT_ID, session->owner);
    if (!session->name[0]) {
        TRY(database_run(s->database, info, "DELETE FROM meta WHERE substr(name, 1, 44) = ?1", "t", row));
    }
    snprintf(row, sizeof row, SIGNEDOUT_ROW "%.*s %s", VAULT_ID, session->owner, session->name);
    return database_run(s->database, info, "INSERT OR REPLACE INTO meta(name, value) VALUES(?1, ?2)", "ti", row,
                        session->until);
}

/* ---- The calls. ---- */

err signedout_open(struct database *d, int64_t now, struct signedout **out, struct errinfo *info)
{
    struct signedout *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return err_set(info, ERR_NOMEM, "out of memory for sessions");
    }
    s->database = d;
    pthread_mutex_init(&s->lock, NULL);
    err e = database_begin(d, info);
    e = e == ERR_OK ? database_end(d, signedout_read(s, now, info), info) : e;
    if (e != ERR_OK) {
        signedout_close(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void signedout_close(struct signedout *s)
{
    if (s) {
        pthread_mutex_destroy(&s->lock);
        mem_free(s->sessions);
        mem_free(s);
    }
}

err signedout_add(struct signedout *s, const struct signedout_session *session, int64_t now,
                  struct errinfo *info)
{
    struct signedout_session ended = *session;
    pthread_mutex_lock(&s->lock);
    signedout_make_room(s, &ended, now);
    err e = signedout_keep(s, &ended, info);
    pthread_mutex_unlock(&s->lock);
    TRY(e);
    TRY(database_begin_delete(s->database, info)); /* as what it ends may be in wrong hands */
    e = signedout_clear(s, now, info);
    e = e == ERR_OK ? signedout_write(s, &ended, info) : e;
    TRY(database_end(s->database, e, info));
    return database_scrub(s->database, info);
}

bool signedout_has(struct signedout *s, const struct signedout_session *session)
{
    bool all, one;
    pthread_mutex_lock(&s->lock);
    size_t at = signedout_place(s, session->owner, "", &all);
    all = all && session->until <= s->sessions[at].until;
    signedout_place(s, session->owner, session->name, &one);
    pthread_mutex_unlock(&s->lock);
    return all || one;
}

/* server/signedout.c: see signedout.h. All are kept in memory, and as rows of `meta`: "signed out NAME". */
#include "server/signedout.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define SIGNEDOUT_ROW "signed out "

struct signedout_session {
    char name[SIGNEDOUT_NAME + 1];
};

struct signedout {
    struct database *database;
    pthread_mutex_t lock;
    struct signedout_session *sessions; /* [n] */
    size_t n, cap;
};

static err signedout_keep(struct signedout *s, const char *name, struct errinfo *info)
{
    struct signedout_session *more = mem_grow(s->sessions, s->n, &s->cap, sizeof *more);
    if (!more) {
        return err_set(info, ERR_NOMEM, "out of memory for a session's end");
    }
    s->sessions = more;
    snprintf(s->sessions[s->n++].name, sizeof s->sessions->name, "%s", name);
    return ERR_OK;
}

/* Inside a transaction. */
static err signedout_read(struct signedout *s, int64_t now, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = true;
    TRY(database_run(s->database, info,
                     "DELETE FROM meta WHERE name GLOB '" SIGNEDOUT_ROW "*' AND value < ?1", "i", now));
    TRY(database_query(s->database, &st, info,
                       "SELECT substr(name, 12) FROM meta WHERE name GLOB '" SIGNEDOUT_ROW "*'", ""));
    while (true) {
        TRY(database_next(s->database, st, &row, info));
        if (!row) {
            return ERR_OK;
        }
        TRY(signedout_keep(s, (const char *)sqlite3_column_text(st, 0), info));
    }
}

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

err signedout_add(struct signedout *s, const char *name, int64_t until, struct errinfo *info)
{
    char row[sizeof SIGNEDOUT_ROW + SIGNEDOUT_NAME];
    pthread_mutex_lock(&s->lock);
    err e = signedout_keep(s, name, info);
    pthread_mutex_unlock(&s->lock);
    if (e != ERR_OK) {
        return e;
    }
    snprintf(row, sizeof row, SIGNEDOUT_ROW "%.*s", SIGNEDOUT_NAME, name);
    TRY(database_begin_delete(s->database, info)); /* as what it ends may be in wrong hands */
    e = database_run(s->database, info, "INSERT OR REPLACE INTO meta(name, value) VALUES(?1, ?2)", "ti", row,
                     until);
    TRY(database_end(s->database, e, info));
    return database_scrub(s->database, info);
}

bool signedout_has(struct signedout *s, const char *name)
{
    bool has = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n && !has; i++) {
        has = strcmp(s->sessions[i].name, name) == 0;
    }
    pthread_mutex_unlock(&s->lock);
    return has;
}

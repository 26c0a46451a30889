/* server/usagestore.c: see usagestore.h. */
#include "server/usagestore.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "server/money.h"

enum { USAGESTORE_MODEL_MAX = 300 };
static const int64_t USAGESTORE_MS = 86400000;
static const uint64_t USAGESTORE_TOKENS_MAX = 1ull << 40;
static const char USAGESTORE_AD[] = "name of a model";

struct usagestore_sum {
    int64_t requests, prompt, cached, completion, cost;
};

struct usagestore_row { /* what a key used of a model on a day and is not written yet */
    char key[VAULT_ID + 1], model[USAGESTORE_MODEL_MAX + 1];
    int64_t day;
    struct usagestore_sum sum;
};

struct usagestore {
    struct database *database;
    struct database *reader;
    const struct pricetable *prices;
    struct vault_key *names, *tags;
    char currency[PRICETABLE_CURRENCY_MAX + 1];
    pthread_mutex_t lock; /* of the rows */
    struct usagestore_row *rows;
    size_t n_rows;
    pthread_mutex_t writing; /* held by who writes them */
};

static err usagestore_nomem(struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory for the usage");
}

/* What is not written yet, beside what is: for reports. In memory, so that no disk is too full for it. */
static err usagestore_scratch(struct usagestore *s, struct errinfo *info)
{
    return database_run(s->database, info,
                        "CREATE TABLE IF NOT EXISTS scratch.unwritten(key TEXT, day INTEGER, tag BLOB,"
                        " model BLOB, requests INTEGER, prompt INTEGER, cached INTEGER, completion INTEGER,"
                        " cost INTEGER)",
                        "");
}

/* That of the prices, from now on; without them the one that was kept. */
static err usagestore_currency_in(struct usagestore *s, struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    if (s->prices) {
        memcpy(s->currency, s->prices->currency, sizeof s->currency);
        return database_run(s->database, info, "INSERT OR REPLACE INTO meta VALUES('currency', ?1)",
                            "t", s->currency);
    }
    TRY(database_query(s->database, &st, info, "SELECT value FROM meta WHERE name = 'currency'",
                       ""));
    TRY(database_next(s->database, st, &row, info));
    if (row) {
        snprintf(s->currency, sizeof s->currency, "%s", (const char *)sqlite3_column_text(st, 0));
        sqlite3_reset(st);
    }
    return ERR_OK;
}

static err usagestore_begin(struct usagestore *s, struct errinfo *info)
{
    TRY(database_begin(s->database, info));
    err e = usagestore_currency_in(s, info);
    e = e == ERR_OK ? usagestore_scratch(s, info) : e;
    return database_end(s->database, e, info);
}

err usagestore_open(struct database *d, const struct pricetable *prices, struct usagestore **out,
                    struct errinfo *info)
{
    struct usagestore *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return usagestore_nomem(info);
    }
    s->database = d;
    s->prices = prices;
    s->reader = database_reader(d);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->writing, NULL);
    err e = vault_key_new(&s->names, info);
    e = e == ERR_OK ? vault_key_new(&s->tags, info) : e;
    e = e == ERR_OK ? usagestore_begin(s, info) : e;
    if (e != ERR_OK) {
        usagestore_close(s);
        return e;
    }
    vault_derive(database_vault(d), "usagemod", 0, s->names);
    vault_derive(database_vault(d), "usagemod", 1, s->tags);
    *out = s;
    return ERR_OK;
}

void usagestore_close(struct usagestore *s)
{
    if (s) {
        struct errinfo info;
        err e = usagestore_write(s, &info);
        (void)e; /* a full disk: there is nobody left to try again */
        vault_key_free(s->names);
        vault_key_free(s->tags);
        pthread_mutex_destroy(&s->lock);
        pthread_mutex_destroy(&s->writing);
        mem_free(s->rows);
        mem_free(s);
    }
}

/* ---- Days. ---- */

int64_t usagestore_day(int64_t now)
{
    int64_t day = now / USAGESTORE_MS;
    return now % USAGESTORE_MS < 0 ? day - 1 : day;
}

const char *usagestore_day_text(int64_t day, char out[USAGESTORE_DAY_TEXT])
{
    struct tm t;
    time_t at = (time_t)(day * (USAGESTORE_MS / 1000));
    if (!gmtime_r(&at, &t) || strftime(out, USAGESTORE_DAY_TEXT, "%Y-%m-%d", &t) == 0) {
        strcpy(out, "?");
    }
    return out;
}

bool usagestore_parse_day(const char *text, int64_t *day)
{
    struct tm t = {0};
    char back[USAGESTORE_DAY_TEXT];
    if (strlen(text) != 10 || sscanf(text, "%4d-%2d-%2d", &t.tm_year, &t.tm_mon, &t.tm_mday) != 3) {
        return false;
    }
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    int64_t found = usagestore_day((int64_t)timegm(&t) * 1000);
    if (strcmp(usagestore_day_text(found, back), text) != 0) {
        return false; /* the 30th of February */
    }
    *day = found;
    return true;
}

/* ---- Adding. ---- */

static int64_t usagestore_plus(int64_t a, int64_t b) /* neither is below 0 */
{
    return a < INT64_MAX - b ? a + b : INT64_MAX;
}

static void usagestore_sum_up(struct usagestore_sum *to, const struct usagestore_sum *x)
{
    to->requests = usagestore_plus(to->requests, x->requests);
    to->prompt = usagestore_plus(to->prompt, x->prompt);
    to->cached = usagestore_plus(to->cached, x->cached);
    to->completion = usagestore_plus(to->completion, x->completion);
    to->cost = usagestore_plus(to->cost, x->cost);
}

/* With the lock. */
static err usagestore_note(struct usagestore *s, const char *key, const char *model, int64_t day,
                           const struct usagestore_sum *sum)
{
    for (size_t i = 0; i < s->n_rows; i++) {
        struct usagestore_row *r = &s->rows[i];
        if (r->day == day && strcmp(r->key, key) == 0 && strcmp(r->model, model) == 0) {
            usagestore_sum_up(&r->sum, sum);
            return ERR_OK;
        }
    }
    struct usagestore_row *rows = mem_resize(s->rows, s->n_rows + 1, sizeof *rows);
    if (!rows) {
        return ERR_NOMEM;
    }
    s->rows = rows;
    struct usagestore_row *r = &rows[s->n_rows++];
    *r = (struct usagestore_row){.day = day, .sum = *sum};
    strncpy(r->key, key, sizeof r->key - 1);
    strncpy(r->model, model, sizeof r->model - 1);
    return ERR_OK;
}

err usagestore_add(struct usagestore *s, const char *key, const char *model,
                   const struct pricetable_tokens *tokens, int64_t now, int64_t *cost, struct errinfo *info)
{
    if (tokens->cached > tokens->prompt || tokens->prompt > USAGESTORE_TOKENS_MAX ||
        tokens->completion > USAGESTORE_TOKENS_MAX || strlen(model) > USAGESTORE_MODEL_MAX ||
        strlen(key) > VAULT_ID) {
        return err_set(info, ERR_ARGUMENT,
                       "usage that cannot be: %llu prompt tokens, %llu of them cached, %llu "
                       "completion tokens",
                       (unsigned long long)tokens->prompt, (unsigned long long)tokens->cached,
                       (unsigned long long)tokens->completion);
    }
    const struct usagestore_sum sum = {1, (int64_t)tokens->prompt, (int64_t)tokens->cached,
                                       (int64_t)tokens->completion,
                                       pricetable_cost(s->prices, model, tokens)};
    pthread_mutex_lock(&s->lock);
    err e = usagestore_note(s, key, model, usagestore_day(now), &sum);
    pthread_mutex_unlock(&s->lock);
    if (e != ERR_OK) {
        return usagestore_nomem(info);
    }
    if (cost) {
        *cost = sum.cost;
    }
    return ERR_OK;
}

/* ---- Writing. ---- */

/* By a statement whose values are a row's columns. */
static err usagestore_put_row(const struct usagestore *s, const struct usagestore_row *r, const char *sql,
                              struct errinfo *info)
{
    unsigned char tag[VAULT_TAG], name[USAGESTORE_MODEL_MAX + VAULT_EXTRA];
    size_t n = strlen(r->model);
    const struct usagestore_sum *x = &r->sum;
    vault_tag(s->tags, r->model, n, tag);
    vault_seal(s->names, USAGESTORE_AD, r->model, n, name);
    return database_run(s->database, info, sql, "tibbiiiii", r->key, r->day, tag, sizeof tag, name,
                        n + VAULT_EXTRA, x->requests, x->prompt, x->cached, x->completion, x->cost);
}

static err usagestore_write_row(const struct usagestore *s, const struct usagestore_row *r,
                                struct errinfo *info)
{
    const struct usagestore_sum *x = &r->sum;
    TRY(usagestore_put_row(s, r,
                           "INSERT INTO usage VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                           " ON CONFLICT DO UPDATE SET requests = requests + ?5, prompt = prompt + ?6,"
                           " cached = cached + ?7, completion = completion + ?8,"
                           " cost = min(cost, 9223372036854775807 - ?9) + ?9",
                           info));
    return x->cost == 0 ? ERR_OK
                        : database_run(s->database, info,
                                       "UPDATE api_key SET balance ="
                                       " max(balance, ?2 - 9223372036854775807) - ?2"
                                       " WHERE id = ?1 AND balance IS NOT NULL",
                                       "ti", r->key, x->cost);
}

static err usagestore_write_rows(const struct usagestore *s, const struct usagestore_row *rows, size_t n,
                                 struct errinfo *info)
{
    TRY(database_begin(s->database, info));
    err e = ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = usagestore_write_row(s, &rows[i], info);
    }
    return database_end(s->database, e, info);
}

/* What is not written yet, as it is now: *rows is the caller's (mem_free). */
static err usagestore_copy(struct usagestore *s, struct usagestore_row **rows, size_t *n, struct errinfo *info)
{
    pthread_mutex_lock(&s->lock);
    *n = s->n_rows;
    *rows = *n > 0 ? mem_calloc(*n, sizeof **rows) : NULL;
    if (*rows) {
        memcpy(*rows, s->rows, *n * sizeof **rows);
    }
    pthread_mutex_unlock(&s->lock);
    return *n == 0 || *rows ? ERR_OK : usagestore_nomem(info);
}

/* The rows stay where they are read until they are written; what came meanwhile stays then, too. */
err usagestore_write(struct usagestore *s, struct errinfo *info)
{
    struct usagestore_row *rows;
    size_t n;
    pthread_mutex_lock(&s->writing);
    err e = usagestore_copy(s, &rows, &n, info);
    e = e == ERR_OK && n > 0 ? usagestore_write_rows(s, rows, n, info) : e;
    if (n > 0 && e == ERR_OK) {
        pthread_mutex_lock(&s->lock);
        size_t kept = 0;
        for (size_t i = 0; i < s->n_rows; i++) {
            struct usagestore_row *r = &s->rows[i];
            if (i < n) {
                r->sum.requests -= rows[i].sum.requests;
                r->sum.prompt -= rows[i].sum.prompt;
                r->sum.cached -= rows[i].sum.cached;
                r->sum.completion -= rows[i].sum.completion;
                r->sum.cost -= rows[i].sum.cost;
            }
            if (r->sum.requests > 0) {
                s->rows[kept++] = *r;
            }
        }
        s->n_rows = kept;
        pthread_mutex_unlock(&s->lock);
    }
    mem_free(rows);
    pthread_mutex_unlock(&s->writing);
    return e;
}

err usagestore_today(struct usagestore *s, const char *key, int64_t now, uint64_t *tokens, int64_t *owed,
                     struct errinfo *info)
{
    sqlite3_stmt *st;
    bool row = false;
    uint64_t n = 0;
    int64_t cost = 0, day = usagestore_day(now);
    pthread_mutex_lock(&s->lock); /* before the database: what is written in between counts twice */
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct usagestore_row *r = &s->rows[i];
        if (strcmp(r->key, key) == 0) {
            n += r->day == day ? (uint64_t)(r->sum.prompt + r->sum.completion) : 0;
            cost = usagestore_plus(cost, r->sum.cost);
        }
    }
    pthread_mutex_unlock(&s->lock);
    TRY(database_begin(s->reader, info));
    err e =
        database_query(s->reader, &st, info,
                       "SELECT coalesce(sum(prompt + completion), 0) FROM usage WHERE key = ?1 AND day = ?2",
                       "ti", key, day);
    e = e == ERR_OK ? database_next(s->reader, st, &row, info) : e;
    n += row ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
    TRY(database_end(s->reader, e, info));
    *tokens = n;
    if (owed) {
        *owed = cost;
    }
    return ERR_OK;
}

/* ---- Reports. ---- */

/* The counts of a row, which stand in its columns from the third on. */
static struct usagestore_sum usagestore_read(sqlite3_stmt *st)
{
    return (struct usagestore_sum){sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3),
                                   sqlite3_column_int64(st, 4), sqlite3_column_int64(st, 5),
                                   sqlite3_column_int64(st, 6)};
}

static json_t *usagestore_json(const struct usagestore_sum *x)
{
    char money[MONEY_TEXT];
    return json_pack("{s:I, s:I, s:I, s:I, s:s}", "requests", (json_int_t)x->requests, "prompt_tokens",
                     (json_int_t)x->prompt, "cached_tokens", (json_int_t)x->cached, "completion_tokens",
                     (json_int_t)x->completion, "cost", money_text(x->cost, money));
}

static err usagestore_set(json_t *object, const char *field, json_t *value, struct errinfo *info)
{
    return json_object_set_new(object, field, value) == 0 ? ERR_OK : usagestore_nomem(info);
}

/* One row of "days". */
static err usagestore_day_row(const struct usagestore *s, sqlite3_stmt *st, json_t *row, struct errinfo *info)
{
    char text[USAGESTORE_DAY_TEXT];
    (void)s;
    usagestore_day_text(sqlite3_column_int64(st, 0), text);
    TRY(usagestore_set(row, "day", json_string(text), info));
    return usagestore_set(row, "key", json_string((const char *)sqlite3_column_text(st, 1)), info);
}

/* One row of "models". */
static err usagestore_model_row(const struct usagestore *s, sqlite3_stmt *st, json_t *row, struct errinfo *info)
{
    char model[USAGESTORE_MODEL_MAX + 1];
    size_t n = (size_t)sqlite3_column_bytes(st, 0);
    if (n < VAULT_EXTRA || n > USAGESTORE_MODEL_MAX + VAULT_EXTRA) {
        return err_set(info, ERR_CORRUPT, "the name of a model in the usage is damaged");
    }
    TRY(vault_unseal(s->names, USAGESTORE_AD, sqlite3_column_blob(st, 0), n, model, info));
    return usagestore_set(row, "model", json_stringn(model, n - VAULT_EXTRA), info);
}

/* The rows of a statement as a list; their sum to *total when it is wanted. */
static err usagestore_rows(const struct usagestore *s, sqlite3_stmt *st,
                           err (*more)(const struct usagestore *, sqlite3_stmt *, json_t *, struct errinfo *),
                           json_t *list, struct usagestore_sum *total, struct errinfo *info)
{
    bool row = true;
    while (true) {
        TRY(database_next(s->database, st, &row, info));
        if (!row) {
            return ERR_OK;
        }
        struct usagestore_sum x = usagestore_read(st);
        json_t *object = usagestore_json(&x);
        err e = object ? more(s, st, object, info) : usagestore_nomem(info);
        if (e == ERR_OK && json_array_append(list, object) != 0) {
            e = usagestore_nomem(info);
        }
        json_decref(object);
        TRY(e);
        if (total) {
            usagestore_sum_up(total, &x);
        }
    }
}

static err usagestore_fill_scratch(const struct usagestore *s, const struct usagestore_row *rows, size_t n,
                                   struct errinfo *info)
{
    TRY(database_run(s->database, info, "DELETE FROM scratch.unwritten", ""));
    for (size_t i = 0; i < n; i++) {
        TRY(usagestore_put_row(s, &rows[i],
                               "INSERT INTO scratch.unwritten VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                               info));
    }
    return ERR_OK;
}

/* All there is of the days and the key that are asked for. */
#define USAGESTORE_ASKED                                                                                       \
    " FROM (SELECT * FROM usage UNION ALL SELECT * FROM scratch.unwritten)"                                    \
    " WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR key = ?3)"

static err usagestore_report_in(const struct usagestore *s, const struct usagestore_query *q, json_t *days,
                                json_t *models, struct usagestore_sum *total, struct errinfo *info)
{
    sqlite3_stmt *st;
    TRY(database_query(s->database, &st, info,
                       "SELECT day, key, sum(requests), sum(prompt), sum(cached), sum(completion),"
                       " sum(cost)" USAGESTORE_ASKED " GROUP BY day, key ORDER BY day, key",
                       "iit", q->first, q->last, q->key));
    TRY(usagestore_rows(s, st, usagestore_day_row, days, total, info));
    TRY(database_query(s->database, &st, info,
                       "SELECT model, tag, sum(requests), sum(prompt), sum(cached), sum(completion),"
                       " sum(cost)" USAGESTORE_ASKED
                       " GROUP BY tag ORDER BY sum(prompt + completion) DESC, tag",
                       "iit", q->first, q->last, q->key));
    return usagestore_rows(s, st, usagestore_model_row, models, NULL, info);
}

/* While nobody writes: then each use is either written or not. */
static err usagestore_report_all(struct usagestore *s, const struct usagestore_query *q, json_t *days,
                                 json_t *models, struct usagestore_sum *total, struct errinfo *info)
{
    struct usagestore_row *rows;
    size_t n;
    pthread_mutex_lock(&s->writing);
    err e = usagestore_copy(s, &rows, &n, info);
    e = e == ERR_OK ? database_begin(s->database, info) : e;
    if (e == ERR_OK) {
        e = usagestore_fill_scratch(s, rows, n, info);
        e = e == ERR_OK ? usagestore_report_in(s, q, days, models, total, info) : e;
        e = database_end(s->database, e, info);
    }
    pthread_mutex_unlock(&s->writing);
    mem_free(rows);
    return e;
}

err usagestore_report(struct usagestore *s, const struct usagestore_query *query, json_t **out,
                      struct errinfo *info)
{
    struct usagestore_sum total = {0};
    json_t *days = json_array(), *models = json_array(), *document = NULL;
    err e = days && models ? usagestore_report_all(s, query, days, models, &total, info)
                           : usagestore_nomem(info);
    if (e == ERR_OK &&
        !(document = json_pack("{s:O, s:O, s:o, s:s}", "days", days, "models", models, "totals",
                               usagestore_json(&total), "currency", s->currency))) {
        e = usagestore_nomem(info);
    }
    json_decref(days);
    json_decref(models);
    if (e == ERR_OK) {
        *out = document;
    }
    return e;
}

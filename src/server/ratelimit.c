/* server/ratelimit.c: see ratelimit.h. */
#include "server/ratelimit.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"

static const int64_t RATELIMIT_MINUTE = 60000, RATELIMIT_DAY = 86400000;

/* A bucket counts in (requests per minute) x milliseconds: one request is a minute's worth of them, and what
 * flows in is whole at every moment. */
struct ratelimit_bucket {
    char id[VAULT_ID + 1];
    int64_t level, at;
    uint32_t rate, running; /* requests per minute the level was counted with; answers begun and not ended */
};

struct ratelimit {
    pthread_mutex_t lock;
    struct ratelimit_bucket *buckets;
    size_t n;
};

err ratelimit_new(struct ratelimit **out, struct errinfo *info)
{
    struct ratelimit *r = mem_calloc(1, sizeof *r);
    if (!r) {
        return err_set(info, ERR_NOMEM, "out of memory for the limits");
    }
    pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return ERR_OK;
}

void ratelimit_free(struct ratelimit *r)
{
    if (r) {
        pthread_mutex_destroy(&r->lock);
        mem_free(r->buckets);
        mem_free(r);
    }
}

static struct ratelimit_bucket *ratelimit_find(struct ratelimit *r, const char *id)
{
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->buckets[i].id, id) == 0) {
            return &r->buckets[i];
        }
    }
    return NULL;
}

/* What flowed in since; a new rate begins with a full bucket. */
static void ratelimit_fill(struct ratelimit_bucket *b, uint32_t rate, int64_t now)
{
    int64_t full = rate * RATELIMIT_MINUTE, gone = now > b->at ? now - b->at : 0;
    if (rate != b->rate || gone >= RATELIMIT_MINUTE) {
        b->level = full;
    } else {
        b->level = b->level + gone * rate < full ? b->level + gone * rate : full;
    }
    b->rate = rate;
    b->at = now;
}

/* The place of a key that is not there yet: one whose bucket is full again and that runs nothing gives way. */
static err ratelimit_add(struct ratelimit *r, const char *id, int64_t now, struct ratelimit_bucket **out,
                         struct errinfo *info)
{
    struct ratelimit_bucket *b = NULL;
    for (size_t i = 0; i < r->n && !b; i++) {
        bool idle = r->buckets[i].running == 0 && now - r->buckets[i].at >= RATELIMIT_MINUTE;
        b = idle ? &r->buckets[i] : NULL;
    }
    if (!b) {
        struct ratelimit_bucket *more = mem_resize(r->buckets, r->n + 1, sizeof *more);
        if (!more) {
            return err_set(info, ERR_NOMEM, "out of memory for the limits");
        }
        r->buckets = more;
        b = &more[r->n++];
    }
    *b = (struct ratelimit_bucket){.at = now};
    strncpy(b->id, id, VAULT_ID);
    *out = b;
    return ERR_OK;
}

static unsigned ratelimit_seconds(int64_t ms)
{
    return (unsigned)((ms + 999) / 1000);
}

unsigned ratelimit_day_left(int64_t now)
{
    return ratelimit_seconds(RATELIMIT_DAY - now % RATELIMIT_DAY);
}

static err ratelimit_ask(const struct ratelimit_bucket *b, const struct keystore_limits *l, unsigned answers,
                         uint64_t tokens_today, int64_t now, struct ratelimit_wait *wait,
                         struct errinfo *info)
{
    *wait = (struct ratelimit_wait){.seconds = 1};
    if (l->concurrent && answers > l->concurrent) {
        return err_set(info, ERR_ARGUMENT, "%u answers are asked for; this API key may have %u at a time",
                       answers, l->concurrent);
    }
    if (l->tokens_per_day && tokens_today >= l->tokens_per_day) {
        wait->day = true;
        wait->seconds = ratelimit_day_left(now);
        return err_set(info, ERR_BUSY,
                       "this API key has used its %llu tokens of today; a new day begins in %u h %u min "
                       "(at midnight UTC)",
                       (unsigned long long)l->tokens_per_day, wait->seconds / 3600,
                       wait->seconds / 60 % 60);
    }
    if (l->concurrent && b->running + answers > l->concurrent) {
        return err_set(info, ERR_BUSY,
                       "this API key may have %u answers at a time, and %u are under way: wait until one ends",
                       l->concurrent, b->running);
    }
    if (l->requests_per_minute && b->level < RATELIMIT_MINUTE) {
        wait->seconds = ratelimit_seconds(
            (RATELIMIT_MINUTE - b->level + l->requests_per_minute - 1) / l->requests_per_minute);
        return err_set(info, ERR_BUSY, "this API key may ask %u times a minute: try again in %u s",
                       l->requests_per_minute, wait->seconds);
    }
    return ERR_OK;
}

err ratelimit_begin(struct ratelimit *r, const char *id, const struct keystore_limits *limits,
                    unsigned answers, uint64_t tokens_today, int64_t now, struct ratelimit_wait *wait,
                    struct errinfo *info)
{
    pthread_mutex_lock(&r->lock);
    struct ratelimit_bucket *b = ratelimit_find(r, id);
    err e = b ? ERR_OK : ratelimit_add(r, id, now, &b, info);
    if (e == ERR_OK) {
        ratelimit_fill(b, limits->requests_per_minute, now);
        e = ratelimit_ask(b, limits, answers, tokens_today, now, wait, info);
    }
    if (e == ERR_OK) {
        b->level -= RATELIMIT_MINUTE;
        b->running += answers;
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

void ratelimit_end(struct ratelimit *r, const char *id, unsigned answers)
{
    pthread_mutex_lock(&r->lock);
    struct ratelimit_bucket *b = ratelimit_find(r, id);
    if (b) {
        b->running -= answers < b->running ? answers : b->running;
    }
    pthread_mutex_unlock(&r->lock);
}

bool ratelimit_running(struct ratelimit *r, size_t *at, char id[VAULT_ID + 1])
{
    bool found = false;
    pthread_mutex_lock(&r->lock);
    for (; *at < r->n && !found; ++*at) {
        found = r->buckets[*at].running > 0;
        memcpy(id, r->buckets[*at].id, VAULT_ID + 1);
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

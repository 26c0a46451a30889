/* engine/batcherplaces.c: see batcherplaces.h. */
#include "engine/batcherplaces.h"

#include <string.h>

#include "base/progress.h"
#include "engine/batcherpages.h"

enum {
    BATCHERPLACES_AHEAD = 256,              /* tokens that everybody has room for when a job begins */
    BATCHERPLACES_SLICE = MODEL_CACHE_PAGE, /* tokens of an answer that nobody interrupts for another owner */
};

static size_t batcherplaces_running_of(const struct batcher *b, uint64_t owner)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        n += b->running[i]->is.owner == owner;
    }
    return n;
}

uint64_t batcherplaces_turn(const struct batcher *b, uint64_t owner)
{
    uint64_t turn = b->turn;
    for (size_t i = 0; i < b->n_waiting; i++) {
        const struct batcher_job *j = b->waiting[i];
        turn = j->is.owner == owner && j->turn > turn ? j->turn : turn;
    }
    return turn + 1;
}

void batcherplaces_rank(struct batcher *b)
{
    for (size_t i = 0; i < b->n_waiting; i++) {
        b->waiting[i]->rank = batcherplaces_running_of(b, b->waiting[i]->is.owner);
    }
}

/* Of two that wait and are ranked; of equals the earlier one in the list comes first. */
static bool batcherplaces_before(const struct batcher_job *a, const struct batcher_job *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->turn < b->turn);
}

/* The job whose turn it is; NULL: none waits. */
static struct batcher_job *batcherplaces_next(struct batcher *b)
{
    struct batcher_job *next = NULL;
    batcherplaces_rank(b);
    for (size_t i = 0; i < b->n_waiting; i++) {
        next = !next || batcherplaces_before(b->waiting[i], next) ? b->waiting[i] : next;
    }
    return next;
}

size_t batcherplaces_ahead(const struct batcher *b, size_t k)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_waiting; i++) {
        n += i < k ? !batcherplaces_before(b->waiting[k], b->waiting[i])
                   : batcherplaces_before(b->waiting[i], b->waiting[k]);
    }
    return n;
}

err batcherplaces_check(const struct batcher *b, uint64_t owner, struct errinfo *info)
{
    size_t free = b->most_running - b->n_running, mine = 0;
    for (size_t i = 0; i < b->n_waiting; i++) {
        mine += b->waiting[i]->is.owner == owner;
    }
    size_t all = b->n_waiting - batcherjob_least(b->n_waiting, free), left = b->most_waiting - all;
    if (b->n_waiting < free || mine - batcherjob_least(mine, free) < left) {
        return ERR_OK;
    }
    return left == 0
               ? err_set(info, ERR_BUSY, "%zu requests are waiting already, as many as may; try again later",
                         b->n_waiting)
               : err_set(info, ERR_BUSY,
                         "%zu requests of yours are waiting already; the %zu places that are "
                         "left are for "
                         "others; try again later",
                         mine, left);
}

/* Pages a job should find room for: what it has to read, and a while of its answer. */
static size_t batcherplaces_need(const struct batcher_job *j)
{
    size_t n = (j->session ? j->session->n_tokens : j->is.n_tokens) + BATCHERPLACES_AHEAD;
    return (batcherjob_least(n, j->context) - 1) / MODEL_CACHE_PAGE + 1;
}

/* Pages that r alone holds: they are nobody's when it gives way. */
static size_t batcherplaces_own(const struct batcher_job *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->session->kv.n_held; i++) {
        n += r->session->kv.held[i]->holders == 1;
    }
    return n;
}

/* Pages of r's that j will find when it begins (batcherpages_find): kept ones of the same text, of which the
 * last token is read in any case. */
static size_t batcherplaces_common(const struct batcher_job *j, const struct batcher_job *r)
{
    const struct session *s = j->session, *other = r->session;
    const int32_t *tokens = s ? s->tokens : j->is.tokens;
    size_t n_tokens = s ? s->n_tokens : j->is.n_tokens;
    size_t n = 0, page = MODEL_CACHE_PAGE * sizeof *tokens;
    while (j->is.partition == r->is.partition && (n + 1) * MODEL_CACHE_PAGE < n_tokens &&
           n < other->kv.n_held && other->kv.held[n]->keeper &&
           memcmp(tokens + n * MODEL_CACHE_PAGE, other->tokens + n * MODEL_CACHE_PAGE, page) == 0) {
        n++;
    }
    return n;
}

/* Is there a place, and memory for a while of everybody, `without` one of those that run (NULL: with all)? What
 * j has in common with others that run is held already; of all of them, since each holds its text from the
 * beginning on, the longest counts. A job alone always fits. */
static bool batcherplaces_fits(const struct batcher *b, const struct batcher_job *j,
                               const struct batcher_job *without)
{
    size_t n = b->n_running - (without != NULL), common = 0;
    size_t pages = kvpool_held(b->pool) + batcherplaces_need(j);
    if (n >= b->most_running) {
        return false;
    }
    pages -= without ? batcherplaces_own(without) : 0;
    for (size_t i = 0; i < b->n_running; i++) {
        const struct batcher_job *r = b->running[i];
        if (r != without) {
            size_t held = r->session->kv.n_held, need = batcherplaces_need(r);
            size_t same = batcherplaces_common(j, r);
            pages += need > held ? need - held : 0;
            common = same > common ? same : common;
        }
    }
    return n == 0 || pages - common <= kvpool_pages(b->pool);
}

struct batcher_job *batcherplaces_last(const struct batcher *b)
{
    struct batcher_job *last = NULL;
    size_t most = 0;
    for (size_t i = 0; i < b->n_running; i++) {
        size_t n = batcherplaces_running_of(b, b->running[i]->is.owner);
        if (n > most || (n == most && b->running[i]->born > last->born)) {
            last = b->running[i];
            most = n;
        }
    }
    return last;
}

/* Who makes room for a job that waits; NULL: nobody. Of an owner with two more places than the waiting one has,
 * one is too many; and an owner who has none gets that of whoever had a slice. Who has places already waits for
 * memory. */
static struct batcher_job *batcherplaces_yielding(const struct batcher *b, const struct batcher_job *j)
{
    struct batcher_job *last = batcherplaces_last(b);
    if (last && batcherplaces_running_of(b, last->is.owner) >= j->rank + 2) {
        return j->rank == 0 || batcherplaces_fits(b, j, last) ? last : NULL;
    }
    for (size_t i = 0; i < b->n_running && j->rank == 0; i++) {
        if (b->running[i]->session->n_tokens >= b->running[i]->slice) {
            return b->running[i];
        }
    }
    return NULL;
}

void batcherplaces_pause(struct batcher *b, struct batcher_job *j, uint64_t turn)
{
    batcherpages_keep(b, j);
    batcherjob_note(j);
    kvcache_empty(&j->session->kv);
    batcherjob_unlist(b, j);
    j->runs = j->restoring = false;
    j->paused = true;
    j->since = progress_clock() - j->since;
    j->turn = 0;
    memmove(b->waiting + 1, b->waiting, b->n_waiting++ * sizeof *b->waiting);
    b->waiting[0] = j;
    for (size_t i = 0; i < b->n_waiting; i++) {
        struct batcher_job *w = b->waiting[i];
        if (w->is.owner == j->is.owner) {
            turn = w->turn > turn ? w->turn : turn + 1;
            w->turn = turn;
        }
    }
}

static err batcherplaces_open(struct batcher *b, struct batcher_job *j, struct errinfo *info)
{
    TRY(session_make(b->engine, j->context, b->engine->kv_dtype, b->pool, &j->session, info));
    TRY(session_append(j->session, j->is.tokens, j->is.n_tokens, info));
    return generation_begin(&j->generation, j->session, j->is.sampling, j->is.options, info);
}

/* A waiting job runs, or goes on; its slice ends where a page does, so that nothing is read again. */
static void batcherplaces_start(struct batcher *b, struct batcher_job *j)
{
    struct errinfo info = {0};
    err e = j->session ? ERR_OK : batcherplaces_open(b, j, &info);
    if (e != ERR_OK) {
        batcherjob_end(b, j, e, info.message);
        return;
    }
    batcherpages_find(b, j);
    batcherjob_unlist(b, j);
    b->running[b->n_running++] = j;
    b->turn = j->turn;
    size_t n = j->session->n_tokens, again = j->paused ? n - j->session->kv.cache.len : 0;
    n += again > BATCHERPLACES_SLICE ? again : BATCHERPLACES_SLICE; /* what was read again should be worth it */
    j->slice = (n - 1) / MODEL_CACHE_PAGE * MODEL_CACHE_PAGE + MODEL_CACHE_PAGE + 1;
    j->runs = true;
    j->since = progress_clock() - j->since;
}

void batcherplaces_give(struct batcher *b)
{
    struct batcher_job *j, *yielding;
    while ((j = batcherplaces_next(b))) {
        while (!batcherplaces_fits(b, j, NULL) && (yielding = batcherplaces_yielding(b, j))) {
            batcherplaces_pause(b, yielding, j->turn);
        }
        if (!batcherplaces_fits(b, j, NULL)) {
            return;
        }
        batcherplaces_start(b, j);
    }
}

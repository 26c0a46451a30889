/* model/learnblocks.c: see learnblocks.h. */
#include "model/learnblocks.h"

#include <stdatomic.h>

#include "base/mem.h"

/* docs/measurements.md, Layers by blocks of sequences */
enum { LEARNBLOCKS_TOKENS = 512 };

struct learnblocks_worker {
    struct compute *compute; /* one thread */
    struct learnarena arena;
    struct errinfo info;
    err result;
    size_t failed; /* the block that did; SIZE_MAX: none */
};

void learnblocks_init(struct learnblocks *b, size_t n_sequences, size_t context)
{
    size_t together = context < LEARNBLOCKS_TOKENS ? LEARNBLOCKS_TOKENS / context : 1;
    together = together < n_sequences ? together : n_sequences;
    *b = (struct learnblocks){.n = (n_sequences + together - 1) / together, .tokens = together * context};
}

static size_t learnblocks_workers(const struct learnblocks *b, int n_threads)
{
    return (size_t)n_threads <= b->n ? (size_t)n_threads : 1;
}

size_t learnblocks_bytes(const struct learnblocks *b, int n_threads)
{
    return learnblocks_workers(b, n_threads) * b->area;
}

err learnblocks_start(struct learnblocks *b, const struct compute *compute, struct errinfo *info)
{
    size_t n = learnblocks_workers(b, compute->n_threads);
    b->workers = mem_calloc(n, sizeof *b->workers);
    if (!b->workers) {
        return err_set(info, ERR_NOMEM, "out of memory making the model");
    }
    for (; b->n_workers < n; b->n_workers++) {
        struct learnblocks_worker *w = &b->workers[b->n_workers];
        TRY(compute_new(compute->level, 1, compute->deterministic, &w->compute, info));
        err e = learnarena_init(&w->arena, b->area, info);
        if (e != ERR_OK) {
            compute_free(w->compute);
            return e;
        }
    }
    return ERR_OK;
}

void learnblocks_deinit(struct learnblocks *b)
{
    for (size_t i = 0; i < b->n_workers; i++) {
        compute_free(b->workers[i].compute);
        learnarena_deinit(&b->workers[i].arena);
    }
    mem_free(b->workers);
    *b = (struct learnblocks){0};
}

/* `r` as block i sees it, but for what is its thread's own. */
static struct learnrun learnblocks_part(const struct learnrun *r, size_t i)
{
    struct learnrun part = *r;
    size_t first = i * r->blocks->tokens, left = r->n_tokens - first;
    part.n_tokens = left < r->blocks->tokens ? left : r->blocks->tokens;
    part.n_sequences = part.n_tokens * r->n_sequences / r->n_tokens;
    part.positions = r->positions ? r->positions + first : NULL;
    return part;
}

static err learnblocks_count(const struct learnrun *r, learnblocks_fn *fn, const void *user)
{
    struct learnarena arena;
    struct learnrun part = learnblocks_part(r, 0);
    learnarena_init_counting(&arena);
    part.arena = &arena;
    TRY(fn(&part, 0, user));
    r->blocks->area = arena.most > r->blocks->area ? arena.most : r->blocks->area;
    return arena.failed ? err_set(r->info, ERR_NOMEM, "a block takes more memory than can be counted") : ERR_OK;
}

/* What this worker gets of the queue. */
static void learnblocks_work(const struct learnrun *r, struct compute *compute, struct learnblocks_worker *w,
                             atomic_size_t *next, learnblocks_fn *fn, const void *user)
{
    size_t i;
    w->failed = SIZE_MAX;
    w->info = (struct errinfo){0};
    while (w->failed == SIZE_MAX &&
           (i = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < r->blocks->n) {
        struct learnrun part = learnblocks_part(r, i);
        part.compute = compute;
        part.arena = &w->arena;
        part.info = &w->info;
        w->result = fn(&part, i * r->blocks->tokens, user);
        w->failed = w->result == ERR_OK ? SIZE_MAX : i;
        learnarena_release(&w->arena, 0);
    }
}

static err learnblocks_result(const struct learnrun *r)
{
    const struct learnblocks *b = r->blocks;
    const struct learnblocks_worker *first = &b->workers[0];
    for (size_t i = 0; i < b->n_workers; i++) {
        r->arena->failed |= b->workers[i].arena.failed;
        first = b->workers[i].failed < first->failed ? &b->workers[i] : first;
    }
    return first->failed == SIZE_MAX ? ERR_OK : err_set(r->info, first->result, "%s", first->info.message);
}

err learnblocks_run(const struct learnrun *r, learnblocks_fn *fn, const void *user)
{
    struct learnblocks *b = r->blocks;
    atomic_size_t next = 0;
    if (r->counting) {
        return learnblocks_count(r, fn, user);
    }
    if (b->n_workers == 1) {
        learnblocks_work(r, r->compute, &b->workers[0], &next, fn, user);
        return learnblocks_result(r);
    }
#pragma omp parallel for schedule(static, 1) num_threads((int)b->n_workers)
    for (size_t i = 0; i < b->n_workers; i++) {
        learnblocks_work(r, b->workers[i].compute, &b->workers[i], &next, fn, user);
    }
    return learnblocks_result(r);
}

struct mat learnblocks_sums(const struct learnrun *r, size_t cols)
{
    struct mat sums = learnrun_wide(r, r->blocks->n, cols);
    learnrun_zero(r, sums);
    return sums;
}

struct mat learnblocks_sum(const struct learnrun *r, struct mat sums, size_t first)
{
    return mat_rows(sums, first / r->blocks->tokens, 1);
}

void learnblocks_add(const struct learnrun *r, struct mat y, struct mat sums)
{
    for (size_t i = 0; !r->counting && i < sums.rows; i++) {
        learnops_add(r->compute, y, mat_rows(sums, i, 1));
    }
}

/* tensor/cpu/learnattention.c: see learnattention.h. */
#include "tensor/cpu/learnattention.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/mem.h"

enum {
    LEARNATTENTION_LEAST = 256, /* tokens of a group: short documents together fill blocks better */
    LEARNATTENTION_MOST = 1 << 24, /* tokens: what a float counts exactly */
};

struct learnattention_group {
    size_t first, n;
};

bool learnattention_takes(const struct learnops_attention *a, const struct learnattention_grads *d)
{
    bool half = a->q.type == MAT_BF16 && a->k.type == MAT_BF16 && a->v.type == MAT_BF16 &&
                a->out.type == MAT_BF16;
    bool grads = !d || (d->dout.type == MAT_BF16 && d->dq.type == MAT_BF16 && d->dk.type == MAT_BF16 &&
                        d->dv.type == MAT_BF16);
    return half && grads && a->lse.type == MAT_F32 && a->scale > 0 && a->q.rows < LEARNATTENTION_MOST;
}

/* A group ends where no later token looks back beyond it; from the last token to the first. `groups` NULL:
 * counts them. */
static size_t learnattention_cut(const struct learnops_attention *a, struct learnattention_group *groups)
{
    size_t n_groups = 0, end = a->q.rows, seen = end;
    for (size_t t = end; t-- > 0;) {
        size_t from = t - (size_t)a->positions[t];
        seen = from < seen ? from : seen;
        if (t == 0 || (seen == t && end - t >= LEARNATTENTION_LEAST)) {
            if (groups) {
                groups[n_groups] = (struct learnattention_group){t, end - t};
            }
            n_groups++;
            end = t;
        }
    }
    return n_groups;
}

/* The longest first, so that no thread begins a long one when the others are done. */
static int learnattention_longer(const void *a, const void *b)
{
    const struct learnattention_group *x = a, *y = b;
    if (x->n != y->n) {
        return x->n > y->n ? -1 : 1;
    }
    return x->first < y->first ? -1 : x->first > y->first;
}

struct learnattention_queue {
    const struct learnattention_kernels *kernels;
    const struct learnattention_group *groups;
    struct learnattention_task task; /* what all tasks share */
    size_t n_tasks, n_heads;
};

static void learnattention_work(const struct learnattention_queue *q, atomic_size_t *next, char *scratch)
{
    struct learnattention_task t = q->task;
    size_t i;
    t.scratch = scratch;
    while ((i = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < q->n_tasks) {
        t.first = q->groups[i / q->n_heads].first;
        t.n = q->groups[i / q->n_heads].n;
        t.kv_head = i % q->n_heads;
        q->kernels->run(&t);
    }
}

static void learnattention_share(const struct learnattention_queue *q, int n_threads, char *scratch,
                                 size_t each)
{
    atomic_size_t next = 0;
#pragma omp parallel for schedule(static, 1) num_threads(n_threads)
    for (int i = 0; i < n_threads; i++) {
        q->kernels->thread_begin();
        learnattention_work(q, &next, scratch + (size_t)i * each);
        q->kernels->thread_end();
    }
}

err learnattention_run(struct compute *c, const struct learnops_attention *a,
                       const struct learnattention_grads *d, const struct learnattention_kernels *kernels)
{
    size_t n_groups = learnattention_cut(a, NULL), each, size;
    struct learnattention_group *groups = mem_calloc(n_groups, sizeof *groups);
    if (!groups || n_groups == 0) {
        mem_free(groups);
        return groups ? ERR_OK : ERR_NOMEM;
    }
    learnattention_cut(a, groups);
    qsort(groups, n_groups, sizeof *groups, learnattention_longer);
    struct learnattention_queue q = {.kernels = kernels,
                                     .groups = groups,
                                     .task = {.a = a, .d = d, .n = groups[0].n},
                                     .n_tasks = n_groups * a->n_kv_heads,
                                     .n_heads = a->n_kv_heads};
    int n_threads = (size_t)c->n_threads < q.n_tasks ? c->n_threads : (int)q.n_tasks;
    bool fits = checked_align(kernels->scratch(&q.task), 64, &each) &&
                checked_mul(each, (size_t)n_threads, &size);
    char *scratch = fits ? compute_scratch(c, size) : NULL;
    if (scratch) {
        learnattention_share(&q, n_threads, scratch, each);
    }
    mem_free(groups);
    return scratch ? ERR_OK : ERR_NOMEM;
}

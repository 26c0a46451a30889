/* tensor/opstimer.c: see opstimer.h. */
#include "tensor/opstimer.h"

#include <time.h>

static double opstimer_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The table a timed compute points at is the beginning of its timer. */
static struct opstimer *opstimer_of(const struct compute *c)
{
    return (struct opstimer *)(uintptr_t)c->ops;
}

/* Ops look at c->ops for their neighbours, so the untimed table is put back meanwhile: nothing is
 * counted twice. */
static err opstimer_matmul(struct compute *c, const struct matmul_job *jobs, size_t n_jobs)
{
    struct opstimer *t = opstimer_of(c);
    double start = opstimer_now();
    c->ops = t->below;
    err e = c->ops->matmul(c, jobs, n_jobs);
    c->ops = &t->table;
    t->matmul_seconds += opstimer_now() - start;
    return e;
}

static err opstimer_attention(struct compute *c, const struct attention_args *calls, size_t n_calls)
{
    struct opstimer *t = opstimer_of(c);
    double start = opstimer_now();
    c->ops = t->below;
    err e = c->ops->attention(c, calls, n_calls);
    c->ops = &t->table;
    t->attention_seconds += opstimer_now() - start;
    return e;
}

void opstimer_begin(struct opstimer *t, struct compute *c)
{
    *t = (struct opstimer){.table = *c->ops, .below = c->ops};
    t->table.matmul = opstimer_matmul;
    t->table.attention = opstimer_attention;
    c->ops = &t->table;
}

void opstimer_end(struct opstimer *t, struct compute *c)
{
    c->ops = t->below;
}

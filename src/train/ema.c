/* train/ema.c: see ema.h. */
#include "train/ema.h"

#include <stdio.h>

#include "base/mem.h"
#include "tensor/updateops.h"

enum { EMA_ALIGN = 64 };

struct ema {
    struct learnparams *params;
    struct compute *compute;
    double decay;
    struct mat *averages; /* [params->n] */
    void *memory;
    bool swapped;
};

static size_t ema_param_bytes(const struct learnparam *q)
{
    size_t n = q->value.rows * q->value.cols * mat_type_bytes(q->value.type);
    return (n + EMA_ALIGN - 1) / EMA_ALIGN * EMA_ALIGN;
}

size_t ema_bytes(const struct learnparams *params)
{
    size_t bytes = 0;
    for (size_t i = 0; i < params->n; i++) {
        bytes += ema_param_bytes(&params->all[i]);
    }
    return bytes;
}

static err ema_make(struct ema *e, struct errinfo *info)
{
    const struct learnparams *p = e->params;
    e->averages = mem_calloc(p->n, sizeof *e->averages);
    e->memory = mem_alloc_aligned(ema_bytes(p));
    if (!e->averages || !e->memory) {
        return err_set(info, ERR_NOMEM, "out of memory: %zu MB for the average of the values",
                       ema_bytes(p) >> 20);
    }
    char *at = e->memory;
    for (size_t i = 0; i < p->n; i++) {
        const struct learnparam *q = &p->all[i];
        e->averages[i] = mat_of(at, q->value.type, q->value.rows, q->value.cols);
        learnops_copy(e->compute, e->averages[i], q->value);
        at += ema_param_bytes(q);
    }
    return ERR_OK;
}

err ema_new(struct learnparams *params, double decay, struct compute *c, struct ema **out, struct errinfo *info)
{
    if (!(decay >= 0 && decay < 1)) {
        return err_set(info, ERR_ARGUMENT, "average of values: decay is %g; it must be 0 or more and below 1",
                       decay);
    }
    struct ema *e = mem_calloc(1, sizeof *e);
    if (!e) {
        return err_set(info, ERR_NOMEM, "out of memory for the average of the values");
    }
    e->params = params;
    e->compute = c;
    e->decay = decay;
    err failed = ema_make(e, info);
    if (failed != ERR_OK) {
        ema_free(e);
        return failed;
    }
    *out = e;
    return ERR_OK;
}

void ema_free(struct ema *e)
{
    if (e) {
        mem_free_aligned(e->memory);
        mem_free(e->averages);
        mem_free(e);
    }
}

void ema_update(struct ema *e)
{
    for (size_t i = 0; i < e->params->n; i++) {
        updateops_average(e->compute, e->averages[i], e->params->all[i].value, 1 - e->decay);
    }
}

void ema_swap(struct ema *e)
{
    for (size_t i = 0; i < e->params->n; i++) {
        const struct learnparam *q = &e->params->all[i];
        updateops_swap(e->compute, q->value, q->work, e->averages[i]);
    }
    e->swapped = !e->swapped;
}

bool ema_swapped(const struct ema *e)
{
    return e->swapped;
}

size_t ema_n_arrays(const struct ema *e)
{
    return e->params->n;
}

struct ema_array ema_array_at(const struct ema *e, size_t i)
{
    struct ema_array a = {.mat = e->averages[i]};
    snprintf(a.name, sizeof a.name, "%s.average", e->params->all[i].name);
    return a;
}

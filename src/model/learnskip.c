/* model/learnskip.c: see learnskip.h. */
#include "model/learnskip.h"

struct learnskip learnskip_begin(const struct learnrun *r, bool learns)
{
    const struct config *c = r->config;
    size_t t = r->n_tokens, heads = config_is_mla(c) ? c->num_attention_heads : c->num_key_value_heads;
    struct learnskip s = {0};
    if (c->x0_skip) {
        s.x = learnrun_wide(r, t, c->hidden_size);
        s.dx = learns ? learnrun_wide(r, t, c->hidden_size) : s.dx;
    }
    if (c->value_residual) {
        s.v = learnrun_narrow(r, t, heads * config_v_dim(c));
        s.dv = learns ? learnrun_wide(r, t, s.v.cols) : s.dv;
    }
    learnrun_zero(r, s.dx);
    learnrun_zero(r, s.dv);
    return s;
}

struct learnskip learnskip_rows(const struct learnskip *s, size_t first, size_t n)
{
    return (struct learnskip){.x = mat_rows(s->x, first, n),
                              .dx = mat_rows(s->dx, first, n),
                              .v = mat_rows(s->v, first, n),
                              .dv = mat_rows(s->dv, first, n)};
}

static void learnskip_mix(const struct learnrun *r, struct mat y, struct mat a, struct mat b,
                          const struct learnparam *weight)
{
    if (!r->counting) {
        learnops_mix(r->compute, y, a, b, weight->value);
    }
}

static err learnskip_back(const struct learnrun *r, const struct learnops_mix *m)
{
    if (r->counting) {
        return ERR_OK;
    }
    err e = learnops_mix_backward(r->compute, m);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for the gradient of a skip");
}

void learnskip_input(const struct learnrun *r, const struct learnparams_layer *p, const struct learnskip *s,
                     struct mat x, struct mat before)
{
    if (p->x0_skip) {
        learnrun_copy(r, before, x);
        learnskip_mix(r, x, before, s->x, p->x0_skip);
    }
}

err learnskip_input_backward(const struct learnrun *r, const struct learnparams_layer *p,
                             const struct learnskip *s, struct mat before, struct mat sums, struct mat dx)
{
    if (!p->x0_skip) {
        return ERR_OK;
    }
    const struct learnops_mix m = {.da = dx,
                                   .db = s->dx,
                                   .dweight = sums,
                                   .dy = dx,
                                   .a = before,
                                   .b = s->x,
                                   .weight = p->x0_skip->value};
    return learnskip_back(r, &m);
}

void learnskip_values(const struct learnrun *r, const struct learnparams_layer *p, const struct learnskip *s,
                      struct mat v, struct mat own)
{
    if (p->value_residual) {
        learnskip_mix(r, v, own, s->v, p->value_residual);
    } else if (s->v.cols) { /* the first layer */
        learnrun_copy(r, s->v, own);
    }
}

err learnskip_values_backward(const struct learnrun *r, const struct learnparams_layer *p,
                              const struct learnskip *s, struct mat own, struct mat sums, struct mat dv)
{
    if (!p->value_residual && s->dv.cols && !r->counting) { /* the first layer: all others are done */
        learnops_add(r->compute, dv, s->dv);
    }
    if (!p->value_residual) {
        return ERR_OK;
    }
    const struct learnops_mix m = {.da = dv,
                                   .db = s->dv,
                                   .dweight = sums,
                                   .dy = dv,
                                   .a = own,
                                   .b = s->v,
                                   .weight = p->value_residual->value};
    return learnskip_back(r, &m);
}

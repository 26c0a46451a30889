/* model/learngqa.c: see learngqa.h. */
#include "model/learngqa.h"

static void learngqa_rope(const struct learnrun *r, struct mat x, size_t n_heads, bool back)
{
    const struct config *c = r->config;
    const struct learnops_rope a = {.x = x,
                                    .n_heads = n_heads,
                                    .head_dim = c->head_dim,
                                    .dim = c->rope_dim,
                                    .positions = r->positions,
                                    .freqs = c->rope_freqs,
                                    .pairs = c->rope_pairs,
                                    .back = back};
    if (!r->counting) {
        learnops_rope(r->compute, &a);
    }
}

static struct learnops_attention learngqa_attention(const struct learnrun *r, const struct learngqa *a)
{
    const struct config *c = r->config;
    return (struct learnops_attention){.q = a->q,
                                       .k = a->k,
                                       .v = a->v,
                                       .out = a->out,
                                       .lse = a->lse,
                                       .positions = r->positions,
                                       .n_heads = c->num_attention_heads,
                                       .n_kv_heads = c->num_key_value_heads,
                                       .k_dim = c->head_dim,
                                       .v_dim = c->head_dim,
                                       .scale = c->attention_scale};
}

void learngqa_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learngqa *kept)
{
    const struct config *c = r->config;
    size_t t = r->n_tokens, q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    *kept = (struct learngqa){.x = learnrun_wide(r, t, c->hidden_size),
                              .h = learnrun_narrow(r, t, c->hidden_size),
                              .q = learnrun_narrow(r, t, q),
                              .k = learnrun_narrow(r, t, kv),
                              .v = learnrun_narrow(r, t, kv),
                              .out = learnrun_narrow(r, t, q),
                              .lse = learnrun_wide(r, t, c->num_attention_heads)};
    kept->q_raw = c->qk_norm ? learnrun_narrow(r, t, q) : kept->q;
    kept->k_raw = c->qk_norm ? learnrun_narrow(r, t, kv) : kept->k;
    kept->v_own = p->value_residual ? learnrun_narrow(r, t, kv) : kept->v;
}

struct learngqa learngqa_rows(const struct learngqa *kept, size_t first, size_t n)
{
    return (struct learngqa){.x = mat_rows(kept->x, first, n),
                             .h = mat_rows(kept->h, first, n),
                             .q = mat_rows(kept->q, first, n),
                             .q_raw = mat_rows(kept->q_raw, first, n),
                             .k = mat_rows(kept->k, first, n),
                             .k_raw = mat_rows(kept->k_raw, first, n),
                             .v = mat_rows(kept->v, first, n),
                             .v_own = mat_rows(kept->v_own, first, n),
                             .out = mat_rows(kept->out, first, n),
                             .lse = mat_rows(kept->lse, first, n)};
}

err learngqa_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                     const struct learngqa *kept, const struct learnskip *skip)
{
    const struct config *c = r->config;
    learnrun_copy(r, kept->x, x);
    learnrun_norm(r, kept->h, x, p->attn_norm);
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->q_raw, kept->h, p->q->work, false));
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->k_raw, kept->h, p->k->work, false));
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->v_own, kept->h, p->v->work, false));
    learngqa_rope(r, kept->q_raw, c->num_attention_heads, false);
    learngqa_rope(r, kept->k_raw, c->num_key_value_heads, false);
    if (c->qk_norm) {
        learnrun_norm_parts(r, kept->q, kept->q_raw, c->num_attention_heads);
        learnrun_norm_parts(r, kept->k, kept->k_raw, c->num_key_value_heads);
    }
    learnskip_values(r, p, skip, kept->v, kept->v_own);
    if (!r->counting) {
        const struct learnops_attention a = learngqa_attention(r, kept);
        err e = learnops_attention(r->compute, &a);
        TRY(e == ERR_OK ? e : err_set(r->info, e, "out of memory for attention"));
    }
    return learnrun_matmul(r, LEARNOPS_NT, x, kept->out, p->o->work, true);
}

void learngqa_begin(const struct learnrun *r, const struct learngqa *kept, struct learngqa_grads *g)
{
    *g = (struct learngqa_grads){.d = learnrun_narrow(r, r->n_tokens, r->config->hidden_size),
                                 .dq = learnrun_narrow(r, kept->q.rows, kept->q.cols),
                                 .dk = learnrun_narrow(r, kept->k.rows, kept->k.cols),
                                 .dv = learnrun_narrow(r, kept->v.rows, kept->v.cols),
                                 .attn_norm = learnblocks_sums(r, r->config->hidden_size),
                                 .value_residual = learnblocks_sums(r, 2)};
}

struct learngqa_grads learngqa_grads_rows(const struct learnrun *r, const struct learngqa_grads *g,
                                          size_t first, size_t n)
{
    return (struct learngqa_grads){.d = mat_rows(g->d, first, n),
                                   .dq = mat_rows(g->dq, first, n),
                                   .dk = mat_rows(g->dk, first, n),
                                   .dv = mat_rows(g->dv, first, n),
                                   .attn_norm = learnblocks_sum(r, g->attn_norm, first),
                                   .value_residual = learnblocks_sum(r, g->value_residual, first)};
}

/* Attention's gradients by what products made, rotated; with qk_norm through the norms. */
static err learngqa_attend_backward(const struct learnrun *r, const struct learngqa *kept, struct mat dout,
                                    const struct learngqa_grads *g)
{
    const struct config *c = r->config;
    struct mat dq = c->qk_norm ? learnrun_narrow(r, g->dq.rows, g->dq.cols) : g->dq;
    struct mat dk = c->qk_norm ? learnrun_narrow(r, g->dk.rows, g->dk.cols) : g->dk;
    if (!r->counting) {
        const struct learnops_attention attention = learngqa_attention(r, kept);
        err e = learnops_attention_backward(r->compute, &attention, dout, dq, dk, g->dv);
        TRY(e == ERR_OK ? e : err_set(r->info, e, "out of memory for the gradient of attention"));
    }
    if (c->qk_norm) {
        TRY(learnrun_norm_parts_backward(r, g->dq, dq, kept->q_raw, c->num_attention_heads));
        TRY(learnrun_norm_parts_backward(r, g->dk, dk, kept->k_raw, c->num_key_value_heads));
    }
    return ERR_OK;
}

err learngqa_backward(const struct learnrun *r, const struct learnparams_layer *p, const struct learngqa *kept,
                      const struct learngqa_grads *g, const struct learnskip *skip, struct mat dx)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat dh = learnrun_wide(r, r->n_tokens, r->config->hidden_size);
    struct mat dout = learnrun_narrow(r, kept->out.rows, kept->out.cols);
    learnrun_copy(r, g->d, dx);
    TRY(learnrun_matmul(r, LEARNOPS_NN, dout, g->d, p->o->work, false));
    TRY(learngqa_attend_backward(r, kept, dout, g));
    TRY(learnskip_values_backward(r, p, skip, kept->v_own, g->value_residual, g->dv));
    learngqa_rope(r, g->dq, r->config->num_attention_heads, true);
    learngqa_rope(r, g->dk, r->config->num_key_value_heads, true);
    TRY(learnrun_matmul(r, LEARNOPS_NN, dh, g->dq, p->q->work, false));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dh, g->dk, p->k->work, true));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dh, g->dv, p->v->work, true));
    TRY(learnrun_norm_backward_to(r, dx, g->attn_norm, dh, kept->x, p->attn_norm));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

void learngqa_list(const struct learnparams_layer *p, const struct learngqa *kept,
                   const struct learngqa_grads *g, struct learnrun_grads *list)
{
    learnrun_grad(list, p->o->grad, g->d, kept->out, true);
    learnrun_grad(list, p->q->grad, g->dq, kept->h, true);
    learnrun_grad(list, p->k->grad, g->dk, kept->h, true);
    learnrun_grad(list, p->v->grad, g->dv, kept->h, true);
}

void learngqa_end(const struct learnrun *r, const struct learnparams_layer *p, const struct learngqa_grads *g)
{
    learnblocks_add(r, p->attn_norm->grad, g->attn_norm);
    if (p->value_residual) {
        learnblocks_add(r, p->value_residual->grad, g->value_residual);
    }
}

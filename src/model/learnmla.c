/* model/learnmla.c: see learnmla.h. */
#include "model/learnmla.h"

static struct mat learnmla_head(struct mat m, size_t head, size_t head_dim, size_t first, size_t n)
{
    return mat_cols(m, head * head_dim + first, n);
}

static void learnmla_rope(const struct learnrun *r, struct mat x, size_t n_heads, size_t first, bool back)
{
    const struct config *c = r->config;
    const struct learnops_rope a = {.x = x,
                                    .n_heads = n_heads,
                                    .head_dim = first + c->qk_rope_head_dim,
                                    .first = first,
                                    .dim = c->qk_rope_head_dim,
                                    .positions = r->positions,
                                    .freqs = c->rope_freqs,
                                    .pairs = c->rope_pairs,
                                    .back = back};
    if (!r->counting) {
        learnops_rope(r->compute, &a);
    }
}

static struct learnops_attention learnmla_attention(const struct learnrun *r, const struct learnmla *a)
{
    const struct config *c = r->config;
    return (struct learnops_attention){.q = a->q,
                                       .k = a->k,
                                       .v = a->v,
                                       .out = a->out,
                                       .lse = a->lse,
                                       .positions = r->positions,
                                       .n_heads = c->num_attention_heads,
                                       .n_kv_heads = c->num_attention_heads,
                                       .k_dim = config_qk_dim(c),
                                       .v_dim = c->v_head_dim,
                                       .scale = c->attention_scale};
}

/* k_b's matrices side by side, shaped as k's heads, 0 where those are rotated: one product serves all heads. */
static struct mat learnmla_k_b(const struct learnrun *r, const struct learnparams_layer *p)
{
    const struct config *c = r->config;
    size_t heads = c->num_attention_heads, qk = config_qk_dim(c);
    struct mat m = learnrun_narrow(r, c->kv_lora_rank, heads * qk);
    learnrun_zero(r, m);
    for (size_t h = 0; !r->counting && h < heads; h++) {
        learnrun_copy(r, learnmla_head(m, h, qk, 0, c->qk_nope_head_dim),
                      learnparams_matrix(p->k_b, p->k_b->work, h));
    }
    return m;
}

void learnmla_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learnmla *kept)
{
    const struct config *c = r->config;
    size_t t = r->n_tokens, heads = c->num_attention_heads, qk = config_qk_dim(c);
    *kept = (struct learnmla){.x = learnrun_wide(r, t, c->hidden_size),
                              .h = learnrun_narrow(r, t, c->hidden_size),
                              .q = learnrun_narrow(r, t, heads * qk),
                              .kv_a = learnrun_narrow(r, t, c->kv_lora_rank + c->qk_rope_head_dim),
                              .latent = learnrun_narrow(r, t, c->kv_lora_rank),
                              .k = learnrun_narrow(r, t, heads * qk),
                              .v = learnrun_narrow(r, t, heads * c->v_head_dim),
                              .out = learnrun_narrow(r, t, heads * c->v_head_dim),
                              .lse = learnrun_wide(r, t, heads),
                              .k_b = learnmla_k_b(r, p)};
    if (c->q_lora_rank) {
        kept->q_a = learnrun_narrow(r, t, c->q_lora_rank);
        kept->q_n = learnrun_narrow(r, t, c->q_lora_rank);
    }
    kept->q_raw = c->qk_norm ? learnrun_narrow(r, t, heads * qk) : kept->q;
    kept->k_raw = c->qk_norm ? learnrun_narrow(r, t, heads * qk) : kept->k;
    kept->v_own = p->value_residual ? learnrun_narrow(r, t, heads * c->v_head_dim) : kept->v;
}

struct learnmla learnmla_rows(const struct learnmla *kept, size_t first, size_t n)
{
    return (struct learnmla){.x = mat_rows(kept->x, first, n),
                             .h = mat_rows(kept->h, first, n),
                             .q_a = mat_rows(kept->q_a, first, n),
                             .q_n = mat_rows(kept->q_n, first, n),
                             .q = mat_rows(kept->q, first, n),
                             .q_raw = mat_rows(kept->q_raw, first, n),
                             .kv_a = mat_rows(kept->kv_a, first, n),
                             .latent = mat_rows(kept->latent, first, n),
                             .k = mat_rows(kept->k, first, n),
                             .k_raw = mat_rows(kept->k_raw, first, n),
                             .v = mat_rows(kept->v, first, n),
                             .v_own = mat_rows(kept->v_own, first, n),
                             .out = mat_rows(kept->out, first, n),
                             .lse = mat_rows(kept->lse, first, n),
                             .k_b = kept->k_b};
}

static err learnmla_queries(const struct learnrun *r, const struct learnparams_layer *p,
                            const struct learnmla *a)
{
    if (p->q) {
        TRY(learnrun_matmul(r, LEARNOPS_NT, a->q_raw, a->h, p->q->work, false));
    } else {
        TRY(learnrun_matmul(r, LEARNOPS_NT, a->q_a, a->h, p->q_a->work, false));
        learnrun_norm(r, a->q_n, a->q_a, p->q_a_norm);
        TRY(learnrun_matmul(r, LEARNOPS_NT, a->q_raw, a->q_n, p->q_b->work, false));
    }
    learnmla_rope(r, a->q_raw, r->config->num_attention_heads, r->config->qk_nope_head_dim, false);
    if (r->config->qk_norm) {
        learnrun_norm_parts(r, a->q, a->q_raw, r->config->num_attention_heads);
    }
    return ERR_OK;
}

static err learnmla_keys_and_values(const struct learnrun *r, const struct learnparams_layer *p,
                                    const struct learnmla *a)
{
    const struct config *c = r->config;
    size_t rank = c->kv_lora_rank, rope = c->qk_rope_head_dim, nope = c->qk_nope_head_dim;
    struct mat rotated = mat_cols(a->kv_a, rank, rope);
    TRY(learnrun_matmul(r, LEARNOPS_NT, a->kv_a, a->h, p->kv_a->work, false));
    learnrun_norm(r, a->latent, mat_cols(a->kv_a, 0, rank), p->kv_a_norm);
    learnmla_rope(r, rotated, 1, 0, false);
    TRY(learnrun_matmul(r, LEARNOPS_NN, a->k_raw, a->latent, a->k_b, false));
    TRY(learnrun_matmul(r, LEARNOPS_NT, a->v_own, a->latent, p->v_b->work, false));
    for (size_t h = 0; h < c->num_attention_heads; h++) {
        learnrun_copy(r, learnmla_head(a->k_raw, h, nope + rope, nope, rope), rotated);
    }
    if (c->qk_norm) {
        learnrun_norm_parts(r, a->k, a->k_raw, c->num_attention_heads);
    }
    return ERR_OK;
}

err learnmla_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                     const struct learnmla *kept, const struct learnskip *skip)
{
    learnrun_copy(r, kept->x, x);
    learnrun_norm(r, kept->h, x, p->attn_norm);
    TRY(learnmla_queries(r, p, kept));
    TRY(learnmla_keys_and_values(r, p, kept));
    learnskip_values(r, p, skip, kept->v, kept->v_own);
    if (!r->counting) {
        const struct learnops_attention a = learnmla_attention(r, kept);
        err e = learnops_attention(r->compute, &a);
        TRY(e == ERR_OK ? e : err_set(r->info, e, "out of memory for attention"));
    }
    return learnrun_matmul(r, LEARNOPS_NT, x, kept->out, p->o->work, true);
}

/* ---- Backward: the queries' part sets dh, the gradient by h, and the keys' and values' adds to it. ---- */

void learnmla_begin(const struct learnrun *r, const struct learnmla *kept, struct learnmla_grads *g)
{
    const struct config *c = r->config;
    *g = (struct learnmla_grads){.d = learnrun_narrow(r, r->n_tokens, c->hidden_size),
                                 .dq = learnrun_narrow(r, kept->q.rows, kept->q.cols),
                                 .dk = learnrun_narrow(r, kept->k.rows, kept->k.cols),
                                 .dv = learnrun_narrow(r, kept->v.rows, kept->v.cols),
                                 .dq_a = learnrun_narrow(r, kept->q_a.rows, kept->q_a.cols),
                                 .dkv_a = learnrun_narrow(r, kept->kv_a.rows, kept->kv_a.cols),
                                 .dk_b = learnrun_wide(r, c->kv_lora_rank, kept->k.cols),
                                 .attn_norm = learnblocks_sums(r, c->hidden_size),
                                 .q_a_norm = learnblocks_sums(r, c->q_lora_rank),
                                 .kv_a_norm = learnblocks_sums(r, c->kv_lora_rank),
                                 .value_residual = learnblocks_sums(r, 2)};
}

struct learnmla_grads learnmla_grads_rows(const struct learnrun *r, const struct learnmla_grads *g,
                                          size_t first, size_t n)
{
    return (struct learnmla_grads){.d = mat_rows(g->d, first, n),
                                   .dq = mat_rows(g->dq, first, n),
                                   .dk = mat_rows(g->dk, first, n),
                                   .dv = mat_rows(g->dv, first, n),
                                   .dq_a = mat_rows(g->dq_a, first, n),
                                   .dkv_a = mat_rows(g->dkv_a, first, n),
                                   .attn_norm = learnblocks_sum(r, g->attn_norm, first),
                                   .q_a_norm = learnblocks_sum(r, g->q_a_norm, first),
                                   .kv_a_norm = learnblocks_sum(r, g->kv_a_norm, first),
                                   .value_residual = learnblocks_sum(r, g->value_residual, first)};
}

/* Attention's gradients by what products made, rotated; with qk_norm through the norms. */
static err learnmla_attend_backward(const struct learnrun *r, const struct learnmla *a, struct mat dout,
                                    const struct learnmla_grads *g)
{
    const struct config *c = r->config;
    struct mat dq = c->qk_norm ? learnrun_narrow(r, g->dq.rows, g->dq.cols) : g->dq;
    struct mat dk = c->qk_norm ? learnrun_narrow(r, g->dk.rows, g->dk.cols) : g->dk;
    if (!r->counting) {
        const struct learnops_attention attention = learnmla_attention(r, a);
        err e = learnops_attention_backward(r->compute, &attention, dout, dq, dk, g->dv);
        TRY(e == ERR_OK ? e : err_set(r->info, e, "out of memory for the gradient of attention"));
    }
    if (c->qk_norm) {
        TRY(learnrun_norm_parts_backward(r, g->dq, dq, a->q_raw, c->num_attention_heads));
        TRY(learnrun_norm_parts_backward(r, g->dk, dk, a->k_raw, c->num_attention_heads));
    }
    return ERR_OK;
}

static err learnmla_queries_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                     const struct learnmla *a, const struct learnmla_grads *g, struct mat dh)
{
    size_t rank = r->config->q_lora_rank;
    learnmla_rope(r, g->dq, r->config->num_attention_heads, r->config->qk_nope_head_dim, true);
    if (p->q) {
        return learnrun_matmul(r, LEARNOPS_NN, dh, g->dq, p->q->work, false);
    }
    struct mat dq_n = learnrun_wide(r, r->n_tokens, rank), dq_a = learnrun_wide(r, r->n_tokens, rank);
    TRY(learnrun_matmul(r, LEARNOPS_NN, dq_n, g->dq, p->q_b->work, false));
    learnrun_zero(r, dq_a);
    TRY(learnrun_norm_backward_to(r, dq_a, g->q_a_norm, dq_n, a->q_a, p->q_a_norm));
    learnrun_copy(r, g->dq_a, dq_a);
    return learnrun_matmul(r, LEARNOPS_NN, dh, g->dq_a, p->q_a->work, false);
}

static err learnmla_keys_and_values_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                             const struct learnmla *a, const struct learnmla_grads *g,
                                             struct mat dh)
{
    const struct config *c = r->config;
    size_t t = r->n_tokens, rank = c->kv_lora_rank, rope = c->qk_rope_head_dim, nope = c->qk_nope_head_dim;
    struct mat dlatent = learnrun_wide(r, t, rank), dkv_a = learnrun_wide(r, t, rank + rope);
    struct mat drotated = mat_cols(dkv_a, rank, rope);
    TRY(learnrun_matmul(r, LEARNOPS_NT, dlatent, g->dk, a->k_b, false));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dlatent, g->dv, p->v_b->work, true));
    learnrun_zero(r, dkv_a);
    for (size_t h = 0; !r->counting && h < c->num_attention_heads; h++) {
        learnops_add(r->compute, drotated, learnmla_head(g->dk, h, nope + rope, nope, rope));
    }
    learnmla_rope(r, drotated, 1, 0, true);
    TRY(learnrun_norm_backward_to(r, mat_cols(dkv_a, 0, rank), g->kv_a_norm, dlatent,
                                  mat_cols(a->kv_a, 0, rank), p->kv_a_norm));
    learnrun_copy(r, g->dkv_a, dkv_a);
    return learnrun_matmul(r, LEARNOPS_NN, dh, g->dkv_a, p->kv_a->work, true);
}

err learnmla_backward(const struct learnrun *r, const struct learnparams_layer *p, const struct learnmla *kept,
                      const struct learnmla_grads *g, const struct learnskip *skip, struct mat dx)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat dh = learnrun_wide(r, r->n_tokens, r->config->hidden_size);
    struct mat dout = learnrun_narrow(r, kept->out.rows, kept->out.cols);
    learnrun_copy(r, g->d, dx);
    TRY(learnrun_matmul(r, LEARNOPS_NN, dout, g->d, p->o->work, false));
    TRY(learnmla_attend_backward(r, kept, dout, g));
    TRY(learnskip_values_backward(r, p, skip, kept->v_own, g->value_residual, g->dv));
    TRY(learnmla_queries_backward(r, p, kept, g, dh));
    TRY(learnmla_keys_and_values_backward(r, p, kept, g, dh));
    TRY(learnrun_norm_backward_to(r, dx, g->attn_norm, dh, kept->x, p->attn_norm));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

/* ---- The weights. ---- */

void learnmla_list(const struct learnparams_layer *p, const struct learnmla *kept,
                   const struct learnmla_grads *g, struct learnrun_grads *list)
{
    learnrun_grad(list, p->o->grad, g->d, kept->out, true);
    if (p->q) {
        learnrun_grad(list, p->q->grad, g->dq, kept->h, true);
    } else {
        learnrun_grad(list, p->q_b->grad, g->dq, kept->q_n, true);
        learnrun_grad(list, p->q_a->grad, g->dq_a, kept->h, true);
    }
    learnrun_grad(list, p->kv_a->grad, g->dkv_a, kept->h, true);
    learnrun_grad(list, g->dk_b, kept->latent, g->dk, false);
    learnrun_grad(list, p->v_b->grad, g->dv, kept->latent, true);
}

void learnmla_end(const struct learnrun *r, const struct learnparams_layer *p, const struct learnmla_grads *g)
{
    const struct config *c = r->config;
    for (size_t h = 0; !r->counting && h < c->num_attention_heads; h++) {
        learnops_add(r->compute, learnparams_matrix(p->k_b, p->k_b->grad, h),
                     learnmla_head(g->dk_b, h, config_qk_dim(c), 0, c->qk_nope_head_dim));
    }
    learnblocks_add(r, p->attn_norm->grad, g->attn_norm);
    learnblocks_add(r, p->kv_a_norm->grad, g->kv_a_norm);
    if (p->q_a_norm) {
        learnblocks_add(r, p->q_a_norm->grad, g->q_a_norm);
    }
    if (p->value_residual) {
        learnblocks_add(r, p->value_residual->grad, g->value_residual);
    }
}

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

static void learnmla_keep(const struct learnrun *r, struct learnmla *a)
{
    const struct config *c = r->config;
    size_t t = r->n_tokens, heads = c->num_attention_heads, qk = config_qk_dim(c);
    *a = (struct learnmla){.x = learnrun_wide(r, t, c->hidden_size),
                           .h = learnrun_narrow(r, t, c->hidden_size),
                           .q = learnrun_narrow(r, t, heads * qk),
                           .kv_a = learnrun_narrow(r, t, c->kv_lora_rank + c->qk_rope_head_dim),
                           .latent = learnrun_narrow(r, t, c->kv_lora_rank),
                           .k = learnrun_narrow(r, t, heads * qk),
                           .v = learnrun_narrow(r, t, heads * c->v_head_dim),
                           .out = learnrun_narrow(r, t, heads * c->v_head_dim),
                           .lse = learnrun_wide(r, t, heads)};
    if (c->q_lora_rank) {
        a->q_a = learnrun_narrow(r, t, c->q_lora_rank);
        a->q_n = learnrun_narrow(r, t, c->q_lora_rank);
    }
}

static err learnmla_queries(const struct learnrun *r, const struct learnparams_layer *p,
                            const struct learnmla *a)
{
    if (p->q) {
        TRY(learnrun_matmul(r, LEARNOPS_NT, a->q, a->h, p->q->work, false));
    } else {
        TRY(learnrun_matmul(r, LEARNOPS_NT, a->q_a, a->h, p->q_a->work, false));
        learnrun_norm(r, a->q_n, a->q_a, p->q_a_norm);
        TRY(learnrun_matmul(r, LEARNOPS_NT, a->q, a->q_n, p->q_b->work, false));
    }
    learnmla_rope(r, a->q, r->config->num_attention_heads, r->config->qk_nope_head_dim, false);
    return ERR_OK;
}

/* k_b's matrices side by side, shaped as k's heads, 0 where those are rotated: one product serves all heads. */
static struct mat learnmla_k_b(const struct learnrun *r, const struct learnparams_layer *p)
{
    const struct config *c = r->config;
    size_t heads = c->num_attention_heads, qk = config_qk_dim(c);
    struct mat m = learnrun_narrow(r, c->kv_lora_rank, heads * qk);
    learnrun_zero(r, m);
    for (size_t h = 0; !r->counting && h < heads; h++) {
        learnops_copy(r->compute, learnmla_head(m, h, qk, 0, c->qk_nope_head_dim),
                      learnparams_matrix(p->k_b, p->k_b->work, h));
    }
    return m;
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
    size_t mark = learnarena_mark(r->arena);
    TRY(learnrun_matmul(r, LEARNOPS_NN, a->k, a->latent, learnmla_k_b(r, p), false));
    learnarena_release(r->arena, mark);
    TRY(learnrun_matmul(r, LEARNOPS_NT, a->v, a->latent, p->v_b->work, false));
    for (size_t h = 0; !r->counting && h < c->num_attention_heads; h++) {
        learnops_copy(r->compute, learnmla_head(a->k, h, nope + rope, nope, rope), rotated);
    }
    return ERR_OK;
}

err learnmla_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                     struct learnmla *kept)
{
    learnmla_keep(r, kept);
    if (!r->counting) {
        learnops_copy(r->compute, kept->x, x);
    }
    learnrun_norm(r, kept->h, x, p->attn_norm);
    TRY(learnmla_queries(r, p, kept));
    TRY(learnmla_keys_and_values(r, p, kept));
    if (!r->counting) {
        const struct learnops_attention a = learnmla_attention(r, kept);
        TRY(learnops_attention(r->compute, &a));
    }
    return learnrun_matmul(r, LEARNOPS_NT, x, kept->out, p->o->work, true);
}

/* ---- Backward: each part gives what came into it; the queries' sets dh, the gradient by h, and the keys' and
 * values' adds to it. ---- */

static err learnmla_queries_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                     const struct learnmla *a, struct mat dq, struct mat dh)
{
    size_t rank = r->config->q_lora_rank;
    learnmla_rope(r, dq, r->config->num_attention_heads, r->config->qk_nope_head_dim, true);
    if (p->q) {
        TRY(learnrun_matmul(r, LEARNOPS_TN, p->q->grad, dq, a->h, true));
        return learnrun_matmul(r, LEARNOPS_NN, dh, dq, p->q->work, false);
    }
    struct mat dq_n = learnrun_wide(r, r->n_tokens, rank), dq_a = learnrun_wide(r, r->n_tokens, rank);
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->q_b->grad, dq, a->q_n, true));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dq_n, dq, p->q_b->work, false));
    learnrun_zero(r, dq_a);
    TRY(learnrun_norm_backward(r, dq_a, dq_n, a->q_a, p->q_a_norm));
    struct mat narrow = learnrun_narrowed(r, dq_a);
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->q_a->grad, narrow, a->h, true));
    return learnrun_matmul(r, LEARNOPS_NN, dh, narrow, p->q_a->work, false);
}

/* Before the heads' own keys and values: sets dlatent. */
static err learnmla_heads_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                   const struct learnmla *a, struct mat dk, struct mat dv, struct mat dlatent)
{
    const struct config *c = r->config;
    size_t mark = learnarena_mark(r->arena);
    struct mat grad = learnrun_wide(r, c->kv_lora_rank, dk.cols);
    TRY(learnrun_matmul(r, LEARNOPS_NT, dlatent, dk, learnmla_k_b(r, p), false));
    TRY(learnrun_matmul(r, LEARNOPS_TN, grad, a->latent, dk, false));
    for (size_t h = 0; !r->counting && h < c->num_attention_heads; h++) {
        learnops_add(r->compute, learnparams_matrix(p->k_b, p->k_b->grad, h),
                     learnmla_head(grad, h, config_qk_dim(c), 0, c->qk_nope_head_dim));
    }
    learnarena_release(r->arena, mark);
    TRY(learnrun_matmul(r, LEARNOPS_NN, dlatent, dv, p->v_b->work, true));
    return learnrun_matmul(r, LEARNOPS_TN, p->v_b->grad, dv, a->latent, true);
}

static err learnmla_keys_and_values_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                             const struct learnmla *a, struct mat dk, struct mat dv,
                                             struct mat dh)
{
    const struct config *c = r->config;
    size_t t = r->n_tokens, rank = c->kv_lora_rank, rope = c->qk_rope_head_dim, nope = c->qk_nope_head_dim;
    struct mat dlatent = learnrun_wide(r, t, rank), dkv_a = learnrun_wide(r, t, rank + rope);
    struct mat drotated = mat_cols(dkv_a, rank, rope);
    learnrun_zero(r, dkv_a);
    TRY(learnmla_heads_backward(r, p, a, dk, dv, dlatent));
    for (size_t h = 0; !r->counting && h < c->num_attention_heads; h++) {
        learnops_add(r->compute, drotated, learnmla_head(dk, h, nope + rope, nope, rope));
    }
    learnmla_rope(r, drotated, 1, 0, true);
    TRY(learnrun_norm_backward(r, mat_cols(dkv_a, 0, rank), dlatent, mat_cols(a->kv_a, 0, rank), p->kv_a_norm));
    struct mat narrow = learnrun_narrowed(r, dkv_a);
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->kv_a->grad, narrow, a->h, true));
    return learnrun_matmul(r, LEARNOPS_NN, dh, narrow, p->kv_a->work, true);
}

static err learnmla_attention_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                       const struct learnmla *a, struct mat dx, struct mat dh)
{
    struct mat d = learnrun_narrowed(r, dx);
    struct mat dout = learnrun_narrow(r, a->out.rows, a->out.cols);
    struct mat dq = learnrun_narrow(r, a->q.rows, a->q.cols), dk = learnrun_narrow(r, a->k.rows, a->k.cols);
    struct mat dv = learnrun_narrow(r, a->v.rows, a->v.cols);
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->o->grad, d, a->out, true));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dout, d, p->o->work, false));
    if (!r->counting) {
        const struct learnops_attention attention = learnmla_attention(r, a);
        TRY(learnops_attention_backward(r->compute, &attention, dout, dq, dk, dv));
    }
    TRY(learnmla_queries_backward(r, p, a, dq, dh));
    return learnmla_keys_and_values_backward(r, p, a, dk, dv, dh);
}

err learnmla_backward(const struct learnrun *r, const struct learnparams_layer *p, const struct learnmla *kept,
                      struct mat dx)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat dh = learnrun_wide(r, r->n_tokens, r->config->hidden_size);
    TRY(learnmla_attention_backward(r, p, kept, dx, dh));
    TRY(learnrun_norm_backward(r, dx, dh, kept->x, p->attn_norm));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

/* model/learngpt2.c: see learngpt2.h. */
#include "model/learngpt2.h"

/* The parameters that are vectors, in the order of their sums. */
enum {
    LEARNGPT2_NORM, LEARNGPT2_NORM_BIAS, LEARNGPT2_QKV, LEARNGPT2_OUT,
    LEARNGPT2_FFN_NORM, LEARNGPT2_FFN_NORM_BIAS, LEARNGPT2_UP, LEARNGPT2_DOWN
};

static void learngpt2_vectors(const struct learnparams_layer *p, struct learnparam *out[LEARNGPT2_VECTORS])
{
    out[LEARNGPT2_NORM] = p->attn_norm;
    out[LEARNGPT2_NORM_BIAS] = p->attn_norm_bias;
    out[LEARNGPT2_QKV] = p->qkv_bias;
    out[LEARNGPT2_OUT] = p->o_bias;
    out[LEARNGPT2_FFN_NORM] = p->ffn_norm;
    out[LEARNGPT2_FFN_NORM_BIAS] = p->ffn_norm_bias;
    out[LEARNGPT2_UP] = p->up_bias;
    out[LEARNGPT2_DOWN] = p->down_bias;
}

/* ---- Norms and biases. ---- */

void learngpt2_norm(const struct learnrun *r, struct mat y, struct mat x, const struct learnparam *weight,
                    const struct learnparam *bias)
{
    if (!r->counting) {
        learnops_layernorm(r->compute, y, x, weight->value, bias->value, r->config->rms_norm_eps);
    }
}

err learngpt2_norm_backward(const struct learnrun *r, struct mat dx, struct mat dweight, struct mat dbias,
                            struct mat dy, struct mat x, const struct learnparam *weight)
{
    const struct learnops_layernorm a = {dx, dweight, dbias, dy, x, weight->value};
    if (r->counting) {
        return ERR_OK;
    }
    err e = learnops_layernorm_backward(r->compute, &a, r->config->rms_norm_eps);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for the gradient of a norm");
}

/* y = or += x w^T, + bias. */
static err learngpt2_linear(const struct learnrun *r, struct mat y, struct mat x, const struct learnparam *w,
                            const struct learnparam *bias, bool add)
{
    TRY(learnrun_matmul(r, LEARNOPS_NT, y, x, w->work, add));
    if (!r->counting) {
        learnops_bias(r->compute, y, bias->value);
    }
    return ERR_OK;
}

static err learngpt2_bias_backward(const struct learnrun *r, struct mat dbias, struct mat dy)
{
    err e = r->counting ? ERR_OK : learnops_bias_backward(r->compute, dbias, dy);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for the gradient of a bias");
}

static struct learnops_attention learngpt2_attention(const struct learnrun *r, const struct learngpt2 *a)
{
    const struct config *c = r->config;
    size_t d = c->hidden_size;
    return (struct learnops_attention){.q = mat_cols(a->qkv, 0, d),
                                       .k = mat_cols(a->qkv, d, d),
                                       .v = mat_cols(a->qkv, 2 * d, d),
                                       .out = a->out,
                                       .lse = a->lse,
                                       .positions = r->positions,
                                       .n_heads = c->num_attention_heads,
                                       .n_kv_heads = c->num_attention_heads,
                                       .k_dim = c->head_dim,
                                       .v_dim = c->head_dim,
                                       .scale = c->attention_scale};
}

/* ---- Forward. ---- */

void learngpt2_keep(const struct learnrun *r, struct learngpt2 *kept)
{
    const struct config *c = r->config;
    size_t t = r->n_tokens, d = c->hidden_size, f = c->intermediate_size;
    *kept = (struct learngpt2){.x = learnrun_wide(r, t, d),
                               .mid = learnrun_wide(r, t, d),
                               .h = learnrun_narrow(r, t, d),
                               .g = learnrun_narrow(r, t, d),
                               .qkv = learnrun_narrow(r, t, 3 * d),
                               .out = learnrun_narrow(r, t, d),
                               .lse = learnrun_wide(r, t, c->num_attention_heads),
                               .up = learnrun_narrow(r, t, f),
                               .inner = learnrun_narrow(r, t, f)};
}

struct learngpt2 learngpt2_rows(const struct learngpt2 *kept, size_t first, size_t n)
{
    return (struct learngpt2){.x = mat_rows(kept->x, first, n),
                              .mid = mat_rows(kept->mid, first, n),
                              .h = mat_rows(kept->h, first, n),
                              .g = mat_rows(kept->g, first, n),
                              .qkv = mat_rows(kept->qkv, first, n),
                              .out = mat_rows(kept->out, first, n),
                              .lse = mat_rows(kept->lse, first, n),
                              .up = mat_rows(kept->up, first, n),
                              .inner = mat_rows(kept->inner, first, n)};
}

err learngpt2_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                      const struct learngpt2 *kept)
{
    learnrun_copy(r, kept->x, x);
    learngpt2_norm(r, kept->h, x, p->attn_norm, p->attn_norm_bias);
    TRY(learngpt2_linear(r, kept->qkv, kept->h, p->qkv, p->qkv_bias, false));
    if (!r->counting) {
        const struct learnops_attention a = learngpt2_attention(r, kept);
        TRY(learnops_attention(r->compute, &a));
    }
    TRY(learngpt2_linear(r, x, kept->out, p->o, p->o_bias, true));
    learnrun_copy(r, kept->mid, x);
    learngpt2_norm(r, kept->g, x, p->ffn_norm, p->ffn_norm_bias);
    TRY(learngpt2_linear(r, kept->up, kept->g, p->up, p->up_bias, false));
    if (!r->counting) {
        learnops_gelu(r->compute, kept->inner, kept->up);
    }
    return learngpt2_linear(r, x, kept->inner, p->down, p->down_bias, true);
}

/* ---- Backward. ---- */

void learngpt2_begin(const struct learnrun *r, const struct learnparams_layer *p, const struct learngpt2 *kept,
                     struct learngpt2_grads *g)
{
    struct learnparam *vectors[LEARNGPT2_VECTORS];
    learngpt2_vectors(p, vectors);
    *g = (struct learngpt2_grads){.d_out = learnrun_narrow(r, r->n_tokens, r->config->hidden_size),
                                  .d_down = learnrun_narrow(r, r->n_tokens, r->config->hidden_size),
                                  .dqkv = learnrun_narrow(r, kept->qkv.rows, kept->qkv.cols)};
    for (int i = 0; i < LEARNGPT2_VECTORS; i++) {
        g->vectors[i] = learnblocks_sums(r, vectors[i]->value.cols);
    }
}

struct learngpt2_grads learngpt2_grads_rows(const struct learnrun *r, const struct learngpt2_grads *g,
                                            size_t first, size_t n)
{
    struct learngpt2_grads rows = {.d_out = mat_rows(g->d_out, first, n),
                                   .d_down = mat_rows(g->d_down, first, n),
                                   .dqkv = mat_rows(g->dqkv, first, n)};
    for (int i = 0; i < LEARNGPT2_VECTORS; i++) {
        rows.vectors[i] = learnblocks_sum(r, g->vectors[i], first);
    }
    return rows;
}

static err learngpt2_feed_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                   const struct learngpt2 *kept, const struct learngpt2_grads *g,
                                   struct mat dx)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat dh = learnrun_wide(r, dx.rows, dx.cols);
    struct mat dinner = learnrun_narrow(r, kept->inner.rows, kept->inner.cols);
    learnrun_copy(r, g->d_down, dx);
    TRY(learngpt2_bias_backward(r, g->vectors[LEARNGPT2_DOWN], dx));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dinner, g->d_down, p->down->work, false));
    if (!r->counting) {
        learnops_gelu_backward(r->compute, kept->up, dinner, kept->up);
    }
    TRY(learngpt2_bias_backward(r, g->vectors[LEARNGPT2_UP], kept->up));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dh, kept->up, p->up->work, false));
    TRY(learngpt2_norm_backward(r, dx, g->vectors[LEARNGPT2_FFN_NORM], g->vectors[LEARNGPT2_FFN_NORM_BIAS], dh,
                                kept->mid, p->ffn_norm));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

static err learngpt2_attend_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                     const struct learngpt2 *kept, const struct learngpt2_grads *g,
                                     struct mat dx)
{
    size_t mark = learnarena_mark(r->arena), d = dx.cols;
    struct mat dh = learnrun_wide(r, dx.rows, d), dout = learnrun_narrow(r, dx.rows, d);
    learnrun_copy(r, g->d_out, dx);
    TRY(learngpt2_bias_backward(r, g->vectors[LEARNGPT2_OUT], dx));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dout, g->d_out, p->o->work, false));
    if (!r->counting) {
        const struct learnops_attention a = learngpt2_attention(r, kept);
        TRY(learnops_attention_backward(r->compute, &a, dout, mat_cols(g->dqkv, 0, d), mat_cols(g->dqkv, d, d),
                                        mat_cols(g->dqkv, 2 * d, d)));
    }
    TRY(learngpt2_bias_backward(r, g->vectors[LEARNGPT2_QKV], g->dqkv));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dh, g->dqkv, p->qkv->work, false));
    TRY(learngpt2_norm_backward(r, dx, g->vectors[LEARNGPT2_NORM], g->vectors[LEARNGPT2_NORM_BIAS], dh, kept->x,
                                p->attn_norm));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

err learngpt2_backward(const struct learnrun *r, const struct learnparams_layer *p,
                       const struct learngpt2 *kept, const struct learngpt2_grads *g, struct mat dx)
{
    TRY(learngpt2_feed_backward(r, p, kept, g, dx));
    return learngpt2_attend_backward(r, p, kept, g, dx);
}

void learngpt2_list(const struct learnparams_layer *p, const struct learngpt2 *kept,
                    const struct learngpt2_grads *g, struct learnrun_grads *list)
{
    learnrun_grad(list, p->down->grad, g->d_down, kept->inner, true);
    learnrun_grad(list, p->up->grad, kept->up, kept->g, true);
    learnrun_grad(list, p->o->grad, g->d_out, kept->out, true);
    learnrun_grad(list, p->qkv->grad, g->dqkv, kept->h, true);
}

void learngpt2_end(const struct learnrun *r, const struct learnparams_layer *p, const struct learngpt2_grads *g)
{
    struct learnparam *vectors[LEARNGPT2_VECTORS];
    learngpt2_vectors(p, vectors);
    for (int i = 0; i < LEARNGPT2_VECTORS; i++) {
        learnblocks_add(r, vectors[i]->grad, g->vectors[i]);
    }
}

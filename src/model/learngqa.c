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

static void learngqa_keep(const struct learnrun *r, struct learngqa *a)
{
    const struct config *c = r->config;
    size_t t = r->n_tokens, q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    *a = (struct learngqa){.x = learnrun_wide(r, t, c->hidden_size),
                           .h = learnrun_narrow(r, t, c->hidden_size),
                           .q = learnrun_narrow(r, t, q),
                           .k = learnrun_narrow(r, t, kv),
                           .v = learnrun_narrow(r, t, kv),
                           .out = learnrun_narrow(r, t, q),
                           .lse = learnrun_wide(r, t, c->num_attention_heads)};
}

err learngqa_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                     struct learngqa *kept)
{
    const struct config *c = r->config;
    learngqa_keep(r, kept);
    if (!r->counting) {
        learnops_copy(r->compute, kept->x, x);
    }
    learnrun_norm(r, kept->h, x, p->attn_norm);
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->q, kept->h, p->q->work, false));
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->k, kept->h, p->k->work, false));
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->v, kept->h, p->v->work, false));
    learngqa_rope(r, kept->q, c->num_attention_heads, false);
    learngqa_rope(r, kept->k, c->num_key_value_heads, false);
    if (!r->counting) {
        const struct learnops_attention a = learngqa_attention(r, kept);
        TRY(learnops_attention(r->compute, &a));
    }
    return learnrun_matmul(r, LEARNOPS_NT, x, kept->out, p->o->work, true);
}

/* A product's own gradient, and what its input h gets of it. */
static err learngqa_project_backward(const struct learnrun *r, const struct learnparam *w, struct mat d,
                                     struct mat h, struct mat dh, bool add)
{
    TRY(learnrun_matmul(r, LEARNOPS_TN, w->grad, d, h, true));
    return learnrun_matmul(r, LEARNOPS_NN, dh, d, w->work, add);
}

/* Sets dh, the gradient by h. */
static err learngqa_attention_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                       const struct learngqa *a, struct mat dx, struct mat dh)
{
    struct mat d = learnrun_narrowed(r, dx);
    struct mat dout = learnrun_narrow(r, a->out.rows, a->out.cols);
    struct mat dq = learnrun_narrow(r, a->q.rows, a->q.cols), dk = learnrun_narrow(r, a->k.rows, a->k.cols);
    struct mat dv = learnrun_narrow(r, a->v.rows, a->v.cols);
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->o->grad, d, a->out, true));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dout, d, p->o->work, false));
    if (!r->counting) {
        const struct learnops_attention attention = learngqa_attention(r, a);
        TRY(learnops_attention_backward(r->compute, &attention, dout, dq, dk, dv));
    }
    learngqa_rope(r, dq, r->config->num_attention_heads, true);
    learngqa_rope(r, dk, r->config->num_key_value_heads, true);
    TRY(learngqa_project_backward(r, p->q, dq, a->h, dh, false));
    TRY(learngqa_project_backward(r, p->k, dk, a->h, dh, true));
    return learngqa_project_backward(r, p->v, dv, a->h, dh, true);
}

err learngqa_backward(const struct learnrun *r, const struct learnparams_layer *p, const struct learngqa *kept,
                      struct mat dx)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat dh = learnrun_wide(r, r->n_tokens, r->config->hidden_size);
    TRY(learngqa_attention_backward(r, p, kept, dx, dh));
    TRY(learnrun_norm_backward(r, dx, dh, kept->x, p->attn_norm));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

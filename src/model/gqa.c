/* model/gqa.c: see gqa.h. */
#include "model/gqa.h"

#include "model/cachepage.h"

static err gqa_project(struct forward *f, const struct weights_layer *l)
{
    const struct config *c = f->config;
    struct model_workspace *w = f->work;
    size_t n = f->n_tokens, q = c->num_attention_heads * c->head_dim;
    size_t kv = c->num_key_value_heads * c->head_dim;
    w->jobs[0] = forward_job(&l->q, w->x, w->q, n);
    w->jobs[1] = forward_job(&l->k, w->x, w->k, n);
    w->jobs[2] = forward_job(&l->v, w->x, w->v, n);
    TRY(forward_matmul(f, 3));
    if (c->attention_bias) {
        ops_add_bias(f->compute, w->q, l->q_bias, n, q);
        ops_add_bias(f->compute, w->k, l->k_bias, n, kv);
        ops_add_bias(f->compute, w->v, l->v_bias, n, kv);
    }
    return ERR_OK;
}

static void gqa_rotate(struct forward *f, float *x, size_t n_heads, const struct model_segment *seg)
{
    const struct config *c = f->config;
    ops_rope(f->compute, &(struct rope_args){.x = x,
                                             .n_tokens = seg->n_tokens,
                                             .n_heads = n_heads,
                                             .token_stride = n_heads * c->head_dim,
                                             .head_stride = c->head_dim,
                                             .dim = c->rope_dim,
                                             .pos = seg->cache->len,
                                             .freqs = c->rope_freqs,
                                             .pairs = c->rope_pairs});
}

/* One sequence, whose rows q, k, v are: into the cache, and its call of attention. */
static struct attention_args gqa_segment(struct forward *f, size_t layer, const struct model_segment *seg,
                                         float *q, float *k, float *v, float *out)
{
    const struct config *c = f->config;
    const struct model_cache *cache = seg->cache;
    size_t heads = c->num_attention_heads;
    struct attention_rows keys = cachepage_k(c, cache, layer), values = cachepage_v(c, cache, layer);
    gqa_rotate(f, q, heads, seg);
    gqa_rotate(f, k, c->num_key_value_heads, seg);
    cachepage_store(f->compute, cache, &keys, k, seg->n_tokens);
    cachepage_store(f->compute, cache, &values, v, seg->n_tokens);
    return (struct attention_args){.out = out,
                                   .q = q,
                                   .out_stride = heads * c->head_dim,
                                   .q_stride = heads * c->head_dim,
                                   .k = keys,
                                   .v = values,
                                   .kv_dtype = cache->dtype,
                                   .n_tokens = seg->n_tokens,
                                   .n_heads = heads,
                                   .n_kv_heads = c->num_key_value_heads,
                                   .k_dim = c->head_dim,
                                   .v_dim = c->head_dim,
                                   .pos = cache->len,
                                   .scale = c->attention_scale};
}

err gqa_forward(struct forward *f, size_t layer)
{
    const struct config *c = f->config;
    const struct weights_layer *l = &f->weights->layers[layer];
    struct model_workspace *w = f->work;
    size_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    TRY(gqa_project(f, l));
    for (size_t s = 0, first = 0; s < f->n_segments; first += f->segments[s++].n_tokens) {
        w->calls[s] = gqa_segment(f, layer, &f->segments[s], w->q + first * q, w->k + first * kv,
                                  w->v + first * kv, w->heads_out + first * q);
    }
    TRY(forward_attention(f, f->n_segments));
    w->jobs[0] = forward_job(&l->o, w->heads_out, w->out, f->n_tokens);
    return forward_matmul(f, 1);
}

/* model/mla.c: see mla.h. Shapes: T tokens, S keys, H heads, qk = nope + rope. */
#include "model/mla.h"

#include <string.h>

#include "model/cachepage.h"

static const size_t MLA_ABSORB_FLOATS = (32 << 20) / sizeof(float); /* tokens go in blocks of this */
static const size_t MLA_EXPAND_FLOATS = (64 << 20) / sizeof(float); /* least room for keys, values */

static size_t mla_row(const struct config *c) /* one cache row */
{
    return c->kv_lora_rank + c->qk_rope_head_dim;
}

/* Floats per token: the absorbed query and the latent result of every head. */
static size_t mla_absorb_floats(const struct config *c)
{
    return c->num_attention_heads * (mla_row(c) + c->kv_lora_rank);
}

/* Tokens per absorbed block. */
static size_t mla_absorb_block(const struct config *c, size_t scratch_floats)
{
    return scratch_floats / mla_absorb_floats(c);
}

static size_t mla_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t mla_scratch(const struct config *c, size_t max_tokens)
{
    size_t per_token = mla_absorb_floats(c);
    size_t block = MLA_ABSORB_FLOATS / per_token;
    size_t absorb = mla_min(block ? block : 1, max_tokens) * per_token;
    if (max_tokens == 1) {
        return absorb;
    }
    size_t per_key = c->num_attention_heads * (config_qk_dim(c) + c->v_head_dim);
    size_t expand = 2 * max_tokens * per_key;
    expand = expand < MLA_EXPAND_FLOATS ? MLA_EXPAND_FLOATS : expand;
    expand = mla_min(expand, c->max_position_embeddings * (per_key + mla_row(c)));
    return absorb > expand ? absorb : expand;
}

bool mla_prefers_expanded(const struct config *c, size_t pos, size_t n)
{
    double rank = (double)c->kv_lora_rank, rope = (double)c->qk_rope_head_dim;
    double half = (double)(c->qk_nope_head_dim + c->v_head_dim);
    double queries = (double)n, keys = (double)pos + queries;
    double pairs = queries * ((double)pos + (queries + 1) / 2);
    double expanded = keys * rank * half + pairs * (half + rope);
    double absorbed = queries * rank * half + pairs * (2 * rank + rope);
    return expanded < absorbed;
}

/* Heads whose keys and values fit the scratch beside the latents of n_keys positions; 0: none. */
static size_t mla_heads_that_fit(const struct forward *f, size_t n_keys)
{
    const struct config *c = f->config;
    size_t latents = n_keys * mla_row(c), floats = f->work->scratch_floats;
    if (latents >= floats) {
        return 0;
    }
    return mla_min((floats - latents) / (n_keys * (config_qk_dim(c) + c->v_head_dim)),
                   c->num_attention_heads);
}

static bool mla_is_expanded(const struct forward *f, const struct model_segment *seg)
{
    size_t pos = seg->cache->len, n = seg->n_tokens;
    return !f->compute->deterministic && n > MLA_FEW && mla_prefers_expanded(f->config, pos, n) &&
           mla_heads_that_fit(f, pos + n) > 0;
}

/* x → q [T, H, qk] and kv_a [T, latent | k_pe], latents normed, nothing rotated yet. */
static err mla_project(struct forward *f, const struct weights_layer *l)
{
    const struct config *c = f->config;
    struct model_workspace *w = f->work;
    size_t n = f->n_tokens, row = mla_row(c);
    bool direct = c->q_lora_rank == 0;
    w->jobs[0] = forward_job(&l->kv_a, w->x, w->kv_a, n);
    w->jobs[1] = direct ? forward_job(&l->q, w->x, w->q, n) : forward_job(&l->q_a, w->x, w->q_a, n);
    TRY(forward_matmul(f, 2));
    ops_rmsnorm(f->compute, w->kv_a, row, w->kv_a, row, l->kv_a_norm, n, c->kv_lora_rank,
                c->rms_norm_eps);
    if (direct) {
        return ERR_OK;
    }
    ops_rmsnorm(f->compute, w->q_a, c->q_lora_rank, w->q_a, c->q_lora_rank, l->q_a_norm, n,
                c->q_lora_rank, c->rms_norm_eps);
    w->jobs[0] = forward_job(&l->q_b, w->q_a, w->q, n);
    return forward_matmul(f, 1);
}

static void mla_rotate(struct forward *f, float *x, size_t n_heads, size_t token_stride,
                       size_t head_stride, const struct model_segment *seg)
{
    ops_rope(f->compute, &(struct rope_args){.x = x,
                                             .n_tokens = seg->n_tokens,
                                             .n_heads = n_heads,
                                             .token_stride = token_stride,
                                             .head_stride = head_stride,
                                             .dim = f->config->rope_dim,
                                             .pos = seg->cache->len,
                                             .freqs = f->config->rope_freqs,
                                             .pairs = f->config->rope_pairs});
}

/* q_pe *= rope_gain: 1 in every released model. */
static void mla_gain(const struct config *c, float *q_pe, size_t n)
{
    for (size_t i = 0; c->rope_gain != 1.0f && i < n; i++) {
        for (size_t k = 0; k < c->qk_rope_head_dim; k++) {
            q_pe[i * config_qk_dim(c) + k] *= c->rope_gain;
        }
    }
}

/* Rotates a segment's q_pe and k_pe and stores its rows in the cache. */
static void mla_store(struct forward *f, size_t layer, const struct model_segment *seg, float *q,
                      float *kv_a)
{
    const struct config *c = f->config;
    const struct model_cache *cache = seg->cache;
    size_t heads = c->num_attention_heads, qk = config_qk_dim(c), row = mla_row(c);
    mla_rotate(f, q + c->qk_nope_head_dim, heads, heads * qk, qk, seg);
    mla_rotate(f, kv_a + c->kv_lora_rank, 1, row, row, seg);
    mla_gain(c, q + c->qk_nope_head_dim, seg->n_tokens * heads);
    struct attention_rows rows = cachepage_k(c, cache, layer);
    cachepage_store(f->compute, cache, &rows, kv_a, seg->n_tokens);
}

/* latents [S, row] → keys [S, G, qk], values [S, G, v] of G heads from `head` on. */
static err mla_expand(struct forward *f, const struct weights_layer *l, size_t head, size_t n_heads,
                      const float *latents, size_t n_keys, float *keys, float *values)
{
    const struct config *c = f->config;
    size_t qk = config_qk_dim(c), row = mla_row(c), nope = c->qk_nope_head_dim;
    for (size_t h = 0; h < n_heads; h++) {
        struct matmul_job *job = &f->work->jobs[2 * h];
        job[0] = forward_job(&l->k_up[head + h], latents, keys + h * qk, n_keys);
        job[1] = forward_job(&l->v_up[head + h], latents, values + h * c->v_head_dim, n_keys);
        job[0].x_stride = job[1].x_stride = row;
        job[0].y_stride = n_heads * qk;
        job[1].y_stride = n_heads * c->v_head_dim;
    }
    TRY(forward_matmul(f, 2 * n_heads));
    for (size_t s = 0; s < n_keys; s++) {
        for (size_t h = 0; h < n_heads; h++) {
            memcpy(keys + (s * n_heads + h) * qk + nope, latents + s * row + c->kv_lora_rank,
                   c->qk_rope_head_dim * sizeof *keys);
        }
    }
    return ERR_OK;
}

/* Rows that follow each other. */
static struct attention_rows mla_rows(const char *const *page, size_t stride, size_t head_stride)
{
    return (struct attention_rows){
        .pages = page, .stride = stride, .head_stride = head_stride, .shift = ATTENTION_ONE_PAGE};
}

static err mla_expanded(struct forward *f, size_t layer, const struct model_segment *seg,
                        const float *q, float *out)
{
    const struct config *c = f->config;
    const struct weights_layer *l = &f->weights->layers[layer];
    size_t heads = c->num_attention_heads, qk = config_qk_dim(c), row = mla_row(c);
    size_t n_keys = seg->cache->len + seg->n_tokens, group = mla_heads_that_fit(f, n_keys);
    float *latents = f->work->scratch, *keys = latents + n_keys * row;
    float *values = keys + n_keys * group * qk;
    const char *const pages[2] = {(const char *)keys, (const char *)values};
    struct attention_rows rows = cachepage_k(c, seg->cache, layer);
    cachepage_load(f->compute, seg->cache, &rows, latents, n_keys);
    for (size_t h = 0; h < heads; h += group) {
        size_t n = mla_min(group, heads - h);
        TRY(mla_expand(f, l, h, n, latents, n_keys, keys, values));
        f->work->calls[0] = (struct attention_args){.out = out + h * c->v_head_dim,
                                                    .q = q + h * qk,
                                                    .out_stride = heads * c->v_head_dim,
                                                    .q_stride = heads * qk,
                                                    .k = mla_rows(&pages[0], n * qk, qk),
                                                    .v = mla_rows(&pages[1], n * c->v_head_dim,
                                                                  c->v_head_dim),
                                                    .kv_dtype = DTYPE_F32,
                                                    .n_tokens = seg->n_tokens,
                                                    .n_heads = n,
                                                    .n_kv_heads = n,
                                                    .k_dim = qk,
                                                    .v_dim = c->v_head_dim,
                                                    .pos = seg->cache->len,
                                                    .scale = c->attention_scale};
        TRY(forward_attention(f, 1));
    }
    return ERR_OK;
}

/* q [T, H, qk] → absorbed [T, H, latent | q_pe]. */
static err mla_absorb_queries(struct forward *f, const struct weights_layer *l, const float *q,
                              float *absorbed, size_t n)
{
    const struct config *c = f->config;
    size_t heads = c->num_attention_heads, qk = config_qk_dim(c), row = mla_row(c);
    for (size_t h = 0; h < heads; h++) {
        struct matmul_job *job = &f->work->jobs[h];
        *job = forward_job(&l->k_absorb[h], q + h * qk, absorbed + h * row, n);
        job->x_stride = heads * qk;
        job->y_stride = heads * row;
    }
    TRY(forward_matmul(f, heads));
    for (size_t i = 0; i < n * heads; i++) {
        memcpy(absorbed + i * row + c->kv_lora_rank, q + i * qk + c->qk_nope_head_dim,
               c->qk_rope_head_dim * sizeof *absorbed);
    }
    return ERR_OK;
}

/* Attention of n queries, the first of them `offset` tokens into its segment. */
static struct attention_args mla_absorbed_call(const struct forward *f, size_t layer,
                                               const struct model_segment *seg, size_t offset, size_t n,
                                               const float *absorbed, float *latent_out)
{
    const struct config *c = f->config;
    size_t heads = c->num_attention_heads, row = mla_row(c), rank = c->kv_lora_rank;
    return (struct attention_args){.out = latent_out,
                                   .q = absorbed,
                                   .out_stride = heads * rank,
                                   .q_stride = heads * row,
                                   .k = cachepage_k(c, seg->cache, layer),
                                   .v = cachepage_k(c, seg->cache, layer),
                                   .kv_dtype = seg->cache->dtype,
                                   .n_tokens = n,
                                   .n_heads = heads,
                                   .n_kv_heads = 1,
                                   .k_dim = row,
                                   .v_dim = rank,
                                   .pos = seg->cache->len + offset,
                                   .scale = c->attention_scale};
}

/* n tokens from `first` on: either a piece of one segment, or n segments of one token each. */
static err mla_absorbed(struct forward *f, size_t layer, size_t first, size_t n,
                        const struct model_segment *segs, size_t n_segs, size_t offset)
{
    const struct config *c = f->config;
    const struct weights_layer *l = &f->weights->layers[layer];
    size_t heads = c->num_attention_heads, row = mla_row(c), rank = c->kv_lora_rank;
    float *absorbed = f->work->scratch, *latent_out = absorbed + n * heads * row;
    float *out = f->work->heads_out + first * heads * c->v_head_dim;
    TRY(mla_absorb_queries(f, l, f->work->q + first * heads * config_qk_dim(c), absorbed, n));
    size_t each = n / n_segs;
    for (size_t s = 0; s < n_segs; s++) {
        f->work->calls[s] = mla_absorbed_call(f, layer, &segs[s], offset, each, absorbed + s * heads * row,
                                              latent_out + s * heads * rank);
    }
    TRY(forward_attention(f, n_segs));
    for (size_t h = 0; h < heads; h++) {
        struct matmul_job *job = &f->work->jobs[h];
        *job = forward_job(&l->v_up[h], latent_out + h * rank, out + h * c->v_head_dim, n);
        job->x_stride = heads * rank;
        job->y_stride = heads * c->v_head_dim;
    }
    return forward_matmul(f, heads);
}

/* How many single-token segments follow each other here: a decode batch, absorbed in one go. */
static size_t mla_singles(const struct forward *f, size_t segment, size_t most)
{
    size_t n = 0;
    while (n < most && segment + n < f->n_segments && f->segments[segment + n].n_tokens == 1) {
        n++;
    }
    return n;
}

static err mla_attend(struct forward *f, size_t layer)
{
    const struct config *c = f->config;
    size_t qk = c->num_attention_heads * config_qk_dim(c);
    size_t v = c->num_attention_heads * c->v_head_dim;
    size_t block = mla_absorb_block(c, f->work->scratch_floats);
    for (size_t s = 0, first = 0; s < f->n_segments;) {
        const struct model_segment *seg = &f->segments[s];
        size_t n = seg->n_tokens;
        if (n == 1) {
            n = mla_singles(f, s, block);
            TRY(mla_absorbed(f, layer, first, n, seg, n, 0));
            s += n;
        } else if (mla_is_expanded(f, seg)) {
            TRY(mla_expanded(f, layer, seg, f->work->q + first * qk, f->work->heads_out + first * v));
            s++;
        } else {
            for (size_t t = 0; t < n; t += block) {
                TRY(mla_absorbed(f, layer, first + t, mla_min(block, n - t), seg, 1, t));
            }
            s++;
        }
        first += n;
    }
    return ERR_OK;
}

err mla_forward(struct forward *f, size_t layer)
{
    const struct config *c = f->config;
    const struct weights_layer *l = &f->weights->layers[layer];
    struct model_workspace *w = f->work;
    TRY(mla_project(f, l));
    for (size_t s = 0, first = 0; s < f->n_segments; first += f->segments[s++].n_tokens) {
        mla_store(f, layer, &f->segments[s], w->q + first * c->num_attention_heads * config_qk_dim(c),
                  w->kv_a + first * mla_row(c));
    }
    TRY(mla_attend(f, layer));
    w->jobs[0] = forward_job(&l->o, w->heads_out, w->out, f->n_tokens);
    return forward_matmul(f, 1);
}

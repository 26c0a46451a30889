/* model/workspace.c: see workspace.h. One function lays the buffers out; it runs once without memory
 * to learn the size and once to place. */
#include "model/workspace.h"

#include "base/checked.h"
#include "model/mla.h"

enum { WORKSPACE_ALIGN = 64 };

struct workspace_cursor {
    char *base; /* NULL while measuring */
    size_t used;
    bool overflow;
};

/* The next n * m elements of `size` bytes. */
static void *workspace_take(struct workspace_cursor *at, size_t n, size_t m, size_t size)
{
    size_t bytes, end;
    if (!checked_mul(n, m, &bytes) || !checked_mul(bytes, size, &bytes) ||
        !checked_align(bytes, WORKSPACE_ALIGN, &bytes) || !checked_add(at->used, bytes, &end)) {
        at->overflow = true;
        return NULL;
    }
    void *p = at->base ? at->base + at->used : NULL;
    at->used = end;
    return p;
}

static float *workspace_floats(struct workspace_cursor *at, size_t n, size_t m)
{
    return workspace_take(at, n, m, sizeof(float));
}

static uint32_t *workspace_ids(struct workspace_cursor *at, size_t n, size_t m)
{
    return workspace_take(at, n, m, sizeof(uint32_t));
}

static void workspace_attention(const struct config *c, size_t t, struct workspace_cursor *at,
                                struct model_workspace *w)
{
    w->q = workspace_floats(at, t, c->num_attention_heads * config_qk_dim(c));
    w->heads_out = workspace_floats(at, t, c->num_attention_heads * config_v_dim(c));
    if (config_is_mla(c)) {
        w->q_a = workspace_floats(at, t, c->q_lora_rank);
        w->kv_a = workspace_floats(at, t, c->kv_lora_rank + c->qk_rope_head_dim);
        w->scratch_floats = mla_scratch(c, t);
        w->scratch = workspace_floats(at, w->scratch_floats, 1);
    } else {
        w->k = workspace_floats(at, t, c->num_key_value_heads * c->head_dim);
        w->v = workspace_floats(at, t, c->num_key_value_heads * c->head_dim);
    }
}

/* Returns the largest number of jobs one batch of matrices has. */
static size_t workspace_ffn(const struct config *c, size_t t, struct workspace_cursor *at,
                            struct model_workspace *w)
{
    size_t dense = c->first_k_dense_replace ? c->intermediate_size : 0; /* floats per token */
    if (c->n_routed_experts == 0) {
        w->gate = workspace_floats(at, t, dense);
        w->up = workspace_floats(at, t, dense);
        return 2;
    }
    size_t k = c->num_experts_per_tok, e = c->n_routed_experts;
    size_t moe = (k + c->n_shared_experts) * c->moe_intermediate_size;
    w->gate = workspace_floats(at, t, moe > dense ? moe : dense);
    w->up = workspace_floats(at, t, moe > dense ? moe : dense);
    w->expert_out = workspace_floats(at, t * k, c->hidden_size);
    w->router_logits = workspace_floats(at, t, e);
    w->router_scores = workspace_floats(at, 2, e);
    w->expert_weight = workspace_floats(at, t, k);
    w->expert_id = workspace_ids(at, t, k);
    w->expert_slot = workspace_ids(at, t, k);
    w->expert_rows = workspace_ids(at, t, k);
    w->expert_start = workspace_ids(at, e + 1, 1);
    return 2 * (t * k < e ? t * k : e) + 2;
}

static void workspace_layout(const struct config *c, size_t t, struct workspace_cursor *at,
                             struct model_workspace *w)
{
    w->max_tokens = t;
    w->h = workspace_floats(at, t, c->hidden_size);
    w->x = workspace_floats(at, t, c->hidden_size);
    w->out = workspace_floats(at, t, c->hidden_size);
    workspace_attention(c, t, at, w);
    size_t jobs = workspace_ffn(c, t, at, w);
    if (jobs < 2 * c->num_attention_heads) {
        jobs = 2 * c->num_attention_heads; /* MLA: keys and values of every head */
    }
    if (jobs < t) {
        jobs = t; /* the head: one per segment at most */
    }
    if (jobs < 3) {
        jobs = 3; /* q, k, v */
    }
    if (c->num_nextn_predict_layers) {
        size_t n = t < WORKSPACE_MTP_TOKENS ? t : WORKSPACE_MTP_TOKENS;
        w->joined = workspace_floats(at, n, 2 * c->hidden_size);
    }
    w->head_rows = workspace_ids(at, t, 1);
    w->jobs = workspace_take(at, jobs, 1, sizeof *w->jobs);
    w->calls = workspace_take(at, t, 1, sizeof *w->calls);
}

size_t workspace_bytes(const struct config *c, size_t max_tokens)
{
    struct workspace_cursor at = {0};
    struct model_workspace w = {0};
    if (max_tokens == 0 || max_tokens > WORKSPACE_TOKENS_MAX) {
        return 0;
    }
    workspace_layout(c, max_tokens, &at, &w);
    return at.overflow ? 0 : at.used;
}

void workspace_place(const struct config *c, size_t max_tokens, void *memory,
                     struct model_workspace *out)
{
    struct workspace_cursor at = {.base = memory};
    struct model_workspace w = {.memory = memory};
    workspace_layout(c, max_tokens, &at, &w);
    *out = w;
}

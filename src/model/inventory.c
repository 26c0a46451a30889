/* model/inventory.c: see inventory.h. MLA files carry kv_b split per head into attn_k_b (transposed)
 * and attn_v_b, as current GGUF writers do. */
#include "model/inventory.h"

#include <stdio.h>

struct inventory_walker {
    inventory_visitor visit;
    void *user;
    int layer;
    err result; /* the first failure; later items are skipped */
};

/* Visits one tensor; a zero in c or b means lower rank. */
static void inventory_item(struct inventory_walker *w, const char *stem, const char *suffix,
                           bool is_matrix, size_t a, size_t b, size_t c)
{
    if (w->result != ERR_OK) {
        return;
    }
    struct inventory_item item = {.layer = w->layer, .is_matrix = is_matrix, .shape = {1, 1, 1, 1}};
    if (w->layer >= 0) {
        snprintf(item.name, sizeof item.name, "blk.%d.%s.%s", w->layer, stem, suffix);
    } else {
        snprintf(item.name, sizeof item.name, "%s.%s", stem, suffix);
    }
    item.shape[0] = a;
    item.rank = 1;
    if (b > 0) {
        item.shape[item.rank++] = b;
    }
    if (c > 0) {
        item.shape[item.rank++] = c;
    }
    w->result = w->visit(w->user, &item);
}

static void inventory_matrix(struct inventory_walker *w, const char *stem, size_t out, size_t in)
{
    inventory_item(w, stem, "weight", true, out, in, 0);
}

static void inventory_vector(struct inventory_walker *w, const char *stem, const char *suffix,
                             size_t n)
{
    inventory_item(w, stem, suffix, false, n, 0, 0);
}

static void inventory_mla(struct inventory_walker *w, const struct config *c)
{
    size_t d = c->hidden_size, heads = c->num_attention_heads;
    size_t q_out = heads * (c->qk_nope_head_dim + c->qk_rope_head_dim);
    if (c->q_lora_rank > 0) {
        inventory_matrix(w, "attn_q_a", c->q_lora_rank, d);
        inventory_vector(w, "attn_q_a_norm", "weight", c->q_lora_rank);
        inventory_matrix(w, "attn_q_b", q_out, c->q_lora_rank);
    } else {
        inventory_matrix(w, "attn_q", q_out, d);
    }
    inventory_matrix(w, "attn_kv_a_mqa", c->kv_lora_rank + c->qk_rope_head_dim, d);
    inventory_vector(w, "attn_kv_a_norm", "weight", c->kv_lora_rank);
    inventory_item(w, "attn_k_b", "weight", true, heads, c->kv_lora_rank, c->qk_nope_head_dim);
    inventory_item(w, "attn_v_b", "weight", true, heads, c->v_head_dim, c->kv_lora_rank);
    inventory_matrix(w, "attn_output", d, heads * c->v_head_dim);
}

static void inventory_gqa(struct inventory_walker *w, const struct config *c)
{
    size_t d = c->hidden_size;
    size_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    inventory_matrix(w, "attn_q", q, d);
    inventory_matrix(w, "attn_k", kv, d);
    inventory_matrix(w, "attn_v", kv, d);
    if (c->attention_bias) {
        inventory_vector(w, "attn_q", "bias", q);
        inventory_vector(w, "attn_k", "bias", kv);
        inventory_vector(w, "attn_v", "bias", kv);
    }
    inventory_matrix(w, "attn_output", d, q);
}

static void inventory_moe(struct inventory_walker *w, const struct config *c)
{
    size_t d = c->hidden_size, e = c->n_routed_experts, f = c->moe_intermediate_size;
    inventory_item(w, "ffn_gate_inp", "weight", false, e, d, 0);
    if (c->topk_method == CONFIG_NOAUX_TC) {
        inventory_vector(w, "exp_probs_b", "bias", e);
    }
    inventory_item(w, "ffn_gate_exps", "weight", true, e, f, d);
    inventory_item(w, "ffn_up_exps", "weight", true, e, f, d);
    inventory_item(w, "ffn_down_exps", "weight", true, e, d, f);
    if (c->n_shared_experts > 0) {
        size_t shared = c->n_shared_experts * f;
        inventory_matrix(w, "ffn_gate_shexp", shared, d);
        inventory_matrix(w, "ffn_up_shexp", shared, d);
        inventory_matrix(w, "ffn_down_shexp", d, shared);
    }
}

static void inventory_gpt2(struct inventory_walker *w, const struct config *c)
{
    size_t d = c->hidden_size, ff = c->intermediate_size;
    inventory_vector(w, "attn_norm", "weight", d);
    inventory_vector(w, "attn_norm", "bias", d);
    inventory_matrix(w, "attn_qkv", 3 * d, d);
    inventory_vector(w, "attn_qkv", "bias", 3 * d);
    inventory_matrix(w, "attn_output", d, d);
    inventory_vector(w, "attn_output", "bias", d);
    inventory_vector(w, "ffn_norm", "weight", d);
    inventory_vector(w, "ffn_norm", "bias", d);
    inventory_matrix(w, "ffn_up", ff, d);
    inventory_vector(w, "ffn_up", "bias", ff);
    inventory_matrix(w, "ffn_down", d, ff);
    inventory_vector(w, "ffn_down", "bias", d);
}

/* Two weights each (learnskip.h). The first layer's values are its own; an MTP layer has neither. */
static void inventory_skips(struct inventory_walker *w, const struct config *c)
{
    bool mtp = (size_t)w->layer >= c->num_hidden_layers;
    if (c->x0_skip && !mtp) {
        inventory_vector(w, "x0_skip", "weight", 2);
    }
    if (c->value_residual && !mtp && w->layer > 0) {
        inventory_vector(w, "value_residual", "weight", 2);
    }
}

static void inventory_layer(struct inventory_walker *w, const struct config *c)
{
    size_t d = c->hidden_size;
    inventory_skips(w, c);
    inventory_vector(w, "attn_norm", "weight", d);
    if (config_is_mla(c)) {
        inventory_mla(w, c);
    } else {
        inventory_gqa(w, c);
    }
    inventory_vector(w, "ffn_norm", "weight", d);
    if (config_is_moe_layer(c, (size_t)w->layer)) {
        inventory_moe(w, c);
    } else {
        inventory_matrix(w, "ffn_gate", c->intermediate_size, d);
        inventory_matrix(w, "ffn_up", c->intermediate_size, d);
        inventory_matrix(w, "ffn_down", d, c->intermediate_size);
    }
}

/* A multi-token-prediction layer: a layer, and what joins it to the others. */
static void inventory_mtp(struct inventory_walker *w, const struct config *c)
{
    size_t d = c->hidden_size;
    inventory_layer(w, c);
    inventory_matrix(w, "nextn.eh_proj", d, 2 * d);
    inventory_vector(w, "nextn.enorm", "weight", d);
    inventory_vector(w, "nextn.hnorm", "weight", d);
    inventory_matrix(w, "nextn.embed_tokens", c->vocab_size, d);
    inventory_matrix(w, "nextn.shared_head_head", c->vocab_size, d);
    inventory_vector(w, "nextn.shared_head_norm", "weight", d);
}

err inventory_walk(const struct config *c, inventory_visitor visit, void *user)
{
    struct inventory_walker w = {.visit = visit, .user = user, .layer = -1};
    inventory_matrix(&w, "token_embd", c->vocab_size, c->hidden_size);
    if (c->bigram_vocab_size) {
        inventory_matrix(&w, "bigram_embd", c->bigram_vocab_size, c->hidden_size);
    }
    if (c->family == CONFIG_GPT2) {
        inventory_matrix(&w, "position_embd", c->max_position_embeddings, c->hidden_size);
    }
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        w.layer = (int)i;
        if (c->family == CONFIG_GPT2) {
            inventory_gpt2(&w, c);
        } else {
            inventory_layer(&w, c);
        }
    }
    for (size_t i = 0; i < c->num_nextn_predict_layers; i++) {
        w.layer = (int)(c->num_hidden_layers + i);
        inventory_mtp(&w, c);
    }
    w.layer = -1;
    inventory_vector(&w, "output_norm", "weight", c->hidden_size);
    if (c->family == CONFIG_GPT2) {
        inventory_vector(&w, "output_norm", "bias", c->hidden_size);
    }
    if (!c->tie_word_embeddings) {
        inventory_matrix(&w, "output", c->vocab_size, c->hidden_size);
    }
    return w.result;
}

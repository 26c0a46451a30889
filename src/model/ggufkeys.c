/* model/ggufkeys.c: see ggufkeys.h. */
#include "model/ggufkeys.h"

#include <stdio.h>
#include <string.h>

const char *ggufkeys_arch(const struct config *c)
{
    switch (c->family) {
    case CONFIG_DEEPSEEK: return "deepseek2";
    case CONFIG_LLAMA: return "llama";
    case CONFIG_QWEN2: return "qwen2";
    case CONFIG_GPT2: return "gpt2"; /* for messages: never written */
    }
    return "llama";
}

/* A writer that remembers its first failure, so that keys can be listed one per line. */
struct ggufkeys {
    struct gguf_writer *w;
    const char *arch;
    err result;
};

static const char *ggufkeys_name(const struct ggufkeys *k, const char *suffix, char key[96])
{
    snprintf(key, 96, "%s.%s", k->arch, suffix);
    return key;
}

static void ggufkeys_count(struct ggufkeys *k, const char *suffix, size_t v)
{
    char key[96];
    if (k->result == ERR_OK) {
        k->result = v > UINT32_MAX ? ERR_LIMIT
                                   : gguf_writer_u32(k->w, ggufkeys_name(k, suffix, key), (uint32_t)v);
    }
}

static void ggufkeys_float(struct ggufkeys *k, const char *suffix, float v)
{
    char key[96];
    if (k->result == ERR_OK) {
        k->result = gguf_writer_f32(k->w, ggufkeys_name(k, suffix, key), v);
    }
}

static void ggufkeys_text(struct ggufkeys *k, const char *key, const char *v)
{
    if (k->result == ERR_OK) {
        k->result = gguf_writer_string(k->w, key, v, strlen(v));
    }
}

static void ggufkeys_rope(struct ggufkeys *k, const struct config *c)
{
    ggufkeys_count(k, "rope.dimension_count", c->rope_dim);
    ggufkeys_float(k, "rope.freq_base", c->rope_theta);
    if (c->rope_scaling.type != CONFIG_ROPE_YARN && c->rope_scaling.type != CONFIG_ROPE_LINEAR) {
        return;
    }
    char key[96];
    bool yarn = c->rope_scaling.type == CONFIG_ROPE_YARN;
    ggufkeys_text(k, ggufkeys_name(k, "rope.scaling.type", key), yarn ? "yarn" : "linear");
    ggufkeys_float(k, "rope.scaling.factor", c->rope_scaling.factor);
    if (yarn) {
        ggufkeys_count(k, "rope.scaling.original_context_length",
                       c->rope_scaling.original_max_position_embeddings);
        ggufkeys_float(k, "rope.scaling.yarn_beta_fast", c->rope_scaling.beta_fast);
        ggufkeys_float(k, "rope.scaling.yarn_beta_slow", c->rope_scaling.beta_slow);
        ggufkeys_float(k, "rope.scaling.yarn_log_multiplier",
                       0.1f * c->rope_scaling.mscale_all_dim);
    }
}

static void ggufkeys_gqa(struct ggufkeys *k, const struct config *c)
{
    ggufkeys_count(k, "attention.head_count_kv", c->num_key_value_heads);
    ggufkeys_count(k, "attention.key_length", c->head_dim);
    ggufkeys_count(k, "attention.value_length", c->head_dim);
}

/* Latent attention is stored as attention with one key head as wide as the cache row. */
static void ggufkeys_mla(struct ggufkeys *k, const struct config *c)
{
    ggufkeys_count(k, "attention.head_count_kv", 1);
    if (c->q_lora_rank > 0) {
        ggufkeys_count(k, "attention.q_lora_rank", c->q_lora_rank);
    }
    ggufkeys_count(k, "attention.kv_lora_rank", c->kv_lora_rank);
    ggufkeys_count(k, "attention.key_length", c->kv_lora_rank + c->qk_rope_head_dim);
    ggufkeys_count(k, "attention.value_length", c->kv_lora_rank);
    ggufkeys_count(k, "attention.key_length_mla", c->qk_nope_head_dim + c->qk_rope_head_dim);
    ggufkeys_count(k, "attention.value_length_mla", c->v_head_dim);
}

static void ggufkeys_moe(struct ggufkeys *k, const struct config *c)
{
    ggufkeys_count(k, "leading_dense_block_count", c->first_k_dense_replace);
    ggufkeys_count(k, "expert_count", c->n_routed_experts);
    ggufkeys_count(k, "expert_used_count", c->num_experts_per_tok);
    ggufkeys_count(k, "expert_shared_count", c->n_shared_experts);
    ggufkeys_count(k, "expert_feed_forward_length", c->moe_intermediate_size);
    ggufkeys_float(k, "expert_weights_scale", c->routed_scaling_factor);
    ggufkeys_count(k, "expert_gating_func", c->scoring_func == CONFIG_SIGMOID ? 2 : 1);
    ggufkeys_count(k, "expert_group_count", c->n_group);
    ggufkeys_count(k, "expert_group_used_count", c->topk_group);
    char key[96];
    if (k->result == ERR_OK) {
        k->result = gguf_writer_bool(k->w, ggufkeys_name(k, "expert_weights_norm", key),
                                     c->norm_topk_prob);
    }
}

err ggufkeys_write(struct gguf_writer *w, const struct config *c, int ggml_ftype,
                   struct errinfo *info)
{
    struct ggufkeys k = {.w = w, .arch = ggufkeys_arch(c)};
    ggufkeys_text(&k, "general.architecture", k.arch);
    ggufkeys_text(&k, "general.name", c->name);
    if (k.result == ERR_OK) {
        k.result = gguf_writer_u32(w, "general.file_type", (uint32_t)ggml_ftype);
    }
    if (k.result == ERR_OK) {
        k.result = gguf_writer_u32(w, "general.quantization_version", 2);
    }
    ggufkeys_count(&k, "block_count", c->num_hidden_layers + c->num_nextn_predict_layers);
    if (c->num_nextn_predict_layers) {
        ggufkeys_count(&k, "nextn_predict_layers", c->num_nextn_predict_layers);
    }
    ggufkeys_count(&k, "context_length", c->max_position_embeddings);
    ggufkeys_count(&k, "embedding_length", c->hidden_size);
    ggufkeys_count(&k, "feed_forward_length", c->intermediate_size);
    ggufkeys_count(&k, "vocab_size", c->vocab_size);
    ggufkeys_count(&k, "attention.head_count", c->num_attention_heads);
    ggufkeys_float(&k, "attention.layer_norm_rms_epsilon", c->rms_norm_eps);
    if (config_is_mla(c)) {
        ggufkeys_mla(&k, c);
    } else {
        ggufkeys_gqa(&k, c);
    }
    ggufkeys_rope(&k, c);
    if (c->n_routed_experts > 0) {
        ggufkeys_moe(&k, c);
    }
    return k.result == ERR_OK ? ERR_OK
                              : err_set(info, k.result, "cannot describe the model in GGUF keys: %s",
                                        err_name(k.result));
}

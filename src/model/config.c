/* model/config.c: what every source of a config must satisfy; the readers are configjson.c and
 * configgguf.c. */
#include "model/config.h"

#include <math.h>
#include <string.h>

#include "model/configgguf.h"
#include "model/configjson.h"
#include "model/ropefreqs.h"

bool config_is_mla(const struct config *c)
{
    return c->kv_lora_rank != 0;
}

bool config_is_moe_layer(const struct config *c, size_t layer)
{
    return c->n_routed_experts != 0 && layer >= c->first_k_dense_replace;
}

size_t config_qk_dim(const struct config *c)
{
    return config_is_mla(c) ? c->qk_nope_head_dim + c->qk_rope_head_dim : c->head_dim;
}

size_t config_v_dim(const struct config *c)
{
    return config_is_mla(c) ? c->v_head_dim : c->head_dim;
}

size_t config_cache_k_width(const struct config *c)
{
    return config_is_mla(c) ? c->kv_lora_rank + c->qk_rope_head_dim
                            : c->num_key_value_heads * c->head_dim;
}

size_t config_cache_v_width(const struct config *c)
{
    return config_is_mla(c) ? 0 : c->num_key_value_heads * c->head_dim;
}

err config_refuse_class(const char *name, struct errinfo *info)
{
    static const struct {
        const char *name, *people;
    } known[] = {
        {"DeepseekV32ForCausalLM", "DeepSeek-V3.2"}, {"deepseek_v32", "DeepSeek-V3.2"},
        {"deepseek32", "DeepSeek-V3.2"},             {"DeepseekV4ForCausalLM", "DeepSeek-V4"},
        {"deepseek_v4", "DeepSeek-V4"},              {"deepseek4", "DeepSeek-V4"},
        {"DeepseekForCausalLM", "DeepSeek-MoE"},     {"deepseek", "DeepSeek-MoE"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) == 0) {
            return err_set(info, ERR_UNSUPPORTED,
                           "this is a %s model (%s): recognised, but not run yet. Runs today: "
                           "DeepSeek-V2, V2-Lite, V2.5, V3, R1, V3.1 and the R1-Distill models.",
                           known[i].people, name);
        }
    }
    return err_set(info, ERR_UNSUPPORTED,
                   "model class \"%.64s\" is not one Fathom knows; it runs DeepseekV2ForCausalLM, "
                   "DeepseekV3ForCausalLM, LlamaForCausalLM and Qwen2ForCausalLM (GGUF: deepseek2, "
                   "llama, qwen2)",
                   name);
}

static err config_range(const char *field, size_t v, size_t min, size_t max, struct errinfo *info)
{
    if (v < min || v > max) {
        return err_set(info, ERR_CORRUPT, "%s is %zu; it must be between %zu and %zu", field, v, min,
                       max);
    }
    return ERR_OK;
}

static err config_divides(const char *field, size_t v, const char *by, size_t d,
                          struct errinfo *info)
{
    if (d == 0 || v % d != 0) {
        return err_set(info, ERR_CORRUPT, "%s (%zu) is not a multiple of %s (%zu)", field, v, by, d);
    }
    return ERR_OK;
}

static err config_positive(const char *field, float v, float max, struct errinfo *info)
{
    if (!(v > 0) || !(v <= max)) { /* also false for NaN */
        return err_set(info, ERR_CORRUPT, "%s is %g; it must be above 0 and at most %g", field,
                       (double)v, (double)max);
    }
    return ERR_OK;
}

static err config_check_sizes(const struct config *c, struct errinfo *info)
{
    TRY(config_range("vocab_size", c->vocab_size, 1, CONFIG_VOCAB_MAX, info));
    TRY(config_range("bigram_vocab_size", c->bigram_vocab_size, 0, CONFIG_VOCAB_MAX, info));
    TRY(config_range("hidden_size", c->hidden_size, 1, CONFIG_WIDTH_MAX, info));
    TRY(config_range("num_hidden_layers", c->num_hidden_layers, 1, CONFIG_LAYERS_MAX, info));
    TRY(config_range("num_nextn_predict_layers", c->num_nextn_predict_layers, 0, 16, info));
    TRY(config_range("max_position_embeddings", c->max_position_embeddings, 1, CONFIG_POSITIONS_MAX,
                     info));
    TRY(config_range("num_attention_heads", c->num_attention_heads, 1, CONFIG_HEADS_MAX, info));
    return config_positive("rms_norm_eps", c->rms_norm_eps, 1, info);
}

static err config_check_attention(struct config *c, struct errinfo *info)
{
    if (!config_is_mla(c)) {
        const char *head_dim = c->family == CONFIG_GPT2 ? "n_embd / n_head" : "head_dim";
        TRY(config_range("num_key_value_heads", c->num_key_value_heads, 1, c->num_attention_heads,
                         info));
        TRY(config_divides("num_attention_heads", c->num_attention_heads, "num_key_value_heads",
                           c->num_key_value_heads, info));
        TRY(config_range(head_dim, c->head_dim, 2, CONFIG_ROPE_MAX, info));
        c->rope_dim = c->head_dim;
    } else {
        TRY(config_range("q_lora_rank", c->q_lora_rank, 0, CONFIG_WIDTH_MAX, info));
        TRY(config_range("kv_lora_rank", c->kv_lora_rank, 1, CONFIG_WIDTH_MAX, info));
        TRY(config_range("qk_nope_head_dim", c->qk_nope_head_dim, 1, CONFIG_HEAD_DIM_MAX, info));
        TRY(config_range("qk_rope_head_dim", c->qk_rope_head_dim, 2, CONFIG_ROPE_MAX, info));
        TRY(config_range("v_head_dim", c->v_head_dim, 1, CONFIG_HEAD_DIM_MAX, info));
        c->num_key_value_heads = 1; /* the cache holds one latent for all heads */
        c->head_dim = c->qk_nope_head_dim + c->qk_rope_head_dim;
        c->rope_dim = c->qk_rope_head_dim;
    }
    if (c->family == CONFIG_GPT2 && c->head_dim % 2 != 0) {
        return err_set(info, ERR_CORRUPT, "n_embd / n_head is %zu; a head must have an even width",
                       c->head_dim);
    }
    if (c->rope_dim % 2 != 0) {
        return err_set(info, ERR_CORRUPT, "%s is %zu; rotary dimensions come in pairs, so it must be "
                       "even", config_is_mla(c) ? "qk_rope_head_dim" : "head_dim", c->rope_dim);
    }
    return ERR_OK;
}

static err config_check_groups(const struct config *c, struct errinfo *info)
{
    TRY(config_range("n_group", c->n_group, 1, c->n_routed_experts, info));
    TRY(config_range("topk_group", c->topk_group, 1, c->n_group, info));
    TRY(config_divides("n_routed_experts", c->n_routed_experts, "n_group", c->n_group, info));
    size_t per_group = c->n_routed_experts / c->n_group;
    if (c->topk_method == CONFIG_NOAUX_TC && c->n_group > 1 && per_group < 2) {
        return err_set(info, ERR_CORRUPT, "n_group %zu leaves %zu expert per group; noaux_tc routing "
                       "scores a group by its best two", c->n_group, per_group);
    }
    if (c->topk_method != CONFIG_GREEDY && c->num_experts_per_tok > c->topk_group * per_group) {
        return err_set(info, ERR_CORRUPT,
                       "num_experts_per_tok (%zu) is more than the %zu experts of topk_group (%zu) "
                       "groups", c->num_experts_per_tok, c->topk_group * per_group, c->topk_group);
    }
    return ERR_OK;
}

static err config_check_ffn(struct config *c, struct errinfo *info)
{
    if (c->n_routed_experts == 0) {
        c->first_k_dense_replace = c->num_hidden_layers;
        return config_range("intermediate_size", c->intermediate_size, 1, CONFIG_WIDTH_MAX, info);
    }
    TRY(config_range("first_k_dense_replace", c->first_k_dense_replace, 0, CONFIG_LAYERS_MAX, info));
    if (c->first_k_dense_replace > c->num_hidden_layers) {
        c->first_k_dense_replace = c->num_hidden_layers;
    }
    TRY(config_range("intermediate_size", c->intermediate_size, c->first_k_dense_replace ? 1 : 0,
                     CONFIG_WIDTH_MAX, info));
    TRY(config_range("n_routed_experts", c->n_routed_experts, 1, CONFIG_EXPERTS_MAX, info));
    TRY(config_range("n_shared_experts", c->n_shared_experts, 0, CONFIG_EXPERTS_MAX, info));
    TRY(config_range("num_experts_per_tok", c->num_experts_per_tok, 1, c->n_routed_experts, info));
    TRY(config_range("moe_intermediate_size", c->moe_intermediate_size, 1, CONFIG_WIDTH_MAX, info));
    TRY(config_range("n_shared_experts * moe_intermediate_size",
                     c->n_shared_experts * c->moe_intermediate_size, 0, CONFIG_WIDTH_MAX, info));
    TRY(config_positive("routed_scaling_factor", c->routed_scaling_factor, 1e6f, info));
    return config_check_groups(c, info);
}

static err config_check_rope(const struct config *c, struct errinfo *info)
{
    TRY(config_positive("rope_theta", c->rope_theta, 1e12f, info));
    for (size_t i = 0; c->has_rope_divisors && i < c->rope_dim / 2; i++) {
        TRY(config_positive("an entry of rope_freqs", c->rope_divisors[i], 1e9f, info));
    }
    if (c->rope_scaling.type == CONFIG_ROPE_PLAIN) {
        return ERR_OK;
    }
    TRY(config_positive("rope scaling factor", c->rope_scaling.factor, 1e6f, info));
    if (c->rope_scaling.type == CONFIG_ROPE_LINEAR) {
        return ERR_OK;
    }
    TRY(config_range("original_max_position_embeddings",
                     c->rope_scaling.original_max_position_embeddings, 1, CONFIG_POSITIONS_MAX,
                     info));
    if (c->rope_scaling.type == CONFIG_ROPE_LLAMA3) {
        TRY(config_positive("low_freq_factor", c->rope_scaling.low_freq_factor, 1e6f, info));
        TRY(config_positive("high_freq_factor", c->rope_scaling.high_freq_factor, 1e6f, info));
        if (c->rope_scaling.high_freq_factor <= c->rope_scaling.low_freq_factor) {
            return err_set(info, ERR_CORRUPT, "high_freq_factor (%g) must be above low_freq_factor "
                           "(%g)", (double)c->rope_scaling.high_freq_factor,
                           (double)c->rope_scaling.low_freq_factor);
        }
        return ERR_OK;
    }
    if (c->rope_theta <= 1) {
        return err_set(info, ERR_CORRUPT, "rope_theta is %g; YaRN needs a base above 1",
                       (double)c->rope_theta);
    }
    TRY(config_positive("beta_fast", c->rope_scaling.beta_fast, 1e6f, info));
    TRY(config_positive("beta_slow", c->rope_scaling.beta_slow, 1e6f, info));
    if (!(c->rope_scaling.mscale >= 0 && c->rope_scaling.mscale <= 100) ||
        !(c->rope_scaling.mscale_all_dim >= 0 && c->rope_scaling.mscale_all_dim <= 100) ||
        !(c->rope_scaling.attention_factor >= 0 && c->rope_scaling.attention_factor <= 100)) {
        return err_set(info, ERR_CORRUPT, "YaRN's mscale %g, mscale_all_dim %g and attention_factor "
                       "%g must lie between 0 and 100", (double)c->rope_scaling.mscale,
                       (double)c->rope_scaling.mscale_all_dim,
                       (double)c->rope_scaling.attention_factor);
    }
    return ERR_OK;
}

err config_finish(struct config *c, struct errinfo *info)
{
    TRY(config_check_sizes(c, info));
    TRY(config_check_attention(c, info));
    TRY(config_check_ffn(c, info));
    TRY(config_check_rope(c, info));
    ropefreqs_fill(c);
    return ERR_OK;
}

err config_check_served(const struct config *c, struct errinfo *info)
{
    if (c->family == CONFIG_GPT2) {
        return err_set(info, ERR_UNSUPPORTED, "a model of GPT-2's class learns here as a comparison "
                       "(fathom train); Fathom neither runs nor writes one");
    }
    if (c->bigram_vocab_size) {
        return err_set(info, ERR_UNSUPPORTED, "bigram_vocab_size is %zu: a model with embeddings of pairs is "
                       "of no published class; it learns here (fathom train), but Fathom neither runs nor "
                       "writes one", c->bigram_vocab_size);
    }
    if (c->qk_norm || c->x0_skip || c->value_residual) {
        return err_set(info, ERR_UNSUPPORTED, "a model with %s is of no published class; it learns here "
                       "(fathom train), but Fathom neither runs nor writes one",
                       c->qk_norm ? "qk_norm" : c->x0_skip ? "x0_skip" : "value_residual");
    }
    return ERR_OK;
}

err config_from_json(const json_t *json, struct config *out, struct errinfo *info)
{
    struct config c;
    TRY(config_from_recipe(json, &c, info));
    TRY(config_check_served(&c, info));
    *out = c;
    return ERR_OK;
}

err config_from_recipe(const json_t *json, struct config *out, struct errinfo *info)
{
    struct config c = {0};
    TRY(configjson_read(json, &c, info));
    err e = config_finish(&c, info);
    if (e != ERR_OK) {
        return err_prefix(info, e, "config.json: ");
    }
    *out = c;
    return ERR_OK;
}

err config_from_gguf(const struct gguf *g, struct config *out, struct errinfo *info)
{
    struct config c = {0};
    TRY(configgguf_read(g, &c, info));
    err e = config_finish(&c, info);
    if (e != ERR_OK) {
        return err_prefix(info, e, "GGUF keys: ");
    }
    *out = c;
    return ERR_OK;
}

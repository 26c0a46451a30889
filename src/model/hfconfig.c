/* model/hfconfig.c: see hfconfig.h. */
#include "model/hfconfig.h"

#include <stdio.h>
#include <stdlib.h>

double hfconfig_decimal(float v)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) {
            break;
        }
    }
    return strtod(text, NULL);
}

/* An object that remembers whether every field could be set. */
struct hfconfig {
    json_t *object;
    bool failed;
};

static void hfconfig_set(struct hfconfig *o, const char *key, json_t *value)
{
    o->failed |= json_object_set_new(o->object, key, value) != 0;
}

static void hfconfig_count(struct hfconfig *o, const char *key, size_t v)
{
    hfconfig_set(o, key, json_integer((json_int_t)v));
}

static void hfconfig_float(struct hfconfig *o, const char *key, float v)
{
    hfconfig_set(o, key, json_real(hfconfig_decimal(v)));
}

static void hfconfig_text(struct hfconfig *o, const char *key, const char *v)
{
    hfconfig_set(o, key, json_string(v));
}

static void hfconfig_rope(struct hfconfig *o, const struct config *c)
{
    hfconfig_float(o, "rope_theta", c->rope_theta);
    if (c->rope_scaling.type == CONFIG_ROPE_PLAIN) {
        return;
    }
    struct hfconfig r = {.object = json_object()};
    const char *type = c->rope_scaling.type == CONFIG_ROPE_YARN     ? "yarn"
                       : c->rope_scaling.type == CONFIG_ROPE_LLAMA3 ? "llama3"
                                                                    : "linear";
    hfconfig_text(&r, "rope_type", type);
    hfconfig_text(&r, "type", type); /* the older name of the same field */
    hfconfig_float(&r, "factor", c->rope_scaling.factor);
    if (c->rope_scaling.type != CONFIG_ROPE_LINEAR) {
        hfconfig_count(&r, "original_max_position_embeddings",
                       c->rope_scaling.original_max_position_embeddings);
    }
    if (c->rope_scaling.type == CONFIG_ROPE_LLAMA3) {
        hfconfig_float(&r, "low_freq_factor", c->rope_scaling.low_freq_factor);
        hfconfig_float(&r, "high_freq_factor", c->rope_scaling.high_freq_factor);
    } else if (c->rope_scaling.type == CONFIG_ROPE_YARN) {
        hfconfig_float(&r, "beta_fast", c->rope_scaling.beta_fast);
        hfconfig_float(&r, "beta_slow", c->rope_scaling.beta_slow);
    }
    if (c->rope_scaling.type == CONFIG_ROPE_YARN && config_is_mla(c)) {
        hfconfig_float(&r, "mscale", c->rope_scaling.mscale);
        hfconfig_float(&r, "mscale_all_dim", c->rope_scaling.mscale_all_dim);
    }
    o->failed |= r.failed;
    hfconfig_set(o, "rope_scaling", r.object);
}

static void hfconfig_moe(struct hfconfig *o, const struct config *c)
{
    hfconfig_count(o, "n_routed_experts", c->n_routed_experts);
    hfconfig_set(o, "n_shared_experts",
                 c->n_shared_experts ? json_integer((json_int_t)c->n_shared_experts) : json_null());
    hfconfig_count(o, "num_experts_per_tok", c->num_experts_per_tok);
    hfconfig_count(o, "moe_intermediate_size", c->moe_intermediate_size);
    hfconfig_count(o, "moe_layer_freq", 1);
    hfconfig_count(o, "n_group", c->n_group);
    hfconfig_count(o, "topk_group", c->topk_group);
    hfconfig_text(o, "topk_method",
                  c->topk_method == CONFIG_NOAUX_TC ? "noaux_tc"
                  : c->topk_method == CONFIG_GREEDY ? "greedy"
                                                    : "group_limited_greedy");
    hfconfig_text(o, "scoring_func", c->scoring_func == CONFIG_SIGMOID ? "sigmoid" : "softmax");
    hfconfig_set(o, "norm_topk_prob", json_boolean(c->norm_topk_prob));
    hfconfig_float(o, "routed_scaling_factor", c->routed_scaling_factor);
}

static void hfconfig_deepseek(struct hfconfig *o, const struct config *c)
{
    hfconfig_count(o, "num_key_value_heads", c->num_attention_heads);
    hfconfig_set(o, "q_lora_rank",
                 c->q_lora_rank ? json_integer((json_int_t)c->q_lora_rank) : json_null());
    hfconfig_count(o, "kv_lora_rank", c->kv_lora_rank);
    hfconfig_count(o, "qk_nope_head_dim", c->qk_nope_head_dim);
    hfconfig_count(o, "qk_rope_head_dim", c->qk_rope_head_dim);
    hfconfig_count(o, "v_head_dim", c->v_head_dim);
    hfconfig_set(o, "attention_bias", json_false());
    hfconfig_count(o, "first_k_dense_replace", c->first_k_dense_replace);
    hfconfig_count(o, "num_nextn_predict_layers", c->num_nextn_predict_layers); /* transformers' default is 1 */
    if (c->n_routed_experts) {
        hfconfig_moe(o, c);
    }
}

static void hfconfig_dense(struct hfconfig *o, const struct config *c)
{
    hfconfig_count(o, "num_key_value_heads", c->num_key_value_heads);
    hfconfig_count(o, "head_dim", c->head_dim);
    if (c->family == CONFIG_LLAMA) {
        hfconfig_set(o, "attention_bias", json_false());
        hfconfig_set(o, "mlp_bias", json_false());
    } else {
        hfconfig_set(o, "use_sliding_window", json_false());
    }
}

static void hfconfig_class(struct hfconfig *o, const struct config *c)
{
    static const char *const names[][2] = {
        {"DeepseekV2ForCausalLM", "deepseek_v2"},
        {"DeepseekV3ForCausalLM", "deepseek_v3"},
        {"LlamaForCausalLM", "llama"},
        {"Qwen2ForCausalLM", "qwen2"},
        {"GPT2LMHeadModel", "gpt2"},
    };
    size_t i = c->family == CONFIG_LLAMA ? 2 : c->family == CONFIG_QWEN2 ? 3 : c->family == CONFIG_GPT2 ? 4 : 0;
    if (c->family == CONFIG_DEEPSEEK && c->topk_method == CONFIG_NOAUX_TC) {
        i = 1;
    }
    hfconfig_set(o, "architectures", json_pack("[s]", names[i][0]));
    hfconfig_text(o, "model_type", names[i][1]);
}

static void hfconfig_gpt2(struct hfconfig *o, const struct config *c)
{
    hfconfig_count(o, "n_embd", c->hidden_size);
    hfconfig_count(o, "n_layer", c->num_hidden_layers);
    hfconfig_count(o, "n_head", c->num_attention_heads);
    hfconfig_count(o, "n_positions", c->max_position_embeddings);
    hfconfig_count(o, "n_inner", c->intermediate_size);
    hfconfig_float(o, "layer_norm_epsilon", c->rms_norm_eps);
    hfconfig_text(o, "activation_function", "gelu_new");
}

/* What no published class has, where it is used. */
static void hfconfig_learnt(struct hfconfig *o, const struct config *c)
{
    const struct {
        const char *name;
        bool used;
    } all[] = {
        {"qk_norm", c->qk_norm}, {"x0_skip", c->x0_skip}, {"value_residual", c->value_residual}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].used) {
            hfconfig_set(o, all[i].name, json_true());
        }
    }
}

static void hfconfig_named(struct hfconfig *o, const struct config *c)
{
    hfconfig_count(o, "hidden_size", c->hidden_size);
    hfconfig_count(o, "intermediate_size", c->intermediate_size);
    hfconfig_count(o, "num_hidden_layers", c->num_hidden_layers);
    hfconfig_count(o, "num_attention_heads", c->num_attention_heads);
    if (config_is_mla(c)) {
        hfconfig_deepseek(o, c);
    } else {
        hfconfig_dense(o, c);
    }
    hfconfig_count(o, "max_position_embeddings", c->max_position_embeddings);
    hfconfig_rope(o, c);
    hfconfig_float(o, "rms_norm_eps", c->rms_norm_eps);
    hfconfig_text(o, "hidden_act", "silu");
    hfconfig_learnt(o, c);
}

static void hfconfig_fill(struct hfconfig *o, const struct config *c, enum dtype type, int bos,
                          int eos)
{
    hfconfig_class(o, c);
    hfconfig_count(o, "vocab_size", c->vocab_size);
    if (c->family == CONFIG_GPT2) {
        hfconfig_gpt2(o, c);
    } else {
        hfconfig_named(o, c);
    }
    if (c->bigram_vocab_size) {
        hfconfig_count(o, "bigram_vocab_size", c->bigram_vocab_size);
    }
    hfconfig_set(o, "tie_word_embeddings", json_boolean(c->tie_word_embeddings));
    hfconfig_set(o, "use_cache", json_true());
    hfconfig_text(o, "torch_dtype",
                  type == DTYPE_F32 ? "float32" : type == DTYPE_F16 ? "float16" : "bfloat16");
    hfconfig_set(o, "bos_token_id", bos >= 0 ? json_integer(bos) : json_null());
    hfconfig_set(o, "eos_token_id", eos >= 0 ? json_integer(eos) : json_null());
}

err hfconfig_make(const struct config *c, enum dtype type, int bos, int eos, json_t **out,
                  struct errinfo *info)
{
    if (c->has_rope_divisors && c->rope_scaling.type != CONFIG_ROPE_LLAMA3) {
        return err_set(info, ERR_UNSUPPORTED, "the rope_freqs.weight of this file follows no rule that a "
                       "config.json can name");
    }
    struct hfconfig o = {.object = json_object()};
    hfconfig_fill(&o, c, type, bos, eos);
    if (!o.object || o.failed) {
        json_decref(o.object);
        return err_set(info, ERR_NOMEM, "out of memory writing config.json");
    }
    *out = o.object;
    return ERR_OK;
}

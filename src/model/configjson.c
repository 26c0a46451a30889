/* model/configjson.c: see configjson.h. Rope parameters are read in both styles: `rope_theta` and
 * `rope_scaling` at the top, or one `rope_parameters` object (transformers 5). */
#include "model/configjson.h"

#include <string.h>

#include "base/json.h"

static const char CONFIGJSON_FILE[] = "config.json";

/* Reads a count that must be there. */
static err configjson_need(const json_t *j, const char *key, size_t *out, struct errinfo *info)
{
    err e = json_get_size(j, CONFIGJSON_FILE, key, out, info);
    if (e == ERR_NOTFOUND) {
        return err_set(info, ERR_CORRUPT, "config.json: the field \"%s\" is missing; a model of this "
                       "class needs it", key);
    }
    return e;
}

/* The optional_ readers leave *out as it is when the key is absent or null. */
static err configjson_size(const json_t *j, const char *key, size_t *out, struct errinfo *info)
{
    err e = json_get_size(j, CONFIGJSON_FILE, key, out, info);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

static err configjson_bool(const json_t *j, const char *key, bool *out, struct errinfo *info)
{
    err e = json_get_bool(j, CONFIGJSON_FILE, key, out, info);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

static err configjson_float(const json_t *j, const char *key, float *out, struct errinfo *info)
{
    double v;
    err e = json_get_double(j, CONFIGJSON_FILE, key, &v, info);
    if (e == ERR_OK) {
        *out = (float)v;
    }
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* NULL in *out when absent. */
static err configjson_string(const json_t *j, const char *key, const char **out,
                             struct errinfo *info)
{
    err e = json_get_string(j, CONFIGJSON_FILE, key, out, info);
    if (e == ERR_NOTFOUND) {
        *out = NULL;
        return ERR_OK;
    }
    return e;
}

/* Refuses a switch whose other position we do not compute. */
static err configjson_must_be(const json_t *j, const char *key, bool wanted, struct errinfo *info)
{
    bool v = wanted;
    TRY(configjson_bool(j, key, &v, info));
    if (v != wanted) {
        return err_set(info, ERR_UNSUPPORTED, "config.json: \"%s\" is %s; Fathom runs models of this "
                       "class only with %s", key, v ? "true" : "false", wanted ? "true" : "false");
    }
    return ERR_OK;
}

struct configjson_class {
    const char *architecture, *model_type, *people;
    enum config_family family;
    int version; /* DeepSeek: 2 or 3 */
};

static const struct configjson_class CONFIGJSON_CLASSES[] = {
    {"DeepseekV2ForCausalLM", "deepseek_v2", "DeepSeek-V2 class", CONFIG_DEEPSEEK, 2},
    {"DeepseekV3ForCausalLM", "deepseek_v3", "DeepSeek-V3 class", CONFIG_DEEPSEEK, 3},
    {"LlamaForCausalLM", "llama", "Llama class", CONFIG_LLAMA, 0},
    {"Qwen2ForCausalLM", "qwen2", "Qwen2 class", CONFIG_QWEN2, 0},
    {"GPT2LMHeadModel", "gpt2", "GPT-2 class", CONFIG_GPT2, 0},
};

static err configjson_find_class(const json_t *j, const struct configjson_class **out,
                                 struct errinfo *info)
{
    const char *name = NULL;
    const json_t *list = json_object_get(j, "architectures");
    if (json_is_array(list) && json_is_string(json_array_get(list, 0))) {
        name = json_string_value(json_array_get(list, 0));
    } else {
        TRY(configjson_string(j, "model_type", &name, info));
    }
    if (!name) {
        return err_set(info, ERR_CORRUPT, "config.json names no model class: neither \"architectures\" "
                       "nor \"model_type\" is there");
    }
    for (size_t i = 0; i < sizeof CONFIGJSON_CLASSES / sizeof *CONFIGJSON_CLASSES; i++) {
        const struct configjson_class *k = &CONFIGJSON_CLASSES[i];
        if (strcmp(name, k->architecture) == 0 || strcmp(name, k->model_type) == 0) {
            *out = k;
            return ERR_OK;
        }
    }
    return config_refuse_class(name, info);
}

static err configjson_rope_type(const char *type, struct config *c, struct errinfo *info)
{
    if (!type || strcmp(type, "default") == 0) {
        c->rope_scaling.type = CONFIG_ROPE_PLAIN;
    } else if (strcmp(type, "yarn") == 0) {
        c->rope_scaling.type = CONFIG_ROPE_YARN;
    } else if (strcmp(type, "llama3") == 0) {
        c->rope_scaling.type = CONFIG_ROPE_LLAMA3;
    } else if (strcmp(type, "linear") == 0) {
        c->rope_scaling.type = CONFIG_ROPE_LINEAR;
    } else {
        return err_set(info, ERR_UNSUPPORTED, "config.json: rope scaling type \"%.32s\" is not one "
                       "Fathom computes (default, linear, yarn, llama3)", type);
    }
    return ERR_OK;
}

static err configjson_rope(const json_t *j, struct config *c, struct errinfo *info)
{
    c->rope_theta = 10000;
    TRY(configjson_float(j, "rope_theta", &c->rope_theta, info));
    const json_t *r;
    err e = json_get_object(j, CONFIGJSON_FILE, "rope_parameters", &r, info);
    if (e == ERR_NOTFOUND) {
        e = json_get_object(j, CONFIGJSON_FILE, "rope_scaling", &r, info);
    }
    if (e == ERR_NOTFOUND) {
        return ERR_OK;
    }
    TRY(e);
    TRY(configjson_float(r, "rope_theta", &c->rope_theta, info));
    const char *type;
    TRY(configjson_string(r, "rope_type", &type, info));
    if (!type) {
        TRY(configjson_string(r, "type", &type, info));
    }
    TRY(configjson_rope_type(type, c, info));
    float partial = 1;
    TRY(configjson_float(r, "partial_rotary_factor", &partial, info));
    if (partial != 1.0f) {
        return err_set(info, ERR_UNSUPPORTED, "config.json: partial_rotary_factor is %g; Fathom rotates "
                       "whole heads (1)", (double)partial);
    }
    c->rope_scaling.beta_fast = 32;
    c->rope_scaling.beta_slow = 1;
    c->rope_scaling.low_freq_factor = 1;
    c->rope_scaling.high_freq_factor = 4;
    c->rope_scaling.original_max_position_embeddings = c->max_position_embeddings;
    TRY(configjson_float(r, "factor", &c->rope_scaling.factor, info));
    TRY(configjson_float(r, "beta_fast", &c->rope_scaling.beta_fast, info));
    TRY(configjson_float(r, "beta_slow", &c->rope_scaling.beta_slow, info));
    TRY(configjson_float(r, "mscale", &c->rope_scaling.mscale, info));
    TRY(configjson_float(r, "mscale_all_dim", &c->rope_scaling.mscale_all_dim, info));
    TRY(configjson_float(r, "attention_factor", &c->rope_scaling.attention_factor, info));
    TRY(configjson_float(r, "low_freq_factor", &c->rope_scaling.low_freq_factor, info));
    TRY(configjson_float(r, "high_freq_factor", &c->rope_scaling.high_freq_factor, info));
    return configjson_size(r, "original_max_position_embeddings",
                           &c->rope_scaling.original_max_position_embeddings, info);
}

static err configjson_router(const json_t *j, int version, struct config *c, struct errinfo *info)
{
    const char *method, *scoring;
    TRY(configjson_string(j, "topk_method", &method, info));
    TRY(configjson_string(j, "scoring_func", &scoring, info));
    if (!method) {
        method = version == 3 ? "noaux_tc" : "greedy";
    }
    if (!scoring) {
        scoring = version == 3 ? "sigmoid" : "softmax";
    }
    if (strcmp(method, "greedy") == 0) {
        c->topk_method = CONFIG_GREEDY;
    } else if (strcmp(method, "group_limited_greedy") == 0) {
        c->topk_method = CONFIG_GROUP_LIMITED_GREEDY;
    } else if (strcmp(method, "noaux_tc") == 0) {
        c->topk_method = CONFIG_NOAUX_TC;
    } else {
        return err_set(info, ERR_UNSUPPORTED, "config.json: topk_method \"%.32s\" is not one of greedy, "
                       "group_limited_greedy, noaux_tc", method);
    }
    if (strcmp(scoring, "softmax") == 0) {
        c->scoring_func = CONFIG_SOFTMAX;
    } else if (strcmp(scoring, "sigmoid") == 0) {
        c->scoring_func = CONFIG_SIGMOID;
    } else {
        return err_set(info, ERR_UNSUPPORTED, "config.json: scoring_func \"%.32s\" is not softmax or "
                       "sigmoid", scoring);
    }
    return ERR_OK;
}

static err configjson_moe(const json_t *j, int version, struct config *c, struct errinfo *info)
{
    TRY(configjson_size(j, "n_routed_experts", &c->n_routed_experts, info));
    if (c->n_routed_experts == 0) {
        return ERR_OK;
    }
    TRY(configjson_need(j, "num_experts_per_tok", &c->num_experts_per_tok, info));
    TRY(configjson_need(j, "moe_intermediate_size", &c->moe_intermediate_size, info));
    TRY(configjson_size(j, "n_shared_experts", &c->n_shared_experts, info));
    TRY(configjson_size(j, "first_k_dense_replace", &c->first_k_dense_replace, info));
    TRY(configjson_size(j, "n_group", &c->n_group, info));
    TRY(configjson_size(j, "topk_group", &c->topk_group, info));
    c->n_group = c->n_group ? c->n_group : 1;
    c->topk_group = c->topk_group ? c->topk_group : 1;
    c->norm_topk_prob = version == 3;
    TRY(configjson_bool(j, "norm_topk_prob", &c->norm_topk_prob, info));
    c->routed_scaling_factor = 1;
    TRY(configjson_float(j, "routed_scaling_factor", &c->routed_scaling_factor, info));
    size_t every = 1;
    TRY(configjson_size(j, "moe_layer_freq", &every, info));
    if (every != 1) {
        return err_set(info, ERR_UNSUPPORTED, "config.json: moe_layer_freq is %zu; Fathom runs models "
                       "where every layer after the dense ones has experts (1)", every);
    }
    return configjson_router(j, version, c, info);
}

static err configjson_deepseek(const json_t *j, int version, struct config *c, struct errinfo *info)
{
    TRY(configjson_must_be(j, "attention_bias", false, info));
    TRY(configjson_size(j, "q_lora_rank", &c->q_lora_rank, info));
    TRY(configjson_need(j, "kv_lora_rank", &c->kv_lora_rank, info));
    TRY(configjson_need(j, "qk_nope_head_dim", &c->qk_nope_head_dim, info));
    TRY(configjson_need(j, "qk_rope_head_dim", &c->qk_rope_head_dim, info));
    TRY(configjson_need(j, "v_head_dim", &c->v_head_dim, info));
    if (c->kv_lora_rank == 0) {
        return err_set(info, ERR_CORRUPT, "config.json: kv_lora_rank is 0; latent attention needs a "
                       "rank");
    }
    TRY(configjson_size(j, "num_nextn_predict_layers", &c->num_nextn_predict_layers, info));
    bool interleaved = true;
    TRY(configjson_bool(j, "rope_interleave", &interleaved, info));
    c->rope_pairs = interleaved ? ROPE_INTERLEAVED : ROPE_HALF;
    TRY(configjson_size(j, "intermediate_size", &c->intermediate_size, info));
    return configjson_moe(j, version, c, info);
}

static err configjson_dense(const json_t *j, struct config *c, struct errinfo *info)
{
    TRY(configjson_need(j, "intermediate_size", &c->intermediate_size, info));
    c->num_key_value_heads = c->num_attention_heads;
    TRY(configjson_size(j, "num_key_value_heads", &c->num_key_value_heads, info));
    c->head_dim = c->num_attention_heads ? c->hidden_size / c->num_attention_heads : 0;
    TRY(configjson_size(j, "head_dim", &c->head_dim, info));
    c->rope_pairs = ROPE_HALF;
    if (c->family == CONFIG_QWEN2) {
        c->attention_bias = true;
        return configjson_must_be(j, "use_sliding_window", false, info);
    }
    TRY(configjson_must_be(j, "attention_bias", false, info));
    return configjson_must_be(j, "mlp_bias", false, info);
}

/* GPT-2 has names of its own for everything. */
static err configjson_gpt2(const json_t *j, struct config *c, struct errinfo *info)
{
    TRY(configjson_need(j, "vocab_size", &c->vocab_size, info));
    TRY(configjson_need(j, "n_embd", &c->hidden_size, info));
    TRY(configjson_need(j, "n_layer", &c->num_hidden_layers, info));
    TRY(configjson_need(j, "n_head", &c->num_attention_heads, info));
    TRY(configjson_need(j, "n_positions", &c->max_position_embeddings, info));
    size_t inner = 0;
    TRY(configjson_size(j, "n_inner", &inner, info));
    c->intermediate_size = inner || c->hidden_size > CONFIG_WIDTH_MAX ? inner : 4 * c->hidden_size;
    size_t heads = c->num_attention_heads;
    c->num_key_value_heads = heads;
    if (heads == 0 || c->hidden_size % heads != 0) {
        return err_set(info, ERR_CORRUPT, "config.json: n_embd (%zu) is not a multiple of n_head (%zu)",
                       c->hidden_size, heads);
    }
    c->head_dim = c->hidden_size / heads;
    c->rope_theta = 10000; /* not used: positions are learnt */
    c->rms_norm_eps = 1e-5f;
    TRY(configjson_float(j, "layer_norm_epsilon", &c->rms_norm_eps, info));
    c->tie_word_embeddings = true;
    TRY(configjson_bool(j, "tie_word_embeddings", &c->tie_word_embeddings, info));
    const char *act;
    TRY(configjson_string(j, "activation_function", &act, info));
    if (act && strcmp(act, "gelu_new") != 0) {
        return err_set(info, ERR_UNSUPPORTED, "config.json: activation_function is \"%.32s\"; this class "
                       "has \"gelu_new\"", act);
    }
    return ERR_OK;
}

/* Weights stored by a method we do not read are refused here, with its name, rather than later with
 * a strange tensor. */
static err configjson_quantization(const json_t *j, struct errinfo *info)
{
    const json_t *q;
    err e = json_get_object(j, CONFIGJSON_FILE, "quantization_config", &q, info);
    if (e == ERR_NOTFOUND) {
        return ERR_OK;
    }
    TRY(e);
    const char *method;
    TRY(configjson_string(q, "quant_method", &method, info));
    if (!method || strcmp(method, "fp8") != 0) {
        return err_set(info, ERR_UNSUPPORTED, "config.json: quantization method \"%.32s\"; Fathom reads "
                       "fp8 with 128x128 blocks, or unquantised weights; for other types use a GGUF "
                       "file", method ? method : "(none named)");
    }
    const json_t *block = json_object_get(q, "weight_block_size");
    uint64_t rows = 0, cols = 0;
    if (!json_is_array(block) || json_array_size(block) != 2 ||
        !json_as_u64(json_array_get(block, 0), &rows) ||
        !json_as_u64(json_array_get(block, 1), &cols) || rows != TENSOR_FP8_BLOCK ||
        cols != TENSOR_FP8_BLOCK) {
        return err_set(info, ERR_UNSUPPORTED, "config.json: fp8 weight_block_size must be [128, 128]");
    }
    return ERR_OK;
}

static err configjson_common(const json_t *j, struct config *c, struct errinfo *info)
{
    TRY(configjson_need(j, "vocab_size", &c->vocab_size, info));
    TRY(configjson_need(j, "hidden_size", &c->hidden_size, info));
    TRY(configjson_need(j, "num_hidden_layers", &c->num_hidden_layers, info));
    TRY(configjson_need(j, "num_attention_heads", &c->num_attention_heads, info));
    c->max_position_embeddings = 2048;
    TRY(configjson_size(j, "max_position_embeddings", &c->max_position_embeddings, info));
    c->rms_norm_eps = 1e-6f;
    TRY(configjson_float(j, "rms_norm_eps", &c->rms_norm_eps, info));
    TRY(configjson_bool(j, "tie_word_embeddings", &c->tie_word_embeddings, info));
    const char *act;
    TRY(configjson_string(j, "hidden_act", &act, info));
    if (act && strcmp(act, "silu") != 0) {
        return err_set(info, ERR_UNSUPPORTED, "config.json: hidden_act is \"%.32s\"; models of this "
                       "class use \"silu\"", act);
    }
    return configjson_quantization(j, info);
}

err configjson_read(const json_t *json, struct config *c, struct errinfo *info)
{
    if (!json_is_object(json)) {
        return err_set(info, ERR_CORRUPT, "config.json holds %s; expected an object",
                       json_type_name(json));
    }
    const struct configjson_class *class = NULL;
    TRY(configjson_find_class(json, &class, info));
    c->family = class->family;
    memcpy(c->name, class->people, strlen(class->people) + 1);
    TRY(configjson_size(json, "bigram_vocab_size", &c->bigram_vocab_size, info));
    if (class->family == CONFIG_GPT2) {
        return configjson_gpt2(json, c, info);
    }
    TRY(configjson_bool(json, "qk_norm", &c->qk_norm, info));
    TRY(configjson_bool(json, "x0_skip", &c->x0_skip, info));
    TRY(configjson_bool(json, "value_residual", &c->value_residual, info));
    TRY(configjson_common(json, c, info));
    TRY(configjson_rope(json, c, info));
    if (class->family == CONFIG_DEEPSEEK) {
        return configjson_deepseek(json, class->version, c, info);
    }
    return configjson_dense(json, c, info);
}

/* model/config.h: the hyper-parameters of every class we know, named as in Hugging Face configs and the
 * DeepSeek papers, filled from config.json or from GGUF keys, and checked once so that no later code
 * meets a size of zero, a group that does not divide or a rank out of bounds. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "formats/gguf.h"
#include "tensor/ops.h"

/* Caps: far above every released model, low enough that products of two sizes never wrap. */
enum {
    CONFIG_LAYERS_MAX = 512,
    CONFIG_EXPERTS_MAX = 4096,
    CONFIG_ROPE_MAX = 512,
    CONFIG_HEADS_MAX = 4096,
    CONFIG_HEAD_DIM_MAX = 4096,
    CONFIG_WIDTH_MAX = 1 << 20, /* hidden, intermediate and rank sizes */
    CONFIG_VOCAB_MAX = 1 << 22,
    CONFIG_POSITIONS_MAX = 1 << 27
};

enum config_family { CONFIG_DEEPSEEK, CONFIG_LLAMA, CONFIG_QWEN2, CONFIG_GPT2 }; /* GPT-2: learns only */

enum config_topk { CONFIG_GREEDY, CONFIG_GROUP_LIMITED_GREEDY, CONFIG_NOAUX_TC };
enum config_scoring { CONFIG_SOFTMAX, CONFIG_SIGMOID };

struct config {
    enum config_family family;
    char name[64]; /* "DeepSeek-V3 class" …: for people */
    size_t vocab_size, hidden_size, num_hidden_layers, intermediate_size;
    size_t num_attention_heads, num_key_value_heads;
    size_t head_dim; /* GQA: per head of q, k and v */
    size_t max_position_embeddings;
    float rms_norm_eps; /* GPT-2: layer_norm_epsilon */
    bool tie_word_embeddings, attention_bias;

    /* MLA; kv_lora_rank 0 means GQA */
    size_t q_lora_rank; /* 0: direct q_proj */
    size_t kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim;

    /* MoE; n_routed_experts 0 means dense */
    size_t n_routed_experts, n_shared_experts, num_experts_per_tok, moe_intermediate_size;
    size_t first_k_dense_replace, n_group, topk_group;
    enum config_topk topk_method;
    enum config_scoring scoring_func;
    bool norm_topk_prob;
    float routed_scaling_factor;

    /* Not in Hugging Face: rows of a table of hashed pairs of tokens, the last two, whose embedding is added to
     * the token's; 0: none (learnmodel.h). */
    size_t bigram_vocab_size;

    /* Nor these: what speed runs of small models found (learnskip.h). */
    bool qk_norm;        /* each head's query and key normed, without weights */
    bool x0_skip;        /* each layer begins with a weight of the normed embedding */
    bool value_residual; /* each layer's values have a weight of the first layer's */

    size_t num_nextn_predict_layers; /* MTP layers, behind the others; the first one is run (mtp.h) */

    /* Position encoding, resolved: rope_freqs[i] already holds YaRN or llama3 scaling. */
    size_t rope_dim;
    float rope_theta;
    float rope_freqs[CONFIG_ROPE_MAX / 2];
    enum rope_pairs rope_pairs;
    float attention_scale; /* includes YaRN's mscale^2 */
    /* What YaRN multiplies cos and sin by, squared: a factor on the rotated part of q. 1 in every
     * released DeepSeek model; GQA has it folded into attention_scale. */
    float rope_gain;
    /* The rope_freqs tensor of Llama GGUF files: rope_freqs[i] was divided by these. */
    bool has_rope_divisors;
    float rope_divisors[CONFIG_ROPE_MAX / 2];

    /* The YaRN / llama3 parameters as found, for export and inspect; factor 0 = none. */
    struct {
        enum { CONFIG_ROPE_PLAIN, CONFIG_ROPE_YARN, CONFIG_ROPE_LLAMA3, CONFIG_ROPE_LINEAR } type;
        float factor, beta_fast, beta_slow, mscale, mscale_all_dim, low_freq_factor,
            high_freq_factor;
        float attention_factor; /* YaRN on GQA: replaces 0.1 ln(factor) + 1; 0 = not given */
        size_t original_max_position_embeddings;
    } rope_scaling;
};

/* From a parsed config.json. A class we know but do not run (V3.2, V4 …) is ERR_UNSUPPORTED and named;
 * a missing or impossible field is ERR_CORRUPT with the field, what was found and what is needed. */
ERR_MUST_USE err config_from_json(const json_t *json, struct config *out, struct errinfo *info);
/* Likewise, of a model that learns here: also the classes and options that config_check_served refuses. */
ERR_MUST_USE err config_from_recipe(const json_t *json, struct config *out, struct errinfo *info);
/* ERR_UNSUPPORTED, and why, for what learns here but is neither run nor written as a model file: GPT-2's class,
 * bigram_vocab_size, qk_norm, x0_skip and value_residual. */
ERR_MUST_USE err config_check_served(const struct config *c, struct errinfo *info);
/* From GGUF keys (and the rope_freqs tensor of Llama files). */
ERR_MUST_USE err config_from_gguf(const struct gguf *g, struct config *out, struct errinfo *info);
/* Fills the derived fields (rope_freqs, attention_scale, rope_gain) and checks everything: every size
 * within its cap, everything that must divide divides. Called by both. */
ERR_MUST_USE err config_finish(struct config *c, struct errinfo *info);

/* A class that is recognised but not run: sets the message that names it and returns ERR_UNSUPPORTED.
 * For `name`, any class or architecture name nobody claimed. */
ERR_MUST_USE err config_refuse_class(const char *name, struct errinfo *info);

/* Width of one q (or expanded k) head, and of one v head. */
size_t config_qk_dim(const struct config *c);
size_t config_v_dim(const struct config *c);
/* Elements one position takes in the key and in the value cache of a layer; MLA has no value cache: 0. */
size_t config_cache_k_width(const struct config *c);
size_t config_cache_v_width(const struct config *c);

/* MLA or GQA? Is layer i a mixture of experts? */
bool config_is_mla(const struct config *c);
bool config_is_moe_layer(const struct config *c, size_t layer);

#endif

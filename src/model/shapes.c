/* model/shapes.c: see shapes.h. One row per published model; fields named as in config.json. */
#include "model/shapes.h"

#include <stdio.h>
#include <string.h>

struct shapes_row {
    const char *name, *title;
    struct config config;
};

#define SHAPES_YARN(m)                                                                             \
    {                                                                                              \
        .type = CONFIG_ROPE_YARN, .factor = 40, .beta_fast = 32, .beta_slow = 1, .mscale = (m),    \
        .mscale_all_dim = (m), .original_max_position_embeddings = 4096                            \
    }

#define SHAPES_MLA                                                                                 \
    .family = CONFIG_DEEPSEEK, .kv_lora_rank = 512, .qk_nope_head_dim = 128,                       \
    .qk_rope_head_dim = 64, .v_head_dim = 128, .max_position_embeddings = 163840,                  \
    .rms_norm_eps = 1e-6f, .rope_theta = 1e4f, .rope_pairs = ROPE_INTERLEAVED

#define SHAPES_LLAMA3                                                                              \
    {                                                                                              \
        .type = CONFIG_ROPE_LLAMA3, .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4,      \
        .original_max_position_embeddings = 8192                                                   \
    }

static const struct shapes_row shapes_rows[] = {
    {"v2-lite", "DeepSeek-V2-Lite, 15.7B total, 2.4B active",
     {SHAPES_MLA, .vocab_size = 102400, .hidden_size = 2048, .num_hidden_layers = 27,
      .intermediate_size = 10944, .num_attention_heads = 16, .num_key_value_heads = 16,
      .n_routed_experts = 64, .n_shared_experts = 2, .num_experts_per_tok = 6,
      .moe_intermediate_size = 1408, .first_k_dense_replace = 1, .n_group = 1, .topk_group = 1,
      .topk_method = CONFIG_GREEDY, .scoring_func = CONFIG_SOFTMAX, .routed_scaling_factor = 1,
      .rope_scaling = SHAPES_YARN(0.707f)}},
    {"v2", "DeepSeek-V2, 236B total, 21B active",
     {SHAPES_MLA, .vocab_size = 102400, .hidden_size = 5120, .num_hidden_layers = 60,
      .intermediate_size = 12288, .num_attention_heads = 128, .num_key_value_heads = 128,
      .q_lora_rank = 1536, .n_routed_experts = 160, .n_shared_experts = 2,
      .num_experts_per_tok = 6, .moe_intermediate_size = 1536, .first_k_dense_replace = 1,
      .n_group = 8, .topk_group = 3, .topk_method = CONFIG_GROUP_LIMITED_GREEDY,
      .scoring_func = CONFIG_SOFTMAX, .routed_scaling_factor = 16,
      .rope_scaling = SHAPES_YARN(0.707f)}},
    {"v3", "DeepSeek-V3, R1, V3.1, 671B total, 37B active",
     {SHAPES_MLA, .vocab_size = 129280, .hidden_size = 7168, .num_hidden_layers = 61,
      .intermediate_size = 18432, .num_attention_heads = 128, .num_key_value_heads = 128,
      .q_lora_rank = 1536, .n_routed_experts = 256, .n_shared_experts = 1,
      .num_experts_per_tok = 8, .moe_intermediate_size = 2048, .first_k_dense_replace = 3,
      .n_group = 8, .topk_group = 4, .topk_method = CONFIG_NOAUX_TC,
      .scoring_func = CONFIG_SIGMOID, .norm_topk_prob = true, .routed_scaling_factor = 2.5f,
      .rope_scaling = SHAPES_YARN(1)}},
    {"moe-100m", "a 100M-parameter mixture of experts of the V3 class, for small machines",
     {SHAPES_MLA, .vocab_size = 32768, .hidden_size = 512, .num_hidden_layers = 8,
      .intermediate_size = 1536, .num_attention_heads = 8, .num_key_value_heads = 8,
      .q_lora_rank = 256, .n_routed_experts = 32, .n_shared_experts = 1, .num_experts_per_tok = 4,
      .moe_intermediate_size = 256, .first_k_dense_replace = 1, .n_group = 1, .topk_group = 1,
      .topk_method = CONFIG_NOAUX_TC, .scoring_func = CONFIG_SIGMOID, .norm_topk_prob = true,
      .routed_scaling_factor = 2.5f, .rope_scaling = SHAPES_YARN(1)}},
    {"distill-1.5b", "DeepSeek-R1-Distill-Qwen-1.5B",
     {.family = CONFIG_QWEN2, .vocab_size = 151936, .hidden_size = 1536, .num_hidden_layers = 28,
      .intermediate_size = 8960, .num_attention_heads = 12, .num_key_value_heads = 2,
      .head_dim = 128, .max_position_embeddings = 131072, .rms_norm_eps = 1e-6f,
      .attention_bias = true, .rope_theta = 1e4f, .rope_pairs = ROPE_HALF}},
    {"distill-7b", "DeepSeek-R1-Distill-Qwen-7B",
     {.family = CONFIG_QWEN2, .vocab_size = 152064, .hidden_size = 3584, .num_hidden_layers = 28,
      .intermediate_size = 18944, .num_attention_heads = 28, .num_key_value_heads = 4,
      .head_dim = 128, .max_position_embeddings = 131072, .rms_norm_eps = 1e-6f,
      .attention_bias = true, .rope_theta = 1e4f, .rope_pairs = ROPE_HALF}},
    {"distill-8b", "DeepSeek-R1-Distill-Llama-8B",
     {.family = CONFIG_LLAMA, .vocab_size = 128256, .hidden_size = 4096, .num_hidden_layers = 32,
      .intermediate_size = 14336, .num_attention_heads = 32, .num_key_value_heads = 8,
      .head_dim = 128, .max_position_embeddings = 131072, .rms_norm_eps = 1e-5f,
      .rope_theta = 5e5f, .rope_pairs = ROPE_INTERLEAVED, .rope_scaling = SHAPES_LLAMA3}},
    {"distill-14b", "DeepSeek-R1-Distill-Qwen-14B",
     {.family = CONFIG_QWEN2, .vocab_size = 152064, .hidden_size = 5120, .num_hidden_layers = 48,
      .intermediate_size = 13824, .num_attention_heads = 40, .num_key_value_heads = 8,
      .head_dim = 128, .max_position_embeddings = 131072, .rms_norm_eps = 1e-5f,
      .attention_bias = true, .rope_theta = 1e6f, .rope_pairs = ROPE_HALF}},
    {"distill-32b", "DeepSeek-R1-Distill-Qwen-32B",
     {.family = CONFIG_QWEN2, .vocab_size = 152064, .hidden_size = 5120, .num_hidden_layers = 64,
      .intermediate_size = 27648, .num_attention_heads = 40, .num_key_value_heads = 8,
      .head_dim = 128, .max_position_embeddings = 131072, .rms_norm_eps = 1e-5f,
      .attention_bias = true, .rope_theta = 1e6f, .rope_pairs = ROPE_HALF}},
    {"distill-70b", "DeepSeek-R1-Distill-Llama-70B",
     {.family = CONFIG_LLAMA, .vocab_size = 128256, .hidden_size = 8192, .num_hidden_layers = 80,
      .intermediate_size = 28672, .num_attention_heads = 64, .num_key_value_heads = 8,
      .head_dim = 128, .max_position_embeddings = 131072, .rms_norm_eps = 1e-5f,
      .rope_theta = 5e5f, .rope_pairs = ROPE_INTERLEAVED, .rope_scaling = SHAPES_LLAMA3}},
    {"smollm2-135m", "SmolLM2-135M",
     {.family = CONFIG_LLAMA, .vocab_size = 49152, .hidden_size = 576, .num_hidden_layers = 30,
      .intermediate_size = 1536, .num_attention_heads = 9, .num_key_value_heads = 3,
      .head_dim = 64, .max_position_embeddings = 8192, .rms_norm_eps = 1e-5f,
      .tie_word_embeddings = true, .rope_theta = 1e5f, .rope_pairs = ROPE_INTERLEAVED}},
};

enum { SHAPES_COUNT = sizeof shapes_rows / sizeof shapes_rows[0] };

const char *shapes_name(size_t i)
{
    return i < SHAPES_COUNT ? shapes_rows[i].name : NULL;
}

const char *shapes_title(size_t i)
{
    return i < SHAPES_COUNT ? shapes_rows[i].title : NULL;
}

err shapes_find(const char *name, struct config *out, struct errinfo *info)
{
    char known[512];
    size_t used = 0;
    known[0] = '\0';
    for (size_t i = 0; i < SHAPES_COUNT; i++) {
        if (strcmp(shapes_rows[i].name, name) == 0) {
            struct config c = shapes_rows[i].config;
            snprintf(c.name, sizeof c.name, "%s shape", name);
            TRY(config_finish(&c, info));
            *out = c;
            return ERR_OK;
        }
        int n = snprintf(known + used, sizeof known - used, " %s", shapes_rows[i].name);
        used += n > 0 ? (size_t)n : 0;
    }
    return err_set(info, ERR_ARGUMENT, "no published shape is called \"%s\"; known:%s", name, known);
}

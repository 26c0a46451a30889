/* model/model.h: a DeepSeek-family model: its config, its weights where the file maps them, and the
 * forward pass used for serving. Immutable after opening, shared by any number of engines.
 *
 * Families: MLA + DeepSeekMoE (V2, V2-Lite, V2.5, V3, R1, V3.1) and the dense R1-Distill classes
 * (Qwen2, Llama). Newer ones (V3.2, V4) are recognised and named, not run. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "formats/tensortable.h"
#include "model/config.h"
#include "tensor/compute.h"
#include "text/chat.h"

struct model;

/* Opens a .gguf file (any part of a split one) or a Hugging Face folder. Weights are mapped, not
 * read; what must be rearranged is bounded by a small share of the weights. */
ERR_MUST_USE err model_open(const char *path, struct model **out, struct errinfo *info);
/* The same from a table somebody else keeps alive (synthetic shapes, tests, fuzzers). */
ERR_MUST_USE err model_from_tensors(const struct config *config, const struct tensortable *tensors,
                                    struct model **out, struct errinfo *info);
/* For a model whose table comes without one; borrowed until model_close. */
void model_lend_tokenizer(struct model *m, const struct tokenizer *t);
void model_close(struct model *m);

const struct config *model_config(const struct model *m);
const struct tensortable *model_tensors(const struct model *m);
const struct tokenizer *model_tokenizer(const struct model *m); /* NULL when the files have none */
enum chat_format model_chat_format(const struct model *m);
const char *model_chat_doubt(const struct model *m); /* why that is but a guess; NULL: it is none */
/* "q4_k" …: the dtype that holds most weight bytes; total weight bytes; parameters, total and used
 * per token (head counted, embedding not). */
enum dtype model_main_dtype(const struct model *m);
size_t model_weight_bytes(const struct model *m);
size_t model_parameters(const struct model *m);
size_t model_active_parameters(const struct model *m);
/* Weight bytes one decoded token reads (for roofline figures). */
size_t model_active_bytes(const struct model *m);
/* Bytes of all routed experts; 0 for dense models. */
size_t model_expert_bytes(const struct model *m);

/* The key/value memory of one sequence as the forward pass sees it: a table of pages, which sequences that
 * begin alike may share; owned by the engine. A page is a number of positions in all layers.
 * MLA: k rows are [latent kv_lora_rank | rope qk_rope_head_dim], and there are no v rows.
 * GQA: k rows [n_kv_heads * head_dim], v rows [n_kv_heads * v_head_dim]. */
enum { MODEL_CACHE_SHIFT = 6, MODEL_CACHE_PAGE = 1 << MODEL_CACHE_SHIFT }; /* positions of a page */
struct model_cache_shape {
    size_t n_layers;
    size_t k_width, v_width; /* elements per position; v_width 0: MLA */
    enum dtype dtype;        /* F32, F16 or BF16 */
};
/* Bytes from the beginning of a page to a layer's first row; they are multiples of 64. */
size_t model_cache_k_offset(const struct model_cache_shape *s, size_t layer);
size_t model_cache_v_offset(const struct model_cache_shape *s, size_t layer);

struct model_cache {
    enum dtype dtype; /* F32, F16 or BF16 */
    size_t capacity;  /* positions that the pages hold */
    size_t len;       /* positions filled; model_forward appends here */
    char **pages;     /* [capacity / MODEL_CACHE_PAGE, rounded up], 64-byte aligned */
};
size_t model_cache_k_width(const struct model *m); /* elements per row of k */
size_t model_cache_v_width(const struct model *m); /* 0 for MLA */

/* Activations for up to `max_tokens` tokens per call. */
struct model_workspace;
ERR_MUST_USE err model_workspace_new(const struct model *m, size_t max_tokens,
                                     struct model_workspace **out, struct errinfo *info);
void model_workspace_free(struct model_workspace *w);
size_t model_workspace_bytes(const struct model *m, size_t max_tokens);
/* Different routed experts that the last pass used, counted in every layer. */
size_t model_workspace_experts(const struct model_workspace *w);

/* Some tokens of one sequence. All segments of a call go through the matrices together. */
struct model_segment {
    struct model_cache *cache;
    const int32_t *tokens;
    size_t n_tokens;
    float *logits;   /* [n_tokens or 1, vocab_size], NULL when not wanted */
    bool all_logits; /* false: only the last token's row */
};

/* Sees the residual stream: layer -1 the embedding, 0 … L-1 after each layer, L after the final norm.
 * x is [n_tokens of all segments, hidden_size], valid during the call only. */
typedef void (*model_observer)(void *user, int layer, const float *x, size_t n_tokens);

/* Runs the segments (sum of n_tokens ≤ the workspace's max_tokens), appends to their caches, writes
 * logits. Every segment has at least one token and a cache of its own. Logit rows that lie one after
 * another in memory, as of a batch's [n, vocab_size], are made in one pass over the head. Prefill uses
 * expanded attention where it costs less, decode the absorbed form; deterministic mode always the
 * absorbed form. Errors leave the caches' len unchanged. */
ERR_MUST_USE err model_forward(const struct model *m, struct compute *c, struct model_workspace *w,
                               const struct model_segment *segments, size_t n_segments,
                               model_observer observer, void *user, struct errinfo *info);

/* ---- the multi-token-prediction layer, where the files have one ---- */

/* What it sees of a sequence: for each position i the main model's output h_i (what the observer is shown
 * as layer L) and the token t_{i+1} after it; it predicts t_{i+2}. Its cache has one layer and rows for
 * those pairs, from whichever position they begin; positions are relative. */
struct model_mtp_step {
    struct model_cache *cache;
    const float *hidden;   /* [n_tokens, hidden_size] */
    const int32_t *tokens; /* [n_tokens], one position after */
    size_t n_tokens;       /* at most MODEL_MTP_TOKENS */
    float *logits;         /* [vocab_size] after the last, or NULL */
    float *output;         /* [hidden_size]: stands in for h of the next position when guessing on; or NULL */
};
enum { MODEL_MTP_TOKENS = 128 };

bool model_has_mtp(const struct model *m);
size_t model_mtp_bytes(const struct model *m); /* weight bytes that one guess reads; 0 without */
/* Runs the layer, appends to its cache. ERR_UNSUPPORTED without one; errors leave the cache's len alone. */
ERR_MUST_USE err model_mtp_forward(const struct model *m, struct compute *c,
                                   struct model_workspace *w, const struct model_mtp_step *step,
                                   struct errinfo *info);

#endif

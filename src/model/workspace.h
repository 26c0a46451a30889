/* model/workspace.h: the activations of one forward pass, laid out once for up to max_tokens tokens,
 * so that no pass allocates. T max_tokens, d hidden_size, H heads, E experts, K experts per token. */
#ifndef MODEL_WORKSPACE_H
#define MODEL_WORKSPACE_H

#include "model/model.h"

enum { WORKSPACE_TOKENS_MAX = 1 << 18, WORKSPACE_MTP_TOKENS = MODEL_MTP_TOKENS };

struct model_workspace {
    void *memory; /* everything below points into it */
    size_t max_tokens;

    float *h;         /* [T, d] the residual stream */
    float *x;         /* [T, d] its normed copy, input of a block */
    float *out;       /* [T, d] output of a block */
    float *heads_out; /* [T, H * v_dim] attention before the output projection */
    float *q;         /* [T, H * qk_dim] */

    float *k, *v; /* GQA: [T, KV * head_dim] */

    float *q_a;     /* MLA: [T, q_lora] */
    float *kv_a;    /* MLA: [T, kv_lora + rope] */
    float *scratch; /* MLA: mla_scratch floats */
    size_t scratch_floats;

    float *gate, *up; /* dense [T, ff]; MoE: routed [T * K, ff] followed by shared [T, shared ff] */
    float *expert_out;             /* [T * K, d] */
    float *router_logits;          /* [T, E] */
    float *router_scores;          /* [2, E] */
    float *expert_weight;          /* [T, K] */
    uint32_t *expert_id;           /* [T, K] */
    uint32_t *expert_slot;         /* [T, K]: row of expert_out */
    uint32_t *expert_rows;         /* [T * K]: tokens sorted by expert */
    uint32_t *expert_start;        /* [E + 1]: first row of each expert */
    size_t experts_used;           /* different experts of this pass, summed over layers */

    float *joined; /* MTP: [min(T, WORKSPACE_MTP_TOKENS), 2d] embedding and hidden state side by side */

    uint32_t *head_rows; /* [T] */
    struct matmul_job *jobs;
    struct attention_args *calls; /* [T] */
};

/* Bytes needed, 0 when they do not fit size_t or max_tokens is 0 or above the cap. */
size_t workspace_bytes(const struct config *c, size_t max_tokens);
/* Points every field into `memory` of workspace_bytes bytes, 64-byte aligned. */
void workspace_place(const struct config *c, size_t max_tokens, void *memory,
                     struct model_workspace *out);

#endif

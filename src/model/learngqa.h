/* model/learngqa.h: grouped-query attention for learning, as the Llama class has it ("GQA", Ainslie and others,
 * 2023): forward that keeps what backward needs, and backward. Serving is in gqa.h. H query heads, G heads of
 * keys and values, C head_dim, D hidden_size. Block by block, as in learnmla.h; q_raw, k_raw and v_own are as
 * there. */
#ifndef MODEL_LEARNGQA_H
#define MODEL_LEARNGQA_H

#include "model/learnskip.h"

struct learngqa {
    struct mat x;    /* wide [T, D], what came in */
    struct mat h;    /* [T, D], normed */
    struct mat q, q_raw;           /* [T, H * C], rotated */
    struct mat k, k_raw, v, v_own; /* [T, G * C], k rotated */
    struct mat out;  /* [T, H * C] */
    struct mat lse;  /* wide [T, H] */
};

/* The gradients by what products made, for those of the weights. */
struct learngqa_grads {
    struct mat d;          /* [T, D], by what was added */
    struct mat dq, dk, dv; /* as q, k, v */
    struct mat attn_norm, value_residual; /* sums of blocks */
};

void learngqa_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learngqa *kept);
struct learngqa learngqa_rows(const struct learngqa *kept, size_t first, size_t n);
/* Adds attention's output to x. */
ERR_MUST_USE err learngqa_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                                  const struct learngqa *kept, const struct learnskip *skip);

void learngqa_begin(const struct learnrun *r, const struct learngqa *kept, struct learngqa_grads *g);
struct learngqa_grads learngqa_grads_rows(const struct learnrun *r, const struct learngqa_grads *g,
                                          size_t first, size_t n);
/* dx [T, D], wide, is the gradient by what forward made and becomes that by what it got. Sets g. */
ERR_MUST_USE err learngqa_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                   const struct learngqa *kept, const struct learngqa_grads *g,
                                   const struct learnskip *skip, struct mat dx);

/* As learnmla_list and learnmla_end. */
void learngqa_list(const struct learnparams_layer *p, const struct learngqa *kept,
                   const struct learngqa_grads *g, struct learnrun_grads *list);
void learngqa_end(const struct learnrun *r, const struct learnparams_layer *p, const struct learngqa_grads *g);

#endif

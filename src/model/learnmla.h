/* model/learnmla.h: multi-head latent attention for learning (DeepSeek-V2 paper, section 2.1): forward that
 * keeps what backward needs, and backward. Serving is in mla.h. H heads, D hidden_size, R kv_lora_rank.
 *
 * Forward and backward go block by block (learnblocks.h): learnmla_keep and learnmla_begin make room for the
 * whole batch, learnmla_rows and learnmla_grads_rows are a block's part of it.
 *
 * qk_norm comes after the rotation, which changes no norm: before it would be the same. */
#ifndef MODEL_LEARNMLA_H
#define MODEL_LEARNMLA_H

#include "model/learnskip.h"

struct learnmla {
    struct mat x;                /* wide [T, D], what came in */
    struct mat h;                /* [T, D], normed */
    struct mat q_a, q_n;         /* [T, q_lora_rank], before and after its norm; empty without */
    struct mat q, q_raw;         /* [T, H * (nope + rope)], rotated; raw: before qk_norm, q itself without */
    struct mat kv_a;             /* [T, R + rope], the rope part rotated */
    struct mat latent;           /* [T, R], normed */
    struct mat k, k_raw;         /* [T, H * (nope + rope)]; raw as q's */
    struct mat v, v_own;         /* [T, H * v]; own: before value_residual, v itself without */
    struct mat out;              /* [T, H * v] */
    struct mat lse;              /* wide [T, H] */
    struct mat k_b;              /* [R, H * (nope + rope)], the same for all blocks: learnmla_keep */
};

/* The gradients by what products made, for those of the weights. */
struct learnmla_grads {
    struct mat d;               /* [T, D], by what was added */
    struct mat dq, dk, dv;      /* as q, k, v */
    struct mat dq_a, dkv_a;     /* as q_a, kv_a */
    struct mat dk_b;            /* wide, as k_b: the weights' own, of the whole batch */
    struct mat attn_norm, q_a_norm, kv_a_norm, value_residual; /* sums of blocks */
};

void learnmla_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learnmla *kept);
struct learnmla learnmla_rows(const struct learnmla *kept, size_t first, size_t n);
/* Adds attention's output to x. */
ERR_MUST_USE err learnmla_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                                  const struct learnmla *kept, const struct learnskip *skip);

void learnmla_begin(const struct learnrun *r, const struct learnmla *kept, struct learnmla_grads *g);
struct learnmla_grads learnmla_grads_rows(const struct learnrun *r, const struct learnmla_grads *g,
                                          size_t first, size_t n);
/* dx [T, D], wide, is the gradient by what forward made and becomes that by what it got. Sets g. */
ERR_MUST_USE err learnmla_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                   const struct learnmla *kept, const struct learnmla_grads *g,
                                   const struct learnskip *skip, struct mat dx);

/* After all blocks: lists the gradients of weights; and adds what needs more than a product, once those are
 * made. */
void learnmla_list(const struct learnparams_layer *p, const struct learnmla *kept,
                   const struct learnmla_grads *g, struct learnrun_grads *list);
void learnmla_end(const struct learnrun *r, const struct learnparams_layer *p, const struct learnmla_grads *g);

#endif

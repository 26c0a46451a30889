/* model/learngpt2.h: a layer of GPT-2's class for learning (Radford and others, 2019; the names of Hugging
 * Face's GPT2Config): layer norms, multi-head attention without rotation, a feed-forward of GELU, biases
 * everywhere. It is what others' compute is compared with; it is not served.
 *
 *     x += attention(qkv(norm(x))) wo^T + bo;   x += gelu(norm(x) wup^T + bup) wdown^T + bdown
 *
 * H heads, C head_dim, D hidden_size, F intermediate_size. Block by block, as in learnmla.h. */
#ifndef MODEL_LEARNGPT2_H
#define MODEL_LEARNGPT2_H

#include "model/learnblocks.h"

struct learngpt2 {
    struct mat x, mid; /* wide [T, D], what the two norms got */
    struct mat h, g;   /* [T, D], normed */
    struct mat qkv;    /* [T, 3 D]: queries, keys, values */
    struct mat out;    /* [T, D] */
    struct mat lse;    /* wide [T, H] */
    struct mat up, inner; /* [T, F], before and after GELU */
};

enum { LEARNGPT2_VECTORS = 8 };

struct learngpt2_grads {
    struct mat d_out, d_down; /* [T, D], by what was added */
    struct mat dqkv;          /* as qkv; that of up takes up's place */
    struct mat vectors[LEARNGPT2_VECTORS]; /* sums of blocks: norms and biases */
};

void learngpt2_keep(const struct learnrun *r, struct learngpt2 *kept);
struct learngpt2 learngpt2_rows(const struct learngpt2 *kept, size_t first, size_t n);
/* x goes through the layer. */
ERR_MUST_USE err learngpt2_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                                   const struct learngpt2 *kept);

void learngpt2_begin(const struct learnrun *r, const struct learnparams_layer *p, const struct learngpt2 *kept,
                     struct learngpt2_grads *g);
struct learngpt2_grads learngpt2_grads_rows(const struct learnrun *r, const struct learngpt2_grads *g,
                                            size_t first, size_t n);
/* dx [T, D], wide, is the gradient by what forward made and becomes that by what it got. Sets g. */
ERR_MUST_USE err learngpt2_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                    const struct learngpt2 *kept, const struct learngpt2_grads *g,
                                    struct mat dx);

/* As learnmla_list and learnmla_end. */
void learngpt2_list(const struct learnparams_layer *p, const struct learngpt2 *kept,
                    const struct learngpt2_grads *g, struct learnrun_grads *list);
void learngpt2_end(const struct learnrun *r, const struct learnparams_layer *p,
                   const struct learngpt2_grads *g);

/* A layer norm, also the one behind the last layer; backward adds to dx, dweight and dbias [1, D]. */
void learngpt2_norm(const struct learnrun *r, struct mat y, struct mat x, const struct learnparam *weight,
                    const struct learnparam *bias);
ERR_MUST_USE err learngpt2_norm_backward(const struct learnrun *r, struct mat dx, struct mat dweight,
                                         struct mat dbias, struct mat dy, struct mat x,
                                         const struct learnparam *weight);

#endif

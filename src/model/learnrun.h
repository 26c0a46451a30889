/* model/learnrun.h: what the layers of a learning model share while a batch goes through: where to compute, the
 * shape of the batch, its memory. T tokens in all, n_sequences rows of as many tokens each.
 *
 * Two types of numbers: `wide` (float32, or float64 in exact mode) for the residual stream, its gradient and
 * what is summed up; `narrow` (bfloat16, or float64) for what matrix products read.
 *
 * Counting: with a counting arena the layers only ask for their memory and compute nothing. */
#ifndef MODEL_LEARNRUN_H
#define MODEL_LEARNRUN_H

#include "model/learnarena.h"
#include "model/learnparams.h"

struct learnblocks; /* learnblocks.h */

struct learnrun {
    struct compute *compute;
    const struct config *config;
    struct learnarena *arena;
    enum mat_type wide, narrow;
    size_t n_tokens, n_sequences;
    const int32_t *positions; /* [T] */
    struct learnblocks *blocks;
    bool counting;
    struct errinfo *info;
};

static inline struct mat learnrun_wide(const struct learnrun *r, size_t rows, size_t cols)
{
    return learnarena_mat(r->arena, r->wide, rows, cols);
}

static inline struct mat learnrun_narrow(const struct learnrun *r, size_t rows, size_t cols)
{
    return learnarena_mat(r->arena, r->narrow, rows, cols);
}

/* y = or += a product (learnops.h). Nothing while counting. */
ERR_MUST_USE err learnrun_matmul(const struct learnrun *r, enum learnops_product product, struct mat y,
                                 struct mat x, struct mat w, bool add);
/* The gradients of weights, y = or += x^T w: products over all tokens, listed first and then made as one batch,
 * so that no thread waits between them. */
enum { LEARNRUN_GRADS = 16 };
struct learnrun_grads {
    struct learnops_matmul jobs[LEARNRUN_GRADS];
    size_t n;
};
void learnrun_grad(struct learnrun_grads *g, struct mat y, struct mat x, struct mat w, bool add);
ERR_MUST_USE err learnrun_grads_make(const struct learnrun *r, const struct learnrun_grads *g);
/* y is x normed; backward adds to dx and to the weight's gradient, or to dweight [1, cols] in its place.
 * Nothing while counting. */
void learnrun_norm(const struct learnrun *r, struct mat y, struct mat x, const struct learnparam *weight);
ERR_MUST_USE err learnrun_norm_backward(const struct learnrun *r, struct mat dx, struct mat dy, struct mat x,
                                        const struct learnparam *weight);
ERR_MUST_USE err learnrun_norm_backward_to(const struct learnrun *r, struct mat dx, struct mat dweight,
                                           struct mat dy, struct mat x, const struct learnparam *weight);
/* Each of the n equal parts of a row normed by itself, without weights; backward sets dx. No mat may have gaps.
 * Nothing while counting. */
void learnrun_norm_parts(const struct learnrun *r, struct mat y, struct mat x, size_t n);
ERR_MUST_USE err learnrun_norm_parts_backward(const struct learnrun *r, struct mat dx, struct mat dy,
                                              struct mat x, size_t n);
/* Every element 0. y becomes x. Nothing while counting. */
void learnrun_zero(const struct learnrun *r, struct mat m);
void learnrun_copy(const struct learnrun *r, struct mat y, struct mat x);
/* A narrow copy, from the arena. */
struct mat learnrun_narrowed(const struct learnrun *r, struct mat wide);

#endif

/* model/learnskip.h: what layers look back at besides the layer before, in models that learn here and are of no
 * published class. Both with two weights of a layer's own, which are learnt:
 *
 *     x0_skip          a layer gets  w[0] x + w[1] x0,  x0 the normed embedding, which is also what the first
 *                      layer gets for x; w begins as (1, 0)
 *     value_residual   values are  w[0] v + w[1] v0,  v0 those of the first layer; w begins as (1/2, 1/2)
 *                      ("Value residual learning", Zhou and others, 2024)
 *
 * Weights as in modded-nanogpt's speed runs. A layer for multi-token prediction has neither. */
#ifndef MODEL_LEARNSKIP_H
#define MODEL_LEARNSKIP_H

#include "model/learnblocks.h"

struct learnskip { /* no columns: not used */
    struct mat x, dx; /* wide [T, D]: x0, and the sum of the gradients by it */
    struct mat v, dv; /* [T, heads of values * v]: v0; wide, likewise */
};

/* Room for a batch; gradients, which begin at 0, if it learns. v0 is set by the first layer. */
struct learnskip learnskip_begin(const struct learnrun *r, bool learns);
struct learnskip learnskip_rows(const struct learnskip *s, size_t first, size_t n);

/* x as the layer gets it; `before`, shaped as x and empty without x0_skip, keeps it as it came. */
void learnskip_input(const struct learnrun *r, const struct learnparams_layer *p, const struct learnskip *s,
                     struct mat x, struct mat before);
/* dx is the gradient by the first and becomes that by the second; sums adds the weights' [1, 2]. */
ERR_MUST_USE err learnskip_input_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                          const struct learnskip *s, struct mat before, struct mat sums,
                                          struct mat dx);

/* v as attention gets it, from the layer's own, which it may be where the layer has no value_residual. */
void learnskip_values(const struct learnrun *r, const struct learnparams_layer *p, const struct learnskip *s,
                      struct mat v, struct mat own);
/* As learnskip_input_backward. */
ERR_MUST_USE err learnskip_values_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                           const struct learnskip *s, struct mat own, struct mat sums,
                                           struct mat dv);

#endif

/* model/learnmoe.h: the routed experts for learning (DeepSeekMoE paper, section 3). Tokens are sorted by
 * expert. P = T * K places, first those of expert 0. */
#ifndef MODEL_LEARNMOE_H
#define MODEL_LEARNMOE_H

#include "model/learnrouter.h"

struct learnmoe {
    struct learnrouter router;
    uint32_t *slot;   /* [T * K], the place of a token's k-th expert */
    uint32_t *choice; /* [P], which of the T * K a place is */
    size_t *first;    /* [E + 1], places of expert e: first[e] to first[e + 1] */
    struct mat gates, ups; /* [P, ff] */
};

void learnmoe_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learnmoe *kept);

/* Who goes where: block by block, as in learnmla.h. h [T, D] is the normed input. */
ERR_MUST_USE err learnmoe_route(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                                const struct learnrouter *kept);
/* dweights [T, K]; sets dlogits [T, E], and sets dh (wide) or adds to it. balance_scale: as in
 * learnrouter_backward. */
ERR_MUST_USE err learnmoe_route_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                         const struct learnrouter *kept, struct mat dweights,
                                         double balance_scale, struct mat dlogits, struct mat dh,
                                         bool add);

/* The experts of the whole batch, once all blocks are routed. Adds to x. */
ERR_MUST_USE err learnmoe_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                                  struct mat x, const struct learnmoe *kept);
/* d [T, D] (narrow) is the gradient by what was added; sets dweights [T, K] (wide) and dplaces [P, D], the
 * gradients by the rows of h that the places got. */
ERR_MUST_USE err learnmoe_backward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                                   const struct learnmoe *kept, struct mat d, struct mat dweights,
                                   struct mat dplaces);
/* Then, block by block: dh, rows [first, first + r->n_tokens) of the gradient by h (wide), adds its places'. */
void learnmoe_collect(const struct learnrun *r, const struct learnmoe *kept, size_t first, struct mat dplaces,
                      struct mat dh);

#endif

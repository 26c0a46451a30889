/* model/learnlayer.h: a decoder layer for learning: attention and feed-forward, forward and backward. All
 * but the routed experts and the gradients of weights goes block by block (learnblocks.h). */
#ifndef MODEL_LEARNLAYER_H
#define MODEL_LEARNLAYER_H

#include "model/learnffn.h"
#include "model/learngpt2.h"
#include "model/learngqa.h"
#include "model/learnmla.h"
#include "model/learnmoe.h"

struct learnlayer {
    struct learnmla mla; /* one of the two, as config_is_mla says */
    struct learngqa gqa;
    struct learngpt2 gpt2; /* or this, and nothing else */
    struct mat before; /* wide [T, D], what came in; with x0_skip */
    struct mat x, h;   /* between: wide [T, D], and normed */
    struct learnffn ffn;
    struct learnmoe moe;
};

/* Changes x. `skip` with no columns anywhere: the layer is by itself. */
ERR_MUST_USE err learnlayer_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                                    const struct learnskip *skip, struct learnlayer *kept);
/* dx [T, D], wide, is the gradient by what forward made and becomes that by what it got; the parameters'
 * gradients are added to. kept's mats are used up. balance_scale: as in learnrouter_backward. */
ERR_MUST_USE err learnlayer_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                     const struct learnskip *skip, const struct learnlayer *kept,
                                     double balance_scale, struct mat dx);

#endif

/* model/learnmla.h: multi-head latent attention for learning (DeepSeek-V2 paper, section 2.1): forward that
 * keeps what backward needs, and backward. Serving is in mla.h. H heads, D hidden_size, R kv_lora_rank. */
#ifndef MODEL_LEARNMLA_H
#define MODEL_LEARNMLA_H

#include "model/learnrun.h"

struct learnmla {
    struct mat x;                /* wide [T, D], what came in */
    struct mat h;                /* [T, D], normed */
    struct mat q_a, q_n;         /* [T, q_lora_rank], before and after its norm; empty without */
    struct mat q;                /* [T, H * (nope + rope)], rotated */
    struct mat kv_a;             /* [T, R + rope], the rope part rotated */
    struct mat latent;           /* [T, R], normed */
    struct mat k, v;             /* [T, H * (nope + rope)], [T, H * v] */
    struct mat out;              /* [T, H * v] */
    struct mat lse;              /* wide [T, H] */
};

/* Adds attention's output to x. */
ERR_MUST_USE err learnmla_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                                  struct learnmla *kept);
/* dx [T, D], wide, is the gradient by what forward made and becomes that by what it got; the parameters'
 * gradients are added to. */
ERR_MUST_USE err learnmla_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                   const struct learnmla *kept, struct mat dx);

#endif

/* model/learngqa.h: grouped-query attention for learning, as the Llama class has it ("GQA", Ainslie and others,
 * 2023): forward that keeps what backward needs, and backward. Serving is in gqa.h. H query heads, G heads of
 * keys and values, C head_dim, D hidden_size. */
#ifndef MODEL_LEARNGQA_H
#define MODEL_LEARNGQA_H

#include "model/learnrun.h"

struct learngqa {
    struct mat x;    /* wide [T, D], what came in */
    struct mat h;    /* [T, D], normed */
    struct mat q;    /* [T, H * C], rotated */
    struct mat k, v; /* [T, G * C], k rotated */
    struct mat out;  /* [T, H * C] */
    struct mat lse;  /* wide [T, H] */
};

/* Adds attention's output to x. */
ERR_MUST_USE err learngqa_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                                  struct learngqa *kept);
/* dx [T, D], wide, is the gradient by what forward made and becomes that by what it got; the parameters'
 * gradients are added to. */
ERR_MUST_USE err learngqa_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                   const struct learngqa *kept, struct mat dx);

#endif

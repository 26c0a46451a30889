/* model/learnffn.h: down(silu(gate h) * up h) for learning: dense layers and shared experts. ff is the inner
 * width. */
#ifndef MODEL_LEARNFFN_H
#define MODEL_LEARNFFN_H

#include "model/learnrun.h"

struct learnffn {
    struct mat gate, up, inner; /* [T, ff] */
};

/* Adds to x; h [T, D] is the normed input. */
ERR_MUST_USE err learnffn_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                                  struct mat x, struct learnffn *kept);
/* d [T, D] (narrow) is the gradient by what was added; sets dh (wide). kept's mats are used up. */
ERR_MUST_USE err learnffn_backward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                                   const struct learnffn *kept, struct mat d, struct mat dh);

#endif

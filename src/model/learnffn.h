/* model/learnffn.h: down(silu(gate h) * up h) for learning: dense layers and shared experts, block by block as
 * in learnmla.h. ff is the inner width. */
#ifndef MODEL_LEARNFFN_H
#define MODEL_LEARNFFN_H

#include "model/learnrun.h"

struct learnffn {
    struct mat gate, up, inner; /* [T, ff] */
};

void learnffn_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learnffn *kept);
struct learnffn learnffn_rows(const struct learnffn *kept, size_t first, size_t n);
/* Adds to x; h [T, D] is the normed input. */
ERR_MUST_USE err learnffn_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                                  struct mat x, const struct learnffn *kept);
/* d [T, D] (narrow) is the gradient by what was added; sets dh (wide). gate and up become their gradients. */
ERR_MUST_USE err learnffn_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                   const struct learnffn *kept, struct mat d, struct mat dh);
/* After all blocks: lists the gradients of weights. */
void learnffn_list(const struct learnparams_layer *p, struct mat h, const struct learnffn *kept, struct mat d,
                   struct learnrun_grads *list);

#endif

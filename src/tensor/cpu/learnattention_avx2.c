/* tensor/cpu/learnattention_avx2.c: see learnattention.h. */
#include "tensor/cpu/vec_avx2.h"

enum { LEARNATTENTION_HELD = 2 };

#include "tensor/cpu/learnattention_float.h"

err learnattention_avx2(struct compute *c, const struct learnops_attention *a,
                          const struct learnattention_grads *d)
{
    return learnattention_run(c, a, d, &learnattention_float);
}

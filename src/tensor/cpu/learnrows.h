/* tensor/cpu/learnrows.h: the row-wise operations of learnops.h for float32 and bfloat16 mats, by level.
 * Contracts there. Sums over rows (a norm's weights) are taken in blocks of LEARNROWS_BLOCK rows whose sums are
 * added in order: results do not depend on the number of threads. */
#ifndef TENSOR_CPU_LEARNROWS_H
#define TENSOR_CPU_LEARNROWS_H

#include "tensor/learnops.h"

enum { LEARNROWS_BLOCK = 256 };

#define LEARNROWS_DECLARE(level)                                                                           \
    void learnrows_##level##_rmsnorm(struct compute *c, struct mat y, struct mat x, struct mat weight,    \
                                     double eps);                                                          \
    err learnrows_##level##_rmsnorm_backward(struct compute *c, struct mat dx, struct mat dweight,         \
                                             struct mat dy, struct mat x, struct mat weight, double eps);  \
    void learnrows_##level##_swiglu(struct compute *c, struct mat y, struct mat gate, struct mat up);      \
    void learnrows_##level##_swiglu_backward(struct compute *c, struct mat dgate, struct mat dup,          \
                                             struct mat dy, struct mat gate, struct mat up);               \
    void learnrows_##level##_copy(struct compute *c, struct mat y, struct mat x);                          \
    void learnrows_##level##_add(struct compute *c, struct mat y, struct mat x);                           \
    void learnrows_##level##_gather(struct compute *c, struct mat y, struct mat x, const uint32_t *rows);  \
    void learnrows_##level##_combine(struct compute *c, struct mat y, struct mat x, struct mat weight,     \
                                     const uint32_t *slot);                                                \
    void learnrows_##level##_combine_backward(struct compute *c, struct mat dx, struct mat dweight,        \
                                              struct mat dy, struct mat x, struct mat weight,              \
                                              const uint32_t *slot);

LEARNROWS_DECLARE(avx2)
LEARNROWS_DECLARE(avx512)

#endif

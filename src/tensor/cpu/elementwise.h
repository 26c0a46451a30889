/* tensor/cpu/elementwise.h: the ops of ops.h that touch each element a few times, per CPU level.
 * Against ref/: add, add_bias, combine, embed, store and load are bit for bit equal; rmsnorm within
 * 1 ulp (sums in double); rope within 2 ulp of the larger of the pair; swiglu within 4 ulp.
 * No result depends on the number of rows or threads. */
#ifndef TENSOR_CPU_ELEMENTWISE_H
#define TENSOR_CPU_ELEMENTWISE_H

#include "tensor/ops.h"

#define ELEMENTWISE_DECLARE(level)                                                                 \
    void elementwise_##level##_rmsnorm(struct compute *c, float *y, size_t y_stride,               \
                                       const float *x, size_t x_stride, const float *w,            \
                                       size_t n_rows, size_t d, float eps);                        \
    void elementwise_##level##_rope(struct compute *c, const struct rope_args *a);                 \
    void elementwise_##level##_swiglu(struct compute *c, float *y, const float *gate,              \
                                      const float *up, size_t n);                                  \
    void elementwise_##level##_add(struct compute *c, float *y, const float *x, size_t n);         \
    void elementwise_##level##_add_bias(struct compute *c, float *y, const float *bias,            \
                                        size_t n_rows, size_t d);                                  \
    void elementwise_##level##_embed(struct compute *c, float *y, const struct tensor *table,      \
                                     const int32_t *ids, size_t n_rows);                           \
    void elementwise_##level##_combine(struct compute *c, float *y, const float *x,                \
                                       size_t x_stride, const uint32_t *slot, const float *weight, \
                                       size_t n_rows, size_t k, size_t d);                         \
    void elementwise_##level##_store(struct compute *c, void *dst, enum dtype dtype,               \
                                     size_t dst_stride, const float *src, size_t src_stride,       \
                                     size_t n_rows, size_t n);                                     \
    void elementwise_##level##_load(struct compute *c, float *dst, size_t dst_stride,              \
                                    const void *src, enum dtype dtype, size_t src_stride,          \
                                    size_t n_rows, size_t n)

ELEMENTWISE_DECLARE(avx2);
ELEMENTWISE_DECLARE(avx512);

#endif

/* tensor/ref/ref.h: the reference ops: plain scalar C, never optimised, the judge of every fast
 * version. Contracts in ops.h. */
#ifndef TENSOR_REF_REF_H
#define TENSOR_REF_REF_H

#include "tensor/ops.h"

err ref_matmul(struct compute *c, const struct matmul_job *jobs, size_t n_jobs);
err ref_attention(struct compute *c, const struct attention_args *calls, size_t n_calls);
void ref_rmsnorm(struct compute *c, float *y, size_t y_stride, const float *x, size_t x_stride,
                 const float *w, size_t n_rows, size_t d, float eps);
void ref_rope(struct compute *c, const struct rope_args *a);
void ref_swiglu(struct compute *c, float *y, const float *gate, const float *up, size_t n);
void ref_add(struct compute *c, float *y, const float *x, size_t n);
void ref_add_bias(struct compute *c, float *y, const float *bias, size_t n_rows, size_t d);
void ref_embed(struct compute *c, float *y, const struct tensor *table, const int32_t *ids,
               size_t n_rows);
void ref_combine(struct compute *c, float *y, const float *x, size_t x_stride, const uint32_t *slot,
                 const float *weight, size_t n_rows, size_t k, size_t d);
void ref_store(struct compute *c, void *dst, enum dtype dtype, size_t dst_stride, const float *src,
               size_t src_stride, size_t n_rows, size_t n);
void ref_load(struct compute *c, float *dst, size_t dst_stride, const void *src, enum dtype dtype,
              size_t src_stride, size_t n_rows, size_t n);

#endif

/* tensor/ref/dequant.h: every computable weight type to float, plain C, one row at a time. */
#ifndef TENSOR_REF_DEQUANT_H
#define TENSOR_REF_DEQUANT_H

#include "tensor/tensor.h"

/* n elements (whole blocks) of `src` in type `t` to dst[n]. For F8_E4M3 the raw values, unscaled. */
void dequant_run(enum dtype t, const void *src, float *dst, size_t n);

/* Row `row` (0 .. tensor_rows-1) of a tensor of rank 1 to 3 to dst[tensor_cols], scales applied. */
void dequant_row(const struct tensor *w, size_t row, float *dst);

#endif

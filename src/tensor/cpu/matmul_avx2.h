/* tensor/cpu/matmul_avx2.h: the kernels of dot_avx2.c, for matmul_avx2.c. */
#ifndef TENSOR_CPU_MATMUL_AVX2_H
#define TENSOR_CPU_MATMUL_AVX2_H

#include "tensor/cpu/matmul.h"

void dot_avx2_quantize(struct matmul_q15 *q, const float *x, size_t k);
void dot_avx2(const struct matmul_task *t);

#endif

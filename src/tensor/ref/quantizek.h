/* tensor/ref/quantizek.h: the super-blocks of 256 values (Q2_K … Q6_K), for quantize.c. */
#ifndef TENSOR_REF_QUANTIZEK_H
#define TENSOR_REF_QUANTIZEK_H

#include <stdint.h>

/* One block: x [256] to b; importance [256] or NULL. */
void quantizek_q2(const float *x, uint8_t *b, const float *importance);
void quantizek_q3(const float *x, uint8_t *b, const float *importance);
void quantizek_q4(const float *x, uint8_t *b, const float *importance);
void quantizek_q5(const float *x, uint8_t *b, const float *importance);
void quantizek_q6(const float *x, uint8_t *b, const float *importance);

#endif

/* tensor/cpu/matmul_avx512.h: what the AVX512 and AMX kernels of matmul.h share. */
#ifndef TENSOR_CPU_MATMUL_AVX512_H
#define TENSOR_CPU_MATMUL_AVX512_H

#include <immintrin.h>

#include "tensor/cpu/matmul.h"

void matmul_avx512_pack(void *tile, const float *const *x, size_t n, size_t k);
void matmul_avx512_product(const struct matmul_task *t);

/* dot_avx512.c */
void dot_avx512_quantize(struct matmul_q15 *q, const float *x, size_t k);
void dot_avx512(const struct matmul_task *t);

/* integers_avx512.c */
void integers_avx512_pack(struct matmul_q16 *q, size_t step, const float *x, size_t k);
void integers_avx512(const struct matmul_task *t);
size_t integers_avx512_panel(size_t n_rows);

/* Swaps rows and columns of 16 x 16 32-bit values in registers. */
static inline void matmul_transpose(__m512i v[16])
{
    __m512i t[16];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        v[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        v[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        v[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        v[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    /* v[4 i + j], 128-bit lane l: column 4 l + j of rows 4 i .. 4 i + 3. */
    for (int j = 0; j < 4; j++) {
        __m512i a = _mm512_shuffle_i32x4(v[j], v[4 + j], 0x88);
        __m512i b = _mm512_shuffle_i32x4(v[j], v[4 + j], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0x88);
        __m512i d = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0xdd);
        t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
        t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
    for (int i = 0; i < 16; i++) {
        v[i] = t[i];
    }
}

/* Sums [16 weight rows][16 activation rows] to y: rows_w and rows_x of them exist. */
static inline void matmul_store_tile(const float *sums, float *y, size_t y_stride, size_t rows_w,
                                     size_t rows_x)
{
    __m512i v[16];
    for (int i = 0; i < 16; i++) {
        v[i] = _mm512_loadu_si512(sums + 16 * i);
    }
    matmul_transpose(v);
    __mmask16 m = (__mmask16)(rows_w >= 16 ? 0xffff : (1u << rows_w) - 1);
    for (size_t i = 0; i < 16 && i < rows_x; i++) {
        _mm512_mask_storeu_epi32(y + i * y_stride, m, v[i]);
    }
}

#endif

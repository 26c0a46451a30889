/* tensor/cpu/tilepack.h: bfloat16 mats as operands of AMX tile products (tiles.h), for *_amx.c files. */
#ifndef TENSOR_CPU_TILEPACK_H
#define TENSOR_CPU_TILEPACK_H

#include <immintrin.h>
#include <stdbool.h>

#include "tensor/cpu/matmul_avx512.h"
#include "tensor/mat.h"

enum {
    TILEPACK_TILE = 1024, /* bytes */
    TILEPACK_STEP = 32,   /* numbers of the sum in one tile */
};

/* One side of a product: n of the mat's rows or columns from `first` on, 0 where the mat has no more. down: the
 * sum runs down the mat. turned: pairs of the sum go down a tile, as the right operand's do, else along it. */
struct tilepack {
    struct mat mat;
    size_t first, n;
    bool down, turned;
};

static inline const uint16_t *tilepack_at(const struct mat *m, size_t row, size_t col)
{
    return (const uint16_t *)m->data + row * m->stride + col;
}

static inline size_t tilepack_left(size_t end, size_t at)
{
    return end > at ? end - at : 0;
}

static inline __mmask32 tilepack_mask(size_t n)
{
    return n >= 32 ? 0xffffffffu : (1u << n) - 1;
}

/* 16 rows of 32: rows and columns that do not exist are 0. */
static inline void tilepack_rows(const struct mat *m, size_t row, size_t n_rows, size_t col, size_t n_cols,
                                 __m512i v[16])
{
    __mmask32 mask = tilepack_mask(n_cols);
    if (n_rows >= 16 && n_cols >= 32) {
        for (size_t i = 0; i < 16; i++) {
            v[i] = _mm512_loadu_si512(tilepack_at(m, row + i, col));
        }
        return;
    }
    for (size_t i = 0; i < 16; i++) {
        v[i] = i < n_rows ? _mm512_maskz_loadu_epi16(mask, tilepack_at(m, row + i, col))
                          : _mm512_setzero_si512();
    }
}

/* Two halves of 16 numbers as 16 pairs. */
static inline __m512i tilepack_interleave(__m512i halves)
{
    const __m512i pairs = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                           22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(pairs, halves);
}

/* 32 rows of 16 as 16 rows of pairs. */
static inline void tilepack_pairs(const struct mat *m, size_t row, size_t n_rows, size_t col, size_t n_cols,
                                  __m512i v[16])
{
    __mmask16 mask = (__mmask16)tilepack_mask(n_cols < 16 ? n_cols : 16);
    bool whole = n_rows >= 32 && n_cols >= 16;
    for (size_t i = 0; i < 16; i++) {
        __m256i low = _mm256_setzero_si256(), high = low;
        if (whole) {
            low = _mm256_loadu_si256((const void *)tilepack_at(m, row + 2 * i, col));
            high = _mm256_loadu_si256((const void *)tilepack_at(m, row + 2 * i + 1, col));
        } else {
            if (2 * i < n_rows) {
                low = _mm256_maskz_loadu_epi16(mask, tilepack_at(m, row + 2 * i, col));
            }
            if (2 * i + 1 < n_rows) {
                high = _mm256_maskz_loadu_epi16(mask, tilepack_at(m, row + 2 * i + 1, col));
            }
        }
        v[i] = tilepack_interleave(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
    }
}

static inline void tilepack_put(char *to, const __m512i v[16])
{
    for (size_t i = 0; i < 16; i++) {
        _mm512_store_si512((void *)(to + 64 * i), v[i]);
    }
}

/* Tiles [tile of n][step], n_k of the sum from k on; 0 beyond it. `to`: 64-byte aligned. */
static inline void tilepack(const struct tilepack *a, size_t k, size_t n_k, size_t steps, char *to)
{
    __m512i v[16];
    for (size_t n = a->first; n < a->first + a->n; n += 16) {
        size_t here = tilepack_left(a->down ? a->mat.cols : a->mat.rows, n);
        for (size_t s = 0; s < steps; s++, to += TILEPACK_TILE) {
            size_t left = tilepack_left(n_k, TILEPACK_STEP * s);
            if (a->down) {
                tilepack_pairs(&a->mat, k + TILEPACK_STEP * s, left, n, here, v);
            } else {
                tilepack_rows(&a->mat, n, here, k + TILEPACK_STEP * s, left, v);
            }
            if (a->down != a->turned) {
                matmul_transpose(v);
            }
            tilepack_put(to, v);
        }
    }
}

#endif

/* tensor/cpu/learnattention_float.h: what learnattention_walk.h is written over, in float32. Included by
 * learnattention_avx2.c and learnattention_avx512.c, which say how many rows of sums they keep in registers, by
 * 32 / VEC_N vectors: LEARNATTENTION_HELD, a divisor of 16. */
#include <stdbool.h>

#include "tensor/mat.h"

typedef float learnattention_number;

/* Operand tiles [tiles][steps] of m: left or (turned) right, the sum along its columns or (down) its rows. A
 * left tile is [16][32] floats, a right one [32][16]. */
static void learnattention_pack(float *to, const struct mat *m, bool down, bool turned, size_t tiles,
                                size_t steps)
{
    size_t rows = down ? 32 : 16, cols = down ? 16 : 32; /* of m in a tile */
    for (size_t tile = 0; tile < tiles * steps; tile++, to += 512) {
        size_t n = tile / steps * 16, k = tile % steps * 32, row = down ? k : n, col = down ? n : k;
        for (size_t i = 0; i < rows; i++) {
            float x[32] = {0};
            const uint16_t *from = (const uint16_t *)m->data + (row + i) * m->stride + col;
            for (size_t j = 0; row + i < m->rows && j < cols && col + j < m->cols; j += VEC_N) {
                size_t left = m->cols - col - j;
                vec_store(x + j, left < VEC_N ? vec_load_bf16_n(from + j, left) : vec_load_bf16(from + j));
            }
            for (size_t j = 0; j < cols; j++) {
                to[down == turned ? i * cols + j : j * rows + i] = x[j];
            }
        }
    }
}

/* HELD rows of sums by 32 columns. */
static inline __attribute__((always_inline)) void
learnattention_rows_product(float *c, const float *left, const float *right, size_t right_across, size_t steps,
                            bool add)
{
    enum { WIDE = 32 / VEC_N, IN_TILE = 16 / VEC_N };
    vec sums[LEARNATTENTION_HELD][WIDE];
#pragma GCC unroll 8
    for (size_t i = 0; i < LEARNATTENTION_HELD; i++) {
#pragma GCC unroll 4
        for (size_t l = 0; l < WIDE; l++) {
            sums[i][l] = add ? vec_load(c + l / IN_TILE * 256 + i * 16 + l % IN_TILE * VEC_N) : vec_set(0);
        }
    }
    for (size_t s = 0; s < steps; s++, left += 512, right += 512) {
        for (size_t k = 0; k < 32; k++) {
            vec x[WIDE];
#pragma GCC unroll 4
            for (size_t l = 0; l < WIDE; l++) {
                x[l] = vec_load(right + l / IN_TILE * right_across + k * 16 + l % IN_TILE * VEC_N);
            }
#pragma GCC unroll 8
            for (size_t i = 0; i < LEARNATTENTION_HELD; i++) {
                vec y = vec_set(left[i * 32 + k]);
#pragma GCC unroll 4
                for (size_t l = 0; l < WIDE; l++) {
                    sums[i][l] = vec_fma(y, x[l], sums[i][l]);
                }
            }
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < LEARNATTENTION_HELD; i++) {
#pragma GCC unroll 4
        for (size_t l = 0; l < WIDE; l++) {
            vec_store(c + l / IN_TILE * 256 + i * 16 + l % IN_TILE * VEC_N, sums[i][l]);
        }
    }
}

/* Tiles of sums c, below and beside: tiles of the left operand times those of the right one. The second tiles
 * are so many numbers further. */
static void learnattention_product(float *c, size_t c_down, const float *left, size_t left_down,
                                   const float *right, size_t right_across, size_t steps, bool add)
{
    for (size_t i = 0; i < 32; i += LEARNATTENTION_HELD) {
        learnattention_rows_product(c + i / 16 * c_down + i % 16 * 16, left + i / 16 * left_down + i % 16 * 32,
                                    right, right_across, steps, add);
    }
}

static void learnattention_product_beside(float *c, size_t c_down, const float *left, size_t left_down,
                                          const float *right, size_t right_across, size_t steps, bool add,
                                          void (*beside)(void *), void *what)
{
    (void)beside, (void)what;
    learnattention_product(c, c_down, left, left_down, right, right_across, steps, add);
}

/* Numbers of keys i and i + 1 of a chunk: rows of left tiles. */
static inline void learnattention_put_left(float *to, size_t down, size_t i, vec x[2][32 / VEC_N])
{
    float *at = to + i / 16 * down + i % 16 * 32;
    for (size_t l = 0; l < 32 / VEC_N; l++) {
        vec_store(at + l * VEC_N, x[0][l]);
        vec_store(at + 32 + l * VEC_N, x[1][l]);
    }
}

/* The same as rows of right tiles. */
static inline void learnattention_put_right(float *to, size_t across, size_t i, vec x[2][32 / VEC_N])
{
    for (size_t l = 0; l < 32 / VEC_N; l++) {
        float *at = to + l * VEC_N / 16 * across + i * 16 + l * VEC_N % 16;
        vec_store(at, x[0][l]);
        vec_store(at + 16, x[1][l]);
    }
}

static inline vec learnattention_exp2(vec x)
{
    return vec_exp(vec_mul(x, vec_set(0x1.62e43p-1f)));
}

static inline void learnattention_store_half(uint16_t *to, vec x)
{
    vec_store_bf16(to, x);
}

#include "tensor/cpu/learnattention_walk.h"

static void learnattention_nothing(void)
{
}

static const struct learnattention_kernels learnattention_float = {
    learnattention_task_run, learnattention_scratch, learnattention_nothing, learnattention_nothing};

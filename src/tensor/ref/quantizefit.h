/* tensor/ref/quantizefit.h: the searches inside the quantizers: the scale (and minimum) of one block
 * that give the smallest weighted error. Blocks are a multiple of 8 values, at most 32.
 * Loops run over 8 lanes with a fixed order of addition: the compiler can use vectors, and the result
 * does not depend on which. */
#ifndef TENSOR_REF_QUANTIZEFIT_H
#define TENSOR_REF_QUANTIZEFIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nearest integer, ties to even, for |v| < 2^22. */
static inline float quantizefit_round(float v)
{
    return (v + 12582912.0f) - 12582912.0f;
}

/* NaN becomes `lo`. */
static inline float quantizefit_clamp(float v, float lo, float hi)
{
    v = v > lo ? v : lo;
    return v < hi ? v : hi;
}

/* v as a little-endian half at p, kept finite. */
void quantizefit_half(uint8_t *p, float v);

float quantizefit_sum_squares(const float *x, size_t n);

/* The smallest and largest value of a block. */
void quantizefit_range(const float *x, size_t n, float *lo, float *hi);

/* The value with the largest magnitude, with its sign; the first of equals. */
float quantizefit_extreme(const float *x, size_t n);

/* x ≈ scale * q + min, q = 0 … top, min ≤ 0. Tries the inverse scales (top + first + k * step) /
 * (hi - lo), k = 0 … steps, each followed by a weighted least-squares fit of scale and min. */
struct quantizefit_grid {
    int top;
    float first, step;
    int steps;
    int rounds;
    bool absolute; /* judge by the weighted absolute error instead of the squared one */
};
void quantizefit_affine(const float *x, const float *w, size_t n, const struct quantizefit_grid *g,
                        float *scale, float *min);

/* Σ w (scale * q + min - x)² with the nearest q = low … top for every value; scale ≠ 0. */
float quantizefit_error(const float *x, const float *w, size_t n, float scale, float min, int low,
                        int top);

/* x ≈ scale * q, q = -top … top - 1: tries 19 inverse scales around -top / extreme, each followed by
 * a least-squares fit of the scale. Returns the scale, 0 for a block of zeros. */
float quantizefit_signed(const float *x, const float *w, size_t n, int top);

/* The same model for few levels: starts at -top / extreme and moves one value's level at a time
 * while the least-squares error shrinks. */
float quantizefit_descend(const float *x, const float *w, size_t n, int top);

#endif

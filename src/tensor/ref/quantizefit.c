/* tensor/ref/quantizefit.c: see quantizefit.h. */
#include "tensor/ref/quantizefit.h"

#include <math.h>

#include "tensor/dtype.h"

enum { QUANTIZEFIT_LANES = 8, QUANTIZEFIT_MAX = 32 };

static const float quantizefit_zero = 1e-15f; /* blocks this small are stored as zeros */

/* Adds the lanes pairwise, always in the same order. */
static float quantizefit_fold(const float v[QUANTIZEFIT_LANES])
{
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

void quantizefit_half(uint8_t *p, float v)
{
    uint16_t h = dtype_to_f16(quantizefit_clamp(v, -65504.0f, 65504.0f));
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

float quantizefit_sum_squares(const float *x, size_t n)
{
    float sum[QUANTIZEFIT_LANES] = {0};
    for (size_t i = 0; i < n; i += QUANTIZEFIT_LANES) {
#pragma omp simd
        for (size_t l = 0; l < QUANTIZEFIT_LANES; l++) {
            sum[l] += x[i + l] * x[i + l];
        }
    }
    return quantizefit_fold(sum);
}

void quantizefit_range(const float *x, size_t n, float *lo, float *hi)
{
    float a[QUANTIZEFIT_LANES];
    float b[QUANTIZEFIT_LANES];
#pragma omp simd
    for (size_t l = 0; l < QUANTIZEFIT_LANES; l++) {
        a[l] = b[l] = x[l];
    }
    for (size_t i = QUANTIZEFIT_LANES; i < n; i += QUANTIZEFIT_LANES) {
#pragma omp simd
        for (size_t l = 0; l < QUANTIZEFIT_LANES; l++) {
            float v = x[i + l];
            a[l] = v < a[l] ? v : a[l];
            b[l] = v > b[l] ? v : b[l];
        }
    }
    for (size_t l = 1; l < QUANTIZEFIT_LANES; l++) {
        a[0] = a[l] < a[0] ? a[l] : a[0];
        b[0] = b[l] > b[0] ? b[l] : b[0];
    }
    *lo = a[0];
    *hi = b[0];
}

float quantizefit_extreme(const float *x, size_t n)
{
    float lo;
    float hi;
    quantizefit_range(x, n, &lo, &hi);
    if (hi != -lo) {
        return hi > -lo ? hi : lo;
    }
    for (size_t i = 0; i < n; i++) {
        if (fabsf(x[i]) == hi) {
            return x[i];
        }
    }
    return 0;
}

/* Weighted sums over one block for one candidate: what the normal equations of the fit need. */
struct quantizefit_sums {
    float q, qq, xq;
};

static struct quantizefit_sums quantizefit_affine_sums(const float *x, const float *w, size_t n,
                                                       float inverse, float lo, float top)
{
    float q[QUANTIZEFIT_LANES] = {0};
    float qq[QUANTIZEFIT_LANES] = {0};
    float xq[QUANTIZEFIT_LANES] = {0};
    for (size_t i = 0; i < n; i += QUANTIZEFIT_LANES) {
#pragma omp simd
        for (size_t l = 0; l < QUANTIZEFIT_LANES; l++) {
            float v = quantizefit_round((x[i + l] - lo) * inverse);
            v = quantizefit_clamp(v, 0, top);
            float wv = w[i + l] * v;
            q[l] += wv;
            qq[l] += wv * v;
            xq[l] += wv * x[i + l];
        }
    }
    return (struct quantizefit_sums){quantizefit_fold(q), quantizefit_fold(qq),
                                     quantizefit_fold(xq)};
}

float quantizefit_error(const float *x, const float *w, size_t n, float scale, float min, int low,
                        int top)
{
    float sum[QUANTIZEFIT_LANES] = {0};
    float inverse = 1.0f / scale;
    for (size_t i = 0; i < n; i += QUANTIZEFIT_LANES) {
#pragma omp simd
        for (size_t l = 0; l < QUANTIZEFIT_LANES; l++) {
            float v = quantizefit_round((x[i + l] - min) * inverse);
            float q = quantizefit_clamp(v, (float)low, (float)top);
            float rest = scale * q + min - x[i + l];
            sum[l] += w[i + l] * rest * rest;
        }
    }
    return quantizefit_fold(sum);
}

/* Σ w |scale * q + min - x| with q chosen by `inverse` and `lo`. */
static float quantizefit_absolute(const float *x, const float *w, size_t n, float inverse, float lo,
                                  float top, float scale, float min)
{
    float sum[QUANTIZEFIT_LANES] = {0};
    for (size_t i = 0; i < n; i += QUANTIZEFIT_LANES) {
#pragma omp simd
        for (size_t l = 0; l < QUANTIZEFIT_LANES; l++) {
            float v = quantizefit_round((x[i + l] - lo) * inverse);
            v = quantizefit_clamp(v, 0, top);
            sum[l] += w[i + l] * fabsf(scale * v + min - x[i + l]);
        }
    }
    return quantizefit_fold(sum);
}

/* Least squares for x ≈ scale * q + min with min ≤ 0; false when q has no spread. *gain is how much
 * of Σ w x² the fit explains: at the solution of the normal equations the squared error is
 * Σ w x² - scale Σ w x q - min Σ w x, so no second pass over the block is needed. */
static bool quantizefit_solve(const struct quantizefit_sums *s, float sum_w, float sum_x,
                              float *scale, float *min, float *gain)
{
    float det = sum_w * s->qq - s->q * s->q;
    if (!(det > 0)) {
        return false;
    }
    *scale = (sum_w * s->xq - sum_x * s->q) / det;
    *min = (s->qq * sum_x - s->q * s->xq) / det;
    if (*min > 0) {
        *min = 0;
        *scale = s->xq / s->qq;
    }
    *gain = *scale * s->xq + *min * sum_x;
    return true;
}

void quantizefit_affine(const float *x, const float *w, size_t n, const struct quantizefit_grid *g,
                        float *scale, float *min)
{
    float lo;
    float hi;
    float top = (float)g->top;
    quantizefit_range(x, n, &lo, &hi);
    lo = lo < 0 ? lo : 0;
    *min = lo;
    *scale = 0;
    if (!(hi - lo > 0)) {
        return;
    }
    float sum_w[QUANTIZEFIT_LANES] = {0};
    float sum_x[QUANTIZEFIT_LANES] = {0};
    for (size_t i = 0; i < n; i += QUANTIZEFIT_LANES) {
#pragma omp simd
        for (size_t l = 0; l < QUANTIZEFIT_LANES; l++) {
            sum_w[l] += w[i + l];
            sum_x[l] += w[i + l] * x[i + l];
        }
    }
    float all_w = quantizefit_fold(sum_w);
    float all_x = quantizefit_fold(sum_x);
    *scale = (hi - lo) / top;
    float best = -INFINITY;
    if (g->absolute) {
        best = -quantizefit_absolute(x, w, n, top / (hi - lo), lo, top, *scale, lo);
    }
    for (int k = 0; k <= g->steps; k++) {
        float inverse = (top + g->first + g->step * (float)k) / (hi - lo);
        struct quantizefit_sums s = quantizefit_affine_sums(x, w, n, inverse, lo, top);
        float a;
        float b;
        float gain;
        if (!quantizefit_solve(&s, all_w, all_x, &a, &b, &gain)) {
            continue;
        }
        if (g->absolute) {
            gain = -quantizefit_absolute(x, w, n, inverse, lo, top, a, b);
        }
        if (gain > best) {
            best = gain;
            *scale = a;
            *min = b;
        }
    }
    for (int k = 0; k < g->rounds && *scale > 0; k++) {
        float inverse = 1.0f / *scale;
        struct quantizefit_sums s = quantizefit_affine_sums(x, w, n, inverse, *min, top);
        float a;
        float b;
        float gain;
        if (!quantizefit_solve(&s, all_w, all_x, &a, &b, &gain)) {
            break;
        }
        if (g->absolute) {
            gain = -quantizefit_absolute(x, w, n, inverse, *min, top, a, b);
        }
        if (!(gain > best)) {
            break;
        }
        best = gain;
        *scale = a;
        *min = b;
    }
}

static struct quantizefit_sums quantizefit_signed_sums(const float *x, const float *w, size_t n,
                                                       float inverse, float top)
{
    float qq[QUANTIZEFIT_LANES] = {0};
    float xq[QUANTIZEFIT_LANES] = {0};
    for (size_t i = 0; i < n; i += QUANTIZEFIT_LANES) {
#pragma omp simd
        for (size_t l = 0; l < QUANTIZEFIT_LANES; l++) {
            float v = quantizefit_round(x[i + l] * inverse);
            v = quantizefit_clamp(v, -top, top - 1);
            float wv = w[i + l] * v;
            qq[l] += wv * v;
            xq[l] += wv * x[i + l];
        }
    }
    return (struct quantizefit_sums){0, quantizefit_fold(qq), quantizefit_fold(xq)};
}

float quantizefit_signed(const float *x, const float *w, size_t n, int top)
{
    float extreme = quantizefit_extreme(x, n);
    if (!(fabsf(extreme) >= quantizefit_zero)) {
        return 0;
    }
    float scale = extreme / -(float)top;
    float best = 0;
    /* The plain choice first, so that it wins ties. */
    for (int k = 0; k <= 18; k++) {
        float shift = 0.1f * (float)(k == 0 ? 0 : k <= 9 ? k - 10 : k - 9);
        struct quantizefit_sums s =
            quantizefit_signed_sums(x, w, n, -((float)top + shift) / extreme, (float)top);
        if (s.qq > 0 && s.xq * s.xq > best * s.qq) {
            scale = s.xq / s.qq;
            best = scale * s.xq;
        }
    }
    return scale;
}

float quantizefit_descend(const float *x, const float *w, size_t n, int top)
{
    float extreme = quantizefit_extreme(x, n);
    if (!(fabsf(extreme) >= quantizefit_zero)) {
        return 0;
    }
    float q[QUANTIZEFIT_MAX];
    float inverse = -(float)top / extreme;
    float xq = 0;
    float qq = 0;
    for (size_t i = 0; i < n; i++) {
        float v = quantizefit_round(x[i] * inverse);
        q[i] = quantizefit_clamp(v, -(float)top, (float)top - 1);
        xq += w[i] * x[i] * q[i];
        qq += w[i] * q[i] * q[i];
    }
    bool moved = true;
    for (int sweep = 0; sweep < 5 && moved; sweep++) {
        moved = false;
        for (size_t i = 0; i < n; i++) {
            /* The best level for value i given the scale that the others would choose. */
            float other_xq = xq - w[i] * x[i] * q[i];
            float other_qq = qq - w[i] * q[i] * q[i];
            if (!(other_xq > 0 && other_qq > 0)) {
                continue;
            }
            float v = quantizefit_round(
                quantizefit_clamp(x[i] * other_qq / other_xq, -(float)top, (float)top - 1));
            float new_xq = other_xq + w[i] * x[i] * v;
            float new_qq = other_qq + w[i] * v * v;
            if (v != q[i] && new_xq * new_xq * qq > xq * xq * new_qq) {
                q[i] = v;
                xq = new_xq;
                qq = new_qq;
                moved = true;
            }
        }
    }
    return qq > 0 ? xq / qq : 0;
}

/* tensor/ref/quantizek.c: see quantizek.h. Every super-block goes the same way: fit a scale (and a
 * minimum) to each small block, store those as integers times a half for the whole super-block, then
 * choose each value's level against the scales as stored. Layouts: dequant.c. */
#include "tensor/ref/quantizek.h"

#include <math.h>
#include <string.h>

#include "tensor/dtype.h"
#include "tensor/ref/quantizefit.h"

enum { QUANTIZEK_SUPER = 256, QUANTIZEK_PARTS_MAX = 16 };

/* A super-block on its way: one scale and minimum per part, then their stored integers. */
struct quantizek_parts {
    size_t count, size; /* 16 parts of 16 values or 8 of 32 */
    float scale[QUANTIZEK_PARTS_MAX];
    float min[QUANTIZEK_PARTS_MAX]; /* ≤ 0 */
    int scale_code[QUANTIZEK_PARTS_MAX];
    int min_code[QUANTIZEK_PARTS_MAX];
    float d, dmin; /* as stored */
};

/* Puts a factor into the block as a half and returns what a reader will find there. */
static float quantizek_store(uint8_t *p, float v)
{
    quantizefit_half(p, v);
    return dtype_from_f16((uint16_t)(p[0] | p[1] << 8));
}

/* importance * sqrt(2 mean x² + x²): with known importance, the default of the formats' authors. */
static void quantizek_weights(const float *x, const float *importance, float *w)
{
    float spread = 2.0f * quantizefit_sum_squares(x, QUANTIZEK_SUPER) / QUANTIZEK_SUPER;
    for (size_t i = 0; i < QUANTIZEK_SUPER; i++) {
        w[i] = importance[i] * sqrtf(spread + x[i] * x[i]);
    }
}

/* Q4_K and Q5_K without importance: root mean square of the part plus magnitude. */
static void quantizek_weights_rms(const float *x, size_t part, float *w)
{
    for (size_t i = 0; i < QUANTIZEK_SUPER; i += part) {
        float rms = sqrtf(quantizefit_sum_squares(x + i, part) / (float)part);
        for (size_t j = i; j < i + part; j++) {
            w[j] = rms + fabsf(x[j]);
        }
    }
}

static void quantizek_weights_square(const float *x, float *w)
{
    for (size_t i = 0; i < QUANTIZEK_SUPER; i++) {
        w[i] = x[i] * x[i];
    }
}

/* Scales and minima to integers 0 … top times d and dmin, which go to the two halves at `halves`. */
static void quantizek_code_affine(struct quantizek_parts *p, int top, uint8_t *halves)
{
    float max_scale = 0;
    float max_min = 0;
    for (size_t i = 0; i < p->count; i++) {
        max_scale = p->scale[i] > max_scale ? p->scale[i] : max_scale;
        max_min = -p->min[i] > max_min ? -p->min[i] : max_min;
    }
    float by_scale = max_scale > 0 ? (float)top / max_scale : 0;
    float by_min = max_min > 0 ? (float)top / max_min : 0;
    for (size_t i = 0; i < p->count; i++) {
        float s = quantizefit_round(by_scale * p->scale[i]);
        float m = quantizefit_round(by_min * -p->min[i]);
        p->scale_code[i] = (int)quantizefit_clamp(s, 0, (float)top);
        p->min_code[i] = (int)quantizefit_clamp(m, 0, (float)top);
    }
    p->d = quantizek_store(halves, max_scale / (float)top);
    p->dmin = quantizek_store(halves + 2, max_min / (float)top);
}

/* What the codes may be: scale codes low … high, min codes 0 … min_high, levels q_low … q_high. */
struct quantizek_limits {
    int low, high, min_high, q_low, q_high;
};

/* Rounding each code by itself is not best: part `i` takes the neighbouring pair of codes with the
 * smallest error. Of equals the rounded pair wins. */
static void quantizek_polish_part(struct quantizek_parts *p, size_t i, const float *x,
                                  const float *w, const struct quantizek_limits *l)
{
    int scale_code = p->scale_code[i];
    int min_code = p->min_code[i];
    float best = INFINITY;
    for (int k = 0; k < 9; k++) {
        int s = scale_code + (k / 3 + 1) % 3 - 1; /* 0, +1, -1 */
        int m = min_code + (k % 3 + 1) % 3 - 1;
        float scale = p->d * (float)s;
        if (scale == 0 || s < l->low || s > l->high || m < 0 || m > l->min_high) {
            continue;
        }
        float e = quantizefit_error(x + i * p->size, w + i * p->size, p->size, scale,
                                    -p->dmin * (float)m, l->q_low, l->q_high);
        if (e < best) {
            best = e;
            p->scale_code[i] = s;
            p->min_code[i] = m;
        }
    }
}

static void quantizek_polish(struct quantizek_parts *p, const float *x, const float *w,
                             const struct quantizek_limits *l)
{
    for (size_t i = 0; i < p->count; i++) {
        quantizek_polish_part(p, i, x, w, l);
    }
}

/* Levels 0 … top of all values against the stored scales. */
static void quantizek_levels_affine(const struct quantizek_parts *p, const float *x, int top,
                                    uint8_t *q)
{
    for (size_t i = 0; i < p->count; i++) {
        float scale = p->d * (float)p->scale_code[i];
        float min = p->dmin * (float)p->min_code[i];
        uint8_t *out = q + i * p->size;
        const float *in = x + i * p->size;
        if (!(scale > 0)) {
            memset(out, 0, p->size);
            continue;
        }
        for (size_t j = 0; j < p->size; j++) {
            float v = quantizefit_clamp((in[j] + min) / scale, 0, (float)top);
            out[j] = (uint8_t)(int)quantizefit_round(v);
        }
    }
}

/* Signed scales to integers -top … top - 1, the largest to -top. */
static void quantizek_code_signed(struct quantizek_parts *p, int top, uint8_t *half)
{
    float extreme = quantizefit_extreme(p->scale, p->count);
    float inverse = extreme != 0 ? -(float)top / extreme : 0;
    for (size_t i = 0; i < p->count; i++) {
        float s = quantizefit_round(inverse * p->scale[i]);
        p->scale_code[i] = (int)quantizefit_clamp(s, -(float)top, (float)top - 1);
    }
    p->d = quantizek_store(half, extreme / -(float)top);
}

/* Levels -top … top - 1, stored as 0 … 2 top - 1. */
static void quantizek_levels_signed(const struct quantizek_parts *p, const float *x, int top,
                                    uint8_t *q)
{
    for (size_t i = 0; i < p->count; i++) {
        float scale = p->d * (float)p->scale_code[i];
        uint8_t *out = q + i * p->size;
        const float *in = x + i * p->size;
        if (scale == 0) {
            memset(out, top, p->size);
            continue;
        }
        for (size_t j = 0; j < p->size; j++) {
            float v = quantizefit_clamp(in[j] / scale, -(float)top, (float)(top - 1));
            out[j] = (uint8_t)((int)quantizefit_round(v) + top);
        }
    }
}

void quantizek_q2(const float *x, uint8_t *b, const float *importance)
{
    static const struct quantizefit_grid plain = {3, -0.5f, 0.1f, 15, 3, true};
    static const struct quantizefit_grid weighted = {3, -0.9f, 0.1f, 18, 3, false};
    struct quantizek_parts p = {.count = 16, .size = 16};
    float w[QUANTIZEK_SUPER];
    uint8_t q[QUANTIZEK_SUPER];
    if (importance) {
        quantizek_weights(x, importance, w);
    } else {
        for (size_t i = 0; i < QUANTIZEK_SUPER; i++) {
            w[i] = fabsf(x[i]);
        }
    }
    for (size_t i = 0; i < p.count; i++) {
        quantizefit_affine(x + 16 * i, w + 16 * i, 16, importance ? &weighted : &plain,
                           &p.scale[i], &p.min[i]);
    }
    quantizek_code_affine(&p, 15, b + 80);
    quantizek_polish(&p, x, w, &(struct quantizek_limits){1, 15, 15, 0, 3});
    quantizek_levels_affine(&p, x, 3, q);
    for (size_t i = 0; i < 16; i++) {
        b[i] = (uint8_t)(p.scale_code[i] | p.min_code[i] << 4);
    }
    for (size_t i = 0; i < 64; i++) {
        const uint8_t *v = q + 128 * (i / 32) + i % 32;
        b[16 + i] = (uint8_t)(v[0] | v[32] << 2 | v[64] << 4 | v[96] << 6);
    }
}

void quantizek_q3(const float *x, uint8_t *b, const float *importance)
{
    struct quantizek_parts p = {.count = 16, .size = 16};
    float w[QUANTIZEK_SUPER];
    uint8_t q[QUANTIZEK_SUPER];
    if (importance) {
        quantizek_weights(x, importance, w);
    } else {
        quantizek_weights_square(x, w);
    }
    for (size_t i = 0; i < p.count; i++) {
        p.scale[i] = importance ? quantizefit_signed(x + 16 * i, w + 16 * i, 16, 4)
                                : quantizefit_descend(x + 16 * i, w + 16 * i, 16, 4);
    }
    quantizek_code_signed(&p, 32, b + 108);
    quantizek_polish(&p, x, w, &(struct quantizek_limits){-32, 31, 0, -4, 3});
    quantizek_levels_signed(&p, x, 4, q);
    memset(b, 0, 108);
    for (size_t i = 0; i < 16; i++) {
        unsigned code = (unsigned)(p.scale_code[i] + 32);
        b[96 + i % 8] |= (uint8_t)((code & 15) << (i < 8 ? 0 : 4));
        b[104 + i % 4] |= (uint8_t)(code >> 4 << (2 * (i / 4)));
    }
    for (size_t e = 0; e < QUANTIZEK_SUPER; e++) {
        size_t half = e / 128;
        size_t j = e % 128 / 32;
        size_t l = e % 32;
        b[32 + 32 * half + l] |= (uint8_t)((q[e] & 3) << (2 * j));
        b[l] |= (uint8_t)(q[e] >> 2 << (4 * half + j));
    }
}

/* 8 six-bit scales and minima into 12 bytes. */
static void quantizek_pack_scales(const struct quantizek_parts *p, uint8_t *s)
{
    for (size_t k = 0; k < 4; k++) {
        int scale = p->scale_code[k + 4];
        int min = p->min_code[k + 4];
        s[k] = (uint8_t)(p->scale_code[k] | scale >> 4 << 6);
        s[k + 4] = (uint8_t)(p->min_code[k] | min >> 4 << 6);
        s[k + 8] = (uint8_t)((scale & 15) | (min & 15) << 4);
    }
}

/* The common part of Q4_K and Q5_K: d, dmin and scales to b[16], levels to q. */
static void quantizek_affine_32(const float *x, uint8_t *b, const float *importance,
                                const struct quantizefit_grid *plain, uint8_t *q)
{
    const struct quantizefit_grid weighted = {plain->top, -0.9f, 0.15f, 12, 3, false};
    const struct quantizek_limits limits = {1, 63, 63, 0, plain->top};
    struct quantizek_parts p = {.count = 8, .size = 32};
    float w[QUANTIZEK_SUPER];
    if (importance) {
        quantizek_weights(x, importance, w);
    } else {
        quantizek_weights_rms(x, 32, w);
    }
    for (size_t i = 0; i < p.count; i++) {
        quantizefit_affine(x + 32 * i, w + 32 * i, 32, importance ? &weighted : plain, &p.scale[i],
                           &p.min[i]);
    }
    quantizek_code_affine(&p, 63, b);
    quantizek_polish(&p, x, w, &limits);
    quantizek_pack_scales(&p, b + 4);
    quantizek_levels_affine(&p, x, plain->top, q);
}

/* 64 levels to 32 bytes: the first 32 in the low nibbles. */
static void quantizek_pack_nibbles(const uint8_t *q, uint8_t *out)
{
    for (size_t c = 0; c < 4; c++) {
        for (size_t l = 0; l < 32; l++) {
            out[32 * c + l] = (uint8_t)((q[64 * c + l] & 15) | q[64 * c + 32 + l] << 4);
        }
    }
}

void quantizek_q4(const float *x, uint8_t *b, const float *importance)
{
    static const struct quantizefit_grid grid = {15, -1.0f, 0.2f, 10, 2, false};
    uint8_t q[QUANTIZEK_SUPER];
    quantizek_affine_32(x, b, importance, &grid, q);
    quantizek_pack_nibbles(q, b + 16);
}

void quantizek_q5(const float *x, uint8_t *b, const float *importance)
{
    static const struct quantizefit_grid grid = {31, -0.5f, 0.2f, 7, 2, false};
    uint8_t q[QUANTIZEK_SUPER];
    quantizek_affine_32(x, b, importance, &grid, q);
    memset(b + 16, 0, 32);
    for (size_t k = 0; k < 8; k++) {
        for (size_t l = 0; l < 32; l++) {
            b[16 + l] |= (uint8_t)(q[32 * k + l] >> 4 << k);
        }
    }
    quantizek_pack_nibbles(q, b + 48);
}

void quantizek_q6(const float *x, uint8_t *b, const float *importance)
{
    struct quantizek_parts p = {.count = 16, .size = 16};
    float w[QUANTIZEK_SUPER];
    uint8_t q[QUANTIZEK_SUPER];
    if (importance) {
        quantizek_weights(x, importance, w);
    } else {
        quantizek_weights_square(x, w);
    }
    for (size_t i = 0; i < p.count; i++) {
        p.scale[i] = quantizefit_signed(x + 16 * i, w + 16 * i, 16, 32);
    }
    quantizek_code_signed(&p, 128, b + 208);
    quantizek_polish(&p, x, w, &(struct quantizek_limits){-128, 127, 0, -32, 31});
    quantizek_levels_signed(&p, x, 32, q);
    for (size_t half = 0; half < 2; half++) {
        for (size_t l = 0; l < 32; l++) {
            const uint8_t *v = q + 128 * half + l;
            b[64 * half + l] = (uint8_t)((v[0] & 15) | v[64] << 4);
            b[64 * half + 32 + l] = (uint8_t)((v[32] & 15) | v[96] << 4);
            b[128 + 32 * half + l] =
                (uint8_t)(v[0] >> 4 | v[32] >> 4 << 2 | v[64] >> 4 << 4 | v[96] >> 4 << 6);
        }
    }
    for (size_t i = 0; i < 16; i++) {
        b[192 + i] = (uint8_t)(int8_t)p.scale_code[i];
    }
}

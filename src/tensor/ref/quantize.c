/* tensor/ref/quantize.c: see quantize.h. Here the plain types and the blocks of 32; the super-blocks
 * of 256 are in quantizek.c. */
#include "tensor/ref/quantize.h"

#include <math.h>
#include <string.h>

#include "tensor/ref/quantizefit.h"
#include "tensor/ref/quantizek.h"

enum { QUANTIZE_BLOCK = 32 };

static void quantize_f32(const float *x, uint8_t *b, const float *importance)
{
    (void)importance;
    memcpy(b, x, sizeof *x);
}

static void quantize_f16(const float *x, uint8_t *b, const float *importance)
{
    (void)importance;
    uint16_t h = dtype_to_f16(*x);
    memcpy(b, &h, sizeof h);
}

static void quantize_bf16(const float *x, uint8_t *b, const float *importance)
{
    (void)importance;
    uint16_t h = dtype_to_bf16(*x);
    memcpy(b, &h, sizeof h);
}

static void quantize_f8_e4m3(const float *x, uint8_t *b, const float *importance)
{
    (void)importance;
    *b = dtype_to_e4m3(*x);
}

/* Nearest integer, halves away from zero, of a value that fits int. */
static int quantize_round_away(float v)
{
    int t = (int)v;
    float rest = v - (float)t;
    return t + (rest >= 0.5f) - (rest <= -0.5f);
}

static void quantize_q8_0(const float *x, uint8_t *b, const float *importance)
{
    (void)importance;
    float d = fabsf(quantizefit_extreme(x, QUANTIZE_BLOCK)) / 127.0f;
    float inverse = d > 0 ? 1.0f / d : 0.0f;
    quantizefit_half(b, d);
    for (size_t j = 0; j < QUANTIZE_BLOCK; j++) {
        float v = quantizefit_clamp(x[j] * inverse, -127.0f, 127.0f);
        b[2 + j] = (uint8_t)(int8_t)quantize_round_away(v);
    }
}

/* Packs levels 0 … 31 as nibbles[16], and their fifth bits into 4 bytes when `high` is not NULL. */
static void quantize_pack(const uint8_t *q, uint8_t *nibbles, uint8_t *high)
{
    for (size_t j = 0; j < 16; j++) {
        nibbles[j] = (uint8_t)((q[j] & 15) | q[j + 16] << 4);
    }
    if (high) {
        memset(high, 0, 4);
        for (size_t j = 0; j < QUANTIZE_BLOCK; j++) {
            high[j / 8] |= (uint8_t)(q[j] >> 4 << (j % 8));
        }
    }
}

/* Weights for a block when the importance of its inputs is known: large values still count more. */
static void quantize_weights(const float *x, const float *importance, float *w)
{
    float mean = quantizefit_sum_squares(x, QUANTIZE_BLOCK) / QUANTIZE_BLOCK;
    for (size_t j = 0; j < QUANTIZE_BLOCK; j++) {
        w[j] = importance[j] * sqrtf(mean + x[j] * x[j]);
    }
}

/* Q4_0 and Q5_0: d * (q - top), q = 0 … 2 top - 1. */
static void quantize_symmetric(const float *x, const float *importance, int top, uint8_t *b,
                               uint8_t *q)
{
    float d = quantizefit_extreme(x, QUANTIZE_BLOCK) / -(float)top;
    if (importance) {
        float w[QUANTIZE_BLOCK];
        quantize_weights(x, importance, w);
        d = quantizefit_signed(x, w, QUANTIZE_BLOCK, top);
    }
    float inverse = d != 0 ? 1.0f / d : 0.0f;
    quantizefit_half(b, d);
    float highest = (float)(2 * top - 1);
    for (size_t j = 0; j < QUANTIZE_BLOCK; j++) {
        float v = x[j] * inverse + ((float)top + 0.5f);
        q[j] = (uint8_t)quantizefit_clamp(v, 0.0f, highest);
    }
}

/* Q4_1 and Q5_1: d * q + m, q = 0 … top. */
static void quantize_offset(const float *x, const float *importance, int top, uint8_t *b,
                            uint8_t *q)
{
    float m;
    float hi;
    quantizefit_range(x, QUANTIZE_BLOCK, &m, &hi);
    float d = (hi - m) / (float)top;
    if (importance) {
        float w[QUANTIZE_BLOCK];
        quantize_weights(x, importance, w);
        const struct quantizefit_grid grid = {top, -0.9f, 0.15f, 12, 3, false};
        quantizefit_affine(x, w, QUANTIZE_BLOCK, &grid, &d, &m);
    }
    float inverse = d > 0 ? 1.0f / d : 0.0f;
    quantizefit_half(b, d);
    quantizefit_half(b + 2, m);
    for (size_t j = 0; j < QUANTIZE_BLOCK; j++) {
        q[j] = (uint8_t)quantizefit_clamp((x[j] - m) * inverse + 0.5f, 0.0f, (float)top);
    }
}

static void quantize_q4_0(const float *x, uint8_t *b, const float *importance)
{
    uint8_t q[QUANTIZE_BLOCK];
    quantize_symmetric(x, importance, 8, b, q);
    quantize_pack(q, b + 2, NULL);
}

static void quantize_q5_0(const float *x, uint8_t *b, const float *importance)
{
    uint8_t q[QUANTIZE_BLOCK];
    quantize_symmetric(x, importance, 16, b, q);
    quantize_pack(q, b + 6, b + 2);
}

static void quantize_q4_1(const float *x, uint8_t *b, const float *importance)
{
    uint8_t q[QUANTIZE_BLOCK];
    quantize_offset(x, importance, 15, b, q);
    quantize_pack(q, b + 4, NULL);
}

static void quantize_q5_1(const float *x, uint8_t *b, const float *importance)
{
    uint8_t q[QUANTIZE_BLOCK];
    quantize_offset(x, importance, 31, b, q);
    quantize_pack(q, b + 8, b + 4);
}

/* The e2m1 level nearest to v (a magnitude in units of half the format's one); of two equally near
 * the smaller. */
static uint8_t quantize_e2m1(float v)
{
    static const float middle[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f};
    uint8_t q = 0;
    for (size_t i = 0; i < 7; i++) {
        q = (uint8_t)(q + (v > middle[i]));
    }
    return q;
}

/* The exponent puts the largest magnitude into [4, 8) of e2m1's range up to 6. */
static void quantize_mxfp4(const float *x, uint8_t *b, const float *importance)
{
    (void)importance;
    float largest = fabsf(quantizefit_extreme(x, QUANTIZE_BLOCK));
    int e = largest > 0 && largest < INFINITY ? ilogbf(largest) - 2 + 127 : 0;
    e = e < 0 ? 0 : e > 254 ? 254 : e;
    double inverse = ldexp(1.0, 128 - e);
    uint8_t q[QUANTIZE_BLOCK];
    for (size_t j = 0; j < QUANTIZE_BLOCK; j++) {
        uint8_t level = quantize_e2m1((float)(fabs((double)x[j]) * inverse));
        q[j] = (uint8_t)(level | (x[j] < 0 && level ? 8 : 0));
    }
    b[0] = (uint8_t)e;
    quantize_pack(q, b + 1, NULL);
}

typedef void (*quantize_block)(const float *x, uint8_t *b, const float *importance);

static const quantize_block quantize_table[DTYPE_COUNT] = {
    [DTYPE_F32] = quantize_f32,   [DTYPE_F16] = quantize_f16,
    [DTYPE_BF16] = quantize_bf16, [DTYPE_F8_E4M3] = quantize_f8_e4m3,
    [DTYPE_Q8_0] = quantize_q8_0, [DTYPE_Q4_0] = quantize_q4_0,
    [DTYPE_Q4_1] = quantize_q4_1, [DTYPE_Q5_0] = quantize_q5_0,
    [DTYPE_Q5_1] = quantize_q5_1, [DTYPE_MXFP4] = quantize_mxfp4,
    [DTYPE_Q2_K] = quantizek_q2,  [DTYPE_Q3_K] = quantizek_q3,
    [DTYPE_Q4_K] = quantizek_q4,  [DTYPE_Q5_K] = quantizek_q5,
    [DTYPE_Q6_K] = quantizek_q6,
};

bool quantize_has(enum dtype t)
{
    return quantize_table[t] != NULL;
}

err quantize_run(enum dtype t, const float *src, void *dst, size_t n, const float *importance)
{
    const struct dtype_info *d = dtype_info(t);
    quantize_block block = quantize_table[t];
    if (!block) {
        return ERR_UNSUPPORTED;
    }
    if (n % d->block_elems != 0) {
        return ERR_ARGUMENT;
    }
    uint8_t *b = dst;
    for (size_t i = 0; i < n; i += d->block_elems, b += d->block_bytes) {
        block(src + i, b, importance ? importance + i : NULL);
    }
    return ERR_OK;
}

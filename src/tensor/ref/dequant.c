/* tensor/ref/dequant.c: see dequant.h. Each block type is one function over whole blocks. Layouts are
 * ggml's; in the comments `h` is an IEEE half, little-endian, and numbers in brackets are byte
 * counts. */
#include "tensor/ref/dequant.h"

#include <string.h>

enum { DEQUANT_SMALL = 32, DEQUANT_SUPER = 256 };

static float dequant_half(const uint8_t *p)
{
    return dtype_from_f16((uint16_t)(p[0] | p[1] << 8));
}

static void dequant_f32(const uint8_t *src, float *dst, size_t n)
{
    memcpy(dst, src, n * sizeof *dst);
}

static void dequant_f16(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = dequant_half(src + 2 * i);
    }
}

static void dequant_bf16(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = dtype_from_bf16((uint16_t)(src[2 * i] | src[2 * i + 1] << 8));
    }
}

static void dequant_f8_e4m3(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = dtype_from_e4m3(src[i]);
    }
}

/* h d, i8 q[32] */
static void dequant_q8_0(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SMALL, b += 34, dst += DEQUANT_SMALL) {
        float d = dequant_half(b);
        for (size_t j = 0; j < DEQUANT_SMALL; j++) {
            dst[j] = d * (float)(int8_t)b[2 + j];
        }
    }
}

/* Value j of 32 packed nibbles: the low halves of 16 bytes come first, then the high halves. */
static int dequant_nibble(const uint8_t *q, size_t j)
{
    return j < 16 ? q[j] & 15 : q[j - 16] >> 4;
}

/* h d, nibbles[16]: d * (q - 8) */
static void dequant_q4_0(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SMALL, b += 18, dst += DEQUANT_SMALL) {
        float d = dequant_half(b);
        for (size_t j = 0; j < DEQUANT_SMALL; j++) {
            dst[j] = d * (float)(dequant_nibble(b + 2, j) - 8);
        }
    }
}

/* h d, h m, nibbles[16]: d * q + m */
static void dequant_q4_1(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SMALL, b += 20, dst += DEQUANT_SMALL) {
        float d = dequant_half(b);
        float m = dequant_half(b + 2);
        for (size_t j = 0; j < DEQUANT_SMALL; j++) {
            dst[j] = d * (float)dequant_nibble(b + 4, j) + m;
        }
    }
}

/* The fifth bits: bit j of the 4 bytes belongs to value j. */
static int dequant_fifth(const uint8_t *qh, size_t j)
{
    return (qh[j / 8] >> (j % 8) & 1) << 4;
}

/* h d, fifth bits[4], nibbles[16]: d * (q - 16) */
static void dequant_q5_0(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SMALL, b += 22, dst += DEQUANT_SMALL) {
        float d = dequant_half(b);
        for (size_t j = 0; j < DEQUANT_SMALL; j++) {
            dst[j] = d * (float)((dequant_nibble(b + 6, j) | dequant_fifth(b + 2, j)) - 16);
        }
    }
}

/* h d, h m, fifth bits[4], nibbles[16]: d * q + m */
static void dequant_q5_1(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SMALL, b += 24, dst += DEQUANT_SMALL) {
        float d = dequant_half(b);
        float m = dequant_half(b + 2);
        for (size_t j = 0; j < DEQUANT_SMALL; j++) {
            dst[j] = d * (float)(dequant_nibble(b + 8, j) | dequant_fifth(b + 4, j)) + m;
        }
    }
}

/* scales[16] (low nibble scale, high nibble min, one per 16 values), 2-bit q[64], h d, h dmin.
 * Each half of 128 values sits in 32 bytes: value 32 j + l in bits 2j of byte l. */
static void dequant_q2_k(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SUPER, b += 84, dst += DEQUANT_SUPER) {
        float d = dequant_half(b + 80);
        float dmin = dequant_half(b + 82);
        for (size_t e = 0; e < DEQUANT_SUPER; e++) {
            size_t half = e / 128;
            size_t j = e % 128 / 32;
            size_t l = e % 32;
            int q = b[16 + 32 * half + l] >> (2 * j) & 3;
            uint8_t s = b[e / 16];
            dst[e] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
        }
    }
}

/* Signed 6-bit scale i of 16: low nibbles in bytes 0-7 (both halves), top two bits in bytes 8-11. */
static int dequant_q3_k_scale(const uint8_t *s, size_t i)
{
    int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
    int high = s[8 + i % 4] >> (2 * (i / 4)) & 3;
    return (low | high << 4) - 32;
}

/* high bits[32], 2-bit q[64], scales[12], h d: d * scale * (q - (high bit ? 0 : 4)) */
static void dequant_q3_k(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SUPER, b += 110, dst += DEQUANT_SUPER) {
        float d = dequant_half(b + 108);
        for (size_t e = 0; e < DEQUANT_SUPER; e++) {
            size_t half = e / 128;
            size_t j = e % 128 / 32;
            size_t l = e % 32;
            int q = b[32 + 32 * half + l] >> (2 * j) & 3;
            int high = b[l] >> (4 * half + j) & 1;
            float scale = d * (float)dequant_q3_k_scale(b + 96, e / 16);
            dst[e] = scale * (float)(q - (high ? 0 : 4));
        }
    }
}

/* 6-bit scale and min k of 8 from 12 bytes, as Q4_K and Q5_K pack them. */
static void dequant_scale_min(const uint8_t *s, size_t k, int *scale, int *min)
{
    if (k < 4) {
        *scale = s[k] & 63;
        *min = s[k + 4] & 63;
    } else {
        *scale = (s[k + 4] & 15) | s[k - 4] >> 6 << 4;
        *min = s[k + 4] >> 4 | s[k] >> 6 << 4;
    }
}

/* h d, h dmin, scales[12], nibbles[128]: 32 bytes hold 64 values, low nibbles first. */
static void dequant_q4_k(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SUPER, b += 144, dst += DEQUANT_SUPER) {
        float d = dequant_half(b);
        float dmin = dequant_half(b + 2);
        for (size_t k = 0; k < 8; k++) {
            int scale, min;
            dequant_scale_min(b + 4, k, &scale, &min);
            const uint8_t *q = b + 16 + 32 * (k / 2);
            for (size_t l = 0; l < 32; l++) {
                int v = k % 2 ? q[l] >> 4 : q[l] & 15;
                dst[32 * k + l] = d * (float)scale * (float)v - dmin * (float)min;
            }
        }
    }
}

/* As Q4_K with fifth bits[32] before the nibbles: bit k of byte l for value 32 k + l. */
static void dequant_q5_k(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SUPER, b += 176, dst += DEQUANT_SUPER) {
        float d = dequant_half(b);
        float dmin = dequant_half(b + 2);
        for (size_t k = 0; k < 8; k++) {
            int scale, min;
            dequant_scale_min(b + 4, k, &scale, &min);
            const uint8_t *q = b + 48 + 32 * (k / 2);
            for (size_t l = 0; l < 32; l++) {
                int v = (k % 2 ? q[l] >> 4 : q[l] & 15) | (b[16 + l] >> k & 1) << 4;
                dst[32 * k + l] = d * (float)scale * (float)v - dmin * (float)min;
            }
        }
    }
}

/* low nibbles[128], top two bits[64], i8 scales[16], h d: d * scale * (q - 32). Each half of 128
 * values: the low nibbles of 64 bytes, then their high nibbles; top bits 2k of byte l. */
static void dequant_q6_k(const uint8_t *b, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i += DEQUANT_SUPER, b += 210, dst += DEQUANT_SUPER) {
        float d = dequant_half(b + 208);
        for (size_t e = 0; e < DEQUANT_SUPER; e++) {
            size_t half = e / 128;
            size_t k = e % 128 / 32;
            size_t l = e % 32;
            uint8_t byte = b[64 * half + 32 * (k % 2) + l];
            int low = k < 2 ? byte & 15 : byte >> 4;
            int high = b[128 + 32 * half + l] >> (2 * k) & 3;
            int scale = (int8_t)b[192 + e / 16];
            dst[e] = d * (float)scale * (float)((low | high << 4) - 32);
        }
    }
}

/* 2^(e - 128), down to the subnormals that e = 0 and 1 need. */
static float dequant_e8m0_half(uint8_t e)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23};
    return v.f;
}

/* e8m0 exponent, e2m1 nibbles[16]; the table holds twice the e2m1 value, hence 2^(e - 128). */
static void dequant_mxfp4(const uint8_t *b, float *dst, size_t n)
{
    static const int8_t twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    for (size_t i = 0; i < n; i += DEQUANT_SMALL, b += 17, dst += DEQUANT_SMALL) {
        float d = dequant_e8m0_half(b[0]);
        for (size_t j = 0; j < DEQUANT_SMALL; j++) {
            dst[j] = d * (float)twice[dequant_nibble(b + 1, j)];
        }
    }
}

void dequant_run(enum dtype t, const void *src, float *dst, size_t n)
{
    static void (*const by_type[DTYPE_COMPUTABLE])(const uint8_t *, float *, size_t) = {
        [DTYPE_F32] = dequant_f32,   [DTYPE_F16] = dequant_f16,
        [DTYPE_BF16] = dequant_bf16, [DTYPE_F8_E4M3] = dequant_f8_e4m3,
        [DTYPE_Q8_0] = dequant_q8_0, [DTYPE_Q4_0] = dequant_q4_0,
        [DTYPE_Q4_1] = dequant_q4_1, [DTYPE_Q5_0] = dequant_q5_0,
        [DTYPE_Q5_1] = dequant_q5_1, [DTYPE_Q2_K] = dequant_q2_k,
        [DTYPE_Q3_K] = dequant_q3_k, [DTYPE_Q4_K] = dequant_q4_k,
        [DTYPE_Q5_K] = dequant_q5_k, [DTYPE_Q6_K] = dequant_q6_k,
        [DTYPE_MXFP4] = dequant_mxfp4,
    };
    by_type[t](src, dst, n);
}

static size_t dequant_tiles(size_t n)
{
    return (n + TENSOR_FP8_BLOCK - 1) / TENSOR_FP8_BLOCK;
}

void dequant_row(const struct tensor *w, size_t row, float *dst)
{
    size_t cols = tensor_cols(w);
    dequant_run(w->dtype, (const uint8_t *)w->data + row * tensor_row_bytes(w), dst, cols);
    if (w->dtype != DTYPE_F8_E4M3 || !w->scale) {
        return;
    }
    /* Scale tiles restart with every slice of a rank-3 tensor. */
    size_t out = w->rank < 2 ? 1 : w->shape[w->rank - 2];
    size_t tile_row = row / out * dequant_tiles(out) + row % out / TENSOR_FP8_BLOCK;
    const float *scale = w->scale + tile_row * dequant_tiles(cols);
    for (size_t i = 0; i < cols; i++) {
        dst[i] *= scale[i / TENSOR_FP8_BLOCK];
    }
}

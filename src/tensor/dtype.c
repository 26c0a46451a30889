/* tensor/dtype.c: see dtype.h. */
#include "tensor/dtype.h"

#include <strings.h>

#include "base/checked.h"

static const struct dtype_info dtype_table[DTYPE_COUNT] = {
    [DTYPE_F32] = {"f32", 1, 4, 0},
    [DTYPE_F16] = {"f16", 1, 2, 1},
    [DTYPE_BF16] = {"bf16", 1, 2, 30},
    [DTYPE_F8_E4M3] = {"f8_e4m3", 1, 1, -1},
    [DTYPE_Q8_0] = {"q8_0", 32, 34, 8},
    [DTYPE_Q4_0] = {"q4_0", 32, 18, 2},
    [DTYPE_Q4_1] = {"q4_1", 32, 20, 3},
    [DTYPE_Q5_0] = {"q5_0", 32, 22, 6},
    [DTYPE_Q5_1] = {"q5_1", 32, 24, 7},
    [DTYPE_Q2_K] = {"q2_k", 256, 84, 10},
    [DTYPE_Q3_K] = {"q3_k", 256, 110, 11},
    [DTYPE_Q4_K] = {"q4_k", 256, 144, 12},
    [DTYPE_Q5_K] = {"q5_k", 256, 176, 13},
    [DTYPE_Q6_K] = {"q6_k", 256, 210, 14},
    [DTYPE_MXFP4] = {"mxfp4", 32, 17, 39},
    [DTYPE_IQ2_XXS] = {"iq2_xxs", 256, 66, 16},
    [DTYPE_IQ2_XS] = {"iq2_xs", 256, 74, 17},
    [DTYPE_IQ3_XXS] = {"iq3_xxs", 256, 98, 18},
    [DTYPE_IQ1_S] = {"iq1_s", 256, 50, 19},
    [DTYPE_IQ4_NL] = {"iq4_nl", 32, 18, 20},
    [DTYPE_IQ3_S] = {"iq3_s", 256, 110, 21},
    [DTYPE_IQ2_S] = {"iq2_s", 256, 82, 22},
    [DTYPE_IQ4_XS] = {"iq4_xs", 256, 136, 23},
    [DTYPE_IQ1_M] = {"iq1_m", 256, 56, 29},
    [DTYPE_TQ1_0] = {"tq1_0", 256, 54, 34},
    [DTYPE_TQ2_0] = {"tq2_0", 256, 66, 35},
    [DTYPE_NVFP4] = {"nvfp4", 64, 36, 40},
    [DTYPE_F8_E8M0] = {"f8_e8m0", 1, 1, -1},
    [DTYPE_F64] = {"f64", 1, 8, 28},
    [DTYPE_I64] = {"i64", 1, 8, 27},
    [DTYPE_I32] = {"i32", 1, 4, 26},
    [DTYPE_I16] = {"i16", 1, 2, 25},
    [DTYPE_I8] = {"i8", 1, 1, 24},
    [DTYPE_U8] = {"u8", 1, 1, -1},
    [DTYPE_BOOL] = {"bool", 1, 1, -1},
};

const struct dtype_info *dtype_info(enum dtype t)
{
    return &dtype_table[t];
}

bool dtype_from_name(const char *name, enum dtype *out)
{
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (strcasecmp(name, dtype_table[t].name) == 0) {
            *out = (enum dtype)t;
            return true;
        }
    }
    return false;
}

bool dtype_from_ggml(uint32_t ggml_id, enum dtype *out)
{
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (dtype_table[t].ggml_id >= 0 && (uint32_t)dtype_table[t].ggml_id == ggml_id) {
            *out = (enum dtype)t;
            return true;
        }
    }
    return false;
}

err dtype_bytes(enum dtype t, size_t n, size_t *out)
{
    const struct dtype_info *d = &dtype_table[t];
    if (n % d->block_elems != 0) {
        return ERR_CORRUPT;
    }
    return checked_mul(n / d->block_elems, d->block_bytes, out) ? ERR_OK : ERR_LIMIT;
}

static inline uint32_t dtype_bits(float f)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    return v.u;
}

static inline float dtype_float(uint32_t u)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = u};
    return v.f;
}

float dtype_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = (h >> 10) & 31;
    uint32_t mantissa = h & 0x3ff;
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24, exact in float */
        return dtype_float(sign | dtype_bits((float)mantissa * 0x1p-24f));
    }
    if (exponent == 31) {
        return dtype_float(sign | 0x7f800000 | mantissa << 13);
    }
    return dtype_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t dtype_to_f16(float f)
{
    uint32_t u = dtype_bits(f);
    uint32_t sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
    }
    if (u >= 0x477ff000) { /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    }
    if (u < 0x38800000) { /* below 2^-14: 0.5 has steps of 2^-24, so the sum rounds for us */
        return (uint16_t)(sign | (dtype_bits(dtype_float(u) + 0.5f) - dtype_bits(0.5f)));
    }
    u += 0xfff + (u >> 13 & 1);
    return (uint16_t)(sign | (u - (112u << 23)) >> 13);
}

float dtype_from_e4m3(uint8_t v)
{
    uint32_t sign = (uint32_t)(v & 0x80) << 24;
    uint32_t exponent = (v >> 3) & 15;
    uint32_t mantissa = v & 7;
    if ((v & 0x7f) == 0x7f) { /* the format's only NaN; it has no infinity */
        return dtype_float(sign | 0x7fc00000);
    }
    if (exponent == 0) {
        return dtype_float(sign | dtype_bits((float)mantissa * 0x1p-9f));
    }
    return dtype_float(sign | (exponent + 120) << 23 | mantissa << 20);
}

uint8_t dtype_to_e4m3(float f)
{
    uint32_t u = dtype_bits(f);
    uint32_t sign = u >> 24 & 0x80;
    u &= 0x7fffffff;
    if (u > 0x7f800000) {
        return (uint8_t)(sign | 0x7f);
    }
    if (u > dtype_bits(448.0f)) {
        return (uint8_t)(sign | 0x7e);
    }
    if (u < dtype_bits(0x1p-6f)) { /* subnormal: 2^14 has steps of 2^-9 */
        return (uint8_t)(sign | (dtype_bits(dtype_float(u) + 0x1p14f) - dtype_bits(0x1p14f)));
    }
    u += 0x7ffff + (u >> 20 & 1);
    return (uint8_t)(sign | (u - (120u << 23)) >> 20);
}

uint16_t dtype_to_bf16(float f)
{
    uint32_t u = dtype_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(u >> 16 | 0x40); /* a quiet NaN even if only low bits were set */
    }
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

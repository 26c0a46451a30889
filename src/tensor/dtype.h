/* tensor/dtype.h: the element types of weights, with their names and sizes.
 * Block layouts: ggml's (GGUF files) and OCP FP8/MX; see ref/dequant.h for the formulas. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F8_E4M3, /* e4m3fn; a weight has one f32 scale per 128x128 block beside it */
    DTYPE_Q8_0,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q2_K,
    DTYPE_Q3_K,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    DTYPE_MXFP4,
    DTYPE_COMPUTABLE, /* types below this line can be inspected and copied, not computed with */
    DTYPE_IQ2_XXS = DTYPE_COMPUTABLE,
    DTYPE_IQ2_XS,
    DTYPE_IQ3_XXS,
    DTYPE_IQ1_S,
    DTYPE_IQ4_NL,
    DTYPE_IQ3_S,
    DTYPE_IQ2_S,
    DTYPE_IQ4_XS,
    DTYPE_IQ1_M,
    DTYPE_TQ1_0,
    DTYPE_TQ2_0,
    DTYPE_NVFP4,
    DTYPE_F8_E8M0,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_I32,
    DTYPE_I16,
    DTYPE_I8,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_COUNT
};

struct dtype_info {
    const char *name;     /* "q4_k": lower case, as on the command line */
    uint16_t block_elems; /* elements per block, 1 for plain types */
    uint16_t block_bytes; /* bytes per block */
    int16_t ggml_id;      /* type id in GGUF files, -1 when GGUF has none */
};

/* The row of the type table; never NULL for a valid dtype. */
const struct dtype_info *dtype_info(enum dtype t);

static inline bool dtype_is_computable(enum dtype t)
{
    return t < DTYPE_COMPUTABLE;
}

/* Looks a type up by name, any case ("Q4_K", "bf16"); false if unknown. */
bool dtype_from_name(const char *name, enum dtype *out);
bool dtype_from_ggml(uint32_t ggml_id, enum dtype *out);

/* Bytes of n consecutive elements. ERR_CORRUPT when n is not whole blocks, ERR_LIMIT on overflow. */
ERR_MUST_USE err dtype_bytes(enum dtype t, size_t n, size_t *out);

/* Scalar conversions, round to nearest even; NaN stays NaN. */
float dtype_from_f16(uint16_t h);
uint16_t dtype_to_f16(float f);
float dtype_from_e4m3(uint8_t v);
uint8_t dtype_to_e4m3(float f); /* saturates at 448 */

static inline float dtype_from_bf16(uint16_t b)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)b << 16};
    return v.f;
}

uint16_t dtype_to_bf16(float f);

#endif

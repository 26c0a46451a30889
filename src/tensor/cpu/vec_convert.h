/* tensor/cpu/vec_convert.h: a row of cache elements to floats. Include after vec_avx2.h or
 * vec_avx512.h. */
#ifndef TENSOR_CPU_VEC_CONVERT_H
#define TENSOR_CPU_VEC_CONVERT_H

#include "tensor/dtype.h"

/* The first n < VEC_N elements at p, the rest zero. */
static inline vec vec_convert_n(const void *p, enum dtype t, size_t n)
{
    switch (t) {
    case DTYPE_F16: return vec_load_f16_n(p, n);
    case DTYPE_BF16: return vec_load_bf16_n(p, n);
    default: return vec_load_n(p, n);
    }
}

/* dst[n] = src[n], elements of F32, F16 or BF16. Returns the index of the first element not written
 * in whole vectors, for the caller to finish with vec_convert_n. */
static inline size_t vec_convert(float *dst, const void *src, enum dtype t, size_t n)
{
    const uint16_t *half = src;
    const float *full = src;
    size_t i = 0;
    switch (t) {
    case DTYPE_F16:
        for (; i + VEC_N <= n; i += VEC_N) {
            vec_store(dst + i, vec_load_f16(half + i));
        }
        break;
    case DTYPE_BF16:
        for (; i + VEC_N <= n; i += VEC_N) {
            vec_store(dst + i, vec_load_bf16(half + i));
        }
        break;
    default:
        for (; i + VEC_N <= n; i += VEC_N) {
            vec_store(dst + i, vec_load(full + i));
        }
        break;
    }
    return i;
}

static inline const void *vec_convert_at(const void *p, enum dtype t, size_t i)
{
    return (const char *)p + i * (t == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
}

#endif

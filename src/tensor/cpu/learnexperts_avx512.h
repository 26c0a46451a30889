/* tensor/cpu/learnexperts_avx512.h: what learnexperts_body.h wants of 16 lanes, but for learnexperts_narrow. */
#ifndef TENSOR_CPU_LEARNEXPERTS_AVX512_H
#define TENSOR_CPU_LEARNEXPERTS_AVX512_H

#include "tensor/cpu/vec_avx512.h"

typedef __m256i learnexperts_half;

static inline void learnexperts_store(uint16_t *p, size_t n, learnexperts_half h)
{
    if (n >= VEC_N) {
        _mm256_storeu_si256((__m256i *)(void *)p, h);
    } else {
        _mm256_mask_storeu_epi16(p, vec_mask(n), h);
    }
}

static inline void learnexperts_stream(uint16_t *p, learnexperts_half h)
{
    _mm256_stream_si256((__m256i *)(void *)p, h);
}

/* By Newton's method from an approximation: a division takes as long as all the rest. */
static inline vec learnexperts_logistic(vec g)
{
    vec d = _mm512_add_ps(vec_set(1), _mm512_min_ps(vec_exp(vec_sub(vec_set(0), g)), vec_set(0x1p80f)));
    vec r = _mm512_rcp14_ps(d);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(d, r, vec_set(2)));
}

#endif

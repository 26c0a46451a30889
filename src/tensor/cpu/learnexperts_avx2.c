/* tensor/cpu/learnexperts_avx2.c: see learnexperts.h. */
#include "tensor/cpu/vec_avx2.h"

typedef __m128i learnexperts_half;

static inline learnexperts_half learnexperts_narrow(vec v)
{
    return vec_to_bf16(v);
}

static inline void learnexperts_store(uint16_t *p, size_t n, learnexperts_half h)
{
    if (n >= VEC_N) {
        _mm_storeu_si128((__m128i *)(void *)p, h);
    } else {
        vec_store_half_n(p, h, n);
    }
}

static inline void learnexperts_stream(uint16_t *p, learnexperts_half h)
{
    _mm_stream_si128((__m128i *)(void *)p, h);
}

static inline vec learnexperts_logistic(vec g)
{
    return vec_div(vec_set(1), vec_add(vec_set(1), vec_exp(vec_sub(vec_set(0), g))));
}

#include "tensor/cpu/learnexperts_body.h"

const struct learnexperts_rows learnexperts_avx2 = {learnexperts_forward_rows, learnexperts_back_rows};

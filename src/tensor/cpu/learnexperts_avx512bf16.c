/* tensor/cpu/learnexperts_avx512bf16.c: see learnexperts.h. */
#include "tensor/cpu/learnexperts_avx512.h"

static inline learnexperts_half learnexperts_narrow(vec v)
{
    return (__m256i)_mm512_cvtneps_pbh(v);
}

#include "tensor/cpu/learnexperts_body.h"

const struct learnexperts_rows learnexperts_avx512bf16 = {learnexperts_forward_rows, learnexperts_back_rows};

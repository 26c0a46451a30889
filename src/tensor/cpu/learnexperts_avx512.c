/* tensor/cpu/learnexperts_avx512.c: see learnexperts.h. */
#include "tensor/cpu/learnexperts_avx512.h"

static inline learnexperts_half learnexperts_narrow(vec v)
{
    return vec_to_bf16(v);
}

#include "tensor/cpu/learnexperts_body.h"

const struct learnexperts_rows learnexperts_avx512 = {learnexperts_forward_rows, learnexperts_back_rows};

/* tensor/cpu/gemm_float.h: gemm_body.h with units of one number, widened to float32 as they are packed. The
 * including file brings vec_*.h and GEMM_HIGH. */
enum { GEMM_UNIT = 1 };

static inline vec gemm_dot(vec sum, vec x, vec w)
{
    return vec_fma(x, w, sum);
}

static inline vec gemm_along(const uint16_t *p, size_t n)
{
    return n >= VEC_N ? vec_load_bf16(p) : vec_load_bf16_n(p, n);
}

static inline vec gemm_down(const uint16_t *p, const uint16_t *q, size_t n)
{
    (void)q;
    return gemm_along(p, n);
}

#include "tensor/cpu/gemm_body.h"

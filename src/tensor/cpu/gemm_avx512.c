/* tensor/cpu/gemm_avx512.c: products of learning with 16 lanes of float32; see gemm.h. */
#include "tensor/cpu/vec_avx512.h"

enum { GEMM_UNIT = 1, GEMM_HIGH = 8 };

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

const struct gemm_kernels gemm_avx512 = {gemm_task_run, GEMM_SCRATCH, gemm_panel, gemm_nothing,
                                         gemm_nothing};

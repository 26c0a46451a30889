/* tensor/cpu/gemm_avx512.c: products of learning with 16 lanes of bfloat16 pairs; see gemm.h. */
#include "tensor/cpu/vec_avx512.h"

enum { GEMM_UNIT = 2, GEMM_HIGH = 8 };

static inline vec gemm_dot(vec sum, vec x, vec w)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);
}

#include "tensor/cpu/gemm_body.h"

const struct gemm_kernels gemm_avx512 = {gemm_task_run, GEMM_SCRATCH, gemm_panel, gemm_nothing,
                                         gemm_nothing};

/* tensor/cpu/gemm_avx512bf16.c: products of learning with 16 lanes of bfloat16 pairs; see gemm.h. */
#include "tensor/cpu/vec_avx512.h"

enum { GEMM_UNIT = 2, GEMM_HIGH = 8 };

static inline vec gemm_dot(vec sum, vec x, vec w)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);
}

static inline vec gemm_along(const uint16_t *p, size_t n)
{
    __mmask32 have = n >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(have, p));
}

static inline vec gemm_down(const uint16_t *p, const uint16_t *q, size_t n)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(vec_mask(n), p));
    vec high = q ? vec_load_bf16_n(q, n) : vec_set(0);
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_castps_si512(high)));
}

#include "tensor/cpu/gemm_body.h"

const struct gemm_kernels gemm_avx512bf16 = {gemm_task_run, GEMM_SCRATCH, gemm_panel,
                                             gemm_nothing, gemm_nothing};

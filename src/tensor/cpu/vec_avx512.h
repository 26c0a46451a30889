/* tensor/cpu/vec_avx512.h: a row of 16 floats, the vocabulary the *_body.h files are written in.
 * vec_avx2.h is the same with 8. `_n` variants touch only the first n < VEC_N elements of memory;
 * loads fill the rest with zero. Include from *_avx512.c and *_amx.c only. */
#ifndef TENSOR_CPU_VEC_AVX512_H
#define TENSOR_CPU_VEC_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

enum { VEC_N = 16 };
typedef __m512 vec;

static inline __mmask16 vec_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

static inline vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline vec vec_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(vec_mask(n), p);
}

static inline void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

static inline void vec_store_n(float *p, vec v, size_t n)
{
    _mm512_mask_storeu_ps(p, vec_mask(n), v);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

static inline vec vec_fma(vec a, vec b, vec c) /* a * b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec vec_max(vec a, vec b) /* b where either is NaN */
{
    return _mm512_max_ps(a, b);
}

static inline float vec_most(vec a) /* the largest lane */
{
    return _mm512_reduce_max_ps(a);
}

/* a where i < n, b elsewhere: keeps the first n lanes. */
static inline vec vec_first(size_t n, vec a, vec b)
{
    return n >= VEC_N ? a : _mm512_mask_blend_ps(vec_mask(n), b, a);
}

/* a where x is -infinity, b elsewhere. */
static inline vec vec_if_minus_inf(vec x, vec a, vec b)
{
    return _mm512_mask_blend_ps(
        _mm512_cmp_ps_mask(x, _mm512_set1_ps(-__builtin_inff()), _CMP_EQ_OQ), b, a);
}

/* a where low <= x <= high, b elsewhere. */
static inline vec vec_if_between(vec x, vec low, vec high, vec a, vec b)
{
    __mmask16 above = _mm512_cmp_ps_mask(x, low, _CMP_GE_OQ);
    return _mm512_mask_blend_ps(_mm512_mask_cmp_ps_mask(above, x, high, _CMP_LE_OQ), b, a);
}

static inline int vec_all_equal(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ) == 0xffff;
}

/* e^x, error below 2 ulp; +inf from 88.73 on, NaN stays NaN, 0 below -87.3: results that are not
 * normal floats cost the processor a hundred cycles each, and masked scores would be such. */
static inline vec vec_exp(vec x)
{
    __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_NLT_UQ);
    x = _mm512_min_ps(_mm512_set1_ps(89.0f), _mm512_max_ps(_mm512_set1_ps(-87.3f), x));
    vec n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)), 0x08);
    vec r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x); /* ln 2 in two parts */
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    vec p = _mm512_set1_ps(1.0f / 5040); /* Taylor: |r| < 0.35, the next term is below 2^-27 */
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_maskz_scalef_ps(normal, p, n);
}

static inline vec vec_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vec vec_load_f16_n(const uint16_t *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(vec_mask(n), p));
}

static inline vec vec_from_bf16(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Of pairs of BF16: the one at the lower address, the other. */
static inline vec vec_bf16_low(vec pairs)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pairs), 16));
}

static inline vec vec_bf16_high(vec pairs)
{
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(pairs), _mm512_set1_epi32((int)0xffff0000)));
}

static inline vec vec_load_bf16(const uint16_t *p)
{
    return vec_from_bf16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vec vec_load_bf16_n(const uint16_t *p, size_t n)
{
    return vec_from_bf16(_mm256_maskz_loadu_epi16(vec_mask(n), p));
}

static inline void vec_store_f16(uint16_t *p, vec v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static inline void vec_store_f16_n(uint16_t *p, vec v, size_t n)
{
    _mm256_mask_storeu_epi16(p, vec_mask(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

/* In integers: the instruction VCVTNEPS2BF16 would flush subnormals. */
static inline __m256i vec_to_bf16(vec v)
{
    __m512i u = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i even = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_blend_epi32(nan, even, quiet), 16));
}

static inline void vec_store_bf16(uint16_t *p, vec v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, vec_to_bf16(v));
}

static inline void vec_store_bf16_n(uint16_t *p, vec v, size_t n)
{
    _mm256_mask_storeu_epi16(p, vec_mask(n), vec_to_bf16(v));
}

/* Past the caches, to an address aligned to the bytes written; vec_stream_end before others may read them. */
static inline void vec_stream(float *p, vec v)
{
    _mm512_stream_ps(p, v);
}

static inline void vec_stream_bf16(uint16_t *p, vec v)
{
    _mm256_stream_si256((__m256i *)(void *)p, vec_to_bf16(v));
}

static inline void vec_stream_end(void)
{
    _mm_sfence();
}

/* Transposes 16 rows of 16 dwords in place. */
static inline void vec_transpose(vec r[VEC_N])
{
    __m512i a[VEC_N], b[VEC_N];
    for (int i = 0; i < 16; i += 2) {
        __m512i x = _mm512_castps_si512(r[i]), y = _mm512_castps_si512(r[i + 1]);
        a[i] = _mm512_unpacklo_epi32(x, y);
        a[i + 1] = _mm512_unpackhi_epi32(x, y);
    }
    for (int i = 0; i < 16; i += 4) { /* b[i + j]: column j of each 128-bit lane, rows i .. i+3 */
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for (int j = 0; j < 4; j++) { /* gather lane k of rows 0-3, 4-7, 8-11, 12-15 */
        __m512i lo0 = _mm512_shuffle_i32x4(b[j], b[4 + j], 0x88);
        __m512i lo1 = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0x88);
        __m512i hi0 = _mm512_shuffle_i32x4(b[j], b[4 + j], 0xdd);
        __m512i hi1 = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0xdd);
        r[j] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(lo0, lo1, 0x88));
        r[8 + j] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(lo0, lo1, 0xdd));
        r[4 + j] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(hi0, hi1, 0x88));
        r[12 + j] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(hi0, hi1, 0xdd));
    }
}

#endif

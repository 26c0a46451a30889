/* tensor/cpu/vec_avx2.h: a row of 8 floats; see vec_avx512.h. Include from *_avx2.c only. */
#ifndef TENSOR_CPU_VEC_AVX2_H
#define TENSOR_CPU_VEC_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VEC_N = 8 };
typedef __m256 vec;

static inline __m256i vec_mask(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline vec vec_load_n(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, vec_mask(n));
}

static inline void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

static inline void vec_store_n(float *p, vec v, size_t n)
{
    _mm256_maskstore_ps(p, vec_mask(n), v);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

static inline vec vec_fma(vec a, vec b, vec c) /* a * b + c */
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec vec_max(vec a, vec b) /* b where either is NaN */
{
    return _mm256_max_ps(a, b);
}

static inline float vec_most(vec a) /* the largest lane */
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* a where i < n, b elsewhere: keeps the first n lanes. */
static inline vec vec_first(size_t n, vec a, vec b)
{
    return n >= VEC_N ? a : _mm256_blendv_ps(b, a, _mm256_castsi256_ps(vec_mask(n)));
}

/* a where x is -infinity, b elsewhere. */
static inline vec vec_if_minus_inf(vec x, vec a, vec b)
{
    return _mm256_blendv_ps(b, a,
                            _mm256_cmp_ps(x, _mm256_set1_ps(-__builtin_inff()), _CMP_EQ_OQ));
}

/* a where low <= x <= high, b elsewhere. */
static inline vec vec_if_between(vec x, vec low, vec high, vec a, vec b)
{
    vec above = _mm256_cmp_ps(x, low, _CMP_GE_OQ), below = _mm256_cmp_ps(x, high, _CMP_LE_OQ);
    return _mm256_blendv_ps(b, a, _mm256_and_ps(above, below));
}

static inline int vec_all_equal(vec a, vec b)
{
    return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)) == 0xff;
}

/* e^x, error below 2 ulp; +inf from 88.73 on, 0 below -87.3, NaN stays NaN. */
static inline vec vec_exp(vec x)
{
    vec normal = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_NLT_UQ);
    x = _mm256_min_ps(_mm256_set1_ps(89.0f), _mm256_max_ps(_mm256_set1_ps(-87.3f), x));
    vec n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)),
                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vec r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e4p-1f), x); /* ln 2 in two parts */
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
    vec p = _mm256_set1_ps(1.0f / 5040); /* Taylor: |r| < 0.35, the next term is below 2^-27 */
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    /* 2^n as two factors: n = 128 lies outside the exponents of normal floats. */
    __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
    __m256i bias = _mm256_set1_epi32(127);
    __m256i f0 = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i f1 = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);
    p = _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(f0)), _mm256_castsi256_ps(f1));
    return _mm256_and_ps(p, normal);
}

static inline __m128i vec_half_n(const uint16_t *p, size_t n)
{
    uint16_t tail[VEC_N] = {0};
    memcpy(tail, p, n * sizeof *p);
    return _mm_loadu_si128((const __m128i *)(const void *)tail);
}

static inline vec vec_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline vec vec_load_f16_n(const uint16_t *p, size_t n)
{
    return _mm256_cvtph_ps(vec_half_n(p, n));
}

static inline vec vec_from_bf16(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

static inline vec vec_bf16_low(vec pairs)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pairs), 16));
}

static inline vec vec_bf16_high(vec pairs)
{
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_castps_si256(pairs), _mm256_set1_epi32((int)0xffff0000)));
}

static inline vec vec_load_bf16(const uint16_t *p)
{
    return vec_from_bf16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline vec vec_load_bf16_n(const uint16_t *p, size_t n)
{
    return vec_from_bf16(vec_half_n(p, n));
}

static inline void vec_store_half_n(uint16_t *p, __m128i h, size_t n)
{
    uint16_t tail[VEC_N];
    _mm_storeu_si128((__m128i *)(void *)tail, h);
    memcpy(p, tail, n * sizeof *p);
}

static inline void vec_store_f16(uint16_t *p, vec v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static inline void vec_store_f16_n(uint16_t *p, vec v, size_t n)
{
    vec_store_half_n(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT), n);
}

static inline __m128i vec_to_bf16(vec v)
{
    __m256i u = _mm256_castps_si256(v);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i even = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    __m256i r = _mm256_srli_epi32(_mm256_blendv_epi8(even, quiet, nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}

static inline void vec_store_bf16(uint16_t *p, vec v)
{
    _mm_storeu_si128((__m128i *)(void *)p, vec_to_bf16(v));
}

static inline void vec_store_bf16_n(uint16_t *p, vec v, size_t n)
{
    vec_store_half_n(p, vec_to_bf16(v), n);
}

static inline void vec_stream(float *p, vec v)
{
    _mm256_stream_ps(p, v);
}

static inline void vec_stream_bf16(uint16_t *p, vec v)
{
    _mm_stream_si128((__m128i *)(void *)p, vec_to_bf16(v));
}

static inline void vec_stream_end(void)
{
    _mm_sfence();
}

/* Transposes 8 rows of 8 floats in place. */
static inline void vec_transpose(vec r[VEC_N])
{
    vec a[VEC_N], b[VEC_N];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int j = 0; j < 4; j++) {
        r[j] = _mm256_permute2f128_ps(b[j], b[4 + j], 0x20);
        r[4 + j] = _mm256_permute2f128_ps(b[j], b[4 + j], 0x31);
    }
}

#endif

/* tensor/cpu/unpack_avx512.h: MATMUL_RUN (256) weights of a block type to bytes in registers, for
 * the kernels of the AVX512 and AMX levels. Layouts: ggml's blocks; formulas in ref/dequant.h. */
#ifndef TENSOR_CPU_UNPACK_AVX512_H
#define TENSOR_CPU_UNPACK_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "tensor/cpu/matmulpanel.h"

/* Every block type is affine in groups of 16: weight e = s[e / 16] * q[e] + m[e / 16], with q an
 * unsigned byte; signed types are stored with an offset that m takes back. */
struct unpack_run {
    __m512i q[4];
    __m512 s, m;
};

#define UNPACK_INLINE static inline __attribute__((always_inline))

UNPACK_INLINE uint32_t unpack_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

UNPACK_INLINE uint64_t unpack_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

UNPACK_INLINE float unpack_f16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return _cvtsh_ss(v);
}

/* 32 bytes twice, each half's 16-bit words shifted right by its own count. */
UNPACK_INLINE __m512i unpack_twice(const uint8_t *p)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)p));
}

UNPACK_INLINE __m512i unpack_halves(short low, short high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi16(low)),
                              _mm256_set1_epi16(high), 1);
}

/* One value per block of 32 to one per group of 16. */
UNPACK_INLINE __m512 unpack_double(__m256 v)
{
    const __m512i idx = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(idx, _mm512_castps256_ps512(v));
}

/* The scales (lanes 0 to 7) and minima (8 to 15) of the eight groups of Q4_K and Q5_K. */
UNPACK_INLINE __m512 unpack_k_both(const uint8_t *p)
{
    const uint64_t six = 0x3f3f3f3fu, low = 0x0f0f0f0fu, two = 0x03030303u;
    uint64_t b0 = unpack_u32(p + 4), b4 = unpack_u32(p + 8), b8 = unpack_u32(p + 12);
    uint64_t sc = (b0 & six) | ((b8 & low) | (b0 >> 6 & two) << 4) << 32;
    uint64_t mn = (b4 & six) | ((b8 >> 4 & low) | (b4 >> 6 & two) << 4) << 32;
    __m128 dd = _mm_cvtph_ps(_mm_cvtsi32_si128((int)unpack_u32(p))); /* d, dmin */
    __m512 both = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_set_epi64x((long long)mn,
                                                                         (long long)sc)));
    const __m512i which = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_mul_ps(both, _mm512_permutexvar_ps(which, _mm512_castps128_ps512(dd)));
}

/* The same for each group of 16, the minima negative. */
UNPACK_INLINE void unpack_k_scales(const uint8_t *p, __m512 *s, __m512 *m)
{
    __m512 both = unpack_k_both(p);
    const __m512i i = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    *s = _mm512_permutexvar_ps(i, both);
    *m = _mm512_sub_ps(_mm512_setzero_ps(),
                       _mm512_permutexvar_ps(_mm512_add_epi32(i, _mm512_set1_epi32(8)), both));
}

/* Keeps GCC from turning broadcasts from memory back into two shuffles each. */
#define UNPACK_IN_MEMORY(p) __asm__ volatile("" ::"r"(p) : "memory")

/* The bytes alone, of Q4_K and Q5_K. */
UNPACK_INLINE void unpack_q4_k_bytes(const uint8_t *p, struct unpack_run *r)
{
    const __m512i shift = unpack_halves(0, 4), mask = _mm512_set1_epi8(15);
    for (int c = 0; c < 4; c++) {
        r->q[c] = _mm512_and_si512(_mm512_srlv_epi16(unpack_twice(p + 16 + 32 * c), shift), mask);
    }
}

UNPACK_INLINE void unpack_q5_k_bytes(const uint8_t *p, struct unpack_run *r)
{
    const __m512i shift = unpack_halves(0, 4), mask = _mm512_set1_epi8(15);
    const __m512i bit = unpack_halves(0x0101, 0x0202), sixteen = _mm512_set1_epi8(16);
    __m512i high = unpack_twice(p + 16);
    for (int c = 0; c < 4; c++) {
        __m512i q = _mm512_and_si512(_mm512_srlv_epi16(unpack_twice(p + 48 + 32 * c), shift), mask);
        __mmask64 k = _mm512_test_epi8_mask(high, _mm512_slli_epi16(bit, (unsigned)(2 * c)));
        r->q[c] = _mm512_mask_add_epi8(q, k, q, sixteen);
    }
}

UNPACK_INLINE void unpack_q6_k(const uint8_t *p, struct unpack_run *r)
{
    const __m512i low = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30);
    for (int n = 0; n < 2; n++) {
        __m512i ql = _mm512_loadu_si512(p + 64 * n), qh = unpack_twice(p + 128 + 32 * n);
        __m512i h0 = _mm512_sllv_epi16(qh, unpack_halves(4, 2));
        __m512i h1 = _mm512_srlv_epi16(qh, unpack_halves(0, 2));
        /* 0xf8: a | (b & c) */
        r->q[2 * n] = _mm512_ternarylogic_epi64(_mm512_and_si512(ql, low), h0, top, 0xf8);
        r->q[2 * n + 1] = _mm512_ternarylogic_epi64(
            _mm512_and_si512(_mm512_srli_epi16(ql, 4), low), h1, top, 0xf8);
    }
    __m512 sc = _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(p + 192))));
    r->s = _mm512_mul_ps(sc, _mm512_set1_ps(unpack_f16(p + 208)));
    r->m = _mm512_mul_ps(r->s, _mm512_set1_ps(-32.0f));
}

/* The 2-bit values of Q2_K and Q3_K. */
UNPACK_INLINE void unpack_pairs(const uint8_t *p, struct unpack_run *r)
{
    const __m512i three = _mm512_set1_epi8(3);
    for (int n = 0; n < 2; n++) {
        __m512i q = unpack_twice(p + 32 * n);
        r->q[2 * n] = _mm512_and_si512(_mm512_srlv_epi16(q, unpack_halves(0, 2)), three);
        r->q[2 * n + 1] = _mm512_and_si512(_mm512_srlv_epi16(q, unpack_halves(4, 6)), three);
    }
}

UNPACK_INLINE void unpack_q2_k(const uint8_t *p, struct unpack_run *r)
{
    unpack_pairs(p + 16, r);
    __m512i sc = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    r->s = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_and_si512(sc, _mm512_set1_epi32(15))),
                         _mm512_set1_ps(unpack_f16(p + 80)));
    r->m = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(sc, 4)),
                         _mm512_set1_ps(-unpack_f16(p + 82)));
}

UNPACK_INLINE void unpack_q3_k(const uint8_t *p, struct unpack_run *r)
{
    unpack_pairs(p + 32, r);
    const __m512i bit = unpack_halves(0x0101, 0x0202), four = _mm512_set1_epi8(4);
    __m512i high = unpack_twice(p);
    for (int c = 0; c < 4; c++) {
        __mmask64 k = _mm512_test_epi8_mask(high, _mm512_slli_epi16(bit, (unsigned)(2 * c)));
        r->q[c] = _mm512_mask_add_epi8(r->q[c], k, r->q[c], four);
    }
    const uint64_t low = 0x0f0f0f0f0f0f0f0fu, two = 0x03030303u;
    uint64_t lo = unpack_u64(p + 96), hi = unpack_u32(p + 104);
    uint64_t s0 = (lo & low) | (hi & two) << 4 | (hi >> 2 & two) << 36;
    uint64_t s1 = (lo >> 4 & low) | (hi >> 4 & two) << 4 | (hi >> 6 & two) << 36;
    __m512i sc = _mm512_cvtepu8_epi32(_mm_set_epi64x((long long)s1, (long long)s0));
    r->s = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sc, _mm512_set1_epi32(32))),
                         _mm512_set1_ps(unpack_f16(p + 108)));
    r->m = _mm512_mul_ps(r->s, _mm512_set1_ps(-4.0f));
}

/* The first four bytes of 8 blocks of `size` bytes. */
UNPACK_INLINE __m256i unpack_heads(const uint8_t *p, int size)
{
    __m256i at = _mm256_mullo_epi32(_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0),
                                    _mm256_set1_epi32(size));
    return _mm256_i32gather_epi32((const int *)(const void *)p, at, 1);
}

UNPACK_INLINE __m256 unpack_head_f16(__m256i heads)
{
    return _mm256_cvtph_ps(_mm256_cvtepi32_epi16(heads));
}

/* The half floats at the heads of 8 blocks of 18, 22 or 34 bytes, out of two to four registers that hold all 8
 * blocks: a gather takes twice as long. */
UNPACK_INLINE __m256 unpack_heads_f16(const uint8_t *p, int size)
{
    const int third = size == 34 ? 128 : 8 * size - 64; /* where the next register begins */
    const int n = size == 34 ? 4 : size == 18 ? 8 : 6;  /* heads in the first two */
    __m128i at = _mm_mullo_epi16(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7), _mm_set1_epi16((short)(size / 2)));
    __m512i first = _mm512_castsi128_si512(at);
    __m512i rest = _mm512_castsi128_si512(_mm_sub_epi16(at, _mm_set1_epi16((short)(third / 2))));
    __m512i h = _mm512_permutex2var_epi16(_mm512_loadu_si512(p), first, _mm512_loadu_si512(p + 64));
    __mmask32 m = (__mmask32)(0xffu << n & 0xff);
    if (size == 34) {
        __m512i t = _mm512_permutex2var_epi16(_mm512_loadu_si512(p + 128), rest,
                                              _mm512_loadu_si512(p + 192));
        h = _mm512_mask_mov_epi16(h, m, t);
    } else if (size != 18) {
        h = _mm512_mask_permutexvar_epi16(h, m, rest, _mm512_loadu_si512(p + third));
    }
    return _mm256_cvtph_ps(_mm512_castsi512_si128(h));
}

/* Two blocks of 16 bytes: low nibbles of the first, high nibbles, the second's low, high. */
UNPACK_INLINE __m512i unpack_nibbles(const uint8_t *a, const uint8_t *b)
{
    __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)a));
    v = _mm512_mask_broadcast_i32x4(v, 0xff00, _mm_loadu_si128((const __m128i *)(const void *)b));
    const __m512i shift = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0,
                                           0x0004000400040004, 0x0004000400040004, 0, 0);
    return _mm512_and_si512(_mm512_srlv_epi16(v, shift), _mm512_set1_epi8(15));
}

/* Q4_0, Q4_1, Q5_0, Q5_1: blocks of `size` bytes, nibbles at `at`, fifth bits at `high` or -1. */
UNPACK_INLINE void unpack_small(const uint8_t *p, int size, int at, int high, struct unpack_run *r)
{
    for (int i = 0; i < 4; i++) {
        const uint8_t *a = p + 2 * i * size, *b = a + size;
        __m512i q = unpack_nibbles(a + at, b + at);
        if (high >= 0) {
            __mmask64 k = unpack_u32(a + high) | (uint64_t)unpack_u32(b + high) << 32;
            q = _mm512_mask_add_epi8(q, k, q, _mm512_set1_epi8(16));
        }
        r->q[i] = q;
    }
}

UNPACK_INLINE void unpack_offset(const uint8_t *p, int size, float offset, struct unpack_run *r)
{
    r->s = unpack_double(unpack_heads_f16(p, size));
    r->m = _mm512_mul_ps(r->s, _mm512_set1_ps(offset));
}

UNPACK_INLINE void unpack_minimum(__m256i heads, struct unpack_run *r)
{
    r->s = unpack_double(unpack_head_f16(heads));
    r->m = unpack_double(unpack_head_f16(_mm256_srli_epi32(heads, 16)));
}

UNPACK_INLINE void unpack_q8_0(const uint8_t *p, struct unpack_run *r)
{
    const __m512i flip = _mm512_set1_epi8(-128);
    for (int i = 0; i < 4; i++) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(p + 68 * i + 2));
        __m256i b = _mm256_loadu_si256((const __m256i *)(p + 68 * i + 36));
        r->q[i] = _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1), flip);
    }
    unpack_offset(p, 34, -128.0f, r);
}

UNPACK_INLINE void unpack_mxfp4(const uint8_t *p, struct unpack_run *r)
{
    /* Twice the e2m1 value, plus 12. */
    const __m512i value = _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    for (int i = 0; i < 4; i++) {
        const uint8_t *a = p + 34 * i;
        r->q[i] = _mm512_shuffle_epi8(value, unpack_nibbles(a + 1, a + 18));
    }
    /* e < 2 means at most 6 * 2^-127: zero here, subnormal floats would cost a hundredfold. */
    __m256i e = _mm256_and_si256(unpack_heads(p, 17), _mm256_set1_epi32(255));
    e = _mm256_subs_epu16(e, _mm256_set1_epi32(1));
    r->s = unpack_double(_mm256_castsi256_ps(_mm256_slli_epi32(e, 23)));
    r->m = _mm512_mul_ps(r->s, _mm512_set1_ps(-12.0f));
}

/* 16 plain weights to float32. */
UNPACK_INLINE __m512 unpack_bf16_sixteen(const uint8_t *p)
{
    __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}

/* 32 values of F8_E4M3 as half floats, 2^-8 of their size: the fields fit as they are, subnormal
 * numbers too, and only the exponent's bias differs. 0x7f is NaN. */
enum { UNPACK_E4M3_SHRINK = 256 };
UNPACK_INLINE __m512i unpack_e4m3_halves(const uint8_t *p)
{
    __m512i w = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
    __m512i h = _mm512_and_si512(_mm512_slli_epi16(w, 7), _mm512_set1_epi16((short)0xbf80));
    __m512i size = _mm512_and_si512(h, _mm512_set1_epi16(0x3f80));
    __mmask32 nan = _mm512_cmpeq_epi16_mask(size, _mm512_set1_epi16(0x3f80));
    return _mm512_mask_mov_epi16(h, nan, _mm512_set1_epi16(0x7e00));
}

UNPACK_INLINE __m512 unpack_e4m3_low(__m512i halves)
{
    return _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
}

UNPACK_INLINE __m512 unpack_e4m3_high(__m512i halves)
{
    return _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
}

/* A whole run; `t` is a constant where this is inlined. */
UNPACK_INLINE void unpack_run(enum dtype t, const uint8_t *p, struct unpack_run *r)
{
    switch (t) {
    case DTYPE_Q8_0: unpack_q8_0(p, r); break;
    case DTYPE_Q4_0:
        unpack_small(p, 18, 2, -1, r);
        unpack_offset(p, 18, -8.0f, r);
        break;
    case DTYPE_Q4_1:
        unpack_small(p, 20, 4, -1, r);
        unpack_minimum(unpack_heads(p, 20), r);
        break;
    case DTYPE_Q5_0:
        unpack_small(p, 22, 6, 2, r);
        unpack_offset(p, 22, -16.0f, r);
        break;
    case DTYPE_Q5_1:
        unpack_small(p, 24, 8, 4, r);
        unpack_minimum(unpack_heads(p, 24), r);
        break;
    case DTYPE_Q2_K: unpack_q2_k(p, r); break;
    case DTYPE_Q3_K: unpack_q3_k(p, r); break;
    case DTYPE_Q4_K:
        unpack_k_scales(p, &r->s, &r->m);
        unpack_q4_k_bytes(p, r);
        break;
    case DTYPE_Q5_K:
        unpack_k_scales(p, &r->s, &r->m);
        unpack_q5_k_bytes(p, r);
        break;
    case DTYPE_Q6_K: unpack_q6_k(p, r); break;
    default: unpack_mxfp4(p, r); break;
    }
}

unpack_fn *unpack_avx512_f32(enum dtype t);
unpack_fn *unpack_avx512_bf16(enum dtype t); /* not F32, F16; Q4_K, Q5_K and Q6_K have units */

#endif

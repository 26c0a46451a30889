/* tensor/cpu/unpack_avx2.h: MATMUL_RUN (256) weights of a block type to bytes, for the kernels of the
 * AVX2 level. The twin of unpack_avx512.h: same order, same values. */
#ifndef TENSOR_CPU_UNPACK_AVX2_H
#define TENSOR_CPU_UNPACK_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "tensor/cpu/matmulpanel.h"

/* Weight e = s[e / 16] * q[e] + m[e / 16]; q is an unsigned byte below 64, except of Q8_0, whose q
 * is signed and m zero. */
struct unpack_run {
    __m256i q[MATMUL_RUN / 32];
    __m256 s[2], m[2];
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

UNPACK_INLINE __m256 unpack_f16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_ps(_cvtsh_ss(v));
}

UNPACK_INLINE __m256i unpack_load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

UNPACK_INLINE __m256 unpack_bytes(uint64_t eight)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)eight)));
}

/* One value per block of 32 to one per group of 16. */
UNPACK_INLINE void unpack_double(__m256 v, __m256 out[2])
{
    out[0] = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
    out[1] = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
}

/* The minimum that takes an offset of q back. */
UNPACK_INLINE void unpack_offset(struct unpack_run *r, float offset)
{
    r->m[0] = _mm256_mul_ps(r->s[0], _mm256_set1_ps(offset));
    r->m[1] = _mm256_mul_ps(r->s[1], _mm256_set1_ps(offset));
}

/* The 6-bit scales and minima of Q4_K and Q5_K. */
UNPACK_INLINE void unpack_k_scales(const uint8_t *p, struct unpack_run *r)
{
    const uint64_t six = 0x3f3f3f3fu, low = 0x0f0f0f0fu, two = 0x03030303u;
    uint64_t b0 = unpack_u32(p + 4), b4 = unpack_u32(p + 8), b8 = unpack_u32(p + 12);
    uint64_t sc = (b0 & six) | ((b8 & low) | (b0 >> 6 & two) << 4) << 32;
    uint64_t mn = (b4 & six) | ((b8 >> 4 & low) | (b4 >> 6 & two) << 4) << 32;
    unpack_double(_mm256_mul_ps(unpack_bytes(sc), unpack_f16(p)), r->s);
    __m256 m = _mm256_mul_ps(unpack_bytes(mn), unpack_f16(p + 2));
    unpack_double(_mm256_sub_ps(_mm256_setzero_ps(), m), r->m);
}

/* 32 bytes whose low nibbles are one group of 32, the high ones the next. */
UNPACK_INLINE void unpack_nibbles(__m256i v, __m256i out[2])
{
    const __m256i mask = _mm256_set1_epi8(15);
    out[0] = _mm256_and_si256(v, mask);
    out[1] = _mm256_and_si256(_mm256_srli_epi16(v, 4), mask);
}

UNPACK_INLINE void unpack_q4_k(const uint8_t *p, struct unpack_run *r)
{
    unpack_k_scales(p, r);
    for (int c = 0; c < 4; c++) {
        unpack_nibbles(unpack_load(p + 16 + 32 * c), r->q + 2 * c);
    }
}

/* Bit `i` of every byte, moved to bit `to` >= i or below. */
UNPACK_INLINE __m256i unpack_bit(__m256i v, int i, int to)
{
    __m256i b = to > i ? _mm256_slli_epi16(v, to - i) : _mm256_srli_epi16(v, i - to);
    return _mm256_and_si256(b, _mm256_set1_epi8((char)(1 << to)));
}

UNPACK_INLINE void unpack_q5_k(const uint8_t *p, struct unpack_run *r)
{
    unpack_k_scales(p, r);
    __m256i high = unpack_load(p + 16);
    for (int c = 0; c < 4; c++) {
        unpack_nibbles(unpack_load(p + 48 + 32 * c), r->q + 2 * c);
        r->q[2 * c] = _mm256_or_si256(r->q[2 * c], unpack_bit(high, 2 * c, 4));
        r->q[2 * c + 1] = _mm256_or_si256(r->q[2 * c + 1], unpack_bit(high, 2 * c + 1, 4));
    }
}

UNPACK_INLINE void unpack_q6_k(const uint8_t *p, struct unpack_run *r)
{
    const __m256i low = _mm256_set1_epi8(15), top = _mm256_set1_epi8(0x30);
    for (int n = 0; n < 2; n++) {
        __m256i a = unpack_load(p + 64 * n), b = unpack_load(p + 64 * n + 32);
        __m256i h = unpack_load(p + 128 + 32 * n), *q = r->q + 4 * n;
        q[0] = _mm256_or_si256(_mm256_and_si256(a, low),
                               _mm256_and_si256(_mm256_slli_epi16(h, 4), top));
        q[1] = _mm256_or_si256(_mm256_and_si256(b, low),
                               _mm256_and_si256(_mm256_slli_epi16(h, 2), top));
        q[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a, 4), low),
                               _mm256_and_si256(h, top));
        q[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(b, 4), low),
                               _mm256_and_si256(_mm256_srli_epi16(h, 2), top));
    }
    for (int i = 0; i < 2; i++) {
        __m128i sc = _mm_loadl_epi64((const __m128i *)(const void *)(p + 192 + 8 * i));
        r->s[i] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(sc)), unpack_f16(p + 208));
    }
    unpack_offset(r, -32.0f);
}

/* The 2-bit values of Q2_K and Q3_K. */
UNPACK_INLINE void unpack_pairs(const uint8_t *p, struct unpack_run *r)
{
    const __m256i three = _mm256_set1_epi8(3);
    for (int n = 0; n < 2; n++) {
        __m256i q = unpack_load(p + 32 * n);
        for (int j = 0; j < 4; j++) {
            r->q[4 * n + j] = _mm256_and_si256(_mm256_srli_epi16(q, 2 * j), three);
        }
    }
}

UNPACK_INLINE void unpack_q2_k(const uint8_t *p, struct unpack_run *r)
{
    unpack_pairs(p + 16, r);
    const uint64_t low = 0x0f0f0f0f0f0f0f0fu;
    for (int i = 0; i < 2; i++) {
        uint64_t b = unpack_u64(p + 8 * i);
        r->s[i] = _mm256_mul_ps(unpack_bytes(b & low), unpack_f16(p + 80));
        r->m[i] = _mm256_sub_ps(_mm256_setzero_ps(),
                                _mm256_mul_ps(unpack_bytes(b >> 4 & low), unpack_f16(p + 82)));
    }
}

UNPACK_INLINE void unpack_q3_k(const uint8_t *p, struct unpack_run *r)
{
    unpack_pairs(p + 32, r);
    __m256i high = unpack_load(p);
    for (int i = 0; i < 8; i++) {
        r->q[i] = _mm256_or_si256(r->q[i], unpack_bit(high, i, 2));
    }
    const uint64_t low = 0x0f0f0f0f0f0f0f0fu, two = 0x03030303u;
    uint64_t lo = unpack_u64(p + 96), hi = unpack_u32(p + 104);
    uint64_t s0 = (lo & low) | (hi & two) << 4 | (hi >> 2 & two) << 36;
    uint64_t s1 = (lo >> 4 & low) | (hi >> 4 & two) << 4 | (hi >> 6 & two) << 36;
    const __m256 half = _mm256_set1_ps(32.0f);
    r->s[0] = _mm256_mul_ps(_mm256_sub_ps(unpack_bytes(s0), half), unpack_f16(p + 108));
    r->s[1] = _mm256_mul_ps(_mm256_sub_ps(unpack_bytes(s1), half), unpack_f16(p + 108));
    unpack_offset(r, -4.0f);
}

/* The half floats at the start of 8 blocks of `size` bytes, `at` bytes in. */
UNPACK_INLINE __m256 unpack_heads(const uint8_t *p, int size, int at)
{
    uint16_t h[8];
    for (int i = 0; i < 8; i++) {
        memcpy(h + i, p + i * size + at, sizeof *h);
    }
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)h));
}

/* 16 bytes: the low nibbles, then the high ones. */
UNPACK_INLINE __m256i unpack_sixteen_bytes(const uint8_t *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* 32 bits to 32 bytes of 0 or 16. */
UNPACK_INLINE __m256i unpack_sixteens(uint32_t bits)
{
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                            2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i which = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), spread);
    v = _mm256_cmpeq_epi8(_mm256_and_si256(v, which), which);
    return _mm256_and_si256(v, _mm256_set1_epi8(16));
}

/* Q4_0, Q4_1, Q5_0, Q5_1: blocks of `size` bytes, nibbles at `at`, fifth bits at `high` or -1, a
 * minimum after the scale where `offset` is 0. */
UNPACK_INLINE void unpack_small(const uint8_t *p, int size, int at, int high, float offset,
                                struct unpack_run *r)
{
    for (int i = 0; i < 8; i++) {
        const uint8_t *b = p + i * size;
        r->q[i] = unpack_sixteen_bytes(b + at);
        if (high >= 0) {
            r->q[i] = _mm256_or_si256(r->q[i], unpack_sixteens(unpack_u32(b + high)));
        }
    }
    unpack_double(unpack_heads(p, size, 0), r->s);
    if (offset < 0) {
        unpack_offset(r, offset);
    } else {
        unpack_double(unpack_heads(p, size, 2), r->m);
    }
}

UNPACK_INLINE void unpack_q8_0(const uint8_t *p, struct unpack_run *r)
{
    for (int i = 0; i < 8; i++) {
        r->q[i] = unpack_load(p + 34 * i + 2);
    }
    unpack_double(unpack_heads(p, 34, 0), r->s);
    r->m[0] = r->m[1] = _mm256_setzero_ps();
}

UNPACK_INLINE void unpack_mxfp4(const uint8_t *p, struct unpack_run *r)
{
    /* Twice the e2m1 value, plus 12. */
    const __m256i value = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    uint64_t e = 0;
    for (int i = 0; i < 8; i++) {
        r->q[i] = _mm256_shuffle_epi8(value, unpack_sixteen_bytes(p + 17 * i + 1));
        e |= (uint64_t)p[17 * i] << 8 * i;
    }
    /* e < 2 means at most 6 * 2^-127: zero here, subnormal floats would cost a hundredfold. */
    __m256i w = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)e));
    w = _mm256_subs_epu16(w, _mm256_set1_epi32(1));
    unpack_double(_mm256_castsi256_ps(_mm256_slli_epi32(w, 23)), r->s);
    unpack_offset(r, -12.0f);
}

/* A whole run; `t` is a constant where this is inlined. */
UNPACK_INLINE void unpack_run(enum dtype t, const uint8_t *p, struct unpack_run *r)
{
    switch (t) {
    case DTYPE_Q8_0: unpack_q8_0(p, r); break;
    case DTYPE_Q4_0: unpack_small(p, 18, 2, -1, -8.0f, r); break;
    case DTYPE_Q4_1: unpack_small(p, 20, 4, -1, 0.0f, r); break;
    case DTYPE_Q5_0: unpack_small(p, 22, 6, 2, -16.0f, r); break;
    case DTYPE_Q5_1: unpack_small(p, 24, 8, 4, 0.0f, r); break;
    case DTYPE_Q2_K: unpack_q2_k(p, r); break;
    case DTYPE_Q3_K: unpack_q3_k(p, r); break;
    case DTYPE_Q4_K: unpack_q4_k(p, r); break;
    case DTYPE_Q5_K: unpack_q5_k(p, r); break;
    case DTYPE_Q6_K: unpack_q6_k(p, r); break;
    default: unpack_mxfp4(p, r); break;
    }
}

/* 8 weights of a plain type to float32. */
UNPACK_INLINE __m256 unpack_eight(enum dtype t, const uint8_t *p)
{
    switch (t) {
    case DTYPE_F32: return _mm256_loadu_ps((const float *)(const void *)p);
    case DTYPE_F16: return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
    case DTYPE_BF16: {
        __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
        return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
    }
    default: break;
    }
    /* F8_E4M3: normal numbers by moving the fields into place; the subnormal ones, m * 2^-9, as
     * 2^-6 * (1 + m / 8) less 2^-6; 0x7f is NaN. */
    __m256i w = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __m256i bits = _mm256_and_si256(w, _mm256_set1_epi32(0x7f));
    __m256i sign = _mm256_slli_epi32(_mm256_sub_epi32(w, bits), 24);
    __m256i tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(8), bits);
    __m256i nan = _mm256_cmpeq_epi32(bits, _mm256_set1_epi32(0x7f));
    __m256i v = _mm256_add_epi32(_mm256_slli_epi32(bits, 20), _mm256_set1_epi32(120 << 23));
    v = _mm256_add_epi32(v, _mm256_and_si256(tiny, _mm256_set1_epi32(1 << 23)));
    __m256 less = _mm256_and_ps(_mm256_castsi256_ps(tiny), _mm256_set1_ps(0x1p-6f));
    v = _mm256_or_si256(_mm256_castps_si256(_mm256_sub_ps(_mm256_castsi256_ps(v), less)), sign);
    return _mm256_castsi256_ps(_mm256_or_si256(v, _mm256_and_si256(nan, _mm256_set1_epi32(0x7fc00000))));
}

unpack_fn *unpack_avx2_f32(enum dtype t);

#endif

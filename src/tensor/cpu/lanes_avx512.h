/* tensor/cpu/lanes_avx512.h: a run of 16 weight rows of a block type, a row per lane: first the rows' bytes
 * as they are, four at a time, then words, scales and minima of all 16 rows at once. Layouts: ggml's
 * blocks; formulas in ref/dequant.h. */
#ifndef TENSOR_CPU_LANES_AVX512_H
#define TENSOR_CPU_LANES_AVX512_H

#include "tensor/cpu/unpack_avx512.h"

enum {
    LANES_VECS = MATMUL_PANEL / 16, /* registers of weight rows */
    LANES_PAIRS = MATMUL_RUN / 2,
    LANES_BYTES = 288, /* of a run at most, and some */
};

/* A run of MATMUL_PANEL weight rows, rows 16 v and on in [v]: weight = s * q + m. Pair 2 i is k 4 i and
 * 4 i + 2, pair 2 i + 1 the two after each: bytes become words without a shuffle. A scale (and a minimum)
 * for each group of 16 or 32 k. */
struct lanes_run {
    __m512i q[LANES_PAIRS][LANES_VECS];
    __m512 s[MATMUL_RUN / 16][LANES_VECS], m[MATMUL_RUN / 16][LANES_VECS];
};

/* `bytes` (in sixteens, which must be there) of 16 rows `step` apart: d[i] holds bytes 4 i and on. */
UNPACK_INLINE void lanes_turn(const uint8_t *p, size_t step, size_t bytes, __m512i *d)
{
    for (size_t at = 0; at < bytes; at += 16, d += 4) {
        __m512i v[4];
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            const uint8_t *r = p + at + i * step;
            v[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)r));
            v[i] = _mm512_inserti32x4(v[i], _mm_loadu_si128((const __m128i *)(const void *)(r + 4 * step)), 1);
            v[i] = _mm512_inserti32x4(v[i], _mm_loadu_si128((const __m128i *)(const void *)(r + 8 * step)), 2);
            v[i] = _mm512_inserti32x4(v[i], _mm_loadu_si128((const __m128i *)(const void *)(r + 12 * step)), 3);
        }
        __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
        __m512i e = _mm512_unpacklo_epi32(v[2], v[3]), f = _mm512_unpackhi_epi32(v[2], v[3]);
        d[0] = _mm512_unpacklo_epi64(a, e);
        d[1] = _mm512_unpackhi_epi64(a, e);
        d[2] = _mm512_unpacklo_epi64(b, f);
        d[3] = _mm512_unpackhi_epi64(b, f);
    }
}

/* The four bytes from `at` on, of blocks of `size` bytes. */
UNPACK_INLINE __m512i lanes_at(const __m512i *d, size_t at, size_t size)
{
    if (size % 4 == 0) {
        return d[at / 4];
    }
    return _mm512_shrdv_epi32(d[at / 4], d[at / 4 + 1], _mm512_set1_epi32((int)(at % 4 * 8)));
}

/* The half floats in the low and the high halves. */
UNPACK_INLINE __m512 lanes_f16_low(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}

UNPACK_INLINE __m512 lanes_f16_high(__m512i v)
{
    return lanes_f16_low(_mm512_srli_epi32(v, 16));
}

/* Byte i as a number. */
UNPACK_INLINE __m512 lanes_byte(__m512i v, unsigned i)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, 8 * i), _mm512_set1_epi32(255)));
}

/* Four bytes, less an offset, as the words of quad i. */
UNPACK_INLINE void lanes_put(struct lanes_run *run, size_t v, size_t i, __m512i bytes, short offset)
{
    const __m512i less = _mm512_set1_epi16(offset);
    run->q[2 * i][v] = _mm512_sub_epi16(_mm512_and_si512(bytes, _mm512_set1_epi16(255)), less);
    run->q[2 * i + 1][v] = _mm512_sub_epi16(_mm512_srli_epi16(bytes, 8), less);
}

/* a | (b & mask) of bytes. */
UNPACK_INLINE __m512i lanes_or(__m512i a, __m512i b, char mask)
{
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(mask), 0xf8);
}

UNPACK_INLINE __m512i lanes_nibbles(__m512i v, unsigned shift)
{
    return _mm512_and_si512(_mm512_srli_epi16(v, shift), _mm512_set1_epi8(15));
}

/* Bit 4 of byte i where bit 4 quad + i of `bits` is set. */
UNPACK_INLINE __m512i lanes_fifth(__m512i bits, int quad)
{
    const __m512i each = _mm512_set1_epi32(0x08040201), one = _mm512_set1_epi8(16);
    __m512i four = _mm512_srlv_epi32(bits, _mm512_set1_epi32(4 * quad));
    const __m512i spread = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
    return _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(_mm512_shuffle_epi8(four, spread), each), one);
}

/* Q4_0, Q4_1, Q5_0, Q5_1: `groups` blocks of `size` bytes, nibbles at `nibbles`, fifth bits at `high` or 0. */
UNPACK_INLINE void lanes_small(const __m512i *d, size_t groups, size_t size, size_t nibbles, size_t high,
                               short offset, size_t v, struct lanes_run *run)
{
    for (size_t g = 0, at = 0; g < groups; g++, at += size) {
        __m512i head = lanes_at(d, at, size), bits = lanes_at(d, at + high, size);
        run->s[g][v] = lanes_f16_low(head);
        if (!offset) {
            run->m[g][v] = lanes_f16_high(head);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m512i q = lanes_at(d, at + nibbles + 4 * (size_t)i, size);
            __m512i low = lanes_nibbles(q, 0), top = lanes_nibbles(q, 4);
            if (high) {
                low = _mm512_or_si512(low, lanes_fifth(bits, i));
                top = _mm512_or_si512(top, lanes_fifth(bits, 4 + i));
            }
            lanes_put(run, v, 8 * g + (size_t)i, low, offset);
            lanes_put(run, v, 8 * g + 4 + (size_t)i, top, offset);
        }
    }
}

UNPACK_INLINE void lanes_q8_0(const __m512i *d, size_t groups, size_t v, struct lanes_run *run)
{
    for (size_t g = 0, at = 0; g < groups; g++, at += 34) {
        run->s[g][v] = lanes_f16_low(lanes_at(d, at, 34));
        for (size_t i = 0; i < 8; i++) {
            __m512i q = lanes_at(d, at + 2 + 4 * i, 34);
            run->q[16 * g + 2 * i][v] = _mm512_srai_epi16(_mm512_slli_epi16(q, 8), 8);
            run->q[16 * g + 2 * i + 1][v] = _mm512_srai_epi16(q, 8);
        }
    }
}

UNPACK_INLINE void lanes_mxfp4(const __m512i *d, size_t groups, size_t v, struct lanes_run *run)
{
    /* Twice the e2m1 value, plus 12. */
    const __m512i value = _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    for (size_t g = 0, at = 0; g < groups; g++, at += 17) {
        /* e < 2 means at most 6 * 2^-127: zero here, subnormal floats would cost a hundredfold. */
        __m512i e = _mm512_and_si512(lanes_at(d, at, 17), _mm512_set1_epi32(255));
        e = _mm512_subs_epu16(e, _mm512_set1_epi32(1));
        run->s[g][v] = _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
        for (size_t i = 0; i < 4; i++) {
            __m512i q = lanes_at(d, at + 1 + 4 * i, 17);
            lanes_put(run, v, 8 * g + i, _mm512_shuffle_epi8(value, lanes_nibbles(q, 0)), 12);
            lanes_put(run, v, 8 * g + 4 + i, _mm512_shuffle_epi8(value, lanes_nibbles(q, 4)), 12);
        }
    }
}

/* The scales and minima of Q4_K and Q5_K: six bits each. */
UNPACK_INLINE void lanes_k_scales(const __m512i *d, size_t v, struct lanes_run *run)
{
    const __m512i six = _mm512_set1_epi8(0x3f);
    __m512 scale = lanes_f16_low(d[0]);
    __m512 least = _mm512_sub_ps(_mm512_setzero_ps(), lanes_f16_high(d[0]));
    __m512i s[2] = {_mm512_and_si512(d[1], six),
                    lanes_or(lanes_nibbles(d[3], 0), _mm512_srli_epi16(d[1], 2), 0x30)};
    __m512i m[2] = {_mm512_and_si512(d[2], six),
                    lanes_or(lanes_nibbles(d[3], 4), _mm512_srli_epi16(d[2], 2), 0x30)};
    for (unsigned g = 0; g < 8; g++) {
        run->s[g][v] = _mm512_mul_ps(scale, lanes_byte(s[g / 4], g % 4));
        run->m[g][v] = _mm512_mul_ps(least, lanes_byte(m[g / 4], g % 4));
    }
}

UNPACK_INLINE void lanes_q4_k(const __m512i *d, size_t v, struct lanes_run *run)
{
    lanes_k_scales(d, v, run);
    for (size_t c = 0; c < 4; c++) {
        for (size_t i = 0; i < 8; i++) {
            __m512i q = d[4 + 8 * c + i];
            lanes_put(run, v, 16 * c + i, lanes_nibbles(q, 0), 0);
            lanes_put(run, v, 16 * c + 8 + i, lanes_nibbles(q, 4), 0);
        }
    }
}

/* Words shifted left, or right where `by` is negative. */
UNPACK_INLINE __m512i lanes_shift(__m512i v, int by)
{
    return by < 0 ? _mm512_srli_epi16(v, (unsigned)-by) : _mm512_slli_epi16(v, (unsigned)by);
}

UNPACK_INLINE void lanes_q5_k(const __m512i *d, size_t v, struct lanes_run *run)
{
    lanes_k_scales(d, v, run);
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        for (size_t i = 0; i < 8; i++) {
            __m512i q = d[12 + 8 * (size_t)c + i], high = d[4 + i];
            __m512i low = lanes_or(lanes_nibbles(q, 0), lanes_shift(high, 4 - 2 * c), 16);
            __m512i top = lanes_or(lanes_nibbles(q, 4), lanes_shift(high, 3 - 2 * c), 16);
            lanes_put(run, v, 16 * (size_t)c + i, low, 0);
            lanes_put(run, v, 16 * (size_t)c + 8 + i, top, 0);
        }
    }
}

UNPACK_INLINE void lanes_q6_k(const __m512i *d, size_t v, struct lanes_run *run)
{
    __m512 scale = lanes_f16_low(d[52]);
    for (unsigned g = 0; g < 16; g++) {
        __m512i sc = _mm512_slli_epi32(d[48 + g / 4], 24 - g % 4 * 8);
        run->s[g][v] = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_srai_epi32(sc, 24)));
    }
    for (size_t n = 0; n < 2; n++) {
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) { /* the halves of 64 low nibbles, and of 64 high ones */
            for (size_t i = 0; i < 8; i++) {
                __m512i q = d[16 * n + 8 * h + i], high = d[32 + 8 * n + i];
                __m512i low = lanes_or(lanes_nibbles(q, 0), lanes_shift(high, h ? 2 : 4), 0x30);
                __m512i top = lanes_or(lanes_nibbles(q, 4), lanes_shift(high, h ? -2 : 0), 0x30);
                lanes_put(run, v, 32 * n + 8 * h + i, low, 32);
                lanes_put(run, v, 32 * n + 16 + 8 * h + i, top, 32);
            }
        }
    }
}

/* The two bits of Q2_K and Q3_K at d, and with `high` a third one. */
UNPACK_INLINE void lanes_two_bits(const __m512i *d, const __m512i *high, size_t v, struct lanes_run *run)
{
    const __m512i three = _mm512_set1_epi8(3);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        for (size_t i = 0; i < 8; i++) {
            __m512i q = lanes_shift(d[g / 4 * 8 + (int)i], -2 * (g % 4));
            q = _mm512_and_si512(q, three);
            q = high ? lanes_or(q, lanes_shift(high[i], 2 - g), 4) : q;
            lanes_put(run, v, 8 * (size_t)g + i, q, high ? 4 : 0);
        }
    }
}

UNPACK_INLINE void lanes_q2_k(const __m512i *d, size_t v, struct lanes_run *run)
{
    __m512 scale = lanes_f16_low(d[20]);
    __m512 least = _mm512_sub_ps(_mm512_setzero_ps(), lanes_f16_high(d[20]));
    for (unsigned g = 0; g < 16; g++) {
        run->s[g][v] = _mm512_mul_ps(scale, lanes_byte(lanes_nibbles(d[g / 4], 0), g % 4));
        run->m[g][v] = _mm512_mul_ps(least, lanes_byte(lanes_nibbles(d[g / 4], 4), g % 4));
    }
    lanes_two_bits(d + 4, NULL, v, run);
}

UNPACK_INLINE void lanes_q3_k(const __m512i *d, size_t v, struct lanes_run *run)
{
    __m512 scale = lanes_f16_low(d[27]);
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        __m512i low = lanes_nibbles(d[24 + c % 2], c < 2 ? 0 : 4);
        __m512i six = lanes_or(low, lanes_shift(d[26], 4 - 2 * c), 0x30);
        for (unsigned i = 0; i < 4; i++) {
            __m512 sc = _mm512_sub_ps(lanes_byte(six, i), _mm512_set1_ps(32));
            run->s[4 * (unsigned)c + i][v] = _mm512_mul_ps(scale, sc);
        }
    }
    lanes_two_bits(d + 8, d, v, run);
}

/* Whether the type has minima; `t` is a constant where these are inlined. */
UNPACK_INLINE bool lanes_minima(enum dtype t)
{
    return t == DTYPE_Q4_1 || t == DTYPE_Q5_1 || t == DTYPE_Q2_K || t == DTYPE_Q4_K || t == DTYPE_Q5_K;
}

/* Weights of a scale. */
UNPACK_INLINE size_t lanes_group(enum dtype t)
{
    return t == DTYPE_Q2_K || t == DTYPE_Q3_K || t == DTYPE_Q6_K ? 16 : 32;
}

UNPACK_INLINE size_t lanes_run_bytes(enum dtype t)
{
    switch (t) {
    case DTYPE_Q8_0: return 8 * 34;
    case DTYPE_Q4_0: return 8 * 18;
    case DTYPE_Q4_1: return 8 * 20;
    case DTYPE_Q5_0: return 8 * 22;
    case DTYPE_Q5_1: return 8 * 24;
    case DTYPE_Q2_K: return 84;
    case DTYPE_Q3_K: return 110;
    case DTYPE_Q4_K: return 144;
    case DTYPE_Q5_K: return 176;
    case DTYPE_Q6_K: return 210;
    default: return 8 * 17;
    }
}

/* The first n weights of the run at p of 16 rows `step` apart, to registers v. */
UNPACK_INLINE void lanes_unpack(enum dtype t, const uint8_t *p, size_t step, size_t n, size_t v,
                                struct lanes_run *run)
{
    __m512i d[LANES_BYTES / 4];
    size_t groups = n / MATMUL_GROUP;
    lanes_turn(p, step, lanes_run_bytes(t) * n / MATMUL_RUN, d);
    switch (t) {
    case DTYPE_Q8_0: lanes_q8_0(d, groups, v, run); break;
    case DTYPE_Q4_0: lanes_small(d, groups, 18, 2, 0, 8, v, run); break;
    case DTYPE_Q4_1: lanes_small(d, groups, 20, 4, 0, 0, v, run); break;
    case DTYPE_Q5_0: lanes_small(d, groups, 22, 6, 2, 16, v, run); break;
    case DTYPE_Q5_1: lanes_small(d, groups, 24, 8, 4, 0, v, run); break;
    case DTYPE_Q2_K: lanes_q2_k(d, v, run); break;
    case DTYPE_Q3_K: lanes_q3_k(d, v, run); break;
    case DTYPE_Q4_K: lanes_q4_k(d, v, run); break;
    case DTYPE_Q5_K: lanes_q5_k(d, v, run); break;
    case DTYPE_Q6_K: lanes_q6_k(d, v, run); break;
    default: lanes_mxfp4(d, groups, v, run); break;
    }
}

#endif

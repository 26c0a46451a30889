/* tensor/cpu/unit_avx512.h: units of weights for the AMX product: UNIT_K (64) weights of each of UNIT_ROWS
 * (16) rows, as bfloat16, [2 groups of 32 k][16 rows][32 k]. A unit's scales are made ahead of its weights,
 * all rows side by side, [value][row], from where a row reads its own as broadcasts from memory: they cost
 * no vector instruction. Layouts: ggml's blocks; formulas in ref/dequant.h. */
#ifndef TENSOR_CPU_UNIT_AVX512_H
#define TENSOR_CPU_UNIT_AVX512_H

#include "tensor/cpu/unpack_avx512.h"

enum {
    UNIT_K = 64,
    UNIT_ROWS = 16,
    UNIT_GROUP_BYTES = UNIT_ROWS * 64, /* 32 k of all rows */
    UNIT_SCALES = 16 * UNIT_ROWS, /* floats of one set of scales */
    UNIT_Q4_K_BYTES = 144,        /* of a block of 256 */
    UNIT_Q5_K_BYTES = 176,
    UNIT_Q6_K_BYTES = 210,
};

/* Cutting a float32 off to a bfloat16 makes it smaller by this factor, on average over mantissas
 * (2^-8 times the mean of 1 / m, which is 1 / (2 ln 2)). Rounding costs five times the cut; cut from values
 * made larger by as much, the mean error is none and the root mean square the same to 6%. */
#define UNIT_CUT 1.00282f

/* What unit_block_q8_0 adds to a weight before it is scaled. */
#define UNIT_Q8_0_OFFSET 32896.0f

/* Registers that a loop over rows keeps. */
struct unit_constants {
    __m512 up;          /* 0, 1 … 15 */
    __m512i ones, one;  /* 16-bit */
    __m512 low;         /* Q5_0: -16 … -1; Q4_0: -8 … 7; MXFP4: twice e2m1 */
    __m512i byte, base; /* Q8_0 */
    __m512i sign, turn; /* F8_E4M3 */
    __m512i spread, above; /* Q6_K: where the even values are; 128.0f */
};

UNPACK_INLINE struct unit_constants unit_begin(enum dtype t)
{
    const __m512 up = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512 e2m1 = _mm512_set_ps(-12, -8, -6, -4, -3, -2, -1, -0.0f, 12, 8, 6, 4, 3, 2, 1, 0);
    __m512 low = t == DTYPE_MXFP4 ? e2m1 : _mm512_sub_ps(up, _mm512_set1_ps(t == DTYPE_Q5_0 ? 16 : 8));
    struct unit_constants c = {up, _mm512_set1_epi16(-1), _mm512_set1_epi16(1), low,
                               _mm512_set1_epi32(0xff00), _mm512_set1_epi32(0x47008000),
                               _mm512_set1_epi8(-128), _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0),
                               _mm512_slli_epi32(_mm512_cvtps_epi32(up), 17),
                               _mm512_set1_epi32(0x43000000)};
    /* GCC would make them anew at every use. */
    __asm__("" : "+v"(c.up), "+v"(c.ones), "+v"(c.one), "+v"(c.low), "+v"(c.byte), "+v"(c.base));
    __asm__("" : "+v"(c.sign), "+v"(c.turn), "+v"(c.spread), "+v"(c.above));
    return c;
}

/* The 16 bytes at the head of 16 rows' blocks, dword j of all of them in head[j]. */
UNPACK_INLINE void unit_heads(const uint8_t *p, size_t row_bytes, __m512i head[4])
{
    __m512i z[4];
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *q = p + i * row_bytes;
        size_t four = 4 * row_bytes;
        z[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)q));
        z[i] = _mm512_inserti32x4(z[i], _mm_loadu_si128((const __m128i *)(const void *)(q + four)), 1);
        z[i] = _mm512_inserti32x4(z[i], _mm_loadu_si128((const __m128i *)(const void *)(q + 2 * four)), 2);
        z[i] = _mm512_inserti32x4(z[i], _mm_loadu_si128((const __m128i *)(const void *)(q + 3 * four)), 3);
    }
    __m512i a = _mm512_unpacklo_epi32(z[0], z[1]), b = _mm512_unpackhi_epi32(z[0], z[1]);
    __m512i c = _mm512_unpacklo_epi32(z[2], z[3]), d = _mm512_unpackhi_epi32(z[2], z[3]);
    head[0] = _mm512_unpacklo_epi64(a, c);
    head[1] = _mm512_unpackhi_epi64(a, c);
    head[2] = _mm512_unpacklo_epi64(b, d);
    head[3] = _mm512_unpackhi_epi64(b, d);
}

/* Bytes of a block of 32; 0: no type that has units of such blocks. */
UNPACK_INLINE size_t unit_block_bytes(enum dtype t)
{
    switch (t) {
    case DTYPE_Q8_0: return 34;
    case DTYPE_Q5_0: return 22;
    case DTYPE_Q4_0: return 18;
    case DTYPE_MXFP4: return 17;
    default: return 0;
    }
}

UNPACK_INLINE __m512 unit_halves(__m512i dwords)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(dwords));
}

/* Bytes 0 to 3 of each dword of v, times d, to out[0], out[UNIT_ROWS] …: a byte is left where it is, as a
 * number larger by a power of two. */
UNPACK_INLINE void unit_scale_bytes(__m512i v, __m512 d, float *out)
{
    for (int i = 0; i < 4; i++, out += UNIT_ROWS) {
        __m512i byte = _mm512_and_si512(v, _mm512_set1_epi32((int)(0xffu << 8 * i)));
        __m512 f = _mm512_mul_ps(d, _mm512_set1_ps(1.0f / (float)(1u << 8 * i)));
        _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_cvtepi32_ps(byte), f));
    }
}

/* The eight scales and eight minima of 16 rows of a Q4_K or Q5_K run, times UNIT_CUT. */
UNPACK_INLINE void unit_scales_q4_k(const uint8_t *p, size_t row_bytes, float *out)
{
    const __m512i six = _mm512_set1_epi32(0x3f3f3f3f), four = _mm512_set1_epi32(0x0f0f0f0f);
    const __m512i top = _mm512_set1_epi32(0x30303030);
    __m512i h[4];
    unit_heads(p, row_bytes, h);
    const __m512 cut = _mm512_set1_ps(UNIT_CUT);
    __m512 d = _mm512_mul_ps(unit_halves(h[0]), cut);
    __m512 m = _mm512_mul_ps(unit_halves(_mm512_srli_epi32(h[0], 16)), cut);
    /* 0xf8: a | (b & c) */
    __m512i s = _mm512_ternarylogic_epi32(_mm512_and_si512(h[3], four), _mm512_srli_epi32(h[1], 2),
                                          top, 0xf8);
    __m512i t = _mm512_ternarylogic_epi32(_mm512_and_si512(_mm512_srli_epi32(h[3], 4), four),
                                          _mm512_srli_epi32(h[2], 2), top, 0xf8);
    unit_scale_bytes(_mm512_and_si512(h[1], six), d, out);
    unit_scale_bytes(s, d, out + 4 * UNIT_ROWS);
    unit_scale_bytes(_mm512_and_si512(h[2], six), m, out + 8 * UNIT_ROWS);
    unit_scale_bytes(t, m, out + 12 * UNIT_ROWS);
}

/* Without the last bits of the mantissa. What is multiplied by it and by an offset has to be exact, or a weight
 * of zero would not be zero. */
UNPACK_INLINE __m512 unit_short(__m512 v, unsigned bits)
{
    const __m512i mask = _mm512_set1_epi32((int)(0xffffffffu << bits));
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), mask));
}

/* The sixteen scales of 16 rows of a Q6_K run, times UNIT_CUT. p: at their bytes. */
UNPACK_INLINE void unit_scales_q6_k(const uint8_t *p, size_t row_bytes, float *out)
{
    const __m512i rows = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i at = _mm512_mullo_epi32(rows, _mm512_set1_epi32((int)row_bytes));
    __m512i tails = _mm512_i32gather_epi32(at, (const int *)(const void *)(p + 14), 1);
    __m512 d = _mm512_mul_ps(unit_halves(_mm512_srli_epi32(tails, 16)), _mm512_set1_ps(UNIT_CUT));
    __m512i h[4];
    unit_heads(p, row_bytes, h);
    for (unsigned i = 0; i < 16; i++, out += UNIT_ROWS) {
        __m512i byte = _mm512_srai_epi32(_mm512_slli_epi32(h[i / 4], 24 - i % 4 * 8), 24);
        /* Times 160, which has three bits, is exact. */
        _mm512_storeu_ps(out, unit_short(_mm512_mul_ps(_mm512_cvtepi32_ps(byte), d), 3));
    }
}

/* 16 rows of a type with one scale per block of 32, of both blocks of a unit. A half float, times UNIT_CUT,
 * and for Q8_0 that times UNIT_Q8_0_OFFSET; or half of MXFP4's power of two, which makes weights that are not
 * cut at all (as in unpack_mxfp4, the two smallest powers are zero). */
UNPACK_INLINE void unit_scales_small(enum dtype t, const uint8_t *p, size_t row_bytes, float *out)
{
    const size_t block_bytes = unit_block_bytes(t);
    const __m512i rows = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i at = _mm512_mullo_epi32(rows, _mm512_set1_epi32((int)row_bytes));
    for (size_t i = 0; i < 2; i++, out += 2 * UNIT_ROWS) {
        __m512i heads = _mm512_i32gather_epi32(at, (const int *)(const void *)(p + i * block_bytes), 1);
        if (t == DTYPE_MXFP4) {
            __m512i e = _mm512_and_si512(heads, _mm512_set1_epi32(255));
            e = _mm512_slli_epi32(_mm512_subs_epu16(e, _mm512_set1_epi32(1)), 23);
            _mm512_storeu_si512(out, e);
            continue;
        }
        __m512 d = _mm512_mul_ps(unit_halves(heads), _mm512_set1_ps(UNIT_CUT));
        if (t == DTYPE_Q8_0) {
            d = unit_short(d, 9); /* times UNIT_Q8_0_OFFSET, which has nine bits, is exact */
        }
        _mm512_storeu_ps(out, d);
        if (t == DTYPE_Q8_0) {
            _mm512_storeu_ps(out + UNIT_ROWS, _mm512_mul_ps(d, _mm512_set1_ps(UNIT_Q8_0_OFFSET)));
        }
    }
}

/* F8_E4M3: the 128 magnitudes times a scale as bfloat16, their low bytes and their high bytes. */
struct unit_e4m3 {
    __m512i low[2], high[2];
};

/* A table, rounded, to out. Eight values share an exponent; v[j] holds those of two exponents, so that packing
 * by 128-bit lanes leaves them in order: v[0] 0 and 2, v[1] 1 and 3, v[2] 4 and 6, v[3] 5 and 7; then 8 on. */
UNPACK_INLINE void unit_table_e4m3(float scale, float *out)
{
    const __m512 up = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i ff = _mm512_set1_epi16(255);
    /* Exponents 1 and 3: 8 to 15 times 2^-9 and 2^-7; 0 and 2: 0 to 7 times 2^-9, 8 to 15 times 2^-8. */
    const __m512 one = _mm512_mul_ps(_mm512_mask_add_ps(up, 0xff, up, _mm512_set1_ps(8)),
                                     _mm512_mask_blend_ps(0xff00, _mm512_set1_ps(0x1p-9f),
                                                          _mm512_set1_ps(0x1p-7f)));
    const __m512 zero = _mm512_mask_sub_ps(_mm512_mul_ps(one, _mm512_set1_ps(0.5f)), 0xff, one,
                                           _mm512_set1_ps(0x1p-6f));
    const __m512 s = _mm512_set1_ps(scale);
    struct unit_e4m3 table;
    for (int i = 0; i < 2; i++) {
        __m512 v[4];
        for (int j = 0; j < 4; j++) {
            static const float size[8] = {1, 1, 8, 16, 128, 256, 2048, 4096};
            v[j] = _mm512_mul_ps(_mm512_mul_ps(i + j ? one : zero, _mm512_set1_ps(size[4 * i + j])), s);
        }
        if (i == 1) {
            v[3] = _mm512_mask_mov_ps(v[3], 0x8000, _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)));
        }
        __m512i a = (__m512i)_mm512_cvtne2ps_pbh(v[2], v[0]), b = (__m512i)_mm512_cvtne2ps_pbh(v[3], v[1]);
        table.low[i] = _mm512_packus_epi16(_mm512_and_si512(a, ff), _mm512_and_si512(b, ff));
        table.high[i] = _mm512_packus_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8));
    }
    memcpy(out, &table, sizeof table);
}

/* 64 weights of a row. The bytes themselves are indices; the sign is put back into the high bytes. */
UNPACK_INLINE void unit_row_e4m3(const struct unit_constants *c, const struct unit_e4m3 *table,
                                 const uint8_t *p, char *dst)
{
    /* Each lane's low half for the first group, its high half for the second. */
    __m512i w = _mm512_permutexvar_epi64(c->turn, _mm512_loadu_si512(p));
    __m512i low = _mm512_permutex2var_epi8(table->low[0], w, table->low[1]);
    __m512i high = _mm512_permutex2var_epi8(table->high[0], w, table->high[1]);
    high = _mm512_ternarylogic_epi32(high, w, c->sign, 0x78); /* a ^ (b & c) */
    _mm512_storeu_si512(dst, _mm512_unpacklo_epi8(low, high));
    _mm512_storeu_si512(dst + UNIT_GROUP_BYTES, _mm512_unpackhi_epi8(low, high));
}

/* Even and odd halves from float32 `even` and `odd`, cut off. */
UNPACK_INLINE __m512i unit_merge(__m512 even, __m512 odd)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(_mm512_castps_si512(even), 16),
                                   _mm512_castps_si512(odd));
}

/* A row of Q4_K, 32 bytes at p. A group of 32 has 16 values: as floats they are a table of bfloat16 in
 * their odd halves, which the 4-bit values index. s: this row's scale of the unit's first group. */
UNPACK_INLINE void unit_row_q4_k(const struct unit_constants *c, const uint8_t *p, const float *s,
                                 char *dst)
{
    const float *m = s + 8 * UNIT_ROWS;
    __m512 a = _mm512_fmsub_ps(c->up, _mm512_set1_ps(s[0]), _mm512_set1_ps(m[0]));
    __m512 b = _mm512_fmsub_ps(c->up, _mm512_set1_ps(s[UNIT_ROWS]), _mm512_set1_ps(m[UNIT_ROWS]));
    __m512i bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
    /* 2 q + 1; the bits above the fifth do not count. */
    __m512i i0 = _mm512_shldi_epi16(bytes, c->ones, 1);
    __m512i i1 = _mm512_or_si512(_mm512_srli_epi16(bytes, 3), c->one);
    _mm512_storeu_si512(dst, _mm512_permutexvar_epi16(i0, _mm512_castps_si512(a)));
    _mm512_storeu_si512(dst + UNIT_GROUP_BYTES, _mm512_permutexvar_epi16(i1, _mm512_castps_si512(b)));
}

/* A row of Q5_K, four bits of 64 values at p, fifth bits at high, the first group's at `bit` of each byte:
 * tables of all 32 values, those with the fifth bit in the odd halves. s: as for Q4_K. */
UNPACK_INLINE void unit_row_q5_k(const struct unit_constants *c, const uint8_t *p, const uint8_t *high,
                                 __m512i bit, const float *s, char *dst)
{
    const __m512 up16 = _mm512_add_ps(c->up, _mm512_set1_ps(16));
    __m512i bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
    __m512i top = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)high));
    top = _mm512_srlv_epi16(top, bit);
    /* 2 q plus the fifth bit; the bits above do not count. 0xca: a ? b : c */
    __m512i i0 = _mm512_ternarylogic_epi32(c->one, top, _mm512_add_epi16(bytes, bytes), 0xca);
    __m512i i1 = _mm512_ternarylogic_epi32(c->one, _mm512_srli_epi16(top, 1),
                                           _mm512_srli_epi16(bytes, 3), 0xca);
    for (int g = 0; g < 2; g++, s += UNIT_ROWS, dst += UNIT_GROUP_BYTES) {
        __m512 d = _mm512_set1_ps(s[0]), m = _mm512_set1_ps(s[8 * UNIT_ROWS]);
        __m512i table = unit_merge(_mm512_fmsub_ps(c->up, d, m), _mm512_fmsub_ps(up16, d, m));
        _mm512_storeu_si512(dst, _mm512_permutexvar_epi16(g ? i1 : i0, table));
    }
}

/* Which bits of a Q6_K run's bytes a unit takes: how far the dwords of the low four bits and of both groups'
 * top two are turned to the left. Units take the low nibbles and the high nibbles by turns. */
struct unit_q6_k {
    __m512i low, top;
};

UNPACK_INLINE struct unit_q6_k unit_turns_q6_k(size_t u)
{
    static const uint32_t turns[2][4] = {{0, 0, 4, 2}, {28, 28, 0, 30}};
    const uint32_t *t = turns[u % 2];
    return (struct unit_q6_k){_mm512_set1_epi32((int)t[0]),
                              _mm512_mask_set1_epi32(_mm512_set1_epi32((int)t[2]), 0xff00, (int)t[3])};
}

/* A row of Q6_K, low bits of 64 values at p and top bits at q: a value becomes byte 2 of a float32 between 128
 * and 192 (160 more than the weight), from which one multiplication makes the weight. s: this row's first of
 * four scales. */
UNPACK_INLINE void unit_row_q6_k(const struct unit_constants *c, const struct unit_q6_k *turns,
                                 const uint8_t *p, const uint8_t *q, const float *s, char *dst)
{
    const __m512i low = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30);
    __m512i v = _mm512_and_si512(_mm512_rolv_epi32(_mm512_loadu_si512(p), turns->low), low);
    /* 0xf8: a | (b & c) */
    v = _mm512_ternarylogic_epi32(v, _mm512_rolv_epi32(unpack_twice(q), turns->top), top, 0xf8);
    for (int g = 0; g < 2; g++, s += 2 * UNIT_ROWS, dst += UNIT_GROUP_BYTES) {
        __m512i at = _mm512_add_epi32(c->spread, _mm512_set1_epi32(g << 21));
        __m512i at_odd = _mm512_add_epi32(at, _mm512_set1_epi32(1 << 16));
        __m512i even = _mm512_mask_permutexvar_epi8(c->above, 0x4444444444444444, at, v);
        __m512i odd = _mm512_mask_permutexvar_epi8(c->above, 0x4444444444444444, at_odd, v);
        __m512 d = _mm512_mask_blend_ps(0xff00, _mm512_set1_ps(s[0]), _mm512_set1_ps(s[UNIT_ROWS]));
        __m512 offset = _mm512_mul_ps(d, _mm512_set1_ps(160));
        _mm512_storeu_si512(dst, unit_merge(_mm512_fmsub_ps(_mm512_castsi512_ps(even), d, offset),
                                            _mm512_fmsub_ps(_mm512_castsi512_ps(odd), d, offset)));
    }
}

/* 16 bytes to the low 4-bit values of all of them, then the high ones, as 16-bit numbers whose bits above the
 * fourth are anything. */
UNPACK_INLINE __m512i unit_nibbles(const uint8_t *p)
{
    const __m512i shift = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm512_srlv_epi16(_mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(v)), shift);
}

/* A block of Q4_0 (nibbles from byte 2 on) or MXFP4 (from byte 1 on). */
UNPACK_INLINE void unit_block_q4(const struct unit_constants *c, const uint8_t *nibbles, const float *s,
                                 char *dst)
{
    __m512 table = _mm512_mul_ps(c->low, _mm512_set1_ps(*s));
    __m512i q = _mm512_shldi_epi16(unit_nibbles(nibbles), c->ones, 1);
    _mm512_storeu_si512(dst, _mm512_permutexvar_epi16(q, _mm512_castps_si512(table)));
}

/* A block of Q5_0: a table of all 32 values, those with the fifth bit in the odd halves. */
UNPACK_INLINE void unit_block_q5_0(const struct unit_constants *c, const uint8_t *p, const float *s,
                                   char *dst)
{
    __m512 d = _mm512_set1_ps(*s);
    __m512i table = unit_merge(_mm512_mul_ps(c->low, d), _mm512_mul_ps(c->up, d));
    __m512i q = unit_nibbles(p + 6), two = _mm512_add_epi16(q, q);
    q = _mm512_mask_add_epi16(two, unpack_u32(p + 2), two, c->one);
    _mm512_storeu_si512(dst, _mm512_permutexvar_epi16(q, table));
}

/* A block of Q8_0: a byte of a 16-bit pair becomes bits 8 to 15 of a float32 between 2^15 and 2^15 + 256
 * (128 more than the weight), from which one multiplication makes the weight. */
UNPACK_INLINE void unit_block_q8_0(const struct unit_constants *c, const uint8_t *p, const float *s,
                                   char *dst)
{
    __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p + 2)));
    /* 0x6a: mask ? w ^ base : base */
    __m512i odd = _mm512_ternarylogic_epi32(w, c->byte, c->base, 0x6a);
    __m512i even = _mm512_ternarylogic_epi32(_mm512_slli_epi32(w, 8), c->byte, c->base, 0x6a);
    __m512 d = _mm512_set1_ps(s[0]), offset = _mm512_set1_ps(s[UNIT_ROWS]);
    _mm512_storeu_si512(dst, unit_merge(_mm512_fmsub_ps(_mm512_castsi512_ps(even), d, offset),
                                        _mm512_fmsub_ps(_mm512_castsi512_ps(odd), d, offset)));
}

/* A block of one of the types of unit_block_bytes. */
UNPACK_INLINE void unit_block(enum dtype t, const struct unit_constants *c, const uint8_t *p,
                              const float *s, char *dst)
{
    switch (t) {
    case DTYPE_Q8_0: unit_block_q8_0(c, p, s, dst); break;
    case DTYPE_Q5_0: unit_block_q5_0(c, p, s, dst); break;
    default: unit_block_q4(c, p + (t == DTYPE_Q4_0 ? 2 : 1), s, dst);
    }
}

/* How many units a set of scales serves: a K type's run, FP8's 128 columns; 0 where there are none. */
UNPACK_INLINE size_t unit_scales_units(enum dtype t)
{
    switch (t) {
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
    case DTYPE_Q6_K: return 4;
    case DTYPE_F8_E4M3: return 2;
    default: return unit_block_bytes(t) ? 1 : 0;
    }
}

/* Set `at` of the scales of 16 rows from p on; not FP8's. */
UNPACK_INLINE void unit_scales(enum dtype t, const uint8_t *p, size_t row_bytes, size_t at, float *out)
{
    switch (t) {
    case DTYPE_Q4_K: unit_scales_q4_k(p + at * UNIT_Q4_K_BYTES, row_bytes, out); break;
    case DTYPE_Q5_K: unit_scales_q4_k(p + at * UNIT_Q5_K_BYTES, row_bytes, out); break;
    case DTYPE_Q6_K: unit_scales_q6_k(p + at * UNIT_Q6_K_BYTES + 192, row_bytes, out); break;
    default: unit_scales_small(t, p + at * 2 * unit_block_bytes(t), row_bytes, out);
    }
}

/* Unit u of a row. s: this row's first in the set that serves the unit; FP8's is the table. */
UNPACK_INLINE void unit_row(enum dtype t, const struct unit_constants *c, const uint8_t *row, size_t u,
                            const float *s, char *dst)
{
    const __m512i bit = _mm512_set1_epi16((short)(u % 4 * 2));
    switch (t) {
    case DTYPE_Q4_K:
        unit_row_q4_k(c, row + u / 4 * UNIT_Q4_K_BYTES + 16 + u % 4 * 32, s + u % 4 * 2 * UNIT_ROWS, dst);
        break;
    case DTYPE_Q5_K:
        row += u / 4 * UNIT_Q5_K_BYTES;
        unit_row_q5_k(c, row + 48 + u % 4 * 32, row + 16, bit, s + u % 4 * 2 * UNIT_ROWS, dst);
        break;
    case DTYPE_Q6_K: {
        struct unit_q6_k turns = unit_turns_q6_k(u);
        row += u / 4 * UNIT_Q6_K_BYTES;
        unit_row_q6_k(c, &turns, row + u / 2 % 2 * 64, row + 128 + u / 2 % 2 * 32, s + u % 4 * 4 * UNIT_ROWS,
                      dst);
        break;
    }
    case DTYPE_F8_E4M3: {
        struct unit_e4m3 table;
        memcpy(&table, s, sizeof table);
        unit_row_e4m3(c, &table, row + u * UNIT_K, dst);
        break;
    }
    case DTYPE_BF16:
        memcpy(dst, row + u * 2 * UNIT_K, 64);
        memcpy(dst + UNIT_GROUP_BYTES, row + u * 2 * UNIT_K + 64, 64);
        break;
    default:
        row += u * 2 * unit_block_bytes(t);
        unit_block(t, c, row, s, dst);
        unit_block(t, c, row + unit_block_bytes(t), s + 2 * UNIT_ROWS, dst + UNIT_GROUP_BYTES);
    }
}

#endif

/* tensor/cpu/dot_avx512.c: a few activation rows against weights as they stream from memory; see
 * dot_body.h. */
#include "tensor/cpu/matmul_avx512.h"
#include "tensor/cpu/unpack_avx512.h"

enum { DOT_STREAMS = 4 };
typedef __m512 dot_vec;

static inline dot_vec dot_zero(void)
{
    return _mm512_setzero_ps();
}

static inline void dot_sums(dot_vec a, dot_vec b, dot_vec c, dot_vec d, float out[DOT_STREAMS])
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 v = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    __m256 w = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1)));
}

/* Half of 32 activations at group g, from their largest magnitude. */
static void dot_quantize_half(struct matmul_q15 *run, size_t g, __m512 v, float max)
{
    float inverse = max < 1e-30f ? 0.0f : (float)MATMUL_Q15_MAX / max;
    __m512i i = _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverse)));
    __m512i high = _mm512_srai_epi32(_mm512_add_epi32(i, _mm512_set1_epi32(64)), 7);
    __m512i low = _mm512_sub_epi32(i, _mm512_slli_epi32(high, 7));
    _mm_storeu_si128((__m128i *)(void *)(run->high + 16 * g), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128((__m128i *)(void *)(run->low + 16 * g), _mm512_cvtepi32_epi8(low));
    run->d[g] = max / (float)MATMUL_Q15_MAX;
    run->s[g] = max / (float)MATMUL_Q15_MAX * _mm512_reduce_add_ps(_mm512_cvtepi32_ps(i));
}

/* What a run holds for Q4_K, from the rest. */
static void dot_quantize_k(struct matmul_q15 *run)
{
    for (size_t g = 0; g < 16; g++) { /* 16 activations: 0, 1 low halves, 2, 3 high ones of 32 bytes */
        memcpy(run->k_high + g % 4 * 64 + g / 4 * 16, run->high + 16 * g, 16);
        memcpy(run->k_low + g % 4 * 64 + g / 4 * 16, run->low + 16 * g, 16);
        run->k_d[0][g] = run->d[g / 4 * 4];
        run->k_d[1][g] = run->d[g / 4 * 4 + 2] / 16;
    }
    for (size_t g = 0; g < 8; g++) {
        run->k_s[g] = 0;
        run->k_s[8 + g] = run->s[2 * g] + run->s[2 * g + 1];
    }
}

void dot_avx512_quantize(struct matmul_q15 *q, const float *x, size_t k)
{
    const __m512i abs = _mm512_set1_epi32(0x7fffffff);
    size_t runs = matmul_round(k, MATMUL_RUN) / MATMUL_RUN;
    for (size_t g = 0; g < 8 * runs; g++) {
        size_t left = k > 32 * g ? k - 32 * g : 0;
        uint32_t m = left >= 32 ? 0xffffffffu : (1u << left) - 1;
        __m512 v = _mm512_maskz_loadu_ps((__mmask16)m, x + 32 * g);
        __m512 w = _mm512_maskz_loadu_ps((__mmask16)(m >> 16), x + 32 * g + 16);
        /* As integers, so that a NaN is the largest and spoils its whole group. */
        union {
            uint32_t u;
            float f;
        } max = {.u = _mm512_reduce_max_epu32(
                     _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(v), abs),
                                      _mm512_and_si512(_mm512_castps_si512(w), abs)))};
        dot_quantize_half(q + g / 8, g % 8 * 2, v, max.f);
        dot_quantize_half(q + g / 8, g % 8 * 2 + 1, w, max.f);
    }
    for (size_t r = 0; r < runs; r++) {
        dot_quantize_k(q + r);
    }
}

/* The scales (lanes 0 to 7) and minima (8 to 15) of a run of Q4_K or Q5_K of each row, in w[s].s: the six
 * bits of all of them put together as bytes of one register, a row per 128 bits. */
UNPACK_INLINE void dot_k_scales(const uint8_t *const *row, size_t at, struct unpack_run w[DOT_STREAMS])
{
    __m512i h = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)(row[0] + at)));
    h = _mm512_inserti32x4(h, _mm_loadu_si128((const __m128i *)(const void *)(row[1] + at)), 1);
    h = _mm512_inserti32x4(h, _mm_loadu_si128((const __m128i *)(const void *)(row[2] + at)), 2);
    h = _mm512_inserti32x4(h, _mm_loadu_si128((const __m128i *)(const void *)(row[3] + at)), 3);
    const __m512i low = _mm512_broadcast_i32x4(
        _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i low_bits = _mm512_broadcast_i32x4(
        _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f));
    const __m512i top = _mm512_broadcast_i32x4(
        _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
    __m512i a = _mm512_shuffle_epi8(h, low);
    a = _mm512_mask_srli_epi32(a, 0x8888, a, 4); /* the minima of groups 4 to 7 */
    __m512i b = _mm512_srli_epi16(_mm512_shuffle_epi8(h, top), 2);
    /* 0xf8: a | (b & c) */
    __m512i six = _mm512_ternarylogic_epi32(_mm512_and_si512(a, low_bits), b,
                                            _mm512_set1_epi8(0x30), 0xf8);
    _Alignas(64) uint8_t bytes[64];
    _mm512_store_si512(bytes, six);
    UNPACK_IN_MEMORY(bytes);
    const __m512i heads = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
    __m128i d = _mm512_castsi512_si128(_mm512_permutexvar_epi32(heads, h));
    __m512 dd = _mm512_castps256_ps512(_mm256_cvtph_ps(d)); /* d, dmin of each row */
#pragma GCC unroll 4
    for (int s = 0; s < DOT_STREAMS; s++) {
        __m512i which = _mm512_inserti64x4(_mm512_set1_epi32(2 * s), _mm256_set1_epi32(2 * s + 1), 1);
        __m512i v = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(const void *)(bytes + 16 * s)));
        w[s].s = _mm512_mul_ps(_mm512_cvtepi32_ps(v), _mm512_permutexvar_ps(which, dd));
    }
}

UNPACK_INLINE void dot_scales(enum dtype t, const uint8_t *const *row, size_t at,
                              struct unpack_run w[DOT_STREAMS])
{
    if (t == DTYPE_Q4_K || t == DTYPE_Q5_K) {
        dot_k_scales(row, at, w);
    }
}

/* The bytes of a Q4_K run in the order of matmul_q15.k_high, the high halves times 16. */
UNPACK_INLINE void dot_unpack_q4_k(const uint8_t *p, struct unpack_run *w)
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512i a = _mm512_loadu_si512(p + 16), b = _mm512_loadu_si512(p + 80);
    __m512i first = _mm512_shuffle_i64x2(a, b, 0x88), second = _mm512_shuffle_i64x2(a, b, 0xdd);
    w->q[0] = _mm512_and_si512(first, low);
    w->q[1] = _mm512_and_si512(second, low);
    w->q[2] = _mm512_andnot_si512(low, first);
    w->q[3] = _mm512_andnot_si512(low, second);
}

UNPACK_INLINE void dot_unpack(enum dtype t, const uint8_t *p, struct unpack_run *w)
{
    switch (t) {
    case DTYPE_Q4_K: dot_unpack_q4_k(p, w); break;
    case DTYPE_Q5_K: unpack_q5_k_bytes(p, w); break;
    default: unpack_run(t, p, w);
    }
}

/* Forgets all but the first groups of 16. */
UNPACK_INLINE void dot_cut(struct unpack_run *w, size_t groups)
{
    __mmask16 m = (__mmask16)((1u << groups) - 1);
    w->s = _mm512_maskz_mov_ps(m, w->s);
    w->m = _mm512_maskz_mov_ps(m, w->m);
}

/* Vectors i and j of weights times those of activations, as integers; without j, i alone. */
UNPACK_INLINE __m512i dot_integers(const struct unpack_run *w, const int8_t *high, const int8_t *low, int i,
                                   int j)
{
    __m512i p = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w->q[i], _mm512_loadu_si512(high + 64 * i));
    if (j >= 0) {
        p = _mm512_dpbusd_epi32(p, w->q[j], _mm512_loadu_si512(high + 64 * j));
    }
    p = _mm512_dpbusd_epi32(_mm512_slli_epi32(p, 7), w->q[i], _mm512_loadu_si512(low + 64 * i));
    return j >= 0 ? _mm512_dpbusd_epi32(p, w->q[j], _mm512_loadu_si512(low + 64 * j)) : p;
}

/* Q4_K: in its order every lane of two vectors has the same scale, and they add up as integers. */
UNPACK_INLINE dot_vec dot_run_q4_k(const struct unpack_run *w, const struct matmul_q15 *x, dot_vec acc)
{
    const __m512i even = _mm512_set_epi32(6, 6, 6, 6, 4, 4, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0);
    const __m512i odd = _mm512_set_epi32(7, 7, 7, 7, 5, 5, 5, 5, 3, 3, 3, 3, 1, 1, 1, 1);
    acc = _mm512_fnmadd_ps(w->s, _mm512_loadu_ps(x->k_s), acc);
    __m512 s = _mm512_mul_ps(_mm512_permutexvar_ps(even, w->s), _mm512_loadu_ps(x->k_d[0]));
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot_integers(w, x->k_high, x->k_low, 0, 1)), s, acc);
    s = _mm512_mul_ps(_mm512_permutexvar_ps(odd, w->s), _mm512_loadu_ps(x->k_d[1]));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot_integers(w, x->k_high, x->k_low, 2, 3)), s, acc);
}

/* One run of one weight row times one activation run. */
UNPACK_INLINE dot_vec dot_run(enum dtype t, const struct unpack_run *w, const struct matmul_q15 *x,
                              dot_vec acc)
{
    __m512 s = w->s;
    if (t == DTYPE_Q4_K) {
        return dot_run_q4_k(w, x, acc);
    }
    if (t == DTYPE_Q5_K) {
        const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
        acc = _mm512_fnmadd_ps(s, _mm512_loadu_ps(x->k_s), acc);
        s = _mm512_permutexvar_ps(twice, s);
    } else {
        acc = _mm512_fmadd_ps(w->m, _mm512_loadu_ps(x->s), acc);
    }
    __m512 scale = _mm512_mul_ps(s, _mm512_loadu_ps(x->d));
    for (int i = 0; i < 4; i++) {
        __m512i p = dot_integers(w, x->high, x->low, i, -1);
        const __m512i lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
        __m512i idx = _mm512_add_epi32(lanes, _mm512_set1_epi32(4 * i));
        acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(p), _mm512_permutexvar_ps(idx, scale), acc);
    }
    return acc;
}

#include "tensor/cpu/dot_body.h"

/* 32 weights of a plain type; `scale` is F8_E4M3's. */
UNPACK_INLINE void dot_plain_load(enum dtype t, const uint8_t *p, const float *scale, __m512 w[2])
{
    switch (t) {
    case DTYPE_F32:
        w[0] = _mm512_loadu_ps(p);
        w[1] = _mm512_loadu_ps(p + 64);
        break;
    case DTYPE_F16:
        w[0] = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
        w[1] = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p + 32)));
        break;
    case DTYPE_BF16:
        w[0] = unpack_bf16_sixteen(p);
        w[1] = unpack_bf16_sixteen(p + 32);
        break;
    default: {
        __m512 s = _mm512_set1_ps(*scale * UNPACK_E4M3_SHRINK);
        __m512i halves = unpack_e4m3_halves(p);
        w[0] = _mm512_mul_ps(unpack_e4m3_low(halves), s);
        w[1] = _mm512_mul_ps(unpack_e4m3_high(halves), s);
        break;
    }
    }
}

/* Adds 32 k, of which the first `left` exist, of one weight row and all activation rows. */
UNPACK_INLINE void dot_plain_step(enum dtype t, size_t size, size_t rows, const uint8_t *p,
                                  const float *scale, const void *const *x, size_t at, size_t left,
                                  __m512 *acc)
{
    uint8_t part[MATMUL_GROUP * 4];
    if (left < MATMUL_GROUP) {
        memset(part, 0, sizeof part);
        memcpy(part, p, left * size);
        p = part;
    }
    __mmask32 m = left < MATMUL_GROUP ? (1u << left) - 1 : 0xffffffffu;
    __m512 w[2];
    dot_plain_load(t, p, scale, w);
    for (size_t i = 0; i < rows; i++) {
        const float *v = (const float *)x[i] + at;
        acc[i] = _mm512_fmadd_ps(w[0], _mm512_maskz_loadu_ps((__mmask16)m, v), acc[i]);
        acc[i] = _mm512_fmadd_ps(w[1], _mm512_maskz_loadu_ps((__mmask16)(m >> 16), v + 16), acc[i]);
    }
}

UNPACK_INLINE void dot_plain_rows(enum dtype t, size_t rows, const struct dot_rows *w, size_t k,
                                  const void *const *x, float out[][DOT_STREAMS])
{
    const size_t size = t == DTYPE_F32 ? 4 : t == DTYPE_F8_E4M3 ? 1 : 2;
    __m512 acc[DOT_STREAMS][MATMUL_DOT_ROWS];
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            acc[s][i] = _mm512_setzero_ps();
        }
    }
    size_t whole = k / MATMUL_GROUP * MATMUL_GROUP;
    for (size_t at = 0; at < whole; at += MATMUL_GROUP) {
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            dot_prefetch(w->ahead[s] + at * size, MATMUL_GROUP * size);
            const float *sc = t == DTYPE_F8_E4M3 ? w->scale[s] + at / TENSOR_FP8_BLOCK : NULL;
            dot_plain_step(t, size, rows, w->row[s] + at * size, sc, x, at, MATMUL_GROUP, acc[s]);
        }
    }
    for (size_t s = 0; s < DOT_STREAMS && whole < k; s++) {
        const float *sc = t == DTYPE_F8_E4M3 ? w->scale[s] + whole / TENSOR_FP8_BLOCK : NULL;
        dot_plain_step(t, size, rows, w->row[s] + whole * size, sc, x, whole, k - whole, acc[s]);
    }
    for (size_t i = 0; i < rows; i++) {
        dot_sums(acc[0][i], acc[1][i], acc[2][i], acc[3][i], out[i]);
    }
}

void dot_avx512(const struct matmul_task *t)
{
    dot_fns[t->w->dtype](t);
}

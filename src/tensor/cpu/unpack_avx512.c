/* tensor/cpu/unpack_avx512.c: weights to float32 and bfloat16 panels; see unpack_avx512.h. The
 * bfloat16 of a block weight is rounded once, from its float32 value. */
#include "tensor/cpu/unpack_avx512.h"

/* Where a run's bytes, scales and minima wait to be read back one group at a time: broadcasts and
 * widenings from memory cost no shuffles. */
struct unpack_spill {
    _Alignas(64) uint8_t q[MATMUL_RUN];
    _Alignas(64) float s[16], m[16];
};

UNPACK_INLINE void unpack_spill(enum dtype t, const uint8_t *p, struct unpack_spill *w)
{
    struct unpack_run r;
    unpack_run(t, p, &r);
    for (int i = 0; i < 4; i++) {
        _mm512_store_si512(w->q + 64 * i, r.q[i]);
    }
    _mm512_store_ps(w->s, r.s);
    _mm512_store_ps(w->m, r.m);
    UNPACK_IN_MEMORY(w);
}

/* Weights 16 i .. 16 i + 15 of the run. */
UNPACK_INLINE __m512 unpack_sixteen(const struct unpack_spill *w, size_t i)
{
    __m512i q = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(w->q + 16 * i)));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), _mm512_set1_ps(w->s[i]),
                           _mm512_set1_ps(w->m[i]));
}

UNPACK_INLINE void unpack_store_bf16(char *dst, __m512 low, __m512 high)
{
    _mm512_storeu_si512(dst, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

UNPACK_INLINE void unpack_block_run(enum dtype t, bool bf16, const uint8_t *p, size_t groups,
                                    char *dst, size_t step)
{
    struct unpack_spill w;
    unpack_spill(t, p, &w);
    for (size_t g = 0; g < groups; g++, dst += step) {
        __m512 low = unpack_sixteen(&w, 2 * g), high = unpack_sixteen(&w, 2 * g + 1);
        if (bf16) {
            unpack_store_bf16(dst, low, high);
        } else {
            _mm512_storeu_ps(dst, low);
            _mm512_storeu_ps(dst + 64, high);
        }
    }
}

UNPACK_INLINE void unpack_block(enum dtype t, bool bf16, const uint8_t *p, size_t n, char *dst,
                                size_t step)
{
    if (n == MATMUL_RUN) {
        unpack_block_run(t, bf16, p, MATMUL_RUN / MATMUL_GROUP, dst, step);
        return;
    }
    /* The end of a row: fewer than 8 small blocks, filled up with empty ones. */
    uint8_t run[MATMUL_RUN / MATMUL_GROUP * 34] = {0};
    size_t blocks = n / MATMUL_GROUP;
    memcpy(run, p, blocks * dtype_info(t)->block_bytes);
    unpack_block_run(t, bf16, run, blocks, dst, step);
}

/* The half float at p in all lanes. */
UNPACK_INLINE __m512 unpack_f16_all(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)h));
}

/* Q8_0 widened straight from its blocks. */
static void unpack_direct_q8_0(const uint8_t *p, size_t n, char *dst, size_t step)
{
    for (size_t i = 0; i < n; i += MATMUL_GROUP, p += 34, dst += step) {
        __m512 d = unpack_f16_all(p);
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(p + 2));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 18));
        unpack_store_bf16(dst, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(a)), d),
                          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b)), d));
    }
}

/* A table of all 32 values of each block: Q5_0 and Q4_0 (whose upper half stays unused). */
UNPACK_INLINE void unpack_table_small(const uint8_t *p, size_t n, size_t size, bool five, char *dst,
                                      size_t step)
{
    const __m512 up = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512 low = _mm512_sub_ps(up, _mm512_set1_ps(five ? 16.0f : 8.0f));
    for (size_t i = 0; i < n; i += MATMUL_GROUP, p += size, dst += step) {
        __m512 d = unpack_f16_all(p);
        __m512i table = (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(up, d), _mm512_mul_ps(low, d));
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + size - 16));
        __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1);
        __m512i q = _mm512_cvtepu8_epi16(_mm256_and_si256(both, _mm256_set1_epi8(15)));
        if (five) {
            q = _mm512_mask_add_epi16(q, unpack_u32(p + 2), q, _mm512_set1_epi16(16));
        }
        _mm512_storeu_si512(dst, _mm512_permutexvar_epi16(q, table));
    }
}

/* The end of a plain row: what is there, then zeros, as one run. */
UNPACK_INLINE const uint8_t *unpack_padded(const uint8_t *p, size_t n, size_t size, uint8_t *run)
{
    if (n % MATMUL_GROUP == 0) {
        return p;
    }
    memset(run, 0, matmul_round(n, MATMUL_GROUP) * size);
    memcpy(run, p, n * size);
    return run;
}

static void unpack_f32_f32(const uint8_t *p, size_t n, const float *scale, char *dst, size_t step)
{
    (void)scale;
    uint8_t run[MATMUL_RUN * 4];
    p = unpack_padded(p, n, 4, run);
    for (size_t i = 0; i < n; i += MATMUL_GROUP, dst += step) {
        memcpy(dst, p + 4 * i, 4 * MATMUL_GROUP);
    }
}

static void unpack_f16_f32(const uint8_t *p, size_t n, const float *scale, char *dst, size_t step)
{
    (void)scale;
    uint8_t run[MATMUL_RUN * 2];
    p = unpack_padded(p, n, 2, run);
    for (size_t i = 0; i < n; i += MATMUL_GROUP, dst += step) {
        _mm512_storeu_ps(dst, _mm512_cvtph_ps(_mm256_loadu_si256(
                                  (const __m256i *)(const void *)(p + 2 * i))));
        _mm512_storeu_ps(dst + 64, _mm512_cvtph_ps(_mm256_loadu_si256(
                                       (const __m256i *)(const void *)(p + 2 * i + 32))));
    }
}

static void unpack_bf16_f32(const uint8_t *p, size_t n, const float *scale, char *dst, size_t step)
{
    (void)scale;
    uint8_t run[MATMUL_RUN * 2];
    p = unpack_padded(p, n, 2, run);
    for (size_t i = 0; i < n; i += MATMUL_GROUP, dst += step) {
        for (size_t h = 0; h < 2; h++) {
            _mm512_storeu_ps(dst + 64 * h, unpack_bf16_sixteen(p + 2 * i + 32 * h));
        }
    }
}

static void unpack_bf16_bf16(const uint8_t *p, size_t n, const float *scale, char *dst, size_t step)
{
    (void)scale;
    uint8_t run[MATMUL_RUN * 2];
    p = unpack_padded(p, n, 2, run);
    for (size_t i = 0; i < n; i += MATMUL_GROUP, dst += step) {
        memcpy(dst, p + 2 * i, 2 * MATMUL_GROUP);
    }
}

UNPACK_INLINE void unpack_e4m3(bool bf16, const uint8_t *p, size_t n, const float *scale, char *dst,
                               size_t step)
{
    uint8_t run[MATMUL_RUN];
    p = unpack_padded(p, n, 1, run);
    for (size_t i = 0; i < n; i += MATMUL_GROUP, dst += step) {
        __m512 s = _mm512_set1_ps(scale[i / TENSOR_FP8_BLOCK] * UNPACK_E4M3_SHRINK);
        __m512i halves = unpack_e4m3_halves(p + i);
        __m512 low = _mm512_mul_ps(unpack_e4m3_low(halves), s);
        __m512 high = _mm512_mul_ps(unpack_e4m3_high(halves), s);
        if (bf16) {
            unpack_store_bf16(dst, low, high);
        } else {
            _mm512_storeu_ps(dst, low);
            _mm512_storeu_ps(dst + 64, high);
        }
    }
}

static void unpack_e4m3_f32(const uint8_t *p, size_t n, const float *scale, char *dst, size_t step)
{
    unpack_e4m3(false, p, n, scale, dst, step);
}

static void unpack_e4m3_bf16(const uint8_t *p, size_t n, const float *scale, char *dst, size_t step)
{
    unpack_e4m3(true, p, n, scale, dst, step);
}

/* The two functions of a block type, and the first alone. */
#define UNPACK_BLOCK_F32(name, type)                                                               \
    static void unpack_##name##_f32(const uint8_t *p, size_t n, const float *scale, char *dst,     \
                                    size_t step)                                                   \
    {                                                                                              \
        (void)scale;                                                                               \
        unpack_block(type, false, p, n, dst, step);                                                \
    }
#define UNPACK_BLOCK(name, type)                                                                   \
    UNPACK_BLOCK_F32(name, type)                                                                   \
    static void unpack_##name##_bf16(const uint8_t *p, size_t n, const float *scale, char *dst,    \
                                     size_t step)                                                  \
    {                                                                                              \
        (void)scale;                                                                               \
        switch (type) {                                                                            \
        case DTYPE_Q8_0: unpack_direct_q8_0(p, n, dst, step); break;                               \
        case DTYPE_Q5_0: unpack_table_small(p, n, 22, true, dst, step); break;                     \
        case DTYPE_Q4_0: unpack_table_small(p, n, 18, false, dst, step); break;                    \
        default: unpack_block(type, true, p, n, dst, step); break;                                 \
        }                                                                                          \
    }

UNPACK_BLOCK(q8_0, DTYPE_Q8_0)
UNPACK_BLOCK(q4_0, DTYPE_Q4_0)
UNPACK_BLOCK(q4_1, DTYPE_Q4_1)
UNPACK_BLOCK(q5_0, DTYPE_Q5_0)
UNPACK_BLOCK(q5_1, DTYPE_Q5_1)
UNPACK_BLOCK(q2_k, DTYPE_Q2_K)
UNPACK_BLOCK(q3_k, DTYPE_Q3_K)
UNPACK_BLOCK_F32(q4_k, DTYPE_Q4_K)
UNPACK_BLOCK_F32(q5_k, DTYPE_Q5_K)
UNPACK_BLOCK_F32(q6_k, DTYPE_Q6_K)
UNPACK_BLOCK(mxfp4, DTYPE_MXFP4)

static unpack_fn *const unpack_fns[DTYPE_COMPUTABLE][2] = {
    [DTYPE_F32] = {unpack_f32_f32, NULL},
    [DTYPE_F16] = {unpack_f16_f32, NULL},
    [DTYPE_BF16] = {unpack_bf16_f32, unpack_bf16_bf16},
    [DTYPE_F8_E4M3] = {unpack_e4m3_f32, unpack_e4m3_bf16},
    [DTYPE_Q8_0] = {unpack_q8_0_f32, unpack_q8_0_bf16},
    [DTYPE_Q4_0] = {unpack_q4_0_f32, unpack_q4_0_bf16},
    [DTYPE_Q4_1] = {unpack_q4_1_f32, unpack_q4_1_bf16},
    [DTYPE_Q5_0] = {unpack_q5_0_f32, unpack_q5_0_bf16},
    [DTYPE_Q5_1] = {unpack_q5_1_f32, unpack_q5_1_bf16},
    [DTYPE_Q2_K] = {unpack_q2_k_f32, unpack_q2_k_bf16},
    [DTYPE_Q3_K] = {unpack_q3_k_f32, unpack_q3_k_bf16},
    [DTYPE_Q4_K] = {unpack_q4_k_f32, NULL},
    [DTYPE_Q5_K] = {unpack_q5_k_f32, NULL},
    [DTYPE_Q6_K] = {unpack_q6_k_f32, NULL},
    [DTYPE_MXFP4] = {unpack_mxfp4_f32, unpack_mxfp4_bf16},
};

unpack_fn *unpack_avx512_f32(enum dtype t)
{
    return unpack_fns[t][0];
}

unpack_fn *unpack_avx512_bf16(enum dtype t)
{
    return unpack_fns[t][1];
}

/* tensor/cpu/unpack_avx2.c: weights to float32 panels; see unpack_avx2.h. */
#include "tensor/cpu/unpack_avx2.h"

/* 8 bytes of q to float32. */
UNPACK_INLINE __m256 unpack_widen(enum dtype t, const uint8_t *q)
{
    __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)q);
    return _mm256_cvtepi32_ps(t == DTYPE_Q8_0 ? _mm256_cvtepi8_epi32(v) : _mm256_cvtepu8_epi32(v));
}

UNPACK_INLINE void unpack_block_run(enum dtype t, const uint8_t *p, size_t groups, char *dst,
                                    size_t step)
{
    struct unpack_run r;
    _Alignas(32) uint8_t q[MATMUL_RUN];
    _Alignas(32) float s[16], m[16];
    unpack_run(t, p, &r);
    memcpy(q, r.q, sizeof q);
    memcpy(s, r.s, sizeof s);
    memcpy(m, r.m, sizeof m);
    for (size_t i = 0; i < 2 * groups; i++) {
        float *out = (float *)(void *)(dst + i / 2 * step + i % 2 * 64);
        __m256 sv = _mm256_broadcast_ss(s + i), mv = _mm256_broadcast_ss(m + i);
        _mm256_storeu_ps(out, _mm256_fmadd_ps(unpack_widen(t, q + 16 * i), sv, mv));
        _mm256_storeu_ps(out + 8, _mm256_fmadd_ps(unpack_widen(t, q + 16 * i + 8), sv, mv));
    }
}

UNPACK_INLINE void unpack_block(enum dtype t, const uint8_t *p, size_t n, char *dst, size_t step)
{
    if (n == MATMUL_RUN) {
        unpack_block_run(t, p, MATMUL_RUN / MATMUL_GROUP, dst, step);
        return;
    }
    /* The end of a row: fewer than 8 small blocks, filled up with empty ones. */
    uint8_t run[MATMUL_RUN / MATMUL_GROUP * 34] = {0};
    size_t blocks = n / MATMUL_GROUP;
    memcpy(run, p, blocks * dtype_info(t)->block_bytes);
    unpack_block_run(t, run, blocks, dst, step);
}

UNPACK_INLINE void unpack_plain(enum dtype t, size_t size, const uint8_t *p, size_t n,
                                const float *scale, char *dst, size_t step)
{
    uint8_t run[MATMUL_RUN * 4];
    if (n % MATMUL_GROUP) {
        memset(run, 0, matmul_round(n, MATMUL_GROUP) * size);
        memcpy(run, p, n * size);
        p = run;
    }
    for (size_t i = 0; i < n; i += MATMUL_GROUP, dst += step) {
        for (size_t e = 0; e < MATMUL_GROUP; e += 8) {
            __m256 v = unpack_eight(t, p + (i + e) * size);
            if (t == DTYPE_F8_E4M3) {
                v = _mm256_mul_ps(v, _mm256_set1_ps(scale[i / TENSOR_FP8_BLOCK]));
            }
            _mm256_storeu_ps((float *)(void *)dst + e, v);
        }
    }
}

#define UNPACK_BLOCK(name, type)                                                                   \
    static void unpack_##name(const uint8_t *p, size_t n, const float *scale, char *dst,           \
                              size_t step)                                                         \
    {                                                                                              \
        (void)scale;                                                                               \
        unpack_block(type, p, n, dst, step);                                                       \
    }

#define UNPACK_PLAIN(name, type, size)                                                             \
    static void unpack_##name(const uint8_t *p, size_t n, const float *scale, char *dst,           \
                              size_t step)                                                         \
    {                                                                                              \
        unpack_plain(type, size, p, n, scale, dst, step);                                          \
    }

UNPACK_PLAIN(f32, DTYPE_F32, 4)
UNPACK_PLAIN(f16_rows, DTYPE_F16, 2)
UNPACK_PLAIN(bf16, DTYPE_BF16, 2)
UNPACK_PLAIN(e4m3, DTYPE_F8_E4M3, 1)
UNPACK_BLOCK(block_q8_0, DTYPE_Q8_0)
UNPACK_BLOCK(block_q4_0, DTYPE_Q4_0)
UNPACK_BLOCK(block_q4_1, DTYPE_Q4_1)
UNPACK_BLOCK(block_q5_0, DTYPE_Q5_0)
UNPACK_BLOCK(block_q5_1, DTYPE_Q5_1)
UNPACK_BLOCK(block_q2_k, DTYPE_Q2_K)
UNPACK_BLOCK(block_q3_k, DTYPE_Q3_K)
UNPACK_BLOCK(block_q4_k, DTYPE_Q4_K)
UNPACK_BLOCK(block_q5_k, DTYPE_Q5_K)
UNPACK_BLOCK(block_q6_k, DTYPE_Q6_K)
UNPACK_BLOCK(block_mxfp4, DTYPE_MXFP4)

static unpack_fn *const unpack_fns[DTYPE_COMPUTABLE] = {
    [DTYPE_F32] = unpack_f32,
    [DTYPE_F16] = unpack_f16_rows,
    [DTYPE_BF16] = unpack_bf16,
    [DTYPE_F8_E4M3] = unpack_e4m3,
    [DTYPE_Q8_0] = unpack_block_q8_0,
    [DTYPE_Q4_0] = unpack_block_q4_0,
    [DTYPE_Q4_1] = unpack_block_q4_1,
    [DTYPE_Q5_0] = unpack_block_q5_0,
    [DTYPE_Q5_1] = unpack_block_q5_1,
    [DTYPE_Q2_K] = unpack_block_q2_k,
    [DTYPE_Q3_K] = unpack_block_q3_k,
    [DTYPE_Q4_K] = unpack_block_q4_k,
    [DTYPE_Q5_K] = unpack_block_q5_k,
    [DTYPE_Q6_K] = unpack_block_q6_k,
    [DTYPE_MXFP4] = unpack_block_mxfp4,
};

unpack_fn *unpack_avx2_f32(enum dtype t)
{
    return unpack_fns[t];
}

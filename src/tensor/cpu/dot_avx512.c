/* tensor/cpu/dot_avx512.c: a few activation rows against weights as they stream from memory; see
 * dot_body.h. */
#include "tensor/cpu/matmul_avx512.h"
#include "tensor/cpu/unpack_avx512.h"

typedef __m512 dot_vec;

static inline dot_vec dot_zero(void)
{
    return _mm512_setzero_ps();
}

static inline float dot_sum(dot_vec v)
{
    return _mm512_reduce_add_ps(v);
}

void dot_avx512_quantize(struct matmul_q8 *q, const float *x, size_t k)
{
    size_t groups = matmul_round(k, MATMUL_RUN) / 16;
    for (size_t g = 0; g < groups; g++) {
        struct matmul_q8 *run = q + g / 16;
        size_t left = k > 16 * g ? k - 16 * g : 0;
        __mmask16 m = (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
        __m512 v = _mm512_maskz_loadu_ps(m, x + 16 * g);
        /* As integers, so that a NaN is the largest and spoils its whole group. */
        __m512i bits = _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
        union {
            uint32_t u;
            float f;
        } max = {.u = _mm512_reduce_max_epu32(bits)};
        float inverse = max.f < 1e-30f ? 0.0f : 127.0f / max.f;
        __m512i i = _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverse)));
        _mm_storeu_si128((__m128i *)(void *)(run->q + g % 16 * 16), _mm512_cvtsepi32_epi8(i));
        run->d[g % 16] = max.f / 127.0f;
        run->s[g % 16] = max.f / 127.0f * _mm512_reduce_add_ps(_mm512_cvtepi32_ps(i));
    }
}

/* One run of one weight row times one activation run. */
UNPACK_INLINE dot_vec dot_run(enum dtype t, const struct unpack_run *w, const struct matmul_q8 *x,
                              dot_vec acc)
{
    (void)t;
    __m512 scale = _mm512_mul_ps(w->s, _mm512_loadu_ps(x->d));
    acc = _mm512_fmadd_ps(w->m, _mm512_loadu_ps(x->s), acc);
    for (int i = 0; i < 4; i++) {
        __m512i p = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w->q[i],
                                        _mm512_loadu_si512(x->q + 64 * i));
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

UNPACK_INLINE void dot_plain_rows(enum dtype t, size_t rows, const uint8_t *const *row, size_t k,
                                  const float *const *scale, const void *const *x,
                                  float out[][DOT_STREAMS])
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
            const uint8_t *p = row[s] + at * size;
            _mm_prefetch((const char *)p + DOT_AHEAD, _MM_HINT_T0);
            if (t == DTYPE_F32) {
                _mm_prefetch((const char *)p + DOT_AHEAD + 64, _MM_HINT_T0);
            }
            const float *sc = t == DTYPE_F8_E4M3 ? scale[s] + at / TENSOR_FP8_BLOCK : NULL;
            dot_plain_step(t, size, rows, p, sc, x, at, MATMUL_GROUP, acc[s]);
        }
    }
    for (size_t s = 0; s < DOT_STREAMS && whole < k; s++) {
        const float *sc = t == DTYPE_F8_E4M3 ? scale[s] + whole / TENSOR_FP8_BLOCK : NULL;
        dot_plain_step(t, size, rows, row[s] + whole * size, sc, x, whole, k - whole, acc[s]);
    }
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            out[i][s] = _mm512_reduce_add_ps(acc[s][i]);
        }
    }
}

void dot_avx512(const struct matmul_task *t)
{
    dot_fns[t->w->dtype](t);
}

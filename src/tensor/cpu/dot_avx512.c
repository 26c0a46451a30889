/* tensor/cpu/dot_avx512.c: a few activation rows against weights as they stream from memory. Four
 * weight rows, a quarter of the task apart, are read side by side: four streams keep more of the
 * memory system busy than one (measured: 28 to 44 GB/s on two cores). */
#include "tensor/cpu/matmul_avx512.h"
#include "tensor/cpu/unpack_avx512.h"

enum { DOT_STREAMS = 4, DOT_AHEAD = 1024 };

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
UNPACK_INLINE __m512 dot_run(const struct unpack_run *w, const struct matmul_q8 *x, __m512 acc)
{
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

UNPACK_INLINE void dot_prefetch(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)p + DOT_AHEAD + i, _MM_HINT_T0);
    }
}

/* Weight rows row[0..4) times `rows` activation rows. */
UNPACK_INLINE void dot_block_rows(enum dtype t, size_t rows, const uint8_t *const *row, size_t k,
                                  size_t run_bytes, const void *const *x, float out[][DOT_STREAMS])
{
    __m512 acc[DOT_STREAMS][MATMUL_DOT_ROWS];
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            acc[s][i] = _mm512_setzero_ps();
        }
    }
    size_t runs = k / MATMUL_RUN;
    for (size_t u = 0; u < runs; u++) {
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            struct unpack_run w;
            const uint8_t *p = row[s] + u * run_bytes;
            dot_prefetch(p, run_bytes);
            unpack_run(t, p, &w);
            for (size_t i = 0; i < rows; i++) {
                acc[s][i] = dot_run(&w, (const struct matmul_q8 *)x[i] + u, acc[s][i]);
            }
        }
    }
    if (k % MATMUL_RUN) {
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            uint8_t last[MATMUL_RUN / MATMUL_GROUP * 34] = {0};
            memcpy(last, row[s] + runs * run_bytes,
                   k % MATMUL_RUN / MATMUL_GROUP * run_bytes / (MATMUL_RUN / MATMUL_GROUP));
            struct unpack_run w;
            unpack_run(t, last, &w);
            for (size_t i = 0; i < rows; i++) {
                acc[s][i] = dot_run(&w, (const struct matmul_q8 *)x[i] + runs, acc[s][i]);
            }
        }
    }
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            out[i][s] = _mm512_reduce_add_ps(acc[s][i]);
        }
    }
}

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

/* All weight rows of a task, four at a time; a short last stream repeats a row it has had. */
UNPACK_INLINE void dot_task(enum dtype type, size_t rows, const struct matmul_task *t)
{
    const struct tensor *w = t->w;
    size_t k = tensor_cols(w), row_bytes = tensor_row_bytes(w);
    size_t quarter = (t->n + DOT_STREAMS - 1) / DOT_STREAMS;
    size_t scales = (k + TENSOR_FP8_BLOCK - 1) / TENSOR_FP8_BLOCK;
    for (size_t n = 0; n < quarter; n++) {
        const uint8_t *row[DOT_STREAMS];
        const float *scale[DOT_STREAMS];
        float out[MATMUL_DOT_ROWS][DOT_STREAMS];
        size_t at[DOT_STREAMS];
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            at[s] = s * quarter + n < t->n ? t->row + s * quarter + n : t->row;
            row[s] = (const uint8_t *)w->data + at[s] * row_bytes;
            scale[s] = w->scale ? w->scale + at[s] / TENSOR_FP8_BLOCK * scales : NULL;
        }
        if (type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16 || type == DTYPE_F8_E4M3) {
            dot_plain_rows(type, rows, row, k, scale, t->dot_x, out);
        } else {
            const struct dtype_info *d = dtype_info(type);
            dot_block_rows(type, rows, row, k, MATMUL_RUN / d->block_elems * d->block_bytes,
                           t->dot_x, out);
        }
        for (size_t i = 0; i < rows; i++) {
            for (size_t s = 0; s < DOT_STREAMS; s++) {
                if (s * quarter + n < t->n) {
                    t->y[i * t->y_stride + at[s]] = out[i][s];
                }
            }
        }
    }
}

/* The functions of a type: 1, 2, 3 and 4 activation rows. */
#define DOT_TYPE(name, type)                                                                       \
    static void dot_##name(const struct matmul_task *t)                                            \
    {                                                                                              \
        switch (t->n_rows) {                                                                       \
        case 1: dot_task(type, 1, t); break;                                                       \
        case 2: dot_task(type, 2, t); break;                                                       \
        case 3: dot_task(type, 3, t); break;                                                       \
        default: dot_task(type, 4, t); break;                                                      \
        }                                                                                          \
    }

DOT_TYPE(f32, DTYPE_F32)
DOT_TYPE(f16, DTYPE_F16)
DOT_TYPE(bf16, DTYPE_BF16)
DOT_TYPE(e4m3, DTYPE_F8_E4M3)
DOT_TYPE(q8_0, DTYPE_Q8_0)
DOT_TYPE(q4_0, DTYPE_Q4_0)
DOT_TYPE(q4_1, DTYPE_Q4_1)
DOT_TYPE(q5_0, DTYPE_Q5_0)
DOT_TYPE(q5_1, DTYPE_Q5_1)
DOT_TYPE(q2_k, DTYPE_Q2_K)
DOT_TYPE(q3_k, DTYPE_Q3_K)
DOT_TYPE(q4_k, DTYPE_Q4_K)
DOT_TYPE(q5_k, DTYPE_Q5_K)
DOT_TYPE(q6_k, DTYPE_Q6_K)
DOT_TYPE(mxfp4, DTYPE_MXFP4)

static void (*const dot_fns[DTYPE_COMPUTABLE])(const struct matmul_task *) = {
    [DTYPE_F32] = dot_f32,   [DTYPE_F16] = dot_f16,   [DTYPE_BF16] = dot_bf16,
    [DTYPE_F8_E4M3] = dot_e4m3, [DTYPE_Q8_0] = dot_q8_0, [DTYPE_Q4_0] = dot_q4_0,
    [DTYPE_Q4_1] = dot_q4_1, [DTYPE_Q5_0] = dot_q5_0, [DTYPE_Q5_1] = dot_q5_1,
    [DTYPE_Q2_K] = dot_q2_k, [DTYPE_Q3_K] = dot_q3_k, [DTYPE_Q4_K] = dot_q4_k,
    [DTYPE_Q5_K] = dot_q5_k, [DTYPE_Q6_K] = dot_q6_k, [DTYPE_MXFP4] = dot_mxfp4,
};

void dot_avx512(const struct matmul_task *t)
{
    dot_fns[t->w->dtype](t);
}

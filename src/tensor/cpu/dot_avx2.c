/* tensor/cpu/dot_avx2.c: a few activation rows against weights as they stream from memory, four
 * weight rows side by side; the twin of dot_avx512.c. */
#include "tensor/cpu/matmul_avx2.h"
#include "tensor/cpu/unpack_avx2.h"

enum { DOT_STREAMS = 4, DOT_AHEAD = 1024 };

static float dot_sum(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* The largest magnitude of 16, compared as integers, so that a NaN is the largest. */
static float dot_largest(__m256 a, __m256 b)
{
    const __m256i abs = _mm256_set1_epi32(0x7fffffff);
    __m256i v = _mm256_max_epu32(_mm256_and_si256(_mm256_castps_si256(a), abs),
                                 _mm256_and_si256(_mm256_castps_si256(b), abs));
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

void dot_avx2_quantize(struct matmul_q8 *q, const float *x, size_t k)
{
    size_t groups = matmul_round(k, MATMUL_RUN) / 16;
    for (size_t g = 0; g < groups; g++) {
        struct matmul_q8 *run = q + g / 16;
        size_t left = k > 16 * g ? k - 16 * g : 0;
        float part[16] = {0};
        const float *p = x + 16 * g;
        if (left < 16) {
            memcpy(part, p, left * sizeof *part);
            p = part;
        }
        __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
        float max = dot_largest(a, b);
        __m256 inverse = _mm256_set1_ps(max < 1e-30f ? 0.0f : 127.0f / max);
        __m256i i = _mm256_cvtps_epi32(_mm256_mul_ps(a, inverse));
        __m256i j = _mm256_cvtps_epi32(_mm256_mul_ps(b, inverse));
        __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(i, j), 0xd8);
        __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
        _mm_storeu_si128((__m128i *)(void *)(run->q + g % 16 * 16), bytes);
        __m256 sum = _mm256_cvtepi32_ps(_mm256_add_epi32(i, j));
        run->d[g % 16] = max / 127.0f;
        run->s[g % 16] = max / 127.0f * dot_sum(sum);
    }
}

/* Sums of four neighbouring products of bytes. */
UNPACK_INLINE __m256i dot_bytes(enum dtype t, __m256i w, __m256i x)
{
    __m256i p = t == DTYPE_Q8_0 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                                : _mm256_maddubs_epi16(w, x);
    return _mm256_madd_epi16(p, _mm256_set1_epi16(1));
}

/* One run of one weight row times one activation run. */
UNPACK_INLINE __m256 dot_run(enum dtype t, const struct unpack_run *w, const struct matmul_q8 *x,
                             __m256 acc)
{
    _Alignas(32) float scale[16];
    for (int h = 0; h < 2; h++) {
        _mm256_store_ps(scale + 8 * h, _mm256_mul_ps(w->s[h], _mm256_loadu_ps(x->d + 8 * h)));
        if (t != DTYPE_Q8_0) {
            acc = _mm256_fmadd_ps(w->m[h], _mm256_loadu_ps(x->s + 8 * h), acc);
        }
    }
    for (int i = 0; i < 8; i++) {
        __m256i p = dot_bytes(t, w->q[i],
                              _mm256_loadu_si256((const __m256i *)(const void *)(x->q + 32 * i)));
        __m256 s = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_broadcast_ss(scale + 2 * i)),
                                        _mm_broadcast_ss(scale + 2 * i + 1), 1);
        acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(p), s, acc);
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
    __m256 acc[DOT_STREAMS][MATMUL_DOT_ROWS];
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            acc[s][i] = _mm256_setzero_ps();
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
                acc[s][i] = dot_run(t, &w, (const struct matmul_q8 *)x[i] + u, acc[s][i]);
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
                acc[s][i] = dot_run(t, &w, (const struct matmul_q8 *)x[i] + runs, acc[s][i]);
            }
        }
    }
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            out[i][s] = dot_sum(acc[s][i]);
        }
    }
}

/* 8 values of a plain type, the first `left` of them. */
UNPACK_INLINE __m256 dot_plain_load(enum dtype t, size_t size, const void *p, size_t left)
{
    uint8_t part[32] = {0};
    if (left < 8) {
        memcpy(part, p, left * size);
        p = part;
    }
    return unpack_eight(t, p);
}

UNPACK_INLINE void dot_plain_rows(enum dtype t, size_t rows, const uint8_t *const *row, size_t k,
                                  const float *const *scale, const void *const *x,
                                  float out[][DOT_STREAMS])
{
    const size_t size = t == DTYPE_F32 ? 4 : t == DTYPE_F8_E4M3 ? 1 : 2;
    __m256 acc[DOT_STREAMS][MATMUL_DOT_ROWS];
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            acc[s][i] = _mm256_setzero_ps();
        }
    }
    size_t whole = k / 8 * 8;
    for (size_t at = 0; at < k; at += 8) {
        size_t left = at < whole ? 8 : k - whole;
        __m256 v[MATMUL_DOT_ROWS];
        for (size_t i = 0; i < rows; i++) {
            v[i] = dot_plain_load(DTYPE_F32, 4, (const float *)x[i] + at, left);
        }
        for (size_t s = 0; s < DOT_STREAMS; s++) {
            const uint8_t *p = row[s] + at * size;
            _mm_prefetch((const char *)p + DOT_AHEAD, _MM_HINT_T0);
            __m256 w = dot_plain_load(t, size, p, left);
            if (t == DTYPE_F8_E4M3) {
                w = _mm256_mul_ps(w, _mm256_set1_ps(scale[s][at / TENSOR_FP8_BLOCK]));
            }
            for (size_t i = 0; i < rows; i++) {
                acc[s][i] = _mm256_fmadd_ps(w, v[i], acc[s][i]);
            }
        }
    }
    for (size_t s = 0; s < DOT_STREAMS; s++) {
        for (size_t i = 0; i < rows; i++) {
            out[i][s] = dot_sum(acc[s][i]);
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
            scale[s] = type == DTYPE_F8_E4M3 ? w->scale + at[s] / TENSOR_FP8_BLOCK * scales
                                             : NULL;
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

void dot_avx2(const struct matmul_task *t)
{
    dot_fns[t->w->dtype](t);
}

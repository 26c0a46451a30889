/* tensor/cpu/dot_avx2.c: a few activation rows against weights as they stream from memory; see
 * dot_body.h. */
#include "tensor/cpu/matmul_avx2.h"
#include "tensor/cpu/unpack_avx2.h"

enum { DOT_STREAMS = 4 };
typedef __m256 dot_vec;

static inline dot_vec dot_zero(void)
{
    return _mm256_setzero_ps();
}

static inline float dot_sum(dot_vec v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline void dot_sums(dot_vec a, dot_vec b, dot_vec c, dot_vec d, float out[DOT_STREAMS])
{
    __m256 v = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)));
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

static void dot_store_bytes(int8_t *dst, __m256i words)
{
    __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)dst, b);
}

void dot_avx2_quantize(struct matmul_q15 *q, const float *x, size_t k)
{
    size_t groups = matmul_round(k, MATMUL_RUN) / 16;
    for (size_t g = 0; g < groups; g++) {
        struct matmul_q15 *run = q + g / 16;
        size_t left = k > 16 * g ? k - 16 * g : 0;
        float part[16] = {0};
        const float *p = x + 16 * g;
        if (left < 16) {
            memcpy(part, p, left * sizeof *part);
            p = part;
        }
        __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
        float max = dot_largest(a, b);
        __m256 inverse = _mm256_set1_ps(max < 1e-30f ? 0.0f : (float)MATMUL_Q15_MAX / max);
        __m256i i = _mm256_cvtps_epi32(_mm256_mul_ps(a, inverse));
        __m256i j = _mm256_cvtps_epi32(_mm256_mul_ps(b, inverse));
        __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(i, j), 0xd8);
        __m256i high = _mm256_srai_epi16(_mm256_add_epi16(w, _mm256_set1_epi16(64)), 7);
        dot_store_bytes(run->high + g % 16 * 16, high);
        dot_store_bytes(run->low + g % 16 * 16, _mm256_sub_epi16(w, _mm256_slli_epi16(high, 7)));
        __m256 sum = _mm256_cvtepi32_ps(_mm256_add_epi32(i, j));
        run->d[g % 16] = max / (float)MATMUL_Q15_MAX;
        run->s[g % 16] = max / (float)MATMUL_Q15_MAX * dot_sum(sum);
    }
}

/* Sums of four neighbouring products of bytes, times `factor`. */
UNPACK_INLINE __m256i dot_bytes(enum dtype t, __m256i w, const int8_t *x, short factor)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)x);
    __m256i p = t == DTYPE_Q8_0 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(v, w))
                                : _mm256_maddubs_epi16(w, v);
    return _mm256_madd_epi16(p, _mm256_set1_epi16(factor));
}

/* Forgets all but the first groups of 16. */
UNPACK_INLINE void dot_cut(struct unpack_run *w, size_t groups)
{
    for (int h = 0; h < 2; h++) {
        __m256i at = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(8 * h));
        __m256 m = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)groups), at));
        w->s[h] = _mm256_and_ps(w->s[h], m);
        w->m[h] = _mm256_and_ps(w->m[h], m);
    }
}

/* One run of one weight row times one activation run. */
UNPACK_INLINE dot_vec dot_run(enum dtype t, const struct unpack_run *w, const struct matmul_q15 *x,
                              dot_vec acc)
{
    _Alignas(32) float scale[16];
    for (int h = 0; h < 2; h++) {
        _mm256_store_ps(scale + 8 * h, _mm256_mul_ps(w->s[h], _mm256_loadu_ps(x->d + 8 * h)));
        if (t != DTYPE_Q8_0) {
            acc = _mm256_fmadd_ps(w->m[h], _mm256_loadu_ps(x->s + 8 * h), acc);
        }
    }
    for (int i = 0; i < 8; i++) {
        __m256i p = _mm256_add_epi32(dot_bytes(t, w->q[i], x->high + 32 * i, 128),
                                     dot_bytes(t, w->q[i], x->low + 32 * i, 1));
        __m256 s = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_broadcast_ss(scale + 2 * i)),
                                        _mm_broadcast_ss(scale + 2 * i + 1), 1);
        acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(p), s, acc);
    }
    return acc;
}

UNPACK_INLINE void dot_scales(enum dtype t, const uint8_t *const *row, size_t at,
                              struct unpack_run w[DOT_STREAMS])
{
    (void)t, (void)row, (void)at, (void)w;
}

UNPACK_INLINE void dot_unpack(enum dtype t, const uint8_t *p, struct unpack_run *w)
{
    unpack_run(t, p, w);
}

#include "tensor/cpu/dot_body.h"

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

UNPACK_INLINE void dot_plain_rows(enum dtype t, size_t rows, const struct dot_rows *w, size_t k,
                                  const void *const *x, float out[][DOT_STREAMS])
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
            _mm_prefetch((const char *)w->ahead[s] + at * size, _MM_HINT_T0);
            __m256 eight = dot_plain_load(t, size, w->row[s] + at * size, left);
            if (t == DTYPE_F8_E4M3) {
                eight = _mm256_mul_ps(eight, _mm256_set1_ps(w->scale[s][at / TENSOR_FP8_BLOCK]));
            }
            for (size_t i = 0; i < rows; i++) {
                acc[s][i] = _mm256_fmadd_ps(eight, v[i], acc[s][i]);
            }
        }
    }
    for (size_t i = 0; i < rows; i++) {
        dot_sums(acc[0][i], acc[1][i], acc[2][i], acc[3][i], out[i]);
    }
}

void dot_avx2(const struct matmul_task *t)
{
    dot_fns[t->w->dtype](t);
}

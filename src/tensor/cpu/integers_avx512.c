/* tensor/cpu/integers_avx512.c: the product of integers of the AVX512 level (VNNI). Weight rows are in the
 * lanes, a pair of k of each, and meet the same pair of an activation row in all lanes: 32 multiplications
 * and their sums in one instruction. What a block's scale holds for is added up in int32, which then takes
 * the scale into float32 sums of a run. A word each costs what two bytes of an activation would, but no
 * shifts, and no minima of types that have none. */
#include "tensor/cpu/lanes_avx512.h"
#include "tensor/cpu/matmul_avx512.h"

enum { INTEGERS_MAX = 32767 };

/* The largest magnitude of a run of which `left` exist; as integers, so that a NaN is the largest and
 * spoils its whole row. */
static float integers_largest(const float *x, size_t left)
{
    __m512i max = _mm512_setzero_si512();
    for (size_t i = 0; i < left; i += 16) {
        __mmask16 m = (__mmask16)(left - i >= 16 ? 0xffff : (1u << (left - i)) - 1);
        __m512i v = _mm512_and_si512(_mm512_maskz_loadu_epi32(m, x + i), _mm512_set1_epi32(0x7fffffff));
        max = _mm512_max_epu32(max, v);
    }
    union {
        uint32_t u;
        float f;
    } largest = {.u = _mm512_reduce_max_epu32(max)};
    return largest.f;
}

void integers_avx512_pack(struct matmul_q16 *q, size_t step, const float *x, size_t k)
{
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
    for (size_t at = 0; at < k; at += MATMUL_RUN, q += step) {
        size_t left = k - at < MATMUL_RUN ? k - at : MATMUL_RUN;
        float max = integers_largest(x + at, left);
        q->d = max / (float)INTEGERS_MAX;
        __m512 inverse = _mm512_set1_ps(max < 1e-30f ? 0.0f : (float)INTEGERS_MAX / max);
        for (size_t g = 0; g < MATMUL_RUN / 16; g++) {
            size_t i = 16 * g < left ? left - 16 * g : 0;
            __mmask16 m = (__mmask16)(i >= 16 ? 0xffff : (1u << i) - 1);
            __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + at + 16 * g), inverse));
            _mm256_storeu_si256((__m256i *)(void *)(q->q + 16 * g),
                                _mm256_shuffle_epi8(_mm512_cvtepi32_epi16(v), order));
            q->sum[g] = (float)_mm512_reduce_add_epi32(v);
        }
        for (size_t g = 0; g < MATMUL_RUN / 32; g++) {
            q->sum32[g] = q->sum[2 * g] + q->sum[2 * g + 1];
        }
    }
}

/* The first n weights of run u of all rows of the task, the last row repeated where there are fewer than
 * MATMUL_PANEL or where reading them 16 bytes at a time would pass the weight's end. */
UNPACK_INLINE void integers_unpack(enum dtype type, const struct matmul_task *t, size_t u, size_t n,
                                   struct lanes_run *run)
{
    const size_t run_bytes = lanes_run_bytes(type), bytes = run_bytes * n / MATMUL_RUN;
    size_t row_bytes = tensor_row_bytes(t->w), ahead = t->ahead * row_bytes;
    const uint8_t *data = (const uint8_t *)t->w->data + u * run_bytes;
    const uint8_t *end = (const uint8_t *)t->w->data + tensor_rows(t->w) * row_bytes;
    for (size_t v = 0; v < LANES_VECS; v++) {
        uint8_t copy[16 * LANES_BYTES];
        const uint8_t *p = data + (t->row + 16 * v) * row_bytes;
        size_t step = row_bytes;
        if (16 * (v + 1) > t->n || (size_t)(end - p) < 15 * row_bytes + matmul_round(bytes, 16)) {
            for (size_t r = 0; r < 16; r++) {
                size_t row = 16 * v + r < t->n ? 16 * v + r : t->n - 1;
                memcpy(copy + r * LANES_BYTES, data + (t->row + row) * row_bytes, bytes);
            }
            p = copy;
            step = LANES_BYTES;
        } else {
            for (size_t r = 0; r < 16; r++) {
                for (size_t i = 0; i < bytes; i += 64) {
                    _mm_prefetch((const char *)p + r * row_bytes + ahead + i, _MM_HINT_T1);
                }
            }
        }
        lanes_unpack(type, p, step, n, v, run);
    }
}

/* acc += w * b, pairs of words. Written out because GCC 12 copies registers around its builtin. */
UNPACK_INLINE void integers_add(__m512i *acc, __m512i w, __m512i b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*acc) : "v"(w), "v"(b));
}

/* One group of `rows` activation rows. */
UNPACK_INLINE void integers_group(size_t rows, size_t pairs, const __m512i (*w)[LANES_VECS],
                                  const int16_t *x, __m512i acc[][LANES_VECS])
{
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        acc[r][0] = acc[r][1] = _mm512_setzero_si512();
    }
    for (size_t k = 0; k < pairs; k++) {
        __m512i first = w[k][0], second = w[k][1];
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, x + r * sizeof(struct matmul_q16) / sizeof *x + 2 * k, sizeof pair);
            __m512i b = _mm512_set1_epi32(pair);
            integers_add(&acc[r][0], first, b);
            integers_add(&acc[r][1], second, b);
        }
    }
}

/* Adds the first `groups` groups of a run to the sums [rows][MATMUL_PANEL]. */
UNPACK_INLINE void integers_tile(size_t rows, size_t group, bool minima, size_t groups,
                                 const struct lanes_run *w, const struct matmul_q16 *x, float *sums)
{
    _Alignas(64) float part[MATMUL_Q16_ROWS * MATMUL_PANEL];
    memset(part, 0, rows * MATMUL_PANEL * sizeof *part);
    for (size_t g = 0; g < groups; g++) {
        __m512i acc[MATMUL_Q16_ROWS][LANES_VECS];
        integers_group(rows, group / 2, w->q + g * group / 2, x->q + g * group, acc);
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m512 sum = _mm512_set1_ps(group == 32 ? x[r].sum32[g] : x[r].sum[g]);
#pragma GCC unroll 2
            for (size_t v = 0; v < LANES_VECS; v++) {
                float *to = part + r * MATMUL_PANEL + 16 * v;
                __m512 y = _mm512_load_ps(to);
                y = minima ? _mm512_fmadd_ps(w->m[g][v], sum, y) : y;
                _mm512_store_ps(to, _mm512_fmadd_ps(w->s[g][v], _mm512_cvtepi32_ps(acc[r][v]), y));
            }
        }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        __m512 d = _mm512_set1_ps(x[r].d);
        for (size_t i = r * MATMUL_PANEL; i < (r + 1) * MATMUL_PANEL; i += 16) {
            _mm512_store_ps(sums + i, _mm512_fmadd_ps(d, _mm512_load_ps(part + i), _mm512_load_ps(sums + i)));
        }
    }
}

/* integers_tile of each number of rows, each a function of its own. */
typedef void integers_tile_fn(size_t groups, const struct lanes_run *w, const struct matmul_q16 *x,
                              float *sums);
#define INTEGERS_TILE(name, rows, group, minima)                                                           \
    static __attribute__((noinline)) void integers_##name##_##rows(                                        \
        size_t groups, const struct lanes_run *w, const struct matmul_q16 *x, float *sums)            \
    {                                                                                                      \
        integers_tile(rows, group, minima, groups, w, x, sums);                                            \
    }
#define INTEGERS_TILES(name, group, minima)                                                                \
    INTEGERS_TILE(name, 1, group, minima)                                                                  \
    INTEGERS_TILE(name, 2, group, minima)                                                                  \
    INTEGERS_TILE(name, 3, group, minima)                                                                  \
    INTEGERS_TILE(name, 4, group, minima)                                                                  \
    INTEGERS_TILE(name, 5, group, minima)                                                                  \
    INTEGERS_TILE(name, 6, group, minima)                                                                  \
    INTEGERS_TILE(name, 7, group, minima)                                                                  \
    INTEGERS_TILE(name, 8, group, minima)                                                                  \
    static integers_tile_fn *const integers_##name[MATMUL_Q16_ROWS] = {                                    \
        integers_##name##_1, integers_##name##_2, integers_##name##_3, integers_##name##_4,                \
        integers_##name##_5, integers_##name##_6, integers_##name##_7, integers_##name##_8};
INTEGERS_TILES(wide, 32, false)
INTEGERS_TILES(wide_minima, 32, true)
INTEGERS_TILES(narrow, 16, false)
INTEGERS_TILES(narrow_minima, 16, true)

static integers_tile_fn *const *integers_tiles(enum dtype type)
{
    if (lanes_group(type) == 32) {
        return lanes_minima(type) ? integers_wide_minima : integers_wide;
    }
    return lanes_minima(type) ? integers_narrow_minima : integers_narrow;
}

/* All of a task. */
UNPACK_INLINE void integers_task(enum dtype type, const struct matmul_task *t)
{
    size_t k = tensor_cols(t->w), runs = matmul_round(k, MATMUL_RUN) / MATMUL_RUN;
    size_t tile = matmul_q16_tile(t->n_rows);
    integers_tile_fn *const *fns = integers_tiles(type);
    struct lanes_run *run = t->panel;
    float *sums = (float *)(void *)(run + 1);
    memset(sums, 0, t->n_rows * MATMUL_PANEL * sizeof *sums);
    for (size_t u = 0; u < runs; u++) {
        size_t left = k - u * MATMUL_RUN, n = left < MATMUL_RUN ? left : MATMUL_RUN;
        integers_unpack(type, t, u, n, run);
        for (size_t r = 0; r < t->n_rows; r += tile) {
            size_t rows = t->n_rows - r < tile ? t->n_rows - r : tile;
            fns[rows - 1](n / lanes_group(type), run, (const struct matmul_q16 *)t->x + r * runs + u * rows,
                          sums + r * MATMUL_PANEL);
        }
    }
    for (size_t r = 0; r < t->n_rows; r++) {
        memcpy(t->y + r * t->y_stride + t->row, sums + r * MATMUL_PANEL, t->n * sizeof *sums);
    }
}

size_t integers_avx512_panel(size_t n_rows)
{
    return sizeof(struct lanes_run) + n_rows * MATMUL_PANEL * sizeof(float);
}

void integers_avx512(const struct matmul_task *t)
{
    switch (t->w->dtype) {
    case DTYPE_Q8_0: integers_task(DTYPE_Q8_0, t); break;
    case DTYPE_Q4_0: integers_task(DTYPE_Q4_0, t); break;
    case DTYPE_Q4_1: integers_task(DTYPE_Q4_1, t); break;
    case DTYPE_Q5_0: integers_task(DTYPE_Q5_0, t); break;
    case DTYPE_Q5_1: integers_task(DTYPE_Q5_1, t); break;
    case DTYPE_Q2_K: integers_task(DTYPE_Q2_K, t); break;
    case DTYPE_Q3_K: integers_task(DTYPE_Q3_K, t); break;
    case DTYPE_Q4_K: integers_task(DTYPE_Q4_K, t); break;
    case DTYPE_Q5_K: integers_task(DTYPE_Q5_K, t); break;
    case DTYPE_Q6_K: integers_task(DTYPE_Q6_K, t); break;
    default: integers_task(DTYPE_MXFP4, t);
    }
}

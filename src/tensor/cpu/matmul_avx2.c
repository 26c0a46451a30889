/* tensor/cpu/matmul_avx2.c: the float32 product of the AVX2 level: activation rows in the lanes, weights
 * broadcast, one multiply-add per k in order. */
#include "tensor/cpu/matmul_avx2.h"

#include "tensor/cpu/unpack_avx2.h"

enum { MATMUL_BLOCK = 4 }; /* weight rows in registers at once */

/* Swaps rows and columns of 8 x 8 floats in registers. */
static inline void matmul_transpose(__m256 v[8])
{
    __m256 t[8];
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        v[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        v[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        v[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        v[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(v[i], v[4 + i], 0x20);
        t[4 + i] = _mm256_permute2f128_ps(v[i], v[4 + i], 0x31);
    }
    for (int i = 0; i < 8; i++) {
        v[i] = t[i];
    }
}

/* 8 floats of which the first `left` exist. */
static inline __m256 matmul_load(const float *p, size_t left)
{
    float part[8] = {0};
    if (left < 8) {
        memcpy(part, p, left * sizeof *part);
        p = part;
    }
    return _mm256_loadu_ps(p);
}

static void matmul_pack(void *tile, const float *const *x, size_t n, size_t k)
{
    float *out = tile;
    size_t padded = matmul_round(k, MATMUL_GROUP);
    for (size_t i = 0; i < padded; i += 8, out += 8 * MATMUL_TILE) {
        size_t left = k > i ? k - i : 0;
        for (size_t h = 0; h < 16; h += 8) {
            __m256 v[8];
            for (size_t r = 0; r < 8; r++) {
                v[r] = h + r < n && left ? matmul_load(x[h + r] + i, left) : _mm256_setzero_ps();
            }
            matmul_transpose(v);
            for (size_t r = 0; r < 8; r++) {
                _mm256_storeu_ps(out + r * MATMUL_TILE + h, v[r]);
            }
        }
    }
}

/* Adds `groups` of 32 k to the sums of 4 weight rows and a tile of activations. */
static void matmul_block(const float *w, const float *x, size_t groups, float *sums)
{
    __m256 acc[MATMUL_BLOCK][2];
    for (size_t r = 0; r < MATMUL_BLOCK; r++) {
        acc[r][0] = _mm256_loadu_ps(sums + MATMUL_TILE * r);
        acc[r][1] = _mm256_loadu_ps(sums + MATMUL_TILE * r + 8);
    }
    for (size_t g = 0; g < groups; g++, w += MATMUL_PANEL * MATMUL_GROUP) {
        for (size_t k = 0; k < MATMUL_GROUP; k++, x += MATMUL_TILE) {
            __m256 a = _mm256_loadu_ps(x), b = _mm256_loadu_ps(x + 8);
            for (size_t r = 0; r < MATMUL_BLOCK; r++) {
                __m256 v = _mm256_broadcast_ss(w + r * MATMUL_GROUP + k);
                acc[r][0] = _mm256_fmadd_ps(v, a, acc[r][0]);
                acc[r][1] = _mm256_fmadd_ps(v, b, acc[r][1]);
            }
        }
    }
    for (size_t r = 0; r < MATMUL_BLOCK; r++) {
        _mm256_storeu_ps(sums + MATMUL_TILE * r, acc[r][0]);
        _mm256_storeu_ps(sums + MATMUL_TILE * r + 8, acc[r][1]);
    }
}

static void matmul_panel(const struct matmul_task *t, const float *w, const float *x, size_t x_tile,
                         size_t groups, float *sums)
{
    size_t tiles = (t->n_rows + MATMUL_TILE - 1) / MATMUL_TILE;
    for (size_t i = 0; i < tiles; i++) {
        for (size_t r = 0; r < t->n; r += MATMUL_BLOCK) {
            matmul_block(w + r * MATMUL_GROUP, x + i * x_tile, groups,
                         sums + (i * MATMUL_PANEL + r) * MATMUL_TILE);
        }
    }
}

static void matmul_store(const float *sums, float *y, size_t y_stride, size_t rows_w, size_t rows_x)
{
    for (size_t w = 0; w < 16 && w < rows_w; w += 8) {
        for (size_t x = 0; x < 16 && x < rows_x; x += 8) {
            __m256 v[8];
            for (size_t i = 0; i < 8; i++) {
                v[i] = _mm256_loadu_ps(sums + (w + i) * MATMUL_TILE + x);
            }
            matmul_transpose(v);
            for (size_t i = 0; i < 8 && x + i < rows_x; i++) {
                float out[8], *to = y + (x + i) * y_stride + w;
                _mm256_storeu_ps(rows_w - w < 8 ? out : to, v[i]);
                if (rows_w - w < 8) {
                    memcpy(to, out, (rows_w - w) * sizeof *out);
                }
            }
        }
    }
}

static const struct matmulpanel matmul_panel_avx2 = {
    .unpack = unpack_avx2_f32,
    .multiply = matmul_panel,
    .store = matmul_store,
};

static void matmul_product(const struct matmul_task *t)
{
    matmulpanel_run(t, &matmul_panel_avx2);
}

static const struct matmul_kernels matmul_kernels_avx2 = {
    .pack_f32 = matmul_pack,
    .quantize = dot_avx2_quantize,
    .product_f32 = matmul_product,
    .dot = dot_avx2,
    .dot_rows = MATMUL_DOT_ROWS,
};

err matmul_avx2(struct compute *c, const struct matmul_job *jobs, size_t n_jobs)
{
    return matmul_run(c, jobs, n_jobs, &matmul_kernels_avx2);
}

/* tensor/cpu/matmul_avx512.c: the float32 product of the AVX512 level: activation rows in the lanes,
 * weights broadcast, one multiply-add per k in order. */
#include "tensor/cpu/matmul_avx512.h"

#include "tensor/cpu/unpack_avx512.h"

enum { MATMUL_BLOCK = 8 }; /* weight rows in registers at once */

void matmul_avx512_pack(void *tile, const float *const *x, size_t n, size_t k)
{
    float *out = tile;
    for (size_t i = 0; i < k; i += 16, out += 16 * MATMUL_TILE) {
        __mmask16 m = (__mmask16)(k - i >= 16 ? 0xffff : (1u << (k - i)) - 1);
        __m512i v[16];
        for (size_t r = 0; r < 16; r++) {
            v[r] = r < n ? _mm512_maskz_loadu_epi32(m, x[r] + i) : _mm512_setzero_si512();
        }
        matmul_transpose(v);
        for (size_t r = 0; r < 16; r++) {
            _mm512_storeu_si512(out + 16 * r, v[r]);
        }
    }
    if (k % MATMUL_GROUP && k % MATMUL_GROUP <= 16) {
        memset(out, 0, 16 * MATMUL_TILE * sizeof *out);
    }
}

/* Adds `groups` of 32 k to the sums of 8 weight rows and `tiles` tiles of activations. */
UNPACK_INLINE void matmul_block(size_t tiles, const float *w, const float *x, size_t x_tile,
                                size_t groups, float *sums, size_t sums_tile)
{
    __m512 acc[MATMUL_BLOCK][3];
    for (size_t r = 0; r < MATMUL_BLOCK; r++) {
        for (size_t i = 0; i < tiles; i++) {
            acc[r][i] = _mm512_loadu_ps(sums + i * sums_tile + 16 * r);
        }
    }
    for (size_t g = 0; g < groups; g++, w += MATMUL_PANEL * MATMUL_GROUP) {
        for (size_t k = 0; k < MATMUL_GROUP; k++, x += MATMUL_TILE) {
            __m512 v[3];
            for (size_t i = 0; i < tiles; i++) {
                v[i] = _mm512_loadu_ps(x + i * x_tile);
            }
            for (size_t r = 0; r < MATMUL_BLOCK; r++) {
                __m512 b = _mm512_set1_ps(w[r * MATMUL_GROUP + k]);
                for (size_t i = 0; i < tiles; i++) {
                    acc[r][i] = _mm512_fmadd_ps(b, v[i], acc[r][i]);
                }
            }
        }
    }
    for (size_t r = 0; r < MATMUL_BLOCK; r++) {
        for (size_t i = 0; i < tiles; i++) {
            _mm512_storeu_ps(sums + i * sums_tile + 16 * r, acc[r][i]);
        }
    }
}

static void matmul_panel(const struct matmul_task *t, const float *w, const float *x, size_t x_tile,
                         size_t groups, float *sums)
{
    const size_t st = MATMUL_PANEL * MATMUL_TILE;
    size_t tiles = (t->n_rows + MATMUL_TILE - 1) / MATMUL_TILE;
    for (size_t i = 0; i < tiles;) {
        size_t left = tiles - i, take = left == 4 ? 2 : left < 3 ? left : 3;
        for (size_t r = 0; r < t->n; r += MATMUL_BLOCK) {
            const float *wr = w + r * MATMUL_GROUP, *xi = x + i * x_tile;
            float *s = sums + i * st + r * MATMUL_TILE;
            switch (take) {
            case 1: matmul_block(1, wr, xi, x_tile, groups, s, st); break;
            case 2: matmul_block(2, wr, xi, x_tile, groups, s, st); break;
            default: matmul_block(3, wr, xi, x_tile, groups, s, st); break;
            }
        }
        i += take;
    }
}

static const struct matmulpanel matmul_panel_avx512 = {
    .unpack = unpack_avx512_f32,
    .multiply = matmul_panel,
    .store = matmul_store_tile,
};

void matmul_avx512_product(const struct matmul_task *t)
{
    matmulpanel_run(t, &matmul_panel_avx512);
}

static const struct matmul_kernels matmul_kernels_avx512 = {
    .pack_f32 = matmul_avx512_pack,
    .pack_q16 = integers_avx512_pack,
    .quantize = dot_avx512_quantize,
    .product_f32 = matmul_avx512_product,
    .product_q16 = integers_avx512,
    .q16_panel = integers_avx512_panel,
    .dot = dot_avx512,
    .dot_rows = MATMUL_DOT_ROWS,
};

err matmul_avx512(struct compute *c, const struct matmul_job *jobs, size_t n_jobs)
{
    return matmul_run(c, jobs, n_jobs, &matmul_kernels_avx512);
}

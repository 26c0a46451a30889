/* tensor/cpu/gemm_amx.c: products of learning on AMX. A tile of sums is [16 m][16 n]; one tile of w (16 pairs
 * along k of 16 n, packed) meets up to four tiles of x ([16 m][32 k]; of rows as they are in memory, where they
 * are whole). At most four sums and two operands, as in matmul_amx.c, and between products the results of the
 * block before are stored. */
#include <immintrin.h>
#include <string.h>

#include "tensor/cpu/gemm.h"
#include "tensor/cpu/tilepack.h"
#include "tensor/cpu/tiles.h"

enum {
    GEMM_TILE = TILEPACK_TILE,
    GEMM_WIDTH = 4,   /* tiles of x together */
    GEMM_STEPS = GEMM_CHUNK / 32,
    GEMM_W_BYTES = GEMM_COLS / 16 * GEMM_STEPS * GEMM_TILE,
    GEMM_X_BYTES = GEMM_ROWS / 16 * GEMM_STEPS * GEMM_TILE,
    GEMM_SUM_BYTES = GEMM_WIDTH * GEMM_TILE,
    GEMM_WIDE_BYTES = GEMM_ROWS * GEMM_COLS * 4, /* results in float32, between chunks */
    GEMM_SCRATCH = GEMM_W_BYTES + GEMM_X_BYTES + 2 * GEMM_SUM_BYTES + GEMM_WIDE_BYTES,
};

/* ---- Results. ---- */

/* A block of sums on its way to y: rows [done, rows) are still to be stored. */
struct gemm_store {
    const float *sums; /* [rows][16] */
    struct mat y;
    size_t row, col; /* in y */
    size_t done, rows, cols;
    bool add;
};

static inline void gemm_store_row(struct gemm_store *s)
{
    __m512 v = _mm512_load_ps(s->sums + 16 * s->done);
    __mmask16 mask = (__mmask16)((1u << s->cols) - 1);
    size_t at = (s->row + s->done) * s->y.stride + s->col;
    if (s->y.type == MAT_F32) {
        float *y = (float *)s->y.data + at;
        v = s->add ? _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, y)) : v;
        _mm512_mask_storeu_ps(y, mask, v);
    } else {
        uint16_t *y = (uint16_t *)s->y.data + at;
        if (s->add) {
            __m512i old = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, y));
            v = _mm512_add_ps(v, _mm512_castsi512_ps(_mm512_slli_epi32(old, 16)));
        }
        _mm256_mask_storeu_epi16(y, mask, (__m256i)_mm512_cvtneps_pbh(v));
    }
    s->done++;
}

static inline void gemm_store_until(struct gemm_store *s, size_t end)
{
    while (s->done < end) {
        gemm_store_row(s);
    }
}

/* ---- Products. ---- */

/* Where the tiles of x are: bytes between rows of a tile, between tiles of m, between steps of k. */
struct gemm_x {
    const char *data;
    size_t row, tile, step;
};

/* `tiles` tiles of x times one of w over all steps: sums [16 * tiles][16]; stores what waits meanwhile. */
static inline __attribute__((always_inline)) void gemm_block(size_t tiles, size_t steps, struct gemm_x x,
                                                             const char *w, char *sums,
                                                                 struct gemm_store *waits)
{
    size_t rows = waits->rows, slots = steps * tiles, slot = 0;
    TILES_ZERO(0);
    TILES_ZERO(1);
    TILES_ZERO(2);
    TILES_ZERO(3);
    for (size_t s = 0; s < steps; s++, w += GEMM_TILE, x.data += x.step) {
        TILES_LOAD(6, w, 64);
        TILES_LOAD(7, x.data, x.row);
        TILES_ADD(0, 7, 6);
        gemm_store_until(waits, rows * ++slot / slots);
        if (tiles > 1) {
            TILES_LOAD(7, x.data + x.tile, x.row);
            TILES_ADD(1, 7, 6);
            gemm_store_until(waits, rows * ++slot / slots);
        }
        if (tiles > 2) {
            TILES_LOAD(7, x.data + 2 * x.tile, x.row);
            TILES_ADD(2, 7, 6);
            gemm_store_until(waits, rows * ++slot / slots);
        }
        if (tiles > 3) {
            TILES_LOAD(7, x.data + 3 * x.tile, x.row);
            TILES_ADD(3, 7, 6);
            gemm_store_until(waits, rows * ++slot / slots);
        }
    }
    TILES_STORE(0, sums);
    if (tiles > 1) {
        TILES_STORE(1, sums + GEMM_TILE);
    }
    if (tiles > 2) {
        TILES_STORE(2, sums + 2 * GEMM_TILE);
    }
    if (tiles > 3) {
        TILES_STORE(3, sums + 3 * GEMM_TILE);
    }
}

static void gemm_block_of(size_t tiles, size_t steps, struct gemm_x x, const char *w, char *sums,
                          struct gemm_store *waits)
{
    switch (tiles) {
    case 1: gemm_block(1, steps, x, w, sums, waits); break;
    case 2: gemm_block(2, steps, x, w, sums, waits); break;
    case 3: gemm_block(3, steps, x, w, sums, waits); break;
    default: gemm_block(4, steps, x, w, sums, waits);
    }
}

/* One chunk of the sum, packed, to y [n_m, n_n]. */
static void gemm_chunk(const struct gemm_task *t, size_t steps, struct gemm_x x, const char *w, char *sums,
                       struct mat y, bool add)
{
    struct gemm_store waits = {0};
    size_t turn = 0;
    for (size_t m = 0; m < t->n_m; m += 16 * GEMM_WIDTH) {
        size_t left = t->n_m - m, rows = left < 16 * GEMM_WIDTH ? left : 16 * GEMM_WIDTH;
        struct gemm_x at = x;
        at.data += m / 16 * x.tile;
        for (size_t n = 0; n < t->n_n; n += 16, turn++) {
            char *mine = sums + turn % 2 * GEMM_SUM_BYTES;
            gemm_block_of((rows + 15) / 16, steps, at, w + n / 16 * steps * GEMM_TILE, mine, &waits);
            waits = (struct gemm_store){.sums = (const float *)(const void *)mine,
                                        .y = y,
                                        .row = m,
                                        .col = n,
                                        .rows = rows,
                                        .cols = t->n_n - n < 16 ? t->n_n - n : 16,
                                        .add = add};
        }
    }
    gemm_store_until(&waits, waits.rows);
}

/* y = or += float32 results. */
static void gemm_narrow(struct mat y, const float *from, bool add)
{
    for (size_t m = 0; m < y.rows; m++) {
        for (size_t n = 0; n < y.cols; n += 16) {
            size_t cols = y.cols - n < 16 ? y.cols - n : 16;
            float row[16] __attribute__((aligned(64)));
            memcpy(row, from + m * y.cols + n, cols * sizeof *row);
            struct gemm_store s = {.sums = row, .y = y, .row = m, .col = n, .rows = 1, .cols = cols,
                .add = add};
            gemm_store_row(&s);
        }
    }
}

static void gemm_amx_task(const struct gemm_task *t)
{
    const struct tilepack w_side = {t->w, t->n, t->n_n, t->product != LEARNOPS_NT, true};
    const struct tilepack x_side = {t->x, t->m, t->n_m, t->product == LEARNOPS_TN, false};
    char *w = t->scratch, *packed = w + GEMM_W_BYTES, *sums = packed + GEMM_X_BYTES;
    struct mat own = mat_rows(mat_cols(t->y, t->n, t->n_n), t->m, t->n_m), y = own;
    bool waits = own.type == MAT_BF16 && t->n_k > GEMM_CHUNK; /* nothing is rounded before all is summed */
    if (waits) {
        y = mat_of(sums + 2 * GEMM_SUM_BYTES, MAT_F32, t->n_m, t->n_n);
    }
    for (size_t at = 0; at < t->n_k; at += GEMM_CHUNK) {
        size_t k = t->k + at, n_k = t->n_k - at < GEMM_CHUNK ? t->n_k - at : GEMM_CHUNK;
        size_t steps = (n_k + 31) / 32;
        struct gemm_x x = {packed, 64, steps * GEMM_TILE, GEMM_TILE};
        tilepack(&w_side, k, n_k, steps, w);
        if (t->product != LEARNOPS_TN && n_k % 32 == 0 && t->n_m % 16 == 0) {
            size_t row = t->x.stride * sizeof(uint16_t);
            x = (struct gemm_x){(const char *)tilepack_at(&t->x, t->m, k), row, 16 * row, 64};
        } else {
            tilepack(&x_side, k, n_k, steps, packed);
        }
        gemm_chunk(t, steps, x, w, sums, y, (t->add && !waits) || at > 0);
    }
    if (waits) {
        gemm_narrow(own, y.data, t->add);
    }
}

err gemm_amx(struct compute *c, enum learnops_product product, const struct learnops_matmul *jobs,
             size_t n_jobs)
{
    static const struct gemm_kernels kernels = {gemm_amx_task, GEMM_SCRATCH, tiles_begin, tiles_end};
    return gemm_run(c, product, jobs, n_jobs, &kernels);
}

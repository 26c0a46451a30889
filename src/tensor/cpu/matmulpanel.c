/* tensor/cpu/matmulpanel.c: see matmulpanel.h. */
#include "tensor/cpu/matmulpanel.h"

#include <string.h>

const float *matmulpanel_scale(const struct tensor *w, size_t row, size_t k)
{
    if (!w->scale) {
        return NULL;
    }
    size_t per_row = (tensor_cols(w) + TENSOR_FP8_BLOCK - 1) / TENSOR_FP8_BLOCK;
    return w->scale + row / TENSOR_FP8_BLOCK * per_row + k / TENSOR_FP8_BLOCK;
}

/* k positions [at, at + n) of the task's rows. */
static void matmulpanel_unpack(const struct matmul_task *t, unpack_fn *unpack, size_t at, size_t n,
                               float *panel)
{
    const struct dtype_info *d = dtype_info(t->w->dtype);
    size_t row_bytes = tensor_row_bytes(t->w);
    for (size_t r = 0; r < t->n; r++) {
        const uint8_t *row = (const uint8_t *)t->w->data + (t->row + r) * row_bytes;
        for (size_t i = 0; i < n; i += MATMUL_RUN) {
            unpack(row + (at + i) / d->block_elems * d->block_bytes,
                   n - i < MATMUL_RUN ? n - i : MATMUL_RUN,
                   matmulpanel_scale(t->w, t->row + r, at + i),
                   (char *)(panel + i * MATMUL_PANEL + r * MATMUL_GROUP),
                   MATMUL_PANEL * MATMUL_GROUP * sizeof *panel);
        }
    }
}

void matmulpanel_run(const struct matmul_task *t, const struct matmulpanel *p)
{
    unpack_fn *unpack = p->unpack(t->w->dtype);
    size_t k = tensor_cols(t->w), tiles = (t->n_rows + MATMUL_TILE - 1) / MATMUL_TILE;
    size_t x_tile = matmul_round(k, MATMUL_GROUP) * MATMUL_TILE;
    float *panel = t->panel, *sums = panel + MATMUL_PANEL * MATMUL_CHUNK;
    memset(sums, 0, tiles * MATMUL_TILE * MATMUL_PANEL * sizeof *sums);
    for (size_t at = 0; at < k; at += MATMUL_CHUNK) {
        size_t n = k - at < MATMUL_CHUNK ? k - at : MATMUL_CHUNK;
        matmulpanel_unpack(t, unpack, at, n, panel);
        p->multiply(t, panel, (const float *)t->x + at * MATMUL_TILE, x_tile,
                    (n + MATMUL_GROUP - 1) / MATMUL_GROUP, sums);
    }
    for (size_t i = 0; i < tiles; i++) {
        for (size_t r = 0; r < t->n; r += 16) {
            p->store(sums + (i * MATMUL_PANEL + r) * MATMUL_TILE,
                     t->y + i * MATMUL_TILE * t->y_stride + t->row + r, t->y_stride, t->n - r,
                     t->n_rows - i * MATMUL_TILE);
        }
    }
}

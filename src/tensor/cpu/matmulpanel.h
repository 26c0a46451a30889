/* tensor/cpu/matmulpanel.h: the float32 product of matmul.h, apart from its inner loops: weights are
 * unpacked in panels of MATMUL_PANEL rows and MATMUL_CHUNK k that stay in cache while all
 * activations pass by; sums wait in float32 between panels, so nothing depends on their size. */
#ifndef TENSOR_CPU_MATMULPANEL_H
#define TENSOR_CPU_MATMULPANEL_H

#include "tensor/cpu/matmul.h"

/* Unpacks up to a run of one row for a product: n weights from p (the last group of 32 filled up
 * with zeros), group g of 32 to dst + g * step bytes. `scale`: F8_E4M3 only, one per 128 weights. */
typedef void unpack_fn(const uint8_t *p, size_t n, const float *scale, char *dst, size_t step);

/* The inner loops of a level. */
struct matmulpanel {
    unpack_fn *(*unpack)(enum dtype t);
    /* Adds a panel, group after group [32 rows][32 k], times the activations from x on, tiles x_tile
     * floats apart, to the sums [tile][32 rows][16 activation rows]. */
    void (*multiply)(const struct matmul_task *t, const float *w, const float *x, size_t x_tile,
                     size_t groups, float *sums);
    /* Sums [16 weight rows][16 activation rows] to y: rows_w and rows_x of them exist. */
    void (*store)(const float *sums, float *y, size_t y_stride, size_t rows_w, size_t rows_x);
};

void matmulpanel_run(const struct matmul_task *t, const struct matmulpanel *p);

/* The scale of weight row `row` at column k; NULL unless the type is F8_E4M3. */
const float *matmulpanel_scale(const struct tensor *w, size_t row, size_t k);

#endif

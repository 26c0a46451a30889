/* tensor/mat.h: a matrix of numbers in memory as learning uses it: activations, gradients, weights.
 * Three types: float64 for checking, float32, and bfloat16 for what matrix products read. A mat does not own
 * its memory; views of rows and columns are mats too. */
#ifndef TENSOR_MAT_H
#define TENSOR_MAT_H

#include <stddef.h>
#include <stdint.h>

enum mat_type { MAT_F64, MAT_F32, MAT_BF16 };

struct mat {
    void *data; /* element (r, c) is number r * stride + c */
    enum mat_type type;
    size_t rows, cols, stride; /* stride >= cols, in elements */
};

size_t mat_type_bytes(enum mat_type type); /* 8, 4, 2 */

/* A mat without gaps over `data`, which has room for it. */
struct mat mat_of(void *data, enum mat_type type, size_t rows, size_t cols);
/* Rows [first, first + n) and columns [first, first + n) of a mat that has them. */
struct mat mat_rows(struct mat m, size_t first, size_t n);
struct mat mat_cols(struct mat m, size_t first, size_t n);

/* One element as a double; storing rounds to nearest, ties to even. */
double mat_get(const struct mat *m, size_t row, size_t col);
void mat_set(const struct mat *m, size_t row, size_t col, double value);

#endif

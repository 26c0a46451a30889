/* tensor/tensor.h: a weight as the ops see it: a typed, shaped, borrowed view of memory that
 * somebody else (a mapped file, an arena) owns. Row-major, outermost dimension first, as in PyTorch:
 * a Linear is [out, in]; the experts of a layer are [n_expert, out, in]. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "tensor/dtype.h"

enum { TENSOR_RANK_MAX = 4, TENSOR_FP8_BLOCK = 128 };

struct tensor {
    enum dtype dtype;
    uint32_t rank;                 /* 0 means "this tensor is absent" */
    size_t shape[TENSOR_RANK_MAX]; /* unused trailing entries are 1 */
    const void *data;
    const float *scale; /* DTYPE_F8_E4M3 only: multiplier per 128x128 block, row-major
                           [ceil(out/128), ceil(in/128)] (per expert for rank 3) */
};

static inline bool tensor_is_absent(const struct tensor *t)
{
    return t->rank == 0;
}

/* Builds a view; checks that the shape has no zero, fits size_t, and whole blocks per row. */
ERR_MUST_USE err tensor_init(struct tensor *t, enum dtype dtype, uint32_t rank, const size_t *shape,
                             const void *data);

size_t tensor_elems(const struct tensor *t);
size_t tensor_bytes(const struct tensor *t);
size_t tensor_cols(const struct tensor *t);      /* innermost dimension */
size_t tensor_rows(const struct tensor *t);      /* product of all the others */
size_t tensor_row_bytes(const struct tensor *t); /* bytes of one innermost row */

/* Slice i of the outermost dimension: rank 3 [E, out, in] → rank 2 [out, in]. i must be in range. */
struct tensor tensor_slice(const struct tensor *t, size_t i);

/* Rows [first, first + n) of a rank-2 tensor. For F8_E4M3 `first` must be a multiple of 128. */
struct tensor tensor_row_range(const struct tensor *t, size_t first, size_t n);

#endif

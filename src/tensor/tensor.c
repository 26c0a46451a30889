/* tensor/tensor.c: see tensor.h. */
#include "tensor/tensor.h"

#include "base/checked.h"

err tensor_init(struct tensor *t, enum dtype dtype, uint32_t rank, const size_t *shape,
                const void *data)
{
    if (rank == 0 || rank > TENSOR_RANK_MAX) {
        return ERR_LIMIT;
    }
    struct tensor v = {.dtype = dtype, .rank = rank, .shape = {1, 1, 1, 1}, .data = data};
    size_t elems = 1;
    for (uint32_t i = 0; i < rank; i++) {
        v.shape[i] = shape[i];
        if (shape[i] == 0) {
            return ERR_CORRUPT;
        }
        if (!checked_mul(elems, shape[i], &elems)) {
            return ERR_LIMIT;
        }
    }
    if (shape[rank - 1] % dtype_info(dtype)->block_elems != 0) {
        return ERR_CORRUPT;
    }
    size_t bytes;
    TRY(dtype_bytes(dtype, elems, &bytes));
    *t = v;
    return ERR_OK;
}

size_t tensor_cols(const struct tensor *t)
{
    return t->shape[t->rank - 1];
}

size_t tensor_rows(const struct tensor *t)
{
    size_t n = 1;
    for (uint32_t i = 0; i + 1 < t->rank; i++) {
        n *= t->shape[i];
    }
    return n;
}

size_t tensor_elems(const struct tensor *t)
{
    return tensor_rows(t) * tensor_cols(t);
}

size_t tensor_row_bytes(const struct tensor *t)
{
    const struct dtype_info *d = dtype_info(t->dtype);
    return tensor_cols(t) / d->block_elems * d->block_bytes;
}

size_t tensor_bytes(const struct tensor *t)
{
    return tensor_rows(t) * tensor_row_bytes(t);
}

static size_t tensor_blocks(size_t n)
{
    return (n + TENSOR_FP8_BLOCK - 1) / TENSOR_FP8_BLOCK;
}

struct tensor tensor_slice(const struct tensor *t, size_t i)
{
    struct tensor s = *t;
    size_t rows = 1;
    s.rank = t->rank - 1;
    for (uint32_t d = 0; d < s.rank; d++) {
        s.shape[d] = t->shape[d + 1];
        if (d + 1 < s.rank) {
            rows *= s.shape[d];
        }
    }
    s.shape[s.rank] = 1;
    s.data = (const char *)t->data + i * rows * tensor_row_bytes(t);
    if (t->scale) {
        s.scale = t->scale + i * tensor_blocks(rows) * tensor_blocks(tensor_cols(t));
    }
    return s;
}

struct tensor tensor_row_range(const struct tensor *t, size_t first, size_t n)
{
    struct tensor s = *t;
    s.shape[0] = n;
    s.data = (const char *)t->data + first * tensor_row_bytes(t);
    if (t->scale) {
        s.scale = t->scale + first / TENSOR_FP8_BLOCK * tensor_blocks(tensor_cols(t));
    }
    return s;
}

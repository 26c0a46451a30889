/* model/absorb.c: see absorb.h. */
#include "model/absorb.h"

#include "base/mem.h"
#include "tensor/ref/dequant.h"

/* The type a rearranged copy is kept in. */
static enum dtype absorb_dtype(enum dtype source)
{
    switch (source) {
    case DTYPE_F32:
    case DTYPE_F8_E4M3: return DTYPE_F32;
    case DTYPE_F16: return DTYPE_F16;
    default: return DTYPE_BF16;
    }
}

static void absorb_put(void *dst, enum dtype t, size_t i, float v)
{
    switch (t) {
    case DTYPE_F16: ((uint16_t *)dst)[i] = dtype_to_f16(v); break;
    case DTYPE_BF16: ((uint16_t *)dst)[i] = dtype_to_bf16(v); break;
    default: ((float *)dst)[i] = v; break;
    }
}

/* dst[i] = transpose of src[i] [rows, cols] for n matrices of one shape, in one owned block. */
static err absorb_transpose(struct weights *w, const struct tensor *src, size_t n,
                            struct tensor *dst)
{
    size_t rows = tensor_rows(src), cols = tensor_cols(src);
    enum dtype t = absorb_dtype(src->dtype);
    size_t each = rows * cols * dtype_info(t)->block_bytes;
    char *data = weights_own(w, n, each);
    float *row = mem_alloc(cols * sizeof *row);
    if (!data || !row) {
        mem_free(row);
        return ERR_NOMEM;
    }
    for (size_t h = 0; h < n; h++) {
        for (size_t r = 0; r < rows; r++) {
            dequant_row(&src[h], r, row);
            for (size_t k = 0; k < cols; k++) {
                absorb_put(data + h * each, t, k * rows + r, row[k]);
            }
        }
        dst[h] = (struct tensor){.dtype = t, .rank = 2, .shape = {cols, rows, 1, 1},
                                 .data = data + h * each};
    }
    mem_free(row);
    return ERR_OK;
}

/* An owned f32 copy, for FP8 weights whose heads do not begin on scale blocks. */
static err absorb_expand(struct weights *w, struct tensor *t)
{
    size_t rows = tensor_rows(t), cols = tensor_cols(t);
    float *data = weights_own(w, rows, cols * sizeof *data);
    if (!data) {
        return ERR_NOMEM;
    }
    for (size_t r = 0; r < rows; r++) {
        dequant_row(t, r, data + r * cols);
    }
    t->dtype = DTYPE_F32;
    t->data = data;
    t->scale = NULL;
    return ERR_OK;
}

/* Three arrays of H tensors. */
static err absorb_arrays(struct weights *w, size_t n, struct tensor **k_up, struct tensor **k_absorb,
                         struct tensor **v_up, struct weights_layer *layer)
{
    struct tensor *all = weights_own(w, 3 * n, sizeof *all);
    if (!all) {
        return ERR_NOMEM;
    }
    layer->k_up = *k_up = all;
    layer->k_absorb = *k_absorb = all + n;
    layer->v_up = *v_up = all + 2 * n;
    return ERR_OK;
}

err absorb_from_joined(struct weights *w, const struct config *c, const struct tensor *kv_b,
                       struct weights_layer *layer)
{
    size_t n = c->num_attention_heads, nope = c->qk_nope_head_dim, per_head = nope + c->v_head_dim;
    struct tensor source = *kv_b, *k_up, *k_absorb, *v_up;
    TRY(absorb_arrays(w, n, &k_up, &k_absorb, &v_up, layer));
    if (source.dtype == DTYPE_F8_E4M3 &&
        (nope % TENSOR_FP8_BLOCK != 0 || per_head % TENSOR_FP8_BLOCK != 0)) {
        TRY(absorb_expand(w, &source));
    }
    for (size_t h = 0; h < n; h++) {
        k_up[h] = tensor_row_range(&source, h * per_head, nope);
        v_up[h] = tensor_row_range(&source, h * per_head + nope, c->v_head_dim);
    }
    return absorb_transpose(w, k_up, n, k_absorb);
}

err absorb_from_split(struct weights *w, const struct config *c, const struct tensor *k_b,
                      const struct tensor *v_b, struct weights_layer *layer)
{
    size_t n = c->num_attention_heads;
    struct tensor *k_up, *k_absorb, *v_up;
    TRY(absorb_arrays(w, n, &k_up, &k_absorb, &v_up, layer));
    for (size_t h = 0; h < n; h++) {
        k_absorb[h] = tensor_slice(k_b, h);
        v_up[h] = tensor_slice(v_b, h);
    }
    return absorb_transpose(w, k_absorb, n, k_up);
}

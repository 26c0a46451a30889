/* model/recipe.c: see recipe.h. */
#include "model/recipe.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "tensor/ref/dequant.h"
#include "tensor/ref/quantize.h"

enum { RECIPE_PIECE_BYTES = 8 << 20 }; /* written at once */

size_t recipe_unit(const struct recipe *r)
{
    switch (r->kind) {
    case RECIPE_KEYS: return r->out.shape[1];
    case RECIPE_JOIN: return r->nope + r->v;
    default: return 1;
    }
}

/* Where row `row` of the result lies, for the kinds that only move rows. */
static size_t recipe_locate(const struct recipe *r, size_t row, const struct tensor **source)
{
    size_t in_head = r->head ? row % r->head : 0;
    *source = r->sources;
    switch (r->kind) {
    case RECIPE_PAIR: return row - in_head + in_head / 2 + in_head % 2 * (r->head / 2);
    case RECIPE_UNPAIR:
        return row - in_head + in_head % (r->head / 2) * 2 + in_head / (r->head / 2);
    case RECIPE_VALUES: return row / r->v * (r->nope + r->v) + r->nope + row % r->v;
    default: {
        size_t each = tensor_rows(r->sources);
        *source = &r->sources[row / each];
        return row % each;
    }
    }
}

/* One head of k_b: [rank, nope] from the head's nope rows of kv_b [nope, rank]. */
static void recipe_keys(const struct recipe *r, size_t h, float *dst, float *scratch)
{
    size_t rank = r->out.shape[1];
    for (size_t i = 0; i < r->nope; i++) {
        dequant_row(r->sources, h * (r->nope + r->v) + i, scratch);
        for (size_t j = 0; j < rank; j++) {
            dst[j * r->nope + i] = scratch[j];
        }
    }
}

/* One head of kv_b: nope rows from k_b [H, rank, nope] transposed, then v rows of v_b [H, v, rank]. */
static void recipe_join(const struct recipe *r, size_t h, float *dst, float *scratch)
{
    size_t rank = r->out.shape[1];
    for (size_t j = 0; j < rank; j++) {
        dequant_row(&r->sources[0], h * rank + j, scratch);
        for (size_t i = 0; i < r->nope; i++) {
            dst[i * rank + j] = scratch[i];
        }
    }
    for (size_t i = 0; i < r->v; i++) {
        dequant_row(&r->sources[1], h * r->v + i, dst + (r->nope + i) * rank);
    }
}

void recipe_rows(const struct recipe *r, size_t first, size_t n, float *dst, float *scratch)
{
    size_t cols = tensor_cols(&r->out);
    size_t unit = recipe_unit(r);
    for (size_t row = first; row < first + n; row += unit, dst += unit * cols) {
        if (r->kind == RECIPE_KEYS) {
            recipe_keys(r, row / unit, dst, scratch);
        } else if (r->kind == RECIPE_JOIN) {
            recipe_join(r, row / unit, dst, scratch);
        } else {
            const struct tensor *source;
            size_t at = recipe_locate(r, row, &source);
            dequant_row(source, at, dst);
        }
    }
}

/* True when rows can be passed through as bytes. */
static bool recipe_is_verbatim(const struct recipe *r)
{
    return r->sources[0].dtype == r->out.dtype && r->out.dtype != DTYPE_F8_E4M3 &&
           r->kind != RECIPE_KEYS && r->kind != RECIPE_JOIN;
}

static const float *recipe_importance(const struct recipe *r, size_t row)
{
    if (!r->importance || r->n_importance == 1) {
        return r->importance;
    }
    size_t slice = tensor_rows(&r->out) / r->n_importance;
    return r->importance + row / slice * tensor_cols(&r->out);
}

/* The largest magnitude a type can take; above it the tensor is refused. */
static float recipe_limit(enum dtype t)
{
    switch (t) {
    case DTYPE_F32:
    case DTYPE_BF16: return INFINITY;
    case DTYPE_F16: return 65519.0f;
    default: return FLT_MAX;
    }
}

/* A NaN is over every limit but that of the plain float types. */
static bool recipe_fits(const float *x, size_t n, float limit)
{
    int over = 0;
    for (size_t i = 0; i < n; i++) {
        over |= !(fabsf(x[i]) <= limit);
    }
    return !over || limit == INFINITY;
}

/* Rows [first, first + unit) to bytes; false when a value does not fit the type. */
static bool recipe_bake(const struct recipe *r, size_t first, float *floats, uint8_t *dst)
{
    size_t cols = tensor_cols(&r->out);
    size_t unit = recipe_unit(r);
    size_t row_bytes = tensor_row_bytes(&r->out);
    if (recipe_is_verbatim(r)) {
        const struct tensor *source;
        size_t at = recipe_locate(r, first, &source);
        memcpy(dst, (const uint8_t *)source->data + at * row_bytes, row_bytes);
        return true;
    }
    recipe_rows(r, first, unit, floats, floats + unit * cols);
    if (!recipe_fits(floats, unit * cols, recipe_limit(r->out.dtype))) {
        return false;
    }
    bool done = true;
    for (size_t i = 0; i < unit; i++) {
        done &= quantize_run(r->out.dtype, floats + i * cols, dst + i * row_bytes, cols,
                             recipe_importance(r, first + i)) == ERR_OK;
    }
    return done;
}

/* Rows [first, first + n) by all threads. Returns the first row that failed, SIZE_MAX when none did. */
static size_t recipe_piece(const struct recipe *r, size_t first, size_t n, int n_threads,
                           float *floats, size_t floats_each, uint8_t *bytes)
{
    size_t unit = recipe_unit(r);
    size_t row_bytes = tensor_row_bytes(&r->out);
    size_t failed = SIZE_MAX;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 4) reduction(min : failed)
    for (size_t i = 0; i < n; i += unit) {
        float *mine = floats + (size_t)omp_get_thread_num() * floats_each;
        if (!recipe_bake(r, first + i, mine, bytes + i * row_bytes) && first + i < failed) {
            failed = first + i;
        }
    }
    return failed;
}

err recipe_make(const struct recipe *r, int n_threads, recipe_sink sink, void *user,
                struct errinfo *info)
{
    size_t rows = tensor_rows(&r->out);
    size_t row_bytes = tensor_row_bytes(&r->out);
    size_t unit = recipe_unit(r);
    size_t piece = RECIPE_PIECE_BYTES / row_bytes / unit * unit;
    piece = piece < unit ? unit : piece > rows ? rows : piece;
    size_t each = 2 * unit * tensor_cols(&r->out);
    size_t all;
    if (!checked_mul(each * sizeof(float), (size_t)n_threads, &all)) {
        return err_set(info, ERR_LIMIT, "tensor %s is too large to convert", r->name);
    }
    float *floats = mem_alloc(all);
    uint8_t *bytes = mem_alloc(piece * row_bytes);
    err e = floats && bytes ? ERR_OK
                            : err_set(info, ERR_NOMEM, "out of memory converting %s", r->name);
    for (size_t first = 0; first < rows && e == ERR_OK; first += piece) {
        size_t n = rows - first < piece ? rows - first : piece;
        size_t failed = recipe_piece(r, first, n, n_threads, floats, each, bytes);
        if (failed != SIZE_MAX) {
            e = err_set(info, ERR_CORRUPT,
                        "tensor %s, row %zu, holds a value that is not finite or too large for %s%s",
                        r->name, failed, dtype_info(r->out.dtype)->name,
                        r->out.dtype == DTYPE_F16 ? "; bf16 has the range" : "");
        } else {
            e = sink(user, bytes, n * row_bytes, info);
        }
    }
    mem_free(floats);
    mem_free(bytes);
    return e;
}

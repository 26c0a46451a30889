/* model/recipe.h: how one tensor of a file being written is made from tensors of the file being read:
 * where each row comes from, how the halves of MLA's kv_b are split, joined and transposed, and into
 * which type. Rows are made, quantised and handed on in pieces by all threads; no whole tensor is ever
 * held in memory. */
#ifndef MODEL_RECIPE_H
#define MODEL_RECIPE_H

#include "formats/tensortable.h"

enum recipe_kind {
    RECIPE_ROWS,   /* the rows of the sources, one source after the other (experts; or one: a copy) */
    RECIPE_PAIR,   /* rotary halves to neighbours: row 2i of a head = i, row 2i + 1 = i + head / 2 */
    RECIPE_UNPAIR, /* and back */
    RECIPE_VALUES, /* v_b [H, v, rank] out of kv_b [H * (nope + v), rank] */
    RECIPE_KEYS,   /* k_b [H, rank, nope], transposed per head, out of kv_b */
    RECIPE_JOIN,   /* kv_b out of k_b (source 0) and v_b (source 1) */
};

struct recipe {
    char name[TENSORTABLE_NAME_MAX + 1];
    struct tensor out; /* type and shape of the result; its data is not used */
    enum recipe_kind kind;
    struct tensor *sources; /* owned by whoever made the recipe */
    size_t n_sources;
    size_t head;    /* PAIR, UNPAIR: rows per head */
    size_t nope, v; /* VALUES, KEYS, JOIN: rows of kv_b per head */
    /* Importance of the inputs for quantize_run: one row for all, or one per outermost slice; NULL. */
    const float *importance;
    size_t n_importance; /* 1 or out.shape[0] */
};

/* Takes the bytes of a tensor in order. */
typedef err (*recipe_sink)(void *user, const void *data, size_t n, struct errinfo *info);

/* Rows [first, first + n) of the result as floats to dst[n * cols]; both multiples of recipe_unit.
 * scratch: recipe_unit * cols floats. */
size_t recipe_unit(const struct recipe *r);
void recipe_rows(const struct recipe *r, size_t first, size_t n, float *dst, float *scratch);

/* Makes the whole tensor with `n_threads` threads. Source rows that already have the wanted type are
 * passed through byte for byte. ERR_CORRUPT names the tensor and row of a value that is not finite or
 * too large for the type. */
ERR_MUST_USE err recipe_make(const struct recipe *r, int n_threads, recipe_sink sink, void *user,
                             struct errinfo *info);

#endif

/* tensor/cpu/gemm_body.h: products of learning in vector registers. The including file brings vec_*.h and
 *   GEMM_UNIT          numbers of a sum in 32 bits: 1 (float32) or 2 (a pair of bfloat16)
 *   GEMM_HIGH          rows of y in registers at a time, beside 2 vectors of columns
 *   gemm_dot(s, x, w)  s + x w by lane, of units
 *   gemm_along(p, n)   units of n numbers that follow each other, n of a vec's at most; zeros after them
 *   gemm_down(p, q, n) n units, at most VEC_N: each a number of p and the one of q below it (NULL: of zeros)
 * Both sides are packed, a chunk of the sum at a time, as units [tile][unit of k][place in the tile]; a tile of
 * w stays in the first cache while all of x passes. */
#include "tensor/cpu/gemm.h"

enum {
    GEMM_WIDE = 2 * VEC_N, /* columns of y in registers at a time */
    GEMM_UNITS = 256,
    GEMM_CHUNK = GEMM_UNITS * GEMM_UNIT,
    GEMM_X_BYTES = GEMM_ROWS * GEMM_UNITS * 4,
    GEMM_SUM_BYTES = GEMM_ROWS * GEMM_COLS * 4,
    GEMM_SCRATCH = GEMM_X_BYTES + GEMM_SUM_BYTES,
};

/* ---- Packing. ---- */

/* One side of a product: n of its rows or columns from `first` on. down: the sum runs down the mat. */
struct gemm_side {
    const struct mat *mat;
    size_t first, n;
    bool down;
};

static const uint16_t *gemm_at(const struct mat *m, size_t row, size_t col)
{
    return (const uint16_t *)m->data + row * m->stride + col;
}

static inline size_t gemm_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* n places of the unit that begins at k, of `left` numbers, and zeros up to `wide`. */
static void gemm_pack_down(const struct gemm_side *a, size_t at, size_t n, size_t k, size_t left, size_t wide,
                           float *to)
{
    const uint16_t *p = gemm_at(a->mat, k, a->first + at);
    for (size_t i = 0; i < wide; i += VEC_N) {
        size_t have = i < n ? gemm_least(n - i, VEC_N) : 0;
        vec_store_n(to + i, gemm_down(p + i, left > 1 ? p + i + a->mat->stride : NULL, have),
                    gemm_least(wide - i, VEC_N));
    }
}

/* n places, n_k numbers of each, and zeros up to `wide` places. */
static void gemm_pack_along(const struct gemm_side *a, size_t at, size_t n, size_t k, size_t n_k, size_t wide,
                            float *to)
{
    enum { NUMBERS = VEC_N * GEMM_UNIT };
    for (size_t i = 0; i < wide; i += VEC_N) {
        for (size_t done = 0; done < n_k; done += NUMBERS) {
            size_t have = gemm_least(n_k - done, NUMBERS), units = (have + GEMM_UNIT - 1) / GEMM_UNIT;
            vec r[VEC_N];
            for (size_t j = 0; j < VEC_N; j++) {
                r[j] = i + j < n ? gemm_along(gemm_at(a->mat, a->first + at + i + j, k + done), have)
                                 : vec_set(0);
            }
            vec_transpose(r);
            for (size_t j = 0; j < units; j++) {
                vec_store_n(to + (done / GEMM_UNIT + j) * wide + i, r[j], gemm_least(wide - i, VEC_N));
            }
        }
    }
}

static void gemm_pack(const struct gemm_side *a, size_t k, size_t n_k, size_t wide, float *to)
{
    size_t units = (n_k + GEMM_UNIT - 1) / GEMM_UNIT;
    for (size_t at = 0; at < a->n; at += wide, to += units * wide) {
        size_t n = gemm_least(a->n - at, wide);
        if (!a->down) {
            gemm_pack_along(a, at, n, k, n_k, wide, to);
            continue;
        }
        for (size_t u = 0; u < units; u++) {
            size_t done = u * GEMM_UNIT;
            gemm_pack_down(a, at, n, k + done, n_k - done, wide, to + u * wide);
        }
    }
}

/* ---- Results. ---- */

static void gemm_put_vec(const struct mat *y, size_t row, size_t col, size_t n, vec v, bool add)
{
    size_t at = row * y->stride + col;
    n = n < VEC_N ? n : VEC_N;
    if (y->type == MAT_F32) {
        float *p = (float *)y->data + at;
        vec_store_n(p, add ? vec_add(v, vec_load_n(p, n)) : v, n);
    } else {
        uint16_t *p = (uint16_t *)y->data + at;
        vec_store_bf16_n(p, add ? vec_add(v, vec_load_bf16_n(p, n)) : v, n);
    }
}

/* Sums [GEMM_HIGH][GEMM_WIDE] to y, rows x cols of them. */
static void gemm_put(const struct mat *y, size_t row, size_t col, size_t rows, size_t cols, const float *sums,
                     bool add)
{
    for (size_t i = 0; i < rows; i++, sums += GEMM_WIDE) {
        gemm_put_vec(y, row + i, col, cols, vec_load(sums), add);
        if (cols > VEC_N) {
            gemm_put_vec(y, row + i, col + VEC_N, cols - VEC_N, vec_load(sums + VEC_N), add);
        }
    }
}

/* ---- Products. ---- */

static void gemm_tile(const float *x, const float *w, size_t units, float *sums)
{
    vec low[GEMM_HIGH], high[GEMM_HIGH];
    for (size_t i = 0; i < GEMM_HIGH; i++) {
        low[i] = high[i] = vec_set(0);
    }
    for (size_t u = 0; u < units; u++, x += GEMM_HIGH, w += GEMM_WIDE) {
        vec a = vec_load(w), b = vec_load(w + VEC_N);
#pragma GCC unroll 8
        for (size_t i = 0; i < GEMM_HIGH; i++) {
            low[i] = gemm_dot(low[i], vec_set(x[i]), a);
            high[i] = gemm_dot(high[i], vec_set(x[i]), b);
        }
    }
    for (size_t i = 0; i < GEMM_HIGH; i++, sums += GEMM_WIDE) {
        vec_store(sums, low[i]);
        vec_store(sums + VEC_N, high[i]);
    }
}

/* One chunk of the sum, packed, to y, whose first row and column are the task's. */
static void gemm_chunk(const struct gemm_task *t, size_t units, const float *x, const float *w,
                       const struct mat *y, bool add)
{
    float sums[GEMM_HIGH * GEMM_WIDE];
    for (size_t n = 0; n < t->n_n; n += GEMM_WIDE) {
        size_t cols = t->n_n - n < GEMM_WIDE ? t->n_n - n : GEMM_WIDE;
        for (size_t m = 0; m < t->n_m; m += GEMM_HIGH) {
            size_t rows = t->n_m - m < GEMM_HIGH ? t->n_m - m : GEMM_HIGH;
            gemm_tile(x + m * units, w + n * units, units, sums);
            gemm_put(y, m, n, rows, cols, sums, add);
        }
    }
}

static void gemm_task_run(const struct gemm_task *t)
{
    const struct gemm_side w_side = {&t->w, t->n, t->n_n, t->product != LEARNOPS_NT};
    const struct gemm_side x_side = {&t->x, t->m, t->n_m, t->product == LEARNOPS_TN};
    float *w = t->panel, *x = t->scratch;
    struct mat own = mat_rows(mat_cols(t->y, t->n, t->n_n), t->m, t->n_m), y = own;
    bool waits = own.type == MAT_BF16 && t->n_k > GEMM_CHUNK; /* nothing is rounded before all is summed */
    if (waits) {
        y = mat_of(x + GEMM_X_BYTES / 4, MAT_F32, t->n_m, t->n_n);
    }
    for (size_t at = 0; at < t->n_k; at += GEMM_CHUNK) {
        size_t n_k = t->n_k - at < GEMM_CHUNK ? t->n_k - at : GEMM_CHUNK;
        if (!t->same_w || t->n_k > GEMM_CHUNK) {
            gemm_pack(&w_side, t->k + at, n_k, GEMM_WIDE, w);
        }
        gemm_pack(&x_side, t->k + at, n_k, GEMM_HIGH, x);
        gemm_chunk(t, (n_k + GEMM_UNIT - 1) / GEMM_UNIT, x, w, &y, at > 0 || (t->add && !waits));
    }
    for (size_t m = 0; waits && m < t->n_m; m++) {
        for (size_t n = 0; n < t->n_n; n += VEC_N) {
            size_t left = t->n_n - n < VEC_N ? t->n_n - n : VEC_N;
            const float *from = (const float *)y.data + m * y.stride + n;
            gemm_put_vec(&own, m, n, left, vec_load_n(from, left), t->add);
        }
    }
}

static size_t gemm_panel(size_t n_n, size_t n_k)
{
    size_t units = ((n_k < GEMM_CHUNK ? n_k : GEMM_CHUNK) + GEMM_UNIT - 1) / GEMM_UNIT;
    return (n_n + GEMM_WIDE - 1) / GEMM_WIDE * GEMM_WIDE * units * 4;
}

static void gemm_nothing(void)
{
}

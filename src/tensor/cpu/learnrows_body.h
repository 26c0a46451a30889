/* tensor/cpu/learnrows_body.h: norm, rotation, swiglu, sums and copies of learnrows.h, written once over
 * vec_*.h; included by learnrows_avx2.c and learnrows_avx512.c. Formulas: ref/learnref.c. */
#include "tensor/cpu/learnrows.h"

#include <math.h>

#include "tensor/cpu/angles.h"
#include "tensor/cpu/matrow.h"
#include "tensor/cpu/rowsplit.h"

/* ---- RMSNorm ---- */

struct learnrows_norm {
    struct mat y, dx, dy, x, weight;
    float *sums; /* [blocks][D] of dweight */
    double eps;
};

static float learnrows_inverse_rms(vec squares, size_t d, double eps)
{
    return (float)(1 / sqrt((double)matrow_sum(squares) / (double)d + eps));
}

/* n elements of the weight from i on; 1 where there is none. */
static inline vec learnrows_weight(struct matrow weight, size_t i, size_t n)
{
    return weight.data ? matrow_load(weight, i, n) : vec_set(1);
}

static void learnrows_rmsnorm_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_norm *a = args;
    struct matrow weight = matrow_at(&a->weight, 0);
    size_t d = a->x.cols;
    bool stream = matrow_streams(&a->y);
    for (size_t t = first; t < last; t++) {
        struct matrow x = matrow_at(&a->x, t), y = matrow_out(&a->y, t, stream);
        vec squares = vec_set(0);
        for (size_t i = 0; i < d; i += VEC_N) {
            vec v = matrow_load(x, i, d - i);
            squares = vec_fma(v, v, squares);
        }
        vec r = vec_set(learnrows_inverse_rms(squares, d, a->eps));
        for (size_t i = 0; i < d; i += VEC_N) {
            vec v = vec_mul(matrow_load(x, i, d - i), r);
            matrow_store(y, i, d - i, vec_mul(v, learnrows_weight(weight, i, d - i)));
        }
    }
    vec_stream_end();
}

static void learnrows_rmsnorm(struct compute *c, struct mat y, struct mat x, struct mat weight, double eps)
{
    const struct learnrows_norm a = {.y = y, .x = x, .weight = weight, .eps = eps};
    rowsplit_run(c, x.rows, x.cols, learnrows_rmsnorm_rows, &a);
}

/* One row; sums adds what is dweight's. */
static void learnrows_rmsnorm_back(const struct learnrows_norm *a, size_t t, struct matrow sums)
{
    struct matrow x = matrow_at(&a->x, t), dx = matrow_at(&a->dx, t), dy = matrow_at(&a->dy, t);
    struct matrow weight = matrow_at(&a->weight, 0);
    size_t d = a->x.cols;
    vec dot = vec_set(0), squares = vec_set(0);
    for (size_t i = 0; i < d; i += VEC_N) {
        vec v = matrow_load(x, i, d - i);
        vec g = vec_mul(matrow_load(dy, i, d - i), learnrows_weight(weight, i, d - i));
        dot = vec_fma(g, v, dot);
        squares = vec_fma(v, v, squares);
    }
    float r = learnrows_inverse_rms(squares, d, a->eps);
    vec scale = vec_set(r), back = vec_set(-r * r * matrow_sum(dot) / (float)d);
    for (size_t i = 0; i < d; i += VEC_N) {
        size_t n = d - i;
        vec v = matrow_load(x, i, n), g = matrow_load(dy, i, n);
        vec by_x = vec_fma(v, back, vec_mul(g, learnrows_weight(weight, i, n)));
        matrow_store(dx, i, n, vec_fma(by_x, scale, matrow_load(dx, i, n)));
        matrow_store(sums, i, n, vec_fma(g, vec_mul(v, scale), matrow_load(sums, i, n)));
    }
}

static void learnrows_rmsnorm_blocks(const void *args, size_t first, size_t last)
{
    const struct learnrows_norm *a = args;
    size_t d = a->x.cols;
    for (size_t block = first; block < last; block++) {
        size_t t = block * LEARNROWS_BLOCK, end = t + LEARNROWS_BLOCK;
        memset(a->sums + block * d, 0, d * sizeof *a->sums);
        for (; t < end && t < a->x.rows; t++) {
            learnrows_rmsnorm_back(a, t, matrow_floats(a->sums + block * d));
        }
    }
}

static err learnrows_rmsnorm_backward(struct compute *c, struct mat dx, struct mat dweight, struct mat dy,
                                      struct mat x, struct mat weight, double eps)
{
    size_t d = x.cols, blocks = (x.rows + LEARNROWS_BLOCK - 1) / LEARNROWS_BLOCK;
    struct learnrows_norm a = {.dx = dx, .dy = dy, .x = x, .weight = weight, .eps = eps};
    if (x.rows == 0) {
        return ERR_OK;
    }
    a.sums = compute_scratch(c, blocks * d * sizeof *a.sums);
    if (!a.sums) {
        return ERR_NOMEM;
    }
    rowsplit_run(c, blocks, LEARNROWS_BLOCK * d, learnrows_rmsnorm_blocks, &a);
    struct matrow to = matrow_at(&dweight, 0);
    for (size_t i = 0; weight.data && i < d; i += VEC_N) {
        vec sum = vec_set(0);
        for (size_t block = 0; block < blocks; block++) {
            sum = vec_add(sum, matrow_load(matrow_floats(a.sums + block * d), i, d - i));
        }
        matrow_store(to, i, d - i, vec_add(sum, matrow_load(to, i, d - i)));
    }
    return ERR_OK;
}

/* ---- Rotation ---- */

enum { LEARNROWS_PAIRS = 64 }; /* made and rotated at a time, on the stack */

static void learnrows_move(struct matrow to, size_t at, struct matrow from, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i += VEC_N) {
        matrow_store(to, at + i, n - i, matrow_load(from, first + i, n - i));
    }
}

/* The two of pair i are x[i * step] and x[i * step + apart]. */
static inline void learnrows_rotate(float *x, size_t step, size_t apart, size_t n, const float *cs,
                                    const float *sn)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float u = x[i * step], v = x[i * step + apart];
        x[i * step] = u * cs[i] - v * sn[i];
        x[i * step + apart] = u * sn[i] + v * cs[i];
    }
}

/* n pairs from pair `first` of the head that begins at `base`. */
static void learnrows_rope_head(const struct learnops_rope *a, struct matrow x, size_t base, size_t first,
                                size_t n, const float *cs, const float *sn)
{
    float pairs[2 * LEARNROWS_PAIRS];
    struct matrow part = matrow_floats(pairs);
    if (a->pairs == ROPE_INTERLEAVED) {
        learnrows_move(part, 0, x, base + 2 * first, 2 * n);
        learnrows_rotate(pairs, 2, 1, n, cs, sn);
        learnrows_move(x, base + 2 * first, part, 0, 2 * n);
    } else {
        learnrows_move(part, 0, x, base + first, n);
        learnrows_move(part, LEARNROWS_PAIRS, x, base + first + a->dim / 2, n);
        learnrows_rotate(pairs, 1, LEARNROWS_PAIRS, n, cs, sn);
        learnrows_move(x, base + first, part, 0, n);
        learnrows_move(x, base + first + a->dim / 2, part, LEARNROWS_PAIRS, n);
    }
}

static void learnrows_rope_rows(const void *args, size_t first, size_t last)
{
    const struct learnops_rope *a = args;
    float cs[LEARNROWS_PAIRS], sn[LEARNROWS_PAIRS];
    size_t pairs = a->dim / 2;
    for (size_t t = first; t < last; t++) {
        for (size_t i = 0; i < pairs; i += LEARNROWS_PAIRS) {
            size_t n = pairs - i < LEARNROWS_PAIRS ? pairs - i : LEARNROWS_PAIRS;
            double position = (double)a->positions[t];
            angles_sincos(a->back ? -position : position, a->freqs + i, n, cs, sn);
            for (size_t h = 0; h < a->n_heads; h++) {
                learnrows_rope_head(a, matrow_at(&a->x, t), h * a->head_dim + a->first, i, n, cs, sn);
            }
        }
    }
}

static void learnrows_rope(struct compute *c, const struct learnops_rope *a)
{
    rowsplit_run(c, a->x.rows, (a->n_heads + 4) * a->dim, learnrows_rope_rows, a);
}

/* ---- Elements ---- */

struct learnrows_mats {
    struct mat a, b, c, d, e; /* outputs first */
};

static inline vec learnrows_logistic(vec g)
{
    return vec_div(vec_set(1), vec_add(vec_set(1), vec_exp(vec_sub(vec_set(0), g))));
}

static void learnrows_swiglu_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    bool stream = matrow_streams(&m->a);
    for (size_t t = first; t < last; t++) {
        struct matrow y = matrow_out(&m->a, t, stream), gate = matrow_at(&m->b, t), up = matrow_at(&m->c, t);
        for (size_t i = 0, n; i < m->a.cols; i += VEC_N) {
            n = m->a.cols - i;
            vec g = matrow_load(gate, i, n);
            matrow_store(y, i, n, vec_mul(vec_mul(g, learnrows_logistic(g)), matrow_load(up, i, n)));
        }
    }
    vec_stream_end();
}

static void learnrows_swiglu(struct compute *c, struct mat y, struct mat gate, struct mat up)
{
    const struct learnrows_mats m = {.a = y, .b = gate, .c = up};
    rowsplit_run(c, y.rows, y.cols, learnrows_swiglu_rows, &m);
}

static void learnrows_swiglu_back_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    for (size_t t = first; t < last; t++) {
        struct matrow dgate = matrow_at(&m->a, t), dup = matrow_at(&m->b, t), dy = matrow_at(&m->c, t);
        struct matrow gate = matrow_at(&m->d, t), up = matrow_at(&m->e, t);
        for (size_t i = 0, n; i < m->a.cols; i += VEC_N) {
            n = m->a.cols - i;
            vec g = matrow_load(gate, i, n), u = matrow_load(up, i, n);
            vec s = learnrows_logistic(g), ds = vec_mul(matrow_load(dy, i, n), s);
            vec slope = vec_fma(g, vec_sub(vec_set(1), s), vec_set(1));
            matrow_store(dgate, i, n, vec_mul(vec_mul(ds, u), slope));
            matrow_store(dup, i, n, vec_mul(ds, g));
        }
    }
}

static void learnrows_swiglu_backward(struct compute *c, struct mat dgate, struct mat dup, struct mat dy,
                                      struct mat gate, struct mat up)
{
    const struct learnrows_mats m = {.a = dgate, .b = dup, .c = dy, .d = gate, .e = up};
    rowsplit_run(c, dy.rows, dy.cols, learnrows_swiglu_back_rows, &m);
}

static void learnrows_add_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    for (size_t t = first; t < last; t++) {
        struct matrow y = matrow_at(&m->a, t), x = matrow_at(&m->b, t);
        for (size_t i = 0, n; i < m->a.cols; i += VEC_N) {
            n = m->a.cols - i;
            matrow_store(y, i, n, vec_add(matrow_load(y, i, n), matrow_load(x, i, n)));
        }
    }
}

static void learnrows_add(struct compute *c, struct mat y, struct mat x)
{
    const struct learnrows_mats m = {.a = y, .b = x};
    rowsplit_run(c, y.rows, y.cols, learnrows_add_rows, &m);
}

static void learnrows_copy_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    bool stream = matrow_streams(&m->a);
    for (size_t t = first; t < last; t++) {
        learnrows_move(matrow_out(&m->a, t, stream), 0, matrow_at(&m->b, t), 0, m->a.cols);
    }
    vec_stream_end();
}

static void learnrows_copy(struct compute *c, struct mat y, struct mat x)
{
    const struct learnrows_mats m = {.a = y, .b = x};
    rowsplit_run(c, y.rows, y.cols, learnrows_copy_rows, &m);
}

static void learnrows_zero_rows(const void *args, size_t first, size_t last)
{
    const struct mat *y = args;
    bool stream = matrow_streams(y);
    for (size_t t = first; t < last; t++) {
        struct matrow row = matrow_out(y, t, stream);
        for (size_t i = 0; i < y->cols; i += VEC_N) {
            matrow_store(row, i, y->cols - i, vec_set(0));
        }
    }
    vec_stream_end();
}

static void learnrows_zero(struct compute *c, struct mat y)
{
    rowsplit_run(c, y.rows, y.cols, learnrows_zero_rows, &y);
}

#define LEARNROWS_BODY                                                                                     \
    .rmsnorm = learnrows_rmsnorm, .rmsnorm_backward = learnrows_rmsnorm_backward, .rope = learnrows_rope,  \
    .swiglu = learnrows_swiglu, .swiglu_backward = learnrows_swiglu_backward, .add = learnrows_add,        \
    .copy = learnrows_copy, .zero = learnrows_zero

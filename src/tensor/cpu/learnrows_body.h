/* tensor/cpu/learnrows_body.h: the operations of learnrows.h, written once over vec_*.h; included by
 * learnrows_avx2.c and learnrows_avx512.c, which name the functions through LEARNROWS(). */
#include "tensor/cpu/learnrows.h"

#include <math.h>
#include <string.h>

#include "tensor/cpu/rowsplit.h"

/* One row of a mat. */
struct learnrows_row {
    void *data;
    bool wide;
};

static inline struct learnrows_row learnrows_at(const struct mat *m, size_t row)
{
    return (struct learnrows_row){(char *)m->data + row * m->stride * mat_type_bytes(m->type), m->type == MAT_F32};
}

/* n elements from i on: all of a vec, or the first of it. */
static inline vec learnrows_load(struct learnrows_row r, size_t i, size_t n)
{
    const float *f = (const float *)r.data + i;
    const uint16_t *h = (const uint16_t *)r.data + i;
    if (n >= VEC_N) {
        return r.wide ? vec_load(f) : vec_load_bf16(h);
    }
    return r.wide ? vec_load_n(f, n) : vec_load_bf16_n(h, n);
}

static inline void learnrows_store(struct learnrows_row r, size_t i, size_t n, vec v)
{
    float *f = (float *)r.data + i;
    uint16_t *h = (uint16_t *)r.data + i;
    if (n >= VEC_N) {
        if (r.wide) {
            vec_store(f, v);
        } else {
            vec_store_bf16(h, v);
        }
    } else if (r.wide) {
        vec_store_n(f, v, n);
    } else {
        vec_store_bf16_n(h, v, n);
    }
}

static inline double learnrows_sum(vec v)
{
    float lanes[VEC_N];
    double sum = 0;
    vec_store(lanes, v);
    for (int i = 0; i < VEC_N; i++) {
        sum += (double)lanes[i];
    }
    return sum;
}

/* ---- RMSNorm ---- */

struct learnrows_norm {
    struct mat y, dx, dy, x, weight;
    float *sums; /* [blocks][D] of dweight */
    double eps;
};

static float learnrows_inverse_rms(struct learnrows_row x, size_t d, double eps)
{
    vec sum = vec_set(0);
    for (size_t i = 0; i < d; i += VEC_N) {
        vec v = learnrows_load(x, i, d - i);
        sum = vec_fma(v, v, sum);
    }
    return (float)(1 / sqrt(learnrows_sum(sum) / (double)d + eps));
}

static void learnrows_rmsnorm_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_norm *a = args;
    struct learnrows_row weight = learnrows_at(&a->weight, 0);
    size_t d = a->x.cols;
    for (size_t t = first; t < last; t++) {
        struct learnrows_row x = learnrows_at(&a->x, t), y = learnrows_at(&a->y, t);
        vec r = vec_set(learnrows_inverse_rms(x, d, a->eps));
        for (size_t i = 0; i < d; i += VEC_N) {
            vec v = vec_mul(learnrows_load(x, i, d - i), r);
            learnrows_store(y, i, d - i, vec_mul(v, learnrows_load(weight, i, d - i)));
        }
    }
}

void LEARNROWS(rmsnorm)(struct compute *c, struct mat y, struct mat x, struct mat weight, double eps)
{
    const struct learnrows_norm a = {.y = y, .x = x, .weight = weight, .eps = eps};
    rowsplit_run(c, x.rows, x.cols, learnrows_rmsnorm_rows, &a);
}

/* Formulas: ref/learnref.c. */
static void learnrows_rmsnorm_back(const struct learnrows_norm *a, size_t t, float *sums)
{
    struct learnrows_row x = learnrows_at(&a->x, t), dx = learnrows_at(&a->dx, t), dy = learnrows_at(&a->dy, t);
    struct learnrows_row weight = learnrows_at(&a->weight, 0);
    size_t d = a->x.cols;
    float r = learnrows_inverse_rms(x, d, a->eps);
    vec dot = vec_set(0);
    for (size_t i = 0; i < d; i += VEC_N) {
        vec g = vec_mul(learnrows_load(dy, i, d - i), learnrows_load(weight, i, d - i));
        dot = vec_fma(g, learnrows_load(x, i, d - i), dot);
    }
    vec back = vec_set((float)(-(double)r * (double)r * learnrows_sum(dot) / (double)d)), scale = vec_set(r);
    for (size_t i = 0; i < d; i += VEC_N) {
        size_t n = d - i;
        vec v = learnrows_load(x, i, n), g = learnrows_load(dy, i, n);
        vec by_x = vec_fma(v, back, vec_mul(g, learnrows_load(weight, i, n)));
        learnrows_store(dx, i, n, vec_fma(by_x, scale, learnrows_load(dx, i, n)));
        struct learnrows_row s = {sums, true};
        learnrows_store(s, i, n, vec_fma(g, vec_mul(v, scale), learnrows_load(s, i, n)));
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
            learnrows_rmsnorm_back(a, t, a->sums + block * d);
        }
    }
}

err LEARNROWS(rmsnorm_backward)(struct compute *c, struct mat dx, struct mat dweight, struct mat dy, struct mat x,
                                struct mat weight, double eps)
{
    size_t d = x.cols, blocks = (x.rows + LEARNROWS_BLOCK - 1) / LEARNROWS_BLOCK;
    struct learnrows_norm a = {.dx = dx, .dy = dy, .x = x, .weight = weight, .eps = eps};
    a.sums = compute_scratch(c, blocks * d * sizeof *a.sums);
    if (!a.sums) {
        return ERR_NOMEM;
    }
    rowsplit_run(c, blocks, LEARNROWS_BLOCK * d, learnrows_rmsnorm_blocks, &a);
    for (size_t block = 0; block < blocks; block++) {
        struct learnrows_row to = learnrows_at(&dweight, 0), from = {a.sums + block * d, true};
        for (size_t i = 0; i < d; i += VEC_N) {
            learnrows_store(to, i, d - i, vec_add(learnrows_load(to, i, d - i), learnrows_load(from, i, d - i)));
        }
    }
    return ERR_OK;
}

/* ---- Elements ---- */

struct learnrows_mats {
    struct mat a, b, c, d, e; /* outputs first */
    const uint32_t *index;
};

static inline vec learnrows_logistic(vec g)
{
    return vec_div(vec_set(1), vec_add(vec_set(1), vec_exp(vec_sub(vec_set(0), g))));
}

static void learnrows_swiglu_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    for (size_t t = first; t < last; t++) {
        struct learnrows_row y = learnrows_at(&m->a, t), gate = learnrows_at(&m->b, t), up = learnrows_at(&m->c, t);
        for (size_t i = 0, n; i < m->a.cols; i += VEC_N) {
            n = m->a.cols - i;
            vec g = learnrows_load(gate, i, n);
            learnrows_store(y, i, n, vec_mul(vec_mul(g, learnrows_logistic(g)), learnrows_load(up, i, n)));
        }
    }
}

void LEARNROWS(swiglu)(struct compute *c, struct mat y, struct mat gate, struct mat up)
{
    const struct learnrows_mats m = {.a = y, .b = gate, .c = up};
    rowsplit_run(c, y.rows, y.cols, learnrows_swiglu_rows, &m);
}

static void learnrows_swiglu_back_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    for (size_t t = first; t < last; t++) {
        struct learnrows_row dgate = learnrows_at(&m->a, t), dup = learnrows_at(&m->b, t);
        struct learnrows_row dy = learnrows_at(&m->c, t), gate = learnrows_at(&m->d, t), up = learnrows_at(&m->e, t);
        for (size_t i = 0, n; i < m->a.cols; i += VEC_N) {
            n = m->a.cols - i;
            vec g = learnrows_load(gate, i, n), u = learnrows_load(up, i, n), d = learnrows_load(dy, i, n);
            vec s = learnrows_logistic(g), ds = vec_mul(d, s);
            vec slope = vec_fma(g, vec_sub(vec_set(1), s), vec_set(1));
            learnrows_store(dgate, i, n, vec_mul(vec_mul(ds, u), slope));
            learnrows_store(dup, i, n, vec_mul(ds, g));
        }
    }
}

void LEARNROWS(swiglu_backward)(struct compute *c, struct mat dgate, struct mat dup, struct mat dy, struct mat gate,
                                struct mat up)
{
    const struct learnrows_mats m = {.a = dgate, .b = dup, .c = dy, .d = gate, .e = up};
    rowsplit_run(c, dy.rows, dy.cols, learnrows_swiglu_back_rows, &m);
}

static void learnrows_copy_row(struct learnrows_row to, struct learnrows_row from, size_t d)
{
    for (size_t i = 0; i < d; i += VEC_N) {
        learnrows_store(to, i, d - i, learnrows_load(from, i, d - i));
    }
}

/* to += factor * from */
static void learnrows_add_row(struct learnrows_row to, struct learnrows_row from, vec factor, size_t d)
{
    for (size_t i = 0; i < d; i += VEC_N) {
        vec v = vec_fma(learnrows_load(from, i, d - i), factor, learnrows_load(to, i, d - i));
        learnrows_store(to, i, d - i, v);
    }
}

static void learnrows_copy_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    for (size_t t = first; t < last; t++) {
        size_t from = m->index ? m->index[t] : t;
        learnrows_copy_row(learnrows_at(&m->a, t), learnrows_at(&m->b, from), m->a.cols);
    }
}

void LEARNROWS(copy)(struct compute *c, struct mat y, struct mat x)
{
    const struct learnrows_mats m = {.a = y, .b = x};
    rowsplit_run(c, y.rows, y.cols, learnrows_copy_rows, &m);
}

void LEARNROWS(gather)(struct compute *c, struct mat y, struct mat x, const uint32_t *rows)
{
    const struct learnrows_mats m = {.a = y, .b = x, .index = rows};
    rowsplit_run(c, y.rows, y.cols, learnrows_copy_rows, &m);
}

static void learnrows_add_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    for (size_t t = first; t < last; t++) {
        learnrows_add_row(learnrows_at(&m->a, t), learnrows_at(&m->b, t), vec_set(1), m->a.cols);
    }
}

void LEARNROWS(add)(struct compute *c, struct mat y, struct mat x)
{
    const struct learnrows_mats m = {.a = y, .b = x};
    rowsplit_run(c, y.rows, y.cols, learnrows_add_rows, &m);
}

/* ---- Experts' outputs back to their tokens ---- */

static void learnrows_combine_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args;
    size_t n = m->c.cols;
    for (size_t t = first; t < last; t++) {
        for (size_t k = 0; k < n; k++) {
            vec weight = vec_set((float)mat_get(&m->c, t, k));
            learnrows_add_row(learnrows_at(&m->a, t), learnrows_at(&m->b, m->index[t * n + k]), weight, m->a.cols);
        }
    }
}

void LEARNROWS(combine)(struct compute *c, struct mat y, struct mat x, struct mat weight, const uint32_t *slot)
{
    const struct learnrows_mats m = {.a = y, .b = x, .c = weight, .index = slot};
    rowsplit_run(c, y.rows, y.cols * weight.cols, learnrows_combine_rows, &m);
}

static void learnrows_combine_back_rows(const void *args, size_t first, size_t last)
{
    const struct learnrows_mats *m = args; /* dx, dweight, dy, x, weight */
    size_t n = m->e.cols, d = m->c.cols;
    for (size_t t = first; t < last; t++) {
        struct learnrows_row dy = learnrows_at(&m->c, t);
        for (size_t k = 0; k < n; k++) {
            size_t at = m->index[t * n + k];
            struct learnrows_row x = learnrows_at(&m->d, at), dx = learnrows_at(&m->a, at);
            vec dot = vec_set(0), weight = vec_set((float)mat_get(&m->e, t, k));
            for (size_t i = 0; i < d; i += VEC_N) {
                vec g = learnrows_load(dy, i, d - i);
                dot = vec_fma(g, learnrows_load(x, i, d - i), dot);
                learnrows_store(dx, i, d - i, vec_mul(g, weight));
            }
            mat_set(&m->b, t, k, learnrows_sum(dot));
        }
    }
}

void LEARNROWS(combine_backward)(struct compute *c, struct mat dx, struct mat dweight, struct mat dy, struct mat x,
                                 struct mat weight, const uint32_t *slot)
{
    const struct learnrows_mats m = {.a = dx, .b = dweight, .c = dy, .d = x, .e = weight, .index = slot};
    rowsplit_run(c, dy.rows, dy.cols * weight.cols, learnrows_combine_back_rows, &m);
}

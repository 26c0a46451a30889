/* tensor/cpu/learngpt2_body.h: layer norm, GELU and biases of learnrows.h, which GPT-2's class has; written
 * once over vec_*.h; included by learnrows_avx2.c and learnrows_avx512.c. Formulas: ref/learnref*.c. */
#include "tensor/cpu/learnrows.h"

#include <math.h>

#include "tensor/cpu/matrow.h"
#include "tensor/cpu/rowsplit.h"

struct learngpt2_mats {
    struct mat y, x, weight, bias; /* outputs first */
    const struct learnops_layernorm *back;
    float *sums; /* [blocks][n_sums][D] */
    double eps;
};

/* ---- Layer norm ---- */

/* The mean of a row, and 1 / sqrt(its variance + eps). Lanes past the row's end are 0, so each adds the mean's
 * square, which is taken off. */
static float learngpt2_moments(struct matrow x, size_t d, double eps, float *mean)
{
    vec sum = vec_set(0), squares = vec_set(0);
    size_t past = (VEC_N - d % VEC_N) % VEC_N;
    for (size_t i = 0; i < d; i += VEC_N) {
        sum = vec_add(sum, matrow_load(x, i, d - i));
    }
    *mean = matrow_sum(sum) / (float)d;
    for (size_t i = 0; i < d; i += VEC_N) {
        vec v = vec_sub(matrow_load(x, i, d - i), vec_set(*mean));
        squares = vec_fma(v, v, squares);
    }
    double all = (double)matrow_sum(squares) - (double)past * (double)*mean * (double)*mean;
    return (float)(1 / sqrt(fmax(all, 0) / (double)d + eps));
}

static void learngpt2_layernorm_rows(const void *args, size_t first, size_t last)
{
    const struct learngpt2_mats *a = args;
    struct matrow weight = matrow_at(&a->weight, 0), bias = matrow_at(&a->bias, 0);
    size_t d = a->x.cols;
    for (size_t t = first; t < last; t++) {
        struct matrow x = matrow_at(&a->x, t), y = matrow_at(&a->y, t);
        float mean, r = learngpt2_moments(x, d, a->eps, &mean);
        for (size_t i = 0; i < d; i += VEC_N) {
            vec v = vec_mul(vec_sub(matrow_load(x, i, d - i), vec_set(mean)), vec_set(r));
            matrow_store(y, i, d - i, vec_fma(v, matrow_load(weight, i, d - i), matrow_load(bias, i, d - i)));
        }
    }
}

static void learngpt2_layernorm(struct compute *c, struct mat y, struct mat x, struct mat weight,
                                struct mat bias, double eps)
{
    const struct learngpt2_mats a = {.y = y, .x = x, .weight = weight, .bias = bias, .eps = eps};
    rowsplit_run(c, x.rows, x.cols, learngpt2_layernorm_rows, &a);
}

/* One row; sums [2][D] add what is dweight's and dbias's. */
static void learngpt2_layernorm_back(const struct learnops_layernorm *a, double eps, size_t t, float *sums)
{
    struct matrow x = matrow_at(&a->x, t), dx = matrow_at(&a->dx, t), dy = matrow_at(&a->dy, t);
    struct matrow weight = matrow_at(&a->weight, 0);
    size_t d = a->x.cols;
    struct matrow dweight = matrow_floats(sums), dbias = matrow_floats(sums + d);
    float mean, r = learngpt2_moments(x, d, eps, &mean);
    vec sum = vec_set(0), dot = vec_set(0), scale = vec_set(r), middle = vec_set(mean);
    for (size_t i = 0; i < d; i += VEC_N) {
        vec g = vec_mul(matrow_load(dy, i, d - i), matrow_load(weight, i, d - i));
        sum = vec_add(sum, g);
        dot = vec_fma(g, vec_mul(vec_sub(matrow_load(x, i, d - i), middle), scale), dot);
    }
    vec off = vec_set(matrow_sum(sum) / (float)d), along = vec_set(-matrow_sum(dot) / (float)d);
    for (size_t i = 0; i < d; i += VEC_N) {
        size_t n = d - i;
        vec v = vec_mul(vec_sub(matrow_load(x, i, n), middle), scale), g = matrow_load(dy, i, n);
        vec by_x = vec_fma(v, along, vec_sub(vec_mul(g, matrow_load(weight, i, n)), off));
        matrow_store(dx, i, n, vec_fma(by_x, scale, matrow_load(dx, i, n)));
        matrow_store(dweight, i, n, vec_fma(g, v, matrow_load(dweight, i, n)));
        matrow_store(dbias, i, n, vec_add(g, matrow_load(dbias, i, n)));
    }
}

static void learngpt2_layernorm_blocks(const void *args, size_t first, size_t last)
{
    const struct learngpt2_mats *m = args;
    size_t d = m->back->x.cols;
    for (size_t block = first; block < last; block++) {
        size_t t = block * LEARNROWS_BLOCK, end = t + LEARNROWS_BLOCK;
        memset(m->sums + block * 2 * d, 0, 2 * d * sizeof *m->sums);
        for (; t < end && t < m->back->x.rows; t++) {
            learngpt2_layernorm_back(m->back, m->eps, t, m->sums + block * 2 * d);
        }
    }
}

/* to [1, D] adds the sums of all blocks, `apart` floats from one to the next. */
static void learngpt2_add_sums(const struct mat *to, const float *sums, size_t blocks, size_t apart)
{
    struct matrow row = matrow_at(to, 0);
    for (size_t i = 0; i < to->cols; i += VEC_N) {
        size_t n = to->cols - i;
        vec sum = vec_set(0);
        for (size_t block = 0; block < blocks; block++) {
            sum = vec_add(sum, matrow_load(matrow_floats((float *)sums + block * apart), i, n));
        }
        matrow_store(row, i, n, vec_add(sum, matrow_load(row, i, n)));
    }
}

static err learngpt2_layernorm_backward(struct compute *c, const struct learnops_layernorm *a, double eps)
{
    size_t d = a->x.cols, blocks = (a->x.rows + LEARNROWS_BLOCK - 1) / LEARNROWS_BLOCK;
    struct learngpt2_mats m = {.back = a, .eps = eps};
    if (a->x.rows == 0) {
        return ERR_OK;
    }
    m.sums = compute_scratch(c, blocks * 2 * d * sizeof *m.sums);
    if (!m.sums) {
        return ERR_NOMEM;
    }
    rowsplit_run(c, blocks, LEARNROWS_BLOCK * d, learngpt2_layernorm_blocks, &m);
    learngpt2_add_sums(&a->dweight, m.sums, blocks, 2 * d);
    learngpt2_add_sums(&a->dbias, m.sums + d, blocks, 2 * d);
    return ERR_OK;
}

/* ---- GELU: x times the logistic function of 2 u ---- */

static inline vec learngpt2_gate(vec x, vec squares)
{
    vec u = vec_mul(x, vec_fma(squares, vec_set(2 * 0.7978845608f * 0.044715f), vec_set(2 * 0.7978845608f)));
    return vec_div(vec_set(1), vec_add(vec_set(1), vec_exp(vec_sub(vec_set(0), u))));
}

static void learngpt2_gelu_rows(const void *args, size_t first, size_t last)
{
    const struct learngpt2_mats *m = args;
    for (size_t t = first; t < last; t++) {
        struct matrow y = matrow_at(&m->y, t), x = matrow_at(&m->x, t);
        for (size_t i = 0, n; i < m->y.cols; i += VEC_N) {
            n = m->y.cols - i;
            vec v = matrow_load(x, i, n);
            matrow_store(y, i, n, vec_mul(v, learngpt2_gate(v, vec_mul(v, v))));
        }
    }
}

static void learngpt2_gelu(struct compute *c, struct mat y, struct mat x)
{
    const struct learngpt2_mats m = {.y = y, .x = x};
    rowsplit_run(c, y.rows, y.cols, learngpt2_gelu_rows, &m);
}

/* y is dx, weight is dy. */
static void learngpt2_gelu_back_rows(const void *args, size_t first, size_t last)
{
    const struct learngpt2_mats *m = args;
    const float a = 2 * 0.7978845608f, b = 3 * 0.044715f * a;
    for (size_t t = first; t < last; t++) {
        struct matrow dx = matrow_at(&m->y, t), x = matrow_at(&m->x, t), dy = matrow_at(&m->weight, t);
        for (size_t i = 0, n; i < m->y.cols; i += VEC_N) {
            n = m->y.cols - i;
            vec v = matrow_load(x, i, n), squares = vec_mul(v, v), s = learngpt2_gate(v, squares);
            vec slope = vec_mul(vec_mul(s, vec_sub(vec_set(1), s)), vec_fma(squares, vec_set(b), vec_set(a)));
            matrow_store(dx, i, n, vec_mul(matrow_load(dy, i, n), vec_fma(v, slope, s)));
        }
    }
}

static void learngpt2_gelu_backward(struct compute *c, struct mat dx, struct mat dy, struct mat x)
{
    const struct learngpt2_mats m = {.y = dx, .x = x, .weight = dy};
    rowsplit_run(c, dx.rows, dx.cols, learngpt2_gelu_back_rows, &m);
}

/* ---- Biases ---- */

static void learngpt2_bias_rows(const void *args, size_t first, size_t last)
{
    const struct learngpt2_mats *m = args;
    struct matrow bias = matrow_at(&m->bias, 0);
    for (size_t t = first; t < last; t++) {
        struct matrow y = matrow_at(&m->y, t);
        for (size_t i = 0, n; i < m->y.cols; i += VEC_N) {
            n = m->y.cols - i;
            matrow_store(y, i, n, vec_add(matrow_load(y, i, n), matrow_load(bias, i, n)));
        }
    }
}

static void learngpt2_bias(struct compute *c, struct mat y, struct mat bias)
{
    const struct learngpt2_mats m = {.y = y, .bias = bias};
    rowsplit_run(c, y.rows, y.cols, learngpt2_bias_rows, &m);
}

static void learngpt2_bias_blocks(const void *args, size_t first, size_t last)
{
    const struct learngpt2_mats *m = args;
    size_t d = m->x.cols;
    for (size_t block = first; block < last; block++) {
        size_t t = block * LEARNROWS_BLOCK, end = t + LEARNROWS_BLOCK;
        struct matrow sums = matrow_floats(m->sums + block * d);
        memset(m->sums + block * d, 0, d * sizeof *m->sums);
        for (; t < end && t < m->x.rows; t++) {
            struct matrow dy = matrow_at(&m->x, t);
            for (size_t i = 0; i < d; i += VEC_N) {
                matrow_store(sums, i, d - i, vec_add(matrow_load(sums, i, d - i), matrow_load(dy, i, d - i)));
            }
        }
    }
}

static err learngpt2_bias_backward(struct compute *c, struct mat dbias, struct mat dy)
{
    size_t d = dy.cols, blocks = (dy.rows + LEARNROWS_BLOCK - 1) / LEARNROWS_BLOCK;
    struct learngpt2_mats m = {.x = dy};
    if (dy.rows == 0) {
        return ERR_OK;
    }
    m.sums = compute_scratch(c, blocks * d * sizeof *m.sums);
    if (!m.sums) {
        return ERR_NOMEM;
    }
    rowsplit_run(c, blocks, LEARNROWS_BLOCK * d, learngpt2_bias_blocks, &m);
    learngpt2_add_sums(&dbias, m.sums, blocks, d);
    return ERR_OK;
}

#define LEARNGPT2_BODY                                                                                     \
    .layernorm = learngpt2_layernorm, .layernorm_backward = learngpt2_layernorm_backward,                  \
    .gelu = learngpt2_gelu, .gelu_backward = learngpt2_gelu_backward, .bias = learngpt2_bias,              \
    .bias_backward = learngpt2_bias_backward

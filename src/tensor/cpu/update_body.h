/* tensor/cpu/update_body.h: the kernels of update.h, compiled once per CPU level; UPDATE_TABLE names their
 * table. Include from update_LEVEL.c only.
 *
 * An average that nothing feeds any more sinks into numbers too small to be normal, which cost the processor a
 * hundred cycles each: they are taken as 0 here (update_begin). */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "tensor/cpu/rowsplit.h"
#include "tensor/cpu/update.h"

enum { UPDATE_TINY_IS_ZERO = 0x8040 }; /* bits of MXCSR: results and operands that are not normal */

static unsigned update_begin(void)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | UPDATE_TINY_IS_ZERO);
    return before;
}

static float *update_floats(const struct mat *m, size_t row)
{
    return (float *)m->data + row * m->stride;
}

static uint16_t *update_halves(const struct mat *m, size_t row)
{
    return (uint16_t *)m->data + row * m->stride;
}

/* Row of the copy for products; NULL: products read the values themselves. */
static uint16_t *update_work(const struct mat *work, const struct mat *value, size_t row)
{
    return work->data == value->data ? NULL : update_halves(work, row);
}

static inline float update_widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To nearest, ties to even; NaN stays NaN. */
static inline uint16_t update_narrow(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t near = bits + 0x7fff + (bits >> 16 & 1);
    uint32_t chosen = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : near;
    return (uint16_t)(chosen >> 16);
}

static void update_narrow_row(uint16_t *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; y && i < n; i++) {
        y[i] = update_narrow(x[i]);
    }
}

/* ---- squares ---- */

struct update_squares {
    struct mat x;
    double *sums;
};

static double update_squares_row(const float *x, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

static void update_squares_rows(const void *args, size_t first, size_t last)
{
    const struct update_squares *a = args;
    for (size_t r = first; r < last; r++) {
        a->sums[r] = update_squares_row(update_floats(&a->x, r), a->x.cols);
    }
}

static void update_squares(struct compute *c, struct mat x, double *sums)
{
    rowsplit_run(c, x.rows, x.cols, update_squares_rows, &(struct update_squares){x, sums});
}

/* ---- AdamW ---- */

struct update_adamw_terms {
    float grad_scale, beta1, beta2, less1, less2, m_scale, v_scale, eps, keep, rate;
};

static double update_adamw_row(const struct update_adamw_terms *t, float *restrict value,
                               const float *restrict grad, float *restrict m, float *restrict v, size_t n)
{
    const struct update_adamw_terms k = *t;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        float g = grad[i] * k.grad_scale;
        m[i] = k.beta1 * m[i] + k.less1 * g;
        v[i] = k.beta2 * v[i] + k.less2 * (g * g);
        float d = m[i] * k.m_scale / (sqrtf(v[i] * k.v_scale) + k.eps);
        value[i] = k.keep * value[i] - k.rate * d;
        sum += (double)d * (double)d;
    }
    return sum;
}

static void update_adamw_rows(const void *args, size_t first, size_t last)
{
    const struct updateops_adamw *a = args;
    const struct update_adamw_terms k = {.grad_scale = (float)a->grad_scale,
                                         .beta1 = (float)a->beta1,
                                         .beta2 = (float)a->beta2,
                                         .less1 = (float)(1 - a->beta1),
                                         .less2 = (float)(1 - a->beta2),
                                         .m_scale = (float)a->m_scale,
                                         .v_scale = (float)a->v_scale,
                                         .eps = (float)a->eps,
                                         .keep = (float)a->keep,
                                         .rate = (float)a->rate};
    unsigned before = update_begin();
    for (size_t r = first; r < last; r++) {
        float *value = update_floats(&a->value, r);
        a->sums[r] = update_adamw_row(&k, value, update_floats(&a->grad, r), update_floats(&a->m, r),
                                      update_floats(&a->v, r), a->value.cols);
        update_narrow_row(update_work(&a->work, &a->value, r), value, a->value.cols);
    }
    _mm_setcsr(before);
}

static void update_adamw(struct compute *c, const struct updateops_adamw *a)
{
    rowsplit_run(c, a->value.rows, a->value.cols, update_adamw_rows, a);
}

/* ---- momentum and its direction ---- */

/* The direction is g * own + momentum * rest. */
struct update_towards {
    float grad_scale, decay, own, rest;
};

static struct update_towards update_towards(const struct updateops_momentum *a, double scale)
{
    return (struct update_towards){.grad_scale = (float)a->grad_scale,
                                   .decay = (float)a->decay,
                                   .own = (float)(a->nesterov ? a->grad_scale * scale : 0),
                                   .rest = (float)((a->nesterov ? a->decay : 1) * scale)};
}

static double update_momentum_row(struct update_towards k, float *restrict momentum,
                                  const float *restrict grad, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        momentum[i] = k.decay * momentum[i] + grad[i] * k.grad_scale;
        float u = grad[i] * k.own + momentum[i] * k.rest;
        sum += (double)u * (double)u;
    }
    return sum;
}

static void update_momentum_rows(const void *args, size_t first, size_t last)
{
    const struct updateops_momentum *a = args;
    struct update_towards k = update_towards(a, 1);
    unsigned before = update_begin();
    for (size_t r = first; r < last; r++) {
        a->sums[r] = update_momentum_row(k, update_floats(&a->momentum, r), update_floats(&a->grad, r),
                                         a->grad.cols);
    }
    _mm_setcsr(before);
}

static void update_momentum(struct compute *c, const struct updateops_momentum *a)
{
    rowsplit_run(c, a->grad.rows, a->grad.cols, update_momentum_rows, a);
}

struct update_direction {
    const struct updateops_momentum *of;
    struct mat x;
    const double *scales;
    size_t rows_each;
};

static void update_direction_row(struct update_towards k, uint16_t *restrict x,
                                 const float *restrict momentum, const float *restrict grad, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        x[i] = update_narrow(grad[i] * k.own + momentum[i] * k.rest);
    }
}

static void update_direction_rows(const void *args, size_t first, size_t last)
{
    const struct update_direction *a = args;
    unsigned before = update_begin();
    for (size_t r = first; r < last; r++) {
        update_direction_row(update_towards(a->of, a->scales[r / a->rows_each]), update_halves(&a->x, r),
                             update_floats(&a->of->momentum, r), update_floats(&a->of->grad, r), a->x.cols);
    }
    _mm_setcsr(before);
}

static void update_direction(struct compute *c, const struct updateops_momentum *a, struct mat x,
                             const double *scales, size_t rows_each)
{
    rowsplit_run(c, x.rows, x.cols, update_direction_rows, &(struct update_direction){a, x, scales, rows_each});
}

/* ---- polynomials of square matrices ---- */

struct update_polynomial {
    struct mat y, x;
    float one, first, second;
};

static void update_polynomial_row(uint16_t *restrict y, const uint16_t *restrict x, float first, float second,
                                  size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        y[i] = update_narrow(first * update_widen(x[i]) + second * update_widen(y[i]));
    }
}

static void update_polynomial_rows(const void *args, size_t first, size_t last)
{
    const struct update_polynomial *a = args;
    unsigned before = update_begin();
    for (size_t r = first; r < last; r++) {
        uint16_t *y = update_halves(&a->y, r);
        const uint16_t *x = update_halves(&a->x, r);
        size_t i = r % a->y.cols;
        float diagonal = a->one + a->first * update_widen(x[i]) + a->second * update_widen(y[i]);
        update_polynomial_row(y, x, a->first, a->second, a->y.cols);
        y[i] = update_narrow(diagonal);
    }
    _mm_setcsr(before);
}

static void update_polynomial(struct compute *c, struct mat y, struct mat x, double one, double first,
                              double second)
{
    const struct update_polynomial a = {y, x, (float)one, (float)first, (float)second};
    rowsplit_run(c, y.rows, y.cols, update_polynomial_rows, &a);
}

/* ---- descent ---- */

static double update_descend_row(float *restrict value, const uint16_t *restrict x, float keep, float rate,
                                 size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        float d = update_widen(x[i]);
        value[i] = keep * value[i] - rate * d;
        sum += (double)d * (double)d;
    }
    return sum;
}

static void update_descend_rows(const void *args, size_t first, size_t last)
{
    const struct updateops_descend *a = args;
    unsigned before = update_begin();
    for (size_t r = first; r < last; r++) {
        float *value = update_floats(&a->value, r);
        a->sums[r] = update_descend_row(value, update_halves(&a->x, r), (float)a->keep, (float)a->rate,
                                        a->value.cols);
        update_narrow_row(update_work(&a->work, &a->value, r), value, a->value.cols);
    }
    _mm_setcsr(before);
}

static void update_descend(struct compute *c, const struct updateops_descend *a)
{
    rowsplit_run(c, a->value.rows, a->value.cols, update_descend_rows, a);
}

/* ---- averages of values ---- */

struct update_average {
    struct mat average, value;
    float share;
};

static void update_average_row(float *restrict average, const float *restrict value, float share, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        average[i] += share * (value[i] - average[i]);
    }
}

static void update_average_rows(const void *args, size_t first, size_t last)
{
    const struct update_average *a = args;
    unsigned before = update_begin();
    for (size_t r = first; r < last; r++) {
        update_average_row(update_floats(&a->average, r), update_floats(&a->value, r), a->share, a->value.cols);
    }
    _mm_setcsr(before);
}

static void update_average(struct compute *c, struct mat average, struct mat value, double share)
{
    const struct update_average a = {average, value, (float)share};
    rowsplit_run(c, value.rows, value.cols, update_average_rows, &a);
}

struct update_swap {
    struct mat value, work, other;
};

static void update_swap_row(float *restrict x, float *restrict y, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float was = x[i];
        x[i] = y[i];
        y[i] = was;
    }
}

static void update_swap_rows(const void *args, size_t first, size_t last)
{
    const struct update_swap *a = args;
    for (size_t r = first; r < last; r++) {
        float *value = update_floats(&a->value, r);
        update_swap_row(value, update_floats(&a->other, r), a->value.cols);
        update_narrow_row(update_work(&a->work, &a->value, r), value, a->value.cols);
    }
}

static void update_swap(struct compute *c, struct mat value, struct mat work, struct mat other)
{
    rowsplit_run(c, value.rows, value.cols, update_swap_rows, &(struct update_swap){value, work, other});
}

const struct updateops_table UPDATE_TABLE = {
    update_squares,    update_adamw,   update_momentum, update_direction,
    update_polynomial, update_descend, update_average,  update_swap,
};

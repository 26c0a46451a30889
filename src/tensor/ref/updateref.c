/* tensor/ref/updateref.c: see updateref.h. */
#include "tensor/ref/updateref.h"

#include <math.h>

static void updateref_squares(struct compute *c, struct mat x, double *sums)
{
    (void)c;
    for (size_t r = 0; r < x.rows; r++) {
        sums[r] = 0;
        for (size_t i = 0; i < x.cols; i++) {
            double v = mat_get(&x, r, i);
            sums[r] += v * v;
        }
    }
}

static void updateref_store(const struct mat *value, const struct mat *work, size_t r, size_t i, double x)
{
    mat_set(value, r, i, x);
    if (work->data != value->data) {
        mat_set(work, r, i, mat_get(value, r, i));
    }
}

static void updateref_adamw(struct compute *c, const struct updateops_adamw *a)
{
    (void)c;
    for (size_t r = 0; r < a->value.rows; r++) {
        a->sums[r] = 0;
        for (size_t i = 0; i < a->value.cols; i++) {
            double g = mat_get(&a->grad, r, i) * a->grad_scale;
            double m = a->beta1 * mat_get(&a->m, r, i) + (1 - a->beta1) * g;
            double v = a->beta2 * mat_get(&a->v, r, i) + (1 - a->beta2) * g * g;
            double d = m * a->m_scale / (sqrt(v * a->v_scale) + a->eps);
            mat_set(&a->m, r, i, m);
            mat_set(&a->v, r, i, v);
            updateref_store(&a->value, &a->work, r, i, a->keep * mat_get(&a->value, r, i) - a->rate * d);
            a->sums[r] += d * d;
        }
    }
}

static double updateref_towards(const struct updateops_momentum *a, size_t r, size_t i)
{
    double m = mat_get(&a->momentum, r, i);
    return a->nesterov ? mat_get(&a->grad, r, i) * a->grad_scale + a->decay * m : m;
}

static void updateref_momentum(struct compute *c, const struct updateops_momentum *a)
{
    (void)c;
    for (size_t r = 0; r < a->grad.rows; r++) {
        a->sums[r] = 0;
        for (size_t i = 0; i < a->grad.cols; i++) {
            double g = mat_get(&a->grad, r, i) * a->grad_scale;
            mat_set(&a->momentum, r, i, a->decay * mat_get(&a->momentum, r, i) + g);
            double u = updateref_towards(a, r, i);
            a->sums[r] += u * u;
        }
    }
}

static void updateref_direction(struct compute *c, const struct updateops_momentum *a, struct mat x,
                                const double *scales, size_t rows_each)
{
    (void)c;
    for (size_t r = 0; r < x.rows; r++) {
        for (size_t i = 0; i < x.cols; i++) {
            mat_set(&x, r, i, updateref_towards(a, r, i) * scales[r / rows_each]);
        }
    }
}

static void updateref_polynomial(struct compute *c, struct mat y, struct mat x, double one, double first,
                                 double second)
{
    (void)c;
    for (size_t r = 0; r < y.rows; r++) {
        for (size_t i = 0; i < y.cols; i++) {
            double p = (r % y.cols == i ? one : 0) + first * mat_get(&x, r, i);
            mat_set(&y, r, i, p + second * mat_get(&y, r, i));
        }
    }
}

static void updateref_descend(struct compute *c, const struct updateops_descend *a)
{
    (void)c;
    for (size_t r = 0; r < a->value.rows; r++) {
        a->sums[r] = 0;
        for (size_t i = 0; i < a->value.cols; i++) {
            double x = mat_get(&a->x, r, i);
            updateref_store(&a->value, &a->work, r, i, a->keep * mat_get(&a->value, r, i) - a->rate * x);
            a->sums[r] += x * x;
        }
    }
}

static void updateref_average(struct compute *c, struct mat average, struct mat value, double share)
{
    (void)c;
    for (size_t r = 0; r < value.rows; r++) {
        for (size_t i = 0; i < value.cols; i++) {
            double old = mat_get(&average, r, i);
            mat_set(&average, r, i, old + share * (mat_get(&value, r, i) - old));
        }
    }
}

static void updateref_swap(struct compute *c, struct mat value, struct mat work, struct mat other)
{
    (void)c;
    for (size_t r = 0; r < value.rows; r++) {
        for (size_t i = 0; i < value.cols; i++) {
            double x = mat_get(&other, r, i);
            mat_set(&other, r, i, mat_get(&value, r, i));
            updateref_store(&value, &work, r, i, x);
        }
    }
}

const struct updateops_table updateref = {
    updateref_squares,    updateref_adamw,   updateref_momentum, updateref_direction,
    updateref_polynomial, updateref_descend, updateref_average,  updateref_swap,
};

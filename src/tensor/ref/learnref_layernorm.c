/* tensor/ref/learnref_layernorm.c: layer norm of learnref.h. */
#include "tensor/ref/learnref.h"

#include <math.h>

/* The mean of a row, and 1 / sqrt(its variance + eps). */
static double learnref_moments(const struct mat *x, size_t t, double eps, double *mean)
{
    double n = (double)x->cols, sum = 0, squares = 0;
    for (size_t i = 0; i < x->cols; i++) {
        sum += mat_get(x, t, i);
    }
    *mean = sum / n;
    for (size_t i = 0; i < x->cols; i++) {
        double v = mat_get(x, t, i) - *mean;
        squares += v * v;
    }
    return 1 / sqrt(squares / n + eps);
}

void learnref_layernorm(struct mat y, struct mat x, struct mat weight, struct mat bias, double eps)
{
    for (size_t t = 0; t < x.rows; t++) {
        double mean, r = learnref_moments(&x, t, eps, &mean);
        for (size_t i = 0; i < x.cols; i++) {
            mat_set(&y, t, i, (mat_get(&x, t, i) - mean) * r * mat_get(&weight, 0, i) + mat_get(&bias, 0, i));
        }
    }
}

/* With n = (x - mean) r and g = dy * weight:  dx = r (g - mean(g) - n mean(g n)),  dweight = sum over rows of
 * dy n,  dbias = sum over rows of dy. */
void learnref_layernorm_backward(const struct learnops_layernorm *a, double eps)
{
    for (size_t t = 0; t < a->x.rows; t++) {
        double mean, r = learnref_moments(&a->x, t, eps, &mean), n = (double)a->x.cols, sum = 0, dot = 0;
        for (size_t i = 0; i < a->x.cols; i++) {
            double g = mat_get(&a->dy, t, i) * mat_get(&a->weight, 0, i);
            sum += g;
            dot += g * (mat_get(&a->x, t, i) - mean) * r;
        }
        for (size_t i = 0; i < a->x.cols; i++) {
            double d = mat_get(&a->dy, t, i), v = (mat_get(&a->x, t, i) - mean) * r;
            double g = d * mat_get(&a->weight, 0, i) - sum / n - v * dot / n;
            mat_set(&a->dx, t, i, mat_get(&a->dx, t, i) + r * g);
            mat_set(&a->dweight, 0, i, mat_get(&a->dweight, 0, i) + d * v);
            mat_set(&a->dbias, 0, i, mat_get(&a->dbias, 0, i) + d);
        }
    }
}

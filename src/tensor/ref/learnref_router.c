/* tensor/ref/learnref_router.c: the reference of a router's operations; see learnops.h. Formulas:
 * model/learnrouter.h. */
#include <math.h>

#include "tensor/ref/learnref.h"

static void learnref_router_softmax(const struct mat *scores, const struct mat *logits, size_t t)
{
    double most = -INFINITY, sum = 0;
    for (size_t e = 0; e < logits->cols; e++) {
        most = fmax(most, mat_get(logits, t, e));
    }
    for (size_t e = 0; e < logits->cols; e++) {
        sum += exp(mat_get(logits, t, e) - most);
    }
    for (size_t e = 0; e < logits->cols; e++) {
        mat_set(scores, t, e, exp(mat_get(logits, t, e) - most) / sum);
    }
}

void learnref_router_scores(const struct learnops_router *a, struct mat logits)
{
    for (size_t t = 0; t < logits.rows; t++) {
        if (a->softmax) {
            learnref_router_softmax(&a->scores, &logits, t);
            continue;
        }
        for (size_t e = 0; e < logits.cols; e++) {
            mat_set(&a->scores, t, e, 1 / (1 + exp(-mat_get(&logits, t, e))));
        }
    }
}

/* Of token t's k-th expert. */
static double learnref_router_score(const struct learnops_router *a, size_t t, size_t k)
{
    return mat_get(&a->scores, t, a->chosen[t * a->weights.cols + k]);
}

/* What weights are divided by. */
static double learnref_router_over(const struct learnops_router *a, size_t t)
{
    double sum = LEARNOPS_ROUTER_TINY;
    for (size_t k = 0; k < a->weights.cols; k++) {
        sum += learnref_router_score(a, t, k);
    }
    return a->normalise ? sum : 1;
}

void learnref_router_weigh(const struct learnops_router *a)
{
    for (size_t t = 0; t < a->scores.rows; t++) {
        double over = learnref_router_over(a, t);
        for (size_t k = 0; k < a->weights.cols; k++) {
            mat_set(&a->weights, t, k, a->scale * learnref_router_score(a, t, k) / over);
        }
    }
}

static size_t learnref_router_length(const struct learnops_router *a)
{
    return a->load.rows ? a->scores.rows / a->load.rows : 0;
}

static double learnref_router_sum(const struct learnops_router *a, size_t t)
{
    double sum = LEARNOPS_ROUTER_TINY;
    for (size_t e = 0; e < a->scores.cols; e++) {
        sum += mat_get(&a->scores, t, e);
    }
    return sum;
}

/* The sum of f[e] q[t, e]. */
static double learnref_router_mean(const struct learnops_router *a, size_t t)
{
    double sum = learnref_router_sum(a, t), mean = 0;
    for (size_t e = 0; e < a->scores.cols; e++) {
        mean += mat_get(&a->load, t / learnref_router_length(a), e) * mat_get(&a->scores, t, e) / sum;
    }
    return mean;
}

void learnref_router_balance(const struct learnops_router *a, double *losses)
{
    for (size_t t = 0; t < a->scores.rows; t++) {
        losses[t] = learnref_router_mean(a, t) / (double)learnref_router_length(a);
    }
}

/* What all gradients of a row need. */
struct learnref_router_row {
    double sum, mean, over, back;
};

static struct learnref_router_row learnref_router_row(const struct learnops_router *a,
                                                      const struct mat *dweights, size_t t)
{
    struct learnref_router_row r = {.sum = learnref_router_sum(a, t),
                                    .mean = learnref_router_mean(a, t),
                                    .over = learnref_router_over(a, t)};
    for (size_t k = 0; a->normalise && k < a->weights.cols; k++) {
        r.back += mat_get(dweights, t, k) * learnref_router_score(a, t, k) / r.over;
    }
    return r;
}

/* The gradient by token t's score e: of the balance loss, and of the weights if it was chosen. */
static double learnref_router_by_score(const struct learnops_router *a, const struct learnref_router_row *r,
                                       const struct mat *dweights, double balance_scale, size_t t, size_t e)
{
    size_t length = learnref_router_length(a);
    double ds = balance_scale / (double)length * (mat_get(&a->load, t / length, e) - r->mean) / r->sum;
    for (size_t k = 0; k < a->weights.cols; k++) {
        if (a->chosen[t * a->weights.cols + k] == e) {
            ds += a->scale * (mat_get(dweights, t, k) - r->back) / r->over;
        }
    }
    return ds;
}

void learnref_router_backward(const struct learnops_router *a, struct mat dweights, double balance_scale,
                              struct mat dlogits)
{
    for (size_t t = 0; t < dlogits.rows; t++) {
        struct learnref_router_row r = learnref_router_row(a, &dweights, t);
        double dot = 0;
        for (size_t e = 0; a->softmax && e < dlogits.cols; e++) {
            double ds = learnref_router_by_score(a, &r, &dweights, balance_scale, t, e);
            dot += ds * mat_get(&a->scores, t, e);
        }
        for (size_t e = 0; e < dlogits.cols; e++) {
            double s = mat_get(&a->scores, t, e);
            double ds = learnref_router_by_score(a, &r, &dweights, balance_scale, t, e);
            mat_set(&dlogits, t, e, a->softmax ? s * (ds - dot) : ds * s * (1 - s));
        }
    }
}

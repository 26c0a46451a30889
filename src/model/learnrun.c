/* model/learnrun.c: see learnrun.h. */
#include "model/learnrun.h"

err learnrun_matmul(const struct learnrun *r, enum learnops_product product, struct mat y, struct mat x,
                    struct mat w, bool add)
{
    const struct learnops_matmul job = {y, x, w, add};
    if (r->counting) {
        return ERR_OK;
    }
    err e = learnops_matmul(r->compute, product, &job, 1);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for a matrix product");
}

void learnrun_grad(struct learnrun_grads *g, struct mat y, struct mat x, struct mat w, bool add)
{
    g->jobs[g->n++] = (struct learnops_matmul){y, x, w, add};
}

err learnrun_grads_make(const struct learnrun *r, const struct learnrun_grads *g)
{
    if (r->counting) {
        return ERR_OK;
    }
    err e = learnops_matmul(r->compute, LEARNOPS_TN, g->jobs, g->n);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for the gradients of weights");
}

void learnrun_norm(const struct learnrun *r, struct mat y, struct mat x, const struct learnparam *weight)
{
    if (!r->counting) {
        learnops_rmsnorm(r->compute, y, x, weight->value, r->config->rms_norm_eps);
    }
}

err learnrun_norm_backward(const struct learnrun *r, struct mat dx, struct mat dy, struct mat x,
                           const struct learnparam *weight)
{
    return learnrun_norm_backward_to(r, dx, weight->grad, dy, x, weight);
}

err learnrun_norm_backward_to(const struct learnrun *r, struct mat dx, struct mat dweight, struct mat dy,
                              struct mat x, const struct learnparam *weight)
{
    if (r->counting) {
        return ERR_OK;
    }
    err e = learnops_rmsnorm_backward(r->compute, dx, dweight, dy, x, weight->value, r->config->rms_norm_eps);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for the gradient of a norm");
}

void learnrun_zero(const struct learnrun *r, struct mat m)
{
    if (!r->counting) {
        learnops_zero(r->compute, m);
    }
}

void learnrun_copy(const struct learnrun *r, struct mat y, struct mat x)
{
    if (!r->counting) {
        learnops_copy(r->compute, y, x);
    }
}

struct mat learnrun_narrowed(const struct learnrun *r, struct mat wide)
{
    struct mat m = learnrun_narrow(r, wide.rows, wide.cols);
    if (!r->counting) {
        learnops_copy(r->compute, m, wide);
    }
    return m;
}

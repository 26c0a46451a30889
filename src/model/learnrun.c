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

void learnrun_norm(const struct learnrun *r, struct mat y, struct mat x, const struct learnparam *weight)
{
    if (!r->counting) {
        learnops_rmsnorm(r->compute, y, x, weight->value, r->config->rms_norm_eps);
    }
}

err learnrun_norm_backward(const struct learnrun *r, struct mat dx, struct mat dy, struct mat x,
                           const struct learnparam *weight)
{
    if (r->counting) {
        return ERR_OK;
    }
    err e = learnops_rmsnorm_backward(r->compute, dx, weight->grad, dy, x, weight->value,
                                      r->config->rms_norm_eps);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for the gradient of a norm");
}

void learnrun_zero(const struct learnrun *r, struct mat m)
{
    if (!r->counting) {
        learnops_zero(r->compute, m);
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

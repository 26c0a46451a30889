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

static struct mat learnrun_parts(struct mat m, size_t n)
{
    return mat_of(m.data, m.type, m.rows * n, m.cols / n);
}

void learnrun_norm_parts(const struct learnrun *r, struct mat y, struct mat x, size_t n)
{
    const struct mat none = mat_of(NULL, r->wide, 1, x.cols / n);
    if (!r->counting) {
        learnops_rmsnorm(r->compute, learnrun_parts(y, n), learnrun_parts(x, n), none, r->config->rms_norm_eps);
    }
}

err learnrun_norm_parts_backward(const struct learnrun *r, struct mat dx, struct mat dy, struct mat x, size_t n)
{
    const struct mat none = mat_of(NULL, r->wide, 1, x.cols / n);
    if (r->counting) {
        return ERR_OK;
    }
    learnops_zero(r->compute, dx);
    err e = learnops_rmsnorm_backward(r->compute, learnrun_parts(dx, n), none, learnrun_parts(dy, n),
                                      learnrun_parts(x, n), none, r->config->rms_norm_eps);
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

/* model/learnffn.c: see learnffn.h. */
#include "model/learnffn.h"

void learnffn_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learnffn *kept)
{
    size_t t = r->n_tokens, ff = p->gate->value.rows;
    *kept = (struct learnffn){learnrun_narrow(r, t, ff), learnrun_narrow(r, t, ff), learnrun_narrow(r, t, ff)};
}

struct learnffn learnffn_rows(const struct learnffn *kept, size_t first, size_t n)
{
    return (struct learnffn){mat_rows(kept->gate, first, n), mat_rows(kept->up, first, n),
                             mat_rows(kept->inner, first, n)};
}

err learnffn_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h, struct mat x,
                     const struct learnffn *kept)
{
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->gate, h, p->gate->work, false));
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->up, h, p->up->work, false));
    if (!r->counting) {
        learnops_swiglu(r->compute, kept->inner, kept->gate, kept->up);
    }
    return learnrun_matmul(r, LEARNOPS_NT, x, kept->inner, p->down->work, true);
}

err learnffn_backward(const struct learnrun *r, const struct learnparams_layer *p, const struct learnffn *kept,
                      struct mat d, struct mat dh)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat dinner = learnrun_narrow(r, kept->inner.rows, kept->inner.cols);
    TRY(learnrun_matmul(r, LEARNOPS_NN, dinner, d, p->down->work, false));
    if (!r->counting) {
        learnops_swiglu_backward(r->compute, kept->gate, kept->up, dinner, kept->gate, kept->up);
    }
    learnarena_release(r->arena, mark);
    TRY(learnrun_matmul(r, LEARNOPS_NN, dh, kept->gate, p->gate->work, false));
    return learnrun_matmul(r, LEARNOPS_NN, dh, kept->up, p->up->work, true);
}

void learnffn_list(const struct learnparams_layer *p, struct mat h, const struct learnffn *kept, struct mat d,
                   struct learnrun_grads *list)
{
    learnrun_grad(list, p->down->grad, d, kept->inner, true);
    learnrun_grad(list, p->gate->grad, kept->gate, h, true);
    learnrun_grad(list, p->up->grad, kept->up, h, true);
}

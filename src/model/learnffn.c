/* model/learnffn.c: see learnffn.h. */
#include "model/learnffn.h"

err learnffn_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h, struct mat x,
                     struct learnffn *kept)
{
    size_t ff = p->gate->value.rows;
    *kept = (struct learnffn){learnrun_narrow(r, h.rows, ff), learnrun_narrow(r, h.rows, ff),
                              learnrun_narrow(r, h.rows, ff)};
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->gate, h, p->gate->work, false));
    TRY(learnrun_matmul(r, LEARNOPS_NT, kept->up, h, p->up->work, false));
    if (!r->counting) {
        learnops_swiglu(r->compute, kept->inner, kept->gate, kept->up);
    }
    return learnrun_matmul(r, LEARNOPS_NT, x, kept->inner, p->down->work, true);
}

err learnffn_backward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                      const struct learnffn *kept, struct mat d, struct mat dh)
{
    struct mat dinner = learnrun_narrow(r, h.rows, kept->inner.cols);
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->down->grad, d, kept->inner, true));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dinner, d, p->down->work, false));
    if (!r->counting) { /* gate and up become their gradients */
        learnops_swiglu_backward(r->compute, kept->gate, kept->up, dinner, kept->gate, kept->up);
    }
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->gate->grad, kept->gate, h, true));
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->up->grad, kept->up, h, true));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dh, kept->gate, p->gate->work, false));
    return learnrun_matmul(r, LEARNOPS_NN, dh, kept->up, p->up->work, true);
}

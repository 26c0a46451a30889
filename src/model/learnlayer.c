/* model/learnlayer.c: see learnlayer.h. */
#include "model/learnlayer.h"

err learnlayer_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                       struct learnlayer *kept)
{
    TRY(config_is_mla(r->config) ? learnmla_forward(r, p, x, &kept->mla) :
        learngqa_forward(r, p, x, &kept->gqa));
    kept->x = learnrun_wide(r, x.rows, x.cols);
    kept->h = learnrun_narrow(r, x.rows, x.cols);
    if (!r->counting) {
        learnops_copy(r->compute, kept->x, x);
    }
    learnrun_norm(r, kept->h, x, p->ffn_norm);
    if (p->router) {
        TRY(learnmoe_forward(r, p, kept->h, x, &kept->moe));
    }
    return p->gate ? learnffn_forward(r, p, kept->h, x, &kept->ffn) : ERR_OK;
}

err learnlayer_backward(const struct learnrun *r, const struct learnparams_layer *p,
                        const struct learnlayer *kept, double balance_scale, struct mat dx)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat dh = learnrun_wide(r, dx.rows, dx.cols), d = learnrun_narrowed(r, dx);
    if (p->gate) {
        TRY(learnffn_backward(r, p, kept->h, &kept->ffn, d, dh));
    } else {
        learnrun_zero(r, dh);
    }
    if (p->router) {
        TRY(learnmoe_backward(r, p, kept->h, &kept->moe, d, balance_scale, dh));
    }
    TRY(learnrun_norm_backward(r, dx, dh, kept->x, p->ffn_norm));
    learnarena_release(r->arena, mark);
    return config_is_mla(r->config) ? learnmla_backward(r, p, &kept->mla, dx) :
           learngqa_backward(r, p, &kept->gqa, dx);
}

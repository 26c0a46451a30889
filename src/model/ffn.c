/* model/ffn.c: see ffn.h. */
#include "model/ffn.h"

err ffn_forward(struct forward *f, size_t layer)
{
    const struct weights_mlp *m = &f->weights->layers[layer].mlp;
    struct model_workspace *w = f->work;
    size_t n = f->n_tokens;
    w->jobs[0] = forward_job(&m->gate, w->x, w->gate, n);
    w->jobs[1] = forward_job(&m->up, w->x, w->up, n);
    TRY(forward_matmul(f, 2));
    ops_swiglu(f->compute, w->gate, w->gate, w->up, n * f->config->intermediate_size);
    w->jobs[0] = forward_job(&m->down, w->gate, w->out, n);
    return forward_matmul(f, 1);
}

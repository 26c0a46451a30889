/* model/mtp.c: see mtp.h. */
#include "model/mtp.h"

#include <string.h>

void mtp_init(struct mtp *out, const struct config *c, const struct weights_mtp *w)
{
    *out = (struct mtp){.config = *c, .own = w};
    out->config.num_hidden_layers = 1;
    out->config.first_k_dense_replace = 0;
    out->weights = (struct weights){
        .embed = w->embed, .head = w->head, .norm = w->norm, .layers = &w->layer, .n_layers = 1};
}

err mtp_forward(const struct mtp *m, struct compute *c, struct model_workspace *w,
                const struct model_mtp_step *step, struct errinfo *info)
{
    size_t n = step->n_tokens, d = m->config.hidden_size;
    float eps = m->config.rms_norm_eps;
    const struct model_segment segment = {.cache = step->cache,
                                          .tokens = step->tokens,
                                          .n_tokens = n,
                                          .logits = step->logits};
    struct forward f = {.config = &m->config,
                        .weights = &m->weights,
                        .compute = c,
                        .work = w,
                        .segments = &segment,
                        .n_segments = 1,
                        .n_tokens = n,
                        .info = info};
    ops_embed(c, w->h, &m->weights.embed, step->tokens, n);
    ops_rmsnorm(c, w->joined, 2 * d, w->h, d, m->own->embed_norm, n, d, eps);
    ops_rmsnorm(c, w->joined + d, 2 * d, step->hidden, d, m->own->hidden_norm, n, d, eps);
    w->jobs[0] = forward_job(&m->own->join, w->joined, w->h, n);
    TRY(forward_matmul(&f, 1));
    TRY(forward_layers(&f, NULL, NULL));
    if (step->output) {
        memcpy(step->output, w->x + (n - 1) * d, d * sizeof *step->output);
    }
    return ERR_OK;
}

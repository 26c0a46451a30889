/* model/moe.c: see moe.h. Rows of the routed buffers are (token, choice) pairs sorted by expert, so that
 * each expert reads its tokens by gather and writes one block. */
#include "model/moe.h"

#include <string.h>

#include "model/router.h"

static err moe_route(struct forward *f, const struct weights_layer *l)
{
    const struct config *c = f->config;
    struct model_workspace *w = f->work;
    size_t n = c->n_routed_experts, k = c->num_experts_per_tok;
    w->jobs[0] = forward_job(&l->router, w->x, w->router_logits, f->n_tokens);
    TRY(forward_matmul(f, 1));
    for (size_t t = 0; t < f->n_tokens; t++) {
        router_select(c, w->router_logits + t * n, l->router_bias, w->router_scores,
                      w->expert_id + t * k, w->expert_weight + t * k);
    }
    return ERR_OK;
}

/* Counting sort of the pairs by expert: expert_start, expert_rows, expert_slot. */
static void moe_sort(const struct forward *f)
{
    struct model_workspace *w = f->work;
    size_t n = f->config->n_routed_experts, k = f->config->num_experts_per_tok;
    size_t pairs = f->n_tokens * k;
    memset(w->expert_start, 0, (n + 1) * sizeof *w->expert_start);
    for (size_t i = 0; i < pairs; i++) {
        w->expert_start[w->expert_id[i] + 1]++;
    }
    for (size_t e = 0; e < n; e++) {
        w->expert_start[e + 1] += w->expert_start[e];
    }
    for (size_t i = 0; i < pairs; i++) {
        uint32_t row = w->expert_start[w->expert_id[i]]++;
        w->expert_rows[row] = (uint32_t)(i / k);
        w->expert_slot[i] = row;
    }
    for (size_t e = n; e > 0; e--) { /* starts have become ends: shift back */
        w->expert_start[e] = w->expert_start[e - 1];
    }
    w->expert_start[0] = 0;
}

/* gate and up of every expert that has tokens, and of the shared experts. */
static size_t moe_gate_up_jobs(const struct forward *f, const struct weights_layer *l)
{
    const struct config *c = f->config;
    struct model_workspace *w = f->work;
    size_t ff = c->moe_intermediate_size, jobs = 0;
    for (size_t e = 0; e < c->n_routed_experts; e++) {
        size_t start = w->expert_start[e], rows = w->expert_start[e + 1] - start;
        if (rows == 0) {
            continue;
        }
        w->experts_used++;
        w->jobs[jobs] = forward_job(&l->experts[e].gate, w->x, w->gate + start * ff, rows);
        w->jobs[jobs++].rows = w->expert_rows + start;
        w->jobs[jobs] = forward_job(&l->experts[e].up, w->x, w->up + start * ff, rows);
        w->jobs[jobs++].rows = w->expert_rows + start;
    }
    if (c->n_shared_experts) {
        size_t shared = f->n_tokens * c->num_experts_per_tok * ff;
        w->jobs[jobs++] = forward_job(&l->mlp.gate, w->x, w->gate + shared, f->n_tokens);
        w->jobs[jobs++] = forward_job(&l->mlp.up, w->x, w->up + shared, f->n_tokens);
    }
    return jobs;
}

static size_t moe_down_jobs(const struct forward *f, const struct weights_layer *l)
{
    const struct config *c = f->config;
    struct model_workspace *w = f->work;
    size_t ff = c->moe_intermediate_size, d = c->hidden_size, jobs = 0;
    for (size_t e = 0; e < c->n_routed_experts; e++) {
        size_t start = w->expert_start[e], rows = w->expert_start[e + 1] - start;
        if (rows != 0) {
            w->jobs[jobs++] = forward_job(&l->experts[e].down, w->gate + start * ff,
                                          w->expert_out + start * d, rows);
        }
    }
    if (c->n_shared_experts) {
        size_t shared = f->n_tokens * c->num_experts_per_tok * ff;
        w->jobs[jobs++] = forward_job(&l->mlp.down, w->gate + shared, w->out, f->n_tokens);
    }
    return jobs;
}

err moe_forward(struct forward *f, size_t layer)
{
    const struct config *c = f->config;
    const struct weights_layer *l = &f->weights->layers[layer];
    struct model_workspace *w = f->work;
    size_t n = f->n_tokens, k = c->num_experts_per_tok, d = c->hidden_size;
    TRY(moe_route(f, l));
    moe_sort(f);
    TRY(forward_matmul(f, moe_gate_up_jobs(f, l)));
    ops_swiglu(f->compute, w->gate, w->gate, w->up,
               n * (k + c->n_shared_experts) * c->moe_intermediate_size);
    if (c->n_shared_experts == 0) {
        memset(w->out, 0, n * d * sizeof *w->out);
    }
    TRY(forward_matmul(f, moe_down_jobs(f, l)));
    ops_combine(f->compute, w->out, w->expert_out, d, w->expert_slot, w->expert_weight, n, k, d);
    return ERR_OK;
}

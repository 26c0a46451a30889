/* model/forward.c: see forward.h. The pre-norm decoder: h += attention(norm(h)); h += ffn(norm(h)). */
#include "model/forward.h"

#include "model/ffn.h"
#include "model/gqa.h"
#include "model/mla.h"
#include "model/moe.h"

err forward_matmul(struct forward *f, size_t n_jobs)
{
    err e = ops_matmul(f->compute, f->work->jobs, n_jobs);
    return e == ERR_OK ? e : err_set(f->info, e, "out of memory inside a matrix product");
}

err forward_attention(struct forward *f, size_t n_calls)
{
    err e = ops_attention(f->compute, f->work->calls, n_calls);
    return e == ERR_OK ? e : err_set(f->info, e, "out of memory inside attention of %zu sequences", n_calls);
}

struct matmul_job forward_job(const struct tensor *w, const float *x, float *y, size_t n_rows)
{
    return (struct matmul_job){.w = *w,
                               .x = x,
                               .y = y,
                               .n_rows = n_rows,
                               .x_stride = tensor_cols(w),
                               .y_stride = tensor_rows(w)};
}

static void forward_embed(struct forward *f)
{
    size_t d = f->config->hidden_size, first = 0;
    for (size_t s = 0; s < f->n_segments; s++) {
        const struct model_segment *seg = &f->segments[s];
        ops_embed(f->compute, f->work->h + first * d, &f->weights->embed, seg->tokens, seg->n_tokens);
        first += seg->n_tokens;
    }
}

static void forward_norm(struct forward *f, const float *weight)
{
    size_t d = f->config->hidden_size;
    ops_rmsnorm(f->compute, f->work->x, d, f->work->h, d, weight, f->n_tokens, d,
                f->config->rms_norm_eps);
}

static err forward_layer(struct forward *f, size_t layer)
{
    const struct weights_layer *l = &f->weights->layers[layer];
    size_t n = f->n_tokens * f->config->hidden_size;
    forward_norm(f, l->attn_norm);
    TRY(config_is_mla(f->config) ? mla_forward(f, layer) : gqa_forward(f, layer));
    ops_add(f->compute, f->work->h, f->work->out, n);
    forward_norm(f, l->ffn_norm);
    TRY(config_is_moe_layer(f->config, layer) ? moe_forward(f, layer) : ffn_forward(f, layer));
    ops_add(f->compute, f->work->h, f->work->out, n);
    return ERR_OK;
}

/* Logits of the rows somebody wants. Last rows whose destinations follow each other in memory become
 * one job, so that a batch of sequences reads the head once. */
static err forward_head(struct forward *f)
{
    struct model_workspace *w = f->work;
    size_t d = f->config->hidden_size, vocab = f->config->vocab_size;
    size_t n_jobs = 0, n_rows = 0, first = 0;
    float *next = NULL; /* where the next row of the open job would go */
    for (size_t s = 0; s < f->n_segments; s++) {
        const struct model_segment *seg = &f->segments[s];
        size_t begin = first;
        first += seg->n_tokens;
        if (!seg->logits) {
            continue;
        }
        if (seg->all_logits) {
            w->jobs[n_jobs++] = forward_job(&f->weights->head, w->x + begin * d, seg->logits,
                                            seg->n_tokens);
            next = NULL;
            continue;
        }
        w->head_rows[n_rows] = (uint32_t)(first - 1);
        if (next && next == seg->logits) {
            w->jobs[n_jobs - 1].n_rows++;
        } else {
            w->jobs[n_jobs] = forward_job(&f->weights->head, w->x, seg->logits, 1);
            w->jobs[n_jobs++].rows = &w->head_rows[n_rows];
        }
        n_rows++;
        next = seg->logits + vocab;
    }
    return n_jobs ? forward_matmul(f, n_jobs) : ERR_OK;
}

err forward_run(struct forward *f, model_observer observer, void *user)
{
    forward_embed(f);
    if (observer) {
        observer(user, -1, f->work->h, f->n_tokens);
    }
    return forward_layers(f, observer, user);
}

err forward_layers(struct forward *f, model_observer observer, void *user)
{
    size_t n_layers = f->config->num_hidden_layers;
    f->work->experts_used = 0;
    for (size_t i = 0; i < n_layers; i++) {
        TRY(forward_layer(f, i));
        if (observer) {
            observer(user, (int)i, f->work->h, f->n_tokens);
        }
    }
    forward_norm(f, f->weights->norm);
    if (observer) {
        observer(user, (int)n_layers, f->work->x, f->n_tokens);
    }
    return forward_head(f);
}

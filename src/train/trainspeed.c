/* train/trainspeed.c: see trainspeed.h. */
#include "train/trainspeed.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "tensor/roof.h"
#include "train/trainer.h"
#include "train/trainflops.h"

struct trainspeed_work {
    const struct trainrecipe *recipe;
    struct compute *compute;
    struct learnmodel *model;
    struct optimizer *optimizer;
    struct rng rng;
    size_t n_tokens;
    int32_t *tokens, *targets, *positions; /* [n_tokens] each */
    double *micro, *update, *peak;         /* [runs] each */
    double loss;
};

static void trainspeed_close(struct trainspeed_work *w)
{
    optimizer_free(w->optimizer);
    learnmodel_free(w->model);
    mem_free(w->tokens);
    mem_free(w->micro);
}

static err trainspeed_open(struct trainspeed_work *w, size_t runs, struct errinfo *info)
{
    const struct trainrecipe *r = w->recipe;
    const struct learnmodel_options batch = trainer_batch(r);
    const struct optimizer_options rules = trainer_rules(r);
    size_t n;
    if (!checked_mul(r->micro_sequences, r->context, &w->n_tokens) || !checked_mul(w->n_tokens, 3, &n)) {
        return err_set(info, ERR_LIMIT, "a micro batch of %zu rows of %zu tokens is more than can be counted",
                       r->micro_sequences, r->context);
    }
    w->tokens = mem_calloc(n, sizeof *w->tokens);
    w->micro = mem_calloc(3 * runs, sizeof *w->micro);
    if (!w->tokens || !w->micro) {
        return err_set(info, ERR_NOMEM, "out of memory for %zu tokens", w->n_tokens);
    }
    w->targets = w->tokens + w->n_tokens;
    w->positions = w->targets + w->n_tokens;
    w->update = w->micro + runs;
    w->peak = w->update + runs;
    TRY(learnmodel_new(&r->config, &batch, w->compute, &w->model, info));
    const struct learnparams_init init = {.gain = r->init_gain,
                                          .out_gain = r->init_out_gain,
                                          .std = r->init_std,
                                          .embed_std = r->init_embed_std,
                                          .head_std = r->init_head_std,
                                          .seed = r->seed};
    learnparams_randomise(learnmodel_params(w->model), &init);
    rng_seed(&w->rng, r->seed);
    return optimizer_new(learnmodel_params(w->model), &rules, w->compute, &w->optimizer, info);
}

/* Every row a document of its own. */
static void trainspeed_draw(struct trainspeed_work *w)
{
    size_t context = w->recipe->context;
    uint64_t vocab = w->recipe->config.vocab_size;
    for (size_t i = 0; i < w->n_tokens; i++) {
        w->tokens[i] = i % context ? w->targets[i - 1] : (int32_t)(rng_u64(&w->rng) % vocab);
        w->targets[i] = (int32_t)(rng_u64(&w->rng) % vocab);
        w->positions[i] = (int32_t)(i % context);
    }
}

static err trainspeed_micro(struct trainspeed_work *w, double *seconds, struct errinfo *info)
{
    const struct learnmodel_batch b = {w->tokens, w->targets, w->positions};
    const struct trainrecipe *r = w->recipe;
    double all = (double)(r->sequences * r->context);
    const struct learnmodel_scales scales = {1 / all, r->mtp_weight / all,
                                             r->balance_weight / (double)r->sequences};
    struct learnmodel_losses l;
    trainspeed_draw(w);
    double begun = progress_clock();
    TRY(learnmodel_step(w->model, &b, &scales, &l, info));
    *seconds = progress_clock() - begun;
    w->loss = w->loss > 0 ? w->loss : l.sum / (double)l.n;
    return ERR_OK;
}

static err trainspeed_update(struct trainspeed_work *w, double *seconds, struct errinfo *info)
{
    struct optimizer_report report;
    double begun = progress_clock();
    TRY(optimizer_step(w->optimizer, 1, &report, info));
    learnparams_zero_grad(learnmodel_params(w->model));
    *seconds = progress_clock() - begun;
    return ERR_OK;
}

static err trainspeed_run(struct trainspeed_work *w, size_t runs, bool (*go_on)(void), struct errinfo *info)
{
    double uncounted;
    TRY(trainspeed_micro(w, &uncounted, info));
    TRY(trainspeed_update(w, &uncounted, info));
    for (size_t i = 0; i < runs; i++) {
        if (go_on && !go_on()) {
            return err_set(info, ERR_CANCELLED, "stopped after %zu of %zu runs", i, runs);
        }
        TRY(trainspeed_micro(w, &w->micro[i], info));
        TRY(trainspeed_update(w, &w->update[i], info));
        w->peak[i] = trainspeed_peak(w->compute);
    }
    return ERR_OK;
}

static int trainspeed_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct trainspeed_seconds trainspeed_summary(double *all, size_t n)
{
    qsort(all, n, sizeof *all, trainspeed_compare);
    return (struct trainspeed_seconds){(all[n / 2] + all[(n - 1) / 2]) / 2, all[0], all[n - 1]};
}

err trainspeed_measure(const struct trainrecipe *r, struct compute *c, size_t runs, bool (*go_on)(void),
                       struct trainspeed *out, struct errinfo *info)
{
    if (runs < 1 || runs > TRAINSPEED_RUNS_MAX) {
        return err_set(info, ERR_ARGUMENT, "%zu runs asked for; 1 to %d can be timed", runs,
                       TRAINSPEED_RUNS_MAX);
    }
    struct trainspeed_work w = {.recipe = r, .compute = c};
    err e = trainspeed_open(&w, runs, info);
    e = e == ERR_OK ? trainspeed_run(&w, runs, go_on, info) : e;
    if (e == ERR_OK) {
        *out = (struct trainspeed){
            .micro_tokens = w.n_tokens,
            .step_tokens = r->sequences * r->context,
            .flops_per_token = trainflops_per_token(&r->config, learnmodel_params(w.model), r->context,
                                                    r->mtp_weight > 0),
            .peak_flops = trainspeed_summary(w.peak, runs).median,
            .loss = w.loss,
            .micro = trainspeed_summary(w.micro, runs),
            .update = trainspeed_summary(w.update, runs)};
    }
    trainspeed_close(&w);
    return e;
}

double trainspeed_micro_rate(const struct trainspeed *s)
{
    return (double)s->micro_tokens / s->micro.median;
}

double trainspeed_rate(const struct trainspeed *s)
{
    double micros = (double)s->step_tokens / (double)s->micro_tokens;
    return (double)s->step_tokens / (micros * s->micro.median + s->update.median);
}

double trainspeed_peak(const struct compute *c)
{
    struct compute own = *c;
    own.n_threads = c->n_threads < cpuinfo_cores() ? c->n_threads : cpuinfo_cores();
    return roof_flops(&own);
}

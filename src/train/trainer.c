/* train/trainer.c: see trainer.h. */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/progress.h"
#include "model/model.h"
#include "train/trainflops.h"

enum { TRAINER_EMPTY = 100 }; /* steps in a row whose rows may predict nothing */

/* ---- Making. ---- */

struct optimizer_options trainer_rules(const struct trainrecipe *r)
{
    const struct optimizer_rule adamw = {false, 0, 0, r->beta1, r->beta2, r->eps};
    struct optimizer_options o = {.muon_momentum = r->momentum,
                                  .muon_nesterov = true,
                                  .muon_steps = (int)r->muon_steps,
                                  .clip = r->clip};
    const double lr[OPTIMIZER_GROUPS] = {r->lr, r->lr_embeddings, r->lr_head, r->lr_routers, r->lr_vectors};
    for (int i = 0; i < OPTIMIZER_GROUPS; i++) {
        o.rules[i] = adamw;
        o.rules[i].lr = lr[i];
    }
    o.rules[OPTIMIZER_MATRICES].muon = r->muon;
    o.rules[OPTIMIZER_MATRICES].weight_decay = r->weight_decay;
    o.rules[OPTIMIZER_EMBEDDINGS].weight_decay = r->embedding_decay;
    o.rules[OPTIMIZER_HEAD].weight_decay = r->embedding_decay;
    return o;
}

struct learnmodel_options trainer_batch(const struct trainrecipe *r)
{
    return (struct learnmodel_options){.recompute = r->recompute,
                                       .n_sequences = r->micro_sequences,
                                       .context = r->context,
                                       .z_loss = r->z_loss};
}

/* The dataset's own tokenizer, and how many bytes each token stands for. */
static err trainer_open_tokenizer(struct trainer *t, const struct dataset *d, struct errinfo *info)
{
    TRY(dataset_open_tokenizer(d, &t->tokenizer, info));
    t->bytes = mem_calloc(t->recipe->config.vocab_size, 1);
    if (!t->bytes) {
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < d->vocab_size; i++) {
        size_t n = tokenizer_kind_at(t->tokenizer, (int32_t)i) == TOKENIZER_CONTROL ? 0 :
                   tokenizer_bytes(t->tokenizer, (int32_t)i).len;
        t->bytes[i] = n < UINT8_MAX ? (uint8_t)n : UINT8_MAX;
    }
    return ERR_OK;
}

static err trainer_open_feed(struct trainer *t, const struct dataset *d, struct errinfo *info)
{
    const struct trainrecipe *r = t->recipe;
    struct feed_weight weights[TRAINRECIPE_MIX_MAX];
    for (size_t i = 0; i < r->n_mix; i++) {
        weights[i] = (struct feed_weight){r->mix_names[i], r->mix_weights[i]};
    }
    const struct feed_options o = {.part = DATASET_TRAIN,
                                   .context = r->context,
                                   .seed = r->seed,
                                   .weights = r->n_mix ? weights : NULL,
                                   .n_weights = r->n_mix};
    return feed_open(d, &o, &t->feed, info);
}

static err trainer_make_rows(struct trainer *t, struct errinfo *info)
{
    const struct trainrecipe *r = t->recipe;
    struct trainer_rows *rows = &t->rows;
    size_t n;
    rows->most = r->sequences > r->first_sequences ? r->sequences : r->first_sequences;
    if (checked_mul(rows->most, r->context, &n)) {
        rows->tokens = mem_calloc(n, sizeof *rows->tokens);
        rows->targets = mem_calloc(n, sizeof *rows->targets);
        rows->positions = mem_calloc(n, sizeof *rows->positions);
    }
    return rows->tokens && rows->targets && rows->positions ? ERR_OK :
           err_set(info, ERR_NOMEM, "out of memory for the rows of a step");
}

/* The weights of a model that exists. */
static err trainer_take(struct trainer *t, struct errinfo *info)
{
    const struct trainrecipe *r = t->recipe;
    struct model *m;
    TRY(model_open(r->init_from, &m, info));
    err e = ERR_OK;
    if (model_config(m)->rope_pairs != r->config.rope_pairs) {
        e = err_set(info, ERR_UNSUPPORTED, "%s keeps rotated pairs in another order than the recipe's model: "
                    "convert it (fathom convert)", r->init_from);
    }
    struct learnparams *p = learnmodel_params(t->model);
    e = e == ERR_OK ? learnparams_from_tensors(p, &r->config, model_tensors(m), info) : e;
    model_close(m);
    return e;
}

static err trainer_make(struct trainer *t, const struct dataset *d, struct errinfo *info)
{
    const struct trainrecipe *r = t->recipe;
    const struct learnmodel_options batch = trainer_batch(r);
    const struct optimizer_options rules = trainer_rules(r);
    if (d->vocab_size > r->config.vocab_size) {
        return err_set(info, ERR_ARGUMENT, "the dataset %s has a vocabulary of %zu, the recipe's model of %zu "
                       "only: vocab_size in [model] must be at least that", d->dir, d->vocab_size,
                       r->config.vocab_size);
    }
    strcpy(t->data, d->sha256);
    t->schedule = (struct schedule){.steps = trainer_steps(r),
                                    .decay_share = r->decay,
                                    .shape = (enum schedule_shape)r->decay_shape,
                                    .final = r->final_lr};
    t->schedule.warmup = (uint64_t)(r->warmup * (double)t->schedule.steps + 0.5);
    TRY(schedule_check(&t->schedule, info));
    TRY(trainer_open_tokenizer(t, d, info));
    TRY(trainer_open_feed(t, d, info));
    TRY(trainer_make_rows(t, info));
    TRY(learnmodel_new(&r->config, &batch, t->compute, &t->model, info));
    struct learnparams *p = learnmodel_params(t->model);
    if (r->init_from[0]) {
        TRY(trainer_take(t, info));
    } else {
        learnparams_randomise(p, &(struct learnparams_init){.gain = r->init_gain,
                                                            .out_gain = r->init_out_gain,
                                                            .std = r->init_std,
                                                            .embed_std = r->init_embed_std,
                                                            .head_std = r->init_head_std,
                                                            .seed = r->seed});
    }
    for (int mtp = 0; mtp < 2; mtp++) {
        t->flops_per_token[mtp] = trainflops_per_token(&r->config, p, r->context, mtp);
    }
    TRY(optimizer_new(p, &rules, t->compute, &t->optimizer, info));
    energy_begin(&t->energy, ENERGY_ROOT);
    return r->ema > 0 ? ema_new(p, r->ema, t->compute, &t->ema, info) : ERR_OK;
}

err trainer_new(const struct trainrecipe *r, const struct dataset *d, struct compute *c, struct trainer **out,
                struct errinfo *info)
{
    struct trainer *t = mem_calloc(1, sizeof *t);
    if (!t) {
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    t->recipe = r;
    t->compute = c;
    err e = trainer_make(t, d, info);
    if (e != ERR_OK) {
        trainer_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void trainer_free(struct trainer *t)
{
    if (t) {
        ema_free(t->ema);
        optimizer_free(t->optimizer);
        learnmodel_free(t->model);
        feed_close(t->feed);
        tokenizer_free(t->tokenizer);
        mem_free(t->bytes);
        mem_free(t->rows.tokens);
        mem_free(t->rows.targets);
        mem_free(t->rows.positions);
        mem_free(t);
    }
}

/* ---- A step. ---- */

size_t trainer_sequences(const struct trainrecipe *r, uint64_t tokens)
{
    const struct schedule_ramp ramp[] = {{0, r->first_sequences},
                                         {(uint64_t)ceil(r->ramp_tokens), r->sequences}};
    bool grows = r->first_sequences > 0 && r->ramp_tokens > 0;
    return grows ? schedule_sequences(ramp, 2, tokens) : r->sequences;
}

uint64_t trainer_steps(const struct trainrecipe *r)
{
    bool grows = r->first_sequences > 0 && r->ramp_tokens > 0;
    double first = grows ? fmin(ceil(r->ramp_tokens), r->tokens) : 0;
    double each = (double)(r->first_sequences * r->context), steps = first > 0 ? ceil(first / each) : 0;
    double left = fmax(0, r->tokens - steps * each);
    return (uint64_t)(steps + ceil(left / (double)(r->sequences * r->context)));
}

bool trainer_mtp(const struct trainrecipe *r, uint64_t tokens)
{
    return r->config.num_nextn_predict_layers > 0 && r->mtp_weight > 0 &&
           (double)tokens >= r->mtp_from * r->tokens;
}

bool trainer_done(const struct trainer *t)
{
    return (double)t->tokens >= t->recipe->tokens;
}

struct trainer_amounts {
    size_t rows, predicted, bytes;
};

static struct trainer_amounts trainer_read(struct trainer *t)
{
    size_t context = t->recipe->context;
    struct trainer_amounts a = {.rows = trainer_sequences(t->recipe, t->tokens)};
    for (size_t i = 0; i < a.rows; i++) {
        size_t at = i * context;
        feed_next(t->feed, t->rows.tokens + at, t->rows.targets + at, t->rows.positions + at);
    }
    for (size_t i = 0; i < a.rows * context; i++) {
        a.predicted += t->rows.targets[i] >= 0;
        a.bytes += t->rows.targets[i] >= 0 ? t->bytes[t->rows.targets[i]] : 0;
    }
    return a;
}

/* Gradients of the mean loss of all rows. */
static err trainer_gradients(struct trainer *t, const struct trainer_amounts *a,
                             struct learnmodel_losses *sum, struct errinfo *info)
{
    const struct trainrecipe *r = t->recipe;
    double mtp = trainer_mtp(r, t->tokens) ? r->mtp_weight : 0;
    const struct learnmodel_scales scales = {1 / (double)a->predicted, mtp / (double)a->predicted,
                                             r->balance_weight / (double)a->rows};
    *sum = (struct learnmodel_losses){0};
    learnparams_zero_grad(learnmodel_params(t->model));
    learnmodel_forget_load(t->model);
    for (size_t row = 0; row < a->rows; row += r->micro_sequences) {
        size_t at = row * r->context;
        const struct learnmodel_batch b = {t->rows.tokens + at, t->rows.targets + at, t->rows.positions + at};
        struct learnmodel_losses l;
        TRY(learnmodel_step(t->model, &b, &scales, &l, info));
        sum->sum += l.sum;
        sum->mtp_sum += l.mtp_sum;
        sum->balance_sum += l.balance_sum;
        sum->n += l.n;
        sum->mtp_n += l.mtp_n;
    }
    return ERR_OK;
}

/* Moves a router's biases; the largest share of an expert, times experts. */
static double trainer_balance(struct trainer *t, size_t layer)
{
    const struct learnparams_layer *p = &learnmodel_params(t->model)->layers[layer];
    const uint64_t *load = learnmodel_load(t->model, layer);
    size_t n = t->recipe->config.n_routed_experts;
    double sum = 0, most = 0;
    for (size_t e = 0; e < n; e++) {
        sum += (double)load[e];
        most = fmax(most, (double)load[e]);
    }
    double mean = sum / (double)n;
    for (size_t e = 0; p->balance && e < n; e++) {
        double less = mean - (double)load[e];
        double b = mat_get(&p->balance->value, 0, e);
        mat_set(&p->balance->value, 0, e, b + t->recipe->balance_step * (double)((less > 0) - (less < 0)));
    }
    return sum > 0 ? most / mean : 0;
}

static double trainer_balance_all(struct trainer *t)
{
    const struct config *c = &t->recipe->config;
    double spread = 0;
    size_t n = 0;
    for (size_t i = 0; i < c->num_hidden_layers + c->num_nextn_predict_layers; i++) {
        double most = learnmodel_load(t->model, i) ? trainer_balance(t, i) : 0;
        spread += most;
        n += most > 0;
    }
    return n ? spread / (double)n : 0;
}

static enum trainer_verdict trainer_judge(const struct trainer *t, double loss)
{
    if (!isfinite(loss)) {
        return TRAINER_NOT_FINITE;
    }
    bool spike = t->recipe->spike > 0 && t->mean_loss > 0 && loss > t->mean_loss + t->recipe->spike;
    return spike ? TRAINER_SPIKE : TRAINER_FINE;
}

/* Weights, biases, average; what the step ends with. */
static err trainer_update(struct trainer *t, double scale, struct trainer_report *r, struct errinfo *info)
{
    struct optimizer_report o = {0};
    r->verdict = trainer_judge(t, r->loss);
    if (r->verdict != TRAINER_NOT_FINITE) {
        TRY(optimizer_step(t->optimizer, scale, &o, info));
        r->verdict = o.finite ? r->verdict : TRAINER_NOT_FINITE;
    }
    if (r->verdict == TRAINER_NOT_FINITE) {
        return ERR_OK;
    }
    r->grad_norm = o.grad_norm;
    r->load_spread = trainer_balance_all(t);
    t->mean_loss = t->mean_loss > 0 ? 0.95 * t->mean_loss + 0.05 * r->loss : r->loss;
    if (t->ema) {
        ema_update(t->ema);
    }
    return ERR_OK;
}

err trainer_step(struct trainer *t, struct trainer_report *out, struct errinfo *info)
{
    double begun = progress_clock(), joules = energy_joules(&t->energy);
    const struct trainrecipe *r = t->recipe;
    struct learnmodel_losses l;
    struct trainer_amounts a = trainer_read(t);
    for (int i = 0; a.predicted == 0 && i < TRAINER_EMPTY; i++) {
        a = trainer_read(t); /* rows of questions without their answers, for example */
    }
    if (a.predicted == 0) {
        return err_set(info, ERR_CORRUPT, "%d steps' rows predict nothing: documents of one token only, or no "
                       "answer that begins in its row", TRAINER_EMPTY + 1);
    }
    TRY(trainer_gradients(t, &a, &l, info));
    const struct config *c = &r->config;
    bool mtp = trainer_mtp(r, t->tokens);
    size_t layers = c->n_routed_experts ? c->num_hidden_layers + mtp - c->first_k_dense_replace : 1;
    double scale = schedule_factor(&t->schedule, t->step);
    struct trainer_report o = {.loss = l.sum / (double)l.n,
                               .mtp_loss = l.mtp_n ? l.mtp_sum / (double)l.mtp_n : NAN,
                               .balance_loss = l.balance_sum / (double)(a.rows * layers),
                               .bits_per_byte = l.sum / log(2) / (double)(a.bytes ? a.bytes : 1),
                               .lr = scale * r->lr};
    TRY(trainer_update(t, scale, &o, info));
    size_t tokens = a.rows * r->context;
    o.step = ++t->step;
    o.tokens = t->tokens += tokens;
    o.flops = t->flops += t->flops_per_token[mtp] * (double)tokens;
    o.step_seconds = progress_clock() - begun;
    o.seconds = t->seconds += o.step_seconds;
    o.joules = t->joules += energy_joules(&t->energy) - joules;
    o.tokens_per_s = (double)tokens / o.step_seconds;
    o.flops_per_s = t->flops_per_token[mtp] * o.tokens_per_s;
    *out = o;
    return ERR_OK;
}

/* model/learnmodel.c: see learnmodel.h. */
#include "model/learnmodel.h"

#include <string.h>

#include "base/cpuinfo.h"
#include "base/mem.h"

struct learnmodel {
    struct config config;
    struct learnmodel_options options;
    struct learnparams *params;
    struct compute *compute;
    struct learnarena arena;
    struct learnblocks blocks;
    struct learnlayer *kept; /* [layers + MTP layers] */
    struct mat *inputs;      /* with recompute: what went into each layer */
    size_t n_layers;         /* MTP layers included */
    uint64_t *load;          /* [n_layers * E] */
    double *losses;          /* [T] */
    int32_t *further;        /* [T] targets one token further */
};

/* A batch on its way. */
struct learnmodel_pass {
    struct learnmodel *m;
    struct learnrun run;
    const struct learnmodel_batch *batch;
    const struct learnmodel_scales *scales; /* NULL: losses alone */
    struct learnmodel_losses losses;
    bool further;            /* the MTP layer works, too */
    int32_t *pairs;          /* [T] rows of the table of pairs, where there is one */
    struct mat embedded;     /* with x0_skip: before its norm, wide [T, D] */
    struct mat x;            /* the residual stream, wide [T, D] */
    struct learnskip skip;
    struct mat last, output; /* before the final norm, and after it */
    struct mat doutput;      /* wide */
};

static bool learnmodel_learns(const struct learnmodel_pass *a)
{
    return a->scales || a->run.counting;
}

/* ---- Layers. ---- */

static void learnmodel_count_load(struct learnmodel_pass *a, size_t i)
{
    const struct config *c = a->run.config;
    const struct learnmoe *moe = &a->m->kept[i].moe;
    for (size_t k = 0; !a->run.counting && k < c->n_routed_experts; k++) {
        a->m->load[i * c->n_routed_experts + k] += moe->first[k + 1] - moe->first[k];
    }
    a->losses.balance_sum += learnrouter_balance_loss(&a->run, &moe->router);
}

/* A layer for multi-token prediction is by itself. */
static struct learnskip learnmodel_skip(const struct learnmodel_pass *a, size_t i)
{
    return i < a->run.config->num_hidden_layers ? a->skip : (struct learnskip){0};
}

static err learnmodel_layer(struct learnmodel_pass *a, size_t i)
{
    const struct learnskip skip = learnmodel_skip(a, i);
    struct learnmodel *m = a->m;
    bool keeps = learnmodel_learns(a) && !m->options.recompute;
    if (learnmodel_learns(a) && m->options.recompute) {
        m->inputs[i] = learnrun_wide(&a->run, a->x.rows, a->x.cols);
        if (!a->run.counting) {
            learnops_copy(a->run.compute, m->inputs[i], a->x);
        }
    }
    size_t mark = learnarena_mark(&m->arena);
    TRY(learnlayer_forward(&a->run, &m->params->layers[i], a->x, &skip, &m->kept[i]));
    if (m->params->layers[i].router) {
        learnmodel_count_load(a, i);
    }
    if (!keeps) {
        learnarena_release(&m->arena, mark);
    }
    return ERR_OK;
}

static err learnmodel_layer_backward(struct learnmodel_pass *a, size_t i, struct mat dx)
{
    struct learnmodel *m = a->m;
    const struct learnskip skip = learnmodel_skip(a, i);
    size_t mark = learnarena_mark(&m->arena);
    double balance = a->scales ? a->scales->balance : 0;
    if (m->options.recompute) { /* the input is not needed any more */
        TRY(learnlayer_forward(&a->run, &m->params->layers[i], m->inputs[i], &skip, &m->kept[i]));
    }
    TRY(learnlayer_backward(&a->run, &m->params->layers[i], &skip, &m->kept[i], balance, dx));
    learnarena_release(&m->arena, mark);
    return ERR_OK;
}

/* ---- The head: losses of `output`'s tokens; sets doutput, their gradient. ---- */

static err learnmodel_head(struct learnmodel_pass *a, struct mat output, struct mat doutput,
                           const int32_t *targets, double scale, double *sum, size_t *n)
{
    struct learnmodel *m = a->m;
    const struct learnparam *head = m->params->head;
    struct learnops_head h = {.x = output,
                              .w = head->work,
                              .targets = targets,
                              .losses = m->losses,
                              .z_loss = m->options.z_loss,
                              .scale = scale};
    size_t mark = learnarena_mark(&m->arena);
    h.memory = learnarena_bytes(&m->arena, learnops_head_bytes(output, head->work, learnmodel_learns(a)));
    learnarena_release(&m->arena, mark);
    if (a->run.counting) {
        return ERR_OK;
    }
    if (learnmodel_learns(a)) {
        h.dx = doutput;
        h.dw = head->grad;
    }
    err e = learnops_head(m->compute, &h);
    for (size_t t = 0; e == ERR_OK && t < output.rows; t++) {
        *sum += m->losses[t];
        *n += targets[t] >= 0;
    }
    return e == ERR_OK ? e : err_set(a->run.info, e, "out of memory for the head and its loss");
}

/* ---- Multi-token prediction, one token further. ---- */

struct learnmodel_mtp {
    struct mat embedded, hidden; /* wide [T, D]: what the two norms got */
    struct mat both;             /* [T, 2D], normed side by side */
    struct mat x, output;        /* wide, what the last norm got; and gave */
};

static int32_t learnmodel_token(int32_t id)
{
    return id >= 0 ? id : 0; /* where there is none, nothing is predicted either */
}

/* What stands one token after the targets, where that is of the same document and row. */
static void learnmodel_look_further(const struct learnmodel_pass *a)
{
    size_t context = a->m->options.context;
    for (size_t t = 0; t < a->run.n_tokens; t++) {
        bool goes_on = (t + 1) % context != 0 && a->batch->positions[t + 1] == a->batch->positions[t] + 1;
        a->m->further[t] = goes_on && a->batch->targets[t] >= 0 ? a->batch->targets[t + 1] : -1;
    }
}

static err learnmodel_mtp_forward(struct learnmodel_pass *a, struct learnmodel_mtp *k)
{
    struct learnmodel *m = a->m;
    const struct learnrun *r = &a->run;
    const struct learnparams_mtp *p = &m->params->mtp[0];
    size_t t = r->n_tokens, d = m->config.hidden_size;
    *k = (struct learnmodel_mtp){learnrun_wide(r, t, d), learnrun_wide(r, t, d), learnrun_narrow(r, t, 2 * d),
                                 learnrun_wide(r, t, d), learnrun_narrow(r, t, d)};
    if (!r->counting) {
        learnmodel_look_further(a);
        int32_t *next = learnarena_bytes(&m->arena, t * sizeof *next);
        for (size_t i = 0; i < t; i++) {
            next[i] = learnmodel_token(a->batch->targets[i]);
        }
        learnops_embed(m->compute, k->embedded, m->params->embed->value, next);
        learnops_copy(m->compute, k->hidden, a->output);
    } else {
        learnarena_bytes(&m->arena, t * sizeof(int32_t));
    }
    learnrun_norm(r, mat_cols(k->both, 0, d), k->embedded, p->embed_norm);
    learnrun_norm(r, mat_cols(k->both, d, d), k->hidden, p->hidden_norm);
    TRY(learnrun_matmul(r, LEARNOPS_NT, a->x, k->both, p->join->work, false));
    TRY(learnmodel_layer(a, m->config.num_hidden_layers));
    if (!r->counting) {
        learnops_copy(m->compute, k->x, a->x);
    }
    learnrun_norm(r, k->output, a->x, p->norm);
    return ERR_OK;
}

static err learnmodel_mtp_backward(struct learnmodel_pass *a, const struct learnmodel_mtp *k,
                                   struct mat doutput)
{
    struct learnmodel *m = a->m;
    const struct learnrun *r = &a->run;
    const struct learnparams_mtp *p = &m->params->mtp[0];
    size_t t = r->n_tokens, d = m->config.hidden_size;
    struct mat dx = learnrun_wide(r, t, d), dboth = learnrun_wide(r, t, 2 * d);
    struct mat dembedded = learnrun_wide(r, t, d);
    learnrun_zero(r, dx);
    learnrun_zero(r, dembedded);
    TRY(learnrun_norm_backward(r, dx, doutput, k->x, p->norm));
    TRY(learnmodel_layer_backward(a, m->config.num_hidden_layers, dx));
    struct mat narrow = learnrun_narrowed(r, dx);
    TRY(learnrun_matmul(r, LEARNOPS_TN, p->join->grad, narrow, k->both, true));
    TRY(learnrun_matmul(r, LEARNOPS_NN, dboth, narrow, p->join->work, false));
    int32_t *next = learnarena_bytes(&m->arena, t * sizeof *next);
    TRY(learnrun_norm_backward(r, dembedded, mat_cols(dboth, 0, d), k->embedded, p->embed_norm));
    if (!r->counting) {
        for (size_t i = 0; i < t; i++) {
            next[i] = learnmodel_token(a->batch->targets[i]);
        }
        learnops_embed_backward(m->compute, m->params->embed->grad, dembedded, next);
    }
    return learnrun_norm_backward(r, a->doutput, mat_cols(dboth, d, d), k->hidden, p->hidden_norm);
}

/* The loss one token further, and what it adds to doutput. */
static err learnmodel_mtp(struct learnmodel_pass *a)
{
    struct learnmodel *m = a->m;
    struct learnmodel_mtp k;
    size_t mark = learnarena_mark(&m->arena);
    TRY(learnmodel_mtp_forward(a, &k));
    struct mat doutput = learnrun_wide(&a->run, k.output.rows, k.output.cols);
    TRY(learnmodel_head(a, k.output, doutput, m->further, a->scales ? a->scales->mtp : 0, &a->losses.mtp_sum,
                        &a->losses.mtp_n));
    if (learnmodel_learns(a)) {
        TRY(learnmodel_mtp_backward(a, &k, doutput));
    }
    learnarena_release(&m->arena, mark);
    return ERR_OK;
}

/* ---- The whole. ---- */

/* x adds rows of a table that not every model has. */
static void learnmodel_embed_more(struct learnmodel_pass *a, const struct learnparam *table, const int32_t *ids)
{
    struct learnarena *arena = &a->m->arena;
    size_t mark = learnarena_mark(arena);
    struct mat more = learnrun_wide(&a->run, a->x.rows, a->x.cols);
    if (!a->run.counting) {
        learnops_embed(a->m->compute, more, table->value, ids);
        learnops_add(a->m->compute, a->x, more);
    }
    learnarena_release(arena, mark);
}

/* A token and the one before it in its document, hashed by multiplication (Knuth, vol. 3, 6.4). */
static void learnmodel_hash_pairs(struct learnmodel_pass *a)
{
    const struct learnmodel_batch *b = a->batch;
    size_t n = a->run.n_tokens;
    a->pairs = learnarena_bytes(&a->m->arena, n * sizeof *a->pairs);
    for (size_t t = 0; !a->run.counting && t < n; t++) {
        uint64_t before = b->positions[t] > 0 ? (uint64_t)b->tokens[t - 1] + 1 : 0;
        uint64_t hash = (before << 32 | (uint64_t)b->tokens[t]) * 0x9e3779b97f4a7c15;
        a->pairs[t] = (int32_t)((hash >> 32) % a->m->config.bigram_vocab_size);
    }
}

/* x: the embeddings of tokens, and where there are any, of pairs and positions. */
static void learnmodel_embed(struct learnmodel_pass *a)
{
    const struct learnparams *p = a->m->params;
    a->x = learnrun_wide(&a->run, a->run.n_tokens, a->m->config.hidden_size);
    if (!a->run.counting) {
        learnops_embed(a->m->compute, a->x, p->embed->value, a->batch->tokens);
    }
    if (p->bigrams) {
        learnmodel_hash_pairs(a);
        learnmodel_embed_more(a, p->bigrams, a->pairs);
    }
    if (p->places) {
        learnmodel_embed_more(a, p->places, a->run.positions);
    }
}

/* x becomes what the first layer gets; also x0 where layers look back at it. */
static void learnmodel_begin_skips(struct learnmodel_pass *a)
{
    const struct learnrun *r = &a->run;
    a->skip = learnskip_begin(r, learnmodel_learns(a));
    if (r->config->x0_skip) {
        a->embedded = a->x;
        a->x = learnrun_wide(r, a->embedded.rows, a->embedded.cols);
        learnrun_norm_parts(r, a->x, a->embedded, 1);
        learnrun_copy(r, a->skip.x, a->x);
    }
}

/* dx, by what the first layer got, becomes that by the embeddings. */
static err learnmodel_end_skips(struct learnmodel_pass *a, struct mat dx)
{
    const struct learnrun *r = &a->run;
    if (!r->config->x0_skip) {
        return ERR_OK;
    }
    if (!r->counting) {
        learnops_add(r->compute, a->skip.dx, dx);
    }
    return learnrun_norm_parts_backward(r, dx, a->skip.dx, a->embedded, 1);
}

static void learnmodel_embed_backward(struct learnmodel_pass *a, struct mat dx)
{
    const struct learnparams *p = a->m->params;
    learnops_embed_backward(a->m->compute, p->embed->grad, dx, a->batch->tokens);
    if (p->bigrams) {
        learnops_embed_backward(a->m->compute, p->bigrams->grad, dx, a->pairs);
    }
    if (p->places) {
        learnops_embed_backward(a->m->compute, p->places->grad, dx, a->batch->positions);
    }
}

/* The norm behind the last layer. */
static void learnmodel_norm(const struct learnmodel_pass *a)
{
    const struct learnparams *p = a->m->params;
    if (p->norm_bias) {
        learngpt2_norm(&a->run, a->output, a->x, p->norm, p->norm_bias);
    } else {
        learnrun_norm(&a->run, a->output, a->x, p->norm);
    }
}

static err learnmodel_norm_backward(const struct learnmodel_pass *a, struct mat dx)
{
    const struct learnparams *p = a->m->params;
    if (p->norm_bias) {
        return learngpt2_norm_backward(&a->run, dx, p->norm->grad, p->norm_bias->grad, a->doutput, a->last,
                                       p->norm);
    }
    return learnrun_norm_backward(&a->run, dx, a->doutput, a->last, p->norm);
}

static err learnmodel_forward(struct learnmodel_pass *a)
{
    struct learnmodel *m = a->m;
    const struct learnrun *r = &a->run;
    size_t t = r->n_tokens, d = m->config.hidden_size;
    learnmodel_embed(a);
    learnmodel_begin_skips(a);
    for (size_t i = 0; i < m->config.num_hidden_layers; i++) {
        TRY(learnmodel_layer(a, i));
    }
    a->last = learnrun_wide(r, t, d);
    a->output = learnrun_narrow(r, t, d);
    a->doutput = learnrun_wide(r, t, d);
    if (!r->counting) {
        learnops_copy(m->compute, a->last, a->x);
    }
    learnmodel_norm(a);
    TRY(learnmodel_head(a, a->output, a->doutput, r->counting ? NULL : a->batch->targets,
                        a->scales ? a->scales->token : 0, &a->losses.sum, &a->losses.n));
    return m->params->mtp && a->further ? learnmodel_mtp(a) : ERR_OK;
}

static err learnmodel_backward(struct learnmodel_pass *a)
{
    struct learnmodel *m = a->m;
    const struct learnrun *r = &a->run;
    struct mat dx = learnrun_wide(r, r->n_tokens, m->config.hidden_size);
    learnrun_zero(r, dx);
    TRY(learnmodel_norm_backward(a, dx));
    for (size_t i = m->config.num_hidden_layers; i > 0; i--) {
        TRY(learnmodel_layer_backward(a, i - 1, dx));
    }
    TRY(learnmodel_end_skips(a, dx));
    if (!r->counting) {
        learnmodel_embed_backward(a, dx);
    }
    return ERR_OK;
}

static err learnmodel_pass(struct learnmodel_pass *a)
{
    learnarena_release(&a->m->arena, 0);
    TRY(learnmodel_forward(a));
    TRY(learnmodel_learns(a) ? learnmodel_backward(a) : ERR_OK);
    if (a->m->arena.failed) {
        return err_set(a->run.info, ERR_NOMEM, "the batch takes more memory than was planned for it");
    }
    return ERR_OK;
}

static struct learnmodel_pass learnmodel_begin(struct learnmodel *m, bool counting, struct errinfo *info)
{
    const struct learnmodel_options *o = &m->options;
    return (struct learnmodel_pass){.m = m,
                                    .further = true,
                                    .run = {.compute = m->compute,
                                            .config = &m->config,
                                            .arena = &m->arena,
                                            .wide = o->exact ? MAT_F64 : MAT_F32,
                                            .narrow = o->exact ? MAT_F64 : MAT_BF16,
                                            .n_tokens = o->n_sequences * o->context,
                                            .n_sequences = o->n_sequences,
                                            .blocks = &m->blocks,
                                            .counting = counting,
                                            .info = info}};
}

static err learnmodel_check(const struct learnmodel *m, const struct learnmodel_batch *b, struct errinfo *info)
{
    for (size_t t = 0; t < m->options.n_sequences * m->options.context; t++) {
        bool good = b->tokens[t] >= 0 && (size_t)b->tokens[t] < m->config.vocab_size && b->targets[t] >= -1 &&
                    b->targets[t] < (int64_t)m->config.vocab_size;
        if (!good) {
            return err_set(info, ERR_ARGUMENT,
                           "token %zu of the batch is %d, to predict is %d; the vocabulary has "
                           "%zu", t, b->tokens[t], b->targets[t], m->config.vocab_size);
        }
        if (b->positions[t] < 0 || (size_t)b->positions[t] > t % m->options.context) {
            return err_set(info, ERR_ARGUMENT, "the position of token %zu is %d, which is before its row", t,
                           b->positions[t]);
        }
    }
    return ERR_OK;
}

static err learnmodel_batch(struct learnmodel_pass *a, const struct learnmodel_batch *batch,
                            struct learnmodel_losses *losses)
{
    TRY(learnmodel_check(a->m, batch, a->run.info));
    a->batch = batch;
    a->run.positions = batch->positions;
    TRY(learnmodel_pass(a));
    *losses = a->losses;
    return ERR_OK;
}

err learnmodel_step(struct learnmodel *m, const struct learnmodel_batch *batch,
                    const struct learnmodel_scales *scales, struct learnmodel_losses *losses,
                    struct errinfo *info)
{
    struct learnmodel_pass a = learnmodel_begin(m, false, info);
    a.scales = scales;
    a.further = !scales || scales->mtp > 0;
    return learnmodel_batch(&a, batch, losses);
}

err learnmodel_score(struct learnmodel *m, const struct learnmodel_batch *batch,
                     struct learnmodel_losses *losses, struct errinfo *info)
{
    struct learnmodel_pass a = learnmodel_begin(m, false, info);
    a.further = false;
    return learnmodel_batch(&a, batch, losses);
}

/* ---- Making. ---- */

static err learnmodel_supports(const struct config *c, struct errinfo *info)
{
    if (c->attention_bias) {
        return err_set(info, ERR_UNSUPPORTED,
                       "%s: its attention has biases, which cannot learn yet; the DeepSeek and "
                       "Llama classes, which have none, can", c->name);
    }
    if (c->rope_gain != 1 || c->num_nextn_predict_layers > 1) {
        return err_set(info, ERR_UNSUPPORTED, "%s: %s cannot learn yet", c->name,
                       c->rope_gain != 1 ? "YaRN's factor on queries" :
                           "more than one multi-token-prediction layer");
    }
    return ERR_OK;
}

/* Lists, and how much memory a batch takes: m->arena.most. */
static err learnmodel_count(struct learnmodel *m, struct errinfo *info)
{
    const struct config *c = &m->config;
    size_t tokens = m->options.n_sequences * m->options.context;
    m->n_layers = c->num_hidden_layers + c->num_nextn_predict_layers;
    m->kept = mem_calloc(m->n_layers, sizeof *m->kept);
    m->inputs = mem_calloc(m->n_layers, sizeof *m->inputs);
    m->load = mem_calloc(m->n_layers * (c->n_routed_experts + 1), sizeof *m->load);
    m->losses = mem_calloc(tokens, sizeof *m->losses);
    m->further = mem_calloc(tokens, sizeof *m->further);
    if (!m->kept || !m->inputs || !m->load || !m->losses || !m->further) {
        return err_set(info, ERR_NOMEM, "out of memory making the model");
    }
    learnarena_init_counting(&m->arena);
    learnblocks_init(&m->blocks, m->options.n_sequences, m->options.context);
    struct learnmodel_pass a = learnmodel_begin(m, true, info);
    return learnmodel_pass(&a);
}

/* A model whose parameters are listed and whose batch is counted; neither has memory. */
static err learnmodel_outline(const struct config *config, const struct learnmodel_options *options,
                              struct learnmodel **out, struct errinfo *info)
{
    TRY(learnmodel_supports(config, info));
    struct learnmodel *m = mem_calloc(1, sizeof *m);
    if (!m) {
        return err_set(info, ERR_NOMEM, "out of memory making the model");
    }
    m->config = *config;
    m->options = *options;
    err e = learnparams_list(config, options->exact, &m->params, info);
    e = e == ERR_OK ? learnmodel_count(m, info) : e;
    if (e != ERR_OK) {
        learnmodel_free(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

err learnmodel_measure(const struct config *config, const struct learnmodel_options *options, int n_threads,
                       struct learnmodel_sizes *out, struct errinfo *info)
{
    struct learnmodel *m;
    n_threads = n_threads > 0 ? n_threads : cpuinfo_cores();
    TRY(learnmodel_outline(config, options, &m, info));
    *out = (struct learnmodel_sizes){m->params->n_values, learnparams_size(m->params),
                                     m->arena.most + learnblocks_bytes(&m->blocks, n_threads)};
    learnmodel_free(m);
    return ERR_OK;
}

err learnmodel_new(const struct config *config, const struct learnmodel_options *options,
                   struct compute *compute, struct learnmodel **out, struct errinfo *info)
{
    struct learnmodel *m;
    TRY(learnmodel_outline(config, options, &m, info));
    m->compute = compute;
    learnparams_free(m->params);
    m->params = NULL;
    err e = learnparams_new(config, options->exact, &m->params, info);
    e = e == ERR_OK ? learnarena_init(&m->arena, m->arena.most, info) : e;
    e = e == ERR_OK ? learnblocks_start(&m->blocks, compute, info) : e;
    if (e != ERR_OK) {
        learnmodel_free(m);
        return e;
    }
    m->params->compute = compute;
    *out = m;
    return ERR_OK;
}

void learnmodel_free(struct learnmodel *m)
{
    if (m) {
        learnparams_free(m->params);
        learnarena_deinit(&m->arena);
        learnblocks_deinit(&m->blocks);
        mem_free(m->kept);
        mem_free(m->inputs);
        mem_free(m->load);
        mem_free(m->losses);
        mem_free(m->further);
        mem_free(m);
    }
}

struct learnparams *learnmodel_params(struct learnmodel *m)
{
    return m->params;
}

const struct config *learnmodel_config(const struct learnmodel *m)
{
    return &m->config;
}

const uint64_t *learnmodel_load(const struct learnmodel *m, size_t layer)
{
    return m->params->layers[layer].router ? m->load + layer * m->config.n_routed_experts : NULL;
}

void learnmodel_forget_load(struct learnmodel *m)
{
    memset(m->load, 0, m->n_layers * m->config.n_routed_experts * sizeof *m->load);
}

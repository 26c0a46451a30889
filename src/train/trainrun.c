/* train/trainrun.c: see trainrun.h. */
#include "train/trainrun.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/progress.h"
#include "train/checkpoint.h"
#include "train/runlog.h"
#include "train/trainerstate.h"
#include "train/trainexport.h"
#include "train/trainpage.h"
#include "train/trainspeed.h"

enum { TRAINRUN_BAD_STEPS = 3, TRAINRUN_RETURNS = 3, TRAINRUN_GAUGE_SECONDS = 60, TRAINRUN_PAGE_SECONDS = 20 };

struct trainrun {
    const struct trainrecipe *recipe;
    const struct trainrun_options *options;
    struct dataset dataset;
    struct compute *compute;
    struct trainer *trainer;
    struct trainerscore_set *scores;
    struct trainertasks *tasks;
    struct runlog *log;
    json_t *validated; /* array: records of a validation that is not over */
    char *checkpoints; /* path */
    double begun, gauged, shown; /* when; shown: the page */
    double roof;         /* FLOP/s as last measured; 0: unknown */
    uint64_t saved;      /* step of the last checkpoint */
    bool has_checkpoint;
    bool no_page;        /* the last time it could not be written */
    bool cut;            /* a validation was due and stopped on the way */
    int lock;            /* on the folder; -1: none */
    int bad, returns;    /* bad steps in a row; times gone back since the last checkpoint */
    struct errinfo *info;
};

/* ---- The log. ---- */

static err trainrun_log(struct trainrun *a, json_t *record)
{
    if (!record) {
        return err_set(a->info, ERR_NOMEM, "out of memory for a line of the log");
    }
    err e = runlog_append(a->log, record, a->info);
    json_decref(record);
    return e;
}

static err trainrun_note(struct trainrun *a, const char *text)
{
    const struct trainrun_view *v = &a->options->view;
    if (v->noted) {
        v->noted(v->user, a->trainer->step, text);
    }
    return trainrun_log(a, json_pack("{s:s, s:I, s:s}", "kind", "event", "step", (json_int_t)a->trainer->step,
                                     "text", text));
}

/* Of something that a run can do without. */
static err trainrun_note_error(struct trainrun *a, const char *what)
{
    char text[sizeof a->info->message + 64];
    snprintf(text, sizeof text, "%s: %s", what, a->info->message);
    return trainrun_note(a, text);
}

/* Of a validation: its records are logged together, or none, so that one that was stopped can be made anew. */
static err trainrun_hold(struct trainrun *a, json_t *record)
{
    return json_array_append_new(a->validated, record) == 0 ? ERR_OK :
           err_set(a->info, ERR_NOMEM, "out of memory for what validation found");
}

static bool trainrun_goes_on(void *user)
{
    const struct trainrun *a = user;
    const struct trainrun_options *o = a->options;
    bool over = o->seconds > 0 && progress_clock() - a->begun >= o->seconds;
    return !over && (!o->view.go_on || o->view.go_on(o->view.user));
}

/* What the machine can do, now and then, since others may share it. */
static double trainrun_peak_share(struct trainrun *a, const struct trainer_report *r)
{
    double now = progress_clock();
    if (a->roof <= 0 || now - a->gauged > TRAINRUN_GAUGE_SECONDS) {
        double flops = trainspeed_peak(a->compute);
        a->roof = flops > a->roof ? flops : a->roof;
        a->gauged = now;
    }
    return a->roof > 0 ? r->flops_per_s / a->roof : 0;
}

static err trainrun_log_step(struct trainrun *a, const struct trainer_report *r, double share)
{
    return trainrun_log(a, json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                                     "s:o}", "kind", "step", "step", (json_int_t)r->step, "tokens",
                                     (json_int_t)r->tokens, "flops", runlog_number(r->flops), "seconds",
                                     runlog_number(r->seconds), "loss", runlog_number(r->loss), "mtp_loss",
                                     runlog_number(r->mtp_loss), "balance_loss", runlog_number(r->balance_loss),
                                     "bits_per_byte", runlog_number(r->bits_per_byte), "lr",
                                     runlog_number(r->lr), "grad_norm", runlog_number(r->grad_norm),
                                     "tokens_per_s", runlog_number(r->tokens_per_s), "peak_share",
                                     runlog_number(share), "load_spread", runlog_number(r->load_spread),
                                     "energy_j", runlog_number(r->joules)));
}

/* Shares of the last step's tokens by expert, layer by layer. */
static err trainrun_log_load(struct trainrun *a)
{
    const struct config *c = &a->recipe->config;
    json_t *layers = json_array();
    for (size_t i = 0; layers && i < c->num_hidden_layers + c->num_nextn_predict_layers; i++) {
        const uint64_t *load = learnmodel_load(a->trainer->model, i);
        json_t *shares = json_array();
        double sum = 0;
        for (size_t e = 0; load && e < c->n_routed_experts; e++) {
            sum += (double)load[e];
        }
        for (size_t e = 0; load && e < c->n_routed_experts; e++) {
            json_array_append_new(shares, json_real(sum > 0 ? (double)load[e] / sum : 0));
        }
        json_array_append_new(layers, shares);
    }
    return trainrun_log(a, json_pack("{s:s, s:I, s:o}", "kind", "load", "step", (json_int_t)a->trainer->step,
                                     "layers", layers));
}

/* ---- Validation and samples. ---- */

static err trainrun_hold_scores(struct trainrun *a, const struct trainerscore *scores,
                                const struct trainerscore *all)
{
    json_t *sources = json_array();
    for (size_t i = 0; sources && i < trainerscore_sources(a->scores); i++) {
        json_array_append_new(sources, json_pack("{s:s, s:f}", "name", trainerscore_source(a->scores, i),
                                                 "bits_per_byte", trainerscore_bits_per_byte(&scores[i])));
    }
    const struct trainer *t = a->trainer;
    return trainrun_hold(a, json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:o}", "kind", "val", "step",
                                      (json_int_t)t->step, "tokens", (json_int_t)t->tokens, "flops", t->flops,
                                      "seconds", t->seconds, "loss", trainerscore_loss(all), "bits_per_byte",
                                      trainerscore_bits_per_byte(all), "sources", sources));
}

static err trainrun_sample(struct trainrun *a, const struct trainengine *e)
{
    const struct trainrun_view *v = &a->options->view;
    struct strbuf text = {0};
    err r = trainengine_sample(e, a->recipe->prompt, a->recipe->sample_tokens, trainrun_goes_on, a, &text,
                               a->info);
    r = r == ERR_OK ? strbuf_append(&text, "", 1) : r;
    if (r == ERR_OK && v->sampled) {
        v->sampled(v->user, a->trainer->step, a->recipe->prompt, text.data);
    }
    r = r == ERR_OK ? trainrun_hold(a, json_pack("{s:s, s:I, s:s, s:s}", "kind", "sample", "step",
                                                 (json_int_t)a->trainer->step, "prompt", a->recipe->prompt,
                                                 "text", text.data)) : r;
    strbuf_deinit(&text);
    return r;
}

static err trainrun_task(struct trainrun *a, const struct trainengine *e, size_t i)
{
    const struct trainrun_view *v = &a->options->view;
    const char *name = trainertasks_name(a->tasks, i);
    struct evaltask_result r;
    TRY(trainertasks_run(a->tasks, i, e, trainrun_goes_on, a, &r, a->info));
    if (v->asked) {
        v->asked(v->user, a->trainer->step, name, &r);
    }
    return trainrun_hold(a, json_pack("{s:s, s:I, s:s, s:f, s:I}", "kind", "task", "step",
                                      (json_int_t)a->trainer->step, "name", name, "score",
                                      (double)r.right / (double)r.items, "n", (json_int_t)r.items));
}

/* What the model answers as it is now. */
static err trainrun_ask(struct trainrun *a)
{
    size_t n = trainertasks_count(a->tasks);
    struct trainengine *e;
    if (n == 0 && a->recipe->sample_tokens == 0) {
        return ERR_OK;
    }
    TRY(trainengine_open(a->trainer, &e, a->info));
    err r = a->recipe->sample_tokens ? trainrun_sample(a, e) : ERR_OK;
    for (size_t i = 0; r == ERR_OK && i < n; i++) {
        r = trainrun_task(a, e, i);
    }
    trainengine_close(e);
    return r == ERR_OK || r == ERR_CANCELLED ? r : trainrun_note_error(a, "the model was not asked");
}

static err trainrun_score(struct trainrun *a)
{
    const struct trainrun_view *v = &a->options->view;
    struct trainerscore scores[DATASET_SOURCES_MAX], all;
    if (trainerscore_sources(a->scores) == 0) {
        return ERR_OK;
    }
    TRY(trainerscore_run(a->scores, a->trainer, trainrun_goes_on, a, scores, &all, a->info));
    if (v->scored) {
        v->scored(v->user, a->trainer->step, a->scores, scores, &all);
    }
    return trainrun_hold_scores(a, scores, &all);
}

/* All of it, or nothing is logged: then `cut` says that it is still due. */
static err trainrun_validate(struct trainrun *a)
{
    json_array_clear(a->validated);
    err e = trainrun_score(a);
    e = e == ERR_OK ? trainrun_ask(a) : e;
    a->cut = e == ERR_CANCELLED;
    for (size_t i = 0; e == ERR_OK && i < json_array_size(a->validated); i++) {
        e = runlog_append(a->log, json_array_get(a->validated, i), a->info);
    }
    return a->cut ? ERR_OK : e;
}

/* ---- Checkpoints. ---- */

static err trainrun_save(struct trainrun *a)
{
    TRY(runlog_sync(a->log, a->info));
    TRY(trainerstate_save(a->trainer, a->checkpoints, a->info));
    TRY(checkpoint_prune(a->checkpoints, a->recipe->keep, a->info));
    a->saved = a->trainer->step;
    a->has_checkpoint = true;
    a->returns = 0;
    return ERR_OK;
}

static err trainrun_go_back(struct trainrun *a)
{
    char text[160];
    uint64_t from = a->trainer->step;
    if (!a->has_checkpoint || ++a->returns > TRAINRUN_RETURNS) {
        return err_set(a->info, ERR_LIMIT, "the loss is not finite or jumps at step %llu, and %s: a lower "
                       "learning rate, a longer warm-up or clipping may help", (unsigned long long)from,
                       a->has_checkpoint ? "going back did not help" : "there is no checkpoint to go back to");
    }
    TRY(trainerstate_restore(a->trainer, a->checkpoints, a->saved, true, a->info));
    runlog_close(a->log);
    a->log = NULL;
    TRY(runlog_cut(a->options->dir, a->saved, a->info));
    TRY(runlog_open(a->options->dir, &a->log, a->info));
    a->bad = 0;
    snprintf(text, sizeof text, "bad losses up to step %llu: back to step %llu, on with the next data",
             (unsigned long long)from, (unsigned long long)a->saved);
    return trainrun_note(a, text);
}

/* ---- The loop. ---- */

static err trainrun_judge(struct trainrun *a, const struct trainer_report *r)
{
    if (r->verdict == TRAINER_FINE) {
        a->bad = 0;
        return ERR_OK;
    }
    TRY(trainrun_note(a, r->verdict == TRAINER_SPIKE ? "the loss jumped" :
                      "the loss or a gradient is not finite: the step was left out"));
    return ++a->bad >= TRAINRUN_BAD_STEPS ? trainrun_go_back(a) : ERR_OK;
}

static err trainrun_page(struct trainrun *a, bool running)
{
    const struct trainrun_options *o = a->options;
    double now = progress_clock();
    if (!o->report || (running && now - a->shown < TRAINRUN_PAGE_SECONDS)) {
        return ERR_OK;
    }
    a->shown = now;
    err e = trainpage_write(a->trainer, o->dir, o->report, running, a->info);
    bool noted = a->no_page;
    a->no_page = e != ERR_OK;
    return a->no_page && !noted ? trainrun_note_error(a, "the page was not written") : ERR_OK;
}

static bool trainrun_due(uint64_t step, size_t every)
{
    return every > 0 && step % every == 0;
}

static err trainrun_step(struct trainrun *a)
{
    const struct trainrun_view *v = &a->options->view;
    struct trainer_report r;
    TRY(trainer_step(a->trainer, &r, a->info));
    double share = trainrun_peak_share(a, &r);
    TRY(trainrun_log_step(a, &r, share));
    if (v->stepped) {
        v->stepped(v->user, &r, share);
    }
    TRY(trainrun_judge(a, &r));
    if (a->bad > 0 || a->trainer->step != r.step) {
        return ERR_OK; /* nothing is saved while the loss is in doubt */
    }
    bool due = trainrun_due(r.step, a->recipe->validate_every);
    TRY(due || trainer_done(a->trainer) ? trainrun_log_load(a) : ERR_OK);
    TRY(due ? trainrun_validate(a) : ERR_OK);
    TRY(trainrun_due(r.step, a->recipe->checkpoint_every) ? trainrun_save(a) : ERR_OK);
    return trainrun_page(a, true);
}

static err trainrun_export(struct trainrun *a)
{
    char *path = file_join(a->options->dir, "model.gguf");
    struct trainer *t = a->trainer;
    if (!path) {
        return err_set(a->info, ERR_NOMEM, "out of memory");
    }
    if (t->ema) {
        ema_swap(t->ema);
    }
    err e = trainexport_gguf(&a->recipe->config, learnmodel_params(t->model), a->dataset.dir, path, a->info);
    if (t->ema) {
        ema_swap(t->ema);
    }
    mem_free(path);
    return e;
}

static err trainrun_finish(struct trainrun *a, enum trainrun_end *end)
{
    struct errinfo why = {0};
    char text[sizeof why.message + 32];
    if (!trainrun_due(a->trainer->step, a->recipe->validate_every)) {
        TRY(trainrun_validate(a));
    }
    *end = a->cut ? TRAINRUN_STOPPED : TRAINRUN_DONE;
    if (a->cut) {
        return ERR_OK;
    }
    if (config_check_served(&a->recipe->config, &why) != ERR_OK) {
        snprintf(text, sizeof text, "no model.gguf: %s", why.message);
        return trainrun_note(a, text);
    }
    return trainrun_export(a);
}

static err trainrun_loop(struct trainrun *a, enum trainrun_end *end)
{
    bool stopped = false;
    TRY(a->cut ? trainrun_validate(a) : ERR_OK);
    while (!trainer_done(a->trainer) && !stopped && !a->cut) {
        TRY(trainrun_step(a));
        stopped = !trainrun_goes_on(a);
    }
    bool doubt = a->bad > 0 && a->has_checkpoint; /* then the last one stays the last */
    if (!doubt && (!a->has_checkpoint || a->saved != a->trainer->step)) {
        TRY(trainrun_save(a));
    }
    *end = TRAINRUN_STOPPED;
    TRY(trainer_done(a->trainer) ? trainrun_finish(a, end) : ERR_OK);
    return trainrun_page(a, false);
}

/* ---- Beginning, and going on. ---- */

/* A checkpoint goes on with the recipe and the data it was made from, unless the user wants others. */
static err trainrun_same_origin(const struct trainrun *a, const json_t *recipe, const char *data)
{
    const struct trainrun_options *o = a->options;
    const char *key = trainrecipe_difference(recipe, a->recipe->given);
    if (key) {
        return err_set(a->info, ERR_ARGUMENT, "%s was begun with another recipe: %s differs. --changed goes on "
                       "with the new one; or choose another --out", o->dir, key);
    }
    if (strcmp(data, a->trainer->data) != 0) {
        return err_set(a->info, ERR_ARGUMENT, "%s was begun with other data: the manifest of %s has the "
                       "SHA-256 %s, that of its data %s. Give the --data it was begun with; --changed goes on "
                       "with these, from their beginning; or choose another --out", o->dir, o->data,
                       a->trainer->data, data[0] ? data : "is not known");
    }
    return ERR_OK;
}

static err trainrun_restore(struct trainrun *a)
{
    json_t *recipe;
    char data[TOKENSHARD_HASH];
    TRY(trainerstate_origin(a->checkpoints, a->saved, &recipe, data, a->info));
    err e = a->options->changed ? ERR_OK : trainrun_same_origin(a, recipe, data);
    json_decref(recipe);
    TRY(e);
    bool other = data[0] && strcmp(data, a->trainer->data) != 0; /* their places are not those of these */
    return trainerstate_restore(a->trainer, a->checkpoints, a->saved, other, a->info);
}

/* A validation that was due here and is not in the log was stopped. */
static err trainrun_find_cut(struct trainrun *a)
{
    struct runlog_records r;
    uint64_t step = a->trainer->step;
    if (!trainrun_due(step, a->recipe->validate_every)) {
        return ERR_OK;
    }
    TRY(runlog_read(a->options->dir, &r, a->info));
    a->cut = !(r.n_vals > 0 && r.vals[r.n_vals - 1].step == step) &&
             !(r.n_samples > 0 && r.samples[r.n_samples - 1].step == step) &&
             !(r.n_tasks > 0 && r.tasks[r.n_tasks - 1].step == step);
    runlog_read_deinit(&r);
    return ERR_OK;
}

static err trainrun_note_resumed(struct trainrun *a, const struct errinfo *passed)
{
    char text[sizeof passed->message + 64];
    if (passed->code == ERR_OK) {
        return trainrun_note(a, "resumed");
    }
    snprintf(text, sizeof text, "resumed from an older checkpoint, the newest is damaged: %s", passed->message);
    return trainrun_note(a, text);
}

/* Looks into the folder: begins there, or goes on. Nothing is written before all is known to be good. */
static err trainrun_begin(struct trainrun *a, const char *recipe)
{
    const struct trainrun_options *o = a->options;
    struct errinfo passed;
    TRY(checkpoint_find(a->checkpoints, &a->saved, &a->has_checkpoint, &passed, a->info));
    if (a->has_checkpoint && !o->resume) {
        return err_set(a->info, ERR_ARGUMENT, "%s holds a run at step %llu already: --resume goes on, or "
                       "choose another --out", o->dir, (unsigned long long)a->saved);
    }
    TRY(a->has_checkpoint ? trainrun_restore(a) : ERR_OK);
    TRY(runlog_cut(o->dir, a->trainer->step, a->info));
    TRY(json_write(a->recipe->given, JSON_INDENT(2), recipe, a->info));
    TRY(runlog_open(o->dir, &a->log, a->info));
    if (!a->has_checkpoint) {
        return ERR_OK;
    }
    TRY(trainrun_find_cut(a));
    return trainrun_note_resumed(a, &passed);
}

static err trainrun_open(struct trainrun *a)
{
    const struct trainrun_options *o = a->options;
    struct trainplan plan;
    TRY(dataset_open(o->data, &a->dataset, a->info));
    TRY(trainplan_make(a->recipe, o->n_threads, &plan, a->info));
    TRY(trainplan_fits(&plan, a->info));
    TRY(file_make_dirs(o->dir, a->info));
    TRY(file_lock_folder(o->dir, &a->lock, a->info));
    TRY(compute_new(o->level, o->n_threads, true, &a->compute, a->info));
    TRY(trainer_new(a->recipe, &a->dataset, a->compute, &a->trainer, a->info));
    if (o->view.planned) {
        o->view.planned(o->view.user, &plan, a->trainer);
    }
    TRY(trainertasks_open(a->recipe, &a->tasks, a->info));
    return trainerscore_open(a->recipe, &a->dataset, &a->scores, a->info);
}

err trainrun_run(const struct trainrecipe *r, const struct trainrun_options *o, enum trainrun_end *end,
                 struct errinfo *info)
{
    struct trainrun a = {.recipe = r, .options = o, .begun = progress_clock(), .lock = -1, .info = info};
    char *recipe = file_join(o->dir, "recipe.json");
    a.checkpoints = file_join(o->dir, "checkpoints");
    a.validated = json_array();
    bool named = recipe && a.checkpoints && a.validated;
    err e = named ? trainrun_open(&a) : err_set(info, ERR_NOMEM, "out of memory");
    e = e == ERR_OK ? trainrun_begin(&a, recipe) : e;
    e = e == ERR_OK ? trainrun_loop(&a, end) : e;
    runlog_close(a.log);
    json_decref(a.validated);
    trainertasks_close(a.tasks);
    trainerscore_close(a.scores);
    trainer_free(a.trainer);
    compute_free(a.compute);
    dataset_deinit(&a.dataset);
    file_unlock(a.lock);
    mem_free(recipe);
    mem_free(a.checkpoints);
    return e;
}

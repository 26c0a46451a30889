/* train/trainerstate.c: see trainerstate.h. Counts are written as JSON integers; none comes near 2^53. */
#include "train/trainerstate.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "train/checkpoint.h"
#include "train/runlog.h"

/* ---- Arrays. ---- */

struct trainerstate_arrays {
    struct checkpoint_array *all;
    size_t n;
};

static void trainerstate_add(struct trainerstate_arrays *a, const char *name, struct mat mat)
{
    struct checkpoint_array *to = &a->all[a->n++];
    snprintf(to->name, sizeof to->name, "%s", name);
    to->mat = mat;
}

static err trainerstate_list(const struct trainer *t, struct trainerstate_arrays *a, struct errinfo *info)
{
    const struct learnparams *p = learnmodel_params(t->model);
    size_t n_optimizer = optimizer_n_arrays(t->optimizer), n_ema = t->ema ? ema_n_arrays(t->ema) : 0;
    *a = (struct trainerstate_arrays){mem_calloc(p->n + n_optimizer + n_ema, sizeof *a->all), 0};
    if (!a->all) {
        return err_set(info, ERR_NOMEM, "out of memory listing what a checkpoint holds");
    }
    for (size_t i = 0; i < p->n; i++) {
        trainerstate_add(a, p->all[i].name, p->all[i].value);
    }
    for (size_t i = 0; i < n_optimizer; i++) {
        struct optimizer_array o = optimizer_array_at(t->optimizer, i);
        trainerstate_add(a, o.name, o.mat);
    }
    for (size_t i = 0; i < n_ema; i++) {
        struct ema_array o = ema_array_at(t->ema, i);
        trainerstate_add(a, o.name, o.mat);
    }
    return ERR_OK;
}

/* ---- The rest. ---- */

static json_t *trainerstate_places(const struct feed_state *f)
{
    json_t *places = json_array();
    for (size_t i = 0; places && i < f->n_places; i++) {
        const struct feed_place *p = &f->places[i];
        json_t *one = json_pack("{s:I, s:I, s:I}", "epoch", (json_int_t)p->epoch, "index", (json_int_t)p->index,
                                "tokens", (json_int_t)p->tokens);
        if (json_array_append_new(places, one) != 0) {
            json_decref(places);
            return NULL;
        }
    }
    return places;
}

static json_t *trainerstate_json(const struct trainer *t)
{
    struct feed_state f;
    feed_save(t->feed, &f);
    json_t *places = trainerstate_places(&f);
    return places ? json_pack("{s:I, s:I, s:I, s:f, s:f, s:o, s:f, s:O, s:s, s:{s:I, s:I, s:I, s:o}}", "step",
                              (json_int_t)t->step, "tokens", (json_int_t)t->tokens, "optimizer_steps",
                              (json_int_t)optimizer_steps(t->optimizer), "flops", t->flops, "seconds",
                              t->seconds, "joules", runlog_number(t->joules), "mean_loss", t->mean_loss,
                              "recipe", t->recipe->given, "data", t->data, "feed", "source",
                              (json_int_t)f.source, "at", (json_int_t)f.at, "end", (json_int_t)f.end,
                              "places", places)
                  : NULL;
}

err trainerstate_save(const struct trainer *t, const char *dir, struct errinfo *info)
{
    struct trainerstate_arrays a;
    TRY(trainerstate_list(t, &a, info));
    json_t *state = trainerstate_json(t);
    err e = state ? checkpoint_save(dir, t->step, a.all, a.n, state, info) :
            err_set(info, ERR_NOMEM, "out of memory saving a checkpoint");
    json_decref(state);
    mem_free(a.all);
    return e;
}

static err trainerstate_feed(const json_t *json, const char *name, struct feed_state *f, struct errinfo *info)
{
    const json_t *feed, *places;
    TRY(json_get_object(json, name, "feed", &feed, info));
    TRY(json_get_u64(feed, name, "source", &f->source, info));
    TRY(json_get_u64(feed, name, "at", &f->at, info));
    TRY(json_get_u64(feed, name, "end", &f->end, info));
    TRY(json_get_array(feed, name, "places", &places, info));
    f->n_places = json_array_size(places);
    if (f->n_places > DATASET_SOURCES_MAX) {
        return err_set(info, ERR_CORRUPT, "%s: %zu places in the data; at most %d are possible", name,
                       (size_t)f->n_places, DATASET_SOURCES_MAX);
    }
    for (size_t i = 0; i < f->n_places; i++) {
        const json_t *p = json_array_get(places, i);
        TRY(json_get_u64(p, name, "epoch", &f->places[i].epoch, info));
        TRY(json_get_u64(p, name, "index", &f->places[i].index, info));
        TRY(json_get_u64(p, name, "tokens", &f->places[i].tokens, info));
    }
    return ERR_OK;
}

/* What a checkpoint says besides arrays. */
struct trainerstate_counts {
    uint64_t step, tokens, optimizer_steps;
    double flops, seconds, joules, mean_loss;
    struct feed_state feed;
};

/* null: not known. */
static err trainerstate_joules(const json_t *json, const char *name, double *out, struct errinfo *info)
{
    *out = NAN;
    return json_is_null(json_object_get(json, "joules")) ? ERR_OK :
           json_get_double(json, name, "joules", out, info);
}

static err trainerstate_read(const json_t *json, const char *name, struct trainerstate_counts *c,
                             struct errinfo *info)
{
    TRY(json_get_u64(json, name, "step", &c->step, info));
    TRY(json_get_u64(json, name, "tokens", &c->tokens, info));
    TRY(json_get_u64(json, name, "optimizer_steps", &c->optimizer_steps, info));
    TRY(json_get_double(json, name, "flops", &c->flops, info));
    TRY(json_get_double(json, name, "seconds", &c->seconds, info));
    TRY(trainerstate_joules(json, name, &c->joules, info));
    TRY(json_get_double(json, name, "mean_loss", &c->mean_loss, info));
    return trainerstate_feed(json, name, &c->feed, info);
}

err trainerstate_restore(struct trainer *t, const char *dir, uint64_t step, bool keep_place,
                         struct errinfo *info)
{
    struct trainerstate_arrays a;
    json_t *state = NULL;
    struct trainerstate_counts *c = mem_calloc(1, sizeof *c);
    err e = c ? trainerstate_list(t, &a, info) : err_set(info, ERR_NOMEM, "out of memory");
    if (e != ERR_OK) {
        mem_free(c);
        return e;
    }
    e = checkpoint_load(dir, step, a.all, a.n, &state, info);
    e = e == ERR_OK ? trainerstate_read(state, "state.json", c, info) : e;
    if (e == ERR_OK && !keep_place) {
        e = feed_restore(t->feed, &c->feed, info);
    }
    if (e == ERR_OK) {
        t->step = c->step;
        t->tokens = c->tokens;
        t->flops = c->flops;
        t->seconds = c->seconds;
        t->joules = c->joules;
        t->mean_loss = c->mean_loss;
        optimizer_set_steps(t->optimizer, c->optimizer_steps);
        learnparams_refresh(learnmodel_params(t->model));
    }
    json_decref(state);
    mem_free(a.all);
    mem_free(c);
    return e;
}

err trainerstate_origin(const char *dir, uint64_t step, json_t **recipe, char data[TOKENSHARD_HASH],
                        struct errinfo *info)
{
    const char *name = "state.json", *hash = "";
    const json_t *given;
    json_t *state;
    TRY(checkpoint_load_state(dir, step, &state, info));
    err e = json_get_object(state, name, "recipe", &given, info);
    e = e == ERR_OK && json_object_get(state, "data") ? json_get_string(state, name, "data", &hash, info) : e;
    if (e == ERR_OK) {
        snprintf(data, TOKENSHARD_HASH, "%s", hash);
        *recipe = json_incref((json_t *)given);
    }
    json_decref(state);
    return e;
}

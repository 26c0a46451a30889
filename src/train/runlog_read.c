/* train/runlog_read.c: lines back to records; see runlog.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "train/runlog.h"

enum runlog_kind {
    RUNLOG_STEP,
    RUNLOG_VAL,
    RUNLOG_LOAD,
    RUNLOG_SAMPLE,
    RUNLOG_TASK,
    RUNLOG_EVENT,
    RUNLOG_KINDS
};

struct runlog_reader {
    struct runlog_records *r;
    char where[300];           /* file and line, for messages */
    size_t room[RUNLOG_KINDS]; /* of the lists of r */
    struct errinfo *info;
};

static err runlog_nomem(const struct runlog_reader *f)
{
    return err_set(f->info, ERR_NOMEM, "%s: out of memory", f->where);
}

static double runlog_get(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* A copy of a string, "" when there is none. */
static err runlog_text(const struct runlog_reader *f, const json_t *o, const char *key, char **out)
{
    const char *text = json_string_value(json_object_get(o, key));
    text = text ? text : "";
    *out = mem_dup(text, strlen(text));
    return *out ? ERR_OK : runlog_nomem(f);
}

/* The list with room for record n, which is zero; NULL, with the error set, when memory is short.
 */
static void *runlog_grown(struct runlog_reader *f, enum runlog_kind kind, void *list, size_t n,
                          size_t each)
{
    size_t more = f->room[kind] ? 2 * f->room[kind] : 16;
    if (n == f->room[kind]) {
        list = mem_resize(list, more, each);
        if (!list) {
            runlog_nomem(f);
            return NULL;
        }
        f->room[kind] = more;
    }
    memset((char *)list + n * each, 0, each);
    return list;
}

/* ---- One kind each. A record is counted before it is filled, so that what it owns is released
 * with the rest; its memory is zero. ---- */

static err runlog_read_step(struct runlog_reader *f, const json_t *o, uint64_t step)
{
    struct runlog_step *list =
        runlog_grown(f, RUNLOG_STEP, f->r->steps, f->r->n_steps, sizeof *list);
    if (!list) {
        return ERR_NOMEM;
    }
    f->r->steps = list;
    list[f->r->n_steps++] = (struct runlog_step){.step = step,
                                                 .tokens = runlog_get(o, "tokens"),
                                                 .flops = runlog_get(o, "flops"),
                                                 .seconds = runlog_get(o, "seconds"),
                                                 .loss = runlog_get(o, "loss"),
                                                 .mtp_loss = runlog_get(o, "mtp_loss"),
                                                 .balance_loss = runlog_get(o, "balance_loss"),
                                                 .bits_per_byte = runlog_get(o, "bits_per_byte"),
                                                 .lr = runlog_get(o, "lr"),
                                                 .grad_norm = runlog_get(o, "grad_norm"),
                                                 .tokens_per_s = runlog_get(o, "tokens_per_s"),
                                                 .peak_share = runlog_get(o, "peak_share"),
                                                 .load_spread = runlog_get(o, "load_spread"),
                                                 .energy_j = runlog_get(o, "energy_j")};
    return ERR_OK;
}

static err runlog_read_val(struct runlog_reader *f, const json_t *o, uint64_t step)
{
    struct runlog_val *list = runlog_grown(f, RUNLOG_VAL, f->r->vals, f->r->n_vals, sizeof *list);
    if (!list) {
        return ERR_NOMEM;
    }
    f->r->vals = list;
    struct runlog_val *v = &list[f->r->n_vals++];
    const json_t *sources = json_object_get(o, "sources");
    *v = (struct runlog_val){.step = step,
                             .tokens = runlog_get(o, "tokens"),
                             .flops = runlog_get(o, "flops"),
                             .seconds = runlog_get(o, "seconds"),
                             .loss = runlog_get(o, "loss"),
                             .bits_per_byte = runlog_get(o, "bits_per_byte")};
    v->sources = mem_calloc(json_array_size(sources), sizeof *v->sources);
    if (!v->sources) {
        return runlog_nomem(f);
    }
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *source = json_array_get(sources, i);
        struct runlog_source *s = &v->sources[v->n_sources++];
        s->bits_per_byte = runlog_get(source, "bits_per_byte");
        TRY(runlog_text(f, source, "name", &s->name));
    }
    return ERR_OK;
}

/* How many layers have experts, and how many: the same number in each. */
static err runlog_load_shape(struct runlog_reader *f, const json_t *layers, struct runlog_load *l)
{
    for (size_t i = 0; i < json_array_size(layers); i++) {
        size_t n = json_array_size(json_array_get(layers, i));
        if (n > 0 && l->n_layers > 0 && n != l->n_experts) {
            return err_set(f->info, ERR_CORRUPT,
                           "%s: layer %zu has the shares of %zu experts, another layer of %zu",
                           f->where, i, n, l->n_experts);
        }
        l->n_experts = n > 0 ? n : l->n_experts;
        l->n_layers += n > 0;
    }
    return ERR_OK;
}

static err runlog_read_load(struct runlog_reader *f, const json_t *o, uint64_t step)
{
    struct runlog_load *list =
        runlog_grown(f, RUNLOG_LOAD, f->r->loads, f->r->n_loads, sizeof *list);
    if (!list) {
        return ERR_NOMEM;
    }
    f->r->loads = list;
    struct runlog_load *l = &list[f->r->n_loads++];
    const json_t *layers = json_object_get(o, "layers");
    l->step = step;
    TRY(runlog_load_shape(f, layers, l));
    l->layers = mem_calloc(l->n_layers, sizeof *l->layers);
    l->shares =
        mem_calloc(l->n_layers * l->n_experts, sizeof *l->shares); /* as many as the line has */
    if (!l->layers || !l->shares) {
        return runlog_nomem(f);
    }
    size_t row = 0;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *shares = json_array_get(layers, i);
        for (size_t k = 0; k < json_array_size(shares); k++) {
            l->shares[row * l->n_experts + k] = (float)json_number_value(json_array_get(shares, k));
        }
        if (json_array_size(shares) > 0) {
            l->layers[row++] = (uint32_t)i;
        }
    }
    return ERR_OK;
}

static err runlog_read_sample(struct runlog_reader *f, const json_t *o, uint64_t step)
{
    struct runlog_sample *list =
        runlog_grown(f, RUNLOG_SAMPLE, f->r->samples, f->r->n_samples, sizeof *list);
    if (!list) {
        return ERR_NOMEM;
    }
    f->r->samples = list;
    struct runlog_sample *s = &list[f->r->n_samples++];
    s->step = step;
    TRY(runlog_text(f, o, "prompt", &s->prompt));
    return runlog_text(f, o, "text", &s->text);
}

static err runlog_read_task(struct runlog_reader *f, const json_t *o, uint64_t step)
{
    struct runlog_task *list =
        runlog_grown(f, RUNLOG_TASK, f->r->tasks, f->r->n_tasks, sizeof *list);
    if (!list) {
        return ERR_NOMEM;
    }
    f->r->tasks = list;
    struct runlog_task *t = &list[f->r->n_tasks++];
    *t = (struct runlog_task){
        .step = step, .score = runlog_get(o, "score"), .n = runlog_get(o, "n")};
    return runlog_text(f, o, "name", &t->name);
}

static err runlog_read_event(struct runlog_reader *f, const json_t *o, uint64_t step)
{
    struct runlog_event *list =
        runlog_grown(f, RUNLOG_EVENT, f->r->events, f->r->n_events, sizeof *list);
    if (!list) {
        return ERR_NOMEM;
    }
    f->r->events = list;
    struct runlog_event *v = &list[f->r->n_events++];
    v->step = step;
    return runlog_text(f, o, "text", &v->text);
}

/* ---- Lines. ---- */

static err runlog_read_record(struct runlog_reader *f, const json_t *o)
{
    static const struct {
        const char *kind;
        err (*read)(struct runlog_reader *f, const json_t *o, uint64_t step);
    } kinds[RUNLOG_KINDS] = {
        [RUNLOG_STEP] = {"step", runlog_read_step},
        [RUNLOG_VAL] = {"val", runlog_read_val},
        [RUNLOG_LOAD] = {"load", runlog_read_load},
        [RUNLOG_SAMPLE] = {"sample", runlog_read_sample},
        [RUNLOG_TASK] = {"task", runlog_read_task},
        [RUNLOG_EVENT] = {"event", runlog_read_event},
    };
    const char *kind;
    uint64_t step;
    err e = json_get_string(o, f->where, "kind", &kind, f->info);
    e = e == ERR_OK ? json_get_u64(o, f->where, "step", &step, f->info) : e;
    if (e != ERR_OK) {
        return err_prefix(f->info, e == ERR_NOMEM ? e : ERR_CORRUPT, "this is no record: ");
    }
    for (size_t k = 0; k < RUNLOG_KINDS; k++) {
        if (strcmp(kind, kinds[k].kind) == 0) {
            return kinds[k].read(f, o, step);
        }
    }
    return ERR_OK;
}

static err runlog_read_lines(struct runlog_reader *f, const char *path, const struct file_map *map)
{
    const char *at = (const char *)map->data, *end = at + map->size, *stop;
    for (size_t line = 1; at < end && (stop = memchr(at, '\n', (size_t)(end - at))) != NULL;
         line++) {
        json_t *record;
        snprintf(f->where, sizeof f->where, "%.250s, line %zu", path, line);
        TRY(json_parse_line(at, (size_t)(stop - at), f->where, &record, f->info));
        err e = runlog_read_record(f, record);
        json_decref(record);
        TRY(e);
        at = stop + 1;
    }
    return ERR_OK;
}

err runlog_read(const char *dir, struct runlog_records *out, struct errinfo *info)
{
    struct runlog_records r = {0};
    struct runlog_reader f = {.r = &r, .info = info};
    struct file_map map = {0};
    char *path = file_join(dir, RUNLOG_FILE);
    err e = path ? file_map_open(path, &map, info)
                 : err_set(info, ERR_NOMEM, "out of memory reading %s/" RUNLOG_FILE, dir);
    e = e == ERR_OK ? runlog_read_lines(&f, path, &map) : e;
    file_map_close(&map);
    mem_free(path);
    if (e != ERR_OK) {
        runlog_read_deinit(&r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void runlog_read_deinit(struct runlog_records *r)
{
    for (size_t i = 0; i < r->n_vals; i++) {
        for (size_t k = 0; k < r->vals[i].n_sources; k++) {
            mem_free(r->vals[i].sources[k].name);
        }
        mem_free(r->vals[i].sources);
    }
    for (size_t i = 0; i < r->n_loads; i++) {
        mem_free(r->loads[i].layers);
        mem_free(r->loads[i].shares);
    }
    for (size_t i = 0; i < r->n_samples; i++) {
        mem_free(r->samples[i].prompt);
        mem_free(r->samples[i].text);
    }
    for (size_t i = 0; i < r->n_tasks; i++) {
        mem_free(r->tasks[i].name);
    }
    for (size_t i = 0; i < r->n_events; i++) {
        mem_free(r->events[i].text);
    }
    mem_free(r->steps);
    mem_free(r->vals);
    mem_free(r->loads);
    mem_free(r->samples);
    mem_free(r->tasks);
    mem_free(r->events);
    *r = (struct runlog_records){0};
}

/* train/optimizer.c: see optimizer.h. One block of memory holds the state, in the order of the arrays. */
#include "train/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "tensor/updateops.h"
#include "train/muon.h"

enum { OPTIMIZER_ALIGN = 64, OPTIMIZER_MUON_STEPS = 20 };

static const double OPTIMIZER_NORM_MAX = 1e18; /* its square is a float */

/* A parameter that learns, and its state. */
struct optimizer_part {
    const struct learnparam *param;
    enum optimizer_group group;
    bool muon;
    struct mat first, second; /* momentum; or m and v */
};

struct optimizer {
    struct learnparams *params;
    struct optimizer_options options;
    struct compute *compute;
    struct optimizer_part *parts; /* [n] */
    size_t n;
    struct muon *muon; /* NULL without */
    double *sums;      /* [rows of the longest parameter] */
    void *memory;
    uint64_t steps;
};

/* ---- Options ---- */

static const char *const optimizer_group_names[OPTIMIZER_GROUPS] = {"matrices", "embeddings", "head",
                                                                    "routers", "vectors"};

struct optimizer_bound {
    const char *group, *name; /* group NULL: an option of all */
    double value;
    bool holds;
    const char *must;
};

static err optimizer_check_all(const struct optimizer_bound *bounds, size_t n, struct errinfo *info)
{
    for (size_t i = 0; i < n; i++) {
        const struct optimizer_bound *b = &bounds[i];
        if (!b->holds) {
            return err_set(info, ERR_ARGUMENT, "optimizer: %s%s%s is %g; it must be %s",
                           b->group ? b->group : "", b->group ? "." : "", b->name, b->value, b->must);
        }
    }
    return ERR_OK;
}

static err optimizer_check_rule(const struct optimizer_rule *r, const char *group, struct errinfo *info)
{
    const struct optimizer_bound bounds[] = {
        {group, "lr", r->lr, r->lr >= 0 && isfinite(r->lr), "0 or more"},
        {group, "weight_decay", r->weight_decay, r->weight_decay >= 0 && r->lr * r->weight_decay <= 1,
         "0 or more, and lr * weight_decay at most 1"},
        {group, "beta1", r->beta1, r->muon || (r->beta1 >= 0 && r->beta1 < 1), "0 or more and below 1"},
        {group, "beta2", r->beta2, r->muon || (r->beta2 >= 0 && r->beta2 < 1), "0 or more and below 1"},
        {group, "eps", r->eps, r->eps >= 1e-30 && r->eps <= 1, "1e-30 to 1"},
    };
    return optimizer_check_all(bounds, sizeof bounds / sizeof *bounds, info);
}

static err optimizer_check_muon(const struct optimizer_options *o, struct errinfo *info)
{
    const struct optimizer_bound bounds[] = {
        {NULL, "muon_momentum", o->muon_momentum, o->muon_momentum >= 0 && o->muon_momentum < 1,
         "0 or more and below 1"},
        {NULL, "muon_steps", o->muon_steps, o->muon_steps >= 1 && o->muon_steps <= OPTIMIZER_MUON_STEPS,
         "1 to 20"},
    };
    return optimizer_check_all(bounds, sizeof bounds / sizeof *bounds, info);
}

/* has: which groups there are. */
static err optimizer_check_groups(const struct optimizer_options *o, const bool has[OPTIMIZER_GROUPS],
                                  struct errinfo *info)
{
    const struct optimizer_bound clip = {NULL, "clip", o->clip, o->clip >= 0 && isfinite(o->clip),
                                         "0 (none) or more"};
    TRY(optimizer_check_all(&clip, 1, info));
    for (int g = 0; g < OPTIMIZER_GROUPS; g++) {
        if (has[g] && o->rules[g].muon && g != OPTIMIZER_MATRICES) {
            return err_set(info, ERR_ARGUMENT,
                           "optimizer: %s.muon is set; Muon is for matrices alone, use AdamW",
                           optimizer_group_names[g]);
        }
        if (has[g]) {
            TRY(optimizer_check_rule(&o->rules[g], optimizer_group_names[g], info));
        }
    }
    return o->rules[OPTIMIZER_MATRICES].muon ? optimizer_check_muon(o, info) : ERR_OK;
}

/* ---- Parts ---- */

enum optimizer_group optimizer_group_of(const struct learnparams *params, const struct learnparam *param)
{
    switch (param->kind) {
    case LEARNPARAMS_MATRIX: return OPTIMIZER_MATRICES;
    case LEARNPARAMS_EMBEDDING:
        return param == params->head && param != params->embed ? OPTIMIZER_HEAD : OPTIMIZER_EMBEDDINGS;
    case LEARNPARAMS_ROUTER: return OPTIMIZER_ROUTERS;
    case LEARNPARAMS_VECTOR: return OPTIMIZER_VECTORS;
    default: return OPTIMIZER_GROUPS; /* the balance */
    }
}

/* One array of state. */
static size_t optimizer_array_bytes(const struct learnparam *q)
{
    size_t n = q->value.rows * q->value.cols * mat_type_bytes(q->value.type);
    return (n + OPTIMIZER_ALIGN - 1) / OPTIMIZER_ALIGN * OPTIMIZER_ALIGN;
}

size_t optimizer_bytes(const struct learnparams *params, const struct optimizer_options *options)
{
    size_t bytes = 0;
    for (size_t i = 0; i < params->n; i++) {
        enum optimizer_group g = optimizer_group_of(params, &params->all[i]);
        if (g != OPTIMIZER_GROUPS) {
            bytes += optimizer_array_bytes(&params->all[i]) * (options->rules[g].muon ? 1 : 2);
        }
    }
    return bytes;
}

static struct mat optimizer_place(const struct learnparam *q, char **at)
{
    struct mat m = mat_of(*at, q->value.type, q->value.rows, q->value.cols);
    *at += optimizer_array_bytes(q);
    return m;
}

static void optimizer_list(struct optimizer *o)
{
    char *at = o->memory;
    for (size_t i = 0; i < o->params->n; i++) {
        const struct learnparam *q = &o->params->all[i];
        struct optimizer_part part = {.param = q, .group = optimizer_group_of(o->params, q)};
        if (part.group != OPTIMIZER_GROUPS) {
            part.muon = o->options.rules[part.group].muon;
            part.first = optimizer_place(q, &at);
            part.second = part.muon ? part.first : optimizer_place(q, &at);
            o->parts[o->n++] = part;
        }
    }
}

static err optimizer_make_muon(struct optimizer *o, struct errinfo *info)
{
    size_t n = 0;
    struct muon_part *list = mem_calloc(o->n, sizeof *list);
    if (!list) {
        return err_set(info, ERR_NOMEM, "out of memory listing Muon's matrices");
    }
    for (size_t i = 0; i < o->n; i++) {
        if (o->parts[i].muon) {
            list[n++] = (struct muon_part){o->parts[i].param, o->parts[i].first};
        }
    }
    err e = n ? muon_new(list, n, o->compute, &o->muon, info) : ERR_OK;
    mem_free(list);
    return e;
}

static err optimizer_make(struct optimizer *o, struct errinfo *info)
{
    const struct learnparams *p = o->params;
    bool has[OPTIMIZER_GROUPS + 1] = {false};
    size_t bytes = optimizer_bytes(p, &o->options), rows = 1;
    for (size_t i = 0; i < p->n; i++) {
        has[optimizer_group_of(p, &p->all[i])] = true;
        rows = p->all[i].value.rows > rows ? p->all[i].value.rows : rows;
    }
    TRY(optimizer_check_groups(&o->options, has, info));
    o->parts = mem_calloc(p->n, sizeof *o->parts);
    o->sums = mem_calloc(rows, sizeof *o->sums);
    o->memory = mem_alloc_aligned(bytes);
    if (!o->parts || !o->sums || !o->memory) {
        return err_set(info, ERR_NOMEM, "out of memory: %zu MB for the optimizer's state", bytes >> 20);
    }
    memset(o->memory, 0, bytes);
    optimizer_list(o);
    return optimizer_make_muon(o, info);
}

err optimizer_new(struct learnparams *params, const struct optimizer_options *options, struct compute *c,
                  struct optimizer **out, struct errinfo *info)
{
    struct optimizer *o = mem_calloc(1, sizeof *o);
    if (!o) {
        return err_set(info, ERR_NOMEM, "out of memory for the optimizer");
    }
    o->params = params;
    o->options = *options;
    o->compute = c;
    err e = optimizer_make(o, info);
    if (e != ERR_OK) {
        optimizer_free(o);
        return e;
    }
    *out = o;
    return ERR_OK;
}

void optimizer_free(struct optimizer *o)
{
    if (o) {
        muon_free(o->muon);
        mem_free_aligned(o->memory);
        mem_free(o->sums);
        mem_free(o->parts);
        mem_free(o);
    }
}

/* ---- A step ---- */

static double optimizer_grad_norm(struct optimizer *o)
{
    double total = 0;
    for (size_t i = 0; i < o->n; i++) {
        struct mat grad = o->parts[i].param->grad;
        updateops_squares(o->compute, grad, o->sums);
        total += updateops_total(o->sums, grad.rows);
    }
    return sqrt(total);
}

/* One parameter by AdamW; returns the sum of the squares of its directions. */
static double optimizer_adamw(struct optimizer *o, const struct optimizer_part *part, double lr_scale,
                              double grad_scale)
{
    const struct optimizer_rule *r = &o->options.rules[part->group];
    const struct learnparam *q = part->param;
    double rate = r->lr * lr_scale, t = (double)o->steps;
    const struct updateops_adamw a = {.value = q->value,
                                      .work = q->work,
                                      .grad = q->grad,
                                      .m = part->first,
                                      .v = part->second,
                                      .grad_scale = grad_scale,
                                      .beta1 = r->beta1,
                                      .beta2 = r->beta2,
                                      .m_scale = 1 / (1 - pow(r->beta1, t)),
                                      .v_scale = 1 / (1 - pow(r->beta2, t)),
                                      .eps = r->eps,
                                      .keep = 1 - rate * r->weight_decay,
                                      .rate = rate,
                                      .sums = o->sums};
    updateops_adamw(o->compute, &a);
    return updateops_total(o->sums, q->value.rows);
}

static err optimizer_muon(struct optimizer *o, double lr_scale, double grad_scale, double *squares,
                          struct errinfo *info)
{
    const struct optimizer_rule *r = &o->options.rules[OPTIMIZER_MATRICES];
    const struct muon_rule rule = {.rate = r->lr * lr_scale,
                                   .weight_decay = r->weight_decay,
                                   .momentum = o->options.muon_momentum,
                                   .eps = r->eps,
                                   .nesterov = o->options.muon_nesterov,
                                   .steps = o->options.muon_steps,
                                   .grad_scale = grad_scale};
    err e = muon_step(o->muon, &rule, squares);
    return e == ERR_OK ? e : err_set(info, e, "out of memory in a step of Muon: parameters are half changed, "
                                              "go back to a checkpoint");
}

err optimizer_step(struct optimizer *o, double lr_scale, struct optimizer_report *report, struct errinfo *info)
{
    struct optimizer_report r = {.clip_factor = 1};
    double squares[OPTIMIZER_GROUPS] = {0}, elements[OPTIMIZER_GROUPS] = {0};
    if (!(lr_scale >= 0) || !isfinite(lr_scale)) {
        return err_set(info, ERR_ARGUMENT, "optimizer: the learning rate's factor is %g; it must be 0 or more",
                       lr_scale);
    }
    r.grad_norm = optimizer_grad_norm(o);
    if (o->options.clip > 0 && r.grad_norm > o->options.clip) {
        r.clip_factor = o->options.clip / r.grad_norm;
    }
    r.finite = isfinite(r.grad_norm) && r.grad_norm * r.clip_factor <= OPTIMIZER_NORM_MAX;
    if (!r.finite) {
        *report = r;
        return ERR_OK;
    }
    if (o->muon) {
        TRY(optimizer_muon(o, lr_scale, r.clip_factor, &squares[OPTIMIZER_MATRICES], info));
    }
    o->steps++;
    for (size_t i = 0; i < o->n; i++) {
        const struct optimizer_part *part = &o->parts[i];
        squares[part->group] += part->muon ? 0 : optimizer_adamw(o, part, lr_scale, r.clip_factor);
        elements[part->group] += (double)part->param->value.rows * (double)part->param->value.cols;
    }
    for (int g = 0; g < OPTIMIZER_GROUPS; g++) {
        r.update_rms[g] = elements[g] > 0 ? sqrt(squares[g] / elements[g]) : 0;
    }
    *report = r;
    return ERR_OK;
}

/* ---- The state ---- */

size_t optimizer_n_arrays(const struct optimizer *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++) {
        n += o->parts[i].muon ? 1 : 2;
    }
    return n;
}

struct optimizer_array optimizer_array_at(const struct optimizer *o, size_t i)
{
    struct optimizer_array a;
    const struct optimizer_part *part = o->parts;
    for (; i >= (part->muon ? 1 : 2); part++) {
        i -= part->muon ? 1 : 2;
    }
    a.mat = i ? part->second : part->first;
    snprintf(a.name, sizeof a.name, "%s.%s", part->param->name, part->muon ? "momentum" : i ? "v" : "m");
    return a;
}

uint64_t optimizer_steps(const struct optimizer *o)
{
    return o->steps;
}

void optimizer_set_steps(struct optimizer *o, uint64_t steps)
{
    o->steps = steps;
}

/* tests/model/learngolden.h: reads the fixtures of tools/golden/learn.py and makes models that learn from them.
 * For test programs only. */
#ifndef TESTS_LEARNGOLDEN_H
#define TESTS_LEARNGOLDEN_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "model/learnmodel.h"

#define LEARNGOLDEN_DIR "tests/golden/learn/"

struct learngolden {
    const char *name;
    struct config config;
    struct file_map file;
    struct tensortable *table;
    size_t n_sequences, context;
    struct learnmodel_batch batch;
    struct learnmodel_scales scales;
    double z_loss;
    const double *losses; /* sum, mtp_sum, balance_sum, n, mtp_n */
};

/* "grad/" and "blk.0.attn_q.weight"; fails when there is none. */
static inline const struct tensor *learngolden_tensor(const struct learngolden *g, const char *kind, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", kind, name);
    const struct tensortable_entry *e = tensortable_find(g->table, full);
    if (!e) {
        fail_msg("%s: no %s", g->name, full);
    }
    return &e->tensor;
}

static inline void learngolden_table(const char *path, struct file_map *file, struct tensortable **table)
{
    struct errinfo info = {0};
    if (file_map_open(path, file, &info) != ERR_OK || tensortable_new(table, &info) != ERR_OK ||
        safetensors_parse(file->data, file->size, path, 0, *table, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
}

static inline void learngolden_config(const char *path, struct config *out)
{
    struct errinfo info = {0};
    json_t *json = NULL;
    if (json_parse_file(path, 1 << 16, &json, &info) != ERR_OK || config_from_recipe(json, out, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    json_decref(json);
}

static inline void learngolden_open(const char *name, struct learngolden *g)
{
    char path[128];
    *g = (struct learngolden){.name = name};
    snprintf(path, sizeof path, LEARNGOLDEN_DIR "%s/config.json", name);
    learngolden_config(path, &g->config);
    snprintf(path, sizeof path, LEARNGOLDEN_DIR "%s/case.safetensors", name);
    learngolden_table(path, &g->file, &g->table);
    const struct tensor *tokens = learngolden_tensor(g, "", "tokens");
    const double *scales = learngolden_tensor(g, "", "scales")->data;
    g->n_sequences = tokens->shape[0];
    g->context = tokens->shape[1];
    g->batch = (struct learnmodel_batch){tokens->data, learngolden_tensor(g, "", "targets")->data,
                                         learngolden_tensor(g, "", "positions")->data};
    g->scales = (struct learnmodel_scales){scales[0], scales[1], scales[2]};
    g->z_loss = scales[3];
    g->losses = learngolden_tensor(g, "", "losses")->data;
}

static inline void learngolden_close(struct learngolden *g)
{
    tensortable_free(g->table);
    file_map_close(&g->file);
}

/* A model with the fixture's values; gradients 0. */
static inline struct learnmodel *learngolden_model(const struct learngolden *g, bool exact, struct compute *compute)
{
    struct errinfo info = {0};
    struct learnmodel *m;
    const struct learnmodel_options o = {.exact = exact, .n_sequences = g->n_sequences, .context = g->context,
                                         .z_loss = (float)g->z_loss};
    if (learnmodel_new(&g->config, &o, compute, &m, &info) != ERR_OK) {
        fail_msg("%s: %s", g->name, info.message);
    }
    struct learnparams *p = learnmodel_params(m);
    for (size_t i = 0; i < p->n; i++) {
        const struct tensor *t = learngolden_tensor(g, "param/", p->all[i].name);
        const struct mat *v = &p->all[i].value;
        assert_int_equal(t->dtype, DTYPE_F32);
        assert_int_equal(tensor_elems(t), v->rows * v->cols);
        for (size_t k = 0; k < v->rows * v->cols; k++) {
            mat_set(v, k / v->cols, k % v->cols, (double)((const float *)t->data)[k]);
        }
    }
    learnparams_refresh(p);
    return m;
}

/* |mat - tensor| over |tensor|, both as vectors. NaN when one is in there. */
static inline double learngolden_distance(const struct mat *m, const struct tensor *t)
{
    double apart = 0, all = 0;
    for (size_t k = 0; k < m->rows * m->cols; k++) {
        double want = ((const double *)t->data)[k], d = mat_get(m, k / m->cols, k % m->cols) - want;
        apart += d * d;
        all += want * want;
    }
    return sqrt(apart / all);
}

#endif

/* train/trainpage.c: see trainpage.h. */
#include "train/trainpage.h"

#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "train/runreport.h"
#include "train/trainflops.h"

enum { TRAINPAGE_NAME = 96, TRAINPAGE_COMPUTED = 3, TRAINPAGE_VALUE = 96 };

struct trainpage {
    struct runreport_fact *facts;
    char (*names)[TRAINPAGE_NAME];
    char computed[TRAINPAGE_COMPUTED][TRAINPAGE_VALUE];
    size_t n;
};

static void trainpage_add(struct trainpage *p, const char *name, const char *value)
{
    p->facts[p->n++] = (struct runreport_fact){name, value};
}

static void trainpage_machine(struct trainpage *p, const struct trainer *t)
{
    const struct learnparams *params = learnmodel_params(t->model);
    const struct config *c = &t->recipe->config;
    char (*v)[TRAINPAGE_VALUE] = p->computed;
    snprintf(v[0], sizeof v[0], "%.2fM, of which %.2fM work on a token (without embedding and head)",
             (double)params->n_values * 1e-6, trainflops_active(c, params, false) * 1e-6);
    snprintf(v[1], sizeof v[1], "%.1f MFLOP", t->flops_per_token[1] * 1e-6);
    snprintf(v[2], sizeof v[2], "%d threads, %s", t->compute->n_threads, cpuinfo_level_name(t->compute->level));
    trainpage_add(p, "parameters", v[0]);
    trainpage_add(p, "arithmetic per token", v[1]);
    trainpage_add(p, "machine", v[2]);
}

static void trainpage_recipe(struct trainpage *p, const struct trainer *t)
{
    const char *section, *key;
    json_t *keys, *value;
    size_t at = 0;
    json_object_foreach(t->recipe->given, section, keys)
    {
        json_object_foreach(keys, key, value)
        {
            snprintf(p->names[at], TRAINPAGE_NAME, "%s.%s", section, key);
            trainpage_add(p, p->names[at++], json_string_value(value));
        }
    }
}

static size_t trainpage_keys(const json_t *recipe)
{
    const char *section;
    json_t *keys;
    size_t n = 0;
    json_object_foreach((json_t *)recipe, section, keys)
    {
        n += json_object_size(keys);
    }
    return n;
}

err trainpage_write(const struct trainer *t, const char *dir, const char *to, bool running,
                    struct errinfo *info)
{
    struct trainpage p = {0};
    size_t n = trainpage_keys(t->recipe->given);
    TRY(file_make_dirs(to, info));
    p.facts = mem_calloc(n + TRAINPAGE_COMPUTED, sizeof *p.facts);
    p.names = mem_calloc(n + 1, sizeof *p.names);
    err e = p.facts && p.names ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory for the page of the run");
    if (e == ERR_OK) {
        trainpage_machine(&p, t);
        trainpage_recipe(&p, t);
        const struct runreport_about about = {.title = t->recipe->name,
                                              .facts = p.facts,
                                              .n_facts = p.n,
                                              .planned_tokens = t->recipe->tokens,
                                              .running = running};
        e = runreport_write(dir, to, &about, info);
    }
    mem_free(p.facts);
    mem_free(p.names);
    return e;
}

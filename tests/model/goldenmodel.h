/* tests/model/goldenmodel.h: reads the fixtures of tools/golden/model.py and runs a model over them in
 * one or several steps, keeping what the observer saw. For test programs only. */
#ifndef TESTS_GOLDENMODEL_H
#define TESTS_GOLDENMODEL_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/model.h"

#define GOLDENMODEL_DIR "tests/golden/model/"

struct goldenmodel {
    char *data;
    size_t n_tokens, n_layers, hidden, vocab;
    const int32_t *tokens;
    const float *layers; /* [n_layers + 1][n_tokens][hidden], the last is the final norm */
    const float *logits; /* [n_tokens][vocab] */
};

static inline void goldenmodel_load(const char *name, struct goldenmodel *g)
{
    char path[256];
    size_t size;
    snprintf(path, sizeof path, GOLDENMODEL_DIR "%s/expected.bin", name);
    assert_int_equal(file_read(path, 1 << 24, &g->data, &size, NULL), ERR_OK);
    const int32_t *head = (const int32_t *)(void *)g->data;
    g->n_tokens = (size_t)head[0];
    g->n_layers = (size_t)head[1];
    g->hidden = (size_t)head[2];
    g->vocab = (size_t)head[3];
    g->tokens = head + 4;
    g->layers = (const float *)(const void *)(head + 4 + g->n_tokens);
    g->logits = g->layers + (g->n_layers + 1) * g->n_tokens * g->hidden;
    assert_int_equal(size, (const char *)(g->logits + g->n_tokens * g->vocab) - g->data);
}

static inline void goldenmodel_free(struct goldenmodel *g)
{
    mem_free(g->data);
}

/* "NAME" is the folder, "NAME.gguf" its model.gguf. */
static inline struct model *goldenmodel_open(const char *name)
{
    char path[256];
    struct errinfo info = {0};
    struct model *m = NULL;
    const char *dot = strstr(name, ".gguf");
    int n = dot ? (int)(dot - name) : (int)strlen(name);
    snprintf(path, sizeof path, GOLDENMODEL_DIR "%.*s%s", n, name, dot ? "/model.gguf" : "");
    if (model_open(path, &m, &info) != ERR_OK) {
        fail_msg("%s: %s", name, info.message);
    }
    return m;
}

/* A cache with rows of its own. */
static inline struct model_cache *goldenmodel_cache(const struct model *m, enum dtype t, size_t cap)
{
    struct model_cache *c = calloc(1, sizeof *c);
    size_t n = (cap + MODEL_CACHE_PAGE - 1) / MODEL_CACHE_PAGE;
    const struct model_cache_shape s = {
        model_config(m)->num_hidden_layers, model_cache_k_width(m), model_cache_v_width(m), t};
    *c = (struct model_cache){.dtype = t, .capacity = cap};
    c->pages = calloc(n, sizeof *c->pages);
    for (size_t i = 0; i < n; i++) {
        c->pages[i] = calloc(1, model_cache_k_offset(&s, s.n_layers));
    }
    return c;
}

static inline void goldenmodel_cache_free(struct model_cache *c)
{
    for (size_t i = 0; i * MODEL_CACHE_PAGE < c->capacity; i++) {
        free(c->pages[i]);
    }
    free(c->pages);
    free(c);
}

struct goldenmodel_seen {
    size_t n_tokens, hidden, first; /* first: token of the whole sequence this step begins with */
    float *layers;                  /* as in struct goldenmodel */
};

static inline void goldenmodel_observe(void *user, int layer, const float *x, size_t n)
{
    struct goldenmodel_seen *s = user;
    if (layer >= 0) {
        memcpy(s->layers + ((size_t)layer * s->n_tokens + s->first) * s->hidden, x,
               n * s->hidden * sizeof *x);
    }
}

/* How a sequence is run. */
struct goldenmodel_run {
    enum cpuinfo_level level;
    int threads;
    bool deterministic;
    size_t chunk; /* tokens per step, 0: all */
    enum dtype cache;
};

/* Runs `tokens`; logits [n, vocab] (malloc) in *logits, layers (malloc) in *layers unless NULL. */
static inline void goldenmodel_forward(const struct model *m, const struct goldenmodel_run *run,
                                       const int32_t *tokens, size_t n, float **logits,
                                       float **layers)
{
    const struct config *c = model_config(m);
    size_t chunk = run->chunk ? run->chunk : n;
    struct errinfo info = {0};
    struct compute *compute = NULL;
    struct model_workspace *w = NULL;
    assert_int_equal(compute_new(run->level, run->threads, run->deterministic, &compute, &info), 0);
    assert_int_equal(model_workspace_new(m, chunk, &w, &info), ERR_OK);
    struct model_cache *cache = goldenmodel_cache(m, run->cache, n);
    struct goldenmodel_seen seen = {.n_tokens = n, .hidden = c->hidden_size};
    seen.layers = calloc((c->num_hidden_layers + 1) * n, c->hidden_size * sizeof(float));
    *logits = calloc(n, c->vocab_size * sizeof(float));
    for (size_t t = 0; t < n; t += chunk) {
        seen.first = t;
        struct model_segment seg = {.cache = cache,
                                    .tokens = tokens + t,
                                    .n_tokens = n - t < chunk ? n - t : chunk,
                                    .logits = *logits + t * c->vocab_size,
                                    .all_logits = true};
        if (model_forward(m, compute, w, &seg, 1, goldenmodel_observe, &seen, &info) != ERR_OK) {
            fail_msg("%s", info.message);
        }
    }
    assert_int_equal(cache->len, n);
    if (layers) {
        *layers = seen.layers;
    } else {
        free(seen.layers);
    }
    goldenmodel_cache_free(cache);
    model_workspace_free(w);
    compute_free(compute);
}

/* Largest |a - b| over largest |b|, row by row; the worst row. NaN gives infinity. */
static inline double goldenmodel_distance(const float *a, const float *b, size_t rows, size_t n)
{
    double worst = 0;
    for (size_t r = 0; r < rows; r++) {
        double diff = 0, top = 1e-30;
        for (size_t i = r * n; i < (r + 1) * n; i++) {
            double d = fabs((double)a[i] - (double)b[i]);
            diff = d > diff ? d : (d == d ? diff : INFINITY);
            top = fmax(top, fabs((double)b[i]));
        }
        worst = fmax(worst, diff / top);
    }
    return worst;
}

#endif

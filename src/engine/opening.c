/* engine/opening.c: see opening.h. */
#include "engine/opening.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "engine/kvcache.h"

enum { OPENING_POSITIONS = 16, OPENING_SECONDS = 10 };

/* Memory of this process that no file stands behind; 0 when the system does not say. */
static size_t opening_private(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    size_t kib = 0;
    while (f && fgets(line, sizeof line, f) && sscanf(line, "RssAnon: %zu kB", &kib) != 1) {
    }
    if (f) {
        fclose(f);
    }
    return kib * 1024;
}

struct opening_parts {
    struct model *model;
    struct model_workspace *workspace;
    struct kvcache kv;
    float *logits;
};

static err opening_ready(struct opening_parts *p, const char *path, size_t chunk, enum dtype kv_type,
                         struct errinfo *info)
{
    TRY(model_open(path, &p->model, info));
    TRY(model_workspace_new(p->model, chunk, &p->workspace, info));
    struct model_cache_shape shape = kvcache_shape_of(p->model, kv_type);
    TRY(kvcache_init(&p->kv, &shape, OPENING_POSITIONS, SIZE_MAX, info));
    p->logits = mem_alloc_aligned(model_config(p->model)->vocab_size * sizeof *p->logits);
    return p->logits ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory for a row of logits");
}

static void opening_close(struct opening_parts *p)
{
    mem_free_aligned(p->logits);
    kvcache_deinit(&p->kv);
    model_workspace_free(p->workspace);
    model_close(p->model);
    *p = (struct opening_parts){0};
}

static err opening_first_token(struct opening_parts *p, struct compute *c, struct errinfo *info)
{
    const int32_t token = 0;
    struct model_segment s = {
        .cache = &p->kv.cache, .tokens = &token, .n_tokens = 1, .logits = p->logits};
    return model_forward(p->model, c, p->workspace, &s, 1, NULL, NULL, info);
}

static err opening_once(const char *path, struct compute *c, size_t chunk, enum dtype kv_type,
                        double *opened, double *seconds, size_t *bytes, struct errinfo *info)
{
    struct opening_parts p = {0};
    size_t before = opening_private();
    double start = progress_clock();
    err e = opening_ready(&p, path, chunk, kv_type, info);
    *opened = progress_clock() - start;
    if (e == ERR_OK) {
        e = opening_first_token(&p, c, info);
    }
    *seconds = progress_clock() - start;
    size_t after = opening_private();
    *bytes = after > before ? after - before : 0;
    opening_close(&p);
    return e;
}

err opening_measure(const char *path, struct compute *c, size_t chunk, enum dtype kv_type, size_t runs,
                    struct opening *out, struct errinfo *info)
{
    double seconds[BENCHMARK_RUNS_MAX], opened[BENCHMARK_RUNS_MAX], total = 0;
    size_t bytes, most = 0, n = 0;
    TRY(opening_once(path, c, chunk, kv_type, &opened[0], &seconds[0], &most, info));
    runs = runs < BENCHMARK_RUNS_MAX ? runs : BENCHMARK_RUNS_MAX;
    while (n == 0 || (n < runs && total < OPENING_SECONDS)) {
        TRY(opening_once(path, c, chunk, kv_type, &opened[n], &seconds[n], &bytes, info));
        total += seconds[n++];
        most = bytes > most ? bytes : most; /* freed memory may serve again and not show */
    }
    struct opening r = {.runs = n, .private_bytes = most};
    r.median = benchmark_median(seconds, n);
    r.open_median = benchmark_median(opened, n);
    r.min = seconds[0];
    r.max = seconds[n - 1];
    *out = r;
    return ERR_OK;
}

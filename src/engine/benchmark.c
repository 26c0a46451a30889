/* engine/benchmark.c: see benchmark.h. */
#include "engine/benchmark.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/meminfo.h"
#include "base/progress.h"
#include "base/rng.h"
#include "engine/kvcache.h"

struct benchmark {
    const struct model *model;
    struct compute *compute;
    const struct roof *roof;
    size_t chunk;
    enum dtype kv_type;
    struct model_workspace *workspace;
    float *logits; /* [BENCHMARK_BATCH_MAX or fewer, vocab] grown per test */
    size_t logits_rows;
    int32_t *tokens; /* [chunk] */
    struct kvcache caches[BENCHMARK_BATCH_MAX];
    size_t n_caches;
    struct rng rng;
};

double benchmark_prefill_flops(const struct model *m, size_t n, size_t depth)
{
    const struct config *c = model_config(m);
    double head = (double)c->vocab_size * (double)c->hidden_size;
    double widths = config_is_mla(c)
                        ? (double)(c->qk_nope_head_dim + c->qk_rope_head_dim + c->v_head_dim)
                        : 2.0 * (double)c->head_dim;
    double pairs = (double)n * (double)depth + 0.5 * (double)n * (double)(n + 1);
    double attention =
        2.0 * widths * (double)c->num_attention_heads * (double)c->num_hidden_layers * pairs;
    double weights = (double)model_active_parameters(m) - head;
    return 2.0 * weights * (double)n + 2.0 * head + attention;
}

double benchmark_decode_bytes(const struct model *m, size_t depth, enum dtype kv_type)
{
    size_t width = model_cache_k_width(m) + model_cache_v_width(m);
    return (double)model_active_bytes(m) + (double)depth * (double)width *
                                               (double)dtype_info(kv_type)->block_bytes *
                                               (double)model_config(m)->num_hidden_layers;
}

err benchmark_new(const struct model *m, struct compute *c, const struct roof *roof, size_t chunk,
                  enum dtype kv_type, struct benchmark **out, struct errinfo *info)
{
    struct benchmark *b = mem_calloc(1, sizeof *b);
    if (!b) {
        return err_set(info, ERR_NOMEM, "out of memory for the benchmark");
    }
    *b = (struct benchmark){
        .model = m, .compute = c, .roof = roof, .chunk = chunk, .kv_type = kv_type};
    rng_seed(&b->rng, 7);
    b->tokens = mem_alloc(chunk * sizeof *b->tokens);
    err e = b->tokens ? model_workspace_new(m, chunk, &b->workspace, info)
                      : err_set(info, ERR_NOMEM, "out of memory for the benchmark");
    if (e != ERR_OK) {
        benchmark_free(b);
        return e;
    }
    *out = b;
    return ERR_OK;
}

void benchmark_free(struct benchmark *b)
{
    if (!b) {
        return;
    }
    for (size_t i = 0; i < b->n_caches; i++) {
        kvcache_deinit(&b->caches[i]);
    }
    model_workspace_free(b->workspace);
    mem_free_aligned(b->logits);
    mem_free(b->tokens);
    mem_free(b);
}

/* `batch` caches of `capacity` positions, the first `depth` of them filled with zeros. */
static err benchmark_prepare(struct benchmark *b, size_t batch, size_t capacity, size_t depth,
                             struct errinfo *info)
{
    for (size_t i = 0; i < b->n_caches; i++) {
        kvcache_deinit(&b->caches[i]);
    }
    b->n_caches = 0;
    struct kvcache_shape shape = kvcache_shape_of(b->model, b->kv_type);
    for (size_t i = 0; i < batch; i++) {
        struct kvcache *kv = &b->caches[i];
        TRY(kvcache_init(kv, &shape, capacity, meminfo_available(), info));
        b->n_caches++;
        kv->cache.len = depth;
        for (size_t layer = 0; layer < shape.n_layers; layer++) {
            memset(kv->cache.k[layer], 0, kvcache_k_filled(kv));
            if (shape.v_width > 0) {
                memset(kv->cache.v[layer], 0, kvcache_v_filled(kv));
            }
        }
    }
    if (batch > b->logits_rows) {
        mem_free_aligned(b->logits);
        b->logits = mem_alloc_aligned(batch * model_config(b->model)->vocab_size * sizeof(float));
        b->logits_rows = b->logits ? batch : 0;
        if (!b->logits) {
            return err_set(info, ERR_NOMEM, "out of memory for %zu rows of logits", batch);
        }
    }
    return ERR_OK;
}

static void benchmark_random_tokens(struct benchmark *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        b->tokens[i] = (int32_t)(rng_u64(&b->rng) % model_config(b->model)->vocab_size);
    }
}

static err benchmark_prefill(struct benchmark *b, size_t n, struct errinfo *info)
{
    for (size_t done = 0; done < n;) {
        size_t now = n - done < b->chunk ? n - done : b->chunk;
        benchmark_random_tokens(b, now);
        struct model_segment s = {.cache = &b->caches[0].cache,
                                  .tokens = b->tokens,
                                  .n_tokens = now,
                                  .logits = done + now == n ? b->logits : NULL};
        TRY(model_forward(b->model, b->compute, b->workspace, &s, 1, NULL, NULL, info));
        done += now;
    }
    return ERR_OK;
}

static err benchmark_decode(struct benchmark *b, size_t steps, size_t batch, struct errinfo *info)
{
    struct model_segment segments[BENCHMARK_BATCH_MAX];
    size_t vocab = model_config(b->model)->vocab_size;
    for (size_t step = 0; step < steps; step++) {
        benchmark_random_tokens(b, batch);
        for (size_t i = 0; i < batch; i++) {
            segments[i] = (struct model_segment){.cache = &b->caches[i].cache,
                                                 .tokens = b->tokens + i,
                                                 .n_tokens = 1,
                                                 .logits = b->logits + i * vocab};
        }
        TRY(model_forward(b->model, b->compute, b->workspace, segments, batch, NULL, NULL, info));
    }
    return ERR_OK;
}

static int benchmark_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void benchmark_name(const struct benchmark_test *t, char *out, size_t n)
{
    int used = snprintf(out, n, "%s%zu", t->kind == BENCHMARK_PREFILL ? "pp" : "tg", t->tokens);
    if (t->batch > 1) {
        used += snprintf(out + used, n - (size_t)used, "x%zu", t->batch);
    }
    if (t->depth > 0) {
        snprintf(out + used, n - (size_t)used, "@%zu", t->depth);
    }
}

static double benchmark_roof_pct(const struct benchmark *b, const struct benchmark_test *t,
                                 double tokens_per_s)
{
    if (!b->roof || t->batch > 1) {
        return -1;
    }
    if (t->kind == BENCHMARK_PREFILL) {
        double flops = benchmark_prefill_flops(b->model, t->tokens, t->depth);
        return 100.0 * flops * tokens_per_s / (double)t->tokens / b->roof->float_flops;
    }
    double bytes = benchmark_decode_bytes(b->model, t->depth + t->tokens / 2, b->kv_type);
    return 100.0 * bytes * tokens_per_s / (b->roof->read_gbs * 1e9);
}

err benchmark_run(struct benchmark *b, const struct benchmark_test *t, struct benchmark_result *out,
                  struct errinfo *info)
{
    size_t batch = t->kind == BENCHMARK_DECODE ? t->batch : 1;
    if (batch == 0 || batch > BENCHMARK_BATCH_MAX || batch > b->chunk || t->runs == 0 ||
        t->runs > BENCHMARK_RUNS_MAX || t->tokens == 0) {
        return err_set(info, ERR_ARGUMENT, "a benchmark needs 1 to %d runs and 1 to %d sequences",
                       BENCHMARK_RUNS_MAX, BENCHMARK_BATCH_MAX);
    }
    TRY(benchmark_prepare(b, batch, t->depth + t->tokens, t->depth, info));
    double rates[BENCHMARK_RUNS_MAX], total = 0;
    for (size_t run = 0; run < t->runs + 1; run++) {
        for (size_t i = 0; i < batch; i++) {
            b->caches[i].cache.len = t->depth;
        }
        double start = progress_clock();
        TRY(t->kind == BENCHMARK_PREFILL ? benchmark_prefill(b, t->tokens, info)
                                         : benchmark_decode(b, t->tokens, batch, info));
        double seconds = progress_clock() - start;
        total += seconds;
        if (run > 0) { /* the first one warms caches and page tables */
            rates[run - 1] = (double)(t->tokens * batch) / seconds;
        }
    }
    qsort(rates, t->runs, sizeof *rates, benchmark_compare);
    size_t mid = t->runs / 2;
    struct benchmark_result r = {
        .median = t->runs % 2 ? rates[mid] : 0.5 * (rates[mid - 1] + rates[mid]),
        .min = rates[0],
        .max = rates[t->runs - 1],
        .seconds = total};
    benchmark_name(t, r.name, sizeof r.name);
    r.roof_pct = benchmark_roof_pct(b, t, r.median);
    *out = r;
    return ERR_OK;
}

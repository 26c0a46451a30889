/* engine/benchmark.c: see benchmark.h. */
#include "engine/benchmark.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/meminfo.h"
#include "base/progress.h"
#include "base/rng.h"
#include "engine/kvcache.h"
#include "model/workspace.h"
#include "tensor/opstimer.h"

/* Left to the rest of the machine when weights are made to measure. */
enum { BENCHMARK_RESERVE = 1 << 30, BENCHMARK_RESERVE_SHARE = 8 };

struct benchmark {
    const struct model *model;
    struct compute *compute;
    struct roof_gauge *gauge;
    size_t chunk;
    enum dtype kv_type;
    struct model_workspace *workspace;
    float *logits; /* [BENCHMARK_BATCH_MAX or fewer, vocab] grown per test */
    size_t logits_rows;
    int32_t *tokens; /* [chunk] */
    struct kvcache caches[BENCHMARK_BATCH_MAX];
    size_t n_caches;
    struct rng rng;
    struct benchmark_test test; /* that was started last */
    struct workload work;       /* of one run of it */
    enum workload_bound bound;
    char name[BENCHMARK_NAME];
    struct progress progress; /* of that test */
    size_t tokens_done;
    bool (*keep_going)(void); /* NULL: always */
};

static size_t benchmark_batch(const struct benchmark_test *t)
{
    return t->kind == BENCHMARK_DECODE ? t->batch : 1;
}

/* Bytes of all caches of a test. */
static bool benchmark_cache_bytes(const struct model_cache_shape *shape, const struct benchmark_test *t,
                                  size_t *out)
{
    size_t positions, one;
    return checked_add(t->depth, t->tokens, &positions) && kvcache_bytes(shape, positions, &one) &&
           checked_mul(one, benchmark_batch(t), out);
}

/* The tests' largest caches, and the largest rows of logits. */
static bool benchmark_tests_bytes(const struct config *c, enum dtype kv_type,
                                  const struct benchmark_test *tests, size_t n, size_t *out)
{
    struct model_cache_shape shape = kvcache_shape_planned(c, kv_type);
    size_t caches = 0, rows = 0, bytes;
    for (size_t i = 0; i < n; i++) {
        if (!benchmark_cache_bytes(&shape, &tests[i], &bytes)) {
            return false;
        }
        caches = bytes > caches ? bytes : caches;
        rows = benchmark_batch(&tests[i]) > rows ? benchmark_batch(&tests[i]) : rows;
    }
    return checked_mul(rows, c->vocab_size * sizeof(float), &bytes) &&
           checked_add(bytes, caches, out);
}

/* Every layer's key half of kv_b the other way round, at most in F32. */
static bool benchmark_absorbed_bytes(const struct config *c, size_t *out)
{
    size_t head = config_is_mla(c) ? c->qk_nope_head_dim * c->kv_lora_rank * sizeof(float) : 0;
    return checked_mul(head, c->num_attention_heads * c->num_hidden_layers, out);
}

err benchmark_bytes(const struct config *c, size_t chunk, enum dtype kv_type,
                    const struct benchmark_test *tests, size_t n, size_t *out, struct errinfo *info)
{
    size_t activations = workspace_bytes(c, chunk), absorbed, bytes;
    if (activations == 0 || !benchmark_tests_bytes(c, kv_type, tests, n, &bytes) ||
        !benchmark_absorbed_bytes(c, &absorbed) || !checked_add(bytes, absorbed, &bytes) ||
        !checked_add(bytes, activations, &bytes)) {
        return err_set(info, ERR_LIMIT, "tests of this size cannot be addressed; use a smaller "
                       "--depth, --prompt, --batch or --chunk");
    }
    *out = bytes;
    return ERR_OK;
}

err benchmark_weight_budget(size_t available, size_t need, size_t *out, struct errinfo *info)
{
    size_t reserve = available / BENCHMARK_RESERVE_SHARE;
    reserve = reserve < BENCHMARK_RESERVE ? BENCHMARK_RESERVE : reserve;
    reserve = reserve > available / 2 ? available / 2 : reserve;
    if (need >= available - reserve) {
        char needed[MEMINFO_TEXT], have[MEMINFO_TEXT], kept[MEMINFO_TEXT];
        return err_set(info, ERR_NOMEM,
                       "the largest test needs %s beside the weights (key/value cache, activations, "
                       "logits); %s of memory is available and %s of it stays free for the rest of the "
                       "machine. Use a smaller --depth, --prompt, --batch or --chunk",
                       meminfo_text(need, needed), meminfo_text(available, have),
                       meminfo_text(reserve, kept));
    }
    *out = available - reserve - need;
    return ERR_OK;
}

err benchmark_new(const struct model *m, struct compute *c, struct roof_gauge *gauge, size_t chunk,
                  enum dtype kv_type, struct benchmark **out, struct errinfo *info)
{
    struct benchmark *b = mem_calloc(1, sizeof *b);
    if (!b) {
        return err_set(info, ERR_NOMEM, "out of memory for the benchmark");
    }
    *b = (struct benchmark){
        .model = m, .compute = c, .gauge = gauge, .chunk = chunk, .kv_type = kv_type};
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

static err benchmark_check_memory(const struct benchmark_test *t, const struct model_cache_shape *shape,
                                  struct errinfo *info)
{
    size_t bytes, available = meminfo_available();
    char need[MEMINFO_TEXT], have[MEMINFO_TEXT];
    if (!benchmark_cache_bytes(shape, t, &bytes)) {
        return err_set(info, ERR_LIMIT, "a test of this size cannot be addressed; use a smaller "
                       "--depth, --prompt or --batch");
    }
    if (bytes > available) {
        return err_set(info, ERR_NOMEM,
                       "a test of %zu positions and %zu sequences needs %s of memory for its key/value "
                       "cache, and %s is available; use a smaller %s",
                       t->depth + t->tokens, benchmark_batch(t), meminfo_text(bytes, need),
                       meminfo_text(available, have),
                       t->kind == BENCHMARK_PREFILL ? "--prompt" : "--depth or --batch");
    }
    return ERR_OK;
}

/* Caches for every sequence of the test, the first `depth` positions filled with zeros. */
static err benchmark_prepare(struct benchmark *b, const struct benchmark_test *t,
                             struct errinfo *info)
{
    size_t batch = benchmark_batch(t);
    for (size_t i = 0; i < b->n_caches; i++) {
        kvcache_deinit(&b->caches[i]);
    }
    b->n_caches = 0;
    struct model_cache_shape shape = kvcache_shape_of(b->model, b->kv_type);
    TRY(benchmark_check_memory(t, &shape, info));
    for (size_t i = 0; i < batch; i++) {
        struct kvcache *kv = &b->caches[i];
        TRY(kvcache_init(kv, &shape, t->depth + t->tokens, SIZE_MAX, info));
        b->n_caches++;
        kv->cache.len = t->depth;
        for (size_t layer = 0; layer < shape.n_layers; layer++) {
            size_t n;
            char *rows;
            for (size_t piece = 0; (rows = kvcache_piece(kv, layer, piece, &n)); piece++) {
                memset(rows, 0, n);
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

void benchmark_watch(struct benchmark *b, bool (*keep_going)(void))
{
    b->keep_going = keep_going;
}

/* Before each step. */
static err benchmark_ask(const struct benchmark *b, struct errinfo *info)
{
    return !b->keep_going || b->keep_going()
               ? ERR_OK
               : err_set(info, ERR_CANCELLED, "stopped in the midst of %s", b->name);
}

static void benchmark_random_tokens(struct benchmark *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        b->tokens[i] = (int32_t)(rng_u64(&b->rng) % model_config(b->model)->vocab_size);
    }
}

static void benchmark_tick(struct benchmark *b, size_t tokens)
{
    b->tokens_done += tokens;
    progress_update(&b->progress, b->tokens_done);
}

static err benchmark_prefill(struct benchmark *b, size_t n, struct errinfo *info)
{
    for (size_t done = 0; done < n;) {
        size_t now = n - done < b->chunk ? n - done : b->chunk;
        TRY(benchmark_ask(b, info));
        benchmark_random_tokens(b, now);
        struct model_segment s = {.cache = &b->caches[0].cache,
                                  .tokens = b->tokens,
                                  .n_tokens = now,
                                  .logits = done + now == n ? b->logits : NULL};
        TRY(model_forward(b->model, b->compute, b->workspace, &s, 1, NULL, NULL, info));
        done += now;
        benchmark_tick(b, now);
    }
    return ERR_OK;
}

static err benchmark_decode(struct benchmark *b, size_t steps, size_t batch, struct errinfo *info)
{
    struct model_segment segments[BENCHMARK_BATCH_MAX];
    size_t vocab = model_config(b->model)->vocab_size;
    for (size_t step = 0; step < steps; step++) {
        TRY(benchmark_ask(b, info));
        benchmark_random_tokens(b, batch);
        for (size_t i = 0; i < batch; i++) {
            segments[i] = (struct model_segment){.cache = &b->caches[i].cache,
                                                 .tokens = b->tokens + i,
                                                 .n_tokens = 1,
                                                 .logits = b->logits + i * vocab};
        }
        TRY(model_forward(b->model, b->compute, b->workspace, segments, batch, NULL, NULL, info));
        benchmark_tick(b, batch);
    }
    return ERR_OK;
}

static int benchmark_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double benchmark_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, benchmark_compare);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

const char *benchmark_name(const struct benchmark_test *t, char out[BENCHMARK_NAME])
{
    int used = snprintf(out, BENCHMARK_NAME, "%s%zu", t->kind == BENCHMARK_PREFILL ? "pp" : "tg",
                        t->tokens);
    if (t->batch > 1) {
        used += snprintf(out + used, BENCHMARK_NAME - (size_t)used, "x%zu", t->batch);
    }
    if (t->depth > 0) {
        snprintf(out + used, BENCHMARK_NAME - (size_t)used, "@%zu", t->depth);
    }
    return out;
}

/* What one run has to do at the least, and which roof it will meet. */
static void benchmark_count(struct benchmark *b, const struct benchmark_test *t)
{
    if (t->kind == BENCHMARK_PREFILL) {
        b->work = workload_prefill(b->model, t->tokens, t->depth, b->chunk, b->kv_type);
    } else {
        struct workload step =
            workload_decode(b->model, t->batch, t->depth + t->tokens / 2, b->kv_type);
        b->work = (struct workload){.flops = step.flops * (double)t->tokens,
                                    .bytes = step.bytes * (double)t->tokens};
    }
    if (b->gauge) {
        const struct roof *r = roof_gauge_first(b->gauge);
        b->bound = workload_bound_of(&b->work, r->float_flops, r->read_gbs * 1e9);
    }
}

static double benchmark_roof(struct benchmark *b)
{
    return b->bound == WORKLOAD_COMPUTE ? roof_gauge_flops(b->gauge)
                                        : roof_gauge_read(b->gauge) * 1e9;
}

/* One run; its seconds, and those of them in neither matrix products nor attention. */
static err benchmark_timed(struct benchmark *b, double *seconds, double *overhead,
                           struct errinfo *info)
{
    const struct benchmark_test *t = &b->test;
    size_t batch = benchmark_batch(t);
    for (size_t i = 0; i < batch; i++) {
        b->caches[i].cache.len = t->depth;
    }
    struct opstimer timer;
    opstimer_begin(&timer, b->compute);
    double start = progress_clock();
    err e = t->kind == BENCHMARK_PREFILL ? benchmark_prefill(b, t->tokens, info)
                                         : benchmark_decode(b, t->tokens, batch, info);
    *seconds = progress_clock() - start;
    opstimer_end(&timer, b->compute);
    *overhead = *seconds - timer.matmul_seconds - timer.attention_seconds;
    return e;
}

err benchmark_start(struct benchmark *b, const struct benchmark_test *t, struct errinfo *info)
{
    size_t batch = benchmark_batch(t);
    double seconds, overhead;
    if (batch == 0 || batch > BENCHMARK_BATCH_MAX || batch > b->chunk || t->runs == 0 ||
        t->runs > BENCHMARK_RUNS_MAX || t->tokens == 0) {
        return err_set(info, ERR_ARGUMENT, "a benchmark needs 1 to %d runs and 1 to %d sequences",
                       BENCHMARK_RUNS_MAX, BENCHMARK_BATCH_MAX);
    }
    TRY(benchmark_prepare(b, t, info));
    b->test = *t;
    benchmark_name(t, b->name);
    benchmark_count(b, t);
    b->tokens_done = 0;
    progress_init(&b->progress, b->name, PROGRESS_TOKENS, t->tokens * batch * (t->runs + 1));
    err e = benchmark_timed(b, &seconds, &overhead, info); /* warms caches and page tables */
    progress_finish(&b->progress);
    return e;
}

err benchmark_once(struct benchmark *b, struct benchmark_sample *out, struct errinfo *info)
{
    double seconds, overhead;
    struct benchmark_sample s = {0};
    double before = b->gauge ? benchmark_roof(b) : 0;
    err e = benchmark_timed(b, &seconds, &overhead, info);
    progress_finish(&b->progress);
    TRY(e);
    double tokens = (double)(b->test.tokens * benchmark_batch(&b->test));
    s.tokens_per_s = tokens / seconds;
    s.overhead = overhead / seconds;
    if (b->gauge) {
        double after = benchmark_roof(b);
        s.roof = before > after ? before : after;
        double least = (b->bound == WORKLOAD_COMPUTE ? b->work.flops : b->work.bytes) / s.roof;
        s.roof_per_s = tokens / least;
    }
    *out = s;
    return ERR_OK;
}

void benchmark_summary(const struct benchmark *b, const struct benchmark_sample *samples, size_t n,
                       struct benchmark_result *out)
{
    double rates[BENCHMARK_RUNS_MAX], shares[BENCHMARK_RUNS_MAX], at_roof[BENCHMARK_RUNS_MAX],
        overheads[BENCHMARK_RUNS_MAX];
    struct benchmark_result r = {.bound = b->bound, .roof_pct = -1};
    n = n < BENCHMARK_RUNS_MAX ? n : BENCHMARK_RUNS_MAX;
    snprintf(r.name, sizeof r.name, "%s", b->name);
    for (size_t i = 0; i < n; i++) {
        const struct benchmark_sample *s = &samples[i];
        rates[i] = s->tokens_per_s;
        shares[i] = b->gauge ? s->tokens_per_s / s->roof_per_s : 0;
        at_roof[i] = s->roof_per_s;
        overheads[i] = s->overhead;
        r.roof_min = i == 0 || s->roof < r.roof_min ? s->roof : r.roof_min;
        r.roof_max = s->roof > r.roof_max ? s->roof : r.roof_max;
    }
    r.median = benchmark_median(rates, n);
    r.min = rates[0];
    r.max = rates[n - 1];
    r.overhead_pct = 100 * benchmark_median(overheads, n);
    r.step_seconds = (double)benchmark_batch(&b->test) / r.median;
    if (b->test.kind == BENCHMARK_PREFILL) {
        r.step_seconds = (double)b->test.tokens / r.median;
    }
    if (b->gauge) {
        r.roof_pct = 100 * benchmark_median(shares, n);
        r.roof_per_s = benchmark_median(at_roof, n);
    }
    *out = r;
}

err benchmark_run(struct benchmark *b, const struct benchmark_test *t, struct benchmark_result *out,
                  struct errinfo *info)
{
    struct benchmark_sample samples[BENCHMARK_RUNS_MAX];
    TRY(benchmark_start(b, t, info));
    for (size_t i = 0; i < t->runs; i++) {
        TRY(benchmark_once(b, &samples[i], info));
    }
    benchmark_summary(b, samples, t->runs, out);
    return ERR_OK;
}

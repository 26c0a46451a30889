/* bench/batch_gaps.c: how long answers wait between two tokens, alone and while a long prompt is read beside
 * them (engine/batcher.h). Two batches make the same answers, one of them with the prompt beside; they take a
 * step in turn, so that whatever else the machine does meets both. Printed are the quantiles of their steps'
 * times.
 *
 *     make build/bench/batch_gaps && build/bench/batch_gaps MODEL.gguf [PROMPT_TOKENS [ANSWERS [ROUNDS]]] */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "engine/batcher.h"
#include "engine/benchmark.h"

enum {
    BATCH_GAPS_ROUNDS = 64,    /* at most */
    BATCH_GAPS_DEPTH = 200,    /* tokens of an answer's own prompt */
    BATCH_GAPS_WARM = 8,       /* steps before any is counted */
    BATCH_GAPS_STEPS = 1 << 16 /* of a round, at most */
};

struct batch_gaps {
    struct engine *engine;
    size_t prompt, answers; /* tokens; how many */
    bool read;              /* the prompt is */
    double alone[BATCH_GAPS_STEPS], beside[BATCH_GAPS_STEPS]; /* seconds of steps */
};

static void batch_gaps_must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fprintf(stderr, "batch_gaps: %s\n", info->message);
        exit(1);
    }
}

static bool batch_gaps_token(void *user, const struct session_token *token)
{
    (void)user;
    (void)token;
    return true;
}

static bool batch_gaps_first(void *user, const struct session_token *token)
{
    (void)token;
    *(bool *)user = true;
    return false;
}

static void batch_gaps_done(void *user, const struct generate_result *r, size_t cached, err e,
                            const char *message)
{
    (void)user;
    (void)r;
    (void)cached;
    if (e != ERR_OK) {
        fprintf(stderr, "batch_gaps: %s\n", message);
        exit(1);
    }
}

/* n random tokens of an owner. */
static void batch_gaps_submit(struct batch_gaps *g, struct batcher *b, size_t n, uint64_t owner,
                              session_callback token)
{
    static const struct generate_options endless = {.ignore_eos = true, .max_tokens = 3500};
    struct errinfo info = {0};
    struct batcher_job *job;
    struct rng r;
    int32_t *ids = mem_calloc(n, sizeof *ids);
    rng_seed(&r, owner);
    for (size_t i = 0; ids && i < n; i++) {
        ids[i] = (int32_t)(rng_u64(&r) % engine_vocab_size(g->engine));
    }
    const struct batcher_request request = {.tokens = ids,
                                            .n_tokens = n,
                                            .options = &endless,
                                            .owner = owner,
                                            .token = token,
                                            .done = batch_gaps_done,
                                            .user = &g->read};
    batch_gaps_must(batcher_submit(b, &request, &job, &info), &info);
    mem_free(ids);
}

/* Answers that are being made. */
static struct batcher *batch_gaps_open(struct batch_gaps *g)
{
    struct errinfo info = {0};
    struct batcher *b;
    const struct batcher_options o = {.running = g->answers + 1};
    batch_gaps_must(batcher_new(g->engine, &o, &b, &info), &info);
    for (size_t i = 0; i < g->answers; i++) {
        batch_gaps_submit(g, b, BATCH_GAPS_DEPTH, i + 1, batch_gaps_token);
    }
    for (size_t i = 0; i < g->answers * BATCH_GAPS_DEPTH / 16 + BATCH_GAPS_WARM; i++) {
        batcher_step(b);
    }
    return b;
}

static double batch_gaps_step(struct batcher *b)
{
    double start = progress_clock();
    batcher_step(b);
    return progress_clock() - start;
}

static int batch_gaps_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double batch_gaps_quantile(double *v, size_t n, size_t percent)
{
    qsort(v, n, sizeof *v, batch_gaps_compare);
    return 1e3 * v[n * percent / 100];
}

static void batch_gaps_round(struct batch_gaps *g, double *r50, double *r95)
{
    struct batcher *alone = batch_gaps_open(g), *beside = batch_gaps_open(g);
    size_t n = 0;
    g->read = false;
    batch_gaps_submit(g, beside, g->prompt, 99, batch_gaps_first);
    for (; !g->read && n < BATCH_GAPS_STEPS; n++) {
        g->alone[n] = batch_gaps_step(alone);
        g->beside[n] = batch_gaps_step(beside);
    }
    double a50 = batch_gaps_quantile(g->alone, n, 50), a95 = batch_gaps_quantile(g->alone, n, 95);
    double b50 = batch_gaps_quantile(g->beside, n, 50), b95 = batch_gaps_quantile(g->beside, n, 95);
    *r50 = b50 / a50;
    *r95 = b95 / a95;
    printf("%zu steps, %.1f prompt tokens each; ms alone p50 %.1f p95 %.1f; beside p50 %.1f p95 %.1f; "
           "ratio p50 %.2f p95 %.2f\n",
           n, (double)g->prompt / (double)n, a50, a95, b50, b95, *r50, *r95);
    fflush(stdout);
    batcher_free(alone);
    batcher_free(beside);
}

static size_t batch_gaps_number(int argc, char **argv, int i, size_t otherwise)
{
    return i < argc ? strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    struct errinfo info = {0};
    struct batch_gaps *g = mem_calloc(1, sizeof *g);
    double r50[BATCH_GAPS_ROUNDS], r95[BATCH_GAPS_ROUNDS];
    size_t rounds = batch_gaps_number(argc, argv, 4, 3);
    if (argc < 2 || !g || rounds < 1 || rounds > BATCH_GAPS_ROUNDS) {
        fprintf(stderr, "usage: batch_gaps MODEL [PROMPT_TOKENS [ANSWERS [ROUNDS]]]\n");
        return 2;
    }
    g->prompt = batch_gaps_number(argc, argv, 2, 4000);
    g->answers = batch_gaps_number(argc, argv, 3, 4);
    batch_gaps_must(engine_open(argv[1], &(struct engine_options){0}, &g->engine, &info), &info);
    for (size_t i = 0; i < rounds; i++) {
        batch_gaps_round(g, &r50[i], &r95[i]);
    }
    printf("%zu answers beside a prompt of %zu tokens, median of %zu rounds: p50 %.2f, p95 %.2f\n", g->answers,
           g->prompt, rounds, benchmark_median(r50, rounds), benchmark_median(r95, rounds));
    engine_close(g->engine);
    mem_free(g);
    return 0;
}

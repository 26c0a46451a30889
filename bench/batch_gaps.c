/* bench/batch_gaps.c: how long answers wait between two tokens, alone and while a long prompt is read beside
 * them, or while others beside them keep to grammars that take all the work they may (engine/batcher.h). Two
 * batches make the same answers, one of them with the prompt beside, or with the grammars where the other's
 * answers are free; they take a step in turn, so that whatever else the machine does meets both. Printed are
 * the quantiles of their steps' times, of which every free answer gets a token.
 *
 *     make build/bench/batch_gaps
 *     build/bench/batch_gaps MODEL.gguf [PROMPT_TOKENS [ANSWERS [ROUNDS [GRAMMARS]]]]
 *
 * A prompt of no tokens: none. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "engine/batcher.h"
#include "engine/benchmark.h"
#include "text/grammarmask.h"

enum {
    BATCH_GAPS_ROUNDS = 64,    /* at most */
    BATCH_GAPS_DEPTH = 200,    /* tokens of an answer's own prompt */
    BATCH_GAPS_WARM = 8,       /* steps before any is counted */
    BATCH_GAPS_STEPS = 1 << 16, /* of a round, at most */
    BATCH_GAPS_FREE = 150,      /* of a round without a prompt */
    BATCH_GAPS_GRAMMARS = 32,   /* at most */
    BATCH_GAPS_PARTS = 4000,    /* of a grammar */
};

struct batch_gaps {
    struct engine *engine;
    size_t prompt, answers, n_grammars; /* tokens; how many */
    bool read;                          /* the prompt is */
    struct tokentrie *trie;
    struct grammar *grammar;
    struct grammarmask *masks[BATCH_GAPS_GRAMMARS];
    struct generate_options bound[BATCH_GAPS_GRAMMARS];
    struct sampling sampling;
    int32_t eos; /* which never comes */
    size_t made; /* tokens of answers by grammar */
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

static bool batch_gaps_counted(void *user, const struct session_token *token)
{
    (void)token;
    ++*(size_t *)user;
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

/* Thousands of parts that may all be left out, of few letters, so that it takes no more work than is allowed:
 * what comes after a token was never met before, and is nearly as many places as there are parts left. */
static void batch_gaps_grammar(struct batch_gaps *g)
{
    static const char *const parts[] = {" [q]?", " [x]?", " [qx]?"};
    char text[6 * BATCH_GAPS_PARTS + 16], *at = text + sprintf(text, "root ::=");
    struct errinfo info = {0};
    struct rng r;
    rng_seed(&r, 3);
    for (size_t i = 0; i < BATCH_GAPS_PARTS; i++) {
        at += sprintf(at, "%s", parts[rng_u64(&r) % 3]);
    }
    batch_gaps_must(tokentrie_new(engine_tokenizer(g->engine), &g->trie, &info), &info);
    batch_gaps_must(grammar_new(text, strlen(text), &g->grammar, &info), &info);
    for (size_t i = 0; i < g->n_grammars; i++) {
        batch_gaps_must(grammarmask_new(g->grammar, g->trie, &g->masks[i], &info), &info);
        g->bound[i] = (struct generate_options){.grammar = g->masks[i], .max_tokens = 3500};
    }
}

static const struct generate_options batch_gaps_endless = {.ignore_eos = true, .max_tokens = 3500};

/* n random tokens of an owner. */
static void batch_gaps_submit(struct batch_gaps *g, struct batcher *b, size_t n, uint64_t owner,
                              const struct generate_options *options, session_callback token)
{
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
                                            .sampling = &g->sampling,
                                            .options = options,
                                            .owner = owner,
                                            .token = token,
                                            .done = batch_gaps_done,
                                            .user = token == batch_gaps_counted ? (void *)&g->made : &g->read};
    batch_gaps_must(batcher_submit(b, &request, &job, &info), &info);
    mem_free(ids);
}

/* Answers that are being made, some of them by a grammar or as many more without. */
static struct batcher *batch_gaps_open(struct batch_gaps *g, bool beside)
{
    struct errinfo info = {0};
    struct batcher *b;
    size_t answers = g->answers + g->n_grammars;
    const struct batcher_options o = {.running = answers + 1};
    batch_gaps_must(batcher_new(g->engine, &o, &b, &info), &info);
    for (size_t i = 0; i < answers; i++) {
        bool bound = beside && i >= g->answers;
        const struct generate_options *options = bound ? &g->bound[i - g->answers] : &batch_gaps_endless;
        if (bound) {
            grammarmask_begin(options->grammar, -1);
        }
        batch_gaps_submit(g, b, BATCH_GAPS_DEPTH, i + 1, options,
                          bound ? batch_gaps_counted : batch_gaps_token);
    }
    for (size_t i = 0; i < answers * BATCH_GAPS_DEPTH / 16 + BATCH_GAPS_WARM; i++) {
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
    struct batcher *alone = batch_gaps_open(g, false), *beside = batch_gaps_open(g, true);
    size_t n = 0, most = g->prompt > 0 ? BATCH_GAPS_STEPS : BATCH_GAPS_FREE;
    g->read = false;
    g->made = 0;
    if (g->prompt > 0) {
        batch_gaps_submit(g, beside, g->prompt, 99, &batch_gaps_endless, batch_gaps_first);
    }
    for (; !g->read && n < most; n++) {
        g->alone[n] = batch_gaps_step(alone);
        g->beside[n] = batch_gaps_step(beside);
    }
    double a50 = batch_gaps_quantile(g->alone, n, 50), a95 = batch_gaps_quantile(g->alone, n, 95);
    double b50 = batch_gaps_quantile(g->beside, n, 50), b95 = batch_gaps_quantile(g->beside, n, 95);
    *r50 = b50 / a50;
    *r95 = b95 / a95;
    printf("%zu steps, %.1f prompt tokens each, %.2f tokens by grammars; ms alone p50 %.1f p95 %.1f; "
           "beside p50 %.1f p95 %.1f worst %.1f; ratio p50 %.2f p95 %.2f\n",
           n, (double)g->prompt / (double)n, (double)g->made / (double)n, a50, a95, b50, b95,
           1e3 * g->beside[n - 1], *r50, *r95);
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
    if (argc < 2 || !g || rounds < 1 || rounds > BATCH_GAPS_ROUNDS ||
        batch_gaps_number(argc, argv, 5, 0) > BATCH_GAPS_GRAMMARS) {
        fprintf(stderr, "usage: batch_gaps MODEL [PROMPT_TOKENS [ANSWERS [ROUNDS [GRAMMARS]]]]\n");
        return 2;
    }
    g->prompt = batch_gaps_number(argc, argv, 2, 4000);
    g->answers = batch_gaps_number(argc, argv, 3, 4);
    g->n_grammars = batch_gaps_number(argc, argv, 5, 0);
    batch_gaps_must(engine_open(argv[1], &(struct engine_options){0}, &g->engine, &info), &info);
    g->eos = tokenizer_eos(engine_tokenizer(g->engine));
    g->sampling = (struct sampling){.temperature = 1, .bias_ids = &g->eos, .bias_values = &(float){-INFINITY},
                                    .n_bias = 1};
    batch_gaps_grammar(g);
    for (size_t i = 0; i < rounds; i++) {
        batch_gaps_round(g, &r50[i], &r95[i]);
    }
    printf("%zu answers beside a prompt of %zu tokens and %zu grammars, median of %zu rounds: p50 %.2f, "
           "p95 %.2f\n",
           g->answers, g->prompt, g->n_grammars, rounds, benchmark_median(r50, rounds),
           benchmark_median(r95, rounds));
    for (size_t i = 0; i < g->n_grammars; i++) {
        grammarmask_free(g->masks[i]);
    }
    grammar_free(g->grammar);
    tokentrie_free(g->trie);
    engine_close(g->engine);
    mem_free(g);
    return 0;
}

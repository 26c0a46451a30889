/* engine/benchmark.h: how fast a model reads and writes tokens on this machine, and what share of the
 * machine's measured roof that is. Prefill is held against arithmetic (FLOPs of the tokens over the
 * roof's FLOP/s), single-sequence decode against memory (weight and cache bytes per token over the
 * roof's bytes/s). Tokens are random, sampling is not included, logits of the last token are. */
#ifndef ENGINE_BENCHMARK_H
#define ENGINE_BENCHMARK_H

#include "model/model.h"
#include "tensor/roof.h"

enum benchmark_kind { BENCHMARK_PREFILL, BENCHMARK_DECODE };
enum { BENCHMARK_RUNS_MAX = 64, BENCHMARK_BATCH_MAX = 256 };

struct benchmark_test {
    enum benchmark_kind kind;
    size_t tokens; /* prefill: tokens read at once; decode: steps per run */
    size_t depth;  /* positions already in the cache */
    size_t batch;  /* decode: sequences per step; tokens per second counts all of them */
    size_t runs;   /* counted runs, 1 … BENCHMARK_RUNS_MAX, after one that is not */
};

struct benchmark_result {
    char name[32];                /* "pp512", "pp512@4096", "tg64", "tg64@4096", "tg64x4" */
    double median, min, max;      /* tokens per second over the runs */
    double roof_pct;              /* of the median; negative when no roof applies (batched decode) */
    double seconds;               /* of all runs */
};

struct benchmark; /* a model, a compute and workspace; one thread */

/* While a test runs on a terminal, stderr shows how far it is.
 * chunk: most tokens per forward call (longer prefills are cut). roof may be NULL: no percentages. */
ERR_MUST_USE err benchmark_new(const struct model *m, struct compute *c, const struct roof *roof,
                               size_t chunk, enum dtype kv_type, struct benchmark **out,
                               struct errinfo *info);
ERR_MUST_USE err benchmark_run(struct benchmark *b, const struct benchmark_test *t,
                               struct benchmark_result *out, struct errinfo *info);
void benchmark_free(struct benchmark *b);

/* Bytes the largest of the tests takes beside the weights: caches, activations, logits, and what
 * opening an MLA model makes (absorb.h). ERR_LIMIT when that cannot be addressed. */
ERR_MUST_USE err benchmark_bytes(const struct config *c, size_t chunk, enum dtype kv_type,
                                 const struct benchmark_test *tests, size_t n, size_t *out,
                                 struct errinfo *info);
/* How much of `available` bytes weights may take when the tests need `need` and the rest of the machine
 * keeps 1 GiB or an eighth, whichever is more (never over half). *out is at least 1; ERR_NOMEM with the
 * numbers and the options to lower when nothing would be left. */
ERR_MUST_USE err benchmark_weight_budget(size_t available, size_t need, size_t *out,
                                         struct errinfo *info);

/* FLOPs of reading n tokens after `depth` others: 2 per weight and token, attention, the head once. */
double benchmark_prefill_flops(const struct model *m, size_t n, size_t depth);
/* Bytes one decode step of one sequence reads at `depth`: active weights and the cache. */
double benchmark_decode_bytes(const struct model *m, size_t depth, enum dtype kv_type);

#endif

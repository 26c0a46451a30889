/* engine/benchmark.h: how fast a model reads and writes tokens on this machine, and what share of the
 * machine's measured roof that is: the least time the work can take (workload.h: arithmetic over FLOP/s, bytes
 * over bytes/s, the longer of the two) over the time it took. The roof is measured anew before and after every
 * run, and each run is held against the better of its two neighbours, so that on a machine whose speed
 * drifts the shares stay true. Tokens are random, sampling is not included, logits of the last token are. */
#ifndef ENGINE_BENCHMARK_H
#define ENGINE_BENCHMARK_H

#include "engine/workload.h"

enum benchmark_kind { BENCHMARK_PREFILL, BENCHMARK_DECODE };
enum { BENCHMARK_RUNS_MAX = 64, BENCHMARK_BATCH_MAX = 256, BENCHMARK_NAME = 48 };

struct benchmark_test {
    enum benchmark_kind kind;
    size_t tokens; /* prefill: tokens read at once; decode: steps per run */
    size_t depth;  /* positions already in the cache */
    size_t batch;  /* decode: sequences per step; tokens per second counts all of them */
    size_t runs;   /* counted runs, 1 … BENCHMARK_RUNS_MAX, after one that is not */
};

/* "pp512", "pp512@4096", "tg64", "tg64@4096", "tg64x4"; returns out. */
const char *benchmark_name(const struct benchmark_test *t, char out[BENCHMARK_NAME]);

struct benchmark_sample { /* one run */
    double tokens_per_s;
    double roof_per_s; /* tokens per second the roof beside this run would allow; 0 without a gauge */
    double roof;       /* that roof: bytes/s or FLOP/s, as `bound` of the result says */
    double overhead;   /* share of the time in neither matrix products nor attention, 0 … 1 */
};

struct benchmark_result {
    char name[BENCHMARK_NAME];
    double median, min, max;   /* tokens per second over the runs */
    double roof_pct;           /* median of the runs' shares; negative without a gauge */
    double roof_per_s;         /* tokens per second at the roof, median of the runs */
    double roof_min, roof_max; /* the roof over the runs, bytes/s or FLOP/s */
    enum workload_bound bound; /* which of the two it is */
    double overhead_pct;       /* median, see benchmark_sample */
    double step_seconds;       /* median time of one forward step (decode) or one prefill */
};

struct benchmark; /* a model, a compute and workspace; one thread */

/* chunk: most tokens per forward call (longer prefills are cut). gauge: over the same compute, outlives
 * the benchmark; NULL: no shares. */
ERR_MUST_USE err benchmark_new(const struct model *m, struct compute *c, struct roof_gauge *gauge,
                               size_t chunk, enum dtype kv_type, struct benchmark **out,
                               struct errinfo *info);
/* From now on asked before each step of a run: false makes that run ERR_CANCELLED. NULL: never asked, as
 * without this call. */
void benchmark_watch(struct benchmark *b, bool (*keep_going)(void));
/* One test: start, which makes the caches and runs once uncounted, then as many runs as wanted, with
 * anything else in between. While a run lasts, stderr shows on a terminal how far the t->runs are. */
ERR_MUST_USE err benchmark_start(struct benchmark *b, const struct benchmark_test *t,
                                 struct errinfo *info);
ERR_MUST_USE err benchmark_once(struct benchmark *b, struct benchmark_sample *out,
                                struct errinfo *info);
/* What n ≥ 1 samples of the test that was started last come to. */
void benchmark_summary(const struct benchmark *b, const struct benchmark_sample *samples, size_t n,
                       struct benchmark_result *out);
/* All of it. */
ERR_MUST_USE err benchmark_run(struct benchmark *b, const struct benchmark_test *t,
                               struct benchmark_result *out, struct errinfo *info);
void benchmark_free(struct benchmark *b);

/* Median of n ≥ 1 numbers, which it sorts. */
double benchmark_median(double *values, size_t n);

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

#endif

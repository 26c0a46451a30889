/* tensor/cpu/gemm.h: matrix products for learning (learnops.h): bfloat16 times bfloat16, float32 sums.
 *
 * A job is cut into tasks of up to GEMM_ROWS x GEMM_COLS results. Long sums of jobs with few tasks are cut too,
 * into parts that are added up in order afterwards. Where a job is cut depends on its shape alone, so the
 * results do not depend on the number of threads. */
#ifndef TENSOR_CPU_GEMM_H
#define TENSOR_CPU_GEMM_H

#include "tensor/learnops.h"

enum {
    GEMM_ROWS = 256,
    GEMM_COLS = 256,
    GEMM_PART = 1024, /* of a sum: parts are multiples of it */
    GEMM_TASKS = 8,   /* sums are cut to have about as many tasks */
    GEMM_FAR = 64 << 10,   /* bytes of results of a batch: from here on y is asked for ahead: it may be cold */
    GEMM_STREAM = 8 << 20, /* and from here on it goes past the caches */
    GEMM_PIECE = 512,      /* bytes */
};

/* What later tasks will read, in pieces of GEMM_PIECE bytes: kernels that can ask for them between products. */
struct gemm_wants {
    const char **pieces; /* [n] */
    size_t n, next;
};

/* Rows [m, m + n_m) and columns [n, n + n_n) of a job's y, summed over [k, k + n_k), none of them empty. */
struct gemm_task {
    enum learnops_product product;
    struct mat y, x, w; /* y: the results' own, float32 or bfloat16 */
    size_t m, n_m, n, n_n, k, n_k;
    bool add;
    bool far, stream; /* the batch's results are more than the second, and any cache keeps */
    bool same_w;      /* the last task with this panel had the same w, n and k */
    struct gemm_wants *wants; /* NULL: none */
    void *panel;      /* for w, packed: `panel` bytes, 64-byte aligned */
    void *scratch;    /* gemm_kernels' scratch, 64-byte aligned, of this thread */
};
typedef void gemm_task_fn(const struct gemm_task *t);

/* The products of one level. A thread may run tasks by itself, between thread_begin and thread_end. */
struct gemm_kernels {
    gemm_task_fn *task;
    size_t scratch;
    size_t (*panel)(size_t n_n, size_t n_k); /* for n_n columns and sums of n_k; a multiple of 64 */
    void (*thread_begin)(void);
    void (*thread_end)(void);
};
extern const struct gemm_kernels gemm_amx, gemm_avx512bf16, gemm_avx512, gemm_avx2;
const struct gemm_kernels *gemm_of(enum cpuinfo_level level); /* from AVX2 on */

/* Whether these kernels take the job: bfloat16 inputs, y float32 or bfloat16. */
bool gemm_takes(const struct learnops_matmul *job);
/* Of jobs that gemm_takes. ERR_NOMEM. */
err gemm_run(struct compute *c, enum learnops_product product, const struct learnops_matmul *jobs,
             size_t n_jobs, const struct gemm_kernels *kernels);

#endif

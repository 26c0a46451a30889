/* tensor/cpu/gemm.h: matrix products for learning (learnops.h): bfloat16 times bfloat16, float32 sums.
 *
 * A job is cut into tasks of up to GEMM_ROWS x GEMM_COLS results, and x^T w also along its sum, into parts of
 * GEMM_PART that are added up in order afterwards: where a job is cut depends on its shape alone, so the
 * results do not depend on the number of threads. */
#ifndef TENSOR_CPU_GEMM_H
#define TENSOR_CPU_GEMM_H

#include "tensor/learnops.h"

enum {
    GEMM_ROWS = 512,
    GEMM_COLS = 256,
    GEMM_CHUNK = 256, /* of the sum: what is packed at a time */
    GEMM_PART = 2048, /* of the sum of x^T w */
};

/* Rows [m, m + n_m) and columns [n, n + n_n) of a job's y, summed over [k, k + n_k). */
struct gemm_task {
    enum learnops_product product;
    struct mat y, x, w; /* y: the results' own, float32 or bfloat16 */
    size_t m, n_m, n, n_n, k, n_k;
    bool add;
    void *scratch; /* gemm_scratch(), 64-byte aligned, of this thread */
};
typedef void gemm_task_fn(const struct gemm_task *t);

struct gemm_kernels {
    gemm_task_fn *task;
    size_t scratch;
    void (*thread_begin)(void);
    void (*thread_end)(void);
};

/* Whether these kernels take the job: bfloat16 inputs, y float32 or bfloat16. */
bool gemm_takes(const struct learnops_matmul *job);
err gemm_run(struct compute *c, enum learnops_product product, const struct learnops_matmul *jobs,
             size_t n_jobs,
             const struct gemm_kernels *kernels);

err gemm_amx(struct compute *c, enum learnops_product product, const struct learnops_matmul *jobs,
             size_t n_jobs);

#endif

/* tensor/cpu/gemm_avx2.c: products of learning with 8 lanes of float32; see gemm.h. */
#include "tensor/cpu/vec_avx2.h"

enum { GEMM_UNIT = 1, GEMM_HIGH = 4 };

static inline vec gemm_dot(vec sum, vec x, vec w)
{
    return vec_fma(x, w, sum);
}

#include "tensor/cpu/gemm_body.h"

err gemm_avx2(struct compute *c, enum learnops_product product, const struct learnops_matmul *jobs,
              size_t n_jobs)
{
    static const struct gemm_kernels kernels = {gemm_task_run, GEMM_SCRATCH, gemm_nothing, gemm_nothing};
    return gemm_run(c, product, jobs, n_jobs, &kernels);
}

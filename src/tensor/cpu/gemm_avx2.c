/* tensor/cpu/gemm_avx2.c: products of learning with 8 lanes of float32; see gemm.h. */
#include "tensor/cpu/vec_avx2.h"

enum { GEMM_HIGH = 4 };

#include "tensor/cpu/gemm_float.h"

const struct gemm_kernels gemm_avx2 = {gemm_task_run, GEMM_SCRATCH, gemm_panel, gemm_nothing,
                                       gemm_nothing};

/* tensor/cpu/gemm_avx512.c: products of learning with 16 lanes of float32; see gemm.h. */
#include "tensor/cpu/vec_avx512.h"

enum { GEMM_HIGH = 8 };

#include "tensor/cpu/gemm_float.h"

const struct gemm_kernels gemm_avx512 = {gemm_task_run, GEMM_SCRATCH, gemm_panel, gemm_nothing,
                                         gemm_nothing};

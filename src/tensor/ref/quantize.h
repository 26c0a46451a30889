/* tensor/ref/quantize.h: float rows to quantised blocks. The layouts are ggml's and so is the goal of
 * every search (smallest weighted error of a block), so that files we write behave like those other
 * engines write; Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and MXFP4 come out equal bit for bit.
 * Error against ggml's quantizers: docs/measurements.md. Pure functions, any thread. */
#ifndef TENSOR_REF_QUANTIZE_H
#define TENSOR_REF_QUANTIZE_H

#include "tensor/dtype.h"

/* True for the types quantize_run can produce: all computable ones. */
bool quantize_has(enum dtype t);

/* n floats (whole blocks) to `dst` in type `t`. `importance` [n] weighs each input's error, NULL for
 * none (then the block types use their default weights); F32, F16, BF16, F8_E4M3 (raw, unscaled),
 * Q8_0 and MXFP4 ignore it. Values must be finite: a NaN becomes some other number, never undefined
 * behaviour. ERR_UNSUPPORTED for other types, ERR_ARGUMENT when n is not whole blocks. */
ERR_MUST_USE err quantize_run(enum dtype t, const float *src, void *dst, size_t n,
                              const float *importance);

#endif

/* tensor/ref/quantize.h: float rows to quantised blocks, so that files we write behave like those
 * other engines write (same search for scales; see docs/numerics.md). */
#ifndef TENSOR_REF_QUANTIZE_H
#define TENSOR_REF_QUANTIZE_H

#include "tensor/dtype.h"

/* True for the types quantize_run can produce. */
bool quantize_has(enum dtype t);

/* n floats (whole blocks) to `dst` in type `t`. `importance` [n] weighs each input's error, NULL for
 * none (then the block types use their default weights). ERR_UNSUPPORTED for other types. */
ERR_MUST_USE err quantize_run(enum dtype t, const float *src, void *dst, size_t n,
                              const float *importance);

#endif

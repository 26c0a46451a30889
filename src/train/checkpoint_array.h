/* train/checkpoint_array.h: the arrays of a checkpoint as tensors of a safetensors file; for saving
 * and loading alone. */
#ifndef TRAIN_CHECKPOINT_ARRAY_H
#define TRAIN_CHECKPOINT_ARRAY_H

#include "tensor/tensor.h"
#include "train/checkpoint.h"

/* A view of [rows, cols]. ERR_ARGUMENT for a name without end, gaps or no elements. */
ERR_MUST_USE err checkpoint_array_tensor(const struct checkpoint_array *a, struct tensor *out,
                                         struct errinfo *info);

/* The same for all, and that no name is there twice. *bytes: of all of them. */
ERR_MUST_USE err checkpoint_array_check(const struct checkpoint_array *arrays, size_t n,
                                        size_t *bytes, struct errinfo *info);

#endif

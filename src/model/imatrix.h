/* model/imatrix.h: importance matrices: how much each input of each matrix matters, measured on text by
 * other tools (llama-imatrix) and used by the quantizers. Read are GGUF files with general.type
 * "imatrix": per matrix NAME a tensor NAME.in_sum2 [n, inputs] (sums of squared inputs; n is 1, or the
 * number of experts) and NAME.counts [n, 1] (how many inputs were summed). */
#ifndef MODEL_IMATRIX_H
#define MODEL_IMATRIX_H

#include "tensor/tensor.h"

struct imatrix;

/* The older .dat format is refused with the way to convert it. */
ERR_MUST_USE err imatrix_open(const char *path, struct imatrix **out, struct errinfo *info);
void imatrix_close(struct imatrix *m); /* NULL is fine */

size_t imatrix_count(const struct imatrix *m); /* matrices described */

/* Mean squared inputs for the matrix `name`: *values [*n, cols], *n 1 or w's outermost dimension,
 * borrowed. NULL and 0 when the file does not know the matrix; ERR_CORRUPT when it knows one of
 * another width. Inputs of an expert that was never used count 1. */
ERR_MUST_USE err imatrix_find(const struct imatrix *m, const char *name, const struct tensor *w,
                              const float **values, size_t *n, struct errinfo *info);

#endif

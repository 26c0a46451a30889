/* model/learnarena.h: memory for the activations of one batch, given out from the front and taken back by the
 * mark. A counting arena gives out mats without data, to learn how much is needed. */
#ifndef MODEL_LEARNARENA_H
#define MODEL_LEARNARENA_H

#include <stdbool.h>

#include "base/err.h"
#include "tensor/mat.h"

struct learnarena {
    char *memory; /* owned; NULL: counting */
    size_t size, used, most;
    bool failed;  /* more was asked for than there is: what was given out since has no data */
};

ERR_MUST_USE err learnarena_init(struct learnarena *a, size_t size, struct errinfo *info);
void learnarena_init_counting(struct learnarena *a);
void learnarena_deinit(struct learnarena *a);

/* n bytes, aligned to 64; undefined contents. NULL when counting or failed. */
void *learnarena_bytes(struct learnarena *a, size_t n);
struct mat learnarena_mat(struct learnarena *a, enum mat_type type, size_t rows, size_t cols);

/* Everything given out after learnarena_mark is taken back by learnarena_release. */
size_t learnarena_mark(const struct learnarena *a);
void learnarena_release(struct learnarena *a, size_t mark);

#endif

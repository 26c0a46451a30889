/* model/learnrun.c: see learnrun.h. */
#include "model/learnrun.h"

#include <string.h>

err learnrun_matmul(const struct learnrun *r, enum learnops_product product, struct mat y, struct mat x,
                    struct mat w, bool add)
{
    const struct learnops_matmul job = {y, x, w, add};
    if (r->counting) {
        return ERR_OK;
    }
    err e = learnops_matmul(r->compute, product, &job, 1);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for a matrix product");
}

void learnrun_zero(const struct learnrun *r, struct mat m)
{
    for (size_t i = 0; !r->counting && i < m.rows; i++) {
        memset((char *)m.data + i * m.stride * mat_type_bytes(m.type), 0, m.cols * mat_type_bytes(m.type));
    }
}

struct mat learnrun_narrowed(const struct learnrun *r, struct mat wide)
{
    struct mat m = learnrun_narrow(r, wide.rows, wide.cols);
    if (!r->counting) {
        learnops_copy(r->compute, m, wide);
    }
    return m;
}

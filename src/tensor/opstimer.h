/* tensor/opstimer.h: where a forward pass spends its time: a compute whose matrix products and attention
 * are clocked, so that what is left of a step, the overhead, can be told. Two clock readings per op.
 * Thread rule: as the compute it borrows. */
#ifndef TENSOR_OPSTIMER_H
#define TENSOR_OPSTIMER_H

#include "tensor/ops.h"

struct opstimer {
    struct ops_table table; /* first: the compute's table, two of its rows replaced */
    const struct ops_table *below;
    double matmul_seconds, attention_seconds; /* since opstimer_begin */
};

/* From now on `c` runs through `t`, which must outlive that and not move; zeroes the sums. */
void opstimer_begin(struct opstimer *t, struct compute *c);
void opstimer_end(struct opstimer *t, struct compute *c); /* the sums stay */

#endif

/* tensor/updateops.h: what an optimiser does to parameters, element by element.
 *
 * value, grad and the optimiser's state are all of one type: float32, for which there are fast versions, or
 * any other, for the reference (ref/updateref.c, in float64). x is what matrix products take: bfloat16 with
 * float32, float64 with float64. work is the copy of value that products read: bfloat16, or value itself; it
 * follows value. Rows may have gaps, mats of one call may not overlap.
 *
 * Sums: sums[row] is the sum of one row's squares, in float64; adding up rows in their order (updateops_total)
 * gives a sum that depends neither on threads nor on how rows were shared out.
 *
 * Fast against reference: each result within 4 roundings of float32 of its largest term; numbers below 2^-126
 * count as 0. Thread rule: one op at a time per compute. */
#ifndef TENSOR_UPDATEOPS_H
#define TENSOR_UPDATEOPS_H

#include <stdbool.h>

#include "tensor/compute.h"
#include "tensor/mat.h"

void updateops_squares(struct compute *c, struct mat x, double *sums);
double updateops_total(const double *sums, size_t n);

/* AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), with g = grad * grad_scale:
 *     m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
 *     d = m m_scale / (sqrt(v v_scale) + eps),  value = keep value - rate d.
 * m_scale, v_scale: Adam's correction of the first steps, 1 / (1 - beta^t). sums: of d. */
struct updateops_adamw {
    struct mat value, work, grad, m, v;
    double grad_scale, beta1, beta2, m_scale, v_scale, eps, keep, rate;
    double *sums; /* [rows] */
};
void updateops_adamw(struct compute *c, const struct updateops_adamw *a);

/* momentum = decay momentum + g, g = grad * grad_scale. Its direction is u = momentum or, Nesterov's,
 * u = g + decay momentum. sums: of u. */
struct updateops_momentum {
    struct mat momentum, grad;
    double grad_scale, decay;
    bool nesterov;
    double *sums; /* [rows] */
};
void updateops_momentum(struct compute *c, const struct updateops_momentum *a);
/* x = u * scales[row / rows_each], of the momentum as it is. */
void updateops_direction(struct compute *c, const struct updateops_momentum *a, struct mat x,
                         const double *scales, size_t rows_each);

/* Of x's type, square matrices one below the other: y = one I + first x + second y. */
void updateops_polynomial(struct compute *c, struct mat y, struct mat x, double one, double first,
                          double second);

/* value = keep value - rate x. sums: of x. */
struct updateops_descend {
    struct mat value, work, x;
    double keep, rate;
    double *sums; /* [rows] */
};
void updateops_descend(struct compute *c, const struct updateops_descend *a);

/* average += share (value - average). */
void updateops_average(struct compute *c, struct mat average, struct mat value, double share);
/* value and other change places. */
void updateops_swap(struct compute *c, struct mat value, struct mat work, struct mat other);

/* One CPU level's kernels, with the contracts above. */
struct updateops_table {
    void (*squares)(struct compute *c, struct mat x, double *sums);
    void (*adamw)(struct compute *c, const struct updateops_adamw *a);
    void (*momentum)(struct compute *c, const struct updateops_momentum *a);
    void (*direction)(struct compute *c, const struct updateops_momentum *a, struct mat x,
                      const double *scales, size_t rows_each);
    void (*polynomial)(struct compute *c, struct mat y, struct mat x, double one, double first, double second);
    void (*descend)(struct compute *c, const struct updateops_descend *a);
    void (*average)(struct compute *c, struct mat average, struct mat value, double share);
    void (*swap)(struct compute *c, struct mat value, struct mat work, struct mat other);
};

#endif

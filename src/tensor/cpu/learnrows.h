/* tensor/cpu/learnrows.h: the operations of learnops.h that go through rows of float32 and bfloat16 mats, in
 * any mix: a table per level. Contracts there. Numbers are float32 in between, rounded where they are stored.
 *
 * No result depends on the number of threads: rows that are added to are split among threads by columns
 * (learnmoves_body.h), and sums over rows are taken in blocks of LEARNROWS_BLOCK, added in order. Outputs that
 * are written alone and too large for the caches go past them (matrow.h). */
#ifndef TENSOR_CPU_LEARNROWS_H
#define TENSOR_CPU_LEARNROWS_H

#include "tensor/learnops.h"

enum { LEARNROWS_BLOCK = 64 };

struct learnrows_table {
    void (*rmsnorm)(struct compute *c, struct mat y, struct mat x, struct mat weight, double eps);
    err (*rmsnorm_backward)(struct compute *c, struct mat dx, struct mat dweight, struct mat dy, struct mat x,
                            struct mat weight, double eps);
    void (*rope)(struct compute *c, const struct learnops_rope *a);
    void (*swiglu)(struct compute *c, struct mat y, struct mat gate, struct mat up);
    void (*swiglu_backward)(struct compute *c, struct mat dgate, struct mat dup, struct mat dy, struct mat gate,
                            struct mat up);
    void (*layernorm)(struct compute *c, struct mat y, struct mat x, struct mat weight, struct mat bias,
                      double eps);
    err (*layernorm_backward)(struct compute *c, const struct learnops_layernorm *a, double eps);
    void (*gelu)(struct compute *c, struct mat y, struct mat x);
    void (*gelu_backward)(struct compute *c, struct mat dx, struct mat dy, struct mat x);
    void (*bias)(struct compute *c, struct mat y, struct mat bias);
    err (*bias_backward)(struct compute *c, struct mat dbias, struct mat dy);
    void (*mix)(struct compute *c, struct mat y, struct mat a, struct mat b, struct mat weight);
    err (*mix_backward)(struct compute *c, const struct learnops_mix *m);
    void (*add)(struct compute *c, struct mat y, struct mat x);
    void (*copy)(struct compute *c, struct mat y, struct mat x);
    void (*zero)(struct compute *c, struct mat y);
    void (*gather)(struct compute *c, struct mat y, struct mat x, const uint32_t *rows);
    void (*gather_backward)(struct compute *c, struct mat dx, struct mat dy, const uint32_t *rows);
    void (*combine)(struct compute *c, struct mat y, struct mat x, struct mat weight, const uint32_t *slot);
    void (*cross_entropy)(struct compute *c, struct mat dlogits, struct mat logits, const int32_t *targets,
                          double *losses, double z_loss, double scale);
    void (*router_scores)(struct compute *c, const struct learnops_router *a, struct mat logits);
    void (*router_weigh)(struct compute *c, const struct learnops_router *a);
    void (*router_balance)(struct compute *c, const struct learnops_router *a, double *losses);
    void (*router_backward)(struct compute *c, const struct learnops_router *a, struct mat dweights,
                            double balance_scale, struct mat dlogits);
};

extern const struct learnrows_table learnrows_avx2, learnrows_avx512;

#endif

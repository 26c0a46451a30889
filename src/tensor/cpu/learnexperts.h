/* tensor/cpu/learnexperts.h: routed experts of learning (learnops_experts), an expert's places a block at a
 * time: one thread takes the block through all products and what is between them, in its second cache.
 *
 * A part is up to LEARNEXPERTS_PART places of one expert, or an eighth of all, if that is more. A thread takes
 * one part after the other, the largest first, and adds up the part's gradients in the order of its blocks.
 * The second and later parts of an expert have sums of their own, which come to the gradients at the end, in
 * order. Parts and blocks depend on shapes and counts alone, so the number of threads changes no bit. */
#ifndef TENSOR_CPU_LEARNEXPERTS_H
#define TENSOR_CPU_LEARNEXPERTS_H

#include "tensor/learnops.h"

enum {
    LEARNEXPERTS_BLOCK = 128,         /* places at most */
    LEARNEXPERTS_BYTES = 1024 << 10,  /* of a block at most, of the second cache */
    LEARNEXPERTS_PART = 1024,
    LEARNEXPERTS_PARTS = 8,
};

/* A block's rows between its products. */
struct learnexperts_forward { /* all [n, F] */
    struct mat gates, ups;           /* float32 */
    struct mat kept_gates, kept_ups; /* bfloat16 */
    struct mat inner;                /* bfloat16: silu(gate) * up */
    bool stream;                     /* what is kept goes past the caches */
};
struct learnexperts_back { /* all [n, F] */
    struct mat gates, ups;         /* bfloat16, as kept */
    struct mat dinner;             /* float32: d down, without the weight */
    struct mat inner, dgate, dup;  /* bfloat16, times the weight */
    const float *weight;           /* [n] */
    float *dweight;                /* [n]: dinner . inner */
};

struct learnexperts_rows {
    void (*forward)(const struct learnexperts_forward *a);
    void (*back)(const struct learnexperts_back *a);
};
extern const struct learnexperts_rows learnexperts_avx2, learnexperts_avx512, learnexperts_avx512bf16;

/* Whether there is a fast version for these mats; g NULL: forward, to y. */
bool learnexperts_takes(const struct learnops_experts *a, const struct mat *y,
                        const struct learnops_experts_grads *g);
/* ERR_NOMEM. */
err learnexperts_run(struct compute *c, const struct learnops_experts *a, struct mat y);
err learnexperts_run_backward(struct compute *c, const struct learnops_experts *a,
                              const struct learnops_experts_grads *g);

#endif

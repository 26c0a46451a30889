/* tensor/cpu/learnattention.h: attention for learning (learnops.h) per CPU level, forward and backward, never
 * holding all scores (Dao, "FlashAttention-2", 2023, arXiv 2307.08691).
 *
 * The tokens are cut into groups of whole documents that do not see each other; a task is a group and one
 * head of keys. Every sum belongs to one task and runs in an order that the positions alone decide, so the
 * results do not depend on the number of threads. Blocks of 32 x 32 scores that no token may see are not
 * computed.
 *
 * amx: the probabilities and the gradients by the scores are rounded to bfloat16 before they are multiplied;
 * sums are float32. avx2, avx512: float32 throughout. A NaN or infinity may reach other tokens of its group. */
#ifndef TENSOR_CPU_LEARNATTENTION_H
#define TENSOR_CPU_LEARNATTENTION_H

#include "tensor/learnops.h"

struct learnattention_grads {
    struct mat dout, dq, dk, dv;
};

/* Tokens [first, first + n) and one head of keys with all the heads of queries that read it. */
struct learnattention_task {
    const struct learnops_attention *a;
    const struct learnattention_grads *d; /* NULL: forward */
    size_t first, n, kv_head;
    char *scratch; /* 64-byte aligned, of this thread */
};

struct learnattention_kernels {
    void (*run)(const struct learnattention_task *t);
    size_t (*scratch)(const struct learnattention_task *t); /* bytes; looks at a, d and n alone */
    void (*thread_begin)(void);
    void (*thread_end)(void);
};

/* Whether these kernels take it: everything bfloat16, lse float32. d NULL: forward. */
bool learnattention_takes(const struct learnops_attention *a, const struct learnattention_grads *d);
err learnattention_run(struct compute *c, const struct learnops_attention *a,
                       const struct learnattention_grads *d, const struct learnattention_kernels *kernels);

err learnattention_avx2(struct compute *c, const struct learnops_attention *a,
                        const struct learnattention_grads *d);
err learnattention_avx512(struct compute *c, const struct learnops_attention *a,
                          const struct learnattention_grads *d);
err learnattention_amx(struct compute *c, const struct learnops_attention *a,
                       const struct learnattention_grads *d);

#endif

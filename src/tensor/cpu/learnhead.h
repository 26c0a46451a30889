/* tensor/cpu/learnhead.h: the head and its loss in one (learnops_head), without logits in memory.
 *
 * A thread takes a block of tokens through the whole vocabulary, a panel of rows of w at a time: scores (tiles
 * of w times x^T), their exponentials e = exp(score - the target's score) while the next tiles are multiplied,
 * and w^T e, which becomes dx. Nobody waits for the largest score: where one is far above the target's, what
 * was made before is scaled down. A token's softmax is e over the sum of its e, so 1 / sum is a factor of its
 * dx and of a copy of its x. e is kept for a chunk of tokens, as tiles, from which dw += e (factor x) is made.
 * Every sum has an order that shapes alone decide, so results do not depend on the number of threads. */
#ifndef TENSOR_CPU_LEARNHEAD_H
#define TENSOR_CPU_LEARNHEAD_H

#include "tensor/learnops.h"

enum {
    LEARNHEAD_GROUP = 32,       /* tokens, and rows of w, of a product */
    LEARNHEAD_BLOCK_MOST = 256, /* tokens of a block */
};

struct learnhead_plan {
    const struct learnops_head *a;
    size_t k_steps, v_steps; /* of 32 columns and 32 rows of w */
    size_t groups;           /* of a block */
    size_t blocks;           /* of a chunk */
    size_t first;            /* token of the chunk */
    uint16_t *turned;        /* w^T: left tiles [panel][2 k_steps][its steps] */
    uint16_t *e;             /* left tiles [block][2 v_steps][groups] */
    uint16_t *x;             /* times its factor: right tiles [blocks * groups][2 k_steps] */
};

/* Blocks and chunks for x [T, D] and w [V, D]: their sizes decide, not threads. */
struct learnhead_plan learnhead_shape(size_t n_tokens, size_t n_vocab, size_t width);
/* Bytes of `memory` for them, with gradients; where in it the plan's parts are. */
size_t learnhead_bytes(size_t n_tokens, size_t n_vocab, size_t width);
void learnhead_place(struct learnhead_plan *p, void *memory);

/* x, w bfloat16, dx and dw float32. */
bool learnhead_takes(const struct learnops_head *a);
err learnhead_amx(struct compute *c, const struct learnops_head *a); /* ERR_NOMEM */

#endif

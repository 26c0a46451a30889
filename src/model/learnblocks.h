/* model/learnblocks.h: a batch block by block. A block is one or more whole sequences, which attention never
 * leaves, and about as many tokens as stay in a core's second cache through the operations of a layer. One
 * thread takes a block through all of them, between two points where the whole batch has to meet.
 *
 * Where a batch is cut depends on its shape alone, and the operations of a block are the same calls whether one
 * thread makes them or all: the results do not depend on the number of threads. */
#ifndef MODEL_LEARNBLOCKS_H
#define MODEL_LEARNBLOCKS_H

#include "model/learnrun.h"

struct learnblocks_worker;

struct learnblocks {
    size_t n, tokens; /* blocks; tokens of each but the last, which may have fewer */
    size_t area;      /* bytes that a block takes besides the batch's, as counted */
    struct learnblocks_worker *workers; /* [n_workers], owned; NULL: counting */
    size_t n_workers;
};

/* How a batch is cut; no memory. */
void learnblocks_init(struct learnblocks *b, size_t n_sequences, size_t context);
/* Bytes of the areas of n_threads threads, after counting. */
size_t learnblocks_bytes(const struct learnblocks *b, int n_threads);
/* The areas, after counting, for the threads of `compute`. After an error: learnblocks_deinit. */
ERR_MUST_USE err learnblocks_start(struct learnblocks *b, const struct compute *compute, struct errinfo *info);
void learnblocks_deinit(struct learnblocks *b);

/* Calls fn for all blocks: with fewer blocks than threads one after the other, each with all threads, otherwise
 * side by side. `r` of a call: the block's tokens, sequences and positions, a compute and an arena of its own,
 * emptied after the call. What stays is the caller's: rows [first, first + r->n_tokens) of mats of the batch.
 * Counting: one call, of the first block, which is as large as any. The error of a block that failed. */
typedef err learnblocks_fn(const struct learnrun *r, size_t first, const void *user);
ERR_MUST_USE err learnblocks_run(const struct learnrun *r, learnblocks_fn *fn, const void *user);

/* Sums over the rows of a batch, such as the gradient of a norm's weight: a row of its own for each block, 0 at
 * first [n, cols] (wide, from the arena); the block's row; and y [1, cols] adds all of them, in order. */
struct mat learnblocks_sums(const struct learnrun *r, size_t cols);
struct mat learnblocks_sum(const struct learnrun *r, struct mat sums, size_t first);
void learnblocks_add(const struct learnrun *r, struct mat y, struct mat sums);

#endif

/* train/feed.h: rows of tokens for learning, from a dataset: shuffled, mixed from several sources by weight,
 * and continued exactly where they were left.
 *
 * A document is cut into pieces of at most `context` tokens; the first token of a piece is the last of the
 * one before, so that every token but a document's first is predicted once. Pieces come in an order that is
 * a pseudo-random permutation of each source's pieces, another one in each epoch, computed instead of
 * stored: a Feistel network over the piece numbers (Black and Rogaway, "Ciphers with Arbitrary Finite
 * Domains", 2002), so nothing but a number is needed to go on. The next piece is of the source that is
 * furthest behind its share of the tokens.
 *
 * Rows are filled with piece after piece, without gaps; a piece that does not fit goes on in the next row.
 * Positions begin at 0 with each part of a piece in a row: attention must not look past a 0. */
#ifndef TRAIN_FEED_H
#define TRAIN_FEED_H

#include <stdbool.h>

#include "train/dataset.h"

struct feed_weight {
    const char *source; /* a name in the dataset */
    double weight;      /* of its tokens among all; more than 0; they need not add up to 1 */
};

struct feed_options {
    enum dataset_part part;
    size_t context; /* 1 to 2^20 */
    uint64_t seed;
    bool in_order; /* no shuffling, sources one after another, weights unused, and an end: for validation */
    const struct feed_weight *weights; /* NULL: every source, by its number of tokens */
    size_t n_weights;
};

/* Where a feed is: everything it needs to go on. Written to checkpoints as it is. */
struct feed_place {
    uint64_t epoch, index; /* of the source's next piece */
    uint64_t tokens;       /* positions given out so far */
};
struct feed_state {
    uint64_t source, at, end; /* the piece that goes on: its source, tokens of it; at == end: none */
    uint64_t n_places;
    struct feed_place places[DATASET_SOURCES_MAX];
};

struct feed;

/* Opens (and so verifies) the shards of the part. ERR_ARGUMENT for unknown names, weights that are no positive
 * number, a part without tokens. `d` may be released afterwards. */
ERR_MUST_USE err feed_open(const struct dataset *d, const struct feed_options *options, struct feed **out,
                           struct errinfo *info);
void feed_close(struct feed *f); /* NULL is fine */

/* Fills one row: inputs, targets and positions, each [context]. Always true, except with in_order, when
 * nothing is left; its last row is filled up with position 0, input 0 and target -1. -1 is also the target
 * where a marked shard (tokenshard.h) has a token that is only read. */
bool feed_next(struct feed *f, int32_t *inputs, int32_t *targets, int32_t *positions);

void feed_save(const struct feed *f, struct feed_state *out);
/* ERR_CORRUPT when the state is none of such a feed. */
ERR_MUST_USE err feed_restore(struct feed *f, const struct feed_state *state, struct errinfo *info);

size_t feed_sources(const struct feed *f);
const char *feed_source_name(const struct feed *f, size_t i);
/* How often the pieces of source i were given out: 1.5 is in the middle of the second epoch. */
double feed_epochs(const struct feed *f, size_t i);
size_t feed_tokens(const struct feed *f); /* of the part, all sources: predictions in an epoch */

#endif

/* text/bpe.h: byte-pair merging on ids. A rule says that the neighbours `left right` become `id`, and
 * how early (`rank`). Merging a piece takes the applicable rule of the lowest rank, the leftmost place
 * first, until none applies. */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The rules: open addressing on the pair. Immutable while merging, then thread-safe. */
struct bpe_rule {
    int32_t left, right; /* left < 0: an empty slot */
    int32_t rank, id;
};
struct bpe {
    struct bpe_rule *slots; /* owned */
    size_t mask;            /* slots - 1, a power of two less one */
    uint64_t seed;          /* makes collisions unpredictable for whoever wrote the file */
};

/* Room for `n_rules` rules. */
ERR_MUST_USE err bpe_init(struct bpe *b, size_t n_rules, uint64_t seed);
void bpe_deinit(struct bpe *b); /* a zeroed struct is fine */
/* Adds a rule; a second rule for the same pair replaces the first, as the `tokenizers` library does.
 * At most n_rules calls; ids and ranks are not negative. */
void bpe_add(struct bpe *b, int32_t left, int32_t right, int32_t rank, int32_t id);

enum { BPE_MAX = 1 << 30 }; /* ids of one piece */

/* Scratch memory of merging, reused from piece to piece; one per thread. Zeroed at first. */
struct bpe_symbol;
struct bpe_candidate;
struct bpe_run;
struct bpe_end;
struct bpe_work {
    struct bpe_symbol *symbols;       /* [cap_symbols] */
    struct bpe_candidate *candidates; /* [2 * cap_symbols] */
    size_t cap_symbols;
    int32_t free; /* the first of the candidates that are none; -1: all are */
    struct bpe_run *heap;
    size_t n_heap, cap_heap;
    struct bpe_end *ends; /* [mask_ends + 1] by rank */
    size_t cap_ends, mask_ends;
};
void bpe_work_deinit(struct bpe_work *w);

/* Merges the ids in place; *n is their number before and after. O(n log n). ERR_NOMEM leaves ids as
 * they were; n is at most BPE_MAX. */
ERR_MUST_USE err bpe_merge(const struct bpe *b, struct bpe_work *w, int32_t *ids, size_t *n);

#endif

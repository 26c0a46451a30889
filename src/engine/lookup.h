/* engine/lookup.h: guesses the tokens that come next from the sequence itself: where its last tokens
 * stood before, what followed them there ("prompt lookup"). Copied passages, code being edited, tables
 * and loops are guessed well; on new text there is mostly no guess at all.
 *
 * An index over every LOOKUP_GRAM tokens in a row: hash chains, newest first, as in LZ77. Adding or
 * taking back a token is O(1), a guess looks at no more than LOOKUP_CANDIDATES places and
 * LOOKUP_MATCH_MAX tokens of each. Memory: at most 12 bytes per position of the capacity.
 * The tokens belong to the caller, who says when they change.
 * Thread rule: belongs to the session that owns it. */
#ifndef ENGINE_LOOKUP_H
#define ENGINE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { LOOKUP_GRAM = 3, LOOKUP_CANDIDATES = 32, LOOKUP_MATCH_MAX = 32 };

struct lookup {
    uint32_t *head;  /* [n_heads] newest position + 1 whose gram has this hash; 0: none */
    uint32_t *older; /* [capacity] the position + 1 before it in the chain */
    size_t n_heads;  /* a power of two */
    size_t capacity;
    size_t n; /* tokens indexed */
};

/* For sequences of up to `capacity` tokens. ERR_NOMEM. */
ERR_MUST_USE err lookup_init(struct lookup *l, size_t capacity);
void lookup_deinit(struct lookup *l); /* a zeroed struct is fine */

/* Indexes tokens [l->n, n); those before are as they were. n is at most the capacity. */
void lookup_extend(struct lookup *l, const int32_t *tokens, size_t n);
/* Forgets everything after the first n tokens. To be called before they are overwritten. */
void lookup_truncate(struct lookup *l, const int32_t *tokens, size_t n);

/* Up to `max` tokens that may follow the l->n indexed ones, from the place where most of the tokens
 * before agree, the newest among equals; returns how many, and in *matched how many agreed (0: no
 * guess). A passage that repeats itself up to the end is continued round and round. */
size_t lookup_guess(const struct lookup *l, const int32_t *tokens, size_t max, int32_t *out,
                    size_t *matched);

#endif

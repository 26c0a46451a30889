/* text/grammarstates.h: how far a text has come in a grammar. A state is the set of all places the text may be
 * at, each with the calls it will return to; equal sets are one state, so a state is a number: copying it is
 * free, and what follows a byte is worked out once. States live as long as this object.
 *
 *     uint32_t at = grammarstates_start(s);
 *     for (…) TRY(grammarstates_next(s, at, byte, &at, info));     // GRAMMARSTATES_DEAD: no such text
 *     if (grammarstates_may_end(s, at)) …
 *
 * Work is counted: a place passed is one step, and so are eight places looked at or eight classes of bytes of a
 * new state. What is known already costs none.
 *
 * From every state but the dead one some text leads to an end. Thread rule: one thread at a time. */
#ifndef TEXT_GRAMMARSTATES_H
#define TEXT_GRAMMARSTATES_H

#include <stdbool.h>
#include <stdint.h>

#include "text/grammar.h"

enum {
    GRAMMARSTATES_DEAD = 0,
    GRAMMARSTATES_PLACES_MAX = 1 << 14, /* in one state: ways to read the text so far */
    GRAMMARSTATES_WORK_MAX = 1 << 17,   /* places passed between two bytes */
    GRAMMARSTATES_CALLS_MAX = 1 << 20,  /* places with their calls, of all states */
    GRAMMARSTATES_MAX = 1 << 17,
    GRAMMARSTATES_STORED_MAX = 1 << 22, /* places of all states, and bytes of all states worked out */
};

struct grammarstates;

/* `g` must outlive it. */
ERR_MUST_USE err grammarstates_new(const struct grammar *g, struct grammarstates **out,
                                   struct errinfo *info);
void grammarstates_free(struct grammarstates *s); /* NULL is fine */

uint32_t grammarstates_start(const struct grammarstates *s);
/* ERR_LIMIT: the grammar can be read in too many ways, or needs too many states or more work than is allowed;
 * ERR_NOMEM. */
ERR_MUST_USE err grammarstates_next(struct grammarstates *s, uint32_t state, uint8_t byte, uint32_t *out,
                                    struct errinfo *info);
bool grammarstates_may_end(const struct grammarstates *s, uint32_t state);

/* So many steps of work may be done from now on; all one wants until this is called. */
void grammarstates_allow(struct grammarstates *s, uint64_t steps);
uint64_t grammarstates_left(const struct grammarstates *s); /* of them */

/* The state after a byte where that is known, else UINT32_MAX: for loops that cannot wait. */
struct grammarstates_rows {
    const uint32_t *next;   /* [states][n_classes] */
    const uint8_t *classes; /* [256] */
    size_t n_classes;
};
struct grammarstates_rows grammarstates_known(const struct grammarstates *s); /* until the next call */

/* Much is stored: time to forget all states but one, which gets a new number. */
bool grammarstates_crowded(const struct grammarstates *s);
ERR_MUST_USE err grammarstates_keep(struct grammarstates *s, uint32_t *state, struct errinfo *info);

#endif

/* engine/batcherplaces.h: which of a batcher's jobs run: whose turn it is, who waits, who gives way (the rules
 * are in batcher.h). */
#ifndef ENGINE_BATCHERPLACES_H
#define ENGINE_BATCHERPLACES_H

#include "engine/batcherjob.h"

/* ERR_BUSY: too many wait, or too many of that owner. Who waits leaves as many waiting places free as he has:
 * alone half of them, beside another a third, so that there is one for whoever comes. A free running place is
 * none of them. */
ERR_MUST_USE err batcherplaces_check(const struct batcher *b, uint64_t owner, struct errinfo *info);
/* A turn after those of the owner's other jobs, and not before what runs already. */
uint64_t batcherplaces_turn(const struct batcher *b, uint64_t owner);
/* Who waits gets a place, in turn; nobody overtakes the one whose place or memory is not free yet. */
void batcherplaces_give(struct batcher *b);

/* Of those that run, the one that came last of the owner with the most, or of several such owners; so the
 * oldest of all is it only when it is alone. NULL: none runs. */
struct batcher_job *batcherplaces_last(const struct batcher *b);
/* The job waits again, before all others of its owner, and after the one whose turn it is. What it has read
 * becomes a prefix like others: it finds it again when it goes on, or reads it again if the memory was
 * needed. */
void batcherplaces_pause(struct batcher *b, struct batcher_job *j, uint64_t turn);

/* Counts anew, for each that waits, how many of its owner's run: before batcherplaces_ahead. */
void batcherplaces_rank(struct batcher *b);
/* Jobs whose turn comes before that of waiting[k]. */
size_t batcherplaces_ahead(const struct batcher *b, size_t k);

#endif

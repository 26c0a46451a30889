/* train/trainerstate.h: a trainer to a checkpoint (checkpoint.h) and back: weights, the optimiser's state, the
 * average, the place in the data, counts. A restored run goes on bit for bit as if it had not stopped. */
#ifndef TRAIN_TRAINERSTATE_H
#define TRAIN_TRAINERSTATE_H

#include "train/trainer.h"

ERR_MUST_USE err trainerstate_save(const struct trainer *t, const char *dir, struct errinfo *info);

/* ERR_CORRUPT, with nothing changed, for a checkpoint of another model, other data or another recipe.
 * keep_place: the data go on where they are now, so that rows which did harm are not met again. */
ERR_MUST_USE err trainerstate_restore(struct trainer *t, const char *dir, uint64_t step, bool keep_place,
                                      struct errinfo *info);

/* What a checkpoint was made from: trainrecipe.given, a new reference, and dataset.sha256, "" where it does not
 * say. */
ERR_MUST_USE err trainerstate_origin(const char *dir, uint64_t step, json_t **recipe,
                                     char data[TOKENSHARD_HASH], struct errinfo *info);

#endif

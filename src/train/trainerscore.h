/* train/trainerscore.h: how well a model that learns predicts what it never learns from: the validation part of
 * each source, always the same rows. */
#ifndef TRAIN_TRAINERSCORE_H
#define TRAIN_TRAINERSCORE_H

#include "train/trainer.h"

struct trainerscore {
    double nats; /* sum of -ln p */
    double tokens, bytes;
};
double trainerscore_loss(const struct trainerscore *s); /* nats per token */
double trainerscore_bits_per_byte(const struct trainerscore *s);

struct trainerscore_set;

/* Sources of the recipe's mix (all, without one) that have something for validation. */
ERR_MUST_USE err trainerscore_open(const struct trainrecipe *r, const struct dataset *d,
                                   struct trainerscore_set **out, struct errinfo *info);
void trainerscore_close(struct trainerscore_set *s); /* NULL is fine */
size_t trainerscore_sources(const struct trainerscore_set *s);
const char *trainerscore_source(const struct trainerscore_set *s, size_t i);

/* At most recipe.validate_rows rows of each source: out[sources], and the sum of all in *all. Where the weights
 * are averaged, the average is scored. go_on (or NULL) is asked in between; ERR_CANCELLED. */
ERR_MUST_USE err trainerscore_run(struct trainerscore_set *s, struct trainer *t, bool (*go_on)(void *user),
                                  void *user, struct trainerscore *out, struct trainerscore *all,
                                  struct errinfo *info);

#endif

/* train/ema.h: a moving average of all values of a model, the balance included: smoother than the values
 * themselves, and often better before the learning rate has decayed.
 *
 *     average = average + (1 - decay) (value - average), after each step; at first it is the values of ema_new.
 *
 * float32 (exact mode: float64). Thread rule: one call at a time; inside it all threads of the compute are
 * used. */
#ifndef TRAIN_EMA_H
#define TRAIN_EMA_H

#include "model/learnparams.h"

struct ema;

/* Borrows params and compute until ema_free. ERR_ARGUMENT unless 0 <= decay < 1. */
ERR_MUST_USE err ema_new(struct learnparams *params, double decay, struct compute *c, struct ema **out,
                         struct errinfo *info);
void ema_free(struct ema *e); /* NULL is fine */

void ema_update(struct ema *e); /* after a step of the optimizer; not while swapped */

/* The model's values and the average change places, the copies for products follow: once before validation,
 * once after it. */
void ema_swap(struct ema *e);
bool ema_swapped(const struct ema *e);

/* For checkpoints, to be read and written in place while not swapped; "NAME.average". */
struct ema_array {
    char name[96];
    struct mat mat;
};
size_t ema_n_arrays(const struct ema *e);
struct ema_array ema_array_at(const struct ema *e, size_t i);

size_t ema_bytes(const struct learnparams *params); /* of averages; `params` may be learnparams_list's */

#endif

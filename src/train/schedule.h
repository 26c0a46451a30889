/* train/schedule.h: how the learning rate and the batch change during a run.
 *
 * The rate's factor at step s of `steps`, counted from 0 (warm-up, stable, decay; Hu et al., "MiniCPM", 2024):
 *     s < warmup:           (s + 1) / warmup
 *     s < steps - decay:    1, where decay is decay_share * steps, rounded, but at most steps - warmup
 *     otherwise:            1 - (1 - final) shape(x), x = (s - (steps - decay)) / decay, at most 1
 *     shape(x):             linear x; cosine (1 - cos(pi x)) / 2; root sqrt(x) (the "1-sqrt" decay).
 * So the first step of the decay still has factor 1, and a step after the last would have `final`. A plain
 * cosine is decay_share 1: it begins where the warm-up ends. */
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum schedule_shape { SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_ROOT };

struct schedule {
    uint64_t steps;     /* 1 or more */
    uint64_t warmup;    /* at most steps; 0: none */
    double decay_share; /* of the steps, 0 (none) to 1 */
    enum schedule_shape shape;
    double final;       /* 0 to 1 */
};

/* ERR_ARGUMENT names the field that cannot be. */
ERR_MUST_USE err schedule_check(const struct schedule *s, struct errinfo *info);
double schedule_factor(const struct schedule *s, uint64_t step); /* of a schedule that was checked */

/* "linear", "cosine", "root". ERR_ARGUMENT for other names. */
const char *schedule_shape_name(enum schedule_shape shape);
ERR_MUST_USE err schedule_shape_named(const char *name, enum schedule_shape *out, struct errinfo *info);

/* A batch that grows: from `tokens` trained tokens on, `sequences` per step. */
struct schedule_ramp {
    uint64_t tokens;
    size_t sequences;
};

/* ERR_ARGUMENT unless there is an entry, the first is from 0 tokens on, tokens rise strictly from entry to
 * entry, and each has 1 sequence or more. */
ERR_MUST_USE err schedule_check_ramp(const struct schedule_ramp *ramp, size_t n, struct errinfo *info);
/* Sequences of a step that begins after `tokens` tokens: those of the last entry that has begun. */
size_t schedule_sequences(const struct schedule_ramp *ramp, size_t n, uint64_t tokens);

#endif

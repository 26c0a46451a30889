/* train/schedule.c: see schedule.h. */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

static const double SCHEDULE_PI = 3.14159265358979323846;

static const char *const schedule_names[] = {"linear", "cosine", "root"};

err schedule_check(const struct schedule *s, struct errinfo *info)
{
    if (s->steps < 1) {
        return err_set(info, ERR_ARGUMENT, "schedule: 0 steps; a run has 1 or more");
    }
    if (s->warmup > s->steps) {
        return err_set(info, ERR_ARGUMENT, "schedule: a warm-up of %llu steps in a run of %llu; shorten it",
                       (unsigned long long)s->warmup, (unsigned long long)s->steps);
    }
    if (!(s->decay_share >= 0 && s->decay_share <= 1)) {
        return err_set(info, ERR_ARGUMENT, "schedule: the decay's share of the steps is %g; it must be 0 to 1",
                       s->decay_share);
    }
    if (!(s->final >= 0 && s->final <= 1)) {
        return err_set(info, ERR_ARGUMENT, "schedule: the final factor is %g; it must be 0 to 1", s->final);
    }
    if ((unsigned)s->shape > SCHEDULE_ROOT) {
        return err_set(info, ERR_ARGUMENT, "schedule: shape %d is unknown", (int)s->shape);
    }
    return ERR_OK;
}

static double schedule_fallen(enum schedule_shape shape, double x)
{
    switch (shape) {
    case SCHEDULE_COSINE: return (1 - cos(SCHEDULE_PI * x)) / 2;
    case SCHEDULE_ROOT: return sqrt(x);
    default: return x;
    }
}

double schedule_factor(const struct schedule *s, uint64_t step)
{
    if (step < s->warmup) {
        return (double)(step + 1) / (double)s->warmup;
    }
    uint64_t decay = (uint64_t)llround(s->decay_share * (double)s->steps);
    decay = decay < s->steps - s->warmup ? decay : s->steps - s->warmup;
    if (step < s->steps - decay || decay == 0) {
        return 1;
    }
    double x = (double)(step - (s->steps - decay)) / (double)decay;
    return 1 - (1 - s->final) * schedule_fallen(s->shape, x < 1 ? x : 1);
}

const char *schedule_shape_name(enum schedule_shape shape)
{
    return schedule_names[shape];
}

err schedule_shape_named(const char *name, enum schedule_shape *out, struct errinfo *info)
{
    for (int i = 0; i <= SCHEDULE_ROOT; i++) {
        if (strcmp(name, schedule_names[i]) == 0) {
            *out = (enum schedule_shape)i;
            return ERR_OK;
        }
    }
    return err_set(info, ERR_ARGUMENT, "\"%s\" is no shape of a decay; use linear, cosine or root", name);
}

err schedule_check_ramp(const struct schedule_ramp *ramp, size_t n, struct errinfo *info)
{
    if (n == 0) {
        return err_set(info, ERR_ARGUMENT, "batch ramp: empty; it needs the sequences of the first step");
    }
    if (ramp[0].tokens != 0) {
        return err_set(info, ERR_ARGUMENT, "batch ramp: begins at %llu tokens; the first entry must begin at 0",
                       (unsigned long long)ramp[0].tokens);
    }
    for (size_t i = 0; i < n; i++) {
        if (ramp[i].sequences < 1) {
            return err_set(info, ERR_ARGUMENT, "batch ramp: entry %zu has 0 sequences; a step has 1 or more",
                           i + 1);
        }
        if (i > 0 && ramp[i].tokens <= ramp[i - 1].tokens) {
            return err_set(info, ERR_ARGUMENT,
                           "batch ramp: entry %zu begins at %llu tokens, not after the %llu of the one before",
                           i + 1, (unsigned long long)ramp[i].tokens, (unsigned long long)ramp[i - 1].tokens);
        }
    }
    return ERR_OK;
}

size_t schedule_sequences(const struct schedule_ramp *ramp, size_t n, uint64_t tokens)
{
    size_t i = 0;
    while (i + 1 < n && ramp[i + 1].tokens <= tokens) {
        i++;
    }
    return ramp[i].sequences;
}

/* train/trainplan.h: what a run takes, before anything is made: memory, arithmetic. */
#ifndef TRAIN_TRAINPLAN_H
#define TRAIN_TRAINPLAN_H

#include "train/trainrecipe.h"

struct trainplan {
    size_t n_values;                 /* parameters, embedding included */
    double active, total;            /* without embedding and head: that work on a token; all */
    size_t parameters, optimizer, average, activations, rows; /* bytes: values, gradients and copies; … */
    size_t bytes;                    /* all of them */
    double flops_per_token, flops;   /* trainflops.h */
    uint64_t steps;
};

/* With so many threads; 0: every core this process may use. */
ERR_MUST_USE err trainplan_make(const struct trainrecipe *r, int n_threads, struct trainplan *out,
                                struct errinfo *info);

/* ERR_NOMEM with both numbers when this machine has not that much memory free now. */
ERR_MUST_USE err trainplan_fits(const struct trainplan *p, struct errinfo *info);

#endif

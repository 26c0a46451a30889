/* train/trainspeed.h: how fast a recipe's model would learn on this machine: micro batches of random tokens,
 * and updates, timed. Before there is any data; nothing is kept. */
#ifndef TRAIN_TRAINSPEED_H
#define TRAIN_TRAINSPEED_H

#include "tensor/compute.h"
#include "train/trainrecipe.h"

enum { TRAINSPEED_RUNS_MAX = 1000 };

struct trainspeed_seconds {
    double median, min, max;
};

struct trainspeed {
    size_t micro_tokens, step_tokens; /* of a micro batch, of a step */
    double flops_per_token;           /* trainflops.h; with the MTP layer, as in steps that teach it */
    double peak_flops;                /* what this machine does at most (roof.h): median, in between */
    double loss;                      /* nats per token before the first update: about the logarithm of
                                         vocab_size */
    struct trainspeed_seconds micro;  /* forward and backward of a micro batch */
    struct trainspeed_seconds update; /* of the weights, and clearing the gradients for the next */
};

/* The first micro batch and update are not counted, the next `runs` of each, 1 to TRAINSPEED_RUNS_MAX, are.
 * go_on (or NULL) is asked in between; ERR_CANCELLED when it says no. */
ERR_MUST_USE err trainspeed_measure(const struct trainrecipe *r, struct compute *c, size_t runs,
                                    bool (*go_on)(void), struct trainspeed *out, struct errinfo *info);

double trainspeed_micro_rate(const struct trainspeed *s); /* tokens/s of micro batches alone */
double trainspeed_rate(const struct trainspeed *s);       /* tokens/s of whole steps */

/* FLOP/s that this machine does at most now (roof.h). Threads that take turns on a core count as one: each
 * would find a moment when the core is its alone. */
double trainspeed_peak(const struct compute *c);

#endif

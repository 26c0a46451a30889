/* train/trainer.h: a model that learns from a dataset as a recipe says, step by step.
 *
 * A step: rows from the feed, as many as the schedule asks for, go through the model micro batch by micro
 * batch; the optimiser updates the weights; each router's balance bias moves by balance_step towards experts
 * that had less than their share (DeepSeek-V3 report, section 2.1.2: b += step * sign(mean load - load)).
 *
 * With equal recipe, data, CPU level and program, every bit is repeatable, also over saving and restoring
 * (trainerstate.h), and for any number of threads. Thread rule: one call at a time. */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "base/energy.h"
#include "model/learnmodel.h"
#include "text/tokenizer.h"
#include "train/ema.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/trainrecipe.h"

struct trainer_rows { /* [most * context] each */
    int32_t *tokens, *targets, *positions;
    size_t most; /* rows */
};

struct trainer {
    const struct trainrecipe *recipe; /* borrowed */
    struct compute *compute;          /* borrowed */
    struct learnmodel *model;
    struct optimizer *optimizer;
    struct ema *ema; /* NULL without */
    struct schedule schedule;
    struct feed *feed;
    struct tokenizer *tokenizer;
    uint8_t *bytes; /* [vocab_size]: of text that a token stands for */
    char data[TOKENSHARD_HASH]; /* dataset.sha256 */
    struct trainer_rows rows;
    struct energy energy;
    double flops_per_token[2]; /* without and with the MTP layer */

    /* Saved besides weights, optimiser and feed (trainerstate.h). */
    uint64_t step, tokens; /* done */
    double flops, seconds; /* of steps */
    double joules;         /* of this machine during steps; NAN: not known (energy.h) */
    double mean_loss;      /* of recent steps; 0 before the first */
};

/* What the recipe says, as others want it. */
struct optimizer_options trainer_rules(const struct trainrecipe *r);
struct learnmodel_options trainer_batch(const struct trainrecipe *r);
size_t trainer_sequences(const struct trainrecipe *r, uint64_t tokens); /* of the step after so many tokens */
uint64_t trainer_steps(const struct trainrecipe *r);                    /* of the whole run */
bool trainer_mtp(const struct trainrecipe *r, uint64_t tokens); /* does the MTP layer learn in that step? */

/* The dataset's folder holds its tokenizer.json. ERR_ARGUMENT when recipe and dataset do not fit together. */
ERR_MUST_USE err trainer_new(const struct trainrecipe *r, const struct dataset *d, struct compute *c,
                             struct trainer **out, struct errinfo *info);
void trainer_free(struct trainer *t); /* NULL is fine */

enum trainer_verdict { TRAINER_FINE, TRAINER_SPIKE, TRAINER_NOT_FINITE };

struct trainer_report { /* of a step */
    uint64_t step, tokens; /* done, this one included */
    double flops, seconds, joules; /* likewise */
    double loss, mtp_loss, balance_loss; /* nats per token; mtp: NAN where it does not learn; balance: mean over
                                            layers and sequences */
    double bits_per_byte, lr, grad_norm, step_seconds, tokens_per_s, flops_per_s;
    double load_spread; /* largest share of an expert times experts, mean over layers: 1 is even; 0: dense */
    enum trainer_verdict verdict;
};

/* One step. A loss or gradient that is not finite leaves the weights as they are; a spike is learnt from and
 * reported. */
ERR_MUST_USE err trainer_step(struct trainer *t, struct trainer_report *out, struct errinfo *info);
bool trainer_done(const struct trainer *t); /* all tokens of the recipe were learnt from */

#endif

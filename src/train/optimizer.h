/* train/optimizer.h: turns the gradients of a model's parameters into their next values: AdamW, and Muon for
 * matrices (muon.h), each group of parameters by its own rule.
 *
 * With rate = lr * lr_scale, t the number of steps with this one, g the gradient after clipping:
 *     AdamW: m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
 *            d = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps),
 *            value = (1 - rate weight_decay) value - rate d.
 *     Muon:  see muon.h; eps is the least norm that a matrix of directions is divided by.
 * Decay is decoupled from the gradient, and scheduled with the rate. The router's selection bias (balance) is
 * no gradient's business and is left alone.
 *
 * Results do not depend on the number of threads. In exact mode (learnparams.h) everything is float64.
 * Thread rule: one call at a time; inside it all threads of the compute are used. */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "model/learnparams.h"

enum optimizer_group {
    OPTIMIZER_MATRICES, /* of layers: attention, feed-forward, each expert by itself */
    OPTIMIZER_EMBEDDINGS,
    OPTIMIZER_HEAD,     /* when it is not the embeddings */
    OPTIMIZER_ROUTERS,
    OPTIMIZER_VECTORS,  /* norms */
    OPTIMIZER_GROUPS
};

struct optimizer_rule {
    bool muon;             /* MATRICES only; the others are AdamW's */
    double lr;             /* 0 or more */
    double weight_decay;   /* 0 or more, lr * weight_decay at most 1 */
    double beta1, beta2;   /* AdamW: 0 to below 1 */
    double eps;            /* 1e-30 to 1 */
};

struct optimizer_options {
    struct optimizer_rule rules[OPTIMIZER_GROUPS]; /* of groups that the model lacks: unused */
    double muon_momentum;  /* 0 to below 1 */
    bool muon_nesterov;
    int muon_steps;        /* of Newton-Schulz, 1 to 20 */
    double clip;           /* the norm that all gradients together are cut down to; 0: none */
};

struct optimizer;

/* The state is made here, all 0. `params` and `c` are borrowed until optimizer_free. ERR_ARGUMENT names the
 * option that cannot be. */
ERR_MUST_USE err optimizer_new(struct learnparams *params, const struct optimizer_options *options,
                               struct compute *c, struct optimizer **out, struct errinfo *info);
void optimizer_free(struct optimizer *o); /* NULL is fine */

struct optimizer_report {
    double grad_norm;   /* of all gradients together, before clipping */
    double clip_factor; /* what they were multiplied by: 1, or clip / grad_norm */
    double update_rms[OPTIMIZER_GROUPS]; /* of an element, before the learning rate, without decay */
    bool finite;        /* false: the gradients are no numbers, and nothing has changed */
};

/* Gradients that are not finite, or after clipping together above 1e18, whose squares float32 cannot hold, are
 * reported and change nothing. Otherwise:
 * Reads gradients; changes values, their copies for products (no learnparams_refresh needed), the state, the
 * number of steps. Gradients stay as they are. ERR_ARGUMENT for an lr_scale that is no number of 0 or more;
 * ERR_NOMEM leaves parameters half changed: go back to a checkpoint. */
ERR_MUST_USE err optimizer_step(struct optimizer *o, double lr_scale, struct optimizer_report *report,
                                struct errinfo *info);

/* The state, for checkpoints: to be read and written in place, float32 (exact mode: float64), without gaps.
 * "NAME.momentum" for Muon's, "NAME.m" and "NAME.v" for AdamW's parameters. */
struct optimizer_array {
    char name[96];
    struct mat mat;
};
size_t optimizer_n_arrays(const struct optimizer *o);
struct optimizer_array optimizer_array_at(const struct optimizer *o, size_t i);

/* Steps made: Adam corrects its averages by them. To be set after the arrays were read from a checkpoint. */
uint64_t optimizer_steps(const struct optimizer *o);
void optimizer_set_steps(struct optimizer *o, uint64_t steps);

enum optimizer_group optimizer_group_of(const struct learnparams *params, const struct learnparam *param);

/* Bytes of state, besides some MB of scratch; `params` may be learnparams_list's. */
size_t optimizer_bytes(const struct learnparams *params, const struct optimizer_options *options);

#endif

/* train/trainflops.h: the arithmetic that learning from a token takes at the least, counted from the shape: a
 * multiply-add counts as 2, backward as twice forward. Matrices once per token, of the routed experts those
 * that are chosen; the head once per prediction; attention over half the context on average (causal), whatever
 * the lengths of documents. Norms, activations and the optimiser are not counted. */
#ifndef TRAIN_TRAINFLOPS_H
#define TRAIN_TRAINFLOPS_H

#include "model/learnparams.h"

/* mtp: with the MTP layers, where there are. */
double trainflops_per_token(const struct config *c, const struct learnparams *p, size_t context, bool mtp);

/* Parameters that work on one token, without embedding and head; `all`: with every expert. */
double trainflops_active(const struct config *c, const struct learnparams *p, bool all);

#endif

/* train/muon.h: Muon for the matrices of a model (Jordan et al., "Muon: An optimizer for hidden layers in
 * neural networks", 2024; its scale from Liu et al., "Muon is Scalable for LLM Training", 2025).
 *
 * For each matrix W [rows, cols] with gradient G, all experts and all heads of a parameter by themselves:
 *     M = momentum M + G,   U = M, or with Nesterov's look ahead U = G + momentum M,
 *     X = U / max(|U|, eps), |U| Frobenius's norm,
 *     X = a X + b (X X^T) X + c (X X^T)^2 X,   `steps` times, a, b, c = 3.4445, -4.7750, 2.0315,
 *     W = (1 - rate weight_decay) W - rate 0.2 sqrt(max(rows, cols)) X.
 * X nears the orthogonal factor of U: after 5 steps singular values are between 0.7 and 1.2, unless they were
 * below 0.01. The scale gives updates the size that AdamW's have, about 0.2 per element, so that AdamW's
 * learning rates carry over. Where rows > cols, the same is computed as X (X^T X). Where U is 0, which no loss
 * has reached yet, W stays as it is.
 *
 * MLA's k_b and v_b are taken head by head: heads differ in how large their gradients are, and one factor for
 * all of them together would give the quiet ones little; that is what the file's layout has anyway.
 *
 * Products are bfloat16 with float32 sums; in exact mode everything is float64. No result depends on the number
 * of threads, nor on what other matrices there are. Thread rule: one call at a time. */
#ifndef TRAIN_MUON_H
#define TRAIN_MUON_H

#include "model/learnparams.h"

struct muon;

struct muon_part {
    const struct learnparam *param;
    struct mat momentum; /* shaped as param->value */
};

/* Borrows the params' and momenta's memory, and the compute, until muon_free. Scratch: at most 8 MB for each
 * thread, and 8 bytes per element of the largest matrix that has 2^20 or more (exact mode: four times that). */
ERR_MUST_USE err muon_new(const struct muon_part *parts, size_t n, struct compute *c, struct muon **out,
                          struct errinfo *info);
void muon_free(struct muon *m); /* NULL is fine */

struct muon_rule {
    double rate, weight_decay; /* of this step: the learning rate with its schedule */
    double momentum, eps;
    bool nesterov;
    int steps;
    double grad_scale; /* G = grad * grad_scale */
};

/* One step of all parts; *squares: the sum of the squares of 0.2 sqrt(max(rows, cols)) X. ERR_NOMEM leaves some
 * parts changed and others not. */
ERR_MUST_USE err muon_step(struct muon *m, const struct muon_rule *rule, double *squares);

#endif

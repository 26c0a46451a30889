/* model/learnrouter.h: the router for learning: which experts, with what weight, and the gradients of the
 * weights and of the balance loss. Selection is router.h's. Forward and backward go block by block, as in
 * learnmla.h.
 *
 * Balance within each sequence (DeepSeek-V3 paper, equations 17 to 20): with n tokens, E experts of which K are
 * chosen, scores s, q[t, e] = s[t, e] / sum of s[t, .],
 *     f[e] = E / (K n) * tokens that chose e,   P[e] = mean over t of q[t, e],   loss = sum over e of f[e] P[e]
 * f counts as a constant. The loss is 1 when all experts are even. */
#ifndef MODEL_LEARNROUTER_H
#define MODEL_LEARNROUTER_H

#include "model/learnrun.h"

struct learnrouter {
    struct mat scores;  /* wide [T, E]: sigmoid or softmax of the logits */
    struct mat weights; /* wide [T, K] */
    struct mat load;    /* wide [sequences, E], f */
    uint32_t *chosen;   /* [T * K] */
};

void learnrouter_keep(const struct learnrun *r, struct learnrouter *kept);
struct learnrouter learnrouter_rows(const struct learnrun *r, const struct learnrouter *kept, size_t first,
                                    size_t n);
/* logits [T, E], wide. balance: the selection bias [1, E], NULL for none. */
void learnrouter_forward(const struct learnrun *r, struct mat logits, const struct learnparam *balance,
                         const struct learnrouter *kept);

/* dweights [T, K]; sets dlogits [T, E], the gradient of the loss plus balance_scale times the sum of all
 * sequences' balance losses. */
void learnrouter_backward(const struct learnrun *r, const struct learnrouter *kept, struct mat dweights,
                          double balance_scale, struct mat dlogits);

/* The sum of all sequences' balance losses. */
double learnrouter_balance_loss(const struct learnrun *r, const struct learnrouter *kept);

#endif

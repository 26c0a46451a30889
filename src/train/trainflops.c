/* train/trainflops.c: see trainflops.h. */
#include "train/trainflops.h"

#include <stdio.h>

static bool trainflops_is_expert(const struct learnparams *p, const struct config *c,
                                 const struct learnparam *q)
{
    for (size_t i = 0; i < c->num_hidden_layers + c->num_nextn_predict_layers; i++) {
        const struct learnparams_layer *l = &p->layers[i];
        if (q == l->expert_gate || q == l->expert_up || q == l->expert_down) {
            return true;
        }
    }
    return false;
}

/* Their layers come after all others (learnparams.h). */
static bool trainflops_is_mtp(const struct config *c, const struct learnparam *q)
{
    size_t layer;
    return sscanf(q->name, "blk.%zu.", &layer) == 1 && layer >= c->num_hidden_layers;
}

static double trainflops_sum(const struct config *c, const struct learnparams *p, bool all, bool mtp)
{
    double n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct learnparam *q = &p->all[i];
        double size = (double)q->value.rows * (double)q->value.cols;
        bool counts = q->kind != LEARNPARAMS_EMBEDDING && q->kind != LEARNPARAMS_BALANCE;
        if (!counts || (!mtp && trainflops_is_mtp(c, q))) {
            continue;
        }
        if (!all && trainflops_is_expert(p, c, q)) {
            size *= (double)c->num_experts_per_tok / (double)c->n_routed_experts;
        }
        n += size;
    }
    return n;
}

double trainflops_active(const struct config *c, const struct learnparams *p, bool all)
{
    return trainflops_sum(c, p, all, true);
}

double trainflops_per_token(const struct config *c, const struct learnparams *p, size_t context, bool mtp)
{
    double further = mtp ? (double)c->num_nextn_predict_layers : 0;
    double layers = (double)c->num_hidden_layers + further, predictions = 1 + further;
    double head = (double)c->vocab_size * (double)c->hidden_size * predictions;
    double heads = (double)c->num_attention_heads * (double)(config_qk_dim(c) + config_v_dim(c));
    double attention = layers * heads * (double)context / 2;
    return 3 * 2 * (trainflops_sum(c, p, false, mtp) + head + attention);
}

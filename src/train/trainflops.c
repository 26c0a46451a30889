/* train/trainflops.c: see trainflops.h. */
#include "train/trainflops.h"

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

double trainflops_active(const struct config *c, const struct learnparams *p, bool all)
{
    double n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct learnparam *q = &p->all[i];
        double size = (double)q->value.rows * (double)q->value.cols;
        if (q->kind == LEARNPARAMS_EMBEDDING || q->kind == LEARNPARAMS_BALANCE) {
            continue;
        }
        if (!all && trainflops_is_expert(p, c, q)) {
            size *= (double)c->num_experts_per_tok / (double)c->n_routed_experts;
        }
        n += size;
    }
    return n;
}

double trainflops_per_token(const struct config *c, const struct learnparams *p, size_t context)
{
    double layers = (double)(c->num_hidden_layers + c->num_nextn_predict_layers);
    double predictions = 1 + (double)c->num_nextn_predict_layers;
    double head = (double)c->vocab_size * (double)c->hidden_size * predictions;
    double heads = (double)c->num_attention_heads * (double)(config_qk_dim(c) + config_v_dim(c));
    double attention = layers * heads * (double)context / 2;
    return 3 * 2 * (trainflops_active(c, p, false) + head + attention);
}

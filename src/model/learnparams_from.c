/* model/learnparams_from.c: the values of a model that exists; see learnparams.h. Finding tensors under their
 * names and checking them is weights.h's; here they are copied. */
#include "base/mem.h"
#include "model/learnparams.h"
#include "model/weights.h"
#include "tensor/ref/dequant.h"

struct learnparams_source {
    const struct config *config;
    float *row; /* room for the longest row */
};

/* The tensor's rows become `to`'s. An absent one is of another class. */
static void learnparams_take(const struct learnparams_source *s, struct mat to, const struct tensor *t)
{
    for (size_t r = 0; !tensor_is_absent(t) && r < to.rows; r++) {
        dequant_row(t, r, s->row);
        for (size_t c = 0; c < to.cols; c++) {
            mat_set(&to, r, c, (double)s->row[c]);
        }
    }
}

static void learnparams_take_matrix(const struct learnparams_source *s, const struct learnparam *to,
                                    const struct tensor *t)
{
    if (to) {
        learnparams_take(s, to->value, t);
    }
}

/* A selection bias that the files lack is 0. */
static void learnparams_take_vector(const struct learnparam *to, const float *from)
{
    for (size_t c = 0; to && c < to->value.cols; c++) {
        mat_set(&to->value, 0, c, from ? (double)from[c] : 0);
    }
}

/* k_b's head [kv_lora, nope] from k_absorb, which is the same; or, where that was made from blocks and rounded
 * (absorb.h), from k_up, its transpose. */
static void learnparams_take_keys(const struct learnparams_source *s, struct mat to,
                                  const struct tensor *k_absorb, const struct tensor *k_up)
{
    if (dtype_info(k_up->dtype)->block_elems == 1) {
        learnparams_take(s, to, k_absorb);
        return;
    }
    for (size_t r = 0; r < to.cols; r++) {
        dequant_row(k_up, r, s->row);
        for (size_t c = 0; c < to.rows; c++) {
            mat_set(&to, c, r, (double)s->row[c]);
        }
    }
}

static void learnparams_take_attention(const struct learnparams_source *s, const struct learnparams_layer *to,
                                       const struct weights_layer *from)
{
    learnparams_take_vector(to->attn_norm, from->attn_norm);
    learnparams_take_matrix(s, to->o, &from->o);
    learnparams_take_matrix(s, to->q, &from->q);
    learnparams_take_matrix(s, to->k, &from->k);
    learnparams_take_matrix(s, to->v, &from->v);
    learnparams_take_matrix(s, to->q_a, &from->q_a);
    learnparams_take_vector(to->q_a_norm, from->q_a_norm);
    learnparams_take_matrix(s, to->q_b, &from->q_b);
    learnparams_take_matrix(s, to->kv_a, &from->kv_a);
    learnparams_take_vector(to->kv_a_norm, from->kv_a_norm);
    for (size_t h = 0; to->k_b && h < s->config->num_attention_heads; h++) {
        learnparams_take_keys(s, learnparams_matrix(to->k_b, to->k_b->value, h), &from->k_absorb[h],
                              &from->k_up[h]);
        learnparams_take(s, learnparams_matrix(to->v_b, to->v_b->value, h), &from->v_up[h]);
    }
}

static void learnparams_take_layer(const struct learnparams_source *s, const struct learnparams_layer *to,
                                   const struct weights_layer *from)
{
    learnparams_take_attention(s, to, from);
    learnparams_take_vector(to->ffn_norm, from->ffn_norm);
    learnparams_take_matrix(s, to->gate, &from->mlp.gate);
    learnparams_take_matrix(s, to->up, &from->mlp.up);
    learnparams_take_matrix(s, to->down, &from->mlp.down);
    learnparams_take_matrix(s, to->router, &from->router);
    learnparams_take_vector(to->balance, from->router_bias);
    for (size_t e = 0; to->router && e < s->config->n_routed_experts; e++) {
        const struct weights_mlp *expert = &from->experts[e];
        learnparams_take(s, learnparams_matrix(to->expert_gate, to->expert_gate->value, e), &expert->gate);
        learnparams_take(s, learnparams_matrix(to->expert_up, to->expert_up->value, e), &expert->up);
        learnparams_take(s, learnparams_matrix(to->expert_down, to->expert_down->value, e), &expert->down);
    }
}

static void learnparams_take_mtp(const struct learnparams_source *s, const struct learnparams *p,
                                 const struct weights_mtp *from)
{
    const struct learnparams_mtp *to = &p->mtp[0];
    learnparams_take_matrix(s, to->join, &from->join);
    learnparams_take_vector(to->embed_norm, from->embed_norm);
    learnparams_take_vector(to->hidden_norm, from->hidden_norm);
    learnparams_take_vector(to->norm, from->norm);
    learnparams_take_layer(s, &p->layers[s->config->num_hidden_layers], &from->layer);
}

static err learnparams_take_all(struct learnparams *p, const struct config *c, const struct weights *w,
                                struct errinfo *info)
{
    size_t longest = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct mat *v = &p->all[i].value;
        longest = v->cols > longest ? v->cols : longest;
    }
    struct learnparams_source s = {c, mem_calloc(longest, sizeof *s.row)};
    if (!s.row) {
        return err_set(info, ERR_NOMEM, "out of memory reading the model's values");
    }
    learnparams_take_matrix(&s, p->embed, &w->embed);
    learnparams_take_vector(p->norm, w->norm);
    learnparams_take_matrix(&s, p->head, &w->head);
    for (size_t i = 0; i < w->n_layers; i++) {
        learnparams_take_layer(&s, &p->layers[i], &w->layers[i]);
    }
    if (p->mtp) {
        learnparams_take_mtp(&s, p, w->mtp);
    }
    mem_free(s.row);
    learnparams_refresh(p);
    return ERR_OK;
}

err learnparams_from_tensors(struct learnparams *p, const struct config *c, const struct tensortable *table,
                             struct errinfo *info)
{
    struct weights w;
    if (c->num_nextn_predict_layers > 1) {
        return err_set(info, ERR_UNSUPPORTED, "%s: more than one multi-token-prediction layer cannot learn yet",
                       c->name);
    }
    TRY(weights_bind(c, table, &w, info));
    err e = p->mtp && !w.mtp
                ? err_set(info, ERR_CORRUPT, "the config speaks of a multi-token-prediction layer, but the "
                          "tensors have none; set num_nextn_predict_layers to 0 to go on without one")
                : learnparams_take_all(p, c, &w, info);
    weights_deinit(&w);
    return e;
}

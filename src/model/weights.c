/* model/weights.c: see weights.h. */
#include "model/weights.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "model/absorb.h"
#include "model/weightnames.h"
#include "tensor/ref/dequant.h"

struct weights_block {
    struct weights_block *next;
    void *data;
};

/* One binding in progress. */
struct weights_binder {
    const struct config *c;
    const struct tensortable *table;
    enum weightnames_scheme scheme;
    struct weights *w;
    struct errinfo *info;
};

void *weights_own(struct weights *w, size_t n, size_t size)
{
    size_t bytes;
    struct weights_block *b = checked_mul(n, size, &bytes) ? mem_alloc(sizeof *b) : NULL;
    if (!b) {
        return NULL;
    }
    b->data = mem_alloc_aligned(bytes);
    if (!b->data) {
        mem_free(b);
        return NULL;
    }
    b->next = w->blocks;
    w->blocks = b;
    return b->data;
}

void weights_deinit(struct weights *w)
{
    for (struct weights_block *b = w->blocks, *next; b; b = next) {
        next = b->next;
        mem_free_aligned(b->data);
        mem_free(b);
    }
    *w = (struct weights){0};
}

static err weights_nomem(const struct weights_binder *b)
{
    return err_set(b->info, ERR_NOMEM, "out of memory while arranging the model's weights");
}

static const struct tensortable_entry *weights_lookup(const struct weights_binder *b,
                                                      enum weightnames_id id, size_t layer,
                                                      size_t expert)
{
    char name[TENSORTABLE_NAME_MAX + 1];
    weightnames_format(b->scheme, id, layer, expert, name);
    return name[0] ? tensortable_find(b->table, name) : NULL;
}

/* GGUF writers may fold the outer two of three dimensions into one. */
static bool weights_unfold(struct tensor *t, const size_t *shape)
{
    if (t->rank != 2 || t->shape[1] != shape[2] || t->shape[0] % shape[1] != 0 ||
        t->shape[0] / shape[1] != shape[0]) {
        return false;
    }
    t->rank = 3;
    memcpy(t->shape, shape, 3 * sizeof *shape);
    return true;
}

/* Checks type and shape; the result is a copy with exactly the wanted shape. */
static err weights_accept(const struct weights_binder *b, const struct tensortable_entry *e,
                          uint32_t rank, const size_t *shape, struct tensor *out)
{
    struct tensor t = e->tensor;
    if (!dtype_is_computable(t.dtype)) {
        return err_set(b->info, ERR_UNSUPPORTED, "tensor %s has type %s, which Fathom can inspect but "
                       "not compute with; convert the model to another type (such as q4_k or q8_0)",
                       e->name, dtype_info(t.dtype)->name);
    }
    bool same = t.rank == rank && memcmp(t.shape, shape, rank * sizeof *shape) == 0;
    if (!same && !(rank == 3 && weights_unfold(&t, shape))) {
        char found[TENSORTABLE_SHAPE_TEXT], needed[TENSORTABLE_SHAPE_TEXT];
        tensortable_shape_text(&t, found);
        t.rank = rank;
        memcpy(t.shape, shape, rank * sizeof *shape);
        tensortable_shape_text(&t, needed);
        return err_set(b->info, ERR_CORRUPT, "tensor %s has shape %s, but the model's config needs %s",
                       e->name, found, needed);
    }
    if (t.dtype == DTYPE_F8_E4M3 && (!t.scale || (rank != 2 && !same))) {
        return err_set(b->info, ERR_CORRUPT, "tensor %s is FP8 but has no block scales (%s_scale_inv)",
                       e->name, e->name);
    }
    *out = t;
    return ERR_OK;
}

static err weights_missing(const struct weights_binder *b, enum weightnames_id id, size_t layer,
                           size_t expert)
{
    char name[TENSORTABLE_NAME_MAX + 1];
    weightnames_format(b->scheme, id, layer, expert, name);
    return err_set(b->info, ERR_CORRUPT, "tensor %s is missing; the model's config needs it", name);
}

static err weights_matrix(const struct weights_binder *b, enum weightnames_id id, size_t layer,
                          size_t rows, size_t cols, struct tensor *out)
{
    const struct tensortable_entry *e = weights_lookup(b, id, layer, 0);
    if (!e) {
        return weights_missing(b, id, layer, 0);
    }
    return weights_accept(b, e, 2, (const size_t[]){rows, cols}, out);
}

/* Any plain-typed tensor as owned f32 [rows, cols]; rows 0 means a vector. */
static err weights_floats(const struct weights_binder *b, enum weightnames_id id, size_t layer,
                          size_t rows, size_t cols, const float **out)
{
    const struct tensortable_entry *e = weights_lookup(b, id, layer, 0);
    if (!e) {
        return weights_missing(b, id, layer, 0);
    }
    struct tensor t;
    const size_t vector[] = {cols}, matrix[] = {rows, cols};
    TRY(weights_accept(b, e, rows ? 2 : 1, rows ? matrix : vector, &t));
    if (rows == 0 && t.dtype != DTYPE_F32 && t.dtype != DTYPE_F16 && t.dtype != DTYPE_BF16) {
        return err_set(b->info, ERR_UNSUPPORTED, "tensor %s has type %s; f32, f16 or bf16 is needed here",
                       e->name, dtype_info(t.dtype)->name);
    }
    size_t n_rows = rows ? rows : 1;
    float *data = weights_own(b->w, n_rows, cols * sizeof *data);
    if (!data) {
        return weights_nomem(b);
    }
    for (size_t r = 0; r < n_rows; r++) {
        dequant_row(&t, r, data + r * cols);
    }
    *out = data;
    return ERR_OK;
}

static err weights_vector(const struct weights_binder *b, enum weightnames_id id, size_t layer,
                          size_t n, const float **out)
{
    return weights_floats(b, id, layer, 0, n, out);
}

static err weights_gqa(const struct weights_binder *b, size_t layer, struct weights_layer *l)
{
    const struct config *c = b->c;
    size_t d = c->hidden_size, q = c->num_attention_heads * c->head_dim;
    size_t kv = c->num_key_value_heads * c->head_dim;
    TRY(weights_matrix(b, WEIGHTNAMES_Q, layer, q, d, &l->q));
    TRY(weights_matrix(b, WEIGHTNAMES_K, layer, kv, d, &l->k));
    TRY(weights_matrix(b, WEIGHTNAMES_V, layer, kv, d, &l->v));
    if (c->attention_bias) {
        TRY(weights_vector(b, WEIGHTNAMES_Q_BIAS, layer, q, &l->q_bias));
        TRY(weights_vector(b, WEIGHTNAMES_K_BIAS, layer, kv, &l->k_bias));
        TRY(weights_vector(b, WEIGHTNAMES_V_BIAS, layer, kv, &l->v_bias));
    }
    return ERR_OK;
}

static err weights_kv_b(const struct weights_binder *b, size_t layer, struct weights_layer *l)
{
    const struct config *c = b->c;
    size_t heads = c->num_attention_heads, rank = c->kv_lora_rank;
    const struct tensortable_entry *k = weights_lookup(b, WEIGHTNAMES_K_B, layer, 0);
    const struct tensortable_entry *v = weights_lookup(b, WEIGHTNAMES_V_B, layer, 0);
    err e;
    if (k && v) {
        struct tensor k_b, v_b;
        TRY(weights_accept(b, k, 3, (const size_t[]){heads, rank, c->qk_nope_head_dim}, &k_b));
        TRY(weights_accept(b, v, 3, (const size_t[]){heads, c->v_head_dim, rank}, &v_b));
        e = absorb_from_split(b->w, c, &k_b, &v_b, l);
    } else {
        struct tensor kv_b;
        TRY(weights_matrix(b, WEIGHTNAMES_KV_B, layer,
                           heads * (c->qk_nope_head_dim + c->v_head_dim), rank, &kv_b));
        e = absorb_from_joined(b->w, c, &kv_b, l);
    }
    return e == ERR_NOMEM ? weights_nomem(b) : e;
}

static err weights_mla(const struct weights_binder *b, size_t layer, struct weights_layer *l)
{
    const struct config *c = b->c;
    size_t d = c->hidden_size, q = c->num_attention_heads * config_qk_dim(c);
    if (c->q_lora_rank) {
        TRY(weights_matrix(b, WEIGHTNAMES_Q_A, layer, c->q_lora_rank, d, &l->q_a));
        TRY(weights_vector(b, WEIGHTNAMES_Q_A_NORM, layer, c->q_lora_rank, &l->q_a_norm));
        TRY(weights_matrix(b, WEIGHTNAMES_Q_B, layer, q, c->q_lora_rank, &l->q_b));
    } else {
        TRY(weights_matrix(b, WEIGHTNAMES_Q, layer, q, d, &l->q));
    }
    TRY(weights_matrix(b, WEIGHTNAMES_KV_A, layer, c->kv_lora_rank + c->qk_rope_head_dim, d,
                       &l->kv_a));
    TRY(weights_vector(b, WEIGHTNAMES_KV_A_NORM, layer, c->kv_lora_rank, &l->kv_a_norm));
    return weights_kv_b(b, layer, l);
}

static err weights_mlp(const struct weights_binder *b, enum weightnames_id gate, size_t layer,
                       size_t ff, struct weights_mlp *out)
{
    size_t d = b->c->hidden_size; /* up and down follow gate in the name table */
    TRY(weights_matrix(b, gate, layer, ff, d, &out->gate));
    TRY(weights_matrix(b, gate + 1, layer, ff, d, &out->up));
    return weights_matrix(b, gate + 2, layer, d, ff, &out->down);
}

/* One of gate, up, down for every expert: separate tensors, or slices of a merged one. `first` is that
 * member of expert 0; the experts' members lie sizeof(struct weights_mlp) apart. */
static err weights_experts(const struct weights_binder *b, enum weightnames_id id, size_t layer,
                           size_t rows, size_t cols, struct weights_mlp *experts, size_t member)
{
    size_t n = b->c->n_routed_experts;
    struct tensor merged = {0};
    if (b->scheme == WEIGHTNAMES_GGUF) {
        const struct tensortable_entry *e = weights_lookup(b, id, layer, 0);
        if (!e) {
            return weights_missing(b, id, layer, 0);
        }
        TRY(weights_accept(b, e, 3, (const size_t[]){n, rows, cols}, &merged));
    }
    for (size_t i = 0; i < n; i++) {
        struct tensor *t = (struct tensor *)((char *)&experts[i] + member);
        if (b->scheme == WEIGHTNAMES_GGUF) {
            *t = tensor_slice(&merged, i);
            continue;
        }
        const struct tensortable_entry *e = weights_lookup(b, id, layer, i);
        if (!e) {
            return weights_missing(b, id, layer, i);
        }
        TRY(weights_accept(b, e, 2, (const size_t[]){rows, cols}, t));
    }
    return ERR_OK;
}

static err weights_moe(const struct weights_binder *b, size_t layer, struct weights_layer *l)
{
    const struct config *c = b->c;
    size_t d = c->hidden_size, n = c->n_routed_experts, ff = c->moe_intermediate_size;
    const float *router = NULL;
    TRY(weights_floats(b, WEIGHTNAMES_ROUTER, layer, n, d, &router));
    l->router = (struct tensor){.dtype = DTYPE_F32, .rank = 2, .shape = {n, d, 1, 1}, .data = router};
    /* GGUF files of sigmoid models without a bias exist; a V3 folder without it is not whole. */
    if (c->topk_method == CONFIG_NOAUX_TC &&
        (b->scheme == WEIGHTNAMES_HF || weights_lookup(b, WEIGHTNAMES_ROUTER_BIAS, layer, 0))) {
        TRY(weights_vector(b, WEIGHTNAMES_ROUTER_BIAS, layer, n, &l->router_bias));
    }
    if (c->n_shared_experts) {
        TRY(weights_mlp(b, WEIGHTNAMES_SHARED_GATE, layer, c->n_shared_experts * ff, &l->mlp));
    }
    struct weights_mlp *experts = weights_own(b->w, n, sizeof *experts);
    if (!experts) {
        return weights_nomem(b);
    }
    l->experts = experts;
    TRY(weights_experts(b, WEIGHTNAMES_EXPERT_GATE, layer, ff, d, experts,
                        offsetof(struct weights_mlp, gate)));
    TRY(weights_experts(b, WEIGHTNAMES_EXPERT_UP, layer, ff, d, experts,
                        offsetof(struct weights_mlp, up)));
    return weights_experts(b, WEIGHTNAMES_EXPERT_DOWN, layer, d, ff, experts,
                           offsetof(struct weights_mlp, down));
}

static err weights_layer(const struct weights_binder *b, size_t i, struct weights_layer *l)
{
    const struct config *c = b->c;
    size_t d = c->hidden_size;
    TRY(weights_vector(b, WEIGHTNAMES_ATTN_NORM, i, d, &l->attn_norm));
    TRY(weights_vector(b, WEIGHTNAMES_FFN_NORM, i, d, &l->ffn_norm));
    TRY(weights_matrix(b, WEIGHTNAMES_O, i, d, c->num_attention_heads * config_v_dim(c), &l->o));
    TRY(config_is_mla(c) ? weights_mla(b, i, l) : weights_gqa(b, i, l));
    if (config_is_moe_layer(c, i)) {
        return weights_moe(b, i, l);
    }
    return weights_mlp(b, WEIGHTNAMES_GATE, i, c->intermediate_size, &l->mlp);
}

static err weights_matrix_or(const struct weights_binder *b, enum weightnames_id id, size_t layer,
                             const struct tensor *other, struct tensor *out)
{
    *out = *other;
    return weights_lookup(b, id, layer, 0)
               ? weights_matrix(b, id, layer, b->c->vocab_size, b->c->hidden_size, out)
               : ERR_OK;
}

/* The layer after the last one, when it is there. */
static err weights_mtp(const struct weights_binder *b)
{
    size_t i = b->c->num_hidden_layers, d = b->c->hidden_size;
    if (b->c->num_nextn_predict_layers == 0 || !weights_lookup(b, WEIGHTNAMES_MTP_JOIN, i, 0)) {
        return ERR_OK;
    }
    struct weights_mtp *m = weights_own(b->w, 1, sizeof *m);
    if (!m) {
        return weights_nomem(b);
    }
    *m = (struct weights_mtp){.norm = b->w->norm};
    TRY(weights_matrix(b, WEIGHTNAMES_MTP_JOIN, i, d, 2 * d, &m->join));
    TRY(weights_vector(b, WEIGHTNAMES_MTP_EMBED_NORM, i, d, &m->embed_norm));
    TRY(weights_vector(b, WEIGHTNAMES_MTP_HIDDEN_NORM, i, d, &m->hidden_norm));
    if (weights_lookup(b, WEIGHTNAMES_MTP_NORM, i, 0)) {
        TRY(weights_vector(b, WEIGHTNAMES_MTP_NORM, i, d, &m->norm));
    }
    TRY(weights_matrix_or(b, WEIGHTNAMES_MTP_EMBED, i, &b->w->embed, &m->embed));
    TRY(weights_matrix_or(b, WEIGHTNAMES_MTP_HEAD, i, &b->w->head, &m->head));
    TRY(weights_layer(b, i, &m->layer));
    b->w->mtp = m;
    return ERR_OK;
}

static err weights_all(const struct weights_binder *b)
{
    const struct config *c = b->c;
    struct weights *w = b->w;
    TRY(weights_matrix(b, WEIGHTNAMES_EMBED, 0, c->vocab_size, c->hidden_size, &w->embed));
    TRY(weights_vector(b, WEIGHTNAMES_NORM, 0, c->hidden_size, &w->norm));
    w->head = w->embed;
    if (!c->tie_word_embeddings) {
        TRY(weights_matrix(b, WEIGHTNAMES_HEAD, 0, c->vocab_size, c->hidden_size, &w->head));
    }
    struct weights_layer *layers = weights_own(w, c->num_hidden_layers, sizeof *layers);
    if (!layers) {
        return weights_nomem(b);
    }
    memset(layers, 0, c->num_hidden_layers * sizeof *layers);
    w->layers = layers;
    w->n_layers = c->num_hidden_layers;
    for (size_t i = 0; i < w->n_layers; i++) {
        TRY(weights_layer(b, i, &layers[i]));
    }
    return weights_mtp(b);
}

err weights_bind(const struct config *config, const struct tensortable *table, struct weights *out,
                 struct errinfo *info)
{
    struct weights w = {0};
    struct weights_binder b = {.c = config, .table = table, .w = &w, .info = info};
    TRY(weightnames_detect(table, &b.scheme, info));
    err e = weights_all(&b);
    if (e != ERR_OK) {
        weights_deinit(&w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

static void weights_visit_vector(const float *v, size_t n, weights_visitor each, void *user)
{
    if (v) {
        struct tensor t = {.dtype = DTYPE_F32, .rank = 1, .shape = {n, 1, 1, 1}, .data = v};
        each(user, &t, 1);
    }
}

static void weights_visit_mlp(const struct weights_mlp *m, double share, weights_visitor each,
                              void *user)
{
    each(user, &m->gate, share);
    each(user, &m->up, share);
    each(user, &m->down, share);
}

static void weights_visit_attention(const struct weights_layer *l, const struct config *c,
                                    weights_visitor each, void *user)
{
    const struct tensor *matrices[] = {&l->q, &l->k, &l->v, &l->q_a, &l->q_b, &l->kv_a, &l->o};
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        if (!tensor_is_absent(matrices[i])) {
            each(user, matrices[i], 1);
        }
    }
    for (size_t h = 0; config_is_mla(c) && h < c->num_attention_heads; h++) {
        each(user, &l->k_absorb[h], 1);
        each(user, &l->v_up[h], 1);
    }
    size_t kv = c->num_key_value_heads * c->head_dim;
    weights_visit_vector(l->attn_norm, c->hidden_size, each, user);
    weights_visit_vector(l->q_a_norm, c->q_lora_rank, each, user);
    weights_visit_vector(l->kv_a_norm, c->kv_lora_rank, each, user);
    weights_visit_vector(l->q_bias, c->num_attention_heads * c->head_dim, each, user);
    weights_visit_vector(l->k_bias, kv, each, user);
    weights_visit_vector(l->v_bias, kv, each, user);
}

static void weights_visit_layer(const struct weights_layer *l, const struct config *c,
                                weights_visitor each, void *user)
{
    weights_visit_attention(l, c, each, user);
    weights_visit_vector(l->ffn_norm, c->hidden_size, each, user);
    weights_visit_vector(l->router_bias, c->n_routed_experts, each, user);
    if (!tensor_is_absent(&l->mlp.gate)) {
        weights_visit_mlp(&l->mlp, 1, each, user);
    }
    if (!tensor_is_absent(&l->router)) {
        each(user, &l->router, 1);
    }
    for (size_t e = 0; l->experts && e < c->n_routed_experts; e++) {
        weights_visit_mlp(&l->experts[e],
                          (double)c->num_experts_per_tok / (double)c->n_routed_experts, each, user);
    }
}

void weights_visit_mtp(const struct weights_mtp *m, const struct config *c, weights_visitor each,
                       void *user)
{
    each(user, &m->join, 1);
    each(user, &m->head, 1);
    weights_visit_layer(&m->layer, c, each, user);
}

void weights_visit(const struct weights *w, const struct config *c, weights_visitor each, void *user)
{
    if (w->head.data != w->embed.data) {
        each(user, &w->embed, 0);
    }
    each(user, &w->head, 1);
    weights_visit_vector(w->norm, c->hidden_size, each, user);
    for (size_t i = 0; i < w->n_layers; i++) {
        weights_visit_layer(&w->layers[i], c, each, user);
    }
}

/* model/learnparams.c: see learnparams.h. One block of memory holds all values, then all gradients, then the
 * bfloat16 copies, each parameter's beginning at a multiple of 64 bytes. */
#include "model/learnparams.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "model/inventory.h"
#include "tensor/ref/learnref.h"

enum { LEARNPARAMS_ALIGN = 64 };

struct learnparams_builder {
    struct learnparams *p;
    const struct config *config;
    struct errinfo *info;
};

static bool learnparams_named(const char *name, const char *stem)
{
    const char *dot = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    const char *own = dot ? dot + 1 : name;
    size_t n = strlen(stem);
    return strncmp(own, stem, n) == 0 && (own[n] == '.' || own[n] == '\0');
}

static bool learnparams_is_bias(const char *name)
{
    return strstr(name, ".bias") && !learnparams_named(name, "exp_probs_b");
}

/* What a multi-token-prediction layer shares with the model. */
static bool learnparams_is_shared(const char *name)
{
    return learnparams_named(name, "nextn.embed_tokens") || learnparams_named(name, "nextn.shared_head_head");
}

static enum learnparams_kind learnparams_kind_of(const struct inventory_item *item)
{
    if (learnparams_named(item->name, "token_embd") || learnparams_named(item->name, "position_embd") ||
        learnparams_named(item->name, "bigram_embd") || learnparams_named(item->name, "output")) {
        return LEARNPARAMS_EMBEDDING;
    }
    if (learnparams_named(item->name, "ffn_gate_inp")) {
        return LEARNPARAMS_ROUTER;
    }
    if (learnparams_named(item->name, "exp_probs_b")) {
        return LEARNPARAMS_BALANCE;
    }
    return item->is_matrix ? LEARNPARAMS_MATRIX : LEARNPARAMS_VECTOR;
}

static err learnparams_count(void *user, const struct inventory_item *item)
{
    struct learnparams_builder *b = user;
    if (b->config->family != CONFIG_GPT2 && learnparams_is_bias(item->name)) {
        return err_set(b->info, ERR_UNSUPPORTED, "%s: biases of attention cannot learn yet", item->name);
    }
    b->p->n += !learnparams_is_shared(item->name);
    return ERR_OK;
}

/* Shapes only; memory comes when all are known. */
static err learnparams_add(void *user, const struct inventory_item *item)
{
    struct learnparams_builder *b = user;
    struct learnparams *p = b->p;
    if (learnparams_is_shared(item->name)) {
        return ERR_OK;
    }
    struct learnparam *q = &p->all[p->n++];
    size_t rows = item->rank == 1 ? 1 : item->shape[item->rank - 2], cols = item->shape[item->rank - 1], n;
    enum mat_type type = p->exact ? MAT_F64 : MAT_F32;
    snprintf(q->name, sizeof q->name, "%s", item->name);
    q->kind = learnparams_kind_of(item);
    q->n_matrices = item->rank == 3 ? item->shape[0] : 1;
    q->rank = item->rank;
    memcpy(q->shape, item->shape, sizeof q->shape);
    if (!checked_mul(q->n_matrices * rows, cols, &n) || !checked_add(p->n_values, n, &p->n_values)) {
        return err_set(b->info, ERR_LIMIT, "%s has more values than can be counted", item->name);
    }
    q->value = q->grad = mat_of(NULL, type, q->n_matrices * rows, cols);
    q->work = mat_of(NULL, q->kind == LEARNPARAMS_VECTOR || q->kind == LEARNPARAMS_BALANCE || p->exact ? type :
                     MAT_BF16,
                     q->value.rows, cols);
    return ERR_OK;
}

static size_t learnparams_bytes(const struct mat *m)
{
    size_t n = m->rows * m->cols * mat_type_bytes(m->type);
    return (n + LEARNPARAMS_ALIGN - 1) / LEARNPARAMS_ALIGN * LEARNPARAMS_ALIGN;
}

size_t learnparams_size(const struct learnparams *p)
{
    size_t size = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct learnparam *q = &p->all[i];
        size += 2 * learnparams_bytes(&q->value) + (q->work.type == q->value.type ? 0 :
                                                    learnparams_bytes(&q->work));
    }
    return size;
}

static err learnparams_place(struct learnparams *p, struct errinfo *info)
{
    size_t size = learnparams_size(p);
    char *at = mem_alloc_aligned(size);
    if (!at) {
        return err_set(info, ERR_NOMEM, "out of memory: %zu MB for parameters and gradients", size >> 20);
    }
    memset(at, 0, size);
    p->memory = at;
    for (size_t i = 0; i < p->n; i++, at += learnparams_bytes(&p->all[i - 1].value)) {
        p->all[i].value.data = at;
    }
    for (size_t i = 0; i < p->n; i++, at += learnparams_bytes(&p->all[i - 1].grad)) {
        p->all[i].grad.data = at;
    }
    for (size_t i = 0; i < p->n; i++) {
        struct learnparam *q = &p->all[i];
        q->work.data = q->work.type == q->value.type ? q->value.data : at;
        at += q->work.type == q->value.type ? 0 : learnparams_bytes(&q->work);
    }
    return ERR_OK;
}

static struct learnparam *learnparams_of(const struct learnparams *p, size_t layer, const char *stem)
{
    char name[96];
    snprintf(name, sizeof name, "blk.%zu.%s.weight", layer, stem);
    return learnparams_find(p, name);
}

static struct learnparam *learnparams_bias_of(const struct learnparams *p, size_t layer, const char *stem)
{
    char name[96];
    snprintf(name, sizeof name, "blk.%zu.%s.bias", layer, stem);
    return learnparams_find(p, name);
}

static void learnparams_bind_gpt2(struct learnparams *p, size_t i)
{
    struct learnparams_layer *l = &p->layers[i];
    l->qkv = learnparams_of(p, i, "attn_qkv");
    l->attn_norm_bias = learnparams_bias_of(p, i, "attn_norm");
    l->qkv_bias = learnparams_bias_of(p, i, "attn_qkv");
    l->o_bias = learnparams_bias_of(p, i, "attn_output");
    l->ffn_norm_bias = learnparams_bias_of(p, i, "ffn_norm");
    l->up_bias = learnparams_bias_of(p, i, "ffn_up");
    l->down_bias = learnparams_bias_of(p, i, "ffn_down");
}

static void learnparams_bind_layer(struct learnparams *p, size_t i)
{
    struct learnparams_layer *l = &p->layers[i];
    bool moe = learnparams_of(p, i, "ffn_gate_inp") != NULL;
    *l = (struct learnparams_layer){
        .attn_norm = learnparams_of(p, i, "attn_norm"),
        .ffn_norm = learnparams_of(p, i, "ffn_norm"),
        .o = learnparams_of(p, i, "attn_output"),
        .q = learnparams_of(p, i, "attn_q"),
        .q_a = learnparams_of(p, i, "attn_q_a"),
        .q_a_norm = learnparams_of(p, i, "attn_q_a_norm"),
        .q_b = learnparams_of(p, i, "attn_q_b"),
        .kv_a = learnparams_of(p, i, "attn_kv_a_mqa"),
        .kv_a_norm = learnparams_of(p, i, "attn_kv_a_norm"),
        .k_b = learnparams_of(p, i, "attn_k_b"),
        .v_b = learnparams_of(p, i, "attn_v_b"),
        .k = learnparams_of(p, i, "attn_k"),
        .v = learnparams_of(p, i, "attn_v"),
        .x0_skip = learnparams_of(p, i, "x0_skip"),
        .value_residual = learnparams_of(p, i, "value_residual"),
        .gate = learnparams_of(p, i, moe ? "ffn_gate_shexp" : "ffn_gate"),
        .up = learnparams_of(p, i, moe ? "ffn_up_shexp" : "ffn_up"),
        .down = learnparams_of(p, i, moe ? "ffn_down_shexp" : "ffn_down"),
        .router = learnparams_of(p, i, "ffn_gate_inp"),
        .balance = learnparams_bias_of(p, i, "exp_probs_b"),
        .expert_gate = learnparams_of(p, i, "ffn_gate_exps"),
        .expert_up = learnparams_of(p, i, "ffn_up_exps"),
        .expert_down = learnparams_of(p, i, "ffn_down_exps"),
    };
    learnparams_bind_gpt2(p, i);
}

static void learnparams_bind(struct learnparams *p, const struct config *c)
{
    p->embed = learnparams_find(p, "token_embd.weight");
    p->bigrams = learnparams_find(p, "bigram_embd.weight");
    p->places = learnparams_find(p, "position_embd.weight");
    p->norm = learnparams_find(p, "output_norm.weight");
    p->norm_bias = learnparams_find(p, "output_norm.bias");
    p->head = c->tie_word_embeddings ? p->embed : learnparams_find(p, "output.weight");
    for (size_t i = 0; i < c->num_hidden_layers + c->num_nextn_predict_layers; i++) {
        learnparams_bind_layer(p, i);
    }
    for (size_t i = 0; i < c->num_nextn_predict_layers; i++) {
        size_t layer = c->num_hidden_layers + i;
        p->mtp[i] = (struct learnparams_mtp){.join = learnparams_of(p, layer, "nextn.eh_proj"),
                                             .embed_norm = learnparams_of(p, layer, "nextn.enorm"),
                                             .hidden_norm = learnparams_of(p, layer, "nextn.hnorm"),
                                             .norm = learnparams_of(p, layer, "nextn.shared_head_norm")};
    }
}

static void learnparams_fill(const struct learnparam *q, double value)
{
    for (size_t r = 0; r < q->value.rows; r++) {
        for (size_t c = 0; c < q->value.cols; c++) {
            mat_set(&q->value, r, c, value);
        }
    }
}

/* What vectors begin as. */
static void learnparams_begin(const struct learnparam *q)
{
    if (learnparams_named(q->name, "x0_skip")) {
        mat_set(&q->value, 0, 0, 1);
    } else if (learnparams_named(q->name, "value_residual")) {
        learnparams_fill(q, 0.5);
    } else if (!learnparams_is_bias(q->name)) {
        learnparams_fill(q, 1);
    }
}

static err learnparams_make(struct learnparams_builder *b)
{
    struct learnparams *p = b->p;
    const struct config *c = b->config;
    size_t n_mtp = c->num_nextn_predict_layers;
    TRY(inventory_walk(c, learnparams_count, b));
    p->all = mem_calloc(p->n, sizeof *p->all);
    p->layers = mem_calloc(c->num_hidden_layers + n_mtp, sizeof *p->layers);
    p->mtp = n_mtp ? mem_calloc(n_mtp, sizeof *p->mtp) : NULL;
    if (!p->all || !p->layers || (n_mtp && !p->mtp)) {
        return err_set(b->info, ERR_NOMEM, "out of memory listing parameters");
    }
    p->n = 0;
    TRY(inventory_walk(c, learnparams_add, b));
    learnparams_bind(p, c);
    return ERR_OK;
}

err learnparams_list(const struct config *c, bool exact, struct learnparams **out, struct errinfo *info)
{
    struct learnparams *p = mem_calloc(1, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory listing parameters");
    }
    p->exact = exact;
    struct learnparams_builder b = {p, c, info};
    err e = learnparams_make(&b);
    if (e != ERR_OK) {
        learnparams_free(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

err learnparams_new(const struct config *c, bool exact, struct learnparams **out, struct errinfo *info)
{
    struct learnparams *p;
    TRY(learnparams_list(c, exact, &p, info));
    err e = learnparams_place(p, info);
    if (e != ERR_OK) {
        learnparams_free(p);
        return e;
    }
    for (size_t i = 0; i < p->n; i++) {
        if (p->all[i].kind == LEARNPARAMS_VECTOR) {
            learnparams_begin(&p->all[i]);
        }
    }
    *out = p;
    return ERR_OK;
}

void learnparams_free(struct learnparams *p)
{
    if (p) {
        mem_free_aligned(p->memory);
        mem_free(p->all);
        mem_free(p->layers);
        mem_free(p->mtp);
        mem_free(p);
    }
}

struct learnparam *learnparams_find(const struct learnparams *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->all[i].name, name) == 0) {
            return &p->all[i];
        }
    }
    return NULL;
}

struct mat learnparams_matrix(const struct learnparam *p, struct mat of, size_t i)
{
    size_t rows = of.rows / p->n_matrices;
    return mat_rows(of, i * rows, rows);
}

void learnparams_refresh(struct learnparams *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct learnparam *q = &p->all[i];
        if (q->work.data != q->value.data && p->compute) {
            learnops_copy(p->compute, q->work, q->value);
        } else if (q->work.data != q->value.data) {
            learnref_copy(q->work, q->value);
        }
    }
}

void learnparams_zero_grad(struct learnparams *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->compute) {
            learnops_zero(p->compute, p->all[i].grad);
        } else {
            learnref_zero(p->all[i].grad);
        }
    }
}

static double learnparams_deviation(const struct learnparam *q, const struct learnparams_init *init)
{
    bool out = learnparams_named(q->name, "attn_output") || learnparams_named(q->name, "ffn_down") ||
               learnparams_named(q->name, "ffn_down_shexp") || learnparams_named(q->name, "ffn_down_exps");
    if (q->kind == LEARNPARAMS_EMBEDDING) {
        return learnparams_named(q->name, "output") ? init->head_std : init->embed_std;
    }
    /* k_b is stored the other way round, [in, out] */
    size_t in = learnparams_named(q->name, "attn_k_b") ? q->value.rows / q->n_matrices : q->value.cols;
    return (init->std > 0 ? init->std : init->gain / sqrt((double)in)) * (out ? init->out_gain : 1);
}

/* A row has a stream of its own, so that threads share a matrix; rng_seed takes close seeds far apart. */
static void learnparams_draw(const struct learnparam *q, double deviation, uint64_t seed, int n_threads)
{
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (size_t row = 0; row < q->value.rows; row++) {
        struct rng r;
        rng_seed(&r, seed + row);
        for (size_t col = 0; col < q->value.cols; col++) {
            mat_set(&q->value, row, col, deviation * (double)rng_normal(&r));
        }
    }
}

void learnparams_randomise(struct learnparams *p, const struct learnparams_init *init)
{
    struct rng seeds;
    rng_seed(&seeds, init->seed);
    for (size_t i = 0; i < p->n; i++) {
        struct learnparam *q = &p->all[i];
        uint64_t seed = rng_u64(&seeds);
        if (q->kind == LEARNPARAMS_VECTOR || q->kind == LEARNPARAMS_BALANCE || q == p->bigrams) {
            continue;
        }
        learnparams_draw(q, learnparams_deviation(q, init), seed, p->compute ? p->compute->n_threads : 1);
    }
    learnparams_refresh(p);
}

static err learnparams_put(struct tensortable *t, const char *name, const struct learnparam *q,
                           struct errinfo *info)
{
    struct tensor view;
    TRY(tensor_init(&view, DTYPE_F32, q->rank, q->shape, q->value.data));
    return tensortable_add(t, name, strlen(name), &view, 0, 0, info);
}

static err learnparams_put_all(const struct learnparams *p, struct tensortable *t, struct errinfo *info)
{
    for (size_t i = 0; i < p->n; i++) {
        TRY(learnparams_put(t, p->all[i].name, &p->all[i], info));
    }
    return ERR_OK;
}

err learnparams_table(const struct learnparams *p, struct tensortable **out, struct errinfo *info)
{
    struct tensortable *t;
    TRY(tensortable_new(&t, info));
    err e = learnparams_put_all(p, t, info);
    if (e != ERR_OK) {
        tensortable_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

/* model/convertplan.c: see convertplan.h. Both directions walk the inventory, which names every tensor
 * of a GGUF model with its shape. */
#include "model/convertplan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/inventory.h"
#include "model/ropefreqs.h"
#include "model/weightnames.h"

/* One plan being made. */
struct convertplan_maker {
    struct convertplan *p;
    const struct config *c;
    const struct tensortable *in;
    const struct quantmix *mix; /* to GGUF */
    enum dtype type;            /* to a folder */
    struct errinfo *info;
};

void convertplan_deinit(struct convertplan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        mem_free(p->items[i].sources);
    }
    mem_free(p->items);
    *p = (struct convertplan){0};
}

size_t convertplan_bytes(const struct convertplan *p)
{
    size_t sum = 0;
    for (size_t i = 0; i < p->n; i++) {
        sum += tensor_bytes(&p->items[i].out);
    }
    return sum;
}

/* A new recipe at the end with room for n sources; its name and everything else still to be set. */
static err convertplan_push(struct convertplan *p, size_t n_sources, struct recipe **out,
                            struct errinfo *info)
{
    struct recipe *items = mem_grow(p->items, p->n, &p->cap, sizeof *items);
    if (!items) {
        return err_set(info, ERR_NOMEM, "out of memory planning the conversion");
    }
    p->items = items;
    struct recipe *r = &p->items[p->n];
    *r = (struct recipe){.kind = RECIPE_ROWS, .n_sources = n_sources};
    r->sources = mem_calloc(n_sources, sizeof *r->sources);
    if (!r->sources) {
        return err_set(info, ERR_NOMEM, "out of memory planning the conversion");
    }
    p->n++;
    *out = r;
    return ERR_OK;
}

static err convertplan_shape(struct recipe *r, const char *name, enum dtype type, uint32_t rank,
                             const size_t *shape, struct errinfo *info)
{
    snprintf(r->name, sizeof r->name, "%s", name);
    err e = tensor_init(&r->out, type, rank, shape, NULL);
    return e == ERR_OK ? e : err_set(info, e, "tensor %s cannot be stored as %s", name,
                                     dtype_info(type)->name);
}

/* The named tensor, which must have these rows and columns (dimensions may be folded). */
static err convertplan_source(const struct convertplan_maker *m, const char *name, size_t rows,
                              size_t cols, struct tensor *out)
{
    const struct tensortable_entry *e = tensortable_find(m->in, name);
    if (!e) {
        return err_set(m->info, ERR_CORRUPT, "tensor %s is missing; the model's config needs it", name);
    }
    if (tensor_rows(&e->tensor) != rows || tensor_cols(&e->tensor) != cols) {
        return err_set(m->info, ERR_CORRUPT, "tensor %s is %zu x %zu, but the model's config needs "
                       "%zu x %zu", name, tensor_rows(&e->tensor), tensor_cols(&e->tensor), rows, cols);
    }
    if (!dtype_is_computable(e->tensor.dtype)) {
        return err_set(m->info, ERR_UNSUPPORTED, "tensor %s has type %s, which Fathom cannot decode",
                       name, dtype_info(e->tensor.dtype)->name);
    }
    *out = e->tensor;
    return ERR_OK;
}

static bool convertplan_id(const char *gguf_name, int layer, enum weightnames_id *out)
{
    char name[TENSORTABLE_NAME_MAX + 1];
    for (int id = 0; id < WEIGHTNAMES_COUNT; id++) {
        weightnames_format(WEIGHTNAMES_GGUF, id, layer < 0 ? 0 : (size_t)layer, 0, name);
        if (strcmp(name, gguf_name) == 0) {
            *out = id;
            return true;
        }
    }
    return false;
}

static bool convertplan_is_expert(enum weightnames_id id)
{
    return id == WEIGHTNAMES_EXPERT_GATE || id == WEIGHTNAMES_EXPERT_UP ||
           id == WEIGHTNAMES_EXPERT_DOWN;
}

/* Llama's q and k lie in GGUF files with the two halves of every rotary pair side by side. */
static bool convertplan_is_paired(const struct config *c, enum weightnames_id id)
{
    return c->family == CONFIG_LLAMA && (id == WEIGHTNAMES_Q || id == WEIGHTNAMES_K);
}

/* Where the Hugging Face source of a GGUF tensor is not its namesake. */
static void convertplan_split(const struct config *c, enum weightnames_id id, struct recipe *r)
{
    r->nope = c->qk_nope_head_dim;
    r->v = c->v_head_dim;
    r->kind = id == WEIGHTNAMES_K_B ? RECIPE_KEYS : RECIPE_VALUES;
}

/* Files may leave out what the MTP layer shares with the model, and a selection bias. */
static bool convertplan_is_optional(enum weightnames_id id)
{
    return id == WEIGHTNAMES_ROUTER_BIAS || id == WEIGHTNAMES_MTP_EMBED ||
           id == WEIGHTNAMES_MTP_HEAD || id == WEIGHTNAMES_MTP_NORM;
}

static err convertplan_gguf_item(void *user, const struct inventory_item *item)
{
    struct convertplan_maker *m = user;
    const struct config *c = m->c;
    enum weightnames_id id;
    char name[TENSORTABLE_NAME_MAX + 1];
    size_t layer = item->layer < 0 ? 0 : (size_t)item->layer;
    if (!convertplan_id(item->name, item->layer, &id)) {
        return err_set(m->info, ERR_UNSUPPORTED, "tensor %s has no Hugging Face name", item->name);
    }
    bool split = id == WEIGHTNAMES_K_B || id == WEIGHTNAMES_V_B;
    enum weightnames_id from = split ? WEIGHTNAMES_KV_B : id;
    weightnames_format(WEIGHTNAMES_HF, from, layer, 0, name);
    if (convertplan_is_optional(id) && !tensortable_find(m->in, name)) {
        return ERR_OK;
    }
    size_t n = convertplan_is_expert(id) ? item->shape[0] : 1;
    struct recipe *r = NULL;
    TRY(convertplan_push(m->p, n, &r, m->info));
    enum dtype type = quantmix_type(m->mix, item->name, item->rank, item->shape);
    TRY(convertplan_shape(r, item->name, type, item->rank, item->shape, m->info));
    size_t rows = tensor_rows(&r->out) / n;
    size_t cols = tensor_cols(&r->out);
    if (split) {
        convertplan_split(c, id, r);
        rows = c->num_attention_heads * (c->qk_nope_head_dim + c->v_head_dim);
        cols = c->kv_lora_rank;
    } else if (convertplan_is_paired(c, id)) {
        r->kind = RECIPE_PAIR;
        r->head = c->head_dim;
    }
    for (size_t i = 0; i < n; i++) {
        weightnames_format(WEIGHTNAMES_HF, from, layer, i, name);
        TRY(convertplan_source(m, name, rows, cols, &r->sources[i]));
    }
    return ERR_OK;
}

/* llama3 rope scaling: the tensor of divisors. */
static err convertplan_divisors(struct convertplan_maker *m)
{
    const struct config *c = m->c;
    if (c->family != CONFIG_LLAMA || c->rope_scaling.type != CONFIG_ROPE_LLAMA3) {
        return ERR_OK;
    }
    size_t n = c->rope_dim / 2;
    for (size_t i = 0; i < n; i++) {
        double freq = pow((double)c->rope_theta, -2.0 * (double)i / (double)c->rope_dim);
        m->p->divisors[i] = (float)ropefreqs_llama3_divisor(
            freq, (double)c->rope_scaling.factor, (double)c->rope_scaling.low_freq_factor,
            (double)c->rope_scaling.high_freq_factor,
            (double)c->rope_scaling.original_max_position_embeddings);
    }
    struct recipe *r = NULL;
    TRY(convertplan_push(m->p, 1, &r, m->info));
    TRY(convertplan_shape(r, "rope_freqs.weight", DTYPE_F32, 1, &n, m->info));
    err e = tensor_init(&r->sources[0], DTYPE_F32, 1, &n, m->p->divisors);
    return e == ERR_OK ? e : err_set(m->info, e, "rope_freqs.weight cannot be made");
}

/* What no GGUF key can say. */
static err convertplan_check(const struct config *c, struct errinfo *info)
{
    const char *what = NULL;
    bool yarn = c->rope_scaling.type == CONFIG_ROPE_YARN;
    if (config_is_mla(c) && c->rope_pairs != ROPE_INTERLEAVED) {
        what = "rope_interleave false";
    } else if (config_is_mla(c) && yarn && c->rope_scaling.mscale != c->rope_scaling.mscale_all_dim) {
        what = "a YaRN mscale that differs from mscale_all_dim";
    } else if (c->rope_scaling.type == CONFIG_ROPE_LLAMA3 && c->family != CONFIG_LLAMA) {
        what = "llama3 rope scaling in another class than Llama";
    } else if (c->n_routed_experts &&
               (c->topk_method == CONFIG_NOAUX_TC) != (c->scoring_func == CONFIG_SIGMOID)) {
        what = "this pair of topk_method and scoring_func";
    }
    return what ? err_set(info, ERR_UNSUPPORTED, "GGUF has no key for %s", what) : ERR_OK;
}

err convertplan_to_gguf(struct convertplan *p, const struct config *c, const struct tensortable *in,
                        const struct quantmix *mix, struct errinfo *info)
{
    struct convertplan_maker m = {.p = p, .c = c, .in = in, .mix = mix, .info = info};
    TRY(convertplan_check(c, info));
    TRY(inventory_walk(c, convertplan_gguf_item, &m));
    return convertplan_divisors(&m);
}

/* One Hugging Face tensor [rows, cols] (rows 0: a vector) with room for sources. */
static err convertplan_folder_push(struct convertplan_maker *m, enum weightnames_id id, size_t layer,
                                   size_t expert, size_t rows, size_t cols, size_t n_sources,
                                   struct recipe **out)
{
    char name[TENSORTABLE_NAME_MAX + 1];
    weightnames_format(WEIGHTNAMES_HF, id, layer, expert, name);
    TRY(convertplan_push(m->p, n_sources, out, m->info));
    enum dtype type = id == WEIGHTNAMES_ROUTER_BIAS ? DTYPE_F32 : m->type;
    const size_t matrix[] = {rows, cols};
    return convertplan_shape(*out, name, type, rows ? 2 : 1, rows ? matrix : matrix + 1, m->info);
}

/* kv_b: as it is in files that keep it whole, else joined. */
static err convertplan_folder_kv_b(struct convertplan_maker *m, size_t layer)
{
    const struct config *c = m->c;
    char name[TENSORTABLE_NAME_MAX + 1];
    char v_name[TENSORTABLE_NAME_MAX + 1];
    size_t heads = c->num_attention_heads;
    size_t rows = heads * (c->qk_nope_head_dim + c->v_head_dim);
    struct recipe *r = NULL;
    TRY(convertplan_folder_push(m, WEIGHTNAMES_KV_B, layer, 0, rows, c->kv_lora_rank, 2, &r));
    weightnames_format(WEIGHTNAMES_GGUF, WEIGHTNAMES_K_B, layer, 0, name);
    weightnames_format(WEIGHTNAMES_GGUF, WEIGHTNAMES_V_B, layer, 0, v_name);
    if (!tensortable_find(m->in, name)) {
        weightnames_format(WEIGHTNAMES_GGUF, WEIGHTNAMES_KV_B, layer, 0, name);
        r->n_sources = 1;
        return convertplan_source(m, name, rows, c->kv_lora_rank, &r->sources[0]);
    }
    r->kind = RECIPE_JOIN;
    r->nope = c->qk_nope_head_dim;
    r->v = c->v_head_dim;
    TRY(convertplan_source(m, name, heads * c->kv_lora_rank, r->nope, &r->sources[0]));
    return convertplan_source(m, v_name, heads * r->v, c->kv_lora_rank, &r->sources[1]);
}

static err convertplan_folder_experts(struct convertplan_maker *m, enum weightnames_id id,
                                      const struct inventory_item *item)
{
    struct tensor merged;
    TRY(convertplan_source(m, item->name, item->shape[0] * item->shape[1], item->shape[2], &merged));
    merged.rank = 3;
    memcpy(merged.shape, item->shape, sizeof merged.shape);
    for (size_t i = 0; i < item->shape[0]; i++) {
        struct recipe *r = NULL;
        TRY(convertplan_folder_push(m, id, (size_t)item->layer, i, item->shape[1], item->shape[2], 1,
                                    &r));
        r->sources[0] = tensor_slice(&merged, i);
    }
    return ERR_OK;
}

static err convertplan_folder_item(void *user, const struct inventory_item *item)
{
    struct convertplan_maker *m = user;
    enum weightnames_id id;
    size_t layer = item->layer < 0 ? 0 : (size_t)item->layer;
    if (!convertplan_id(item->name, item->layer, &id)) {
        return err_set(m->info, ERR_UNSUPPORTED, "tensor %s has no Hugging Face name", item->name);
    }
    if (id == WEIGHTNAMES_V_B || (convertplan_is_optional(id) && !tensortable_find(m->in, item->name))) {
        return ERR_OK; /* v_b comes with k_b */
    }
    if (id == WEIGHTNAMES_K_B) {
        return convertplan_folder_kv_b(m, layer);
    }
    if (convertplan_is_expert(id)) {
        return convertplan_folder_experts(m, id, item);
    }
    struct recipe *r = NULL;
    size_t rows = item->rank > 1 ? item->shape[0] : 0;
    size_t cols = item->shape[item->rank - 1];
    TRY(convertplan_folder_push(m, id, layer, 0, rows, cols, 1, &r));
    if (convertplan_is_paired(m->c, id)) {
        r->kind = RECIPE_UNPAIR;
        r->head = m->c->head_dim;
    }
    return convertplan_source(m, item->name, rows ? rows : 1, cols, &r->sources[0]);
}

err convertplan_to_folder(struct convertplan *p, const struct config *c, const struct tensortable *in,
                          enum dtype type, struct errinfo *info)
{
    struct convertplan_maker m = {.p = p, .c = c, .in = in, .type = type, .info = info};
    return inventory_walk(c, convertplan_folder_item, &m);
}

static err convertplan_requantize_one(struct convertplan *p, const struct tensortable_entry *e,
                                      const struct quantmix *mix, const struct imatrix *m,
                                      struct errinfo *info)
{
    const struct tensor *t = &e->tensor;
    struct recipe *r = NULL;
    TRY(convertplan_push(p, 1, &r, info));
    r->sources[0] = *t;
    enum dtype type = quantmix_type(mix, e->name, t->rank, t->shape);
    bool is_number = t->dtype == DTYPE_I32 || t->dtype == DTYPE_I64 || t->dtype == DTYPE_I16 ||
                     t->dtype == DTYPE_I8;
    if (is_number) {
        type = t->dtype;
    } else if (!dtype_is_computable(t->dtype)) {
        return err_set(info, ERR_UNSUPPORTED, "tensor %s has type %s, which Fathom cannot decode; start "
                       "from a file of a larger type", e->name, dtype_info(t->dtype)->name);
    }
    TRY(convertplan_shape(r, e->name, type, t->rank, t->shape, info));
    return m ? imatrix_find(m, e->name, t, &r->importance, &r->n_importance, info) : ERR_OK;
}

err convertplan_requantize(struct convertplan *p, const struct tensortable *in,
                           const struct quantmix *mix, const struct imatrix *m, struct errinfo *info)
{
    for (size_t i = 0; i < tensortable_count(in); i++) {
        TRY(convertplan_requantize_one(p, tensortable_at(in, i), mix, m, info));
    }
    return ERR_OK;
}

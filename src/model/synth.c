/* model/synth.c: see synth.h. */
#include "model/synth.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "base/rng.h"
#include "formats/gguf.h"
#include "formats/tensortable.h"
#include "model/ggufkeys.h"
#include "tensor/ref/quantize.h"

enum {
    SYNTH_POOL_ELEMS = 1 << 20, /* a multiple of every block size */
    SYNTH_RUN_BYTES = 1 << 16,  /* copied at a time, from a random place of the pool */
    SYNTH_ALIGN = 64
};
static const float SYNTH_DEVIATION = 0.02f;
static const float SYNTH_FP8_SCALE = 0.02f / 64; /* of every block: 448, the largest value, is 7 deviations */

struct synth {
    struct tensortable *table;
    char *memory; /* every tensor's data */
    size_t memory_bytes, total_bytes;
    void *pools[DTYPE_COUNT];
    float *scales; /* what every FP8 tensor's blocks are multiplied with; as many as the largest has */
    size_t n_scales;
    struct rng rng;
    bool (*keep_going)(void); /* while writing; NULL: always */

    /* while building */
    const struct config *config;
    synth_typer typer;
    void *user;
    struct progress *progress;
    struct errinfo *info;
    size_t dense_kept, moe_kept; /* distinct layers of each kind */
    size_t used;                 /* bytes of memory handed out */
};

static enum dtype synth_type(const struct synth *s, const struct inventory_item *item)
{
    return item->is_matrix ? s->typer(s->user, item) : DTYPE_F32;
}

/* The type of the same tensor in another layer. */
static enum dtype synth_type_in(const struct synth *s, const struct inventory_item *item, size_t layer)
{
    struct inventory_item other = *item;
    snprintf(other.name, sizeof other.name, "blk.%zu%s", layer, strchr(item->name + 4, '.'));
    other.layer = (int)layer;
    return synth_type(s, &other);
}

/* The layer whose memory a tensor lies in. The first layers of each kind are real; later ones borrow theirs,
 * tensor by tensor, from one that has the same type (a mix gives some layers more bits than others), so that a
 * pass reads as many bytes as in the real model. The first that finds none is real, too. */
static int synth_source_layer(const struct synth *s, const struct inventory_item *item)
{
    size_t dense = s->config->n_routed_experts ? s->config->first_k_dense_replace
                                               : s->config->num_hidden_layers;
    size_t layer = (size_t)item->layer, first = layer < dense ? 0 : dense;
    size_t kept = layer < dense ? s->dense_kept : s->moe_kept;
    if (item->layer < 0 || layer - first < kept || layer >= s->config->num_hidden_layers) {
        return item->layer;
    }
    enum dtype type = synth_type(s, item);
    for (size_t i = 0; i < kept; i++) {
        size_t k = first + (layer - first + i) % kept;
        if (synth_type_in(s, item, k) == type) {
            return (int)k;
        }
    }
    for (size_t k = first + kept; k < layer; k++) {
        if (synth_type_in(s, item, k) == type) {
            return (int)k;
        }
    }
    return item->layer;
}

static err synth_item_tensor(const struct synth *s, const struct inventory_item *item,
                             struct tensor *t, size_t *padded)
{
    enum dtype type = synth_type(s, item);
    err e = tensor_init(t, type, item->rank, item->shape, NULL);
    if (e != ERR_OK) {
        return err_set(s->info, e, "%s cannot be stored as %s: its rows have %zu values", item->name,
                       dtype_info(type)->name, item->shape[item->rank - 1]);
    }
    if (!checked_align(tensor_bytes(t), SYNTH_ALIGN, padded)) {
        return err_set(s->info, ERR_LIMIT, "%s is too large", item->name);
    }
    return ERR_OK;
}

/* Blocks of 128x128 of an FP8 tensor; 0 of others. */
static size_t synth_fp8_blocks(const struct tensor *t)
{
    if (t->dtype != DTYPE_F8_E4M3) {
        return 0;
    }
    size_t cols = tensor_cols(t), many = t->rank > 2 ? t->shape[0] : 1, rows = tensor_rows(t) / many;
    return many * ((rows + TENSOR_FP8_BLOCK - 1) / TENSOR_FP8_BLOCK) *
           ((cols + TENSOR_FP8_BLOCK - 1) / TENSOR_FP8_BLOCK);
}

/* Pass 1: bytes of the whole model and of what will be kept. */
static err synth_count(void *user, const struct inventory_item *item)
{
    struct synth *s = user;
    struct tensor t;
    size_t bytes = 0;
    TRY(synth_item_tensor(s, item, &t, &bytes));
    s->total_bytes += bytes;
    s->n_scales = synth_fp8_blocks(&t) > s->n_scales ? synth_fp8_blocks(&t) : s->n_scales;
    if (synth_source_layer(s, item) == item->layer) {
        s->memory_bytes += bytes;
    }
    return ERR_OK;
}

static err synth_encode(enum dtype type, const float *values, void *pool)
{
    if (type != DTYPE_F8_E4M3) {
        return quantize_run(type, values, pool, SYNTH_POOL_ELEMS, NULL);
    }
    for (size_t i = 0; i < SYNTH_POOL_ELEMS; i++) {
        ((uint8_t *)pool)[i] = dtype_to_e4m3(values[i] / SYNTH_FP8_SCALE);
    }
    return ERR_OK;
}

static err synth_pool(struct synth *s, enum dtype type)
{
    if (s->pools[type]) {
        return ERR_OK;
    }
    size_t bytes = 0;
    TRY(dtype_bytes(type, SYNTH_POOL_ELEMS, &bytes));
    float *values = mem_alloc_aligned(SYNTH_POOL_ELEMS * sizeof *values);
    void *pool = mem_alloc_aligned(bytes);
    if (!values || !pool) {
        mem_free_aligned(values);
        mem_free_aligned(pool);
        return err_set(s->info, ERR_NOMEM, "out of memory for random weights");
    }
    for (size_t i = 0; i < SYNTH_POOL_ELEMS; i++) {
        values[i] = SYNTH_DEVIATION * rng_normal(&s->rng);
    }
    err e = synth_encode(type, values, pool);
    mem_free_aligned(values);
    if (e != ERR_OK) {
        mem_free_aligned(pool);
        return err_set(s->info, e, "random weights cannot be made in type %s",
                       dtype_info(type)->name);
    }
    s->pools[type] = pool;
    return ERR_OK;
}

static err synth_fill(struct synth *s, const struct tensor *t, char *dst)
{
    TRY(synth_pool(s, t->dtype));
    size_t block = dtype_info(t->dtype)->block_bytes, left = tensor_bytes(t);
    size_t pool_blocks = (size_t)SYNTH_POOL_ELEMS / dtype_info(t->dtype)->block_elems;
    size_t run_blocks = SYNTH_RUN_BYTES / block;
    while (left > 0) {
        size_t first = (size_t)(rng_u64(&s->rng) % (pool_blocks - run_blocks));
        size_t n = left < run_blocks * block ? left : run_blocks * block;
        memcpy(dst, (const char *)s->pools[t->dtype] + first * block, n);
        dst += n;
        left -= n;
        if (s->progress) {
            progress_update(s->progress, (uint64_t)(dst - s->memory));
        }
    }
    return ERR_OK;
}

/* Norm weights are one, biases zero; everything else comes from the pool. */
static err synth_values(struct synth *s, const struct inventory_item *item, const struct tensor *t,
                        char *dst)
{
    if (item->rank > 1) {
        return synth_fill(s, t, dst);
    }
    float value = strstr(item->name, "norm") ? 1.0f : 0.0f;
    for (size_t i = 0; i < item->shape[0]; i++) {
        memcpy(dst + i * sizeof value, &value, sizeof value);
    }
    return ERR_OK;
}

/* Pass 2: makes a tensor, or points it at the one it shares. */
static err synth_make(void *user, const struct inventory_item *item)
{
    struct synth *s = user;
    struct tensor t;
    size_t bytes = 0;
    TRY(synth_item_tensor(s, item, &t, &bytes));
    int source = synth_source_layer(s, item);
    if (source == item->layer) {
        TRY(synth_values(s, item, &t, s->memory + s->used));
        t.data = s->memory + s->used;
        t.scale = t.dtype == DTYPE_F8_E4M3 ? s->scales : NULL;
        s->used += bytes;
    } else {
        char name[80];
        snprintf(name, sizeof name, "blk.%d%s", source, strchr(item->name + 4, '.'));
        t = tensortable_find(s->table, name)->tensor;
    }
    return tensortable_add(s->table, item->name, strlen(item->name), &t, 0, 0, s->info);
}

/* Keeps as many layers of each kind as the budget allows. */
static err synth_plan(struct synth *s, size_t budget)
{
    size_t layers = s->config->num_hidden_layers;
    size_t dense = s->config->n_routed_experts ? s->config->first_k_dense_replace : layers;
    s->dense_kept = dense;
    s->moe_kept = layers - dense;
    for (;;) {
        s->total_bytes = s->memory_bytes = 0;
        TRY(inventory_walk(s->config, synth_count, s));
        if (budget == 0 || s->memory_bytes <= budget) {
            return ERR_OK;
        }
        if (s->moe_kept > 1) {
            s->moe_kept--;
        } else if (s->dense_kept > 1) {
            s->dense_kept--;
        } else {
            return err_set(s->info, ERR_NOMEM,
                           "even one layer of each kind needs %.1f GB of memory; %.1f GB are left for "
                           "weights. Choose a smaller shape or type",
                           (double)s->memory_bytes / 1e9, (double)budget / 1e9);
        }
    }
}

err synth_measure(const struct config *c, synth_typer typer, void *user, size_t budget_bytes,
                  struct synth_size *out, struct errinfo *info)
{
    struct synth s = {.config = c, .typer = typer, .user = user, .info = info};
    TRY(synth_plan(&s, budget_bytes));
    *out = (struct synth_size){.total_bytes = s.total_bytes,
                               .memory_bytes = s.memory_bytes,
                               .layers = c->num_hidden_layers,
                               .layers_made = s.dense_kept + s.moe_kept};
    return ERR_OK;
}

static err synth_build(struct synth *s, size_t budget)
{
    TRY(synth_plan(s, budget));
    s->memory = mem_alloc_aligned(s->memory_bytes);
    if (!s->memory) {
        return err_set(s->info, ERR_NOMEM, "out of memory for %.1f GB of random weights",
                       (double)s->memory_bytes / 1e9);
    }
    s->scales = mem_calloc(s->n_scales, sizeof *s->scales);
    if (!s->scales) {
        return err_set(s->info, ERR_NOMEM, "out of memory for the scales of random weights");
    }
    for (size_t i = 0; i < s->n_scales; i++) {
        s->scales[i] = SYNTH_FP8_SCALE;
    }
    TRY(tensortable_new(&s->table, s->info));
    if (s->progress) {
        progress_init(s->progress, "making random weights", PROGRESS_BYTES, s->memory_bytes);
    }
    err e = inventory_walk(s->config, synth_make, s);
    if (s->progress) {
        progress_finish(s->progress);
    }
    return e;
}

err synth_new(const struct config *c, synth_typer typer, void *user, size_t budget_bytes,
              struct progress *progress, struct synth **out, struct errinfo *info)
{
    struct synth *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return err_set(info, ERR_NOMEM, "out of memory for a synthetic model");
    }
    s->config = c;
    s->typer = typer;
    s->user = user;
    s->progress = progress;
    s->info = info;
    rng_seed(&s->rng, 42);
    err e = synth_build(s, budget_bytes);
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        mem_free_aligned(s->pools[i]);
    }
    if (e != ERR_OK) {
        synth_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void synth_free(struct synth *s)
{
    if (s) {
        tensortable_free(s->table);
        mem_free_aligned(s->memory);
        mem_free(s->scales);
        mem_free(s);
    }
}

const struct tensortable *synth_tensors(const struct synth *s)
{
    return s->table;
}

size_t synth_total_bytes(const struct synth *s)
{
    return s->total_bytes;
}

size_t synth_memory_bytes(const struct synth *s)
{
    return s->memory_bytes;
}

void synth_watch(struct synth *s, bool (*keep_going)(void))
{
    s->keep_going = keep_going;
}

static err synth_declare(const struct synth *s, struct gguf_writer *w, int ggml_ftype,
                         struct errinfo *info)
{
    TRY(ggufkeys_write(w, s->config, ggml_ftype, info));
    err e = gguf_writer_string(w, "tokenizer.ggml.model", "none", 4);
    if (e != ERR_OK) {
        return err_set(info, e, "cannot write the GGUF keys");
    }
    for (size_t i = 0; i < tensortable_count(s->table); i++) {
        const struct tensortable_entry *t = tensortable_at(s->table, i);
        TRY(gguf_writer_tensor(w, t->name, &t->tensor, info));
    }
    return gguf_writer_begin_data(w, info);
}

static err synth_stream(const struct synth *s, struct gguf_writer *w, struct progress *progress,
                        struct errinfo *info)
{
    size_t done = 0;
    for (size_t i = 0; i < tensortable_count(s->table); i++) {
        const struct tensor *t = &tensortable_at(s->table, i)->tensor;
        if (s->keep_going && !s->keep_going()) {
            return err_set(info, ERR_CANCELLED, "stopped; nothing was kept of the file that was being written");
        }
        TRY(gguf_writer_data(w, t->data, tensor_bytes(t), info));
        done += tensor_bytes(t);
        if (progress) {
            progress_update(progress, done);
        }
    }
    return gguf_writer_commit(w, info);
}

err synth_write(const struct synth *s, const char *path, int ggml_ftype, struct progress *progress,
                struct errinfo *info)
{
    struct gguf_writer *w;
    TRY(gguf_writer_new(path, &w, info));
    err e = synth_declare(s, w, ggml_ftype, info);
    if (e == ERR_OK) {
        if (progress) {
            progress_init(progress, "writing random weights", PROGRESS_BYTES, s->total_bytes);
        }
        e = synth_stream(s, w, progress, info);
        if (progress) {
            progress_finish(progress);
        }
    }
    gguf_writer_free(w);
    return e;
}

/* engine/engine.c: see engine.h and fathom.h. */
#include "engine/engine.h"

#include "base/mem.h"
#include "engine/kvcache.h"

/* Memory for the logits of many tokens at once, when scoring. */
static const size_t ENGINE_ROWS_BYTES = (size_t)64 << 20;

static err engine_kv_dtype(const char *name, enum dtype *out, struct errinfo *info)
{
    enum dtype t = DTYPE_BF16;
    if (name && (!dtype_from_name(name, &t) ||
                 (t != DTYPE_F32 && t != DTYPE_F16 && t != DTYPE_BF16))) {
        return err_set(info, ERR_ARGUMENT,
                       "the key/value cache cannot be stored as \"%s\"; use bf16, f16 or f32", name);
    }
    *out = t;
    return ERR_OK;
}

/* What a step reads, for the cost of guesses. */
static struct speculation_bytes engine_step_bytes(const struct engine *e)
{
    const struct config *c = model_config(e->model);
    struct speculation_bytes b = {.dense = (double)model_active_bytes(e->model),
                                  .position = (double)engine_cache_bytes_per_token(e),
                                  .guess = (double)model_mtp_bytes(e->model)};
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        b.moe_layers += config_is_moe_layer(c, i);
    }
    if (b.moe_layers) {
        b.experts = c->n_routed_experts;
        b.experts_per_token = c->num_experts_per_tok;
        b.expert = (double)model_expert_bytes(e->model) / (double)(b.moe_layers * b.experts);
        b.dense -= b.expert * (double)(b.moe_layers * b.experts_per_token);
    }
    return b;
}

static err engine_build(struct engine *e, const struct engine_options *o, struct errinfo *info)
{
    size_t vocab = model_config(e->model)->vocab_size;
    size_t limit = model_config(e->model)->max_position_embeddings;
    e->chunk = o->chunk ? o->chunk : ENGINE_CHUNK;
    if (e->chunk > ENGINE_CHUNK_MAX) {
        return err_set(info, ERR_ARGUMENT, "a chunk of %zu tokens is too large; at most %d", o->chunk,
                       ENGINE_CHUNK_MAX);
    }
    if (o->context > limit) {
        return err_set(info, ERR_CONTEXT,
                       "a context of %zu positions was asked for; this model was made for at most %zu",
                       o->context, limit);
    }
    e->context = o->context ? o->context : limit;
    e->chunk = e->chunk > e->context ? e->context : e->chunk;
    TRY(engine_kv_dtype(o->kv_type, &e->kv_dtype, info));
    enum cpuinfo_level level;
    TRY(o->cpu ? cpuinfo_named(o->cpu, &level, info) : cpuinfo_choose(&level, info));
    TRY(compute_new(level, o->n_threads, o->deterministic, &e->compute, info));
    TRY(model_workspace_new(e->model, e->chunk, &e->work, info));
    e->costs.bytes = engine_step_bytes(e);
    return sampler_new(vocab, &e->sampler, info);
}

err engine_new(const struct model *model, const struct engine_options *options, struct engine **out,
               struct errinfo *info)
{
    static const struct engine_options defaults;
    struct engine *e = mem_calloc(1, sizeof *e);
    if (!e) {
        return err_set(info, ERR_NOMEM, "out of memory for the engine");
    }
    e->model = model;
    err result = engine_build(e, options ? options : &defaults, info);
    if (result != ERR_OK) {
        engine_close(e);
        return result;
    }
    *out = e;
    return ERR_OK;
}

err engine_open(const char *path, const struct engine_options *options, struct engine **out,
                struct errinfo *info)
{
    struct model *m;
    struct engine *e;
    TRY(model_open(path, &m, info));
    err result = engine_new(m, options, &e, info);
    if (result != ERR_OK) {
        model_close(m);
        return result;
    }
    e->owned = m;
    *out = e;
    return ERR_OK;
}

void engine_close(struct engine *e)
{
    if (!e) {
        return;
    }
    mem_free_aligned(e->rows);
    sampler_free(e->sampler);
    model_workspace_free(e->work);
    compute_free(e->compute);
    if (e->owned) {
        model_close(e->owned);
    }
    mem_free(e);
}

const struct model *engine_model(const struct engine *e)
{
    return e->model;
}

const struct tokenizer *engine_tokenizer(const struct engine *e)
{
    return model_tokenizer(e->model);
}

size_t engine_vocab_size(const struct engine *e)
{
    return model_config(e->model)->vocab_size;
}

size_t engine_context_max(const struct engine *e)
{
    return e->context;
}

size_t engine_cache_bytes_per_token(const struct engine *e)
{
    struct model_cache_shape s = kvcache_shape_of(e->model, e->kv_dtype);
    return kvcache_bytes_per_token(&s);
}

err engine_rows(struct engine *e, struct errinfo *info)
{
    if (e->rows) {
        return ERR_OK;
    }
    size_t row = engine_vocab_size(e) * sizeof(float);
    size_t n = ENGINE_ROWS_BYTES / row;
    n = n < 1 ? 1 : n > e->chunk ? e->chunk : n;
    e->rows = mem_alloc_aligned(n * row);
    if (!e->rows) {
        return err_set(info, ERR_NOMEM, "out of memory for the logits of %zu tokens", n);
    }
    e->n_rows = n;
    return ERR_OK;
}

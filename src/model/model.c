/* model/model.c: see model.h. Opens what the formats layer reads, binds the weights, runs the pass. */
#include "model/model.h"

#include "base/file.h"
#include "base/mem.h"
#include "formats/gguf.h"
#include "formats/hffolder.h"
#include "model/forward.h"
#include "model/mtp.h"
#include "model/vocab.h"

struct model {
    struct config config;
    struct weights weights;
    struct mtp mtp;            /* zero without one */
    struct gguf *gguf;         /* one of these two, or neither */
    struct hffolder *folder;
    const struct tensortable *tensors;
    struct tokenizer *tokenizer; /* the files' own */
    const struct tokenizer *lent; /* in its place; NULL: none */
    struct chat_guess chat;
    enum dtype main_dtype;
    size_t weight_bytes, parameters, active_parameters, active_bytes, expert_bytes, mtp_bytes;
};

/* ---- opening ---- */

struct model_totals {
    double bytes[DTYPE_COUNT], active_bytes, expert_bytes, parameters, active_parameters;
};

static void model_count(void *user, const struct tensor *t, double share)
{
    struct model_totals *totals = user;
    totals->bytes[t->dtype] += (double)tensor_bytes(t);
    totals->parameters += (double)tensor_elems(t);
    totals->active_bytes += share * (double)tensor_bytes(t);
    totals->expert_bytes += share > 0 && share < 1 ? (double)tensor_bytes(t) : 0;
    totals->active_parameters += share * (double)tensor_elems(t);
}

static void model_measure(struct model *m)
{
    struct model_totals totals = {0};
    weights_visit(&m->weights, &m->config, model_count, &totals);
    double bytes = 0;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        bytes += totals.bytes[t];
        if (totals.bytes[t] > totals.bytes[m->main_dtype]) {
            m->main_dtype = (enum dtype)t;
        }
    }
    m->weight_bytes = (size_t)bytes;
    m->parameters = (size_t)totals.parameters;
    m->active_parameters = (size_t)(totals.active_parameters + 0.5);
    m->active_bytes = (size_t)(totals.active_bytes + 0.5);
    m->expert_bytes = (size_t)totals.expert_bytes;
}

static void model_measure_mtp(struct model *m)
{
    struct model_totals totals = {0};
    weights_visit_mtp(m->weights.mtp, &m->config, model_count, &totals);
    m->mtp_bytes = (size_t)(totals.active_bytes + 0.5);
}

static err model_bind(struct model *m, struct errinfo *info)
{
    TRY(weights_bind(&m->config, m->tensors, &m->weights, info));
    model_measure(m);
    if (m->weights.mtp) {
        mtp_init(&m->mtp, &m->config, m->weights.mtp);
        model_measure_mtp(m);
    }
    return ERR_OK;
}

static err model_open_gguf(struct model *m, const char *path, struct errinfo *info)
{
    TRY(gguf_open(path, &m->gguf, info));
    m->tensors = gguf_tensors(m->gguf);
    TRY(config_from_gguf(m->gguf, &m->config, info));
    TRY(model_bind(m, info));
    return vocab_from_gguf(m->gguf, &m->tokenizer, &m->chat, info);
}

static err model_open_folder(struct model *m, const char *path, struct errinfo *info)
{
    TRY(hffolder_open(path, &m->folder, info));
    m->tensors = hffolder_tensors(m->folder);
    TRY(config_from_json(hffolder_config(m->folder), &m->config, info));
    TRY(model_bind(m, info));
    return vocab_from_folder(path, &m->tokenizer, &m->chat, info);
}

static err model_new(struct model **out, struct errinfo *info)
{
    *out = mem_calloc(1, sizeof **out);
    return *out ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory for the model");
}

err model_open(const char *path, struct model **out, struct errinfo *info)
{
    struct model *m;
    TRY(model_new(&m, info));
    err e = file_is_dir(path) ? model_open_folder(m, path, info) : model_open_gguf(m, path, info);
    if (e != ERR_OK) {
        model_close(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

err model_from_tensors(const struct config *config, const struct tensortable *tensors,
                       struct model **out, struct errinfo *info)
{
    struct model *m;
    TRY(model_new(&m, info));
    m->config = *config;
    m->tensors = tensors;
    err e = config_finish(&m->config, info);
    if (e == ERR_OK) {
        e = model_bind(m, info);
    }
    if (e != ERR_OK) {
        model_close(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

void model_close(struct model *m)
{
    if (m) {
        tokenizer_free(m->tokenizer);
        weights_deinit(&m->weights);
        gguf_close(m->gguf);
        hffolder_close(m->folder);
        mem_free(m);
    }
}

/* ---- what it is ---- */

const struct config *model_config(const struct model *m)
{
    return &m->config;
}

const struct tensortable *model_tensors(const struct model *m)
{
    return m->tensors;
}

void model_lend_tokenizer(struct model *m, const struct tokenizer *t)
{
    m->lent = t;
}

const struct tokenizer *model_tokenizer(const struct model *m)
{
    return m->lent ? m->lent : m->tokenizer;
}

enum chat_format model_chat_format(const struct model *m)
{
    return m->chat.format;
}

const char *model_chat_doubt(const struct model *m)
{
    return m->chat.doubt;
}

enum dtype model_main_dtype(const struct model *m)
{
    return m->main_dtype;
}

size_t model_weight_bytes(const struct model *m)
{
    return m->weight_bytes;
}

size_t model_parameters(const struct model *m)
{
    return m->parameters;
}

size_t model_active_parameters(const struct model *m)
{
    return m->active_parameters;
}

size_t model_active_bytes(const struct model *m)
{
    return m->active_bytes;
}

size_t model_expert_bytes(const struct model *m)
{
    return m->expert_bytes;
}

size_t model_cache_k_offset(const struct model_cache_shape *s, size_t layer)
{
    size_t row = (s->k_width + s->v_width) * dtype_info(s->dtype)->block_bytes;
    return layer * row * MODEL_CACHE_PAGE;
}

size_t model_cache_v_offset(const struct model_cache_shape *s, size_t layer)
{
    return model_cache_k_offset(s, layer) + s->k_width * dtype_info(s->dtype)->block_bytes * MODEL_CACHE_PAGE;
}

size_t model_cache_k_width(const struct model *m)
{
    return config_cache_k_width(&m->config);
}

size_t model_cache_v_width(const struct model *m)
{
    return config_cache_v_width(&m->config);
}

/* ---- running ---- */

size_t model_workspace_bytes(const struct model *m, size_t max_tokens)
{
    size_t bytes = workspace_bytes(&m->config, max_tokens);
    return bytes ? bytes : SIZE_MAX;
}

err model_workspace_new(const struct model *m, size_t max_tokens, struct model_workspace **out,
                        struct errinfo *info)
{
    size_t bytes = workspace_bytes(&m->config, max_tokens);
    if (bytes == 0) {
        return err_set(info, ERR_ARGUMENT, "a step of %zu tokens; it must have 1 to %d and fit memory",
                       max_tokens, WORKSPACE_TOKENS_MAX);
    }
    struct model_workspace *w = mem_alloc(sizeof *w);
    void *memory = w ? mem_alloc_aligned(bytes) : NULL;
    if (!memory) {
        mem_free(w);
        return err_set(info, ERR_NOMEM, "out of memory: steps of %zu tokens need %zu MiB of activations; "
                       "use a smaller chunk", max_tokens, bytes >> 20);
    }
    workspace_place(&m->config, max_tokens, memory, w);
    *out = w;
    return ERR_OK;
}

void model_workspace_free(struct model_workspace *w)
{
    if (w) {
        mem_free_aligned(w->memory);
        mem_free(w);
    }
}

size_t model_workspace_experts(const struct model_workspace *w)
{
    return w->experts_used;
}

static err model_check_tokens(const struct model *m, const int32_t *tokens, size_t n,
                              struct errinfo *info)
{
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (size_t)tokens[i] >= m->config.vocab_size) {
            return err_set(info, ERR_ARGUMENT, "token id %d; this model's ids are 0 to %zu",
                           (int)tokens[i], m->config.vocab_size - 1);
        }
    }
    return ERR_OK;
}

static err model_check_cache(const struct model_cache *cache, size_t n_tokens, struct errinfo *info)
{
    if (cache->dtype != DTYPE_F32 && cache->dtype != DTYPE_F16 && cache->dtype != DTYPE_BF16) {
        return err_set(info, ERR_ARGUMENT, "a key/value cache of type %s; it must be f32, f16 or bf16",
                       dtype_info(cache->dtype)->name);
    }
    if (cache->len > cache->capacity || n_tokens > cache->capacity - cache->len) {
        return err_set(info, ERR_CONTEXT, "%zu more tokens do not fit: %zu of %zu positions are used",
                       n_tokens, cache->len, cache->capacity);
    }
    return ERR_OK;
}

static err model_check_segment(const struct model *m, const struct model_segment *segments, size_t s,
                               struct errinfo *info)
{
    const struct model_segment *seg = &segments[s];
    const struct model_cache *cache = seg->cache;
    if (seg->n_tokens == 0) {
        return err_set(info, ERR_ARGUMENT, "segment %zu has no tokens", s);
    }
    TRY(model_check_cache(cache, seg->n_tokens, info));
    for (size_t i = 0; i < s; i++) {
        if (segments[i].cache == cache) {
            return err_set(info, ERR_ARGUMENT, "segments %zu and %zu share one cache", i, s);
        }
    }
    return model_check_tokens(m, seg->tokens, seg->n_tokens, info);
}

err model_forward(const struct model *m, struct compute *c, struct model_workspace *w,
                  const struct model_segment *segments, size_t n_segments, model_observer observer,
                  void *user, struct errinfo *info)
{
    size_t n_tokens = 0;
    for (size_t s = 0; s < n_segments; s++) {
        TRY(model_check_segment(m, segments, s, info));
        n_tokens += segments[s].n_tokens;
    }
    if (n_tokens > w->max_tokens) {
        return err_set(info, ERR_ARGUMENT, "%zu tokens in a step; this workspace takes %zu", n_tokens,
                       w->max_tokens);
    }
    struct forward f = {.config = &m->config,
                        .weights = &m->weights,
                        .compute = c,
                        .work = w,
                        .segments = segments,
                        .n_segments = n_segments,
                        .n_tokens = n_tokens,
                        .info = info};
    if (n_tokens == 0) {
        return ERR_OK;
    }
    TRY(forward_run(&f, observer, user));
    for (size_t s = 0; s < n_segments; s++) {
        segments[s].cache->len += segments[s].n_tokens;
    }
    return ERR_OK;
}

/* ---- the multi-token-prediction layer ---- */

bool model_has_mtp(const struct model *m)
{
    return m->weights.mtp != NULL;
}

size_t model_mtp_bytes(const struct model *m)
{
    return m->mtp_bytes;
}

err model_mtp_forward(const struct model *m, struct compute *c, struct model_workspace *w,
                      const struct model_mtp_step *step, struct errinfo *info)
{
    if (!model_has_mtp(m)) {
        return err_set(info, ERR_UNSUPPORTED, "this model's files have no multi-token-prediction layer");
    }
    if (step->n_tokens == 0 || step->n_tokens > MODEL_MTP_TOKENS || step->n_tokens > w->max_tokens) {
        return err_set(info, ERR_ARGUMENT, "%zu tokens in a step of the multi-token-prediction layer; it "
                       "takes 1 to %d, and this workspace %zu", step->n_tokens, MODEL_MTP_TOKENS,
                       w->max_tokens);
    }
    TRY(model_check_cache(step->cache, step->n_tokens, info));
    TRY(model_check_tokens(m, step->tokens, step->n_tokens, info));
    TRY(mtp_forward(&m->mtp, c, w, step, info));
    step->cache->len += step->n_tokens;
    return ERR_OK;
}

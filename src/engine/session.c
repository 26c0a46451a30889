/* engine/session.c: see session.h and fathom.h. */
#include "engine/session.h"

#include <string.h>

#include "base/mem.h"
#include "base/meminfo.h"
#include "engine/drafter.h"
#include "engine/generation.h"
#include "engine/sessionfile.h"

err session_make(struct engine *e, size_t capacity, enum dtype dtype, struct kvpool *pool,
                 struct session **out, struct errinfo *info)
{
    struct session *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return err_set(info, ERR_NOMEM, "out of memory for a session");
    }
    s->engine = e;
    struct model_cache_shape shape = kvcache_shape_of(e->model, dtype);
    err result = pool ? kvcache_init_pooled(&s->kv, &shape, capacity, pool, info)
                      : kvcache_init(&s->kv, &shape, capacity, meminfo_available(), info);
    if (result == ERR_OK) {
        s->tokens = mem_calloc(capacity, sizeof *s->tokens);
        s->logits = mem_calloc(engine_vocab_size(e), sizeof *s->logits);
        if (!s->tokens || !s->logits) {
            result = err_set(info, ERR_NOMEM, "out of memory for a session of %zu tokens", capacity);
        }
    }
    if (result != ERR_OK) {
        session_free(s);
        return result;
    }
    *out = s;
    return ERR_OK;
}

/* The context when none is asked for. The weights are mapped and count as available memory, but a
 * cache that pushes them out would make every token read the disk; so they come first. */
static size_t session_default_context(const struct engine *e)
{
    size_t limit = engine_context_max(e);
    size_t n = limit < ENGINE_CONTEXT ? limit : ENGINE_CONTEXT;
    size_t available = meminfo_available();
    size_t weights = model_weight_bytes(e->model);
    size_t room = available / 4;
    if (available > weights && available - weights > room) {
        room = available - weights;
    }
    size_t fits = room / engine_cache_bytes_per_token(e);
    n = fits < n ? fits : n;
    return n > 0 ? n : 1;
}

err session_new(struct engine *e, const struct session_options *options, struct session **out,
                struct errinfo *info)
{
    size_t context = options ? options->context : 0;
    size_t limit = engine_context_max(e);
    if (context > limit) {
        return err_set(info, ERR_CONTEXT,
                       "a context of %zu positions was asked for; this model was made for at most %zu",
                       context, limit);
    }
    return session_make(e, context ? context : session_default_context(e), e->kv_dtype, NULL, out, info);
}

void session_free(struct session *s)
{
    if (s) {
        drafter_free(s->drafter);
        kvcache_deinit(&s->kv);
        mem_free(s->tokens);
        mem_free(s->logits);
        mem_free(s);
    }
}

size_t session_length(const struct session *s)
{
    return s->n_tokens;
}

size_t session_capacity(const struct session *s)
{
    return s->kv.cache.capacity;
}

const int32_t *session_tokens(const struct session *s)
{
    return s->tokens;
}

const float *session_logits(const struct session *s)
{
    return s->has_logits && s->kv.cache.len == s->n_tokens ? s->logits : NULL;
}

err session_append(struct session *s, const int32_t *ids, size_t n, struct errinfo *info)
{
    size_t vocab = engine_vocab_size(s->engine);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= vocab) {
            return err_set(info, ERR_ARGUMENT,
                           "token %d (number %zu) is not in the vocabulary; ids are 0 to %zu", ids[i],
                           i, vocab - 1);
        }
    }
    size_t capacity = session_capacity(s);
    if (n > capacity - s->n_tokens) {
        return err_set(info, ERR_CONTEXT,
                       "%zu tokens do not fit: the context holds %zu and %zu are in use; ask for a "
                       "larger context (--context, at most %zu for this model) or shorten the text",
                       n, capacity, s->n_tokens, engine_context_max(s->engine));
    }
    if (n > 0) {
        memcpy(s->tokens + s->n_tokens, ids, n * sizeof *ids);
        s->n_tokens += n;
        s->answer_start = s->n_tokens;
        s->stream = (struct tokenizer_stream){0};
    }
    return ERR_OK;
}

err session_append_text(struct session *s, const char *text, struct errinfo *info)
{
    const struct tokenizer *t = engine_tokenizer(s->engine);
    if (!t) {
        return err_set(info, ERR_UNSUPPORTED,
                       "the model's files have no tokenizer; give token ids instead of text");
    }
    struct tokenizer_ids ids = {0};
    err e = ERR_OK;
    if (s->n_tokens == 0 && tokenizer_add_bos(t) && tokenizer_bos(t) >= 0) {
        e = tokenizer_ids_push(&ids, tokenizer_bos(t));
    }
    if (e == ERR_OK) {
        e = tokenizer_encode(t, text, strlen(text), false, &ids, info);
    } else {
        e = err_set(info, e, "out of memory for the text's tokens");
    }
    if (e == ERR_OK) {
        e = session_append(s, ids.data, ids.len, info);
    }
    tokenizer_ids_deinit(&ids);
    return e;
}

err session_rewind(struct session *s, size_t n, struct errinfo *info)
{
    if (n > s->n_tokens) {
        return err_set(info, ERR_ARGUMENT, "cannot go back to %zu tokens: the session has %zu", n,
                       s->n_tokens);
    }
    if (n == s->n_tokens) {
        return ERR_OK;
    }
    if (s->drafter) {
        drafter_rewind(s->drafter, s->tokens, n);
    }
    if (n < s->kv.cache.len) {
        s->kv.cache.len = n;
        s->has_logits = false;
    }
    s->n_tokens = n;
    s->answer_start = s->answer_start < n ? s->answer_start : n;
    s->stream = (struct tokenizer_stream){0};
    return ERR_OK;
}

/* After a rewind the logits of the last kept token are gone: read that token again. */
static void session_reopen(struct session *s)
{
    if (!s->has_logits && s->kv.cache.len > 0) {
        s->kv.cache.len--;
    }
}

err session_read(struct session *s, session_progress progress, void *user, struct errinfo *info)
{
    struct engine *e = s->engine;
    if (s->kv.cache.len == s->n_tokens) {
        session_reopen(s);
    }
    size_t start = s->kv.cache.len, total = s->n_tokens - start;
    while (s->kv.cache.len < s->n_tokens) {
        size_t done = s->kv.cache.len - start;
        if (progress && !progress(user, done, total)) {
            return err_set(info, ERR_CANCELLED, "stopped after reading %zu of %zu tokens", done,
                           total);
        }
        size_t n = total - done < e->chunk ? total - done : e->chunk;
        bool last = done + n == total;
        struct model_segment segment = {.cache = &s->kv.cache,
                                        .tokens = s->tokens + s->kv.cache.len,
                                        .n_tokens = n,
                                        .logits = last ? s->logits : NULL};
        s->has_logits = false;
        TRY(model_forward(e->model, e->compute, e->work, &segment, 1, drafter_observer(s->drafter),
                          s->drafter, info));
        s->has_logits = last;
    }
    if (progress && total > 0) {
        progress(user, total, total);
    }
    return ERR_OK;
}

err session_prefill(struct session *s, session_progress progress, void *user, struct errinfo *info)
{
    return session_read(s, progress, user, info);
}

err session_prefill_rows(struct session *s, session_rows rows, void *user, struct errinfo *info)
{
    struct engine *e = s->engine;
    size_t vocab = engine_vocab_size(e), total = s->n_tokens - s->kv.cache.len, done = 0;
    TRY(engine_rows(e, info));
    while (done < total) {
        size_t n = total - done < e->n_rows ? total - done : e->n_rows;
        struct model_segment segment = {.cache = &s->kv.cache,
                                        .tokens = s->tokens + s->kv.cache.len,
                                        .n_tokens = n,
                                        .logits = e->rows,
                                        .all_logits = true};
        s->has_logits = false;
        TRY(model_forward(e->model, e->compute, e->work, &segment, 1, NULL, NULL, info));
        memcpy(s->logits, e->rows + (n - 1) * vocab, vocab * sizeof *s->logits);
        s->has_logits = true;
        if (!rows(user, done, n, e->rows)) {
            return err_set(info, ERR_CANCELLED, "stopped after %zu of %zu tokens", done + n, total);
        }
        done += n;
    }
    return ERR_OK;
}

struct session_scoring {
    const int32_t *ids; /* the pending tokens */
    size_t n, vocab_size;
    float *out;
    session_progress progress;
    void *user;
};

static float session_logprob(const float *logits, size_t vocab_size, int32_t id)
{
    return (float)((double)logits[id] - sampler_logsumexp(logits, vocab_size));
}

/* A row of logits scores the token after it; the last row of all scores nothing yet. */
static bool session_score_rows(void *user, size_t first, size_t n, const float *logits)
{
    struct session_scoring *k = user;
    for (size_t i = first; i < first + n && i + 1 < k->n; i++) {
        k->out[i + 1] =
            session_logprob(logits + (i - first) * k->vocab_size, k->vocab_size, k->ids[i + 1]);
    }
    return !k->progress || k->progress(k->user, first + n, k->n);
}

/* Makes the logits before the first pending token valid again after a rewind. */
static err session_score_start(struct session *s, struct errinfo *info)
{
    size_t n = s->n_tokens;
    s->n_tokens = s->kv.cache.len;
    err e = session_read(s, NULL, NULL, info);
    s->n_tokens = n;
    return e;
}

err session_score(struct session *s, float *out, session_progress progress, void *user,
                  struct errinfo *info)
{
    if (s->kv.cache.len == s->n_tokens) {
        return ERR_OK;
    }
    TRY(session_score_start(s, info));
    struct session_scoring k = {.ids = s->tokens + s->kv.cache.len,
                                .n = s->n_tokens - s->kv.cache.len,
                                .vocab_size = engine_vocab_size(s->engine),
                                .out = out,
                                .progress = progress,
                                .user = user};
    out[0] = s->kv.cache.len == 0 ? 0 : session_logprob(s->logits, k.vocab_size, k.ids[0]);
    return session_prefill_rows(s, session_score_rows, &k, info);
}

err session_generate(struct session *s, const struct sampling *sampling,
                     const struct generate_options *options, session_callback callback, void *user,
                     struct generate_result *result, struct errinfo *info)
{
    static const struct sampling greedy;
    static const struct generate_options defaults;
    return generation_run(s, sampling ? sampling : &greedy, options ? options : &defaults, callback,
                          user, result, info);
}

const char *session_finish_name(enum session_finish f)
{
    static const char *const names[] = {"stop", "length", "cancelled", "loop"};
    return names[f];
}

err session_save(const struct session *s, const char *path, struct errinfo *info)
{
    return sessionfile_write(s, path, info);
}

err session_load(struct engine *e, const char *path, struct session **out, struct errinfo *info)
{
    return sessionfile_read(e, path, out, info);
}

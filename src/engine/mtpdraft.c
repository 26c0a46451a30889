/* engine/mtpdraft.c: see mtpdraft.h. */
#include "engine/mtpdraft.h"

#include <string.h>

#include "base/mem.h"
#include "base/meminfo.h"

err mtpdraft_init(struct mtpdraft *m, const struct session *s, struct errinfo *info)
{
    const struct config *c = model_config(s->engine->model);
    struct mtpdraft n = {.width = c->hidden_size};
    struct model_cache_shape shape = s->kv.shape;
    shape.n_layers = 1;
    TRY(kvcache_init(&n.kv, &shape, session_capacity(s), meminfo_available(), info));
    n.hidden = mem_alloc_aligned(2 * MTPDRAFT_PAST * n.width * sizeof *n.hidden);
    n.logits = mem_alloc_aligned(c->vocab_size * sizeof *n.logits);
    n.output = mem_alloc_aligned(n.width * sizeof *n.output);
    if (!n.hidden || !n.logits || !n.output) {
        mtpdraft_deinit(&n);
        return err_set(info, ERR_NOMEM, "out of memory for the multi-token-prediction layer");
    }
    *m = n;
    return ERR_OK;
}

void mtpdraft_deinit(struct mtpdraft *m)
{
    kvcache_deinit(&m->kv);
    mem_free_aligned(m->hidden);
    mem_free_aligned(m->logits);
    mem_free_aligned(m->output);
    *m = (struct mtpdraft){0};
}

void mtpdraft_look(struct mtpdraft *m, size_t position, const float *x, size_t n)
{
    if (n > MTPDRAFT_PAST) {
        x += (n - MTPDRAFT_PAST) * m->width;
        position += n - MTPDRAFT_PAST;
        n = MTPDRAFT_PAST;
    }
    if (position < m->first || position > m->end) {
        m->first = position; /* nothing joins on */
    }
    m->end = position;
    if (m->end - m->first + n > 2 * MTPDRAFT_PAST) {
        size_t old = m->first;
        m->first = m->end - MTPDRAFT_PAST;
        memmove(m->hidden, m->hidden + (m->first - old) * m->width,
                MTPDRAFT_PAST * m->width * sizeof *m->hidden);
    }
    memcpy(m->hidden + (m->end - m->first) * m->width, x, n * m->width * sizeof *x);
    m->end += n;
}

/* The layer has read pairs: an output and the token after it. */
void mtpdraft_rewind(struct mtpdraft *m, size_t n)
{
    size_t pairs = n > 0 ? n - 1 : 0;
    if (m->next > pairs) {
        size_t back = m->next - pairs;
        m->kv.cache.len = back < m->kv.cache.len ? m->kv.cache.len - back : 0;
        m->next = pairs;
    }
    m->end = m->end < n ? m->end : n;
    m->first = m->first < m->end ? m->first : m->end;
}

/* The layer reads what the model has read since. False when it cannot. */
static err mtpdraft_catch_up(struct mtpdraft *m, struct session *s, size_t *n, struct errinfo *info)
{
    size_t at = s->kv.cache.len; /* the token that waits */
    *n = 0;
    if (at == 0 || m->end < at || m->first >= at) {
        return ERR_OK;
    }
    if (m->next < m->first || m->next >= at || at - m->next > MTPDRAFT_PAST) {
        size_t past = at < MTPDRAFT_PAST ? at : MTPDRAFT_PAST;
        m->next = at - past > m->first ? at - past : m->first;
        m->kv.cache.len = 0;
    }
    size_t most = s->engine->chunk; /* of the workspace */
    while (m->next < at) {
        size_t k = at - m->next < most ? at - m->next : most;
        const struct model_mtp_step step = {.cache = &m->kv.cache,
                                            .hidden = m->hidden + (m->next - m->first) * m->width,
                                            .tokens = s->tokens + m->next + 1,
                                            .n_tokens = k,
                                            .logits = m->next + k == at ? m->logits : NULL,
                                            .output = m->output};
        TRY(model_mtp_forward(s->engine->model, s->engine->compute, s->engine->work, &step, info));
        m->next += k;
        *n += k;
    }
    return ERR_OK;
}

err mtpdraft_guess(struct mtpdraft *m, struct session *s, const struct sampling *sampling, size_t k,
                   int32_t *out, size_t *n, size_t *caught_up, struct errinfo *info)
{
    const struct engine *e = s->engine;
    *n = 0;
    TRY(mtpdraft_catch_up(m, s, caught_up, info));
    if (*caught_up == 0) {
        return ERR_OK;
    }
    size_t certain = m->kv.cache.len;
    err result = ERR_OK;
    for (size_t i = 0; i < k && result == ERR_OK; i++) {
        const struct sampler_past past = {s->tokens, s->n_tokens + i,
                                          s->n_tokens + i - s->answer_start, NULL};
        if (sampler_pick(e->sampler, sampling, m->logits, &past, &out[i], NULL) != ERR_OK) {
            break; /* no number among the logits: then there is no guess */
        }
        s->tokens[s->n_tokens + i] = out[i];
        *n = i + 1;
        if (i + 1 < k) {
            const struct model_mtp_step step = {.cache = &m->kv.cache,
                                                .hidden = m->output,
                                                .tokens = &out[i],
                                                .n_tokens = 1,
                                                .logits = m->logits,
                                                .output = m->output};
            result = model_mtp_forward(e->model, e->compute, e->work, &step, info);
        }
    }
    m->kv.cache.len = certain; /* guesses leave no trace */
    return result;
}

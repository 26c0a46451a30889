/* engine/generation.c: see generation.h. One turn of the loop: sample, store, show, decide whether to
 * stop, and only then read the new token; so the last token of an answer waits unread in the session
 * and costs nothing unless the conversation goes on. */
#include "engine/generation.h"

#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "engine/drafter.h"
#include "engine/loopguard.h"
#include "engine/stopper.h"

struct generation {
    struct session *session;
    const struct sampling *sampling;
    const struct generate_options *options;
    struct stopper stopper;
    struct loopguard loopguard;
    struct drafter *drafter; /* borrowed; NULL: nothing is guessed */
    char *piece; /* text of one token */
    size_t piece_cap;
    size_t made;
};

static err generation_check(const struct session *s, const struct generate_options *o,
                            struct errinfo *info)
{
    if (s->n_tokens == 0) {
        return err_set(info, ERR_ARGUMENT, "nothing to continue: the session is empty");
    }
    if (o->top_logprobs < 0 || o->top_logprobs > FATHOM_TOP_LOGPROBS_MAX) {
        return err_set(info, ERR_ARGUMENT, "top_logprobs is %d; it must be between 0 and %d",
                       o->top_logprobs, FATHOM_TOP_LOGPROBS_MAX);
    }
    if (o->n_stop > 0 && !engine_tokenizer(s->engine)) {
        return err_set(info, ERR_UNSUPPORTED,
                       "stop strings need a tokenizer, and the model's files have none");
    }
    for (size_t i = 0; i < o->n_stop; i++) {
        if (o->stop[i][0] == '\0') {
            return err_set(info, ERR_ARGUMENT, "stop string %zu is empty", i + 1);
        }
    }
    return ERR_OK;
}

static bool generation_has(const int32_t *ids, size_t n, int32_t id)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static bool generation_is_stop(const struct generation *g, int32_t id)
{
    const struct generate_options *o = g->options;
    const struct tokenizer *t = engine_tokenizer(g->session->engine);
    return !o->ignore_eos &&
           (generation_has(o->stop_ids, o->n_stop_ids, id) || (t && tokenizer_eos(t) == id));
}

/* Text of the new token into the stopper. `is_stop`: the token ends the answer and has no text, but
 * an unfinished character before it will now never be finished. */
static err generation_text(struct generation *g, int32_t id, bool is_stop)
{
    const struct tokenizer *t = engine_tokenizer(g->session->engine);
    size_t len = 0;
    if (!t) {
        return ERR_OK;
    }
    size_t need = 3 * (tokenizer_bytes(t, id).len + sizeof g->session->stream.held) + 4;
    if (need > g->piece_cap) { /* every invalid byte may become U+FFFD, three bytes */
        char *p = mem_resize(g->piece, need, 1);
        if (!p) {
            return ERR_NOMEM;
        }
        g->piece = p;
        g->piece_cap = need;
    }
    struct tokenizer_stream *stream = &g->session->stream;
    if (is_stop) {
        TRY(tokenizer_stream_finish(stream, g->piece, g->piece_cap, &len));
    } else {
        bool shown = generation_has(g->options->shown_ids, g->options->n_shown_ids, id);
        TRY(tokenizer_stream_push(t, stream, id, shown, g->piece, g->piece_cap, &len));
    }
    return stopper_push(&g->stopper, g->piece, len);
}

/* Samples, stores and shows one token; *finished says whether it was the last, and why. */
static err generation_step(struct generation *g, session_callback callback, void *user,
                           bool *finished, enum session_finish *finish, struct errinfo *info)
{
    struct session *s = g->session;
    struct engine *e = s->engine;
    struct session_token token = {.text = ""};
    struct sampler_past past = {s->tokens, s->n_tokens, s->n_tokens - s->answer_start};
    TRY(sampler_pick(e->sampler, g->sampling, s->logits, &past, &token.id, info));
    bool is_stop = generation_is_stop(g, token.id);
    err result = generation_text(g, token.id, is_stop);
    s->tokens[s->n_tokens] = token.id; /* there is room for one; it counts once its text is made */
    bool full = g->made + 1 == g->options->max_tokens || s->n_tokens + 1 == session_capacity(s);
    bool loop = g->options->stop_loops && !is_stop &&
                loopguard_push(&g->loopguard, s->tokens + s->n_tokens - g->made, g->made + 1) > 0;
    if (result == ERR_OK && (is_stop || full || loop)) {
        result = stopper_finish(&g->stopper);
    }
    if (result != ERR_OK) {
        return err_set(info, result, "out of memory for the text of token %zu of the answer", g->made);
    }
    s->n_tokens++;
    g->made++;
    bool stop = is_stop || g->stopper.stopped;
    *finished = stop || full || loop;
    *finish = stop ? SESSION_STOP : loop ? SESSION_LOOP : SESSION_LENGTH;
    if (callback) {
        sampler_logprobs(s->logits, engine_vocab_size(e), token.id, g->options->top_logprobs, &token);
        token.text = g->stopper.shown.len ? g->stopper.shown.data : "";
        token.text_len = g->stopper.shown.len;
        if (!callback(user, &token) && !*finished) {
            *finished = true;
            *finish = SESSION_CANCELLED;
        }
    }
    return ERR_OK;
}

/* How many tokens may still be made. */
static size_t generation_room(const struct generation *g)
{
    size_t room = session_capacity(g->session) - g->session->n_tokens;
    size_t max = g->options->max_tokens;
    return max && max - g->made < room ? max - g->made : room;
}

/* The logits after the last token. */
static err generation_read(struct generation *g, struct errinfo *info)
{
    struct session *s = g->session;
    if (!g->drafter) {
        return session_read(s, NULL, NULL, info);
    }
    return drafter_read(g->drafter, s, g->sampling, generation_room(g), info);
}

static err generation_loop(struct generation *g, session_callback callback, void *user,
                           struct generate_result *r, struct errinfo *info)
{
    struct session *s = g->session;
    bool finished = s->n_tokens == session_capacity(s); /* no room for even one */
    r->finish = SESSION_LENGTH;
    while (!finished) {
        TRY(generation_read(g, info));
        TRY(generation_step(g, callback, user, &finished, &r->finish, info));
    }
    r->completion_tokens = g->made;
    return ERR_OK;
}

err generation_run(struct session *s, const struct sampling *sampling,
                   const struct generate_options *options, session_callback callback, void *user,
                   struct generate_result *result, struct errinfo *info)
{
    TRY(sampling_check(sampling, engine_vocab_size(s->engine), info));
    TRY(generation_check(s, options, info));
    struct generation g = {.session = s, .sampling = sampling, .options = options};
    struct generate_result r = {.prompt_tokens = s->n_tokens - s->kv.cache.len};
    TRY(drafter_begin(s, options, &g.drafter, info));
    double start = progress_clock();
    err e = session_read(s, options->progress, user, info);
    double ready = progress_clock();
    if (e == ERR_OK) {
        stopper_init(&g.stopper, options->stop, options->n_stop);
        e = generation_loop(&g, callback, user, &r, info);
        stopper_deinit(&g.stopper);
        mem_free(g.piece);
    } else if (e == ERR_CANCELLED) {
        r.finish = SESSION_CANCELLED;
        e = ERR_OK;
    }
    r.prefill_seconds = ready - start;
    r.decode_seconds = progress_clock() - ready;
    if (g.drafter) {
        drafter_counts(g.drafter, &r.drafted_tokens, &r.accepted_tokens);
    }
    if (e == ERR_OK && result) {
        *result = r;
    }
    return e;
}

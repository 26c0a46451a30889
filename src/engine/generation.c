/* engine/generation.c: see generation.h. One turn of the loop: sample, store, show, decide whether to
 * stop, and only then read the new token; so the last token of an answer waits unread in the session
 * and costs nothing unless the conversation goes on. */
#include "engine/generation.h"

#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "engine/drafter.h"
#include "text/grammarmask.h"

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
    if (o->grammar && (o->ignore_eos || !engine_tokenizer(s->engine) ||
                       (tokenizer_eos(engine_tokenizer(s->engine)) < 0 && o->n_stop_ids == 0))) {
        return err_set(info, ERR_UNSUPPORTED, "an answer by a grammar needs a tokenizer and a token that ends "
                                              "the answer");
    }
    if (o->grammar && o->min_tokens > 0) {
        return err_set(info, ERR_UNSUPPORTED, "where an answer by a grammar ends, the grammar says; min_tokens "
                                              "cannot");
    }
    for (size_t i = 0; i < o->n_think_end; i++) {
        if (o->think_end[i] < 0 || (size_t)o->think_end[i] >= engine_vocab_size(s->engine)) {
            return err_set(info, ERR_ARGUMENT, "token %d, to end a think block, is not in the vocabulary",
                           o->think_end[i]);
        }
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

static void generation_allow(struct generation *g, int32_t id, bool may)
{
    if (id >= 0 && (size_t)id < engine_vocab_size(g->session->engine)) {
        uint64_t bit = (uint64_t)1 << id % 64, *word = &g->allowed[id / 64];
        *word = may ? *word | bit : *word & ~bit;
    }
}

/* May the answer end here? */
static void generation_allow_end(struct generation *g, bool may)
{
    const struct generate_options *o = g->options;
    const struct tokenizer *t = engine_tokenizer(g->session->engine);
    generation_allow(g, t ? tokenizer_eos(t) : -1, may);
    for (size_t i = 0; i < o->n_stop_ids; i++) {
        generation_allow(g, o->stop_ids[i], may);
    }
}

err generation_begin(struct generation *g, struct session *s, const struct sampling *sampling,
                     const struct generate_options *options, struct errinfo *info)
{
    TRY(sampling_check(sampling, engine_vocab_size(s->engine), info));
    TRY(generation_check(s, options, info));
    *g = (struct generation){.session = s, .sampling = sampling, .options = options};
    if (options->grammar || options->min_tokens > 0) {
        g->allowed = mem_calloc((engine_vocab_size(s->engine) + 63) / 64, sizeof *g->allowed);
        if (!g->allowed) {
            return err_set(info, ERR_NOMEM, "out of memory for what an answer may say");
        }
    }
    if (options->min_tokens > 0) {
        memset(g->allowed, 0xff, (engine_vocab_size(s->engine) + 63) / 64 * sizeof *g->allowed);
        generation_allow_end(g, false);
    }
    g->finished = s->n_tokens == session_capacity(s); /* no room for even one */
    g->finish = SESSION_LENGTH;
    stopper_init(&g->stopper, options->stop, options->n_stop);
    return ERR_OK;
}

void generation_end(struct generation *g)
{
    stopper_deinit(&g->stopper);
    mem_free(g->piece);
    mem_free(g->allowed);
    g->piece = NULL;
    g->allowed = NULL;
}

/* Whether the token just stored is the last one, and why. */
static err generation_ends(struct generation *g, bool is_stop)
{
    struct session *s = g->session;
    bool full = g->made + 1 == g->options->max_tokens || s->n_tokens + 1 == session_capacity(s);
    bool loop = g->options->stop_loops && !is_stop &&
                loopguard_push(&g->loopguard, s->tokens + s->n_tokens - g->made, g->made + 1) > 0;
    if (is_stop || full || loop) {
        TRY(stopper_finish(&g->stopper));
    }
    bool stop = is_stop || g->stopper.found;
    g->finished = stop || full || loop;
    g->finish = stop ? SESSION_STOP : loop ? SESSION_LOOP : SESSION_LENGTH;
    return ERR_OK;
}

/* What the grammar lets come next, into g->allowed; a token that ends the answer where the grammar may end, and
 * nowhere else. */
static err generation_allowed(struct generation *g, struct errinfo *info)
{
    const struct tokenizer *t = engine_tokenizer(g->session->engine);
    const struct generate_options *o = g->options;
    size_t words = (engine_vocab_size(g->session->engine) + 63) / 64, mine = (tokenizer_size(t) + 63) / 64;
    const uint64_t *bits;
    uint64_t any = 0;
    TRY(grammarmask_next(o->grammar, &bits, info));
    for (size_t i = 0; i < words; i++) {
        g->allowed[i] = !bits ? UINT64_MAX : i < mine ? bits[i] : 0;
    }
    generation_allow_end(g, grammarmask_may_end(o->grammar));
    for (size_t i = 0; i < words; i++) {
        any |= g->allowed[i];
    }
    return any ? ERR_OK
               : err_set(info, ERR_UNSUPPORTED, "after %zu tokens of the answer no token of this model's "
                         "vocabulary goes on as the grammar wants", g->made);
}

void generation_answer_now(struct generation *g)
{
    const struct generate_options *o = g->options;
    const struct session *s = g->session;
    if (g->forced == 0 && o->n_think_end > 0 &&
        !generation_has(s->tokens + s->n_tokens - g->made, g->made, o->think_end[0])) {
        g->forced = o->n_think_end;
    }
}

/* Must a certain token come now? */
static bool generation_forces(struct generation *g)
{
    if (g->options->think_tokens > 0 && g->made == g->options->think_tokens) {
        generation_answer_now(g);
    }
    return g->forced > 0;
}

bool generation_ready(struct generation *g, double until)
{
    return !g->options->grammar || generation_forces(g) || grammarmask_ready(g->options->grammar, until);
}

/* The token that must come now; *id -1: there is none. */
static err generation_force(struct generation *g, int32_t *id, struct errinfo *info)
{
    const struct generate_options *o = g->options;
    *id = -1;
    if (!generation_forces(g)) {
        return ERR_OK;
    }
    int32_t next = o->think_end[o->n_think_end - g->forced];
    err e = o->grammar ? grammarmask_accept(o->grammar, next, info) : ERR_OK;
    g->forced = e == ERR_OK ? g->forced - 1 : 0;
    *id = e == ERR_OK ? next : -1;
    return e == ERR_ARGUMENT ? ERR_OK : e;
}

static err generation_sample(struct generation *g, int32_t *id, struct errinfo *info)
{
    struct session *s = g->session;
    struct grammarmask *grammar = g->options->grammar;
    TRY(grammar ? generation_allowed(g, info) : ERR_OK);
    struct sampler_past past = {s->tokens, s->n_tokens, s->n_tokens - s->answer_start,
                                grammar || g->made < g->options->min_tokens ? g->allowed : NULL};
    TRY(sampler_pick(s->engine->sampler, g->sampling, s->logits, &past, id, info));
    return grammar && !generation_is_stop(g, *id) ? grammarmask_accept(grammar, *id, info) : ERR_OK;
}

/* The next token's id. */
static err generation_pick(struct generation *g, int32_t *id, bool *is_stop, struct errinfo *info)
{
    TRY(generation_force(g, id, info));
    TRY(*id < 0 ? generation_sample(g, id, info) : ERR_OK);
    *is_stop = generation_is_stop(g, *id);
    return ERR_OK;
}

err generation_step(struct generation *g, session_callback callback, void *user, struct errinfo *info)
{
    struct session *s = g->session;
    struct engine *e = s->engine;
    struct session_token token = {.text = ""};
    bool is_stop;
    TRY(generation_pick(g, &token.id, &is_stop, info));
    err result = generation_text(g, token.id, is_stop);
    s->tokens[s->n_tokens] = token.id; /* there is room for one; it counts once its text is made */
    result = result == ERR_OK ? generation_ends(g, is_stop) : result;
    if (result != ERR_OK) {
        return err_set(info, result, "out of memory for the text of token %zu of the answer", g->made);
    }
    s->n_tokens++;
    g->made++;
    if (callback) {
        sampler_logprobs(s->logits, engine_vocab_size(e), token.id, g->options->top_logprobs, &token);
        token.text = g->stopper.shown.len ? g->stopper.shown.data : "";
        token.text_len = g->stopper.shown.len;
        if (!callback(user, &token) && !g->finished) {
            g->finished = true;
            g->finish = SESSION_CANCELLED;
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

/* The logits after the last token; `d`: guesses ahead, or NULL. */
static err generation_read(const struct generation *g, struct drafter *d, struct errinfo *info)
{
    if (!d) {
        return session_read(g->session, NULL, NULL, info);
    }
    return drafter_read(d, g->session, g->sampling, generation_room(g), info);
}

static err generation_loop(struct generation *g, struct drafter *d, session_callback callback, void *user,
                           struct errinfo *info)
{
    while (!g->finished) {
        TRY(generation_read(g, d, info));
        TRY(generation_step(g, callback, user, info));
    }
    return ERR_OK;
}

err generation_run(struct session *s, const struct sampling *sampling,
                   const struct generate_options *options, session_callback callback, void *user,
                   struct generate_result *result, struct errinfo *info)
{
    struct generation g;
    struct drafter *d;
    struct generate_result r = {.prompt_tokens = s->n_tokens - s->kv.cache.len};
    TRY(generation_begin(&g, s, sampling, options, info));
    err e = drafter_begin(s, options, &d, info);
    if (e != ERR_OK) {
        generation_end(&g);
        return e;
    }
    double start = progress_clock();
    e = session_read(s, options->progress, user, info);
    double ready = progress_clock();
    if (e == ERR_OK) {
        e = generation_loop(&g, d, callback, user, info);
    } else if (e == ERR_CANCELLED) {
        g.finish = SESSION_CANCELLED;
        e = ERR_OK;
    }
    generation_end(&g);
    r.finish = g.finish;
    r.stop = g.stopper.found;
    r.completion_tokens = g.made;
    r.prefill_seconds = ready - start;
    r.decode_seconds = progress_clock() - ready;
    if (d) {
        drafter_counts(d, &r.drafted_tokens, &r.accepted_tokens);
    }
    if (e == ERR_OK && result) {
        *result = r;
    }
    return e;
}

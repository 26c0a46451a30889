/* server/wirereply.c: see wirereply.h. */
#include "server/wirereply.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

struct wirereply_source {
    struct wirereply reply;
    struct wirereply_options is;
    struct exchange *exchange;
    unsigned status; /* of the reply; 0: it has not begun */
    bool begun;
};

/* ---- What formats use. ---- */

err wirereply_json(struct strbuf *out, json_t *take_document)
{
    static const struct wiretokens_places none;
    err e = wiretokens_write(&none, NULL, take_document, out);
    json_decref(take_document);
    return e;
}

err wirereply_document(const struct wirereply *r, struct strbuf *out, json_t *take_document)
{
    err e = wiretokens_write(&r->places, r->model->tokenizer, take_document, out);
    json_decref(take_document);
    return e;
}

err wirereply_event(const struct wirereply *r, struct strbuf *out, const char *name, json_t *take_document)
{
    size_t before = out->len;
    err e = name ? strbuf_printf(out, "event: %s\n", name) : ERR_OK;
    e = e == ERR_OK ? strbuf_puts(out, "data: ") : e;
    if (e != ERR_OK) {
        json_decref(take_document);
    } else {
        e = r ? wirereply_document(r, out, take_document) : wirereply_json(out, take_document);
        e = e == ERR_OK ? strbuf_puts(out, "\n\n") : e;
    }
    if (e != ERR_OK && out->data) { /* no halves */
        out->len = before;
        out->data[before] = '\0';
    }
    return e;
}

err wirereply_sse(struct strbuf *out, const char *name, json_t *take_document)
{
    return wirereply_event(NULL, out, name, take_document);
}

json_t *wirereply_logprobs(const struct wirereply *r, const struct answering_token *tokens)
{
    return wiretokens_list(r->model->tokenizer, tokens, wiretokens_openai, 0, NULL);
}

json_t *wirereply_usage(const struct answering_usage *u)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens",
                     (json_int_t)u->prompt, "completion_tokens", (json_int_t)u->completion,
                     "total_tokens", (json_int_t)(u->prompt + u->completion),
                     "prompt_cache_hit_tokens", (json_int_t)u->cached, "prompt_cache_miss_tokens",
                     (json_int_t)(u->prompt - u->cached), "prompt_tokens_details", "cached_tokens",
                     (json_int_t)u->cached, "completion_tokens_details", "reasoning_tokens",
                     (json_int_t)u->reasoning);
}

/* ---- What was said so far. ---- */

static err wirereply_add_call(struct wirereply_choice *c, const struct answering_event *e)
{
    struct wirereply_call *calls = mem_resize(c->calls, c->n_calls + 1, sizeof *calls);
    char *name = mem_dup(e->text, e->len);
    if (calls) {
        c->calls = calls;
    }
    if (!calls || !name) {
        mem_free(name);
        return ERR_NOMEM;
    }
    c->calls[c->n_calls++] = (struct wirereply_call){.id = e->id, .name = name};
    return ERR_OK;
}

/* For what lists them all at the end. */
static err wirereply_keep(const struct wirereply *r, struct wiretokens *w, const struct answering_token *tokens)
{
    return !r->question->stream || r->format->lists_again ? wiretokens_keep(w, tokens) : ERR_OK;
}

static err wirereply_collect(struct wirereply *r, const struct answering_event *e)
{
    struct wirereply_choice *c = &r->choices[e->choice];
    bool call = e->kind >= ANSWERING_CALL && e->kind <= ANSWERING_CALL_BROKEN;
    if (call && r->format->call_logprobs) {
        TRY(wirereply_keep(r, &c->content_tokens, e->tokens));
    }
    switch (e->kind) {
    case ANSWERING_REASONING:
        TRY(wirereply_keep(r, &c->reasoning_tokens, e->tokens));
        return strbuf_append(&c->reasoning, e->text, e->len);
    case ANSWERING_CONTENT:
        TRY(wirereply_keep(r, &c->content_tokens, e->tokens));
        return strbuf_append(&c->content, e->text, e->len);
    case ANSWERING_CALL: return wirereply_add_call(c, e);
    case ANSWERING_ARGUMENTS:
        return strbuf_append(&c->calls[c->n_calls - 1].arguments, e->text, e->len);
    case ANSWERING_CALL_END: c->calls[c->n_calls - 1].whole = true; return ERR_OK;
    case ANSWERING_CALL_BROKEN: c->calls[c->n_calls - 1].broken = true; return ERR_OK;
    case ANSWERING_DONE:
        c->finish = e->finish;
        c->stopped_by = e->stopped_by;
        return wirereply_keep(r, &c->content_tokens, e->tokens);
    default: return ERR_OK;
    }
}

/* ---- As a source. ---- */

/* A reply that has begun keeps its status; a stream has an event more then, a document is the error. */
static void wirereply_fail(struct wirereply_source *s, struct exchange *x, const struct apierror *error,
                           struct strbuf *out)
{
    const struct wirereply_format *f = s->reply.format;
    bool first = exchange_fail(x, error->status, "application/json");
    bool event = !first && s->reply.question->stream;
    s->status = first ? error->status : s->status;
    err e = event && f->error_event ? strbuf_printf(out, "event: %s\n", f->error_event) : ERR_OK;
    e = e == ERR_OK && event ? strbuf_puts(out, "data: ") : e;
    e = e == ERR_OK ? apierror_text(error, f->anthropic || apierror_for_anthropic(x), out) : e;
    if (e == ERR_OK && event) {
        e = strbuf_puts(out, "\n\n");
    }
    (void)e; /* out of memory: the reply just ends */
    if (first && error->retry_after) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", error->retry_after);
        exchange_add_header(x, "Retry-After", seconds);
    }
}

static err wirereply_take(struct wirereply_source *s, const struct answering_event *e,
                          struct strbuf *out)
{
    struct wirereply *r = &s->reply;
    if (r->question->stream) {
        if (!s->begun && r->format->begin) {
            TRY(r->format->begin(r, out));
        }
        s->begun = true;
    }
    TRY(wirereply_collect(r, e));
    if (r->question->stream) {
        return r->format->event(r, e, out);
    }
    return e->kind == ANSWERING_END ? r->format->whole(r, out) : ERR_OK;
}

static void wirereply_free_choices(struct wirereply *r, size_t n)
{
    for (size_t i = 0; r->choices && i < n; i++) {
        struct wirereply_choice *c = &r->choices[i];
        strbuf_deinit(&c->reasoning);
        strbuf_deinit(&c->content);
        for (size_t k = 0; k < c->n_calls; k++) {
            mem_free(c->calls[k].name);
            strbuf_deinit(&c->calls[k].arguments);
        }
        mem_free(c->calls);
        wiretokens_deinit(&c->content_tokens);
        wiretokens_deinit(&c->reasoning_tokens);
    }
    mem_free(r->choices);
    json_decref(r->items);
    wiretokens_places_deinit(&r->places);
}

/* Nothing more is said. */
static void wirereply_finish(struct wirereply_source *s)
{
    struct answering *answering = s->reply.answering;
    if (answering) {
        wirereply_free_choices(&s->reply, s->reply.question->n);
        s->reply.answering = NULL;
        s->is.over(s->is.user, s->status);
        answering_end(answering, s->is.used, s->is.user);
    }
}

static enum exchange_more wirereply_pull(void *user, struct exchange *x, struct strbuf *out)
{
    enum { WIREREPLY_EVENTS = 256 };
    struct wirereply_source *s = user;
    struct answering_event e;
    for (size_t n = 0; answering_next(s->reply.answering, &e); n++) {
        if (e.kind == ANSWERING_DONE || e.kind == ANSWERING_END) {
            s->reply.usage = e.usage;
        }
        if (e.kind == ANSWERING_END && e.error) {
            wirereply_fail(s, x, e.error, out);
            wirereply_finish(s);
            return EXCHANGE_END;
        }
        s->status = 200;
        if (wirereply_take(s, &e, out) != ERR_OK) {
            struct apierror error;
            apierror_set(&error, 503, "out_of_memory", NULL, "out of memory for the answer");
            wirereply_fail(s, x, &error, out);
            return EXCHANGE_END;
        }
        if (e.kind == ANSWERING_END) {
            wirereply_finish(s);
            return EXCHANGE_END;
        }
        if (n == WIREREPLY_EVENTS) { /* a model faster than this loop must not keep it from its reader */
            exchange_wake(x);
            break;
        }
    }
    return EXCHANGE_WAIT;
}

static void wirereply_close(void *user)
{
    struct wirereply_source *s = user;
    wirereply_finish(s);
    mem_free(s);
}

static void wirereply_wake(void *user)
{
    exchange_wake(user);
}

static bool wirereply_start(struct wirereply_source *s, struct question *take_q,
                            const struct wirereply_options *o, struct apierror *e)
{
    struct wirereply *r = &s->reply;
    unsigned char random[12];
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(r->id, sizeof r->id, random, sizeof random);
    r->created = (int64_t)time(NULL);
    r->choices = mem_calloc(take_q->n, sizeof *r->choices);
    if (!r->choices) {
        question_free(take_q);
        return apierror_set(e, 503, "out_of_memory", NULL, "out of memory for the answer");
    }
    size_t n = take_q->n;
    const struct answering_asker asker = {.owner = o->owner,
                                          .partition = o->partition,
                                          .drawer = o->drawer,
                                          .notify = wirereply_wake,
                                          .user = s->exchange};
    if (!answering_begin(o->model, take_q, &asker, &r->answering, e)) {
        wirereply_free_choices(r, n);
        return false;
    }
    r->question = answering_question(r->answering);
    return true;
}

void wirereply_give(struct exchange *x, struct question *take_q,
                    const struct wirereply_options *options)
{
    struct apierror error = {0};
    struct wirereply_source *s = mem_calloc(1, sizeof *s);
    if (take_q->unknown.len > 0) {
        exchange_add_header(x, "X-Fathom-Ignored", take_q->unknown.data);
    }
    if (!s) {
        question_free(take_q);
        apierror_set(&error, 503, "out_of_memory", NULL, "out of memory for the answer");
    } else {
        *s = (struct wirereply_source){.exchange = x, .is = *options};
        s->reply.format = options->format;
        s->reply.model = options->model;
        s->reply.model_id = options->model_id;
        wirereply_start(s, take_q, options, &error);
    }
    if (error.status) {
        const struct answering_usage none = {0};
        mem_free(s);
        apierror_reply(x, &error, options->format->anthropic);
        options->over(options->user, error.status);
        options->used(options->user, &none, false);
        return;
    }
    bool stream = s->reply.question->stream;
    if (stream) {
        exchange_add_header(x, "Cache-Control", "no-cache");
        exchange_add_header(x, "X-Accel-Buffering", "no");
    }
    const struct exchange_source source = {.pull = wirereply_pull,
                                           .close = wirereply_close,
                                           .user = s,
                                           .type =
                                               stream ? "text/event-stream" : "application/json",
                                           .keepalive = stream ? ": keep-alive\n\n" : "\n",
                                           .whole = !stream};
    exchange_stream(x, &source);
}

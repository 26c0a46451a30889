/* server/openaireply.c: chat.completion documents and chunks; see openaireply.h. */
#include <string.h>

#include "server/openaireply.h"

static const char *openaireply_finish(const struct wirereply_choice *c)
{
    switch (c->finish) {
    case ANSWERING_THOUGHTS:
    case ANSWERING_LENGTH: return "length";
    case ANSWERING_CALLS: return "tool_calls";
    case ANSWERING_CANCELLED: return "insufficient_system_resource";
    default: return "stop";
    }
}

static json_t *openaireply_document(const struct wirereply *r, const char *object,
                                   json_t *take_choices)
{
    return json_pack("{s:s+, s:s, s:I, s:s, s:s, s:o}", "id", "chatcmpl-", r->id, "object", object,
                     "created", (json_int_t)r->created, "model", r->model_id, "system_fingerprint",
                     "fathom-" FATHOM_VERSION, "choices", take_choices);
}

/* ---- A stream. ---- */

/* One chunk with one choice's delta. Takes `delta`. */
static err openaireply_chunk(const struct wirereply *r, size_t choice, json_t *take_delta,
                            json_t *take_logprobs, const char *finish, struct strbuf *out)
{
    json_t *one =
        json_pack("[{s:i, s:o, s:o, s:s?}]", "index", (int)choice, "delta", take_delta, "logprobs",
                  take_logprobs ? take_logprobs : json_null(), "finish_reason", finish);
    return wirereply_sse(out, NULL, openaireply_document(r, "chat.completion.chunk", one));
}

static err openaireply_begin(struct wirereply *r, struct strbuf *out)
{
    for (size_t i = 0; i < r->question->n; i++) {
        TRY(openaireply_chunk(r, i, json_pack("{s:s, s:s}", "role", "assistant", "content", ""),
                             NULL, NULL, out));
    }
    return ERR_OK;
}

/* The same, with the log-probabilities of the event's tokens, if there are any. Takes `delta`. */
static err openaireply_with_tokens(const struct wirereply *r, const struct answering_event *e,
                                   json_t *take_delta, const char *list, const char *finish,
                                   struct strbuf *out)
{
    json_t *logprobs = NULL;
    if (e->tokens) {
        logprobs = json_pack("{s:o}", list, wirereply_logprobs(r, e->tokens));
        if (!logprobs) {
            json_decref(take_delta);
            return ERR_NOMEM;
        }
    }
    return openaireply_chunk(r, e->choice, take_delta, logprobs, finish, out);
}

static err openaireply_text(const struct wirereply *r, const struct answering_event *e,
                           struct strbuf *out)
{
    bool reasoning = e->kind == ANSWERING_REASONING;
    json_t *delta = reasoning
                        ? json_pack("{s:s%, s:n}", "reasoning_content", e->text, e->len, "content")
                        : json_pack("{s:s%}", "content", e->text, e->len);
    return openaireply_with_tokens(r, e, delta, reasoning ? "reasoning_content" : "content", NULL, out);
}

static err openaireply_call_chunk(const struct wirereply *r, const struct answering_event *e,
                                 struct strbuf *out)
{
    json_t *delta = e->kind == ANSWERING_CALL
                        ? json_pack("{s:[{s:i, s:s, s:s, s:{s:s%, s:s}}]}", "tool_calls", "index",
                                    (int)e->call, "id", e->id, "type", "function", "function",
                                    "name", e->text, e->len, "arguments", "")
                        : json_pack("{s:[{s:i, s:{s:s%}}]}", "tool_calls", "index", (int)e->call,
                                    "function", "arguments", e->text, e->len);
    return openaireply_with_tokens(r, e, delta, "content", NULL, out);
}

static err openaireply_end(const struct wirereply *r, const struct answering_event *e,
                          struct strbuf *out)
{
    if (r->question->usage) {
        json_t *last = openaireply_document(r, "chat.completion.chunk", json_array());
        if (json_object_set_new(last, "usage", wirereply_usage(&e->usage)) != 0) {
            json_decref(last);
            return ERR_NOMEM;
        }
        TRY(wirereply_sse(out, NULL, last));
    }
    return strbuf_puts(out, "data: [DONE]\n\n");
}

static err openaireply_event(struct wirereply *r, const struct answering_event *e,
                            struct strbuf *out)
{
    switch (e->kind) {
    case ANSWERING_REASONING:
    case ANSWERING_CONTENT: return openaireply_text(r, e, out);
    case ANSWERING_CALL:
    case ANSWERING_ARGUMENTS: return openaireply_call_chunk(r, e, out);
    case ANSWERING_CALL_END:
    case ANSWERING_CALL_BROKEN:
        return e->tokens ? openaireply_with_tokens(r, e, json_object(), "content", NULL, out) : ERR_OK;
    case ANSWERING_DONE:
        return openaireply_with_tokens(r, e, json_object(), "content",
                                       openaireply_finish(&r->choices[e->choice]), out);
    case ANSWERING_END: return openaireply_end(r, e, out);
    default: return ERR_OK;
    }
}

/* ---- A document. ---- */

static json_t *openaireply_calls_of(const struct wirereply_choice *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_calls; i++) {
        const struct wirereply_call *call = &c->calls[i];
        if (!call->broken &&
            json_array_append_new(
                list, json_pack("{s:i, s:s, s:s, s:{s:s, s:s}}", "index", (int)i, "id", call->id,
                                "type", "function", "function", "name", call->name, "arguments",
                                call->arguments.data ? call->arguments.data : "")) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *openaireply_message(const struct wirereply_choice *c)
{
    json_t *calls = openaireply_calls_of(c);
    bool content = c->content.len > 0 || json_array_size(calls) == 0;
    json_t *m =
        json_pack("{s:s, s:o}", "role", "assistant", "content",
                  content ? json_stringn(c->content.data ? c->content.data : "", c->content.len)
                          : json_null());
    if (c->reasoning.len > 0) {
        json_object_set_new(m, "reasoning_content",
                            json_stringn(c->reasoning.data, c->reasoning.len));
    }
    if (json_array_size(calls) > 0) {
        json_object_set(m, "tool_calls", calls);
    }
    bool whole = m && calls && (c->reasoning.len == 0 || json_object_get(m, "reasoning_content")) &&
                 (json_array_size(calls) == 0 || json_object_get(m, "tool_calls"));
    json_decref(calls);
    if (!whole) {
        json_decref(m);
        return NULL;
    }
    return m;
}

static json_t *openaireply_logprobs_of(struct wirereply *r, const struct wirereply_choice *c)
{
    if (!r->question->logprobs) {
        return json_null();
    }
    json_t *content = wiretokens_stand_in(&r->places, &c->content_tokens, 0, wiretokens_openai, 0);
    json_t *reasoning = c->reasoning_tokens.n > 0
                            ? wiretokens_stand_in(&r->places, &c->reasoning_tokens, 0, wiretokens_openai, 0)
                            : json_null();
    return json_pack("{s:o, s:o}", "content", content, "reasoning_content", reasoning);
}

static err openaireply_whole(struct wirereply *r, struct strbuf *out)
{
    json_t *choices = json_array();
    for (size_t i = 0; i < r->question->n; i++) {
        const struct wirereply_choice *c = &r->choices[i];
        json_t *one =
            json_pack("{s:i, s:o, s:o, s:s}", "index", (int)i, "message", openaireply_message(c),
                      "logprobs", openaireply_logprobs_of(r, c), "finish_reason", openaireply_finish(c));
        if (json_array_append_new(choices, one) != 0) {
            json_decref(choices);
            return ERR_NOMEM;
        }
    }
    json_t *whole = openaireply_document(r, "chat.completion", choices);
    if (json_object_set_new(whole, "usage", wirereply_usage(&r->usage)) != 0) {
        json_decref(whole);
        return ERR_NOMEM;
    }
    return wirereply_document(r, out, whole);
}

const struct wirereply_format openaireply_chat = {
    .begin = openaireply_begin,
    .event = openaireply_event,
    .whole = openaireply_whole,
    .call_logprobs = true,
};

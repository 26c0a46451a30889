/* server/responsesreply.c: see responsesreply.h. An output is a list of items: reasoning, message,
 * function_call. In a stream one item is open at a time (reply.open_kind); what is whole goes to
 * reply.items, so that the last event's response is what the events said. */
#include "server/responsesreply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { RESPONSESREPLY_NONE, RESPONSESREPLY_REASONING, RESPONSESREPLY_MESSAGE, RESPONSESREPLY_CALL };

static const char *const responsesreply_prefixes[] = {"", "rs_", "msg_", "fc_"};

/* ---- Items. ---- */

struct responsesreply_id {
    char text[64];
};

static struct responsesreply_id responsesreply_id(const struct wirereply *r, size_t kind,
                                                  size_t index)
{
    struct responsesreply_id id;
    snprintf(id.text, sizeof id.text, "%s%s%02zu", responsesreply_prefixes[kind], r->id, index);
    return id;
}

/* What stands for the tokens of a message; an empty list where none are asked for. */
static json_t *responsesreply_tokens(struct wirereply *r, size_t kind)
{
    return kind == RESPONSESREPLY_MESSAGE && r->question->logprobs
               ? wiretokens_stand_in(&r->places, &r->choices[0].content_tokens, r->open_token,
                                     wiretokens_openai, 0)
               : json_array();
}

/* `logprobs` as responsesreply_tokens gives them, of a message. */
static json_t *responsesreply_part(size_t kind, const char *text, size_t len, json_t *logprobs)
{
    return kind == RESPONSESREPLY_REASONING
               ? json_pack("{s:s, s:s%}", "type", "reasoning_text", "text", text, len)
               : json_pack("{s:s, s:s%, s:[], s:O}", "type", "output_text", "text", text, len,
                           "annotations", "logprobs", logprobs);
}

/* Takes `content`, a list of parts. */
static json_t *responsesreply_text_item(const char *id, size_t kind, json_t *take_content,
                                        const char *status)
{
    return kind == RESPONSESREPLY_REASONING
               ? json_pack("{s:s, s:s, s:[], s:o, s:s}", "id", id, "type", "reasoning", "summary",
                           "content", take_content, "status", status)
               : json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "type", "message", "status",
                           status, "role", "assistant", "content", take_content);
}

static json_t *responsesreply_call_item(const char *id, const struct wirereply_call *c,
                                        const char *arguments, const char *status)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", id, "type", "function_call", "status",
                     status, "call_id", c->id, "name", c->name, "arguments", arguments);
}

static const char *responsesreply_arguments(const struct wirereply_call *c)
{
    return c->arguments.data ? c->arguments.data : "";
}

static const char *responsesreply_call_status(const struct wirereply_call *c)
{
    return c->whole ? "completed" : "incomplete";
}

/* ---- The response. ---- */

static json_t *responsesreply_usage(const struct answering_usage *u)
{
    return json_pack("{s:I, s:{s:I}, s:I, s:{s:I}, s:I}", "input_tokens", (json_int_t)u->prompt,
                     "input_tokens_details", "cached_tokens", (json_int_t)u->cached,
                     "output_tokens", (json_int_t)u->completion, "output_tokens_details",
                     "reasoning_tokens", (json_int_t)u->reasoning, "total_tokens",
                     (json_int_t)(u->prompt + u->completion));
}

/* What was asked, as the request said it, or the default. Takes the default. */
static json_t *responsesreply_asked(const struct wirereply *r, const char *name,
                                    json_t *take_otherwise)
{
    json_t *given = json_object_get(r->question->document, name);
    if (!given) {
        return take_otherwise;
    }
    json_decref(take_otherwise);
    return json_deep_copy(given);
}

/* 0.6f as 0.6, not as 0.60000002384185791. */
static double responsesreply_decimal(float value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", (double)value);
    return strtod(text, NULL);
}

static const char *responsesreply_status(const struct wirereply *r)
{
    switch (r->choices[0].finish) {
    case ANSWERING_LENGTH:
    case ANSWERING_THOUGHTS:
    case ANSWERING_CANCELLED: return "incomplete";
    default: return "completed";
    }
}

/* Takes `output` and `usage`. */
static json_t *responsesreply_response(const struct wirereply *r, const char *status,
                                       json_t *take_output, json_t *take_usage)
{
    const struct sampling *s = &r->question->sampling;
    bool incomplete = strcmp(status, "incomplete") == 0;
    json_t *details = incomplete ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null();
    return json_pack(
        "{s:s+, s:s, s:I, s:s, s:n, s:o, s:o, s:o, s:s, s:o, s:o, s:n, s:o, s:b, s:f, s:f, s:o, "
        "s:o, s:o, s:s, s:o,"
        " s:{}}",
        "id", "resp_", r->id, "object", "response", "created_at", (json_int_t)r->created, "status",
        status, "error", "incomplete_details", details, "instructions",
        responsesreply_asked(r, "instructions", json_null()), "max_output_tokens",
        responsesreply_asked(r, "max_output_tokens", json_null()), "model", r->model_id, "output",
        take_output, "parallel_tool_calls",
        responsesreply_asked(r, "parallel_tool_calls", json_true()), "previous_response_id",
        "reasoning",
        responsesreply_asked(r, "reasoning", json_pack("{s:n, s:n}", "effort", "summary")), "store",
        0, "temperature", responsesreply_decimal(s->temperature), "top_p",
        responsesreply_decimal(s->top_p > 0 ? s->top_p : 1),
        "text", responsesreply_asked(r, "text", json_pack("{s:{s:s}}", "format", "type", "text")),
        "tool_choice", responsesreply_asked(r, "tool_choice", json_string("auto")), "tools",
        responsesreply_asked(r, "tools", json_array()), "truncation", "disabled", "usage",
        take_usage, "metadata");
}

/* ---- A stream. ---- */

/* Takes the document and gives it its type and number. */
static err responsesreply_send(struct wirereply *r, const char *type, json_t *take_document,
                               struct strbuf *out)
{
    if (json_object_set_new(take_document, "type", json_string(type)) != 0 ||
        json_object_set_new(take_document, "sequence_number",
                            json_integer((json_int_t)r->sequence++)) != 0) {
        json_decref(take_document);
        return ERR_NOMEM;
    }
    return wirereply_event(r, out, type, take_document);
}

static err responsesreply_begin(struct wirereply *r, struct strbuf *out)
{
    r->items = json_array();
    TRY(responsesreply_send(
        r, "response.created",
        json_pack("{s:o}", "response",
                  responsesreply_response(r, "in_progress", json_array(), json_null())),
        out));
    return responsesreply_send(
        r, "response.in_progress",
        json_pack("{s:o}", "response",
                  responsesreply_response(r, "in_progress", json_array(), json_null())),
        out);
}

/* The item is whole. Takes it. */
static err responsesreply_item_done(struct wirereply *r, json_t *take_item, struct strbuf *out)
{
    err e = responsesreply_send(
        r, "response.output_item.done",
        json_pack("{s:i, s:O}", "output_index", (int)r->n_open - 1, "item", take_item), out);
    if (json_array_append_new(r->items, take_item) != 0) {
        e = ERR_NOMEM;
    }
    r->open_kind = RESPONSESREPLY_NONE;
    return e;
}

static err responsesreply_close_text(struct wirereply *r, const char *status, struct strbuf *out)
{
    const struct wirereply_choice *c = &r->choices[0];
    const struct strbuf *text =
        r->open_kind == RESPONSESREPLY_REASONING ? &c->reasoning : &c->content;
    size_t kind = r->open_kind, index = r->n_open - 1, len = text->len - r->open_from;
    const char *from = text->data ? text->data + r->open_from : "";
    struct responsesreply_id id = responsesreply_id(r, kind, index);
    json_t *logprobs = responsesreply_tokens(r, kind);
    json_t *part = responsesreply_part(kind, from, len, logprobs);
    r->open_token = kind == RESPONSESREPLY_MESSAGE ? c->content_tokens.n : r->open_token;
    err e = responsesreply_send(
        r, kind == RESPONSESREPLY_MESSAGE ? "response.output_text.done" : "response.reasoning_text.done",
        json_pack("{s:s, s:i, s:i, s:s%, s:o}", "item_id", id.text, "output_index", (int)index,
                  "content_index", 0, "text", from, len, "logprobs", logprobs),
        out);
    if (e == ERR_OK) {
        e = responsesreply_send(r, "response.content_part.done",
                                json_pack("{s:s, s:i, s:i, s:O}", "item_id", id.text, "output_index",
                                          (int)index, "content_index", 0, "part", part),
                                out);
    }
    if (e != ERR_OK) {
        json_decref(part);
        return e;
    }
    json_t *item = responsesreply_text_item(id.text, kind, json_pack("[o]", part), status);
    return responsesreply_item_done(r, item, out);
}

static err responsesreply_close_call(struct wirereply *r, struct strbuf *out)
{
    const struct wirereply_choice *c = &r->choices[0];
    const struct wirereply_call *call = &c->calls[c->n_calls - 1];
    struct responsesreply_id id = responsesreply_id(r, RESPONSESREPLY_CALL, r->n_open - 1);
    if (call->whole) {
        TRY(responsesreply_send(r, "response.function_call_arguments.done",
                                json_pack("{s:s, s:i, s:s, s:s}", "item_id", id.text,
                                          "output_index", (int)r->n_open - 1, "name", call->name,
                                          "arguments", responsesreply_arguments(call)),
                                out));
    }
    json_t *item = responsesreply_call_item(id.text, call, responsesreply_arguments(call),
                                            responsesreply_call_status(call));
    return responsesreply_item_done(r, item, out);
}

/* What is open has ended; a text with that status. */
static err responsesreply_close(struct wirereply *r, const char *status, struct strbuf *out)
{
    switch (r->open_kind) {
    case RESPONSESREPLY_REASONING:
    case RESPONSESREPLY_MESSAGE: return responsesreply_close_text(r, status, out);
    case RESPONSESREPLY_CALL: return responsesreply_close_call(r, out);
    default: return ERR_OK;
    }
}

static err responsesreply_item_added(struct wirereply *r, json_t *take_item, struct strbuf *out)
{
    return responsesreply_send(
        r, "response.output_item.added",
        json_pack("{s:i, s:o}", "output_index", (int)r->n_open - 1, "item", take_item), out);
}

static err responsesreply_open_text(struct wirereply *r, size_t kind, size_t from,
                                    struct strbuf *out)
{
    struct responsesreply_id id = responsesreply_id(r, kind, r->n_open);
    TRY(responsesreply_close(r, "completed", out));
    r->open_kind = kind;
    r->open_from = from;
    r->n_open++;
    TRY(responsesreply_item_added(
        r, responsesreply_text_item(id.text, kind, json_array(), "in_progress"), out));
    json_t *none = json_array();
    err e = responsesreply_send(r, "response.content_part.added",
                                json_pack("{s:s, s:i, s:i, s:o}", "item_id", id.text, "output_index",
                                          (int)r->n_open - 1, "content_index", 0, "part",
                                          responsesreply_part(kind, "", 0, none)),
                                out);
    json_decref(none);
    return e;
}

static err responsesreply_text(struct wirereply *r, const struct answering_event *e,
                               struct strbuf *out)
{
    bool message = e->kind == ANSWERING_CONTENT;
    size_t kind = message ? RESPONSESREPLY_MESSAGE : RESPONSESREPLY_REASONING;
    const struct wirereply_choice *c = &r->choices[0];
    if (r->open_kind != kind) {
        TRY(responsesreply_open_text(r, kind, (message ? &c->content : &c->reasoning)->len - e->len,
                                     out));
    }
    struct responsesreply_id id = responsesreply_id(r, kind, r->n_open - 1);
    return responsesreply_send(
        r, message ? "response.output_text.delta" : "response.reasoning_text.delta",
        json_pack("{s:s, s:i, s:i, s:s%, s:o}", "item_id", id.text, "output_index",
                  (int)r->n_open - 1, "content_index", 0, "delta", e->text, e->len, "logprobs",
                  wirereply_logprobs(r, e->tokens)),
        out);
}

static err responsesreply_call(struct wirereply *r, struct strbuf *out)
{
    const struct wirereply_choice *c = &r->choices[0];
    TRY(responsesreply_close(r, "completed", out));
    r->open_kind = RESPONSESREPLY_CALL;
    struct responsesreply_id id = responsesreply_id(r, RESPONSESREPLY_CALL, r->n_open++);
    return responsesreply_item_added(
        r, responsesreply_call_item(id.text, &c->calls[c->n_calls - 1], "", "in_progress"), out);
}

static err responsesreply_end(struct wirereply *r, struct strbuf *out)
{
    const char *status = responsesreply_status(r);
    TRY(responsesreply_close(r, status, out));
    json_t *response =
        responsesreply_response(r, status, json_incref(r->items), responsesreply_usage(&r->usage));
    return responsesreply_send(r, *status == 'i' ? "response.incomplete" : "response.completed",
                               json_pack("{s:o}", "response", response), out);
}

static err responsesreply_event(struct wirereply *r, const struct answering_event *e,
                                struct strbuf *out)
{
    switch (e->kind) {
    case ANSWERING_REASONING:
    case ANSWERING_CONTENT: return responsesreply_text(r, e, out);
    case ANSWERING_CALL: return responsesreply_call(r, out);
    case ANSWERING_ARGUMENTS:
        return responsesreply_send(
            r, "response.function_call_arguments.delta",
            json_pack("{s:s, s:i, s:s%}", "item_id",
                      responsesreply_id(r, RESPONSESREPLY_CALL, r->n_open - 1).text, "output_index",
                      (int)r->n_open - 1, "delta", e->text, e->len),
            out);
    case ANSWERING_CALL_END:
    case ANSWERING_CALL_BROKEN: return responsesreply_close(r, "completed", out);
    case ANSWERING_END: return responsesreply_end(r, out);
    default: return ERR_OK;
    }
}

/* ---- A document. ---- */

static int responsesreply_add_text(struct wirereply *r, json_t *list, size_t kind,
                                   const struct strbuf *text, const char *status)
{
    if (text->len == 0) {
        return 0;
    }
    struct responsesreply_id id = responsesreply_id(r, kind, r->n_open++);
    json_t *logprobs = responsesreply_tokens(r, kind);
    json_t *content = json_pack("[o]", responsesreply_part(kind, text->data, text->len, logprobs));
    json_decref(logprobs);
    return json_array_append_new(list,
                                 responsesreply_text_item(id.text, kind, content, status));
}

static err responsesreply_whole(struct wirereply *r, struct strbuf *out)
{
    const struct wirereply_choice *c = &r->choices[0];
    json_t *list = json_array();
    /* What is last was cut. */
    const char *status = c->n_calls == 0 ? responsesreply_status(r) : "completed";
    int failed = responsesreply_add_text(r, list, RESPONSESREPLY_REASONING, &c->reasoning,
                                         c->content.len > 0 ? "completed" : status);
    failed |= responsesreply_add_text(r, list, RESPONSESREPLY_MESSAGE, &c->content, status);
    for (size_t i = 0; i < c->n_calls && !failed; i++) {
        if (!c->calls[i].broken) {
            struct responsesreply_id id = responsesreply_id(r, RESPONSESREPLY_CALL, r->n_open++);
            failed = json_array_append_new(
                list,
                responsesreply_call_item(id.text, &c->calls[i],
                                         responsesreply_arguments(&c->calls[i]),
                                         responsesreply_call_status(&c->calls[i])));
        }
    }
    if (failed) {
        json_decref(list);
        return ERR_NOMEM;
    }
    return wirereply_document(r, out,
                              responsesreply_response(r, responsesreply_status(r), list,
                                                      responsesreply_usage(&r->usage)));
}

const struct wirereply_format responsesreply_format = {
    .begin = responsesreply_begin,
    .event = responsesreply_event,
    .whole = responsesreply_whole,
    .lists_again = true,
    .error_event = "error",
};

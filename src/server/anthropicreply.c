/* server/anthropicreply.c: see anthropicreply.h. A message is a list of blocks: thinking, text,
 * tool_use. In a stream one block is open at a time; reply.open_kind says which, reply.n_open how
 * many there were. */
#include "server/anthropicreply.h"

#include <string.h>

enum { ANTHROPICREPLY_NONE, ANTHROPICREPLY_THINKING, ANTHROPICREPLY_TEXT, ANTHROPICREPLY_USE };

static const char *anthropicreply_reason(const struct wirereply_choice *c)
{
    switch (c->finish) {
    case ANSWERING_LENGTH:
    case ANSWERING_THOUGHTS:
    case ANSWERING_CANCELLED: return "max_tokens";
    case ANSWERING_CALLS: return "tool_use";
    default: return c->stopped_by ? "stop_sequence" : "end_turn";
    }
}

static json_t *anthropicreply_usage(size_t prompt, const struct answering_usage *u)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "input_tokens", (json_int_t)(prompt - u->cached),
                     "cache_creation_input_tokens", (json_int_t)0, "cache_read_input_tokens",
                     (json_int_t)u->cached, "output_tokens", (json_int_t)u->completion);
}

/* All but the content. Takes `usage`. */
static json_t *anthropicreply_message(const struct wirereply *r, const char *reason, const char *stop,
                                      json_t *take_usage)
{
    return json_pack("{s:s+, s:s, s:s, s:s, s:s?, s:s?, s:o}", "id", "msg_", r->id, "type", "message",
                     "role", "assistant", "model", r->model_id, "stop_reason", reason, "stop_sequence", stop,
                     "usage", take_usage);
}

/* ---- A stream. ---- */

static err anthropicreply_begin(struct wirereply *r, struct strbuf *out)
{
    size_t n;
    const struct answering_usage none = {0};
    answering_prompt(r->answering, &n);
    json_t *message = anthropicreply_message(r, NULL, NULL, anthropicreply_usage(n, &none));
    if (message && json_object_set_new(message, "content", json_array()) != 0) {
        json_decref(message);
        return ERR_NOMEM;
    }
    return wirereply_sse(out, "message_start",
                         json_pack("{s:s, s:o}", "type", "message_start", "message", message));
}

static err anthropicreply_close(struct wirereply *r, struct strbuf *out)
{
    if (r->open_kind == ANTHROPICREPLY_NONE) {
        return ERR_OK;
    }
    r->open_kind = ANTHROPICREPLY_NONE;
    return wirereply_sse(
        out, "content_block_stop",
        json_pack("{s:s, s:i}", "type", "content_block_stop", "index", (int)r->n_open - 1));
}

/* Takes the block, as it begins. */
static err anthropicreply_open(struct wirereply *r, size_t kind, json_t *take_block,
                               struct strbuf *out)
{
    err e = anthropicreply_close(r, out);
    if (e != ERR_OK) {
        json_decref(take_block);
        return e;
    }
    r->open_kind = kind;
    return wirereply_sse(out, "content_block_start",
                         json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index",
                                   (int)r->n_open++, "content_block", take_block));
}

static err anthropicreply_delta(const struct wirereply *r, const char *type, const char *field,
                                const struct answering_event *e, struct strbuf *out)
{
    return wirereply_sse(out, "content_block_delta",
                         json_pack("{s:s, s:i, s:{s:s, s:s%}}", "type", "content_block_delta",
                                   "index", (int)r->n_open - 1, "delta", "type", type, field,
                                   e->text, e->len));
}

static err anthropicreply_end(struct wirereply *r, const struct answering_event *e,
                              struct strbuf *out)
{
    const struct wirereply_choice *c = &r->choices[0];
    TRY(anthropicreply_close(r, out));
    TRY(wirereply_sse(out, "message_delta",
                      json_pack("{s:s, s:{s:s, s:s?}, s:o}", "type", "message_delta", "delta",
                                "stop_reason", anthropicreply_reason(c), "stop_sequence",
                                c->stopped_by, "usage",
                                anthropicreply_usage(e->usage.prompt, &e->usage))));
    return wirereply_sse(out, "message_stop", json_pack("{s:s}", "type", "message_stop"));
}

static err anthropicreply_event(struct wirereply *r, const struct answering_event *e,
                                struct strbuf *out)
{
    switch (e->kind) {
    case ANSWERING_REASONING:
        if (r->open_kind != ANTHROPICREPLY_THINKING) {
            TRY(anthropicreply_open(
                r, ANTHROPICREPLY_THINKING,
                json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", ""),
                out));
        }
        return anthropicreply_delta(r, "thinking_delta", "thinking", e, out);
    case ANSWERING_CONTENT:
        if (r->open_kind != ANTHROPICREPLY_TEXT) {
            TRY(anthropicreply_open(r, ANTHROPICREPLY_TEXT,
                                    json_pack("{s:s, s:s}", "type", "text", "text", ""), out));
        }
        return anthropicreply_delta(r, "text_delta", "text", e, out);
    case ANSWERING_CALL:
        return anthropicreply_open(r, ANTHROPICREPLY_USE,
                                   json_pack("{s:s, s:s, s:s%, s:{}}", "type", "tool_use", "id",
                                             e->id, "name", e->text, e->len, "input"),
                                   out);
    case ANSWERING_ARGUMENTS:
        return anthropicreply_delta(r, "input_json_delta", "partial_json", e, out);
    case ANSWERING_CALL_END:
    case ANSWERING_CALL_BROKEN: return anthropicreply_close(r, out);
    case ANSWERING_END: return anthropicreply_end(r, e, out);
    default: return ERR_OK;
    }
}

/* ---- A document. ---- */

/* An object with one more member, whose value is text and stays as it is: numbers of any length, names that
 * repeat. Takes the object. */
static err anthropicreply_with(struct strbuf *out, json_t *take_object, const char *name, const char *value,
                               size_t len)
{
    TRY(wirereply_json(out, take_object));
    out->data[--out->len] = '\0'; /* its } */
    TRY(strbuf_printf(out, ",\"%s\":", name));
    TRY(strbuf_append(out, value, len));
    return strbuf_puts(out, "}");
}

static err anthropicreply_comma(struct strbuf *blocks)
{
    return blocks->len > 1 ? strbuf_puts(blocks, ",") : ERR_OK;
}

static err anthropicreply_add_calls(struct strbuf *blocks, const struct wirereply_choice *c)
{
    for (size_t i = 0; i < c->n_calls; i++) {
        const struct wirereply_call *call = &c->calls[i];
        bool any = call->arguments.len > 0;
        if (!call->whole) { /* half a call is none: its input would lack what the tool needs */
            continue;
        }
        TRY(anthropicreply_comma(blocks));
        json_t *block = json_pack("{s:s, s:s, s:s}", "type", "tool_use", "id", call->id, "name", call->name);
        TRY(anthropicreply_with(blocks, block, "input", any ? call->arguments.data : "{}",
                                any ? call->arguments.len : 2));
    }
    return ERR_OK;
}

static err anthropicreply_blocks(const struct wirereply_choice *c, struct strbuf *blocks)
{
    TRY(strbuf_puts(blocks, "["));
    if (c->reasoning.len > 0) {
        TRY(wirereply_json(blocks, json_pack("{s:s, s:s%, s:s}", "type", "thinking", "thinking",
                                             c->reasoning.data, c->reasoning.len, "signature", "")));
    }
    if (c->content.len > 0) {
        TRY(anthropicreply_comma(blocks));
        TRY(wirereply_json(blocks, json_pack("{s:s, s:s%}", "type", "text", "text", c->content.data,
                                             c->content.len)));
    }
    TRY(anthropicreply_add_calls(blocks, c));
    return strbuf_puts(blocks, "]");
}

static err anthropicreply_whole(struct wirereply *r, struct strbuf *out)
{
    const struct wirereply_choice *c = &r->choices[0];
    struct strbuf blocks = {0};
    err e = anthropicreply_blocks(c, &blocks);
    if (e == ERR_OK) {
        json_t *message = anthropicreply_message(r, anthropicreply_reason(c), c->stopped_by,
                                                 anthropicreply_usage(r->usage.prompt, &r->usage));
        e = anthropicreply_with(out, message, "content", blocks.data, blocks.len);
    }
    strbuf_deinit(&blocks);
    return e;
}

const struct wirereply_format anthropicreply_messages = {
    .begin = anthropicreply_begin,
    .event = anthropicreply_event,
    .whole = anthropicreply_whole,
    .anthropic = true,
    .error_event = "error",
};

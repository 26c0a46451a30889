/* server/anthropic.c: see anthropic.h. A message's blocks become messages of ours: a user's results
 * of tools stand before what he says, one message each. */
#include "server/anthropic.h"

#include <sodium.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "server/fields.h"
#include "server/openaichat.h"
#include "server/openaifields.h"
#include "server/otherfields.h"

struct anthropic_request {
    const char *model;
    const json_t *messages, *system, *stops, *tools, *choice, *thinking, *metadata, *output;
    int64_t max_tokens, top_k;
    double temperature, top_p;
    bool stream;
};

#define ANTHROPIC_IN(field) offsetof(struct anthropic_request, field)

static const struct fields_row anthropic_rows[] = {
    {"model", .type = FIELDS_STRING, .offset = ANTHROPIC_IN(model), .max = 256, .required = true},
    {"messages", .type = FIELDS_ARRAY, .offset = ANTHROPIC_IN(messages), .min = 1,
     .max = QUESTION_MESSAGES_MAX, .required = true},
    {"system", .type = FIELDS_ANY, .offset = ANTHROPIC_IN(system)},
    {"max_tokens", .type = FIELDS_INT, .offset = ANTHROPIC_IN(max_tokens), .min = 1, .max = 0x1p40},
    {"stop_sequences", .type = FIELDS_ARRAY, .offset = ANTHROPIC_IN(stops),
     .max = QUESTION_STOPS_MAX},
    {"stream", .type = FIELDS_BOOL, .offset = ANTHROPIC_IN(stream)},
    {"temperature", .type = FIELDS_NUMBER, .offset = ANTHROPIC_IN(temperature), .max = 2},
    {"top_p", .type = FIELDS_NUMBER, .offset = ANTHROPIC_IN(top_p), .max = 1},
    {"top_k", .type = FIELDS_INT, .offset = ANTHROPIC_IN(top_k), .max = 1 << 20},
    {"tools", .type = FIELDS_ARRAY, .offset = ANTHROPIC_IN(tools), .max = QUESTION_TOOLS_MAX},
    {"tool_choice", .type = FIELDS_OBJECT, .offset = ANTHROPIC_IN(choice)},
    {"thinking", .type = FIELDS_OBJECT, .offset = ANTHROPIC_IN(thinking)},
    {"metadata", .type = FIELDS_OBJECT, .offset = ANTHROPIC_IN(metadata)},
    {"output_config", .type = FIELDS_OBJECT, .offset = ANTHROPIC_IN(output)},
    {"cache_control", .type = FIELDS_IGNORED},
    {"service_tier", .type = FIELDS_IGNORED},
    {"inference_geo", .type = FIELDS_IGNORED},
    {"context_management", .type = FIELDS_IGNORED},
    {"container", .type = FIELDS_REFUSED, .why = "this server runs no containers"},
    {"mcp_servers", .type = FIELDS_REFUSED, .why = "this server reaches no network"},
};

/* ---- Texts. ---- */

static const char *anthropic_type(const json_t *block)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    return type ? type : "";
}

static bool anthropic_no_memory(struct apierror *e)
{
    return apierror_set(e, 503, "out_of_memory", NULL, "out of memory reading the request");
}

/* A string, or a list of text blocks, joined with `between`. */
static bool anthropic_text(struct question *q, const json_t *value, const char *where,
                           const char *between, const char **out, struct apierror *e)
{
    struct strbuf text = {0};
    err result = strbuf_puts(&text, "");
    if (json_is_string(value)) {
        *out = json_string_value(value);
        strbuf_deinit(&text);
        return true;
    }
    for (size_t i = 0; i < json_array_size(value) && result == ERR_OK; i++) {
        const json_t *block = json_array_get(value, i);
        const char *part = json_string_value(json_object_get(block, "text"));
        char path[FIELDS_PATH];
        if (strcmp(anthropic_type(block), "text") != 0 || !part) {
            strbuf_deinit(&text);
            fields_item(path, where, i);
            return apierror_set(e, 400, "unsupported", path,
                                "%s is of type \"%.40s\"; this server reads text alone here", path,
                                anthropic_type(block));
        }
        result = strbuf_printf(&text, "%s%s", i ? between : "", part);
    }
    char *joined = NULL;
    bool list = json_is_array(value);
    result = result == ERR_OK && list ? strbuf_take(&text, &joined) : result;
    strbuf_deinit(&text);
    if (!list) {
        return apierror_set(e, 400, "invalid_type", where,
                            "%s is %s; expected a string or a list of text blocks", where,
                            json_type_name(value));
    }
    *out = result == ERR_OK ? question_keep(q, joined, e) : NULL;
    return *out || anthropic_no_memory(e);
}

/* ---- Blocks. ---- */

/* What one message of theirs becomes. */
struct anthropic_turn {
    struct chat_message *next; /* where the next message of ours goes */
    struct strbuf text, reasoning;
    struct chat_call *calls;
    size_t n_calls;
    bool assistant;
};

static bool anthropic_result(struct question *q, const json_t *block, const char *where,
                             struct anthropic_turn *t, struct apierror *e)
{
    const json_t *content = json_object_get(block, "content");
    struct chat_message *m = t->next++;
    char path[FIELDS_PATH];
    m->role = CHAT_TOOL;
    m->content = "";
    m->call_id = json_string_value(json_object_get(block, "tool_use_id"));
    if (!m->call_id) {
        fields_path(path, where, "tool_use_id");
        return apierror_set(e, 400, "missing", path, "%s is missing: which call does this answer?",
                            path);
    }
    return !content || json_is_null(content) ||
           anthropic_text(q, content, fields_path(path, where, "content"), "\n\n", &m->content, e);
}

static bool anthropic_use(struct question *q, const json_t *block, const char *where,
                          struct anthropic_turn *t, struct apierror *e)
{
    const json_t *input = json_object_get(block, "input");
    struct chat_call *c = &t->calls[t->n_calls++];
    c->id = json_string_value(json_object_get(block, "id"));
    c->name = json_string_value(json_object_get(block, "name"));
    if (!c->id || !c->name || !json_is_object(input)) {
        return apierror_set(e, 400, "missing", where,
                            "%s lacks id or name (strings) or input (an object)", where);
    }
    c->arguments = question_json(q, input, e);
    return c->arguments != NULL;
}

static bool anthropic_append(struct strbuf *to, const json_t *block, const char *field,
                             const char *where, struct apierror *e)
{
    const char *text = json_string_value(json_object_get(block, field));
    if (!text) {
        return apierror_set(e, 400, "missing", where, "%s has no %s", where, field);
    }
    return strbuf_puts(to, text) == ERR_OK || anthropic_no_memory(e);
}

static bool anthropic_block(struct question *q, const json_t *block, const char *where,
                            struct anthropic_turn *t, struct apierror *e)
{
    const char *type = anthropic_type(block);
    if (strcmp(type, "text") == 0) {
        return anthropic_append(&t->text, block, "text", where, e);
    }
    if (t->assistant && strcmp(type, "thinking") == 0) {
        return anthropic_append(&t->reasoning, block, "thinking", where, e);
    }
    if (t->assistant && strcmp(type, "tool_use") == 0) {
        return anthropic_use(q, block, where, t, e);
    }
    if (!t->assistant && strcmp(type, "tool_result") == 0) {
        return anthropic_result(q, block, where, t, e);
    }
    return apierror_set(e, 400, "unsupported", where, "%s is of type \"%.40s\"; %s", where, type,
                        t->assistant ? "the assistant's are text, thinking and tool_use"
                                     : "this server reads text and tool_result alone");
}

static const char *anthropic_kept(struct question *q, struct strbuf *text, struct apierror *e)
{
    char *taken = NULL;
    err result = strbuf_take(text, &taken);
    return question_keep(q, result == ERR_OK ? taken : NULL, e);
}

static bool anthropic_blocks(struct question *q, const json_t *content, const char *where,
                             struct anthropic_turn *t, struct apierror *e)
{
    size_t n = json_array_size(content);
    const struct chat_message *first = t->next;
    t->calls = question_alloc(q, n, sizeof *t->calls, e);
    if (!t->calls) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char path[FIELDS_PATH];
        if (!anthropic_block(q, json_array_get(content, i), fields_item(path, where, i), t, e)) {
            return false;
        }
    }
    if (t->text.len > 0 || t->assistant || t->next == first) {
        struct chat_message *m = t->next++;
        m->role = t->assistant ? CHAT_ASSISTANT : CHAT_USER;
        m->calls = t->calls;
        m->n_calls = t->n_calls;
        m->reasoning = t->reasoning.len > 0 ? anthropic_kept(q, &t->reasoning, e) : NULL;
        m->content = anthropic_kept(q, &t->text, e);
        return m->content && (t->reasoning.len == 0 || m->reasoning);
    }
    return true;
}

static bool anthropic_message(struct question *q, const json_t *message, size_t i,
                              struct chat_message **next, struct apierror *e)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    char where[FIELDS_PATH], path[FIELDS_PATH];
    fields_item(where, "messages", i);
    struct anthropic_turn t = {.next = *next, .assistant = role && strcmp(role, "assistant") == 0};
    if (!t.assistant && (!role || strcmp(role, "user") != 0)) {
        fields_path(path, where, "role");
        return apierror_set(e, 422, "invalid_value", path,
                            "%s is \"%.40s\"; expected user or assistant", path, role ? role : "");
    }
    fields_path(path, where, "content");
    if (json_is_string(content)) {
        *t.next++ = (struct chat_message){.role = t.assistant ? CHAT_ASSISTANT : CHAT_USER,
                                          .content = json_string_value(content)};
        *next = t.next;
        return true;
    }
    if (!json_is_array(content)) {
        return apierror_set(e, 400, "invalid_type", path,
                            "%s is %s; expected a string or a list of blocks", path,
                            json_type_name(content));
    }
    bool ok = anthropic_blocks(q, content, path, &t, e);
    strbuf_deinit(&t.text);
    strbuf_deinit(&t.reasoning);
    *next = t.next;
    return ok;
}

/* Most messages of ours that theirs can become. */
static size_t anthropic_count(const json_t *messages)
{
    size_t n = 1;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        n += 1 + json_array_size(json_object_get(json_array_get(messages, i), "content"));
    }
    return n;
}

static bool anthropic_messages(struct question *q, const struct anthropic_request *r,
                               struct apierror *e)
{
    q->messages = question_alloc(q, anthropic_count(r->messages), sizeof *q->messages, e);
    if (!q->messages) {
        return false;
    }
    struct chat_message *next = q->messages;
    if (r->system) {
        next->role = CHAT_SYSTEM;
        if (!anthropic_text(q, r->system, "system", "\n\n", &next->content, e)) {
            return false;
        }
        next++;
    }
    for (size_t i = 0; i < json_array_size(r->messages); i++) {
        if (!anthropic_message(q, json_array_get(r->messages, i), i, &next, e)) {
            return false;
        }
    }
    q->n_messages = (size_t)(next - q->messages);
    struct chat_message *last = &q->messages[q->n_messages - 1];
    last->open = last->role == CHAT_ASSISTANT; /* theirs is the beginning of the answer */
    return true;
}

/* ---- The rest. ---- */

static bool anthropic_tools(struct question *q, const json_t *tools, struct apierror *e)
{
    size_t n = json_array_size(tools);
    q->tools = question_alloc(q, n, sizeof *q->tools, e);
    for (size_t i = 0; i < n && q->tools; i++) {
        const json_t *tool = json_array_get(tools, i);
        const char *type = anthropic_type(tool);
        char where[FIELDS_PATH];
        fields_item(where, "tools", i);
        bool known = !*type || strcmp(type, "custom") == 0;
        if (!(known ? openaichat_tool(q, tool, where, &q->tools[q->n_tools++], e)
                    : openaichat_leave_tool(q, where, type, e))) {
            return false;
        }
    }
    return q->tools != NULL;
}

static bool anthropic_choice(struct question *q, const json_t *choice, struct apierror *e)
{
    static const char *const words[] = {[QUESTION_AUTO] = "auto", "none", "any", "tool"};
    const char *type = anthropic_type(choice);
    q->one_call = json_is_true(json_object_get(choice, "disable_parallel_tool_use"));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(type, words[i]) == 0) {
            q->choice = (enum question_choice)i;
            q->chosen = json_string_value(json_object_get(choice, "name"));
            break;
        }
        if (i == QUESTION_NAMED) {
            return apierror_set(e, 422, "invalid_value", "tool_choice.type",
                                "tool_choice.type is \"%.40s\"; expected auto, any, tool or none",
                                type);
        }
    }
    bool named = q->choice != QUESTION_NAMED;
    for (size_t i = 0; q->chosen && i < q->n_tools; i++) {
        named = named || strcmp(q->tools[i].name, q->chosen) == 0;
    }
    if (!named || (q->choice == QUESTION_REQUIRED && q->n_tools == 0)) {
        return apierror_set(e, 400, "invalid_value", "tool_choice",
                            "tool_choice wants a tool that is not among the tools");
    }
    return true;
}

static bool anthropic_thinking(struct question *q, const json_t *thinking, struct apierror *e)
{
    const char *type = anthropic_type(thinking);
    bool off = strcmp(type, "disabled") == 0;
    if (!off && strcmp(type, "enabled") != 0 && strcmp(type, "adaptive") != 0) {
        return apierror_set(e, 422, "invalid_value", "thinking.type",
                            "thinking.type is \"%.40s\"; expected enabled, adaptive or disabled",
                            type);
    }
    const json_t *budget = json_object_get(thinking, "budget_tokens");
    if (budget && !json_is_null(budget) && (!json_is_integer(budget) || json_integer_value(budget) < 1)) {
        return apierror_set(e, 422, "out_of_range", "thinking.budget_tokens",
                            "thinking.budget_tokens is no whole number above 0");
    }
    q->think_tokens = (size_t)json_integer_value(budget);
    return question_think(q, off ? CHAT_NO_THINKING : CHAT_THINKING, "thinking", e);
}

static bool anthropic_output(struct question *q, const json_t *output, struct apierror *e)
{
    const char *effort = json_string_value(json_object_get(output, "effort"));
    const json_t *format = json_object_get(output, "format");
    if (effort && !(q->think == CHAT_NO_THINKING
                        ? fields_ignore("output_config.effort", &q->unknown, e)
                        : openaichat_effort(q, effort, "output_config.effort", e))) {
        return false;
    }
    if (!format || json_is_null(format)) {
        return true;
    }
    q->form = QUESTION_SCHEMA;
    q->form_at = "output_config.format";
    q->schema = json_object_get(format, "schema");
    return (strcmp(anthropic_type(format), "json_schema") == 0 && q->schema) ||
           apierror_set(e, 400, "invalid_value", "output_config.format",
                        "output_config.format is not {\"type\":\"json_schema\",\"schema\":…}");
}

static void anthropic_sampling(const struct anthropic_request *r, struct question *q)
{
    q->model = r->model;
    q->max_tokens = (size_t)r->max_tokens;
    q->stream = r->stream;
    q->sampling.temperature = (float)r->temperature;
    q->sampling.top_p = (float)r->top_p;
    q->sampling.top_k = (int)r->top_k;
    randombytes_buf(&q->sampling.seed, sizeof q->sampling.seed);
    q->user = json_string_value(json_object_get(r->metadata, "user_id"));
}

bool anthropic_read(struct question *q, bool counting, struct apierror *e)
{
    struct anthropic_request r = {.temperature = (double)q->sampling.temperature,
                                  .top_p = q->sampling.top_p > 0 ? (double)q->sampling.top_p : 1,
                                  .top_k = q->sampling.top_k};
    q->think = CHAT_NO_THINKING;
    if (!fields_read(&FIELDS_AND(anthropic_rows, &otherfields_of_chat), q->document, "", &r, &q->unknown, e)) {
        return false;
    }
    if (!r.max_tokens && !counting) {
        return apierror_set(e, 400, "missing", "max_tokens", "max_tokens is missing");
    }
    anthropic_sampling(&r, q);
    return anthropic_messages(q, &r, e) && (!r.tools || anthropic_tools(q, r.tools, e)) &&
           (!r.choice || anthropic_choice(q, r.choice, e)) &&
           (!r.thinking || anthropic_thinking(q, r.thinking, e)) &&
           (!r.output || anthropic_output(q, r.output, e)) &&
           (!r.stops || openaifields_stops(r.stops, "stop_sequences", q, e)) && question_agrees(q, e);
}

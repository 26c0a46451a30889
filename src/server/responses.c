/* server/responses.c: see responses.h. Items of the input become messages: calls and reasoning that
 * follow each other belong to one message of the assistant. */
#include "server/responses.h"

#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/fields.h"
#include "server/openaichat.h"
#include "server/otherfields.h"
#include "server/thinkfields.h"

struct responses_request {
    const char *model, *instructions, *user;
    const json_t *input, *tools, *choice, *text, *reasoning;
    int64_t max_tokens, top_logprobs;
    double temperature, top_p;
    bool stream, parallel;
    int truncation;
};

#define RESPONSES_IN(field) offsetof(struct responses_request, field)

static const char *const responses_truncations[] = {"disabled", NULL};

static const struct fields_row responses_rows[] = {
    {"model", .type = FIELDS_STRING, .offset = RESPONSES_IN(model), .max = 256},
    {"input", .type = FIELDS_ANY, .offset = RESPONSES_IN(input), .required = true},
    {"instructions", .type = FIELDS_STRING, .offset = RESPONSES_IN(instructions)},
    {"user", .type = FIELDS_STRING, .offset = RESPONSES_IN(user), .max = 512},
    {"tools", .type = FIELDS_ARRAY, .offset = RESPONSES_IN(tools), .max = QUESTION_TOOLS_MAX},
    {"tool_choice", .type = FIELDS_ANY, .offset = RESPONSES_IN(choice)},
    {"parallel_tool_calls", .type = FIELDS_BOOL, .offset = RESPONSES_IN(parallel)},
    {"text", .type = FIELDS_OBJECT, .offset = RESPONSES_IN(text)},
    {"reasoning", .type = FIELDS_OBJECT, .offset = RESPONSES_IN(reasoning)},
    {"max_output_tokens", .type = FIELDS_INT, .offset = RESPONSES_IN(max_tokens), .min = 1,
     .max = 0x1p40},
    {"temperature", .type = FIELDS_NUMBER, .offset = RESPONSES_IN(temperature), .max = 2},
    {"top_p", .type = FIELDS_NUMBER, .offset = RESPONSES_IN(top_p), .max = 1},
    {"top_logprobs", .type = FIELDS_INT, .offset = RESPONSES_IN(top_logprobs),
     .max = FATHOM_TOP_LOGPROBS_MAX},
    {"stream", .type = FIELDS_BOOL, .offset = RESPONSES_IN(stream)},
    {"truncation", .type = FIELDS_WORD, .offset = RESPONSES_IN(truncation),
     .words = responses_truncations},
    {"store", .type = FIELDS_IGNORED},
    {"include", .type = FIELDS_IGNORED},
    {"metadata", .type = FIELDS_IGNORED},
    {"service_tier", .type = FIELDS_IGNORED},
    {"prompt_cache_key", .type = FIELDS_IGNORED},
    {"safety_identifier", .type = FIELDS_IGNORED},
    {"stream_options", .type = FIELDS_IGNORED},
    {"max_tool_calls", .type = FIELDS_IGNORED},
    {"previous_response_id", .type = FIELDS_REFUSED,
     .why = "nothing is stored here; send the whole input again"},
    {"conversation", .type = FIELDS_REFUSED,
     .why = "nothing is stored here; send the whole input again"},
    {"background", .type = FIELDS_REFUSED, .why = "nothing is stored here"},
    {"prompt", .type = FIELDS_REFUSED, .why = "there are no stored prompts here"},
};

/* ---- Input. ---- */

static const char *responses_string(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static bool responses_is(const json_t *item, const char *type)
{
    const char *is = responses_string(item, "type");
    return is && strcmp(is, type) == 0;
}

/* Text of a content: a string, or parts that have a text, joined. */
static bool responses_text(struct question *q, const json_t *content, const char *where,
                           const char **out, struct apierror *e)
{
    if (json_is_string(content)) {
        *out = json_string_value(content);
        return true;
    }
    if (!json_is_array(content)) {
        return apierror_set(e, 400, "invalid_type", where,
                            "%s is %s; expected a string or a list of parts", where,
                            json_type_name(content));
    }
    struct strbuf text = {0};
    err result = strbuf_puts(&text, "");
    for (size_t i = 0; i < json_array_size(content) && result == ERR_OK; i++) {
        const json_t *part = json_array_get(content, i);
        const char *piece = responses_string(part, "text"), *type = responses_string(part, "type");
        if (!piece || !type || !strstr(type, "text")) {
            char path[FIELDS_PATH];
            strbuf_deinit(&text);
            fields_item(path, where, i);
            return apierror_set(e, 400, "unsupported", path,
                                "%s is of type \"%.40s\"; this server reads text alone", path,
                                type ? type : "");
        }
        result = strbuf_puts(&text, piece);
    }
    char *joined = NULL;
    result = result == ERR_OK ? strbuf_take(&text, &joined) : result;
    strbuf_deinit(&text);
    *out = question_keep(q, joined, e);
    return *out != NULL;
}

/* The assistant's message that is being put together: the last one, or a new one. */
static struct chat_message *responses_assistant(struct question *q, bool fresh)
{
    struct chat_message *last = q->n_messages > 0 ? &q->messages[q->n_messages - 1] : NULL;
    if (!last || last->role != CHAT_ASSISTANT || fresh) {
        last = &q->messages[q->n_messages++];
        last->role = CHAT_ASSISTANT;
    }
    return last;
}

/* `next`: room for the calls that come. Those of one message lie one behind the other. */
static bool responses_call(struct question *q, const json_t *item, const char *where, struct chat_call **next,
                           struct apierror *e)
{
    struct chat_message *m = responses_assistant(q, false);
    struct chat_call *c = (*next)++;
    c->id = responses_string(item, "call_id");
    c->name = responses_string(item, "name");
    c->arguments = responses_string(item, "arguments");
    m->calls = m->calls ? m->calls : c;
    m->n_calls++;
    if (!c->id || !c->name || !c->arguments) {
        return apierror_set(e, 400, "missing", where, "%s lacks call_id, name or arguments (strings)",
                            where);
    }
    return question_call(q, c->id, e);
}

static bool responses_message(struct question *q, const json_t *item, const char *where,
                              struct apierror *e)
{
    const char *role = responses_string(item, "role");
    char path[FIELDS_PATH];
    struct chat_message *m;
    if (role && strcmp(role, "assistant") == 0) {
        struct chat_message *last = q->n_messages > 0 ? &q->messages[q->n_messages - 1] : NULL;
        m = responses_assistant(q, last && (last->content || last->calls));
    } else if (role && strcmp(role, "user") == 0) {
        m = &q->messages[q->n_messages++];
        m->role = CHAT_USER;
    } else if (role && (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0)) {
        m = &q->messages[q->n_messages++];
        m->role = CHAT_SYSTEM;
    } else {
        fields_path(path, where, "role");
        return apierror_set(e, 422, "invalid_value", path,
                            "%s is \"%.40s\"; expected system, developer, user or assistant", path,
                            role ? role : "");
    }
    fields_path(path, where, "content");
    return responses_text(q, json_object_get(item, "content"), path, &m->content, e);
}

static bool responses_output(struct question *q, const json_t *item, const char *where,
                             struct apierror *e)
{
    struct chat_message *m = &q->messages[q->n_messages++];
    char path[FIELDS_PATH];
    m->role = CHAT_TOOL;
    m->call_id = responses_string(item, "call_id");
    if (!m->call_id) {
        fields_path(path, where, "call_id");
        return apierror_set(e, 400, "missing", path, "%s is missing: which call does this answer?",
                            path);
    }
    if (!question_called(q, m->call_id, fields_path(path, where, "call_id"), e)) {
        return false;
    }
    fields_path(path, where, "output");
    return responses_text(q, json_object_get(item, "output"), path, &m->content, e);
}

static bool responses_reasoning_item(struct question *q, const json_t *item, const char *where,
                                     struct apierror *e)
{
    const json_t *content = json_object_get(item, "content");
    char path[FIELDS_PATH];
    if (!content || json_is_null(content)) {
        return true; /* a summary alone says nothing that the model wrote */
    }
    fields_path(path, where, "content");
    return responses_text(q, content, path, &responses_assistant(q, true)->reasoning, e);
}

static bool responses_item(struct question *q, const json_t *item, size_t i, struct chat_call **next,
                           struct apierror *e)
{
    char where[FIELDS_PATH];
    fields_item(where, "input", i);
    if (responses_is(item, "message") ||
        (!json_object_get(item, "type") && json_object_get(item, "role"))) {
        return responses_message(q, item, where, e);
    }
    if (responses_is(item, "function_call")) {
        return responses_call(q, item, where, next, e);
    }
    if (responses_is(item, "function_call_output")) {
        return responses_output(q, item, where, e);
    }
    if (responses_is(item, "reasoning")) {
        return responses_reasoning_item(q, item, where, e);
    }
    const char *type = responses_string(item, "type");
    return apierror_set(e, 400, "unsupported", where,
                        "%s is of type \"%.40s\"; this server reads message, function_call, "
                        "function_call_output and "
                        "reasoning",
                        where, type ? type : "");
}

static bool responses_input(struct question *q, const struct responses_request *r,
                            struct apierror *e)
{
    size_t n = json_array_size(r->input);
    q->messages = question_alloc(q, n + 2, sizeof *q->messages, e);
    if (!q->messages) {
        return false;
    }
    if (r->instructions) {
        q->messages[q->n_messages++] =
            (struct chat_message){.role = CHAT_SYSTEM, .content = r->instructions};
    }
    if (json_is_string(r->input)) {
        q->messages[q->n_messages++] =
            (struct chat_message){.role = CHAT_USER, .content = json_string_value(r->input)};
        return true;
    }
    if (n == 0 || n > QUESTION_MESSAGES_MAX) {
        return apierror_set(e, 400, "invalid_type", "input",
                            "input is %s; expected a string, or a list of 1 to %d items",
                            json_type_name(r->input), QUESTION_MESSAGES_MAX);
    }
    struct chat_call *calls = question_alloc(q, n, sizeof *calls, e);
    for (size_t i = 0; i < n && calls; i++) {
        if (!responses_item(q, json_array_get(r->input, i), i, &calls, e)) {
            return false;
        }
    }
    return calls != NULL;
}

/* ---- The rest. ---- */

static bool responses_tools(struct question *q, const json_t *tools, struct apierror *e)
{
    size_t n = json_array_size(tools);
    q->tools = question_alloc(q, n, sizeof *q->tools, e);
    for (size_t i = 0; i < n && q->tools; i++) {
        const json_t *tool = json_array_get(tools, i);
        const char *type = responses_string(tool, "type");
        char where[FIELDS_PATH];
        fields_item(where, "tools", i);
        if (!type || strcmp(type, "function") != 0) {
            if (!openaichat_leave_tool(q, where, type ? type : "no type", e)) {
                return false;
            }
        } else if (!openaichat_tool(q, tool, where, &q->tools[q->n_tools++], e)) {
            return false;
        }
    }
    return q->tools != NULL;
}

static bool responses_choice(struct question *q, const json_t *choice, struct apierror *e)
{
    const char *named = responses_is(choice, "function") ? responses_string(choice, "name") : NULL;
    return openaichat_choose(q, choice, named, "{\"type\":\"function\",\"name\":…}", e);
}

static bool responses_form(struct question *q, const json_t *format, struct apierror *e)
{
    if (!format || responses_is(format, "text")) {
        return true;
    }
    q->form_at = "text.format";
    if (responses_is(format, "json_object")) {
        q->form = QUESTION_JSON;
        return true;
    }
    q->form = QUESTION_SCHEMA;
    q->schema = json_object_get(format, "schema");
    return (responses_is(format, "json_schema") && q->schema) ||
           apierror_set(e, 422, "invalid_value", "text.format",
                        "text.format is none of text, json_object, json_schema with a schema");
}

static bool responses_said(struct question *q, const json_t *text, struct apierror *e)
{
    struct responses_said {
        const json_t *format;
        int verbosity;
    } s = {0};
    static const struct fields_row rows[] = {
        {"format", .type = FIELDS_OBJECT, .offset = offsetof(struct responses_said, format)},
        {"verbosity", .type = FIELDS_WORD, .offset = offsetof(struct responses_said, verbosity),
         .words = question_verbosities},
    };
    return fields_read(&FIELDS_OF(rows), text, "text", &s, &q->unknown, e) && responses_form(q, s.format, e) &&
           question_verbosity(q, s.verbosity, "text.verbosity", e);
}

/* Reasoning comes whole here, never as a summary; auto leaves that to the server. */
static bool responses_reasoning(struct question *q, const json_t *reasoning, struct apierror *e)
{
    static const char *const summaries[] = {"auto", "concise", "detailed", NULL};
    struct responses_reasoning {
        const char *effort;
        int summary;
    } r = {0};
    static const struct fields_row rows[] = {
        {"effort", .type = FIELDS_STRING, .offset = offsetof(struct responses_reasoning, effort), .max = 32},
        {"summary", .type = FIELDS_WORD, .offset = offsetof(struct responses_reasoning, summary),
         .words = summaries},
    };
    enum chat_thinking think = CHAT_THINKING;
    return fields_read(&FIELDS_OF(rows), reasoning, "reasoning", &r, &q->unknown, e) &&
           (r.summary == 0 || fields_ignore("reasoning.summary", &q->unknown, e)) &&
           (!r.effort || (thinkfields_effort(r.effort, "reasoning.effort", &think, e) &&
                          question_think(q, think, "reasoning.effort", e)));
}

bool responses_read(struct question *q, struct apierror *e)
{
    struct responses_request r = {.temperature = (double)q->sampling.temperature,
                                  .top_p = q->sampling.top_p > 0 ? (double)q->sampling.top_p : 1,
                                  .parallel = true};
    if (!fields_read(&FIELDS_AND(responses_rows, &otherfields_of_chat), q->document, "", &r, &q->unknown, e)) {
        return false;
    }
    q->model = r.model ? r.model : "";
    q->user = r.user;
    q->stream = r.stream;
    q->max_tokens = (size_t)r.max_tokens;
    q->sampling.temperature = (float)r.temperature;
    q->sampling.top_p = (float)r.top_p;
    q->logprobs = r.top_logprobs > 0;
    q->top_logprobs = (int)r.top_logprobs;
    q->one_call = !r.parallel;
    randombytes_buf(&q->sampling.seed, sizeof q->sampling.seed);
    return responses_input(q, &r, e) && (!r.tools || responses_tools(q, r.tools, e)) &&
           (!r.choice || responses_choice(q, r.choice, e)) && (!r.text || responses_said(q, r.text, e)) &&
           (!r.reasoning || responses_reasoning(q, r.reasoning, e)) && question_agrees(q, e);
}

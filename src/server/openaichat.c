/* server/openaichat.c: see openaichat.h. */
#include "server/openaichat.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "server/openaifields.h"
#include "server/otherfields.h"
#include "server/thinkfields.h"

struct openaichat_request {
    struct openaifields fields; /* first: its rows' offsets begin here */
    struct thinkfields think;
    const json_t *messages, *tools, *tool_choice;
    int64_t top_logprobs;
    int verbosity;
    bool logprobs, parallel, store;
};

#define OPENAICHAT_AT(field) offsetof(struct openaichat_request, field)

static const struct fields_row openaichat_rows[] = {
    OPENAIFIELDS_ROWS,
    {"messages", .type = FIELDS_ARRAY, .offset = OPENAICHAT_AT(messages), .min = 1,
     .max = QUESTION_MESSAGES_MAX, .required = true},
    {"tools", .type = FIELDS_ARRAY, .offset = OPENAICHAT_AT(tools), .max = QUESTION_TOOLS_MAX},
    {"tool_choice", .type = FIELDS_ANY, .offset = OPENAICHAT_AT(tool_choice)},
    {"parallel_tool_calls", .type = FIELDS_BOOL, .offset = OPENAICHAT_AT(parallel)},
    THINKFIELDS_ROWS(OPENAICHAT_AT(think)),
    {"verbosity", .type = FIELDS_WORD, .offset = OPENAICHAT_AT(verbosity), .words = question_verbosities},
    {"logprobs", .type = FIELDS_BOOL, .offset = OPENAICHAT_AT(logprobs)},
    {"top_logprobs", .type = FIELDS_INT, .offset = OPENAICHAT_AT(top_logprobs),
     .max = FATHOM_TOP_LOGPROBS_MAX},
    {"store", .type = FIELDS_BOOL, .offset = OPENAICHAT_AT(store)},
    {"metadata", .type = FIELDS_IGNORED},
    {"service_tier", .type = FIELDS_IGNORED},
    {"prompt_cache_key", .type = FIELDS_IGNORED},
    {"safety_identifier", .type = FIELDS_IGNORED},
    {"functions", .type = FIELDS_REFUSED, .why = "the old form of tools; use tools"},
    {"function_call", .type = FIELDS_REFUSED,
     .why = "the old form of tool_choice; use tool_choice"},
    {"audio", .type = FIELDS_REFUSED, .why = "this server makes text alone"},
    {"prediction", .type = FIELDS_REFUSED, .why = "predicted outputs are not known here"},
    {"web_search_options", .type = FIELDS_REFUSED, .neutral = "", .why = "this server reaches no network"},
    {"modalities", .type = FIELDS_REFUSED, .neutral = "text", .why = "this server makes text alone"},
};

/* ---- Messages. ---- */

struct openaichat_message {
    const char *role, *reasoning, *call_id;
    const json_t *content, *calls;
    bool prefix;
};

#define OPENAICHAT_IN(field) offsetof(struct openaichat_message, field)

static const struct fields_row openaichat_message_rows[] = {
    {"role", .type = FIELDS_STRING, .offset = OPENAICHAT_IN(role), .required = true},
    {"content", .type = FIELDS_ANY, .offset = OPENAICHAT_IN(content)},
    {"reasoning_content", .type = FIELDS_STRING, .offset = OPENAICHAT_IN(reasoning)},
    {"tool_calls", .type = FIELDS_ARRAY, .offset = OPENAICHAT_IN(calls), .max = QUESTION_TOOLS_MAX},
    {"tool_call_id", .type = FIELDS_STRING, .offset = OPENAICHAT_IN(call_id), .max = 256},
    {"prefix", .type = FIELDS_BOOL, .offset = OPENAICHAT_IN(prefix)},
    {"name", .type = FIELDS_IGNORED},
    {"refusal", .type = FIELDS_IGNORED},
    {"annotations", .type = FIELDS_IGNORED},
    {"audio", .type = FIELDS_REFUSED, .why = "this server reads text alone"},
    {"function_call", .type = FIELDS_REFUSED, .why = "the old form of tool_calls; use tool_calls"},
};

static bool openaichat_part(struct question *q, const json_t *part, const char *path, struct strbuf *to,
                            struct apierror *e)
{
    struct openaichat_part {
        const char *type, *text;
    } p = {0};
    static const struct fields_row rows[] = {
        {"type", .type = FIELDS_STRING, .offset = offsetof(struct openaichat_part, type)},
        {"text", .type = FIELDS_STRING, .offset = offsetof(struct openaichat_part, text), .required = true},
        {"cache_control", .type = FIELDS_IGNORED},
    };
    const char *type = json_string_value(json_object_get(part, "type"));
    if (!type || strcmp(type, "text") != 0) {
        return apierror_set(e, 400, "unsupported", path,
                            "%s is of type %.40s; this server reads parts of type text alone", path,
                            type ? type : "(none)");
    }
    return fields_read(&FIELDS_OF(rows), part, path, &p, &q->unknown, e) &&
           (strbuf_puts(to, p.text) == ERR_OK || question_no_memory(e));
}

/* *out NULL: null. */
static bool openaichat_content(struct question *q, const json_t *content, const char *where,
                               const char **out, struct apierror *e)
{
    *out = NULL;
    return !content || json_is_null(content) ||
           question_content(q, content, where, "parts", openaichat_part, out, e);
}

static bool openaichat_call(struct question *q, const json_t *value, const char *where,
                            struct chat_call *out, struct apierror *e)
{
    static const char *const types[] = {"function", NULL};
    struct openaichat_call {
        const char *id, *name, *arguments;
        const json_t *function;
        int type;
    } c = {0};
    static const struct fields_row rows[] = {
        {"id", .type = FIELDS_STRING, .offset = offsetof(struct openaichat_call, id)},
        {"type", .type = FIELDS_WORD, .offset = offsetof(struct openaichat_call, type), .words = types},
        {"function", .type = FIELDS_OBJECT, .offset = offsetof(struct openaichat_call, function),
         .required = true},
    };
    static const struct fields_row function_rows[] = {
        {"name", .type = FIELDS_STRING, .offset = offsetof(struct openaichat_call, name), .required = true},
        {"arguments", .type = FIELDS_STRING, .offset = offsetof(struct openaichat_call, arguments),
         .required = true}, /* JSON as text */
    };
    char path[FIELDS_PATH];
    if (!fields_read(&FIELDS_OF(rows), value, where, &c, &q->unknown, e) ||
        !fields_read(&FIELDS_OF(function_rows), c.function, fields_path(path, where, "function"), &c,
                     &q->unknown, e)) {
        return false;
    }
    *out = (struct chat_call){.id = c.id, .name = c.name, .arguments = *c.arguments ? c.arguments : "{}"};
    return question_call(q, c.id, fields_path(path, where, "id"), e);
}

static bool openaichat_calls(struct question *q, const json_t *calls, const char *where,
                             struct chat_message *out, struct apierror *e)
{
    size_t n = json_array_size(calls);
    struct chat_call *list = question_alloc(q, n, sizeof *list, e);
    if (!list) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char path[FIELDS_PATH];
        if (!openaichat_call(q, json_array_get(calls, i), fields_item(path, where, i), &list[i], e)) {
            return false;
        }
    }
    out->calls = list;
    out->n_calls = n;
    return true;
}

static bool openaichat_role(const char *role, const char *path, enum chat_role *out,
                            struct apierror *e)
{
    static const struct {
        const char *name;
        enum chat_role role;
    } roles[] = {{"system", CHAT_SYSTEM}, {"developer", CHAT_SYSTEM},
                 {"user", CHAT_USER},     {"assistant", CHAT_ASSISTANT},
                 {"tool", CHAT_TOOL},     {"latest_reminder", CHAT_REMINDER}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(role, roles[i].name) == 0) {
            *out = roles[i].role;
            return true;
        }
    }
    return apierror_set(e, 422, "invalid_value", path,
                        "%s is \"%.60s\"; expected system, developer, user, assistant or tool",
                        path, role);
}

static bool openaichat_message(struct question *q, const json_t *value, size_t i, bool last,
                               bool beta, struct chat_message *out, struct apierror *e)
{
    struct openaichat_message m = {0};
    char where[FIELDS_PATH], path[FIELDS_PATH];
    fields_item(where, "messages", i);
    if (!fields_read(&FIELDS_OF(openaichat_message_rows), value, where, &m, &q->unknown, e) ||
        !openaichat_role(m.role, fields_path(path, where, "role"), &out->role, e) ||
        (out->role == CHAT_ASSISTANT && i > 0 && out[-1].role != CHAT_ASSISTANT && !question_answered(q, e)) ||
        !openaichat_content(q, m.content, fields_path(path, where, "content"), &out->content, e) ||
        (m.calls &&
         !openaichat_calls(q, m.calls, fields_path(path, where, "tool_calls"), out, e))) {
        return false;
    }
    out->reasoning = m.reasoning;
    out->call_id = m.call_id;
    if (out->role != CHAT_ASSISTANT && !out->content) {
        fields_path(path, where, "content");
        return apierror_set(e, 400, "missing", path, "%s is missing", path);
    }
    if (out->role == CHAT_TOOL && !out->call_id) {
        fields_path(path, where, "tool_call_id");
        return apierror_set(e, 400, "missing", path, "%s is missing: which call does this answer?",
                            path);
    }
    if (out->role == CHAT_TOOL &&
        !question_called(q, out->call_id, fields_path(path, where, "tool_call_id"), e)) {
        return false;
    }
    if (m.prefix && (!beta || !last || out->role != CHAT_ASSISTANT)) {
        fields_path(path, where, "prefix");
        return apierror_set(
            e, 400, "invalid_value", path,
            beta ? "%s: only the last message, and one of the assistant's, can be a prefix"
                 : "%s: prefix completion lives under /beta (POST /beta/chat/completions)",
            path);
    }
    return !m.prefix || question_begun(q, out, fields_path(path, where, "prefix"), e);
}

static bool openaichat_messages(struct question *q, const json_t *messages, bool beta,
                                struct apierror *e)
{
    size_t n = json_array_size(messages);
    q->prompt_at = "messages";
    q->messages = question_alloc(q, n, sizeof *q->messages, e);
    if (!q->messages) {
        return false;
    }
    q->n_messages = n;
    for (size_t i = 0; i < n; i++) {
        if (!openaichat_message(q, json_array_get(messages, i), i, i + 1 == n, beta,
                                &q->messages[i], e)) {
            return false;
        }
    }
    return question_answered(q, e);
}

/* ---- Tools. ---- */

struct openaichat_function {
    const char *name, *description;
    const json_t *parameters, *type; /* type: seen by the caller */
    bool strict;
};

static const struct fields_row openaichat_function_rows[] = {
    {"name", .type = FIELDS_STRING, .offset = offsetof(struct openaichat_function, name), .max = 64,
     .required = true},
    {"description", .type = FIELDS_STRING,
     .offset = offsetof(struct openaichat_function, description)},
    {"parameters", .type = FIELDS_OBJECT,
     .offset = offsetof(struct openaichat_function, parameters)},
    {"input_schema", .type = FIELDS_OBJECT,
     .offset = offsetof(struct openaichat_function, parameters)},
    {"strict", .type = FIELDS_BOOL, .offset = offsetof(struct openaichat_function, strict)},
    {"type", .type = FIELDS_ANY, .offset = offsetof(struct openaichat_function, type)},
    {"cache_control", .type = FIELDS_IGNORED},
};

static bool openaichat_is_name(const char *name)
{
    return *name &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] ==
               '\0';
}

bool openaichat_tool(struct question *q, const json_t *definition, const char *where,
                     struct chat_tool *out, struct apierror *e)
{
    struct openaichat_function f = {0};
    char path[FIELDS_PATH];
    if (!fields_read(&FIELDS_OF(openaichat_function_rows), definition, where, &f, &q->unknown, e)) {
        return false;
    }
    if (!openaichat_is_name(f.name)) {
        fields_path(path, where, "name");
        return apierror_set(e, 422, "invalid_value", path,
                            "%s is \"%.80s\"; expected 1 to 64 letters, digits, _ and -", path,
                            f.name);
    }
    for (const struct chat_tool *t = q->tools; t < out; t++) {
        if (strcmp(t->name, f.name) == 0) {
            fields_path(path, where, "name");
            return apierror_set(e, 400, "invalid_value", path,
                                "%s is \"%.64s\", as that of another tool: which one is called?", path, f.name);
        }
    }
    q->strict = q->strict || f.strict;
    *out = (struct chat_tool){.name = f.name, .description = f.description};
    out->parameters = f.parameters ? question_json(q, f.parameters, e) : NULL;
    return !f.parameters || out->parameters;
}

bool openaichat_leave_tool(struct question *q, const char *where, const char *type, struct apierror *e)
{
    char path[FIELDS_PATH + 64];
    snprintf(path, sizeof path, "%s (%.40s)", where, type);
    return fields_ignore(path, &q->unknown, e);
}

struct openaichat_tool {
    const json_t *type, *function; /* type: seen by the caller */
};

static const struct fields_row openaichat_tool_rows[] = {
    {"type", .type = FIELDS_ANY, .offset = offsetof(struct openaichat_tool, type)},
    {"function", .type = FIELDS_OBJECT, .offset = offsetof(struct openaichat_tool, function), .required = true},
    {"cache_control", .type = FIELDS_IGNORED},
};

static bool openaichat_tools(struct question *q, const json_t *tools, struct apierror *e)
{
    size_t n = json_array_size(tools);
    q->tools = question_alloc(q, n, sizeof *q->tools, e);
    for (size_t i = 0; i < n && q->tools; i++) {
        const json_t *tool = json_array_get(tools, i);
        const char *type = json_string_value(json_object_get(tool, "type"));
        char where[FIELDS_PATH], path[FIELDS_PATH];
        fields_item(where, "tools", i);
        if (!type || strcmp(type, "function") != 0) {
            return apierror_set(e, 400, "unsupported", where,
                                "%s is of type %.40s; expected function", where,
                                type ? type : "(none)");
        }
        struct openaichat_tool t = {0};
        if (!fields_read(&FIELDS_OF(openaichat_tool_rows), tool, where, &t, &q->unknown, e) ||
            !openaichat_tool(q, t.function, fields_path(path, where, "function"), &q->tools[i], e)) {
            return false;
        }
    }
    q->n_tools = n;
    return q->tools != NULL;
}

bool openaichat_choose(struct question *q, const json_t *choice, const char *named, const char *form,
                       struct apierror *e)
{
    static const char *const words[] = {[QUESTION_AUTO] = "auto", "none", "required"};
    const char *word = json_string_value(choice);
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++) {
        if (strcmp(word, words[i]) == 0) {
            q->choice = (enum question_choice)i;
            return q->choice != QUESTION_REQUIRED || q->n_tools > 0 ||
                   apierror_set(e, 400, "invalid_value", "tool_choice",
                                "tool_choice is required, but there are no tools");
        }
    }
    q->chosen = named;
    q->choice = QUESTION_NAMED;
    for (size_t i = 0; named && i < q->n_tools; i++) {
        if (strcmp(q->tools[i].name, named) == 0) {
            return true;
        }
    }
    return named ? apierror_set(e, 400, "invalid_value", "tool_choice",
                                "tool_choice names the function \"%.80s\", which is not among the tools", named)
                 : apierror_set(e, 400, "invalid_type", "tool_choice",
                                "tool_choice is none of: auto, none, required, %s", form);
}

static bool openaichat_choice(struct question *q, const json_t *choice, struct apierror *e)
{
    static const char *const types[] = {"function", NULL};
    struct openaichat_choice {
        const json_t *function;
        const char *name;
        int type;
    } c = {0};
    static const struct fields_row rows[] = {
        {"type", .type = FIELDS_WORD, .offset = offsetof(struct openaichat_choice, type), .words = types},
        {"function", .type = FIELDS_OBJECT, .offset = offsetof(struct openaichat_choice, function),
         .required = true},
    };
    static const struct fields_row function_rows[] = {
        {"name", .type = FIELDS_STRING, .offset = offsetof(struct openaichat_choice, name), .required = true},
    };
    return (!json_is_object(choice) ||
            (fields_read(&FIELDS_OF(rows), choice, "tool_choice", &c, &q->unknown, e) &&
             fields_read(&FIELDS_OF(function_rows), c.function, "tool_choice.function", &c, &q->unknown, e))) &&
           openaichat_choose(q, choice, c.name, "{\"type\":\"function\",\"function\":{\"name\":…}}", e);
}

/* ---- The request. ---- */

bool openaichat_read(struct question *q, bool beta, struct apierror *e)
{
    struct openaichat_request r = {.fields = openaifields_default(q), .parallel = true};
    if (!fields_read(&FIELDS_AND(openaichat_rows, &otherfields), q->document, "", &r, &q->unknown, e) ||
        !openaifields_apply(&r.fields, q, e) || (r.tools && !openaichat_tools(q, r.tools, e)) ||
        (r.tool_choice && !openaichat_choice(q, r.tool_choice, e)) ||
        !thinkfields_apply(&r.think, q, e) || !question_verbosity(q, r.verbosity, "verbosity", e) ||
        (r.store && !fields_ignore("store", &q->unknown, e))) {
        return false;
    }
    if (r.top_logprobs > 0 && !r.logprobs) {
        return apierror_set(e, 400, "invalid_value", "top_logprobs",
                            "top_logprobs is only allowed with logprobs: true");
    }
    q->logprobs = r.logprobs;
    q->top_logprobs = (int)r.top_logprobs;
    q->one_call = !r.parallel;
    /* Messages come last: the header has no room for all that they may hold without effect. */
    return question_agrees(q, e) && openaichat_messages(q, r.messages, beta, e);
}

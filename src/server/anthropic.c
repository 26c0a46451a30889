/* server/anthropic.c: see anthropic.h. */
#include "server/anthropic.h"

#include <stddef.h>
#include <string.h>

#include "server/anthropicblocks.h"
#include "server/fields.h"
#include "server/openaichat.h"
#include "server/openaifields.h"
#include "server/otherfields.h"
#include "server/thinkfields.h"

struct anthropic_request {
    const char *model;
    struct thinkfields think;
    const json_t *messages, *system, *stops, *tools, *choice, *metadata, *output;
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
    {"thinking", .type = FIELDS_OBJECT, .offset = ANTHROPIC_IN(think.thinking)},
    {"metadata", .type = FIELDS_OBJECT, .offset = ANTHROPIC_IN(metadata)},
    {"output_config", .type = FIELDS_OBJECT, .offset = ANTHROPIC_IN(output)},
    {"cache_control", .type = FIELDS_IGNORED},
    {"service_tier", .type = FIELDS_IGNORED},
    {"inference_geo", .type = FIELDS_IGNORED},
    {"context_management", .type = FIELDS_IGNORED},
    {"container", .type = FIELDS_REFUSED, .why = "this server runs no containers"},
    {"mcp_servers", .type = FIELDS_REFUSED, .why = "this server reaches no network"},
};

static const char *anthropic_type(const json_t *tool)
{
    const char *type = json_string_value(json_object_get(tool, "type"));
    return type ? type : "";
}

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
    static const char *const words[] = {[QUESTION_AUTO] = "auto", "none", "any", "tool", NULL};
    struct anthropic_choice {
        const char *name;
        int type;
        bool one;
    } c = {0};
    static const struct fields_row rows[] = {
        {"type", .type = FIELDS_WORD, .offset = offsetof(struct anthropic_choice, type), .words = words,
         .required = true},
        {"name", .type = FIELDS_STRING, .offset = offsetof(struct anthropic_choice, name)},
        {"disable_parallel_tool_use", .type = FIELDS_BOOL, .offset = offsetof(struct anthropic_choice, one)},
    };
    if (!fields_read(&FIELDS_OF(rows), choice, "tool_choice", &c, &q->unknown, e)) {
        return false;
    }
    q->choice = (enum question_choice)c.type;
    q->chosen = c.name;
    q->one_call = c.one;
    bool named = q->choice == QUESTION_NAMED, found = false;
    if (named != (c.name != NULL)) {
        return apierror_set(e, 400, named ? "missing" : "invalid_value", "tool_choice.name",
                            named ? "tool_choice.name is missing: which tool?"
                                  : "tool_choice.name is given, but only type tool has a name");
    }
    for (size_t i = 0; named && i < q->n_tools; i++) {
        found = found || strcmp(q->tools[i].name, c.name) == 0;
    }
    if ((named && !found) || (q->choice == QUESTION_REQUIRED && q->n_tools == 0)) {
        return apierror_set(e, 400, "invalid_value", "tool_choice",
                            "tool_choice wants a tool that is not among the tools");
    }
    return true;
}

static bool anthropic_effort(struct question *q, const char *word, struct apierror *e)
{
    static const char path[] = "output_config.effort";
    enum chat_thinking think = CHAT_THINKING;
    return thinkfields_effort(word, path, &think, e) &&
           (q->think == CHAT_NO_THINKING && think != CHAT_NO_THINKING ? fields_ignore(path, &q->unknown, e)
                                                                      : question_think(q, think, path, e));
}

static bool anthropic_output(struct question *q, const json_t *output, struct apierror *e)
{
    struct anthropic_output {
        const char *effort, *type;
        const json_t *format, *schema;
    } o = {0};
    static const struct fields_row rows[] = {
        {"effort", .type = FIELDS_STRING, .offset = offsetof(struct anthropic_output, effort), .max = 32},
        {"format", .type = FIELDS_OBJECT, .offset = offsetof(struct anthropic_output, format)},
    };
    static const struct fields_row format_rows[] = {
        {"type", .type = FIELDS_STRING, .offset = offsetof(struct anthropic_output, type), .required = true},
        {"schema", .type = FIELDS_ANY, .offset = offsetof(struct anthropic_output, schema)},
    };
    if (!fields_read(&FIELDS_OF(rows), output, "output_config", &o, &q->unknown, e) ||
        (o.effort && !anthropic_effort(q, o.effort, e))) {
        return false;
    }
    if (!o.format) {
        return true;
    }
    q->form = QUESTION_SCHEMA;
    q->form_at = "output_config.format";
    if (!fields_read(&FIELDS_OF(format_rows), o.format, q->form_at, &o, &q->unknown, e)) {
        return false;
    }
    q->schema = o.schema;
    return (strcmp(o.type, "json_schema") == 0 && q->schema) ||
           apierror_set(e, 400, "invalid_value", "output_config.format",
                        "output_config.format is not {\"type\":\"json_schema\",\"schema\":…}");
}

static bool anthropic_user(struct question *q, const json_t *metadata, struct apierror *e)
{
    static const struct fields_row rows[] = {{"user_id", .type = FIELDS_STRING, .max = 512}};
    return fields_read(&FIELDS_OF(rows), metadata, "metadata", &q->user, &q->unknown, e);
}

static void anthropic_sampling(const struct anthropic_request *r, struct question *q)
{
    q->model = r->model;
    q->max_tokens = (size_t)r->max_tokens;
    q->stream = r->stream;
    q->sampling.temperature = (float)r->temperature;
    q->sampling.top_p = (float)r->top_p;
    q->sampling.top_k = (int)r->top_k;
}

bool anthropic_read(struct question *q, bool counting, struct apierror *e)
{
    struct anthropic_request r = {.temperature = (double)q->sampling.temperature,
                                  .top_p = q->sampling.top_p > 0 ? (double)q->sampling.top_p : 1,
                                  .top_k = q->sampling.top_k};
    if (!fields_read(&FIELDS_AND(anthropic_rows, &otherfields_of_chat), q->document, "", &r, &q->unknown, e)) {
        return false;
    }
    if (!r.max_tokens && !counting) {
        return apierror_set(e, 400, "missing", "max_tokens", "max_tokens is missing");
    }
    anthropic_sampling(&r, q);
    /* Messages come last: the header has no room for all that blocks may hold without effect. */
    return (!r.tools || anthropic_tools(q, r.tools, e)) && (!r.choice || anthropic_choice(q, r.choice, e)) &&
           thinkfields_apply(&r.think, q, e) && (!r.output || anthropic_output(q, r.output, e)) &&
           (!r.metadata || anthropic_user(q, r.metadata, e)) &&
           (!r.stops || openaifields_stops(r.stops, "stop_sequences", q, e)) && question_agrees(q, e) &&
           anthropicblocks_read(q, r.system, r.messages, e);
}

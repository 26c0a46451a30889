/* server/responses.c: see responses.h. */
#include "server/responses.h"

#include <stddef.h>
#include <string.h>

#include "server/fields.h"
#include "server/openaichat.h"
#include "server/otherfields.h"
#include "server/responsesitems.h"
#include "server/thinkfields.h"

struct responses_request {
    const char *model, *instructions, *user;
    const json_t *input, *tools, *choice, *text, *reasoning, *include;
    int64_t max_tokens, top_logprobs;
    double temperature, top_p;
    bool stream, parallel, store;
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
    {"store", .type = FIELDS_BOOL, .offset = RESPONSES_IN(store)},
    {"include", .type = FIELDS_ARRAY, .offset = RESPONSES_IN(include), .max = 64},
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

static bool responses_tools(struct question *q, const json_t *tools, struct apierror *e)
{
    size_t n = json_array_size(tools);
    q->tools = question_alloc(q, n, sizeof *q->tools, e);
    for (size_t i = 0; i < n && q->tools; i++) {
        const json_t *tool = json_array_get(tools, i);
        const char *type = json_string_value(json_object_get(tool, "type"));
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
    static const char *const types[] = {"function", NULL};
    struct responses_choice {
        const char *name;
        int type;
    } c = {0};
    static const struct fields_row rows[] = {
        {"type", .type = FIELDS_WORD, .offset = offsetof(struct responses_choice, type), .words = types,
         .required = true},
        {"name", .type = FIELDS_STRING, .offset = offsetof(struct responses_choice, name), .required = true},
    };
    return (!json_is_object(choice) ||
            fields_read(&FIELDS_OF(rows), choice, "tool_choice", &c, &q->unknown, e)) &&
           openaichat_choose(q, choice, c.name, "{\"type\":\"function\",\"name\":…}", e);
}

static bool responses_form(struct question *q, const json_t *format, struct apierror *e)
{
    static const char *const types[] = {"text", "json_object", "json_schema", NULL};
    static const enum question_form forms[] = {QUESTION_FREE, QUESTION_JSON, QUESTION_SCHEMA};
    struct responses_form {
        const char *name;
        const json_t *schema;
        int type;
        bool strict;
    } f = {0};
    static const struct fields_row rows[] = {
        {"type", .type = FIELDS_WORD, .offset = offsetof(struct responses_form, type), .words = types,
         .required = true},
        {"schema", .type = FIELDS_ANY, .offset = offsetof(struct responses_form, schema)},
        {"name", .type = FIELDS_STRING, .offset = offsetof(struct responses_form, name)},
        {"strict", .type = FIELDS_BOOL, .offset = offsetof(struct responses_form, strict)}, /* it always is */
    };
    static const char path[] = "text.format";
    if (!format) {
        return true;
    }
    if (!fields_read(&FIELDS_OF(rows), format, path, &f, &q->unknown, e)) {
        return false;
    }
    q->form = forms[f.type];
    q->form_at = path;
    q->schema = f.schema;
    return (q->form == QUESTION_SCHEMA) == (f.schema != NULL) ||
           apierror_set(e, 400, f.schema ? "invalid_value" : "missing", "text.format.schema",
                        f.schema ? "text.format.schema goes with type json_schema alone"
                                 : "text.format.schema is missing");
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

/* What replies are to hold beside the rest. Of all that OpenAI's can, ours know log-probabilities. */
static bool responses_include(struct question *q, const json_t *include, struct apierror *e)
{
    static const char *const words[] = {"message.output_text.logprobs",
                                        "reasoning.encrypted_content",
                                        "file_search_call.results",
                                        "web_search_call.results",
                                        "web_search_call.action.sources",
                                        "message.input_image.image_url",
                                        "computer_call_output.output.image_url",
                                        "code_interpreter_call.outputs"};
    for (size_t i = 0; i < json_array_size(include); i++) {
        const char *word = json_string_value(json_array_get(include, i));
        char path[FIELDS_PATH];
        size_t known = 0, n = sizeof words / sizeof *words;
        fields_item(path, "include", i);
        while (known < n && !(word && strcmp(word, words[known]) == 0)) {
            known++;
        }
        if (known == n) {
            return apierror_set(e, 422, "invalid_value", path,
                                "%s is \"%.60s\"; expected %s, or another part of a response that OpenAI names",
                                path, word ? word : "(no string)", words[0]);
        }
        if (known > 0 && !fields_ignore(path, &q->unknown, e)) {
            return false;
        }
        q->logprobs = q->logprobs || known == 0;
    }
    return true;
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
    /* The input comes last: the header has no room for all that items may hold without effect. */
    return (!r.tools || responses_tools(q, r.tools, e)) && (!r.choice || responses_choice(q, r.choice, e)) &&
           (!r.text || responses_said(q, r.text, e)) &&
           (!r.reasoning || responses_reasoning(q, r.reasoning, e)) && responses_include(q, r.include, e) &&
           (!r.store || fields_ignore("store", &q->unknown, e)) && question_agrees(q, e) &&
           responsesitems_read(q, r.instructions, r.input, e);
}

/* server/openaifields.c: see openaifields.h. */
#include "server/openaifields.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { OPENAIFIELDS_NOTHING_SAID = -2 };

struct openaifields openaifields_default(const struct question *q)
{
    const struct sampling *s = &q->sampling;
    return (struct openaifields){
        .temperature = (double)s->temperature,
        .top_p = s->top_p > 0 ? (double)s->top_p : 1,
        .min_p = (double)s->min_p,
        .presence_penalty = (double)s->presence_penalty,
        .frequency_penalty = (double)s->frequency_penalty,
        .top_k = s->top_k,
        .seed = (int64_t)s->seed,
        .repeat_last_n = OPENAIFIELDS_NOTHING_SAID,
        .n = 1,
    };
}

static bool openaifields_stop(const json_t *value, const char *path, struct question *q,
                              struct apierror *e)
{
    if (!json_is_string(value) || json_string_length(value) == 0) {
        return apierror_set(e, 400, "invalid_type", path,
                            "%s is %s; expected a string that is not empty", path,
                            json_is_string(value) ? "empty" : json_type_name(value));
    }
    q->stop[q->n_stop++] = json_string_value(value);
    return true;
}

bool openaifields_stops(const json_t *stop, const char *name, struct question *q,
                        struct apierror *e)
{
    if (json_is_string(stop)) {
        return openaifields_stop(stop, name, q, e);
    }
    if (!json_is_array(stop)) {
        return apierror_set(e, 400, "invalid_type", name,
                            "%s is %s; expected a string or a list of strings", name,
                            json_type_name(stop));
    }
    if (json_array_size(stop) > QUESTION_STOPS_MAX) {
        return apierror_set(e, 422, "out_of_range", name,
                            "%s has %zu strings; at most %d are allowed", name,
                            json_array_size(stop), QUESTION_STOPS_MAX);
    }
    for (size_t i = 0; i < json_array_size(stop); i++) {
        char path[FIELDS_PATH];
        if (!openaifields_stop(json_array_get(stop, i), fields_item(path, name, i), q, e)) {
            return false;
        }
    }
    return true;
}

static bool openaifields_bias(const json_t *bias, struct question *q, struct apierror *e)
{
    size_t n = json_object_size(bias), i = 0;
    if (n > QUESTION_BIAS_MAX) {
        return apierror_set(e, 422, "out_of_range", "logit_bias",
                            "logit_bias has %zu tokens; at most %d are allowed", n,
                            QUESTION_BIAS_MAX);
    }
    int32_t *ids = question_alloc(q, n, sizeof *ids, e);
    float *values = ids ? question_alloc(q, n, sizeof *values, e) : NULL;
    const char *name;
    json_t *value;
    if (!values) {
        return false;
    }
    json_object_foreach((json_t *)bias, name, value)
    {
        char *end, path[FIELDS_PATH];
        long id = strtol(name, &end, 10);
        double number = json_number_value(value);
        fields_path(path, "logit_bias", name);
        /* No token has two names. */
        bool plain = name[0] >= '0' && name[0] <= '9' && (name[0] != '0' || !name[1]);
        if (*end || !plain || id > INT32_MAX) {
            return apierror_set(e, 400, "invalid_value", path,
                                "logit_bias names \"%.60s\"; expected a token's number, as in \"97\"", name);
        }
        if (!json_is_number(value) || !(number >= -100 && number <= 100)) {
            return apierror_set(e, 422, "out_of_range", path, "%s is not a number from -100 to 100",
                                path);
        }
        ids[i] = (int32_t)id;
        values[i++] = (float)number;
    }
    q->sampling.bias_ids = ids;
    q->sampling.bias_values = values;
    q->sampling.n_bias = n;
    return true;
}

static bool openaifields_stream(const struct openaifields *f, struct question *q,
                                struct apierror *e)
{
    static const struct fields_row rows[] = {
        {"include_usage", .type = FIELDS_BOOL},
        {"include_obfuscation", .type = FIELDS_IGNORED},
    };
    bool usage = false;
    q->stream = f->stream;
    if (f->stream_options) {
        if (!fields_read(&FIELDS_OF(rows), f->stream_options, "stream_options", &usage, &q->unknown,
                         e)) {
            return false;
        }
        if (!f->stream) {
            return apierror_set(e, 400, "invalid_value", "stream_options",
                                "stream_options is only allowed when stream is true");
        }
    }
    q->usage = usage;
    return true;
}

/* {"type":"json_schema","json_schema":{"schema"}}; other servers know {"type":"json_object","schema"} too. */
static bool openaifields_form(struct question *q, const json_t *format, struct apierror *e)
{
    static const char *const types[] = {"text", "json_object", "json_schema", NULL};
    static const enum question_form forms[] = {QUESTION_FREE, QUESTION_JSON, QUESTION_SCHEMA};
    struct openaifields_form {
        const char *name;
        const json_t *json_schema, *schema;
        int type;
        bool strict;
    } f = {0};
    static const struct fields_row rows[] = {
        {"type", .type = FIELDS_WORD, .offset = offsetof(struct openaifields_form, type), .words = types,
         .required = true},
        {"json_schema", .type = FIELDS_OBJECT, .offset = offsetof(struct openaifields_form, json_schema)},
        {"schema", .type = FIELDS_ANY, .offset = offsetof(struct openaifields_form, schema)},
    };
    static const struct fields_row schema_rows[] = {
        {"schema", .type = FIELDS_ANY, .offset = offsetof(struct openaifields_form, schema)},
        {"name", .type = FIELDS_STRING, .offset = offsetof(struct openaifields_form, name)},
        {"strict", .type = FIELDS_BOOL, .offset = offsetof(struct openaifields_form, strict)}, /* always so */
    };
    if (!fields_read(&FIELDS_OF(rows), format, "response_format", &f, &q->unknown, e) ||
        (f.json_schema && !fields_read(&FIELDS_OF(schema_rows), f.json_schema, "response_format.json_schema",
                                       &f, &q->unknown, e))) {
        return false;
    }
    enum question_form form = f.schema && forms[f.type] == QUESTION_JSON ? QUESTION_SCHEMA : forms[f.type];
    if (form == QUESTION_FREE) {
        return !f.schema || apierror_set(e, 400, "invalid_value", "response_format",
                                         "response_format has a schema, but its type is text");
    }
    if (q->form == QUESTION_GRAMMAR) {
        return apierror_set(e, 400, "invalid_value", "response_format",
                            "an answer cannot have both a grammar and a response_format; give one");
    }
    q->form = form;
    q->form_at = "response_format";
    q->schema = f.schema;
    return form == QUESTION_JSON || json_is_object(f.schema) || json_is_boolean(f.schema) ||
           apierror_set(e, 400, "missing", "response_format.json_schema.schema",
                        "response_format.json_schema.schema is missing");
}

static bool openaifields_stop_ids(const json_t *ids, struct question *q, struct apierror *e)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        char path[FIELDS_PATH];
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX) {
            fields_item(path, "stop_token_ids", i);
            return apierror_set(e, 400, "invalid_type", path, "%s is no token's number", path);
        }
        q->stop_ids[q->n_stop_ids++] = (int32_t)json_integer_value(id);
    }
    return true;
}

/* Where an answer ends. */
static bool openaifields_end(const struct openaifields *f, struct question *q, struct apierror *e)
{
    q->min_tokens = (size_t)f->min_tokens;
    q->ignore_eos = f->ignore_eos;
    if (q->max_tokens > 0 && q->min_tokens > q->max_tokens) {
        return apierror_set(e, 400, "invalid_value", "min_tokens", "min_tokens is %zu, max_tokens %zu",
                            q->min_tokens, q->max_tokens);
    }
    if (f->stop_token_ids && json_array_size(f->stop_token_ids) > 0 && f->ignore_eos) {
        return apierror_set(e, 400, "invalid_value", "stop_token_ids",
                            "with ignore_eos no token ends an answer; leave out one of the two");
    }
    return (!f->stop || openaifields_stops(f->stop, "stop", q, e)) &&
           (!f->stop_token_ids || openaifields_stop_ids(f->stop_token_ids, q, e));
}

/* Of how much of the text the repetition penalty is; the two others are OpenAI's, of the whole answer. */
static bool openaifields_window(const struct openaifields *f, struct sampling *s, struct apierror *e)
{
    if (f->repeat_last_n == OPENAIFIELDS_NOTHING_SAID) {
        return true;
    }
    if (f->repeat_last_n >= 0 && (s->presence_penalty != 0 || s->frequency_penalty != 0)) {
        return apierror_set(e, 400, "unsupported_parameter", "repeat_last_n",
                            "repeat_last_n is %lld; beside presence_penalty and frequency_penalty, which are "
                            "for the whole answer here, it can only be -1", (long long)f->repeat_last_n);
    }
    s->repetition_penalty = f->repeat_last_n == 0 ? 1 : s->repetition_penalty;
    s->penalty_window = f->repeat_last_n > 0 ? (size_t)f->repeat_last_n : 0;
    return true;
}

static bool openaifields_penalties(const struct openaifields *f, struct sampling *s, struct apierror *e)
{
    double said = f->repeat_penalty > 0 ? f->repeat_penalty : f->repetition_penalty; /* 0: neither */
    bool two = f->repetition_penalty > 0 && f->repetition_penalty != said;
    s->presence_penalty = (float)f->presence_penalty;
    s->frequency_penalty = (float)f->frequency_penalty;
    s->repetition_penalty = said > 0 ? (float)said : s->repetition_penalty;
    return (!two || apierror_set(e, 400, "invalid_value", "repeat_penalty",
                                 "repeat_penalty is %g and repetition_penalty %g: they mean the same; give one",
                                 f->repeat_penalty, f->repetition_penalty)) &&
           openaifields_window(f, s, e);
}

static bool openaifields_user(const struct openaifields *f, struct question *q, struct apierror *e)
{
    q->user = f->user_id ? f->user_id : f->user;
    return !f->user || strcmp(f->user, q->user) == 0 ||
           apierror_set(e, 400, "invalid_value", "user_id",
                        "user and user_id mean the same, but say different things; give one");
}

bool openaifields_apply(const struct openaifields *f, struct question *q, struct apierror *e)
{
    struct sampling *s = &q->sampling;
    q->model = f->model ? f->model : "";
    s->temperature = (float)f->temperature;
    s->top_p = (float)f->top_p;
    s->min_p = (float)f->min_p;
    s->top_k = f->top_k > 0 ? (int)f->top_k : 0;
    s->seed = (uint64_t)f->seed;
    if (f->max_tokens && f->max_completion_tokens && f->max_tokens != f->max_completion_tokens) {
        return apierror_set(
            e, 400, "invalid_value", "max_tokens",
            "max_tokens is %lld and max_completion_tokens %lld: they mean the same; give one",
            (long long)f->max_tokens, (long long)f->max_completion_tokens);
    }
    q->max_tokens = (size_t)(f->max_tokens ? f->max_tokens : f->max_completion_tokens);
    q->n = (size_t)f->n;
    if (f->grammar) {
        q->form = QUESTION_GRAMMAR;
        q->form_at = "grammar";
        q->grammar = f->grammar;
    }
    return openaifields_user(f, q, e) && openaifields_penalties(f, s, e) && openaifields_end(f, q, e) &&
           (!f->response_format || openaifields_form(q, f->response_format, e)) &&
           (!f->logit_bias || openaifields_bias(f->logit_bias, q, e)) &&
           openaifields_stream(f, q, e);
}

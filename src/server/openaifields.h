/* server/openaifields.h: the fields that OpenAI's chat and text completions share, with DeepSeek's and
 * others' additions: sampling, length, stops, the form, choices, streaming. */
#ifndef SERVER_OPENAIFIELDS_H
#define SERVER_OPENAIFIELDS_H

#include "server/fields.h"
#include "server/question.h"

/* What a table of rows writes to, first member of the request's own struct; begins as openaifields_default. */
struct openaifields {
    const char *model, *user, *user_id;
    double temperature, top_p, min_p, presence_penalty, frequency_penalty, repetition_penalty, repeat_penalty;
    int64_t top_k, seed, max_tokens, max_completion_tokens, min_tokens, repeat_last_n, n;
    const json_t *stop, *stop_token_ids, *logit_bias, *stream_options, *response_format;
    const char *grammar;
    bool stream, ignore_eos;
};
/* From the question's defaults. */
struct openaifields openaifields_default(const struct question *q);

/* A row for the field of that name. */
#define OPENAIFIELDS_ROW(field, ...) {#field, .offset = offsetof(struct openaifields, field), __VA_ARGS__}
#define OPENAIFIELDS_ROWS \
    OPENAIFIELDS_ROW(model, .type = FIELDS_STRING, .max = 256), \
    OPENAIFIELDS_ROW(user, .type = FIELDS_STRING, .max = 512), \
    OPENAIFIELDS_ROW(user_id, .type = FIELDS_STRING, .max = 512), \
    OPENAIFIELDS_ROW(temperature, .type = FIELDS_NUMBER, .min = 0, .max = 2), \
    OPENAIFIELDS_ROW(top_p, .type = FIELDS_NUMBER, .min = 0, .max = 1), \
    OPENAIFIELDS_ROW(min_p, .type = FIELDS_NUMBER, .min = 0, .max = 1), \
    OPENAIFIELDS_ROW(top_k, .type = FIELDS_INT, .min = -1, .max = 1 << 20), \
    OPENAIFIELDS_ROW(presence_penalty, .type = FIELDS_NUMBER, .min = -2, .max = 2), \
    OPENAIFIELDS_ROW(frequency_penalty, .type = FIELDS_NUMBER, .min = -2, .max = 2), \
    OPENAIFIELDS_ROW(repetition_penalty, .type = FIELDS_NUMBER, .min = 0.01, .max = 10), \
    OPENAIFIELDS_ROW(repeat_penalty, .type = FIELDS_NUMBER, .min = 0.01, .max = 10), \
    OPENAIFIELDS_ROW(repeat_last_n, .type = FIELDS_INT, .min = -1, .max = 0x1p40), \
    OPENAIFIELDS_ROW(seed, .type = FIELDS_INT), \
    OPENAIFIELDS_ROW(max_tokens, .type = FIELDS_INT, .min = 1, .max = 0x1p40), \
    OPENAIFIELDS_ROW(max_completion_tokens, .type = FIELDS_INT, .min = 1, .max = 0x1p40), \
    OPENAIFIELDS_ROW(min_tokens, .type = FIELDS_INT, .min = 0, .max = 0x1p40), \
    OPENAIFIELDS_ROW(ignore_eos, .type = FIELDS_BOOL), \
    OPENAIFIELDS_ROW(n, .type = FIELDS_INT, .min = 1, .max = QUESTION_CHOICES_MAX), \
    OPENAIFIELDS_ROW(stop, .type = FIELDS_ANY), \
    OPENAIFIELDS_ROW(stop_token_ids, .type = FIELDS_ARRAY, .max = QUESTION_STOPS_MAX), \
    OPENAIFIELDS_ROW(logit_bias, .type = FIELDS_OBJECT), \
    OPENAIFIELDS_ROW(stream, .type = FIELDS_BOOL), \
    OPENAIFIELDS_ROW(stream_options, .type = FIELDS_OBJECT), \
    OPENAIFIELDS_ROW(response_format, .type = FIELDS_OBJECT), \
    OPENAIFIELDS_ROW(grammar, .type = FIELDS_STRING)

/* Into the question, with what the table cannot say: stops, biases, options of the stream. */
bool openaifields_apply(const struct openaifields *f, struct question *q, struct apierror *e);
/* "stop" and "stop_sequences": a string or a list of them, none empty. */
bool openaifields_stops(const json_t *stop, const char *name, struct question *q, struct apierror *e);

#endif

/* server/thinkfields.h: whether to think, how hard and how long, in the words of many: DeepSeek's and
 * Anthropic's `thinking`, OpenAI's `reasoning_effort`, OpenRouter's `reasoning`, Qwen's `enable_thinking` and
 * `thinking_budget`, and what others hand to a template as `chat_template_kwargs`. They make one wish. */
#ifndef SERVER_THINKFIELDS_H
#define SERVER_THINKFIELDS_H

#include <stddef.h>

#include "server/fields.h"
#include "server/question.h"

/* What a table of rows writes to, a member of the request's own struct; begins as zeros. */
struct thinkfields {
    const json_t *thinking, *enable_thinking, *reasoning, *chat_template_kwargs;
    const char *reasoning_effort;
    int64_t thinking_budget;
};

/* A row for the field of that name, where the member is at offset `at`. */
#define THINKFIELDS_ROW(at, field, ...) \
    {#field, .offset = (at) + offsetof(struct thinkfields, field), __VA_ARGS__}
#define THINKFIELDS_ROWS(at) \
    THINKFIELDS_ROW(at, thinking, .type = FIELDS_OBJECT), \
    THINKFIELDS_ROW(at, reasoning_effort, .type = FIELDS_STRING, .max = 32), \
    THINKFIELDS_ROW(at, reasoning, .type = FIELDS_OBJECT), \
    THINKFIELDS_ROW(at, enable_thinking, .type = FIELDS_ANY), \
    THINKFIELDS_ROW(at, thinking_budget, .type = FIELDS_INT, .min = 1, .max = 0x1p40), \
    THINKFIELDS_ROW(at, chat_template_kwargs, .type = FIELDS_OBJECT)

/* Into the question, as question_think does it. Two fields that say whether must agree, and so two that say how
 * hard, or how long. Whether goes before how hard; how long, said alone, means to think. What else a template
 * would be handed is refused by its name. False: *e. */
bool thinkfields_apply(const struct thinkfields *f, struct question *q, struct apierror *e);

/* The word for how hard to think that `path` of a request has. False: *e. */
bool thinkfields_effort(const char *word, const char *path, enum chat_thinking *out, struct apierror *e);

#endif

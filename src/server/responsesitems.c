/* server/responsesitems.c: see responsesitems.h. */
#include "server/responsesitems.h"

#include <stddef.h>
#include <string.h>

#include "server/fields.h"

/* What the items and their parts have, each of them some. */
struct responsesitems_fields {
    const char *type, *text, *call_id, *name, *arguments;
    const json_t *content, *output, *passed;
    int role;
};

#define RESPONSESITEMS_AT(field) offsetof(struct responsesitems_fields, field)
#define RESPONSESITEMS_PASSED(name) {name, .type = FIELDS_ANY, .offset = RESPONSESITEMS_AT(passed)}
#define RESPONSESITEMS_ANY \
    {"type", .type = FIELDS_STRING, .offset = RESPONSESITEMS_AT(type)}, RESPONSESITEMS_PASSED("id"), \
        RESPONSESITEMS_PASSED("status")
#define RESPONSESITEMS_STRING(name) \
    {#name, .type = FIELDS_STRING, .offset = RESPONSESITEMS_AT(name), .required = true}

static const char *responsesitems_type(const json_t *item)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    return type ? type : "";
}

static bool responsesitems_part(struct question *q, const json_t *part, const char *where, struct strbuf *to,
                                struct apierror *e)
{
    static const struct fields_row rows[] = {
        {"type", .type = FIELDS_STRING, .offset = RESPONSESITEMS_AT(type)},
        RESPONSESITEMS_STRING(text),
        RESPONSESITEMS_PASSED("annotations"),
        RESPONSESITEMS_PASSED("logprobs"),
    };
    struct responsesitems_fields f = {0};
    if (!strstr(responsesitems_type(part), "text")) {
        return apierror_set(e, 400, "unsupported", where,
                            "%s is of type \"%.40s\"; this server reads text alone", where,
                            responsesitems_type(part));
    }
    return fields_read(&FIELDS_OF(rows), part, where, &f, &q->unknown, e) &&
           (strbuf_puts(to, f.text) == ERR_OK || question_no_memory(e));
}

static bool responsesitems_text(struct question *q, const json_t *content, const char *where, const char **out,
                                struct apierror *e)
{
    return question_content(q, content, where, "parts", responsesitems_part, out, e);
}

/* The assistant's message that is being put together: the last one, or a new one. */
static struct chat_message *responsesitems_assistant(struct question *q, bool fresh)
{
    struct chat_message *last = q->n_messages > 0 ? &q->messages[q->n_messages - 1] : NULL;
    if (!last || last->role != CHAT_ASSISTANT || fresh) {
        last = &q->messages[q->n_messages++];
        last->role = CHAT_ASSISTANT;
    }
    return last;
}

static bool responsesitems_message(struct question *q, const json_t *item, const char *where,
                                   struct apierror *e)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", NULL};
    static const enum chat_role ours[] = {CHAT_SYSTEM, CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT};
    static const struct fields_row rows[] = {
        RESPONSESITEMS_ANY,
        {"role", .type = FIELDS_WORD, .offset = RESPONSESITEMS_AT(role), .words = roles, .required = true},
        {"content", .type = FIELDS_ANY, .offset = RESPONSESITEMS_AT(content), .required = true},
    };
    struct responsesitems_fields f = {0};
    char path[FIELDS_PATH];
    if (!fields_read(&FIELDS_OF(rows), item, where, &f, &q->unknown, e)) {
        return false;
    }
    const struct chat_message *last = q->n_messages > 0 ? &q->messages[q->n_messages - 1] : NULL;
    struct chat_message *m = ours[f.role] == CHAT_ASSISTANT
                                 ? responsesitems_assistant(q, last && (last->content || last->calls))
                                 : &q->messages[q->n_messages++];
    m->role = ours[f.role];
    return responsesitems_text(q, f.content, fields_path(path, where, "content"), &m->content, e);
}

/* `next`: room for the calls that come. Those of one message lie one behind the other. */
static bool responsesitems_call(struct question *q, const json_t *item, const char *where,
                                struct chat_call **next, struct apierror *e)
{
    static const struct fields_row rows[] = {
        RESPONSESITEMS_ANY,
        RESPONSESITEMS_STRING(call_id),
        RESPONSESITEMS_STRING(name),
        RESPONSESITEMS_STRING(arguments),
    };
    struct responsesitems_fields f = {0};
    char path[FIELDS_PATH];
    if (!fields_read(&FIELDS_OF(rows), item, where, &f, &q->unknown, e)) {
        return false;
    }
    struct chat_message *m = responsesitems_assistant(q, false);
    struct chat_call *c = (*next)++;
    *c = (struct chat_call){.id = f.call_id, .name = f.name, .arguments = f.arguments};
    m->calls = m->calls ? m->calls : c;
    m->n_calls++;
    return question_call(q, c->id, fields_path(path, where, "call_id"), e);
}

static bool responsesitems_output(struct question *q, const json_t *item, const char *where, struct apierror *e)
{
    static const struct fields_row rows[] = {
        RESPONSESITEMS_ANY,
        RESPONSESITEMS_STRING(call_id),
        {"output", .type = FIELDS_ANY, .offset = RESPONSESITEMS_AT(output), .required = true},
    };
    struct responsesitems_fields f = {0};
    char path[FIELDS_PATH];
    if (!fields_read(&FIELDS_OF(rows), item, where, &f, &q->unknown, e) ||
        !question_called(q, f.call_id, fields_path(path, where, "call_id"), e)) {
        return false;
    }
    struct chat_message *m = &q->messages[q->n_messages++];
    *m = (struct chat_message){.role = CHAT_TOOL, .call_id = f.call_id};
    return responsesitems_text(q, f.output, fields_path(path, where, "output"), &m->content, e);
}

static bool responsesitems_reasoning(struct question *q, const json_t *item, const char *where,
                                     struct apierror *e)
{
    static const struct fields_row rows[] = {
        RESPONSESITEMS_ANY,
        {"content", .type = FIELDS_ANY, .offset = RESPONSESITEMS_AT(content)},
        RESPONSESITEMS_PASSED("summary"), /* it says nothing that the model wrote */
    };
    struct responsesitems_fields f = {0};
    char path[FIELDS_PATH];
    return fields_read(&FIELDS_OF(rows), item, where, &f, &q->unknown, e) &&
           (!f.content || responsesitems_text(q, f.content, fields_path(path, where, "content"),
                                              &responsesitems_assistant(q, true)->reasoning, e));
}

static bool responsesitems_item(struct question *q, const json_t *item, size_t i, struct chat_call **next,
                                struct apierror *e)
{
    const char *type = responsesitems_type(item);
    char where[FIELDS_PATH];
    fields_item(where, "input", i);
    if (strcmp(type, "message") == 0 || (!*type && json_object_get(item, "role"))) {
        return responsesitems_message(q, item, where, e);
    }
    if (strcmp(type, "function_call") == 0) {
        return responsesitems_call(q, item, where, next, e);
    }
    if (strcmp(type, "function_call_output") == 0) {
        return responsesitems_output(q, item, where, e);
    }
    if (strcmp(type, "reasoning") == 0) {
        return responsesitems_reasoning(q, item, where, e);
    }
    return apierror_set(e, 400, "unsupported", where,
                        "%s is of type \"%.40s\"; this server reads message, function_call, "
                        "function_call_output and reasoning",
                        where, type);
}

bool responsesitems_read(struct question *q, const char *instructions, const json_t *input, struct apierror *e)
{
    size_t n = json_array_size(input);
    q->prompt_at = "input";
    q->messages = question_alloc(q, n + 2, sizeof *q->messages, e);
    if (!q->messages) {
        return false;
    }
    if (instructions) {
        q->messages[q->n_messages++] = (struct chat_message){.role = CHAT_SYSTEM, .content = instructions};
    }
    if (json_is_string(input)) {
        q->messages[q->n_messages++] =
            (struct chat_message){.role = CHAT_USER, .content = json_string_value(input)};
        return true;
    }
    if (n == 0 || n > QUESTION_MESSAGES_MAX) {
        return apierror_set(e, 400, "invalid_type", "input",
                            "input is %s; expected a string, or a list of 1 to %d items",
                            json_type_name(input), QUESTION_MESSAGES_MAX);
    }
    struct chat_call *calls = question_alloc(q, n, sizeof *calls, e);
    for (size_t i = 0; i < n && calls; i++) {
        if (!responsesitems_item(q, json_array_get(input, i), i, &calls, e)) {
            return false;
        }
    }
    return calls && question_answered(q, e);
}

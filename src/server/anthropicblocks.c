/* server/anthropicblocks.c: see anthropicblocks.h. */
#include "server/anthropicblocks.h"

#include <stddef.h>
#include <string.h>

#include "server/fields.h"

static const char *anthropicblocks_type(const json_t *block)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    return type ? type : "";
}

/* What the blocks have, each of them some. */
struct anthropicblocks_fields {
    const char *type, *text, *thinking, *signature, *id, *name;
    const json_t *input, *content;
    bool is_error;
};

#define ANTHROPICBLOCKS_AT(field) offsetof(struct anthropicblocks_fields, field)
#define ANTHROPICBLOCKS_ANY \
    {"type", .type = FIELDS_STRING, .offset = ANTHROPICBLOCKS_AT(type)}, \
    {"cache_control", .type = FIELDS_IGNORED}

static const struct fields_row anthropicblocks_text_rows[] = {
    ANTHROPICBLOCKS_ANY,
    {"text", .type = FIELDS_STRING, .offset = ANTHROPICBLOCKS_AT(text), .required = true},
    {"citations", .type = FIELDS_IGNORED}, /* of what was said before */
};

static bool anthropicblocks_say(struct question *q, const json_t *block, const char *where,
                                const char *before, struct strbuf *to, struct apierror *e)
{
    struct anthropicblocks_fields f = {0};
    return fields_read(&FIELDS_OF(anthropicblocks_text_rows), block, where, &f, &q->unknown, e) &&
           (strbuf_printf(to, "%s%s", before, f.text) == ERR_OK || question_no_memory(e));
}

/* Where text alone is read: blocks joined by empty lines. */
static bool anthropicblocks_only_text(struct question *q, const json_t *block, const char *where,
                                      struct strbuf *to, struct apierror *e)
{
    if (strcmp(anthropicblocks_type(block), "text") != 0) {
        return apierror_set(e, 400, "unsupported", where,
                            "%s is of type \"%.40s\"; this server reads text alone here", where,
                            anthropicblocks_type(block));
    }
    return anthropicblocks_say(q, block, where, to->len > 0 ? "\n\n" : "", to, e);
}

static bool anthropicblocks_text(struct question *q, const json_t *content, const char *where,
                                 const char **out, struct apierror *e)
{
    return question_content(q, content, where, "text blocks", anthropicblocks_only_text, out, e);
}

/* ---- Blocks. ---- */

/* What one message of theirs becomes. */
struct anthropicblocks_turn {
    struct chat_message *next; /* where the next message of ours goes */
    struct strbuf text, reasoning;
    struct chat_call *calls;
    size_t n_calls;
    bool assistant;
};

/* No prompt format has a place for a result's failure, so it is said in words, as programs do. */
static bool anthropicblocks_fail(struct question *q, struct chat_message *m, struct apierror *e)
{
    struct strbuf text = {0};
    err result = strbuf_printf(&text, "Error%s%s", *m->content ? ": " : "", m->content);
    m->content = result == ERR_OK ? question_text(q, &text, e) : NULL;
    strbuf_deinit(&text);
    return m->content || question_no_memory(e);
}

static bool anthropicblocks_result(struct question *q, const json_t *block, const char *where,
                                   struct anthropicblocks_turn *t, struct apierror *e)
{
    static const struct fields_row rows[] = {
        ANTHROPICBLOCKS_ANY,
        {"tool_use_id", .type = FIELDS_STRING, .offset = ANTHROPICBLOCKS_AT(id), .required = true},
        {"content", .type = FIELDS_ANY, .offset = ANTHROPICBLOCKS_AT(content)},
        {"is_error", .type = FIELDS_BOOL, .offset = ANTHROPICBLOCKS_AT(is_error)},
    };
    struct anthropicblocks_fields f = {0};
    struct chat_message *m = t->next++;
    char path[FIELDS_PATH];
    if (!fields_read(&FIELDS_OF(rows), block, where, &f, &q->unknown, e) ||
        !question_called(q, f.id, fields_path(path, where, "tool_use_id"), e)) {
        return false;
    }
    *m = (struct chat_message){.role = CHAT_TOOL, .content = "", .call_id = f.id};
    fields_path(path, where, "content");
    return (!f.content || anthropicblocks_text(q, f.content, path, &m->content, e)) &&
           (!f.is_error || anthropicblocks_fail(q, m, e));
}

static bool anthropicblocks_use(struct question *q, const json_t *block, const char *where,
                                struct anthropicblocks_turn *t, struct apierror *e)
{
    static const struct fields_row rows[] = {
        ANTHROPICBLOCKS_ANY,
        {"id", .type = FIELDS_STRING, .offset = ANTHROPICBLOCKS_AT(id), .required = true},
        {"name", .type = FIELDS_STRING, .offset = ANTHROPICBLOCKS_AT(name), .required = true},
        {"input", .type = FIELDS_OBJECT, .offset = ANTHROPICBLOCKS_AT(input), .required = true},
    };
    struct anthropicblocks_fields f = {0};
    char path[FIELDS_PATH];
    if (!fields_read(&FIELDS_OF(rows), block, where, &f, &q->unknown, e)) {
        return false;
    }
    struct chat_call *c = &t->calls[t->n_calls++];
    *c = (struct chat_call){.id = f.id, .name = f.name, .arguments = question_json(q, f.input, e)};
    return c->arguments && question_call(q, c->id, fields_path(path, where, "id"), e);
}

static bool anthropicblocks_thought(struct question *q, const json_t *block, const char *where,
                                    struct anthropicblocks_turn *t, struct apierror *e)
{
    static const struct fields_row rows[] = {
        ANTHROPICBLOCKS_ANY,
        {"thinking", .type = FIELDS_STRING, .offset = ANTHROPICBLOCKS_AT(thinking), .required = true},
        {"signature", .type = FIELDS_STRING, .offset = ANTHROPICBLOCKS_AT(signature)}, /* ours is empty */
    };
    struct anthropicblocks_fields f = {0};
    return fields_read(&FIELDS_OF(rows), block, where, &f, &q->unknown, e) &&
           (strbuf_puts(&t->reasoning, f.thinking) == ERR_OK || question_no_memory(e));
}

static bool anthropicblocks_block(struct question *q, const json_t *block, const char *where,
                                  struct anthropicblocks_turn *t, struct apierror *e)
{
    const char *type = anthropicblocks_type(block);
    if (strcmp(type, "text") == 0) {
        return anthropicblocks_say(q, block, where, "", &t->text, e);
    }
    if (t->assistant && strcmp(type, "thinking") == 0) {
        return anthropicblocks_thought(q, block, where, t, e);
    }
    if (t->assistant && strcmp(type, "tool_use") == 0) {
        return anthropicblocks_use(q, block, where, t, e);
    }
    if (!t->assistant && strcmp(type, "tool_result") == 0) {
        return anthropicblocks_result(q, block, where, t, e);
    }
    return apierror_set(e, 400, "unsupported", where, "%s is of type \"%.40s\"; %s", where, type,
                        t->assistant ? "the assistant's are text, thinking and tool_use"
                                     : "this server reads text and tool_result alone");
}

static bool anthropicblocks_turn(struct question *q, const json_t *content, const char *where,
                                 struct anthropicblocks_turn *t, struct apierror *e)
{
    size_t n = json_array_size(content);
    const struct chat_message *first = t->next;
    t->calls = question_alloc(q, n, sizeof *t->calls, e);
    if (!t->calls) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char path[FIELDS_PATH];
        if (!anthropicblocks_block(q, json_array_get(content, i), fields_item(path, where, i), t, e)) {
            return false;
        }
    }
    if (t->text.len > 0 || t->assistant || t->next == first) {
        struct chat_message *m = t->next++;
        m->role = t->assistant ? CHAT_ASSISTANT : CHAT_USER;
        m->calls = t->calls;
        m->n_calls = t->n_calls;
        m->reasoning = t->reasoning.len > 0 ? question_text(q, &t->reasoning, e) : NULL;
        m->content = question_text(q, &t->text, e);
        return m->content && (t->reasoning.len == 0 || m->reasoning);
    }
    return true;
}

static bool anthropicblocks_message(struct question *q, const json_t *message, size_t i,
                                    struct chat_message **next, struct apierror *e)
{
    static const char *const roles[] = {"user", "assistant", NULL};
    struct anthropicblocks_envelope {
        const json_t *content;
        int role;
    } m = {0};
    static const struct fields_row rows[] = {
        {"role", .type = FIELDS_WORD, .offset = offsetof(struct anthropicblocks_envelope, role), .words = roles,
         .required = true},
        {"content", .type = FIELDS_ANY, .offset = offsetof(struct anthropicblocks_envelope, content),
         .required = true},
    };
    char where[FIELDS_PATH], path[FIELDS_PATH];
    if (!fields_read(&FIELDS_OF(rows), message, fields_item(where, "messages", i), &m, &q->unknown, e)) {
        return false;
    }
    struct anthropicblocks_turn t = {.next = *next, .assistant = m.role == 1};
    if (t.assistant && t.next > q->messages && t.next[-1].role != CHAT_ASSISTANT && !question_answered(q, e)) {
        return false;
    }
    fields_path(path, where, "content");
    if (json_is_string(m.content)) {
        *t.next++ = (struct chat_message){.role = t.assistant ? CHAT_ASSISTANT : CHAT_USER,
                                          .content = json_string_value(m.content)};
        *next = t.next;
        return true;
    }
    if (!json_is_array(m.content)) {
        return apierror_set(e, 400, "invalid_type", path,
                            "%s is %s; expected a string or a list of blocks", path,
                            json_type_name(m.content));
    }
    bool ok = anthropicblocks_turn(q, m.content, path, &t, e);
    strbuf_deinit(&t.text);
    strbuf_deinit(&t.reasoning);
    *next = t.next;
    return ok;
}

/* Most messages of ours that theirs can become. */
static size_t anthropicblocks_count(const json_t *messages)
{
    size_t n = 1;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        n += 1 + json_array_size(json_object_get(json_array_get(messages, i), "content"));
    }
    return n;
}

bool anthropicblocks_read(struct question *q, const json_t *system, const json_t *messages, struct apierror *e)
{
    q->prompt_at = "messages";
    q->messages = question_alloc(q, anthropicblocks_count(messages), sizeof *q->messages, e);
    if (!q->messages) {
        return false;
    }
    struct chat_message *next = q->messages;
    if (system) {
        next->role = CHAT_SYSTEM;
        if (!anthropicblocks_text(q, system, "system", &next->content, e)) {
            return false;
        }
        next++;
    }
    for (size_t i = 0; i < json_array_size(messages); i++) {
        if (!anthropicblocks_message(q, json_array_get(messages, i), i, &next, e)) {
            return false;
        }
    }
    q->n_messages = (size_t)(next - q->messages);
    struct chat_message *last = &q->messages[q->n_messages - 1];
    char where[FIELDS_PATH];
    fields_item(where, "messages", json_array_size(messages) - 1);
    return question_answered(q, e) &&
           (last->role != CHAT_ASSISTANT || question_begun(q, last, where, e)); /* theirs begins the answer */
}

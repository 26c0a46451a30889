/* text/toolgrammar.c: see toolgrammar.h. */
#include "text/toolgrammar.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/chat_marks.h"
#include "text/chat_writer.h"
#include "text/toolgrammar_data.h"
#include "text/utf8.h"

/* How a format writes calls: open call between call … close, and a call: begin name name_end arguments end. */
struct toolgrammar_form {
    const char *mark; /* what the text before calls cannot hold */
    const char *open, *between, *close;
    const char *begin, *name_end, *end;
    bool json_name; /* the name is a string of JSON */
    bool dsml;
};

static const struct toolgrammar_form toolgrammar_v3 = {
    .mark = CHAT_CALLS, .open = CHAT_CALLS, .between = "\n", .close = CHAT_CALLS_END,
    .begin = CHAT_CALL "function" CHAT_CALL_SEP, .name_end = "\n```json\n", .end = "\n```" CHAT_CALL_END};
static const struct toolgrammar_form toolgrammar_v31 = {
    .mark = CHAT_CALLS, .open = CHAT_CALLS, .between = "", .close = CHAT_CALLS_END,
    .begin = CHAT_CALL, .name_end = CHAT_CALL_SEP, .end = CHAT_CALL_END};

#define TOOLGRAMMAR_DSML(block) \
    {.mark = "<" CHAT_DSML block ">", .open = "\n\n<" CHAT_DSML block ">\n", .between = "\n", \
     .close = "\n</" CHAT_DSML block ">", .begin = CHAT_DSML_INVOKE, .name_end = "\">", \
     .end = "\n" CHAT_DSML_INVOKE_END, .dsml = true}
static const struct toolgrammar_form toolgrammar_v32 = TOOLGRAMMAR_DSML("function_calls");
static const struct toolgrammar_form toolgrammar_v4 = TOOLGRAMMAR_DSML("tool_calls");
static const struct toolgrammar_form toolgrammar_chatml = {
    .mark = CHAT_TOOL_CALL, .open = "", .between = "\n", .close = "",
    .begin = CHAT_TOOL_CALL "\n{\"name\": ", .name_end = ", \"arguments\": ", .end = "}\n" CHAT_TOOL_CALL_END,
    .json_name = true};

static const struct toolgrammar_form *toolgrammar_form_of(enum chat_format f)
{
    switch (f) {
    case CHAT_DEEPSEEK_V3:
    case CHAT_DEEPSEEK_R1: return &toolgrammar_v3;
    case CHAT_DEEPSEEK_V31: return &toolgrammar_v31;
    case CHAT_DEEPSEEK_V32: return &toolgrammar_v32;
    case CHAT_DEEPSEEK_V4:
    case CHAT_DEEPSEEK_V4_0731: return &toolgrammar_v4;
    default: return chat_can_call(f) ? &toolgrammar_chatml : NULL;
    }
}

/* ---- text ---- */

err toolgrammar_literal(const char *text, size_t len, struct strbuf *out)
{
    TRY(len > 0 ? strbuf_puts(out, "\"") : ERR_OK);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        TRY(c < 0x20                ? strbuf_printf(out, "\\x%02x", c)
            : c == '"' || c == '\\' ? strbuf_printf(out, "\\%c", c)
                                    : strbuf_append(out, text + i, 1));
    }
    return len > 0 ? strbuf_puts(out, "\" ") : ERR_OK;
}

err toolgrammar_words(const struct toolgrammar *g, const char *words, struct strbuf *out)
{
    const char *from = words;
    while (*words) {
        const char *mark = chat_writer_mark(words);
        int32_t id = mark ? tokenizer_special(g->t, mark) : -1;
        if (id >= 0) {
            TRY(toolgrammar_literal(from, (size_t)(words - from), out));
            TRY(strbuf_printf(out, "<[%d]> ", id));
            words += strlen(mark);
            from = words;
        } else {
            words++;
        }
    }
    return toolgrammar_literal(from, (size_t)(words - from), out);
}

enum { TOOLGRAMMAR_MARK_MAX = 64 }; /* characters of a mark */

/* How much of the mark stands at the end of the text when `c` follows its first `n` characters. */
static size_t toolgrammar_ahead(const uint32_t *mark, const size_t *fall, size_t n, uint32_t c)
{
    while (n > 0 && mark[n] != c) {
        n = fall[n];
    }
    return mark[n] == c ? n + 1 : 0;
}

/* The rule for what may come when the text ends with the mark's first i characters. */
static err toolgrammar_state(struct toolgrammar *g, const char *prefix, const uint32_t *mark,
                             const size_t *fall, size_t len, size_t i)
{
    struct strbuf *rules = &g->schemas.rules, others = {0};
    err e = strbuf_printf(rules, "%s%zu ::= \"\"", prefix, i);
    for (size_t k = 0; k <= i && e == ERR_OK; k++) {
        size_t first = 0, to = toolgrammar_ahead(mark, fall, i, mark[k]);
        while (mark[first] != mark[k]) {
            first++;
        }
        if (first == k && to > 0) {
            e = strbuf_printf(&others, "\\U%08X", (unsigned)mark[k]);
            e = e == ERR_OK && to < len
                    ? strbuf_printf(rules, " | [\\U%08X] %s%zu", (unsigned)mark[k], prefix, to)
                    : e;
        }
    }
    e = e == ERR_OK ? strbuf_printf(rules, " | [^\\x00%s] %s0\n", others.data, prefix) : e;
    strbuf_deinit(&others);
    return e;
}

err toolgrammar_without(struct toolgrammar *g, const char *prefix, const char *text)
{
    uint32_t mark[TOOLGRAMMAR_MARK_MAX];
    size_t fall[TOOLGRAMMAR_MARK_MAX] = {0}, len = 0; /* fall[n]: the longest end of the first n, not all */
    for (size_t n; *text; text += n) {                /* that the mark begins with */
        n = utf8_step(*text);
        mark[len++] = utf8_point(text, n);
    }
    for (size_t n = 1; n + 1 < len; n++) {
        fall[n + 1] = toolgrammar_ahead(mark, fall, fall[n], mark[n]);
    }
    for (size_t i = 0; i < len; i++) {
        TRY(toolgrammar_state(g, prefix, mark, fall, len, i));
    }
    return ERR_OK;
}

/* ---- calls ---- */

static err toolgrammar_check_name(struct toolgrammar *g, const char *name)
{
    bool good = name[0] != '\0';
    for (const char *p = name; *p; p++) {
        good = good && (unsigned char)*p > 0x20 && !strchr("\"<>`\\", *p);
    }
    return good ? ERR_OK
                : err_set(g->schemas.info, ERR_ARGUMENT, "a tool's name must be letters, digits, _ and -");
}

/* The schema of arguments: an object in any case, $ref and allOf at its top followed. */
static err toolgrammar_schema(struct toolgrammar *g, const struct chat_tool *tool, json_t **out)
{
    const char *text = tool->parameters ? tool->parameters : "{\"properties\":{}}";
    json_t *given = NULL, *both = NULL;
    TRY(json_parse(text, strlen(text), "its parameters", &given, g->schemas.info));
    err e = schemagrammar_begin(&g->schemas, given);
    both = json_pack("{s:[{s:s},O]}", "allOf", "type", "object", given);
    e = e == ERR_OK && !both ? ERR_NOMEM : e;
    e = e == ERR_OK ? schemagrammar_merge_flat(&g->schemas, both, out) : e;
    if (e != ERR_OK) {
        json_decref(given);
    }
    json_decref(both);
    return e;
}

static err toolgrammar_name(const struct toolgrammar *g, const char *name, struct strbuf *out)
{
    if (!g->form->json_name) {
        return toolgrammar_literal(name, strlen(name), out);
    }
    json_t *text = json_string(name);
    err e = text ? schemagrammar_literal(text, out) : ERR_NOMEM;
    json_decref(text);
    return e;
}

/* A rule for calls of one tool; its name to `out`. */
static err toolgrammar_call(struct toolgrammar *g, const struct chat_tool *tool, struct strbuf *out)
{
    json_t *schema = NULL;
    struct strbuf body = {0};
    TRY(toolgrammar_check_name(g, tool->name));
    TRY(toolgrammar_schema(g, tool, &schema));
    const json_t *root = g->schemas.root;
    err e = toolgrammar_words(g, g->form->begin, &body);
    e = e == ERR_OK ? toolgrammar_name(g, tool->name, &body) : e;
    e = e == ERR_OK ? toolgrammar_words(g, g->form->name_end, &body) : e;
    if (e == ERR_OK) {
        e = g->form->dsml ? toolgrammar_dsml_parameters(g, schema, &body)
                          : schemagrammar_visit(&g->schemas, schema, &body);
    }
    e = e == ERR_OK ? strbuf_puts(&body, " ") : e;
    e = e == ERR_OK ? toolgrammar_words(g, g->form->end, &body) : e;
    e = e == ERR_OK ? schemagrammar_rule(&g->schemas, &body, out) : e;
    strbuf_deinit(&body);
    json_decref(schema);
    json_decref((json_t *)(uintptr_t)root);
    g->schemas.root = NULL;
    return e;
}

static err toolgrammar_any_call(struct toolgrammar *g, struct strbuf *out)
{
    size_t n = 0;
    for (size_t i = 0; i < g->is->n_tools; i++) {
        const struct chat_tool *tool = &g->is->tools[i];
        if (!g->is->only || strcmp(g->is->only, tool->name) == 0) {
            TRY(strbuf_puts(out, n++ > 0 ? " | " : "call ::= "));
            err e = toolgrammar_call(g, tool, out);
            TRY(e == ERR_OK || e == ERR_NOMEM ? e
                                              : err_prefix(g->schemas.info, e, "tool %.60s: ", tool->name));
        }
    }
    if (n == 0) {
        return err_set(g->schemas.info, ERR_ARGUMENT, "%s%.60s%s", g->is->only ? "the tool to be called, " : "",
                       g->is->only ? g->is->only : "calls are wanted and there are no tools",
                       g->is->only ? ", is not among the tools" : "");
    }
    return strbuf_puts(out, "\n");
}

static err toolgrammar_all(struct toolgrammar *g, bool r1, struct strbuf *out)
{
    const struct toolgrammar_form *form = g->form;
    TRY(toolgrammar_any_call(g, out));
    TRY(strbuf_puts(out, "calls ::= "));
    TRY(toolgrammar_words(g, form->open, out));
    TRY(strbuf_puts(out, "call "));
    if (!g->is->one) {
        TRY(strbuf_puts(out, "("));
        TRY(toolgrammar_words(g, form->between, out));
        TRY(strbuf_puts(out, "call)* "));
    }
    TRY(toolgrammar_words(g, form->close, out));
    TRY(form->dsml ? toolgrammar_without(g, TOOLGRAMMAR_RAW, CHAT_DSML_PARAMETER_END) : ERR_OK);
    TRY(g->is->may_answer ? toolgrammar_without(g, "said", form->mark) : ERR_OK);
    /* R1 puts an empty line behind its reasoning. */
    TRY(strbuf_printf(out, "\nroot ::= %s", g->is->may_answer ? "said0 calls?"
                                            : r1              ? "\"\\n\\n\"? calls"
                                                              : "calls"));
    return schemagrammar_end(&g->schemas, out);
}

err toolgrammar_text(const struct tokenizer *t, enum chat_format f, const struct toolgrammar_request *request,
                     char **out, struct errinfo *info)
{
    struct errinfo own;
    struct toolgrammar g = {.schemas = {.info = info ? info : &own},
                            .t = t,
                            .form = toolgrammar_form_of(f),
                            .is = request};
    struct strbuf text = {0};
    if (!g.form) {
        return err_set(info, ERR_UNSUPPORTED, "the chat format %s knows no calls of tools",
                       chat_format_name(f));
    }
    err e = toolgrammar_all(&g, f == CHAT_DEEPSEEK_R1, &text);
    e = e == ERR_OK ? strbuf_take(&text, out) : e;
    if (e == ERR_NOMEM) {
        e = err_set(info, e, "out of memory for the grammar of calls");
    }
    schemagrammar_deinit(&g.schemas);
    strbuf_deinit(&text);
    return e;
}

err toolgrammar_new(const struct tokenizer *t, enum chat_format f, const struct toolgrammar_request *request,
                    struct grammar **out, struct errinfo *info)
{
    char *text;
    TRY(toolgrammar_text(t, f, request, &text, info));
    err e = grammar_new(text, strlen(text), out, info);
    mem_free(text);
    return e == ERR_OK ? ERR_OK : err_prefix(info, e, "the grammar made of the tools: ");
}

/* text/toolgrammar_dsml.c: the parameters of a call in DSML: a string as it stands (string="true"), or JSON
 * (string="false"). */
#include <stdio.h>
#include <string.h>

#include "text/chat_marks.h"
#include "text/toolgrammar_data.h"

/* The values of a schema that may stand as they are. */
struct toolgrammar_raw {
    struct strbuf text; /* alternatives; empty: none */
    bool all;           /* the schema has no other values */
};

static err toolgrammar_dsml_or(struct toolgrammar_raw *r, const char *expression)
{
    TRY(r->text.len > 0 ? strbuf_puts(&r->text, " | ") : ERR_OK);
    return strbuf_puts(&r->text, expression);
}

/* enum or const: those of the values that have one of the kinds. */
static err toolgrammar_dsml_values(struct toolgrammar *g, const json_t *schema, struct toolgrammar_raw *r)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    unsigned kinds = SCHEMAGRAMMAR_ANY;
    TRY(json_object_get(schema, "type") ? schemagrammar_keywords_kinds(&g->schemas, schema, &kinds) : ERR_OK);
    for (size_t i = 0; i < (list ? json_array_size(list) : 1); i++) {
        const json_t *value = list ? json_array_get(list, i) : one;
        const char *text = json_string_value(value);
        bool fits = text && !strstr(text, CHAT_DSML_PARAMETER_END);
        if (!(schemagrammar_keywords_kind_of(value) & kinds) || (list && one && !json_equal(value, one))) {
            continue;
        }
        if (fits) {
            TRY(toolgrammar_dsml_or(r, "\"\" "));
            TRY(toolgrammar_literal(text, strlen(text), &r->text));
        }
        r->all = r->all && fits;
    }
    return ERR_OK;
}

static err toolgrammar_dsml_string(struct toolgrammar *g, const json_t *schema, struct toolgrammar_raw *r)
{
    unsigned kinds;
    TRY(schemagrammar_keywords_kinds(&g->schemas, schema, &kinds));
    const char *format = json_string_value(json_object_get(schema, "format"));
    bool narrowed = json_object_get(schema, "minLength") || json_object_get(schema, "maxLength") ||
                    json_object_get(schema, "pattern");
    r->all = r->all && kinds == SCHEMAGRAMMAR_STRING && !narrowed;
    if (!(kinds & SCHEMAGRAMMAR_STRING) || narrowed) {
        return ERR_OK;
    }
    return toolgrammar_dsml_or(r, format ? format : TOOLGRAMMAR_RAW "0");
}

static err toolgrammar_dsml_raw(struct toolgrammar *g, const json_t *schema, struct toolgrammar_raw *r);

static err toolgrammar_dsml_each(struct toolgrammar *g, const json_t *schema, const char *key,
                                 struct toolgrammar_raw *r)
{
    const json_t *list = json_object_get(schema, key), *other;
    const char *beside;
    err e = ERR_OK;
    size_t back;
    json_object_foreach((json_t *)(uintptr_t)schema, beside, other) {
        if (strcmp(beside, key) != 0 && !schemagrammar_keywords_annotation(beside)) {
            r->all = false; /* they hold together: as JSON */
            return ERR_OK;
        }
    }
    TRY(schemagrammar_enter(&g->schemas, key, &back));
    for (size_t i = 0; i < json_array_size(list) && e == ERR_OK; i++) {
        e = toolgrammar_dsml_raw(g, json_array_get(list, i), r);
    }
    schemagrammar_leave(&g->schemas, back);
    return e;
}

static err toolgrammar_dsml_raw(struct toolgrammar *g, const json_t *schema, struct toolgrammar_raw *r)
{
    json_t *flat;
    TRY(schemagrammar_merge_flat(&g->schemas, schema, &flat));
    err e;
    if (json_is_true(flat)) {
        r->all = false;
        e = toolgrammar_dsml_or(r, TOOLGRAMMAR_RAW "0");
    } else if (json_object_get(flat, "anyOf") || json_object_get(flat, "oneOf")) {
        e = toolgrammar_dsml_each(g, flat, json_object_get(flat, "anyOf") ? "anyOf" : "oneOf", r);
    } else if (json_object_get(flat, "enum") || json_object_get(flat, "const")) {
        e = toolgrammar_dsml_values(g, flat, r);
    } else {
        e = toolgrammar_dsml_string(g, flat, r);
    }
    json_decref(flat);
    return e;
}

/* What stands behind string=" up to the parameter's end. A schema whose values all are strings that stand as
 * they are has been looked at for what is wrong with it all the same. */
static err toolgrammar_dsml_value(struct toolgrammar *g, const json_t *schema, struct strbuf *out)
{
    struct toolgrammar_raw raw = {.all = true};
    struct strbuf json = {0};
    err e = toolgrammar_dsml_raw(g, schema, &raw);
    e = e == ERR_OK ? schemagrammar_visit(&g->schemas, schema, &json) : e;
    bool some = raw.text.len > 0, only = some && raw.all;
    e = e == ERR_OK && some ? strbuf_printf(out, "(\"true\\\">\" (%s)", raw.text.data) : e;
    e = e == ERR_OK && !only ? strbuf_printf(out, "%s \"false\\\">\" %s", some ? " |" : "(", json.data) : e;
    e = e == ERR_OK ? strbuf_puts(out, ") ") : e;
    e = e == ERR_OK ? toolgrammar_words(g, CHAT_DSML_PARAMETER_END, out) : e;
    strbuf_deinit(&raw.text);
    strbuf_deinit(&json);
    return e;
}

static err toolgrammar_dsml_parameter(struct toolgrammar *g, const char *name, const json_t *schema,
                                      bool required, struct strbuf *out)
{
    size_t back;
    if (strchr(name, '"')) {
        return schemagrammar_refuse(&g->schemas, ERR_UNSUPPORTED, "a parameter's name with a quote");
    }
    TRY(strbuf_puts(out, "("));
    TRY(toolgrammar_words(g, "\n" CHAT_DSML_PARAMETER, out));
    TRY(toolgrammar_literal(name, strlen(name), out));
    TRY(strbuf_puts(out, "\"\\\" string=\\\"\" "));
    TRY(schemagrammar_enter(&g->schemas, name, &back));
    err e = toolgrammar_dsml_value(g, schema, out);
    schemagrammar_leave(&g->schemas, back);
    return e == ERR_OK ? strbuf_puts(out, required ? ") " : ")? ") : e;
}

/* Parameters of any name. */
static err toolgrammar_dsml_free(struct toolgrammar *g, const json_t *schema, struct strbuf *out)
{
    TRY(strbuf_puts(out, "("));
    TRY(toolgrammar_words(g, "\n" CHAT_DSML_PARAMETER, out));
    TRY(strbuf_puts(out, "[a-zA-Z0-9_-]{1,64} \"\\\" string=\\\"\" "));
    TRY(toolgrammar_dsml_value(g, schema, out));
    return strbuf_puts(out, ")* ");
}

static bool toolgrammar_dsml_requires(const json_t *schema, const char *name)
{
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *r = json_string_value(json_array_get(required, i));
        if (r && strcmp(r, name) == 0) {
            return true;
        }
    }
    return false;
}

err toolgrammar_dsml_parameters(struct toolgrammar *g, const json_t *schema, struct strbuf *out)
{
    static const char *const whole[] = {"anyOf", "oneOf", "enum", "const"};
    struct strbuf json = {0};
    json_t *properties = json_object_get(schema, "properties"), *value;
    const json_t *required = json_object_get(schema, "required");
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *name;
    bool any = false;
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        if (json_object_get(schema, whole[i])) {
            return schemagrammar_refuse(&g->schemas, ERR_UNSUPPORTED, "\"%s\" is not supported for "
                                        "arguments as a whole in this chat format", whole[i]);
        }
    }
    err e = schemagrammar_visit(&g->schemas, schema, &json); /* says what is wrong with it */
    strbuf_deinit(&json);
    TRY(e);
    json_object_foreach(properties, name, value) {
        bool must = toolgrammar_dsml_requires(schema, name);
        any = any || must;
        TRY(json_is_false(value) ? ERR_OK : toolgrammar_dsml_parameter(g, name, value, must, out));
    }
    const json_t *other = more ? more : json_true();
    for (size_t i = 0; i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        if (!json_object_get(properties, name)) {
            TRY(toolgrammar_dsml_parameter(g, name, other, true, out));
            any = true;
        }
    }
    if (!properties && !json_is_false(more) && json_array_size(required) == 0) {
        TRY(toolgrammar_dsml_free(g, other, out));
    }
    return any ? ERR_OK : strbuf_puts(out, "\"\\n\"?"); /* a call without parameters has an empty line */
}

/* text/schemagrammar_object.c: objects. Properties come in order; a rule for what may follow once
 * property i is decided, one with nothing before it and one that begins with a comma. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/schemagrammar_data.h"
#include "text/utf8.h"

enum { SCHEMAGRAMMAR_OBJECT_NAME_MAX = 256 }; /* bytes of a name beside which others may stand */

struct schemagrammar_object {
    const char **names;
    char **pairs; /* expression of `"name": value`; owned */
    bool *required;
    size_t n;
    struct strbuf other; /* expression of an additional pair; empty: none may come */
};

static bool schemagrammar_object_lists(const json_t *required, const char *name)
{
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *r = json_string_value(json_array_get(required, i));
        if (r && strcmp(r, name) == 0) {
            return true;
        }
    }
    return false;
}

static err schemagrammar_object_check(struct schemagrammar *s, const json_t *schema)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    if (properties && !json_is_object(properties)) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"properties\" is %s; expected an object",
                                    json_type_name(properties));
    }
    if (required && !json_is_array(required)) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"required\" is %s; expected a list of names",
                                    json_type_name(required));
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        if (!json_is_string(json_array_get(required, i))) {
            return schemagrammar_refuse(s, ERR_ARGUMENT, "\"required\" holds %s; expected names",
                                        json_type_name(json_array_get(required, i)));
        }
    }
    return ERR_OK;
}

static err schemagrammar_object_add(struct schemagrammar *s, struct schemagrammar_object *o,
                                    const char *name, const json_t *value, bool required)
{
    struct strbuf pair = {0};
    size_t back;
    json_t *text = json_string(name);
    err e = text ? schemagrammar_literal(text, &pair) : ERR_NOMEM;
    json_decref(text);
    e = e == ERR_OK ? strbuf_puts(&pair, " \":\" space ") : e;
    err entered = schemagrammar_enter(s, name, &back);
    e = e == ERR_OK ? entered : e;
    e = e == ERR_OK ? schemagrammar_visit(s, value, &pair) : e;
    schemagrammar_leave(s, back);
    e = e == ERR_OK ? strbuf_take(&pair, &o->pairs[o->n]) : e;
    strbuf_deinit(&pair);
    if (e == ERR_OK) {
        o->names[o->n] = name;
        o->required[o->n++] = required;
    }
    return e;
}

/* ---- names that are none of the given ones ---- */

static int schemagrammar_object_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The rest of a name that begins as names[0 … n) do for `at` bytes, and is none of them. They are
 * in order. */
static err schemagrammar_object_unlike(struct schemagrammar *s, const char **names, size_t n,
                                       size_t at, struct strbuf *out)
{
    struct strbuf body = {0}, others = {0};
    bool may_end = true;
    err e = ERR_OK;
    for (size_t i = 0, k; i < n && e == ERR_OK; i = k) {
        unsigned char c = (unsigned char)names[i][at];
        size_t len = c ? utf8_step(names[i][at]) : 0;
        for (k = i + 1; k < n && strncmp(names[k] + at, names[i] + at, len) == 0 && len > 0; k++) {}
        if (len == 0) {
            may_end = false;
        } else {
            uint32_t point = utf8_point(names[i] + at, len);
            e = strbuf_printf(&others, "\\U%08X", (unsigned)point);
            e = e == ERR_OK ? strbuf_printf(&body, "[\\U%08X] ", (unsigned)point) : e;
            e = e == ERR_OK ? schemagrammar_object_unlike(s, names + i, k - i, at + len, &body) : e;
            e = e == ERR_OK ? strbuf_puts(&body, " | ") : e;
        }
    }
    e = e == ERR_OK ? strbuf_printf(&body, "[^\"\\\\\\x00-\\x1f%s] plain*%s",
                                    others.len ? others.data : "", may_end ? " | \"\"" : "")
                    : e;
    e = e == ERR_OK ? schemagrammar_rule(s, &body, out) : e;
    strbuf_deinit(&body);
    strbuf_deinit(&others);
    return e;
}

/* Names a plain spelling can never be: those with something to escape. */
static bool schemagrammar_object_escaped(const char *name)
{
    for (; *name; name++) {
        if (*name == '"' || *name == '\\' || (unsigned char)*name < 0x20) {
            return true;
        }
    }
    return false;
}

/* Those of `names` that additional properties could have, into list[*n]. */
static err schemagrammar_object_taken(struct schemagrammar *s, const char *name, const char **list, size_t *n)
{
    if (strlen(name) > SCHEMAGRAMMAR_OBJECT_NAME_MAX) {
        return schemagrammar_refuse(s, ERR_LIMIT, "\"additionalProperties\" beside a name of over %d bytes",
                                    SCHEMAGRAMMAR_OBJECT_NAME_MAX);
    }
    if (!schemagrammar_object_escaped(name)) {
        list[(*n)++] = name;
    }
    return ERR_OK;
}

/* A name that is neither among the properties, those that may not be there included, nor required. */
static err schemagrammar_object_other_name(struct schemagrammar *s, const struct schemagrammar_object *o,
                                           json_t *properties, struct strbuf *out)
{
    size_t n = 0, most = o->n + json_object_size(properties);
    const char *name;
    json_t *value;
    if (most == 0) {
        return strbuf_puts(out, "string");
    }
    const char **names = mem_calloc(most, sizeof *names);
    err e = names ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < o->n && e == ERR_OK; i++) {
        e = schemagrammar_object_taken(s, o->names[i], names, &n);
    }
    json_object_foreach(properties, name, value) {
        if (e == ERR_OK && json_is_false(value)) {
            e = schemagrammar_object_taken(s, name, names, &n);
        }
    }
    if (e == ERR_OK && n > 0) {
        qsort(names, n, sizeof *names, schemagrammar_object_compare);
    }
    e = e == ERR_OK ? strbuf_puts(out, "\"\\\"\" ") : e;
    e = e == ERR_OK ? schemagrammar_object_unlike(s, names, n, 0, out) : e;
    e = e == ERR_OK ? strbuf_puts(out, " \"\\\"\"") : e;
    mem_free(names);
    return e;
}

/* Properties, required names that have no schema, and what else may come. */
static err schemagrammar_object_read(struct schemagrammar *s, const json_t *schema,
                                     struct schemagrammar_object *o)
{
    json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *name;
    json_t *value;
    size_t back;
    err e = schemagrammar_enter(s, "properties", &back);
    json_object_foreach(properties, name, value)
    {
        bool must = schemagrammar_object_lists(required, name);
        if (e == ERR_OK && (must || !json_is_false(value))) {
            e = schemagrammar_object_add(s, o, name, value, must);
        }
    }
    schemagrammar_leave(s, back);
    TRY(e);
    bool closed = json_is_false(more) || (!more && properties);
    TRY(schemagrammar_enter(s, "additionalProperties", &back));
    for (size_t i = 0; i < json_array_size(required) && e == ERR_OK; i++) {
        name = json_string_value(json_array_get(required, i));
        bool known = json_object_get(properties, name) != NULL;
        for (size_t k = 0; k < o->n; k++) {
            known |= strcmp(o->names[k], name) == 0;
        }
        if (!known && json_is_false(more)) {
            e = schemagrammar_refuse(s, ERR_ARGUMENT, "\"%.60s\" is required and may not be there",
                                     name);
        } else if (!known) {
            e = schemagrammar_object_add(s, o, name, more ? more : json_true(), true);
        }
    }
    if (e == ERR_OK && !closed) {
        e = schemagrammar_object_other_name(s, o, properties, &o->other);
        e = e == ERR_OK ? strbuf_puts(&o->other, " \":\" space ") : e;
        e = e == ERR_OK ? schemagrammar_visit(s, more ? more : json_true(), &o->other) : e;
    }
    schemagrammar_leave(s, back);
    return e;
}

/* ---- the rules ---- */

/* Everything from property i on, made from the last to the first: `begun` when a pair came before.
 * The names of the rules behind are in rest[0] (nothing before) and rest[1]. */
static err schemagrammar_object_step(struct schemagrammar *s, const struct schemagrammar_object *o,
                                     size_t i, bool begun, struct strbuf rest[2],
                                     struct strbuf *out)
{
    struct strbuf body = {0};
    const char *comma = begun ? "\",\" space " : "";
    err e;
    if (i < o->n) {
        e = strbuf_printf(&body, "%s%s %s", comma, o->pairs[i], rest[1].data);
        if (e == ERR_OK && !o->required[i]) {
            e = strbuf_printf(&body, " | %s", rest[begun].data);
        }
    } else if (o->other.len == 0) {
        e = strbuf_puts(&body, begun ? "space" : "\"\"");
    } else if (begun) {
        e = strbuf_printf(&body, "(\",\" space %s)* space", o->other.data);
    } else {
        e = strbuf_printf(&body, "(%s (\",\" space %s)* space)?", o->other.data, o->other.data);
    }
    e = e == ERR_OK ? schemagrammar_rule(s, &body, out) : e;
    strbuf_deinit(&body);
    return e;
}

static err schemagrammar_object_write(struct schemagrammar *s, const struct schemagrammar_object *o,
                                      struct strbuf *out)
{
    struct strbuf rest[2] = {{0}};
    err e = ERR_OK;
    for (size_t i = o->n + 1; i-- > 0 && e == ERR_OK;) {
        struct strbuf now[2] = {{0}};
        for (int begun = 0; begun < 2 && e == ERR_OK; begun++) {
            e = schemagrammar_object_step(s, o, i, begun, rest, &now[begun]);
        }
        strbuf_deinit(&rest[0]);
        strbuf_deinit(&rest[1]);
        memcpy(rest, now, sizeof rest);
    }
    e = e == ERR_OK ? strbuf_printf(out, "\"{\" space %s \"}\"", rest[0].data) : e;
    strbuf_deinit(&rest[0]);
    strbuf_deinit(&rest[1]);
    return e;
}

err schemagrammar_object(struct schemagrammar *s, const json_t *schema, struct strbuf *out)
{
    TRY(schemagrammar_object_check(s, schema));
    size_t most = json_object_size(json_object_get(schema, "properties")) +
                  json_array_size(json_object_get(schema, "required"));
    struct schemagrammar_object o = {.names = mem_calloc(most, sizeof *o.names),
                                     .pairs = mem_calloc(most, sizeof *o.pairs),
                                     .required = mem_calloc(most, sizeof *o.required)};
    err e = o.names && o.pairs && o.required ? schemagrammar_object_read(s, schema, &o) : ERR_NOMEM;
    e = e == ERR_OK ? schemagrammar_object_write(s, &o, out) : e;
    for (size_t i = 0; i < o.n; i++) {
        mem_free(o.pairs[i]);
    }
    mem_free(o.names);
    mem_free(o.pairs);
    mem_free(o.required);
    strbuf_deinit(&o.other);
    return e;
}

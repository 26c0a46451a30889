/* text/schemagrammar.c: see schemagrammar.h: a schema becomes the text of a grammar, schema inside
 * schema; what a $ref names becomes a rule, once. */
#include "text/schemagrammar.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/schemagrammar_data.h"

/* What every grammar has: JSON without a schema, and the formats. Feb 29 comes in leap years alone.
 * A surrogate is written as the character it is part of, never as an escape; and there is no \u0000, which many
 * readers refuse. */
static const char schemagrammar_basis[] =
    "value ::= object | array | string | number | boolean | null\n"
    "object ::= \"{\" space (string \":\" space value (\",\" space string \":\" space value)* "
    "space)? \"}\"\n"
    "array ::= \"[\" space (value (\",\" space value)* space)? \"]\"\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" scalar)\n"
    "scalar ::= [1-9a-cA-CeEfF] hex{3} | [dD] [0-7] hex{2} |\n"
    "  \"0\" (some hex{2} | \"0\" (some hex | \"0\" some))\n"
    "some ::= [1-9a-fA-F]\n"
    "hex ::= [0-9a-fA-F]\n"
    "plain ::= [^\"\\\\\\x00-\\x1f]\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "boolean ::= \"true\" | \"false\"\n"
    "null ::= \"null\"\n"
    "space ::= (\" \" | \"\\n\" \" \"{0,16})?\n"
    "date ::= year \"-\" day | leap \"-02-29\"\n"
    "year ::= \"000\" [1-9] | \"00\" [1-9] [0-9] | \"0\" [1-9] [0-9]{2} | [1-9] [0-9]{3}\n"
    "leap ::= [0-9]{2} (\"0\" [48] | four) | (\"0\" [48] | four) \"00\"\n"
    "four ::= [2468] [048] | [13579] [26]\n"
    "day ::= (\"0\" [13578] | \"1\" [02]) \"-\" (upto29 | \"3\" [01]) |\n"
    "  (\"0\" [469] | \"11\") \"-\" (upto29 | \"30\") | \"02-\" (\"0\" [1-9] | \"1\" [0-9] | \"2\" "
    "[0-8])\n"
    "upto29 ::= \"0\" [1-9] | [12] [0-9]\n"
    "time ::= clock \":\" [0-5] [0-9] (\".\" [0-9]{1,6})? (\"Z\" | [-+] clock)\n"
    "clock ::= ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9]\n"
    "date-time ::= date \"T\" time\n"
    "uuid ::= hex{8} (\"-\" hex{4}){3} \"-\" hex{12}\n"
    "email ::= atom (\".\" atom){0,4} \"@\" label (\".\" label){1,4}\n"
    "atom ::= [a-zA-Z0-9_+-]{1,15}\n"
    "hostname ::= label (\".\" label){0,6}\n"
    "label ::= alnum (alnum | \"-\" alnum){0,15}\n"
    "alnum ::= [a-zA-Z0-9]\n"
    "ipv4 ::= octet (\".\" octet){3}\n"
    "octet ::= \"25\" [0-5] | \"2\" [0-4] [0-9] | \"1\" [0-9]{2} | [1-9]? [0-9]\n"
    "ipv6 ::= (h \":\"){7} h | \"::\" (h (\":\" h){0,6})? | h \"::\" (h (\":\" h){0,5})? |\n"
    "  h \":\" h \"::\" (h (\":\" h){0,4})? | h (\":\" h){2} \"::\" (h (\":\" h){0,3})? |\n"
    "  h (\":\" h){3} \"::\" (h (\":\" h){0,2})? | h (\":\" h){4} \"::\" (h (\":\" h)?)? |\n"
    "  h (\":\" h){5} \"::\" h? | h (\":\" h){6} \"::\"\n"
    "h ::= hex{1,4}\n";

err schemagrammar_refuse(struct schemagrammar *s, err code, const char *fmt, ...)
{
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    int shown = s->path.len < 300 ? (int)s->path.len : 300;
    return err_set(s->info, code, "schema, at #%.*s: %s", shown, s->path.len ? s->path.data : "",
                   what);
}

err schemagrammar_enter(struct schemagrammar *s, const char *key, size_t *back)
{
    *back = s->path.len;
    err e = strbuf_puts(&s->path, "/");
    for (const char *p = key; *p && e == ERR_OK; p++) {
        e = *p == '~'   ? strbuf_puts(&s->path, "~0")
            : *p == '/' ? strbuf_puts(&s->path, "~1")
                        : strbuf_append(&s->path, p, 1);
    }
    if (e == ERR_OK &&
        s->depth == SCHEMAGRAMMAR_DEPTH_MAX * 2) { /* a keyword and what is under it */
        e = schemagrammar_refuse(s, ERR_LIMIT, "schemas inside more than %d schemas",
                                 SCHEMAGRAMMAR_DEPTH_MAX);
    }
    if (e != ERR_OK) {
        schemagrammar_leave(s, *back);
        s->depth++;
        return e;
    }
    s->depth++;
    return ERR_OK;
}

void schemagrammar_leave(struct schemagrammar *s, size_t back)
{
    if (s->path.data) {
        s->path.len = back;
        s->path.data[back] = '\0';
    }
    s->depth--;
}

err schemagrammar_rule(struct schemagrammar *s, const struct strbuf *body, struct strbuf *out)
{
    unsigned n = s->n_rules++;
    TRY(strbuf_printf(&s->rules, "r%u ::= ", n));
    TRY(strbuf_append(&s->rules, body->data ? body->data : "", body->len));
    TRY(strbuf_puts(&s->rules, "\n"));
    if (s->rules.len > GRAMMAR_TEXT_MAX) {
        return schemagrammar_refuse(s, ERR_LIMIT, "the schema's grammar is over %d bytes",
                                    GRAMMAR_TEXT_MAX);
    }
    return strbuf_printf(out, "r%u", n);
}

/* A number in the fewest digits that give it back. */
static err schemagrammar_value_text(const json_t *value, char **out)
{
    for (size_t digits = 15;; digits++) {
        json_t *again = NULL;
        size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(digits);
        TRY(json_text(value, flags, out));
        err e = json_parse(*out, strlen(*out), "value", &again, NULL);
        bool same = e == ERR_OK && json_equal(again, value);
        json_decref(again);
        if (e == ERR_NOMEM || (!same && digits < 17)) {
            mem_free(*out);
            TRY(e == ERR_NOMEM ? e : ERR_OK);
            continue;
        }
        return ERR_OK;
    }
}

err schemagrammar_literal(const json_t *value, struct strbuf *out)
{
    char *text;
    TRY(schemagrammar_value_text(value, &text));
    err e = strbuf_puts(out, "\"");
    for (const char *p = text; *p && e == ERR_OK; p++) {
        e = *p == '"' || *p == '\\' ? strbuf_puts(out, "\\") : ERR_OK;
        e = e == ERR_OK ? strbuf_append(out, p, 1) : e;
    }
    mem_free(text);
    return e == ERR_OK ? strbuf_puts(out, "\"") : e;
}

err schemagrammar_count(struct schemagrammar *s, const json_t *schema, const char *key,
                        size_t absent, size_t *out)
{
    const json_t *value = json_object_get(schema, key);
    uint64_t n;
    *out = absent;
    if (!value) {
        return ERR_OK;
    }
    if (!json_as_u64(value, &n)) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"%s\" is %s; expected a count", key,
                                    json_type_name(value));
    }
    if (n > GRAMMAR_REPEAT_MAX) {
        return schemagrammar_refuse(s, ERR_LIMIT, "\"%s\" is over %d", key, GRAMMAR_REPEAT_MAX);
    }
    *out = (size_t)n;
    return ERR_OK;
}

/* ---- values ---- */

/* const and enum: those of the values that have one of the kinds. */
static err schemagrammar_values(struct schemagrammar *s, const json_t *schema, struct strbuf *out)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    const json_t *type = json_object_get(schema, "type");
    unsigned kinds = SCHEMAGRAMMAR_ANY;
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    {
        bool known =
            strcmp(key, "enum") == 0 || strcmp(key, "const") == 0 || strcmp(key, "type") == 0;
        if (!known && !schemagrammar_keywords_annotation(key)) {
            return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                        "\"%s\" beside enum or const is not supported", key);
        }
    }
    if (type) {
        TRY(schemagrammar_keywords_kinds(s, schema, &kinds));
    }
    if (list && !json_is_array(list)) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"enum\" is %s; expected a list",
                                    json_type_name(list));
    }
    TRY(strbuf_puts(out, "("));
    for (size_t i = 0; i < (list ? json_array_size(list) : 1); i++) {
        const json_t *v = list ? json_array_get(list, i) : one;
        bool both = !list || !one || schemagrammar_keywords_same(v, one);
        if ((schemagrammar_keywords_kind_of(v) & kinds) && both) {
            TRY(n++ > 0 ? strbuf_puts(out, " | ") : ERR_OK);
            TRY(schemagrammar_literal(v, out));
        }
    }
    if (n == 0) {
        return schemagrammar_refuse(s, ERR_ARGUMENT,
                                    "no value of enum or const is of the type wanted");
    }
    return strbuf_puts(out, ")");
}

static err schemagrammar_kind(struct schemagrammar *s, const json_t *schema, unsigned kind,
                              struct strbuf *out)
{
    switch (kind) {
    case SCHEMAGRAMMAR_NULL: return strbuf_puts(out, "null");
    case SCHEMAGRAMMAR_BOOLEAN: return strbuf_puts(out, "boolean");
    case SCHEMAGRAMMAR_INTEGER: return schemagrammar_number(s, schema, true, out);
    case SCHEMAGRAMMAR_NUMBER: return schemagrammar_number(s, schema, false, out);
    case SCHEMAGRAMMAR_STRING: return schemagrammar_string(s, schema, out);
    case SCHEMAGRAMMAR_ARRAY: return schemagrammar_array(s, schema, out);
    default: return schemagrammar_object(s, schema, out);
    }
}

static err schemagrammar_kinds(struct schemagrammar *s, const json_t *schema, struct strbuf *out)
{
    static const unsigned order[] = {
        SCHEMAGRAMMAR_OBJECT,  SCHEMAGRAMMAR_ARRAY,   SCHEMAGRAMMAR_STRING, SCHEMAGRAMMAR_NUMBER,
        SCHEMAGRAMMAR_INTEGER, SCHEMAGRAMMAR_BOOLEAN, SCHEMAGRAMMAR_NULL};
    unsigned kinds;
    size_t n = 0;
    TRY(schemagrammar_keywords_kinds(s, schema, &kinds));
    if (kinds == SCHEMAGRAMMAR_ANY && !json_object_get(schema, "type")) {
        return strbuf_puts(out, "value");
    }
    TRY(strbuf_puts(out, "("));
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if ((kinds & order[i]) == order[i]) {
            kinds &= ~order[i];
            TRY(n++ > 0 ? strbuf_puts(out, " | ") : ERR_OK);
            TRY(schemagrammar_kind(s, schema, order[i], out));
        }
    }
    return n > 0 ? strbuf_puts(out, ")")
                 : schemagrammar_refuse(s, ERR_ARGUMENT, "no type is left that a value could have");
}

/* ---- alternatives ---- */

static err schemagrammar_exclusive(struct schemagrammar *s, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        for (size_t k = 0; k < i; k++) {
            bool apart;
            TRY(schemagrammar_merge_apart(s, json_array_get(list, k), json_array_get(list, i),
                                          &apart));
            if (!apart) {
                return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                            "a value might match schemas %zu and %zu of "
                                            "\"oneOf\", which may not be; \"anyOf\" would do",
                                            k, i);
            }
        }
    }
    return ERR_OK;
}

/* The schemas of a list, each with what stands beside the list. */
static err schemagrammar_each(struct schemagrammar *s, const json_t *list, const json_t *beside,
                              struct strbuf *out)
{
    TRY(strbuf_puts(out, "("));
    for (size_t i = 0; i < json_array_size(list); i++) {
        char number[24];
        size_t back;
        json_t *both = NULL;
        snprintf(number, sizeof number, "%zu", i);
        TRY(i > 0 ? strbuf_puts(out, " | ") : ERR_OK);
        TRY(schemagrammar_enter(s, number, &back));
        err e = beside ? schemagrammar_merge(s, beside, json_array_get(list, i), &both) : ERR_OK;
        e = e == ERR_OK ? schemagrammar_visit(s, beside ? both : json_array_get(list, i), out) : e;
        json_decref(both);
        schemagrammar_leave(s, back);
        TRY(e);
    }
    return strbuf_puts(out, ")");
}

/* What stands beside `key`, annotations left out; *out NULL: nothing. */
static err schemagrammar_beside(const json_t *schema, const char *key, json_t **out)
{
    json_t *rest = json_object();
    const char *k;
    json_t *value;
    int failed = rest ? 0 : -1;
    json_object_foreach((json_t *)(uintptr_t)schema, k, value)
    {
        if (strcmp(k, key) != 0 && !schemagrammar_keywords_annotation(k)) {
            failed |= json_object_set(rest, k, value);
        }
    }
    *out = NULL;
    if (!failed && json_object_size(rest) > 0) {
        *out = rest;
        return ERR_OK;
    }
    json_decref(rest);
    return failed ? ERR_NOMEM : ERR_OK;
}

static err schemagrammar_alternatives(struct schemagrammar *s, const json_t *schema,
                                      const char *key, struct strbuf *out)
{
    const json_t *list = json_object_get(schema, key);
    json_t *beside;
    size_t back;
    if (json_array_size(list) == 0) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"%s\" is %s; expected a list of schemas",
                                    key,
                                    json_is_array(list) ? "an empty list" : json_type_name(list));
    }
    TRY(strcmp(key, "oneOf") == 0 ? schemagrammar_exclusive(s, list) : ERR_OK);
    TRY(schemagrammar_beside(schema, key, &beside));
    err e = schemagrammar_enter(s, key, &back);
    if (e == ERR_OK) {
        e = schemagrammar_each(s, list, beside, out);
    }
    schemagrammar_leave(s, back);
    json_decref(beside);
    return e;
}

/* ---- references ---- */

/* The rule of what a pointer names, made when it is first asked for. */
static err schemagrammar_ref(struct schemagrammar *s, const char *ref, struct strbuf *out)
{
    const json_t *known = json_object_get(s->refs, ref), *target;
    if (known) {
        return strbuf_printf(out, "ref%d", (int)json_integer_value(known));
    }
    TRY(schemagrammar_merge_find(s, ref, &target));
    unsigned number = s->n_refs++;
    if (json_object_set_new(s->refs, ref, json_integer(number)) != 0) {
        return ERR_NOMEM;
    }
    struct strbuf body = {0}, path = s->path;
    s->path = (struct strbuf){0};
    err e = strbuf_puts(&s->path, ref + 1);
    s->depth++;
    e = e == ERR_OK && s->depth >= SCHEMAGRAMMAR_DEPTH_MAX * 2
            ? schemagrammar_refuse(s, ERR_LIMIT, "schemas inside more than %d schemas",
                                   SCHEMAGRAMMAR_DEPTH_MAX)
            : e;
    e = e == ERR_OK ? schemagrammar_visit(s, target, &body) : e;
    s->depth--;
    strbuf_deinit(&s->path);
    s->path = path;
    if (e == ERR_OK) {
        e = strbuf_printf(&s->rules, "ref%u ::= %s\n", number, body.data);
    }
    strbuf_deinit(&body);
    return e == ERR_OK ? strbuf_printf(out, "ref%u", number) : e;
}

static err schemagrammar_joined(struct schemagrammar *s, const json_t *schema, struct strbuf *out)
{
    json_t *flat = NULL;
    TRY(schemagrammar_merge_flat(s, schema, &flat));
    err e = schemagrammar_visit(s, flat, out);
    json_decref(flat);
    return e;
}

/* A $ref with nothing beside it. */
static const char *schemagrammar_only_ref(const json_t *schema)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    {
        if (strcmp(key, "$ref") != 0 && !schemagrammar_keywords_annotation(key)) {
            return NULL;
        }
    }
    return json_string_value(json_object_get(schema, "$ref"));
}

err schemagrammar_visit(struct schemagrammar *s, const json_t *schema, struct strbuf *out)
{
    if (++s->visits > SCHEMAGRAMMAR_VISITS_MAX) {
        return schemagrammar_refuse(s, ERR_LIMIT, "more than %d schemas to look at",
                                    SCHEMAGRAMMAR_VISITS_MAX);
    }
    if (json_is_true(schema)) {
        return strbuf_puts(out, "value");
    }
    if (!json_is_object(schema)) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "found %s, expected a schema: an object",
                                    json_is_false(schema) ? "false, which no value matches"
                                                          : json_type_name(schema));
    }
    TRY(schemagrammar_keywords_check(s, schema));
    const char *ref = schemagrammar_only_ref(schema);
    if (ref) {
        return schemagrammar_ref(s, ref, out);
    }
    if (json_object_get(schema, "$ref") || json_object_get(schema, "allOf")) {
        return schemagrammar_joined(s, schema, out);
    }
    if (json_object_get(schema, "anyOf")) {
        return schemagrammar_alternatives(s, schema, "anyOf", out);
    }
    if (json_object_get(schema, "oneOf")) {
        return schemagrammar_alternatives(s, schema, "oneOf", out);
    }
    if (json_object_get(schema, "enum") || json_object_get(schema, "const")) {
        return schemagrammar_values(s, schema, out);
    }
    return schemagrammar_kinds(s, schema, out);
}

/* ---- the whole ---- */

err schemagrammar_begin(struct schemagrammar *s, const json_t *root)
{
    json_decref(s->refs);
    s->refs = json_object();
    s->root = root;
    return s->refs ? ERR_OK : ERR_NOMEM;
}

err schemagrammar_end(struct schemagrammar *s, struct strbuf *text)
{
    TRY(strbuf_puts(text, "\n"));
    TRY(strbuf_append(text, s->rules.data ? s->rules.data : "", s->rules.len));
    return strbuf_puts(text, schemagrammar_basis);
}

void schemagrammar_deinit(struct schemagrammar *s)
{
    json_decref(s->refs);
    strbuf_deinit(&s->rules);
    strbuf_deinit(&s->path);
}

static err schemagrammar_all(struct schemagrammar *s, const json_t *schema, struct strbuf *text)
{
    TRY(schemagrammar_begin(s, schema));
    TRY(strbuf_puts(text, "root ::= "));
    TRY(schema ? schemagrammar_visit(s, schema, text) : strbuf_puts(text, "object"));
    return schemagrammar_end(s, text);
}

err schemagrammar_text(const json_t *schema, char **out, struct errinfo *info)
{
    struct errinfo own;
    struct schemagrammar s = {.info = info ? info : &own};
    struct strbuf text = {0};
    s.info->message[0] = '\0';
    err e = schemagrammar_all(&s, schema, &text);
    e = e == ERR_OK ? strbuf_take(&text, out) : e;
    if (e == ERR_NOMEM) {
        e = err_set(info, e, "out of memory for the grammar of a schema");
    }
    schemagrammar_deinit(&s);
    strbuf_deinit(&text);
    return e;
}

err schemagrammar_new(const json_t *schema, struct grammar **out, struct errinfo *info)
{
    char *text;
    TRY(schemagrammar_text(schema, &text, info));
    err e = grammar_new(text, strlen(text), out, info);
    mem_free(text);
    return e == ERR_OK ? ERR_OK : err_prefix(info, e, "the grammar made of the schema: ");
}

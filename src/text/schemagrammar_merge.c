/* text/schemagrammar_merge.c: schemas that hold together as one: allOf, what stands beside $ref,
 * anyOf and oneOf. What cannot be joined exactly is refused. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/schemagrammar_data.h"

enum { SCHEMAGRAMMAR_MERGE_CHAIN_MAX = 32 }; /* $ref to $ref to … */

err schemagrammar_merge_find(struct schemagrammar *s, const char *ref, const json_t **out)
{
    const json_t *at = s->root;
    struct strbuf key = {0};
    if (ref[0] != '#' || (ref[1] != '\0' && ref[1] != '/')) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                    "\"$ref\" to %.80s is not supported; \"#/…\" is", ref);
    }
    err e = ERR_OK;
    for (const char *p = ref + 1; *p == '/' && at && e == ERR_OK;) {
        strbuf_clear(&key);
        e = strbuf_puts(&key, "");
        for (p++; *p && *p != '/' && e == ERR_OK; p++) {
            char c = *p;
            if (c == '~' && (p[1] == '0' || p[1] == '1')) {
                c = *++p == '0' ? '~' : '/';
            }
            e = strbuf_append(&key, &c, 1);
        }
        if (e == ERR_OK && json_is_array(at)) {
            char *end;
            unsigned long long i = strtoull(key.data, &end, 10);
            at = key.len > 0 && *end == '\0' ? json_array_get(at, (size_t)i) : NULL;
        } else if (e == ERR_OK) {
            at = json_object_get(at, key.data);
        }
        if (e == ERR_OK && at != s->root && json_is_string(json_object_get(at, "$id"))) {
            e = schemagrammar_keywords_id(s); /* what is inside has another root */
        }
    }
    strbuf_deinit(&key);
    TRY(e);
    if (!at) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"$ref\" to %.80s: there is nothing there",
                                    ref);
    }
    *out = at;
    return ERR_OK;
}

/* ---- one keyword ---- */

static double schemagrammar_merge_real(const json_t *v)
{
    return json_number_value(v);
}

static err schemagrammar_merge_set(json_t *into, const char *key, json_t *take_value)
{
    return json_object_set_new(into, key, take_value) == 0 ? ERR_OK
                                                           : ERR_NOMEM; /* takes it always */
}

/* {"allOf": [a, b]} */
static json_t *schemagrammar_merge_both(json_t *a, json_t *b)
{
    return json_pack("{s:[O,O]}", "allOf", a, b);
}

/* What property `key` of one schema must be in the other, which does not name it. *drop: it may not
 * be there. */
static err schemagrammar_merge_stranger(const json_t *other, json_t *value, json_t **out)
{
    json_t *more = json_object_get(other, "additionalProperties");
    *out = !more || json_is_true(more) ? json_incref(value)
           : json_is_false(more)       ? json_false()
                                       : schemagrammar_merge_both(value, more);
    return *out ? ERR_OK : ERR_NOMEM;
}

/* Properties of both. One that the other schema rules out stays, as false. */
static err schemagrammar_merge_properties(struct schemagrammar *s, const json_t *a, const json_t *b,
                                          json_t *into)
{
    json_t *pa = json_object_get(a, "properties"), *pb = json_object_get(b, "properties");
    if ((pa && !json_is_object(pa)) || (pb && !json_is_object(pb))) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"properties\" is not an object");
    }
    json_t *all = json_object(), *value, *joined;
    const char *key;
    err e = all ? ERR_OK : ERR_NOMEM;
    json_object_foreach(pa, key, value)
    {
        json_t *twin = json_object_get(pb, key);
        joined = NULL;
        if (e == ERR_OK && twin) {
            joined = json_equal(value, twin) ? json_incref(value)
                                             : schemagrammar_merge_both(value, twin);
            e = joined ? ERR_OK : ERR_NOMEM;
        } else if (e == ERR_OK) {
            e = schemagrammar_merge_stranger(b, value, &joined);
        }
        e = e == ERR_OK ? schemagrammar_merge_set(all, key, joined) : e;
    }
    json_object_foreach(pb, key, value)
    {
        if (e == ERR_OK && !json_object_get(pa, key)) {
            e = schemagrammar_merge_stranger(a, value, &joined);
            e = e == ERR_OK ? schemagrammar_merge_set(all, key, joined) : e;
        }
    }
    if (e == ERR_OK && (pa || pb)) {
        return schemagrammar_merge_set(into, "properties", all);
    }
    json_decref(all);
    return e;
}

/* Elements of a, and those of b too (all) or only those of both. */
static err schemagrammar_merge_lists(const json_t *a, const json_t *b, bool all, json_t **out)
{
    json_t *list = json_array();
    int failed = list ? 0 : -1;
    for (size_t i = 0; i < json_array_size(a); i++) {
        json_t *v = json_array_get(a, i);
        bool twin = all;
        for (size_t k = 0; k < json_array_size(b) && !twin; k++) {
            twin = schemagrammar_keywords_same(v, json_array_get(b, k));
        }
        failed |= twin ? json_array_append(list, v) : 0;
    }
    for (size_t i = 0; i < json_array_size(b) && all; i++) {
        failed |= json_array_append(list, json_array_get(b, i));
    }
    if (failed) {
        json_decref(list);
        return ERR_NOMEM;
    }
    *out = list;
    return ERR_OK;
}

static err schemagrammar_merge_types(struct schemagrammar *s, const json_t *a, const json_t *b,
                                     json_t **out)
{
    static const char *const names[] = {"null", "boolean", "integer", "string", "array", "object"};
    static const unsigned kinds[] = {SCHEMAGRAMMAR_NULL,    SCHEMAGRAMMAR_BOOLEAN,
                                     SCHEMAGRAMMAR_INTEGER, SCHEMAGRAMMAR_STRING,
                                     SCHEMAGRAMMAR_ARRAY,   SCHEMAGRAMMAR_OBJECT};
    unsigned x, y;
    TRY(schemagrammar_keywords_kinds(s, a, &x));
    TRY(schemagrammar_keywords_kinds(s, b, &y));
    json_t *list = json_array();
    int failed = list ? 0 : -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (x & y & kinds[i]) {
            bool fraction = kinds[i] == SCHEMAGRAMMAR_INTEGER && (x & y & SCHEMAGRAMMAR_FRACTION);
            failed |= json_array_append_new(list, json_string(fraction ? "number" : names[i]));
        }
    }
    if (failed) {
        json_decref(list);
        return ERR_NOMEM;
    }
    *out = list;
    return ERR_OK;
}

/* Both schemas have `key`, with different values. */
static err schemagrammar_merge_key(struct schemagrammar *s, const char *key, const json_t *a,
                                   const json_t *b, json_t **out)
{
    static const char *const larger[] = {"minimum", "exclusiveMinimum", "minLength", "minItems"};
    static const char *const smaller[] = {"maximum", "exclusiveMaximum", "maxLength", "maxItems"};
    json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    for (size_t i = 0; i < 4 && json_is_number(x) && json_is_number(y); i++) {
        bool up = strcmp(key, larger[i]) == 0, down = strcmp(key, smaller[i]) == 0;
        if (up || down) {
            bool first = (schemagrammar_merge_real(x) > schemagrammar_merge_real(y)) == up;
            *out = json_incref(first ? x : y);
            return ERR_OK;
        }
    }
    if (strcmp(key, "required") == 0 || strcmp(key, "enum") == 0) {
        return schemagrammar_merge_lists(x, y, key[0] == 'r', out);
    }
    if (strcmp(key, "type") == 0) {
        return schemagrammar_merge_types(s, a, b, out);
    }
    if (strcmp(key, "additionalProperties") == 0 || strcmp(key, "items") == 0) {
        bool none = json_is_false(x) || json_is_false(y);
        *out = none ? json_false() : schemagrammar_merge_both(x, y);
        return *out ? ERR_OK : ERR_NOMEM;
    }
    return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                "two different \"%s\" that both hold are not supported", key);
}

/* ---- two schemas ---- */

/* Where one has prefixItems, the other's items would begin behind them, too. */
static bool schemagrammar_merge_shifts(const json_t *a, const json_t *b)
{
    return json_object_get(a, "prefixItems") && !json_object_get(b, "prefixItems") &&
           json_object_get(b, "items");
}

/* Neither has $ref or allOf. */
static err schemagrammar_merge_objects(struct schemagrammar *s, const json_t *a, const json_t *b,
                                       json_t **out)
{
    json_t *into = json_object(), *value;
    const char *key;
    err e = into ? schemagrammar_merge_properties(s, a, b, into) : ERR_NOMEM;
    e = e == ERR_OK && (schemagrammar_merge_shifts(a, b) || schemagrammar_merge_shifts(b, a))
            ? schemagrammar_refuse(s, ERR_UNSUPPORTED, "\"items\" of one schema and \"prefixItems\" of "
                                   "another that both hold are not supported")
            : e;
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
    {
        json_t *twin = json_object_get(b, key), *joined = value;
        if (e != ERR_OK || strcmp(key, "properties") == 0 ||
            schemagrammar_keywords_annotation(key)) {
            continue;
        }
        if (twin && !json_equal(value, twin)) {
            e = schemagrammar_merge_key(s, key, a, b, &joined);
        } else {
            json_incref(joined);
        }
        e = e == ERR_OK ? schemagrammar_merge_set(into, key, joined) : e;
    }
    json_object_foreach((json_t *)(uintptr_t)b, key, value)
    {
        bool mine = strcmp(key, "properties") == 0 || json_object_get(a, key) != NULL;
        if (e == ERR_OK && !mine && !schemagrammar_keywords_annotation(key)) {
            e = schemagrammar_merge_set(into, key, json_incref(value));
        }
    }
    if (e != ERR_OK) {
        json_decref(into);
        return e;
    }
    *out = into;
    return ERR_OK;
}

err schemagrammar_merge(struct schemagrammar *s, const json_t *a, const json_t *b, json_t **out)
{
    json_t *x = NULL, *y = NULL;
    if (++s->merges > SCHEMAGRAMMAR_MERGES_MAX) {
        return schemagrammar_refuse(s, ERR_LIMIT, "more than %d schemas to join",
                                    SCHEMAGRAMMAR_MERGES_MAX);
    }
    err e = schemagrammar_merge_flat(s, a, &x);
    e = e == ERR_OK ? schemagrammar_merge_flat(s, b, &y) : e;
    if (e == ERR_OK && (json_is_true(x) || json_is_true(y))) {
        *out = json_incref(json_is_true(x) ? y : x);
    } else if (e == ERR_OK) {
        e = schemagrammar_merge_objects(s, x, y, out);
    }
    json_decref(x);
    json_decref(y);
    return e;
}

/* `schema` without `key`, and without the $id that the root may have: the copy is not the root. */
static err schemagrammar_merge_without(const json_t *schema, const char *key, json_t **out)
{
    *out = json_copy((json_t *)(uintptr_t)schema);
    if (!*out || json_object_size(*out) != json_object_size(schema) || json_object_del(*out, key) != 0) {
        return ERR_NOMEM;
    }
    json_object_del(*out, "$id");
    return ERR_OK;
}

/* *flat, which it takes, and one more schema. */
static err schemagrammar_merge_more(struct schemagrammar *s, json_t **flat, const json_t *more)
{
    json_t *joined = NULL;
    TRY(schemagrammar_merge(s, *flat, more, &joined));
    json_decref(*flat);
    *flat = joined;
    return ERR_OK;
}

static err schemagrammar_merge_open(struct schemagrammar *s, const json_t *schema, const char *key,
                                    json_t **out)
{
    const json_t *value = json_object_get(schema, key), *target;
    json_t *flat = NULL;
    err e = schemagrammar_merge_without(schema, key, &flat);
    if (e == ERR_OK && strcmp(key, "$ref") == 0) {
        const char *ref = json_string_value(value);
        e = ref ? schemagrammar_merge_find(s, ref, &target)
                : schemagrammar_refuse(s, ERR_ARGUMENT, "\"$ref\" is %s; expected a string",
                                       json_type_name(value));
        e = e == ERR_OK ? schemagrammar_merge_more(s, &flat, target) : e;
    } else if (e == ERR_OK && json_array_size(value) == 0) {
        e = schemagrammar_refuse(s, ERR_ARGUMENT, "\"allOf\" is %s; expected a list of schemas",
                                 json_is_array(value) ? "an empty list" : json_type_name(value));
    }
    for (size_t i = 0; e == ERR_OK && key[0] == 'a' && i < json_array_size(value); i++) {
        e = schemagrammar_merge_more(s, &flat, json_array_get(value, i));
    }
    if (e != ERR_OK) {
        json_decref(flat);
        return e;
    }
    *out = flat;
    return ERR_OK;
}

err schemagrammar_merge_flat(struct schemagrammar *s, const json_t *schema, json_t **out)
{
    if (json_is_true(schema)) {
        *out = json_true();
        return ERR_OK;
    }
    if (!json_is_object(schema)) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "found %s, expected a schema: an object",
                                    json_is_false(schema) ? "false, which no value matches"
                                                          : json_type_name(schema));
    }
    TRY(schemagrammar_keywords_check(s, schema));
    if (!json_object_get(schema, "$ref") && !json_object_get(schema, "allOf")) {
        *out = json_incref((json_t *)(uintptr_t)schema);
        return ERR_OK;
    }
    if (s->depth >= SCHEMAGRAMMAR_DEPTH_MAX * 2) {
        return schemagrammar_refuse(s, ERR_LIMIT, "schemas inside more than %d schemas",
                                    SCHEMAGRAMMAR_DEPTH_MAX);
    }
    s->depth++;
    err e = schemagrammar_merge_open(s, schema, json_object_get(schema, "$ref") ? "$ref" : "allOf",
                                     out);
    s->depth--;
    return e;
}

/* ---- schemas that exclude each other ---- */

static err schemagrammar_merge_follow(struct schemagrammar *s, const json_t *schema,
                                      const json_t **out)
{
    for (int i = 0; i < SCHEMAGRAMMAR_MERGE_CHAIN_MAX && json_object_get(schema, "$ref"); i++) {
        const char *ref = json_string_value(json_object_get(schema, "$ref"));
        if (!ref) {
            break;
        }
        TRY(schemagrammar_merge_find(s, ref, &schema));
    }
    *out = schema;
    return ERR_OK;
}

/* Does a schema allow value v by its enum or const? True without these. */
static bool schemagrammar_merge_lets(const json_t *schema, const json_t *v)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    bool found = !list;
    for (size_t i = 0; i < json_array_size(list) && !found; i++) {
        found = schemagrammar_keywords_same(json_array_get(list, i), v);
    }
    return found && (!one || schemagrammar_keywords_same(one, v));
}

static bool schemagrammar_merge_values_apart(const json_t *a, const json_t *b)
{
    const json_t *list = json_object_get(a, "enum"), *one = json_object_get(a, "const");
    if (one) {
        return !schemagrammar_merge_lets(b, one);
    }
    bool apart = json_array_size(list) > 0;
    for (size_t i = 0; i < json_array_size(list) && apart; i++) {
        apart = !schemagrammar_merge_lets(b, json_array_get(list, i));
    }
    return apart;
}

static unsigned schemagrammar_merge_kinds(struct schemagrammar *s, const json_t *schema)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    unsigned kinds = SCHEMAGRAMMAR_ANY, values = 0;
    if (json_object_get(schema, "type") &&
        schemagrammar_keywords_kinds(s, schema, &kinds) != ERR_OK) {
        return SCHEMAGRAMMAR_ANY;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        values |= schemagrammar_keywords_kind_of(json_array_get(list, i));
    }
    values |= one ? schemagrammar_keywords_kind_of(one) : 0;
    return values ? kinds & values : kinds;
}

static bool schemagrammar_merge_requires(const json_t *schema, const char *name)
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

/* A property that a must have and whose values b never allows, or that b rules out. */
static err schemagrammar_merge_marked(struct schemagrammar *s, const json_t *a, const json_t *b,
                                      bool *yes)
{
    json_t *pa = json_object_get(a, "properties"), *pb = json_object_get(b, "properties"), *value;
    const char *name;
    json_object_foreach(pa, name, value)
    {
        const json_t *twin = json_object_get(pb, name), *x = value;
        if (*yes || !schemagrammar_merge_requires(a, name)) {
            continue;
        }
        if (!twin) {
            *yes = json_is_false(json_object_get(b, "additionalProperties"));
        } else if (schemagrammar_merge_requires(b, name)) {
            TRY(schemagrammar_merge_follow(s, value, &x));
            TRY(schemagrammar_merge_follow(s, twin, &twin));
            *yes = schemagrammar_merge_values_apart(x, twin) ||
                   schemagrammar_merge_values_apart(twin, x) ||
                   (schemagrammar_merge_kinds(s, x) & schemagrammar_merge_kinds(s, twin)) == 0;
        }
    }
    return ERR_OK;
}

err schemagrammar_merge_apart(struct schemagrammar *s, const json_t *a, const json_t *b, bool *yes)
{
    TRY(schemagrammar_merge_follow(s, a, &a));
    TRY(schemagrammar_merge_follow(s, b, &b));
    unsigned both = schemagrammar_merge_kinds(s, a) & schemagrammar_merge_kinds(s, b);
    *yes = both == 0 || schemagrammar_merge_values_apart(a, b) ||
           schemagrammar_merge_values_apart(b, a);
    if (!*yes && both == SCHEMAGRAMMAR_OBJECT) {
        TRY(schemagrammar_merge_marked(s, a, b, yes));
        TRY(schemagrammar_merge_marked(s, b, a, yes));
    }
    return ERR_OK;
}

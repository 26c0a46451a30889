/* text/schemagrammar_keywords.c: the words of JSON schemas: which we know, and of which kinds of
 * value they speak. */
#include <math.h>
#include <string.h>

#include "text/schemagrammar_data.h"

enum { SCHEMAGRAMMAR_KEYWORDS_NOTHING = 0, SCHEMAGRAMMAR_KEYWORDS_CORE = 128 };

static const struct {
    const char *word;
    unsigned about; /* kinds, CORE for all, NOTHING for annotations */
} schemagrammar_keywords[] = {
    {"type", SCHEMAGRAMMAR_KEYWORDS_CORE},
    {"enum", SCHEMAGRAMMAR_KEYWORDS_CORE},
    {"const", SCHEMAGRAMMAR_KEYWORDS_CORE},
    {"$ref", SCHEMAGRAMMAR_KEYWORDS_CORE},
    {"anyOf", SCHEMAGRAMMAR_KEYWORDS_CORE},
    {"oneOf", SCHEMAGRAMMAR_KEYWORDS_CORE},
    {"allOf", SCHEMAGRAMMAR_KEYWORDS_CORE},
    {"properties", SCHEMAGRAMMAR_OBJECT},
    {"required", SCHEMAGRAMMAR_OBJECT},
    {"additionalProperties", SCHEMAGRAMMAR_OBJECT},
    {"items", SCHEMAGRAMMAR_ARRAY},
    {"prefixItems", SCHEMAGRAMMAR_ARRAY},
    {"minItems", SCHEMAGRAMMAR_ARRAY},
    {"maxItems", SCHEMAGRAMMAR_ARRAY},
    {"minLength", SCHEMAGRAMMAR_STRING},
    {"maxLength", SCHEMAGRAMMAR_STRING},
    {"pattern", SCHEMAGRAMMAR_STRING},
    {"format", SCHEMAGRAMMAR_STRING},
    {"minimum", SCHEMAGRAMMAR_NUMBER},
    {"maximum", SCHEMAGRAMMAR_NUMBER},
    {"exclusiveMinimum", SCHEMAGRAMMAR_NUMBER},
    {"exclusiveMaximum", SCHEMAGRAMMAR_NUMBER},
    {"$defs", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"definitions", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"$schema", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"$id", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"$anchor", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"$comment", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"title", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"description", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"default", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"example", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"examples", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"deprecated", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"readOnly", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"writeOnly", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
    {"discriminator", SCHEMAGRAMMAR_KEYWORDS_NOTHING},
};

static int schemagrammar_keywords_find(const char *key)
{
    for (size_t i = 0; i < sizeof schemagrammar_keywords / sizeof *schemagrammar_keywords; i++) {
        if (strcmp(schemagrammar_keywords[i].word, key) == 0) {
            return (int)schemagrammar_keywords[i].about;
        }
    }
    return strncmp(key, "x-", 2) == 0 ? SCHEMAGRAMMAR_KEYWORDS_NOTHING : -1;
}

bool schemagrammar_keywords_annotation(const char *key)
{
    return schemagrammar_keywords_find(key) == SCHEMAGRAMMAR_KEYWORDS_NOTHING;
}

err schemagrammar_keywords_id(struct schemagrammar *s)
{
    return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                "\"$id\" below the root is not supported: it changes what \"$ref\" names");
}

err schemagrammar_keywords_check(struct schemagrammar *s, const json_t *schema)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    {
        bool harmless = strcmp(key, "uniqueItems") == 0 && json_is_false(value);
        if (schemagrammar_keywords_find(key) < 0 && !harmless) {
            return schemagrammar_refuse(s, ERR_UNSUPPORTED, "\"%.60s\" is not supported", key);
        }
        if (strcmp(key, "$id") == 0 && schema != s->root) {
            return schemagrammar_keywords_id(s);
        }
    }
    return ERR_OK;
}

unsigned schemagrammar_keywords_kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL: return SCHEMAGRAMMAR_NULL;
    case JSON_TRUE:
    case JSON_FALSE: return SCHEMAGRAMMAR_BOOLEAN;
    case JSON_INTEGER: return SCHEMAGRAMMAR_INTEGER;
    case JSON_REAL: {
        double v = json_real_value(value);
        return v == trunc(v) ? SCHEMAGRAMMAR_INTEGER : SCHEMAGRAMMAR_FRACTION;
    }
    case JSON_STRING: return SCHEMAGRAMMAR_STRING;
    case JSON_ARRAY: return SCHEMAGRAMMAR_ARRAY;
    default: return SCHEMAGRAMMAR_OBJECT;
    }
}

static bool schemagrammar_keywords_same_members(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;
    bool same = json_object_size(a) == json_object_size(b);
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
    {
        const json_t *twin = json_object_get(b, key);
        same = same && twin && schemagrammar_keywords_same(value, twin);
    }
    return same;
}

bool schemagrammar_keywords_same(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        return json_integer_value(a) == json_integer_value(b);
    }
    if (json_is_number(a) && json_is_number(b)) {
        return json_number_value(a) == json_number_value(b);
    }
    if (json_is_object(a) && json_is_object(b)) {
        return schemagrammar_keywords_same_members(a, b);
    }
    bool lists = json_is_array(a) && json_is_array(b), same = json_array_size(a) == json_array_size(b);
    for (size_t i = 0; lists && same && i < json_array_size(a); i++) {
        same = schemagrammar_keywords_same(json_array_get(a, i), json_array_get(b, i));
    }
    return lists ? same : json_equal(a, b);
}

static err schemagrammar_keywords_type(struct schemagrammar *s, const json_t *type, unsigned *out)
{
    static const struct {
        const char *name;
        unsigned kinds;
    } names[] = {{"null", SCHEMAGRAMMAR_NULL},       {"boolean", SCHEMAGRAMMAR_BOOLEAN},
                 {"integer", SCHEMAGRAMMAR_INTEGER}, {"number", SCHEMAGRAMMAR_NUMBER},
                 {"string", SCHEMAGRAMMAR_STRING},   {"array", SCHEMAGRAMMAR_ARRAY},
                 {"object", SCHEMAGRAMMAR_OBJECT}};
    const char *name = json_string_value(type);
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i].name) == 0) {
            *out |= names[i].kinds;
            return ERR_OK;
        }
    }
    return schemagrammar_refuse(s, ERR_ARGUMENT,
                                "\"type\" is %.40s; expected null, boolean, integer, number, "
                                "string, array, object or a list of these",
                                name ? name : json_type_name(type));
}

err schemagrammar_keywords_kinds(struct schemagrammar *s, const json_t *schema, unsigned *out)
{
    const json_t *type = json_object_get(schema, "type");
    unsigned kinds = 0;
    const char *key;
    json_t *value;
    if (json_is_array(type)) {
        for (size_t i = 0; i < json_array_size(type); i++) {
            TRY(schemagrammar_keywords_type(s, json_array_get(type, i), &kinds));
        }
    } else if (type) {
        TRY(schemagrammar_keywords_type(s, type, &kinds));
    }
    json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    {
        int about = type ? 0 : schemagrammar_keywords_find(key);
        kinds |= about > 0 ? (unsigned)about & SCHEMAGRAMMAR_ANY : 0;
    }
    *out = kinds == 0 && !type ? SCHEMAGRAMMAR_ANY : kinds;
    return ERR_OK;
}

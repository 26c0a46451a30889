/* base/json.c: see json.h; the parser is json_parse.c. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

/* A dump that runs out of memory loses pieces without an error; this remembers that it did. */
static _Thread_local bool json_starved;

static void *json_alloc(size_t n)
{
    void *p = mem_alloc(n);
    json_starved = json_starved || !p;
    return p;
}

/* Runs before main, hence before any json_t exists: no allocation is ever released by the other
 * allocator, and there is no first-use race. */
__attribute__((constructor)) static void json_route_memory(void)
{
    json_set_alloc_funcs(json_alloc, mem_free);
}

err json_parse_file(const char *path, size_t cap, json_t **out, struct errinfo *info)
{
    char *data;
    size_t size;
    TRY(file_read(path, cap, &data, &size, info));
    err e = json_parse(data, size, path, out, info);
    mem_free(data);
    return e;
}

err json_text(const json_t *value, size_t flags, char **out)
{
    json_starved = false;
    char *text = json_dumps(value, flags | JSON_ENCODE_ANY);
    if (!text || json_starved) {
        mem_free(text);
        return json_starved ? ERR_NOMEM : ERR_ARGUMENT;
    }
    *out = text;
    return ERR_OK;
}

char *json_text_dup(const json_t *value, size_t flags)
{
    char *text = NULL;
    return value && json_text(value, flags, &text) == ERR_OK ? text : NULL;
}

err json_write(const json_t *value, size_t flags, const char *path, struct errinfo *info)
{
    char *text = json_text_dup(value, flags);
    if (!text) {
        return err_set(info, ERR_NOMEM, "cannot write %s: out of memory, or a text is not UTF-8", path);
    }
    size_t n = strlen(text);
    text[n] = '\n'; /* the NUL's place */
    err e = file_write(path, text, n + 1, info);
    mem_free(text);
    return e;
}

const char *json_type_name(const json_t *value)
{
    if (!value) {
        return "nothing";
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "an unknown value";
}

bool json_as_u64(const json_t *value, uint64_t *out)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    if (json_is_real(value)) {
        double d = json_real_value(value);
        if (d >= 0 && d < 0x1p53 && d == floor(d)) {
            *out = (uint64_t)d;
            return true;
        }
    }
    return false;
}

/* The value of a present, non-null key. */
static err json_member(const json_t *obj, const char *name, const char *key, const json_t **out,
                       struct errinfo *info)
{
    if (!json_is_object(obj)) {
        return err_set(info, ERR_CORRUPT, "%s: found %s where an object with \"%s\" was expected",
                       name, json_type_name(obj), key);
    }
    const json_t *value = json_object_get(obj, key);
    if (!value || json_is_null(value)) {
        return err_set(info, ERR_NOTFOUND, "%s: \"%s\" is missing", name, key);
    }
    *out = value;
    return ERR_OK;
}

/* ERR_CORRUPT naming a scalar's value, or only the type of anything larger. */
static err json_mismatch(const json_t *value, const char *name, const char *key,
                         const char *expected, struct errinfo *info)
{
    char found[64];
    if (json_is_integer(value)) {
        snprintf(found, sizeof found, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(found, sizeof found, "%.9g", json_real_value(value));
    } else if (json_is_string(value)) {
        snprintf(found, sizeof found, "the string \"%.40s\"", json_string_value(value));
    } else {
        snprintf(found, sizeof found, "%s", json_type_name(value));
    }
    return err_set(info, ERR_CORRUPT, "%s: \"%s\" is %s; expected %s", name, key, found, expected);
}

err json_get_u64(const json_t *obj, const char *name, const char *key, uint64_t *out,
                 struct errinfo *info)
{
    const json_t *value = NULL;
    TRY(json_member(obj, name, key, &value, info));
    if (!json_as_u64(value, out)) {
        return json_mismatch(value, name, key, "a whole number, zero or more", info);
    }
    return ERR_OK;
}

err json_get_size(const json_t *obj, const char *name, const char *key, size_t *out,
                  struct errinfo *info)
{
    uint64_t v = 0;
    TRY(json_get_u64(obj, name, key, &v, info));
    if (v > SIZE_MAX) {
        return err_set(info, ERR_LIMIT, "%s: \"%s\" is %llu; this machine counts to %zu", name, key,
                       (unsigned long long)v, (size_t)SIZE_MAX);
    }
    *out = (size_t)v;
    return ERR_OK;
}

err json_get_double(const json_t *obj, const char *name, const char *key, double *out,
                    struct errinfo *info)
{
    const json_t *value = NULL;
    TRY(json_member(obj, name, key, &value, info));
    if (!json_is_number(value) || !isfinite(json_number_value(value))) {
        return json_mismatch(value, name, key, "a number", info);
    }
    *out = json_number_value(value);
    return ERR_OK;
}

err json_get_bool(const json_t *obj, const char *name, const char *key, bool *out,
                  struct errinfo *info)
{
    const json_t *value = NULL;
    TRY(json_member(obj, name, key, &value, info));
    if (!json_is_boolean(value)) {
        return json_mismatch(value, name, key, "true or false", info);
    }
    *out = json_is_true(value);
    return ERR_OK;
}

err json_get_string(const json_t *obj, const char *name, const char *key, const char **out,
                    struct errinfo *info)
{
    const json_t *value = NULL;
    TRY(json_member(obj, name, key, &value, info));
    if (!json_is_string(value)) {
        return json_mismatch(value, name, key, "a string", info);
    }
    *out = json_string_value(value);
    return ERR_OK;
}

err json_get_object(const json_t *obj, const char *name, const char *key, const json_t **out,
                    struct errinfo *info)
{
    const json_t *value = NULL;
    TRY(json_member(obj, name, key, &value, info));
    if (!json_is_object(value)) {
        return json_mismatch(value, name, key, "an object", info);
    }
    *out = value;
    return ERR_OK;
}

err json_get_array(const json_t *obj, const char *name, const char *key, const json_t **out,
                   struct errinfo *info)
{
    const json_t *value = NULL;
    TRY(json_member(obj, name, key, &value, info));
    if (!json_is_array(value)) {
        return json_mismatch(value, name, key, "an array", info);
    }
    *out = value;
    return ERR_OK;
}

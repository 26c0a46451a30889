/* server/fields.c: see fields.h. */
#include "server/fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A bound from here on is for the machine's sake; people are not told it before they pass it. */
#define FIELDS_ENDLESS 0x1p40

const char *fields_item(char out[FIELDS_PATH], const char *where, size_t i)
{
    snprintf(out, FIELDS_PATH, "%.160s[%zu]", where, i);
    return out;
}

const char *fields_path(char out[FIELDS_PATH], const char *where, const char *name)
{
    snprintf(out, FIELDS_PATH, "%.100s%s%.80s", where, *where ? "." : "", name);
    return out;
}

bool fields_body(const struct exchange *x, json_t **out, struct apierror *e)
{
    struct errinfo info = {0};
    size_t len;
    const char *bytes = exchange_body(x, &len);
    err result = json_parse(bytes, len, "the request", out, &info);
    if (result == ERR_CORRUPT) {
        return apierror_set(e, 400, "invalid_json", NULL, "%s", info.message);
    }
    return result == ERR_OK || apierror_from(e, result, &info);
}

static bool fields_wrong_type(const char *path, const char *expected, const json_t *value,
                              struct apierror *e)
{
    return apierror_set(e, 400, "invalid_type", path, "%s is %s; expected %s", path,
                        json_type_name(value), expected);
}

static bool fields_number(const struct fields_row *r, const char *path, const json_t *value,
                          void *to, struct apierror *e)
{
    bool whole = r->type == FIELDS_INT;
    double number = json_number_value(value);
    bool exact = json_is_integer(value) || (number == floor(number) && fabs(number) <= 0x1p53);
    if (!json_is_number(value) || (whole && !exact)) {
        return fields_wrong_type(path, whole ? "a whole number" : "a number", value, e);
    }
    if (r->max >= FIELDS_ENDLESS && r->min > -FIELDS_ENDLESS && number < r->min) {
        return apierror_set(e, 422, "out_of_range", path, "%s is %.15g; expected %.15g or more", path,
                            number, r->min);
    }
    if ((r->min != 0 || r->max != 0) && !(number >= r->min && number <= r->max)) {
        return apierror_set(e, 422, "out_of_range", path, "%s is %.15g; expected %.15g to %.15g",
                            path, number, r->min, r->max);
    }
    if (whole) {
        *(int64_t *)to = json_is_integer(value) ? json_integer_value(value) : (int64_t)number;
    } else {
        *(double *)to = number;
    }
    return true;
}

static bool fields_word(const struct fields_row *r, const char *path, const json_t *value, int *to,
                        struct apierror *e)
{
    char list[256] = "";
    for (int i = 0; r->words[i]; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), r->words[i]) == 0) {
            *to = i;
            return true;
        }
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", r->words[i]);
    }
    if (!json_is_string(value)) {
        return fields_wrong_type(path, list, value, e);
    }
    return apierror_set(e, 422, "invalid_value", path, "%s is \"%.100s\"; expected one of: %s",
                        path, json_string_value(value), list);
}

static bool fields_string(const struct fields_row *r, const char *path, const json_t *value,
                          const char **to, struct apierror *e)
{
    if (!json_is_string(value)) {
        return fields_wrong_type(path, "a string", value, e);
    }
    if (r->max > 0 && (double)json_string_length(value) > r->max) {
        return apierror_set(e, 422, "too_long", path, "%s has %zu bytes; at most %.0f are allowed",
                            path, json_string_length(value), r->max);
    }
    *to = json_string_value(value);
    return true;
}

static bool fields_array(const struct fields_row *r, const char *path, const json_t *value,
                         const json_t **to, struct apierror *e)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value)) {
        return fields_wrong_type(path, "a list", value, e);
    }
    if (r->max > 0 && ((double)n > r->max || (double)n < r->min)) {
        return apierror_set(e, 422, "out_of_range", path, "%s has %zu items; expected %.0f to %.0f",
                            path, n, r->min, r->max);
    }
    *to = value;
    return true;
}

/* Is it what `word` [len] says? */
static bool fields_says(const json_t *value, const char *word, size_t len)
{
    char text[32], *end;
    snprintf(text, sizeof text, "%.*s", (int)len, word);
    if (json_is_string(value)) {
        return strcmp(json_string_value(value), text) == 0;
    }
    if (json_is_boolean(value)) {
        return strcmp(text, json_is_true(value) ? "true" : "false") == 0;
    }
    long number = strtol(text, &end, 10);
    return json_is_number(value) && end > text && !*end && json_number_value(value) == (double)number;
}

/* Is it one of what `neutral` says, or a list of such? */
static bool fields_is_neutral(const char *neutral, const json_t *value)
{
    for (const char *w = neutral; *w; w += strcspn(w, "|"), w += *w == '|') {
        if (fields_says(value, w, strcspn(w, "|"))) {
            return true;
        }
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!fields_is_neutral(neutral, json_array_get(value, i))) {
            return false;
        }
    }
    return json_array_size(value) > 0;
}

/* Does it ask for something? */
static bool fields_asks(const struct fields_row *r, const json_t *value)
{
    return r->neutral
               ? !fields_is_neutral(r->neutral, value)
               : !(json_is_false(value) || (json_is_array(value) && json_array_size(value) == 0) ||
             (json_is_string(value) && json_string_length(value) == 0) ||
             (json_is_object(value) && json_object_size(value) == 0));
}

static bool fields_value(const struct fields_row *r, const char *path, const json_t *value,
                         void *into, struct apierror *e)
{
    void *to = (char *)into + r->offset;
    switch (r->type) {
    case FIELDS_BOOL:
        if (!json_is_boolean(value)) {
            return fields_wrong_type(path, "true or false", value, e);
        }
        *(bool *)to = json_is_true(value);
        return true;
    case FIELDS_INT:
    case FIELDS_NUMBER: return fields_number(r, path, value, to, e);
    case FIELDS_STRING: return fields_string(r, path, value, to, e);
    case FIELDS_WORD: return fields_word(r, path, value, to, e);
    case FIELDS_ARRAY: return fields_array(r, path, value, to, e);
    case FIELDS_OBJECT:
        if (!json_is_object(value)) {
            return fields_wrong_type(path, "an object", value, e);
        }
        *(const json_t **)to = value;
        return true;
    case FIELDS_ANY: *(const json_t **)to = value; return true;
    case FIELDS_IGNORED: return true;
    case FIELDS_REFUSED:
        return !fields_asks(r, value) || apierror_set(e, 400, "unsupported_parameter", path,
                                                   "%s is not supported: %s", path, r->why);
    }
    return true;
}

static const struct fields_row *fields_find(const struct fields *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->rows[i].name, name) == 0) {
            return &f->rows[i];
        }
    }
    return f->also ? fields_find(f->also, name) : NULL;
}

bool fields_ignore(const char *path, struct strbuf *unknown, struct apierror *e)
{
    if (!unknown) {
        return apierror_set(e, 400, "unknown_parameter", path,
                            "%s is no field that this server knows", path);
    }
    enum { FIELDS_UNKNOWN_MAX = 1024 }; /* it becomes a header */
    size_t before = unknown->len;
    bool room = before <= FIELDS_UNKNOWN_MAX, told = !room && unknown->data[before - 1] == '.';
    err result = room   ? strbuf_printf(unknown, "%s%.100s", before ? ", " : "", *path ? path : "\"\"")
                 : told ? ERR_OK
                        : strbuf_puts(unknown, ", ...");
    if (result != ERR_OK) {
        return apierror_set(e, 503, "out_of_memory", NULL, "out of memory reading the request");
    }
    err_clean(unknown->data + before);
    for (char *c = unknown->data + before; (c = strpbrk(c, "\n\t"));) { /* a header has one line */
        *c = '?';
    }
    return true;
}

bool fields_read(const struct fields *f, const json_t *object, const char *where, void *into,
                 struct strbuf *unknown, struct apierror *e)
{
    char path[FIELDS_PATH];
    const char *name;
    json_t *value;
    if (!json_is_object(object)) {
        return fields_wrong_type(*where ? where : "the request", "an object", object, e);
    }
    json_object_foreach((json_t *)object, name, value)
    {
        const struct fields_row *r = fields_find(f, name);
        if (json_is_null(value)) {
            continue;
        }
        fields_path(path, where, name);
        if (r && !fields_value(r, path, value, into, e)) {
            return false;
        }
        if ((!r || r->type == FIELDS_IGNORED) && !fields_ignore(path, unknown, e)) {
            return false;
        }
    }
    for (size_t i = 0; i < f->n; i++) {
        const json_t *given =
            f->rows[i].required ? json_object_get(object, f->rows[i].name) : object;
        if (!given || json_is_null(given)) {
            fields_path(path, where, f->rows[i].name);
            return apierror_set(e, 400, "missing", path, "%s is missing", path);
        }
    }
    return true;
}

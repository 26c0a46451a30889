/* base/json_parse.c: JSON text (RFC 8259) into jansson's values; see json.h. jansson has a parser
 * of its own, but when memory is short it loses characters of strings and reads past its buffer;
 * this one also counts depth and values as it goes. Recursive, at most JSON_DEPTH_MAX deep. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "base/utf8seq.h"

enum { JSON_PARSE_NUMBER_MAX = 512 }; /* characters; config files have integers of 31 */

struct json_parse {
    const char *start, *p, *end;
    const char *name;
    bool one_line; /* of several: `name` says which */
    bool text;     /* names may repeat, \u0000 may stand */
    size_t depth, values;
    struct strbuf scratch; /* the string being read, when it has escapes */
    locale_t c_locale;     /* numbers have points, whatever the user's language */
    struct errinfo *info;
};

static err json_parse_value(struct json_parse *j, json_t **out);

static err json_parse_nomem(struct json_parse *j)
{
    return err_set(j->info, ERR_NOMEM, "%s: out of memory parsing %zu bytes of JSON", j->name,
                   (size_t)(j->end - j->start));
}

/* ERR_CORRUPT with the place; `what` completes "not valid JSON: …". */
static err json_parse_bad(struct json_parse *j, const char *what)
{
    size_t line = 1, column = 1;
    for (const char *p = j->start; p < j->p; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    return j->one_line
               ? err_set(j->info, ERR_CORRUPT, "%s, column %zu: not valid JSON: %s", j->name, column, what)
               : err_set(j->info, ERR_CORRUPT, "%s, line %zu, column %zu: not valid JSON: %s", j->name,
                         line, column, what);
}

static void json_parse_space(struct json_parse *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r')) {
        j->p++;
    }
}

/* Steps over `c` when it comes next. */
static bool json_parse_take(struct json_parse *j, char c)
{
    if (j->p < j->end && *j->p == c) {
        j->p++;
        return true;
    }
    return false;
}

static err json_parse_hex4(struct json_parse *j, unsigned *out)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        char c = j->p < j->end ? *j->p : '\0';
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit == 16) {
            return json_parse_bad(j, "\\u needs four hexadecimal digits");
        }
        v = v * 16 + digit;
        j->p++;
    }
    *out = v;
    return ERR_OK;
}

/* The code point of \uXXXX, or of a surrogate pair of them; j->p stands after the first "\u". */
static err json_parse_unicode(struct json_parse *j, unsigned *out)
{
    unsigned v = 0, low = 0;
    TRY(json_parse_hex4(j, &v));
    if (v == 0 && !j->text) {
        return json_parse_bad(j, "\\u0000 is not accepted");
    }
    if (v >= 0xd800 && v <= 0xdbff && j->end - j->p >= 2 && j->p[0] == '\\' && j->p[1] == 'u') {
        j->p += 2;
        TRY(json_parse_hex4(j, &low));
        if (low >= 0xdc00 && low <= 0xdfff) {
            *out = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
            return ERR_OK;
        }
    }
    if (v >= 0xd800 && v <= 0xdfff) {
        return json_parse_bad(j, "half of a surrogate pair");
    }
    *out = v;
    return ERR_OK;
}

static err json_parse_escape(struct json_parse *j)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = j->p < j->end ? *j->p++ : '\0';
    const char *simple = c ? strchr(from, c) : NULL;
    char utf8[4];
    size_t n = 1;
    if (simple) {
        utf8[0] = to[simple - from];
    } else if (c == 'u') {
        unsigned v = 0;
        TRY(json_parse_unicode(j, &v));
        n = v < 0x80 ? 1 : v < 0x800 ? 2 : v < 0x10000 ? 3 : 4;
        static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
        for (size_t i = n; i-- > 1; v >>= 6) {
            utf8[i] = (char)(0x80 | (v & 0x3f));
        }
        utf8[0] = (char)(lead[n] | v);
    } else {
        return json_parse_bad(j, "unknown escape in a string");
    }
    return strbuf_append(&j->scratch, utf8, n) == ERR_OK ? ERR_OK : json_parse_nomem(j);
}

/* A string after its opening quote. *text points into the source, or at the scratch buffer when
 * there were escapes; valid until the next string. */
static err json_parse_string(struct json_parse *j, const char **text, size_t *len)
{
    const char *run = j->p;
    bool escaped = false;
    strbuf_clear(&j->scratch);
    for (;;) {
        if (j->p == j->end) {
            return json_parse_bad(j, "a string without end");
        }
        unsigned char c = (unsigned char)*j->p;
        if (c == '"' || c == '\\') {
            size_t n = (size_t)(j->p - run);
            if ((escaped || c == '\\') && strbuf_append(&j->scratch, run, n) != ERR_OK) {
                return json_parse_nomem(j);
            }
            j->p++;
            if (c == '"') {
                *text = escaped ? j->scratch.data : run;
                *len = escaped ? j->scratch.len : n;
                return ERR_OK;
            }
            escaped = true;
            TRY(json_parse_escape(j));
            run = j->p;
            continue;
        }
        size_t n = utf8seq_length((const unsigned char *)j->p, (size_t)(j->end - j->p));
        if (n == 0 || c < 0x20) {
            return json_parse_bad(j, n == 0 ? "invalid UTF-8 in a string"
                                            : "a control character in a string");
        }
        j->p += n;
    }
}

static bool json_parse_digits(struct json_parse *j)
{
    const char *first = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
        j->p++;
    }
    return j->p > first;
}

/* Walks the grammar of a number; false when it is broken. */
static bool json_parse_number_shape(struct json_parse *j, bool *real)
{
    json_parse_take(j, '-');
    if (!json_parse_take(j, '0') && !json_parse_digits(j)) {
        return false;
    }
    *real = false;
    if (json_parse_take(j, '.')) {
        *real = true;
        if (!json_parse_digits(j)) {
            return false;
        }
    }
    if (json_parse_take(j, 'e') || json_parse_take(j, 'E')) {
        *real = true;
        if (!json_parse_take(j, '-')) {
            json_parse_take(j, '+');
        }
        return json_parse_digits(j);
    }
    return true;
}

static err json_parse_number(struct json_parse *j, json_t **out)
{
    const char *first = j->p;
    bool real;
    if (!json_parse_number_shape(j, &real)) {
        return json_parse_bad(j, "a number that breaks off");
    }
    char text[JSON_PARSE_NUMBER_MAX + 1];
    size_t n = (size_t)(j->p - first);
    if (n > JSON_PARSE_NUMBER_MAX) {
        return json_parse_bad(j, "a number of over 512 characters");
    }
    memcpy(text, first, n);
    text[n] = '\0';
    errno = 0;
    long long whole = real ? 0 : strtoll(text, NULL, 10);
    if (!real && errno == 0) {
        *out = json_integer(whole);
        return *out ? ERR_OK : json_parse_nomem(j);
    }
    double d = strtod_l(text, NULL, j->c_locale);
    if (!isfinite(d)) {
        return json_parse_bad(j, "a number too big");
    }
    *out = json_real(d);
    return *out ? ERR_OK : json_parse_nomem(j);
}

static err json_parse_literal(struct json_parse *j, json_t **out)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(j->end - j->p) >= n && memcmp(j->p, words[i], n) == 0) {
            j->p += n;
            *out = i == 0 ? json_true() : i == 1 ? json_false() : json_null();
            return ERR_OK;
        }
    }
    return json_parse_bad(j, j->p == j->end ? "it ends where a value is expected"
                                            : "expected a value");
}

/* What follows an element: true to go on with another. */
static err json_parse_next(struct json_parse *j, char close, bool *more)
{
    json_parse_space(j);
    *more = json_parse_take(j, ',');
    if (!*more && !json_parse_take(j, close)) {
        return json_parse_bad(j, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    }
    json_parse_space(j);
    return ERR_OK;
}

static err json_parse_elements(struct json_parse *j, json_t *array)
{
    json_parse_space(j);
    bool more = !json_parse_take(j, ']');
    while (more) {
        json_t *value = NULL;
        TRY(json_parse_value(j, &value));
        if (json_array_append_new(array, value) != 0) {
            return json_parse_nomem(j);
        }
        TRY(json_parse_next(j, ']', &more));
    }
    return ERR_OK;
}

/* One "key": value into the object. The key is copied first: the value may use the scratch buffer.
 */
static err json_parse_member(struct json_parse *j, json_t *object)
{
    const char *text = NULL;
    size_t len = 0;
    if (!json_parse_take(j, '"')) {
        return json_parse_bad(j, "expected a key in double quotes");
    }
    TRY(json_parse_string(j, &text, &len));
    if (!j->text && json_object_getn(object, text, len)) {
        return json_parse_bad(j, "duplicate object key");
    }
    json_t *key = json_stringn_nocheck(text, len);
    if (!key) {
        return json_parse_nomem(j);
    }
    json_parse_space(j);
    json_t *value = NULL;
    err e =
        json_parse_take(j, ':') ? json_parse_value(j, &value) : json_parse_bad(j, "expected ':'");
    if (e == ERR_OK &&
        json_object_setn_new_nocheck(object, json_string_value(key), len, value) != 0) {
        e = json_parse_nomem(j);
    }
    json_decref(key);
    return e;
}

static err json_parse_members(struct json_parse *j, json_t *object)
{
    json_parse_space(j);
    bool more = !json_parse_take(j, '}');
    while (more) {
        TRY(json_parse_member(j, object));
        TRY(json_parse_next(j, '}', &more));
    }
    return ERR_OK;
}

static err json_parse_container(struct json_parse *j, bool is_object, json_t **out)
{
    if (++j->depth > JSON_DEPTH_MAX) {
        return err_set(j->info, ERR_LIMIT, "%s: nested over %d levels deep", j->name,
                       JSON_DEPTH_MAX);
    }
    json_t *value = is_object ? json_object() : json_array();
    if (!value) {
        return json_parse_nomem(j);
    }
    err e = is_object ? json_parse_members(j, value) : json_parse_elements(j, value);
    if (e != ERR_OK) {
        json_decref(value);
        return e;
    }
    j->depth--;
    *out = value;
    return ERR_OK;
}

static err json_parse_value(struct json_parse *j, json_t **out)
{
    if (++j->values > JSON_VALUES_MAX) {
        return err_set(j->info, ERR_LIMIT, "%s: holds over %d values", j->name, JSON_VALUES_MAX);
    }
    json_parse_space(j);
    char c = j->p < j->end ? *j->p : '\0';
    if (c == '{' || c == '[') {
        j->p++;
        return json_parse_container(j, c == '{', out);
    }
    if (c == '"') {
        const char *text = NULL;
        size_t len = 0;
        j->p++;
        TRY(json_parse_string(j, &text, &len));
        *out = json_stringn_nocheck(text, len);
        return *out ? ERR_OK : json_parse_nomem(j);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return json_parse_number(j, out);
    }
    return json_parse_literal(j, out);
}

static err json_parse_all(struct json_parse *j, json_t **out)
{
    j->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* built in: needs no memory */
    json_t *value = NULL;
    err e = json_parse_value(j, &value);
    json_parse_space(j);
    if (e == ERR_OK && j->p != j->end) {
        e = json_parse_bad(j, "something follows the value");
    }
    freelocale(j->c_locale);
    strbuf_deinit(&j->scratch);
    if (e != ERR_OK) {
        json_decref(value);
        return e;
    }
    *out = value;
    return ERR_OK;
}

err json_parse(const char *data, size_t len, const char *name, json_t **out, struct errinfo *info)
{
    struct json_parse j = {.start = data, .p = data, .end = data + len, .name = name, .info = info};
    return json_parse_all(&j, out);
}

err json_parse_line(const char *data, size_t len, const char *name, json_t **out, struct errinfo *info)
{
    struct json_parse j = {
        .start = data, .p = data, .end = data + len, .name = name, .one_line = true, .info = info};
    return json_parse_all(&j, out);
}

err json_parse_text(const char *data, size_t len, const char *name, json_t **out, struct errinfo *info)
{
    struct json_parse j = {
        .start = data, .p = data, .end = data + len, .name = name, .text = true, .info = info};
    return json_parse_all(&j, out);
}

/* text/pythonjson.c: see pythonjson.h. The text is parsed once, to know that it is JSON; what follows may
 * then trust its shape. */
#include "text/pythonjson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

err pythonjson_escape(struct strbuf *out, const char *text, size_t len)
{
    static const char plain[] = "\"\\\n\r\t\b\f", letter[] = "\"\\nrtbf";
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        TRY(strbuf_append(out, text + from, i - from));
        const char *known = c ? strchr(plain, c) : NULL;
        TRY(known ? strbuf_printf(out, "\\%c", letter[known - plain]) : strbuf_printf(out, "\\u%04x", c));
        from = i + 1;
    }
    return strbuf_append(out, text + from, len - from);
}

static unsigned pythonjson_hex(const char *digits)
{
    char four[5] = {digits[0], digits[1], digits[2], digits[3], '\0'};
    return (unsigned)strtoul(four, NULL, 16);
}

static size_t pythonjson_utf8(unsigned c, char out[4])
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) {
        out[i] = (char)(0x80 | (c & 0x3f));
    }
    out[0] = (char)(n == 1 ? c : lead[n] | c);
    return n;
}

/* The character that the escape at p stands for; returns how long the escape is. */
static size_t pythonjson_escaped(const char *p, char out[4], size_t *n)
{
    static const char letter[] = "nrtbf", plain[] = "\n\r\t\b\f";
    *n = 1;
    if (p[1] != 'u') {
        const char *known = strchr(letter, p[1]);
        out[0] = known ? plain[known - letter] : p[1];
        return 2;
    }
    unsigned c = pythonjson_hex(p + 2);
    bool pair = c >= 0xd800 && c < 0xdc00;
    if (pair) {
        c = 0x10000 + ((c - 0xd800) << 10) + (pythonjson_hex(p + 8) - 0xdc00);
    }
    *n = pythonjson_utf8(c, out);
    return pair ? 12 : 6;
}

/* Behind the string that begins at p. */
static const char *pythonjson_string_end(const char *p)
{
    for (p++; *p != '"'; p++) {
        p += *p == '\\';
    }
    return p + 1;
}

/* What a string says, escaped anew or as it is. */
static err pythonjson_respell(struct strbuf *out, const char *string, const char *end, bool escape)
{
    const char *p = string + 1, *last = end - 1;
    while (p < last) {
        const char *run = p;
        while (p < last && *p != '\\') {
            p++;
        }
        TRY(strbuf_append(out, run, (size_t)(p - run)));
        if (p < last) {
            char c[4];
            size_t n;
            p += pythonjson_escaped(p, c, &n);
            TRY(escape ? pythonjson_escape(out, c, n) : strbuf_append(out, c, n));
        }
    }
    return ERR_OK;
}

err pythonjson_unescape(struct strbuf *out, const char *string, size_t len)
{
    return pythonjson_respell(out, string, string + len, false);
}

/* A float as repr() has it: the fewest digits that read back the same; an exponent below -4 and from 16
 * on. */
static err pythonjson_real(struct strbuf *out, double x)
{
    char text[40];
    for (int digits = 0; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits, x);
        if (strtod(text, NULL) == x) {
            break;
        }
    }
    char *e = strchr(text, 'e');
    if (!e) {
        return strbuf_puts(out, text); /* infinite: a number too large for a float */
    }
    int exponent = atoi(e + 1);
    int after = (int)(e - text) - (text[0] == '-') - 1; /* digits behind the first, and the point */
    after -= after > 0;
    if (exponent < -4 || exponent >= 16) {
        *e = '\0';
        return strbuf_printf(out, "%se%c%02d", text, exponent < 0 ? '-' : '+', abs(exponent));
    }
    int decimals = after - exponent;
    return strbuf_printf(out, "%.*f", decimals > 1 ? decimals : 1, x);
}

static err pythonjson_number(struct strbuf *out, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strchr(".eE", p[i])) {
            return pythonjson_real(out, strtod(p, NULL)); /* JSON's next character ends the number */
        }
    }
    return n == 2 && memcmp(p, "-0", 2) == 0 ? strbuf_puts(out, "0") : strbuf_append(out, p, n);
}

/* One token of well-formed JSON at p; *end is behind it. */
static err pythonjson_token(struct strbuf *out, const char *p, const char *limit, const char **end)
{
    if (*p == '"') {
        *end = pythonjson_string_end(p);
        TRY(strbuf_puts(out, "\""));
        TRY(pythonjson_respell(out, p, *end, true));
        return strbuf_puts(out, "\"");
    }
    *end = p + 1;
    switch (*p) {
    case ' ':
    case '\t':
    case '\r':
    case '\n': return ERR_OK;
    case ',': return strbuf_puts(out, ", ");
    case ':': return strbuf_puts(out, ": ");
    case '{':
    case '}':
    case '[':
    case ']': return strbuf_append(out, p, 1);
    default: break;
    }
    while (*end < limit && !strchr(" \t\r\n,:{}[]\"", **end)) {
        ++*end;
    }
    bool number = *p == '-' || (*p >= '0' && *p <= '9');
    size_t n = (size_t)(*end - p);
    return number ? pythonjson_number(out, p, n) : strbuf_append(out, p, n);
}

err pythonjson_append(struct strbuf *out, const char *json, size_t len, const char *name,
                      struct errinfo *info)
{
    json_t *value;
    err e = json_parse_text(json, len, name, &value, info);
    if (e != ERR_OK) {
        return e == ERR_CORRUPT ? ERR_ARGUMENT : e; /* the caller's, not a file's */
    }
    json_decref(value);
    struct strbuf whole = {0}; /* with the NUL that strtod needs */
    e = strbuf_append(&whole, json, len);
    const char *p = whole.data, *limit = e == ERR_OK ? p + len : p;
    while (e == ERR_OK && p < limit) {
        e = pythonjson_token(out, p, limit, &p);
    }
    strbuf_deinit(&whole);
    return e == ERR_OK ? ERR_OK : err_set(info, e, "out of memory for %s", name);
}

/* Behind the value that begins at p. */
static const char *pythonjson_value_end(const char *p)
{
    size_t depth = 0;
    do {
        if (*p == '"') {
            p = pythonjson_string_end(p);
            continue;
        }
        depth += *p == '{' || *p == '[';
        depth -= *p == '}' || *p == ']';
        p++;
    } while (depth > 0 || !strchr(",}]", *p)); /* a member's value ends before one of these */
    return p;
}

bool pythonjson_next(const char **pos, struct pythonjson_member *out)
{
    const char *p = *pos + 1; /* behind the '{' or the ',' */
    p += *p == ' ';
    if (*p != '"') {
        return false;
    }
    const char *end = pythonjson_string_end(p);
    out->key = p;
    out->key_len = (size_t)(end - p);
    out->value = end + 2;
    end = pythonjson_value_end(out->value);
    out->value_len = (size_t)(end - out->value);
    *pos = end;
    return true;
}

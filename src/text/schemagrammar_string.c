/* text/schemagrammar_string.c: strings: by length, by format or by pattern. */
#include <string.h>

#include "text/schemagrammar_data.h"

/* The formats, and how short and how long what their rules (schemagrammar.c) make is. */
struct schemagrammar_string_known {
    const char *name;
    size_t min, max;
};

static const struct schemagrammar_string_known schemagrammar_string_formats[] = {
    {"date", 10, 10},   {"time", 9, 21},      {"date-time", 20, 32}, {"uuid", 36, 36},
    {"email", 5, 239},  {"hostname", 1, 223}, {"ipv4", 7, 15},       {"ipv6", 2, 39}};

static const struct schemagrammar_string_known *schemagrammar_string_find(const char *name)
{
    const struct schemagrammar_string_known *f = schemagrammar_string_formats;
    for (size_t i = 0; name && i < sizeof schemagrammar_string_formats / sizeof *f; i++) {
        if (strcmp(name, f[i].name) == 0) {
            return &f[i];
        }
    }
    return NULL;
}

/* Lengths beside a format are kept where every text of the format keeps them ("an email, and not empty"). */
static err schemagrammar_string_format(struct schemagrammar *s, const json_t *format, size_t min,
                                       size_t max, struct strbuf *out)
{
    const char *name = json_string_value(format);
    const struct schemagrammar_string_known *f = schemagrammar_string_find(name);
    if (!f) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                    "\"format\": %.40s is not supported; known are date, time, "
                                    "date-time, uuid, email, hostname, ipv4, ipv6",
                                    name ? name : json_type_name(format));
    }
    if (min > f->min || max < f->max) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                    "\"format\": %s beside this \"%s\" is not supported; what the "
                                    "format makes has %zu to %zu characters",
                                    name, min > f->min ? "minLength" : "maxLength", f->min, f->max);
    }
    return strbuf_puts(out, name);
}

static err schemagrammar_string_inside(struct schemagrammar *s, const json_t *schema,
                                       struct strbuf *out)
{
    const json_t *format = json_object_get(schema, "format"),
                 *pattern = json_object_get(schema, "pattern");
    const char *length = json_object_get(schema, "minLength")   ? "minLength"
                         : json_object_get(schema, "maxLength") ? "maxLength"
                                                                : NULL;
    if (pattern && (format || length)) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED, "\"%s\" beside \"%s\" is not supported",
                                    format ? "format" : "pattern", format ? "pattern" : length);
    }
    if (pattern) {
        const char *text = json_string_value(pattern);
        return text ? schemagrammar_pattern(s, text, out)
                    : schemagrammar_refuse(s, ERR_ARGUMENT, "\"pattern\" is %s; expected a string",
                                           json_type_name(pattern));
    }
    size_t min, max;
    TRY(schemagrammar_count(s, schema, "minLength", 0, &min));
    TRY(schemagrammar_count(s, schema, "maxLength", SIZE_MAX, &max));
    if (min > max) {
        return schemagrammar_refuse(s, ERR_ARGUMENT, "\"minLength\" %zu is above \"maxLength\" %zu",
                                    min, max);
    }
    if (format) {
        return schemagrammar_string_format(s, format, min, max, out);
    }
    return max == SIZE_MAX ? strbuf_printf(out, "char{%zu,}", min)
                           : strbuf_printf(out, "char{%zu,%zu}", min, max);
}

err schemagrammar_string(struct schemagrammar *s, const json_t *schema, struct strbuf *out)
{
    TRY(strbuf_puts(out, "\"\\\"\" "));
    TRY(schemagrammar_string_inside(s, schema, out));
    return strbuf_puts(out, " \"\\\"\"");
}

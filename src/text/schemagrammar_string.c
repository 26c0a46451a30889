/* text/schemagrammar_string.c: strings: by length, by format or by pattern. */
#include <string.h>

#include "text/schemagrammar_data.h"

static err schemagrammar_string_format(struct schemagrammar *s, const json_t *format,
                                       struct strbuf *out)
{
    static const char *const known[] = {"date",  "time",     "date-time", "uuid",
                                        "email", "hostname", "ipv4",      "ipv6"};
    const char *name = json_string_value(format);
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i]) == 0) {
            return strbuf_puts(out, name);
        }
    }
    return schemagrammar_refuse(s, ERR_UNSUPPORTED,
                                "\"format\": %.40s is not supported; known are date, time, "
                                "date-time, uuid, email, hostname, ipv4, ipv6",
                                name ? name : json_type_name(format));
}

static err schemagrammar_string_inside(struct schemagrammar *s, const json_t *schema,
                                       struct strbuf *out)
{
    const json_t *format = json_object_get(schema, "format"),
                 *pattern = json_object_get(schema, "pattern");
    bool length = json_object_get(schema, "minLength") || json_object_get(schema, "maxLength");
    if ((format != NULL) + (pattern != NULL) + length > 1) {
        return schemagrammar_refuse(s, ERR_UNSUPPORTED, "\"%s\" beside \"%s\" is not supported",
                                    format ? "format" : "pattern",
                                    !length                                ? "pattern"
                                    : json_object_get(schema, "minLength") ? "minLength"
                                                                           : "maxLength");
    }
    if (format) {
        return schemagrammar_string_format(s, format, out);
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
    return max == SIZE_MAX ? strbuf_printf(out, "char{%zu,}", min)
                           : strbuf_printf(out, "char{%zu,%zu}", min, max);
}

err schemagrammar_string(struct schemagrammar *s, const json_t *schema, struct strbuf *out)
{
    TRY(strbuf_puts(out, "\"\\\"\" "));
    TRY(schemagrammar_string_inside(s, schema, out));
    return strbuf_puts(out, " \"\\\"\"");
}

/* base/err.c: see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8seq.h"

/* Length of the UTF-8 sequence at s that a terminal shows as text; 0 for a stray byte, a cut
 * sequence or a control character (C0 except tab and newline, DEL, C1). */
static size_t err_text(const unsigned char *s, size_t left)
{
    bool control = (s[0] < 0x20 && s[0] != '\t' && s[0] != '\n') || s[0] == 0x7f ||
                   (s[0] == 0xc2 && left > 1 && s[1] < 0xa0);
    return control ? 0 : utf8seq_length(s, left);
}

void err_clean(char *text)
{
    unsigned char *end = (unsigned char *)text + strlen(text);
    for (unsigned char *s = (unsigned char *)text; s < end;) {
        size_t n = err_text(s, (size_t)(end - s));
        if (n == 0) {
            *s = '?';
            n = 1;
        }
        s += n;
    }
}

err err_set(struct errinfo *info, err code, const char *fmt, ...)
{
    if (info) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(info->message, sizeof info->message, fmt, ap);
        va_end(ap);
        err_clean(info->message);
        info->field[0] = '\0';
        info->code = code;
    }
    return code;
}

err err_at(struct errinfo *info, err code, const char *fmt, ...)
{
    if (info && info->field[0] == '\0') {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(info->field, sizeof info->field, fmt, ap);
        va_end(ap);
        err_clean(info->field);
    }
    return code;
}

err err_prefix(struct errinfo *info, err code, const char *fmt, ...)
{
    if (info) {
        char old[sizeof info->message];
        memcpy(old, info->message, sizeof old);
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(info->message, sizeof info->message, fmt, ap);
        va_end(ap);
        size_t used = strlen(info->message);
        snprintf(info->message + used, sizeof info->message - used, "%s", old);
        err_clean(info->message);
        info->field[0] = '\0';
        info->code = code;
    }
    return code;
}

const char *err_name(err code)
{
    switch (code) {
    case ERR_OK: return "ok";
    case ERR_NOMEM: return "out of memory";
    case ERR_IO: return "input/output error";
    case ERR_CORRUPT: return "corrupt file";
    case ERR_LIMIT: return "over a limit";
    case ERR_BUSY: return "too much at once";
    case ERR_UNSUPPORTED: return "not supported";
    case ERR_ARGUMENT: return "bad argument";
    case ERR_NOTFOUND: return "not found";
    case ERR_CONTEXT: return "context full";
    case ERR_CANCELLED: return "cancelled";
    }
    return "unknown error";
}

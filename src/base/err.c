/* base/err.c: see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at s that a terminal shows as text; 0 for a stray byte, a
 * cut sequence or a control character (C0 except tab and newline, DEL, C1). */
static size_t err_text(const unsigned char *s)
{
    if (s[0] < 0x80) {
        return s[0] >= 0x20 && s[0] != 0x7f ? 1 : s[0] == '\t' || s[0] == '\n';
    }
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
               : s[0] >= 0xe0 && s[0] <= 0xef ? 3
               : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                              : 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) { /* the final NUL stops here too */
            return 0;
        }
    }
    bool bad = (s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) ||
               (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
               (s[0] == 0xf4 && s[1] > 0x8f);
    return bad ? 0 : n;
}

/* Messages quote names out of hostile files: what could steer a terminal or break a JSON answer
 * becomes '?'. */
static void err_clean(char *message)
{
    for (unsigned char *s = (unsigned char *)message; *s;) {
        size_t n = err_text(s);
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
        info->code = code;
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
    case ERR_UNSUPPORTED: return "not supported";
    case ERR_ARGUMENT: return "bad argument";
    case ERR_NOTFOUND: return "not found";
    case ERR_CONTEXT: return "context full";
    case ERR_CANCELLED: return "cancelled";
    }
    return "unknown error";
}

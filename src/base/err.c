/* base/err.c: see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

err err_set(struct errinfo *info, err code, const char *fmt, ...)
{
    if (info) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(info->message, sizeof info->message, fmt, ap);
        va_end(ap);
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

/* server/apierror.c: see apierror.h. */
#include "server/apierror.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

enum { APIERROR_PATIENCE_S = 60 };

bool apierror_set(struct apierror *e, unsigned status, const char *code, const char *param,
                  const char *fmt, ...)
{
    va_list args;
    *e = (struct apierror){.status = status, .code = code};
    snprintf(e->param, sizeof e->param, "%s", param ? param : "");
    va_start(args, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, args);
    va_end(args);
    err_clean(e->param);
    err_clean(e->message);
    return false;
}

bool apierror_from(struct apierror *e, err code, const struct errinfo *info)
{
    switch (code) {
    case ERR_CONTEXT:
        return apierror_set(e, 400, "context_length_exceeded", NULL, "%s", info->message);
    case ERR_BUSY:
        apierror_set(e, 429, "overloaded", NULL, "%s", info->message);
        e->retry_after = 1;
        return false;
    case ERR_LIMIT: /* of what was asked: asking again does not help */
    case ERR_ARGUMENT: return apierror_set(e, 400, "invalid_value", info->field, "%s", info->message);
    case ERR_UNSUPPORTED: return apierror_set(e, 400, "unsupported", NULL, "%s", info->message);
    case ERR_NOTFOUND: return apierror_set(e, 404, "not_found", NULL, "%s", info->message);
    case ERR_NOMEM:
        apierror_set(e, 503, "out_of_memory", NULL, "%s", info->message);
        e->retry_after = 5;
        return false;
    default: return apierror_set(e, 500, "server_error", NULL, "%s", info->message);
    }
}

const char *apierror_type(unsigned status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 402: return "insufficient_balance";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

err apierror_text(const struct apierror *e, bool anthropic, struct strbuf *out)
{
    const char *type = anthropic && e->status == 402 ? "billing_error" : apierror_type(e->status);
    json_t *inner =
        anthropic ? json_pack("{s:s, s:s}", "type", type, "message", e->message)
                  : json_pack("{s:s, s:s, s:s?, s:s?}", "message", e->message, "type", type, "param",
                              *e->param ? e->param : NULL, "code", e->code);
    json_t *whole = anthropic ? json_pack("{s:s, s:o}", "type", "error", "error", inner)
                              : json_pack("{s:o}", "error", inner);
    char *text = json_text_dup(whole, JSON_COMPACT);
    json_decref(whole);
    err result = text ? strbuf_puts(out, text) : ERR_NOMEM;
    mem_free(text);
    return result;
}

bool apierror_for_anthropic(const struct exchange *x)
{
    return exchange_header(x, "anthropic-version") ||
           strncmp(exchange_path(x), "/anthropic/", strlen("/anthropic/")) == 0;
}

void apierror_reply(struct exchange *x, const struct apierror *e, bool anthropic)
{
    struct strbuf body = {0};
    if (e->retry_after) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", e->retry_after);
        exchange_add_header(x, "Retry-After", seconds);
    }
    if (e->retry_after > APIERROR_PATIENCE_S) { /* clients that would try again at once, do not */
        exchange_add_header(x, "x-should-retry", "false");
    }
    if (e->status == 401) {
        exchange_add_header(x, "WWW-Authenticate", "Bearer");
    }
    err result = apierror_text(e, anthropic || apierror_for_anthropic(x), &body);
    (void)result; /* out of memory: the status says it alone */
    exchange_reply(x, e->status, "application/json", &body);
}

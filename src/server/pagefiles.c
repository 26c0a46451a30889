/* server/pagefiles.c: see pagefiles.h. */
#include "server/pagefiles.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/webassets.h"

/* Nothing but what this server sends: no script of another origin, none in the document, no request
 * to anywhere else; no other page may show this one inside itself. */
#define PAGEFILES_POLICY                                                                           \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "  \
    "'self'; "                                                                                     \
    "font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

static void pagefiles_headers(struct exchange *x)
{
    exchange_add_header(x, "Content-Security-Policy", PAGEFILES_POLICY);
    exchange_add_header(x, "Permissions-Policy", "camera=(), microphone=(), geolocation=()");
    exchange_add_header(x, "Cross-Origin-Opener-Policy", "same-origin");
    exchange_add_header(x, "Cache-Control", "no-cache");
}

/* Of codings with weights, as in "br, gzip;q=0.5": is gzip one, and not of none? */
static bool pagefiles_takes_gzip(const char *accepted)
{
    for (const char *p = accepted; p && *p; p += *p == ',') {
        const char *name = p + strspn(p, " \t");
        p += strcspn(p, ",");
        if (strcspn(name, " \t,;") == 4 && strncasecmp(name, "gzip", 4) == 0) {
            const char *weight = strstr(name, "q=");
            return !weight || weight > p || strtod(weight + 2, NULL) > 0;
        }
    }
    return false;
}

bool pagefiles_give(struct exchange *x)
{
    const struct webasset *a = webassets_find(exchange_path(x));
    const char *method = exchange_method(x), *known = exchange_header(x, "If-None-Match");
    const char *accepted = exchange_header(x, "Accept-Encoding");
    if (!a || (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)) {
        return false;
    }
    pagefiles_headers(x);
    exchange_add_header(x, "ETag", a->etag);
    exchange_add_header(x, "Vary", "Accept-Encoding");
    if (known && strcmp(known, a->etag) == 0) {
        exchange_reply(x, 304, NULL, NULL);
    } else if (a->packed && pagefiles_takes_gzip(accepted)) {
        exchange_add_header(x, "Content-Encoding", "gzip");
        exchange_reply_static(x, 200, a->type, a->packed, a->packed_size);
    } else {
        exchange_reply_static(x, 200, a->type, a->bytes, a->size);
    }
    return true;
}

bool pagefiles_give_nothing(struct exchange *x)
{
    const struct webasset *a = webassets_find("/");
    const char *accepted = exchange_header(x, "Accept");
    if (!a || strcmp(exchange_method(x), "GET") != 0 || !accepted || !strstr(accepted, "text/html")) {
        return false;
    }
    pagefiles_headers(x);
    exchange_reply_static(x, 404, a->type, a->bytes, a->size);
    return true;
}

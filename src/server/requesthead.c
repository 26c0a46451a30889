/* server/requesthead.c: see requesthead.h. */
#include "server/requesthead.h"

#include <string.h>
#include <strings.h>

#include "server/apierror.h"
#include "server/exchange_data.h"

/* How far the pieces of a head have been found to follow each other. */
struct requesthead_walk {
    const char *at; /* where the next header has to begin */
    bool good;
};

static size_t requesthead_size(const struct exchange *x)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return i ? i->header_size : 0;
}

static bool requesthead_is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

/* A name: of a method, of a header (RFC 9110, 5.6.2). */
static bool requesthead_is_token(const char *name)
{
    for (const char *p = name; *p; p++) {
        if (requesthead_is_control(*p) || (unsigned char)*p > 0x7f || strchr(" \"(),/:;<=>?@[\\]{}", *p)) {
            return false;
        }
    }
    return *name;
}

static bool requesthead_is_value(const char *value)
{
    while (*value == '\t' || (*value && !requesthead_is_control(*value))) {
        value++;
    }
    return !*value;
}

static enum MHD_Result requesthead_on_header(void *user, enum MHD_ValueKind kind, const char *name,
                                             const char *value)
{
    struct requesthead_walk *w = user;
    (void)kind;
    w->good = name == w->at && value && requesthead_is_token(name) && requesthead_is_value(value);
    if (!w->good) {
        return MHD_NO;
    }
    const char *after = name + strlen(name) + 1; /* the colon */
    w->good = value == after + strspn(after, " \t");
    w->at = value + strlen(value) + 2; /* CR, LF */
    return w->good ? MHD_YES : MHD_NO;
}

static bool requesthead_is_plain(const struct exchange *x, const char *target, const char *version)
{
    struct requesthead_walk w = {version + strlen(version) + 2, true};
    if (!requesthead_is_token(x->method) || target != x->method + strlen(x->method) + 1 ||
        !x->target_end || version != x->target_end + 1) {
        return false;
    }
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, requesthead_on_header, &w);
    return w.good && w.at + 2 == x->method + requesthead_size(x);
}

/* Is it clear where the body ends? */
static bool requesthead_is_framed(const struct exchange *x, const char *version)
{
    const char *coding = exchange_header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return exchange_header_count(x, MHD_HTTP_HEADER_CONTENT_LENGTH) +
                   exchange_header_count(x, MHD_HTTP_HEADER_TRANSFER_ENCODING) <= 1 &&
           (!coding || (strcasecmp(coding, "chunked") == 0 && strcmp(version, MHD_HTTP_VERSION_1_1) == 0));
}

void requesthead_target(struct exchange *x, const char *target)
{
    const char *p = target;
    for (; *p && *p != '?'; p++) {
        x->odd = x->odd || strncmp(p, "%00", 3) == 0 || strncasecmp(p, "%2f", 3) == 0;
    }
    for (p = target; *p && !requesthead_is_control(*p); p++) {
    }
    x->target_end = *p ? NULL : p;
}

static bool requesthead_refuse(struct exchange *x, unsigned status, const char *code, const char *message)
{
    struct apierror e;
    apierror_set(&e, status, code, NULL, "%s", message);
    apierror_reply(x, &e, false);
    return true;
}

bool requesthead_refused(struct exchange *x, const char *target, const char *version)
{
    const char *expect = exchange_header(x, MHD_HTTP_HEADER_EXPECT);
    const char *coding = exchange_header(x, MHD_HTTP_HEADER_CONTENT_ENCODING);
    if (requesthead_size(x) > REQUESTHEAD_MAX) {
        return requesthead_refuse(x, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large",
                                  "the request's head is over this server's limit of 32 KiB");
    }
    if (strcmp(version, MHD_HTTP_VERSION_1_1) != 0 && strcmp(version, MHD_HTTP_VERSION_1_0) != 0) {
        return requesthead_refuse(x, MHD_HTTP_BAD_REQUEST, "bad_header",
                                  "this server speaks HTTP/1.1, and HTTP/1.0 with those who do");
    }
    if (!requesthead_is_plain(x, target, version)) {
        return requesthead_refuse(x, MHD_HTTP_BAD_REQUEST, "bad_header",
                                  "a line of this request's head reads in two ways: each ends in CR LF, "
                                  "is not folded, has one colon after its name, and no control characters");
    }
    if (!requesthead_is_framed(x, version)) {
        return requesthead_refuse(
            x, MHD_HTTP_BAD_REQUEST, "bad_framing",
            "it is not clear where this request ends: one Content-Length, or chunks in HTTP/1.1");
    }
    if (*target != '/') {
        return requesthead_refuse(x, MHD_HTTP_BAD_REQUEST, "bad_path",
                                  "what is asked for begins with /: this server is no proxy for "
                                  "whole addresses");
    }
    if (x->odd) {
        return requesthead_refuse(x, MHD_HTTP_BAD_REQUEST, "bad_path",
                                  "a path with %00 or %2F in it is none of this server");
    }
    if (expect && strcasecmp(expect, "100-continue") != 0) {
        return requesthead_refuse(x, MHD_HTTP_EXPECTATION_FAILED, "expectation_failed",
                                  "this server meets no expectation but 100-continue");
    }
    if (coding && *coding && strcasecmp(coding, "identity") != 0) {
        return requesthead_refuse(x, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "bad_content_type",
                                  "this server reads bodies as they are: send it without Content-Encoding");
    }
    return false;
}

bool requesthead_has_body(const struct exchange *x)
{
    const char *length = exchange_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return exchange_header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING) || (length && strcmp(length, "0") != 0);
}

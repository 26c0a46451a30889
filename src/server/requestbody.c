/* server/requestbody.c: see requestbody.h. */
#include "server/requestbody.h"

#include <stdlib.h>

#include "server/apierror.h"
#include "server/exchange_data.h"

enum { REQUESTBODY_RETRY_S = 5 };

void requestbody_limits_init(struct requestbody_limits *l, size_t each, size_t all)
{
    *l = (struct requestbody_limits){.each = each, .all = all};
    pthread_mutex_init(&l->lock, NULL);
}

void requestbody_limits_deinit(struct requestbody_limits *l)
{
    pthread_mutex_destroy(&l->lock);
}

static void requestbody_refuse(struct exchange *x, unsigned status, const char *code, unsigned retry_after,
                               const char *what, size_t limit)
{
    struct apierror e;
    apierror_set(&e, status, code, NULL, "%s over this server's limit of %zu bytes", what, limit);
    e.retry_after = retry_after;
    apierror_reply(x, &e, false);
}

static size_t requestbody_most(const struct requestbody_limits *l, const struct exchange *x)
{
    return x->body_max ? x->body_max : l->each;
}

static void requestbody_too_large(const struct requestbody_limits *l, struct exchange *x)
{
    requestbody_refuse(x, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", 0, "the request's body is",
                       requestbody_most(l, x));
}

bool requestbody_announces_too_much(const struct requestbody_limits *l, struct exchange *x)
{
    const char *length = exchange_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length && strtoull(length, NULL, 10) > requestbody_most(l, x)) {
        requestbody_too_large(l, x);
        return true;
    }
    return false;
}

static bool requestbody_fits(struct requestbody_limits *l, struct exchange *x, size_t n)
{
    pthread_mutex_lock(&l->lock);
    bool fits = n <= l->all - l->kept;
    l->kept += fits ? n : 0;
    pthread_mutex_unlock(&l->lock);
    x->counted += fits ? n : 0;
    return fits;
}

void requestbody_drop(struct requestbody_limits *l, struct exchange *x)
{
    pthread_mutex_lock(&l->lock);
    l->kept -= x->counted;
    pthread_mutex_unlock(&l->lock);
    x->counted = 0;
}

err requestbody_take(struct requestbody_limits *l, struct exchange *x, const char *data, size_t n)
{
    if (x->replied) {
        return ERR_OK;
    }
    if (n > requestbody_most(l, x) - x->body.len) {
        requestbody_too_large(l, x);
    } else if (!requestbody_fits(l, x, n)) {
        requestbody_refuse(x, MHD_HTTP_SERVICE_UNAVAILABLE, "too_many", REQUESTBODY_RETRY_S,
                           "the bodies of all requests are", l->all);
    } else {
        return strbuf_append(&x->body, data, n);
    }
    strbuf_deinit(&x->body);
    requestbody_drop(l, x);
    return ERR_OK;
}

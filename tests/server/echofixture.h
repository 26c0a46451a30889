/* tests/server/echofixture.h: replies that say what the server understood of a request. Test programs only. */
#ifndef TESTS_SERVER_ECHOFIXTURE_H
#define TESTS_SERVER_ECHOFIXTURE_H

#include "server/rawclient.h"

#include "server/exchange.h"

/* METHOD PATH ?q LENGTH BODY */
static inline void echofixture_reply(struct exchange *x)
{
    struct strbuf out = {0};
    size_t len;
    const char *body = exchange_body(x, &len), *q = exchange_query(x, "q");
    err e = strbuf_printf(&out, "%s %s %s %zu ", exchange_method(x), exchange_path(x), q ? q : "-", len);
    e = e == ERR_OK ? strbuf_append(&out, body, len) : e;
    assert_int_equal(e, ERR_OK);
    exchange_reply(x, 200, "text/plain", &out);
}

/* One request on a connection of its own is answered so; `body` NULL: with any. */
static inline void echofixture_says(unsigned port, const char *request, int status, const char *body)
{
    struct rawclient_reply r = rawclient_ask(port, request);
    if (r.status != status || (body && strcmp(r.body, body) != 0)) {
        fail_msg("%s\n→ %s%s\nexpected %d %s", request, r.head, r.body, status, body ? body : "");
    }
    rawclient_free(&r);
}

#endif

/* server/pagechats.c: see pagechats.h. */
#include "server/pagechats.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/chatstore.h"
#include "server/service.h"

static const char *pagechats_owner(const struct exchange *x)
{
    return exchange_caller(x)->owner;
}

/* The store's answer as the reply. Takes `document` when e is ERR_OK. */
static void pagechats_done(struct service *s, struct exchange *x, err e, unsigned status,
                           json_t *take_document, const struct errinfo *info)
{
    struct apierror error;
    if (e != ERR_OK) {
        apierror_from(&error, e, info);
        service_refuse(s, x, &error, false);
    } else if (take_document) {
        service_reply(s, x, status, take_document);
    } else {
        metrics_request(s->metrics, 204);
        exchange_reply(x, 204, NULL, NULL);
    }
}

/* The body as a JSON object in *out; false: the reply says why not. */
static bool pagechats_body(struct service *s, struct exchange *x, json_t **out)
{
    struct errinfo info = {0};
    struct apierror error;
    size_t len;
    const char *body = exchange_body(x, &len);
    err e = json_parse(body, len, "the request", out, &info);
    if (e != ERR_OK) {
        apierror_from(&error, e == ERR_LIMIT ? ERR_ARGUMENT : e, &info);
        service_refuse(s, x, &error, false);
    }
    return e == ERR_OK;
}

/* ---- Chats. ---- */

static void pagechats_list(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    json_t *out = NULL;
    const char *limit = exchange_query(x, "limit");
    (void)m;
    const struct chatstore_query query = {.folder = exchange_query(x, "folder"),
                                          .search = exchange_query(x, "search"),
                                          .before = exchange_query(x, "before"),
                                          .limit = limit ? strtoul(limit, NULL, 10) : 0};
    err e = query.limit > CHATSTORE_LIST_MAX
                ? err_set(&info, ERR_ARGUMENT, "limit is %zu; expected 1 to %d", query.limit,
                          CHATSTORE_LIST_MAX)
                : chatstore_list(s->chats, pagechats_owner(x), &query, &out, &info);
    pagechats_done(s, x, e, 200, out, &info);
}

static void pagechats_create(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    json_t *fields = NULL, *out = NULL;
    (void)m;
    if (pagechats_body(s, x, &fields)) {
        err e = chatstore_create(s->chats, pagechats_owner(x), fields, service_now(), &out, &info);
        pagechats_done(s, x, e, 201, out, &info);
        json_decref(fields);
    }
}

static void pagechats_get(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    json_t *out = NULL;
    err e = chatstore_get(s->chats, pagechats_owner(x), m->parts[0], &out, &info);
    pagechats_done(s, x, e, 200, out, &info);
}

static void pagechats_patch(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    json_t *fields = NULL, *out = NULL;
    if (pagechats_body(s, x, &fields)) {
        err e = chatstore_patch(s->chats, pagechats_owner(x), m->parts[0], fields, &out, &info);
        pagechats_done(s, x, e, 200, out, &info);
        json_decref(fields);
    }
}

static void pagechats_delete(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    err e = chatstore_delete(s->chats, pagechats_owner(x), m->parts[0], &info);
    pagechats_done(s, x, e, 204, NULL, &info);
}

static void pagechats_delete_all(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    const char *all = exchange_query(x, "all");
    (void)m;
    err e = all && strcmp(all, "yes") == 0
                ? chatstore_delete_all(s->chats, pagechats_owner(x), &info)
                : err_set(&info, ERR_ARGUMENT,
                          "deleting every chat needs ?all=yes, so that it is no slip");
    pagechats_done(s, x, e, 204, NULL, &info);
}

/* ---- Presets. ---- */

static void pagechats_presets(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    json_t *out = NULL;
    (void)m;
    err e = chatstore_presets(s->chats, pagechats_owner(x), &out, &info);
    pagechats_done(s, x, e, 200, out, &info);
}

static void pagechats_put_presets(struct service *s, struct exchange *x,
                                  const struct route_match *m)
{
    struct errinfo info = {0};
    json_t *body = NULL;
    (void)m;
    if (pagechats_body(s, x, &body)) {
        err e = chatstore_put_presets(s->chats, pagechats_owner(x),
                                      json_object_get(body, "presets"), &info);
        pagechats_done(s, x, e, 204, NULL, &info);
        json_decref(body);
    }
}

#define PAGECHATS_NEED                                                                             \
    {                                                                                              \
        .scope = CALLER_CHAT                                                                       \
    }

static const struct route_row pagechats_rows[] = {
    {"GET", "/api/chats", PAGECHATS_NEED, .handle = pagechats_list},
    {"POST", "/api/chats", PAGECHATS_NEED, .handle = pagechats_create},
    {"DELETE", "/api/chats", PAGECHATS_NEED, .handle = pagechats_delete_all},
    {"GET", "/api/chats/*", PAGECHATS_NEED, .handle = pagechats_get},
    {"PATCH", "/api/chats/*", PAGECHATS_NEED, .handle = pagechats_patch},
    {"DELETE", "/api/chats/*", PAGECHATS_NEED, .handle = pagechats_delete},
    {"GET", "/api/presets", PAGECHATS_NEED, .handle = pagechats_presets},
    {"PUT", "/api/presets", PAGECHATS_NEED, .handle = pagechats_put_presets},
};

const struct route_table pagechats_routes = {pagechats_rows,
                                             sizeof pagechats_rows / sizeof *pagechats_rows};

/* server/pagechats.c: see pagechats.h. */
#include "server/pagechats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/chatexport.h"
#include "server/chatimport.h"
#include "server/chatsettings.h"
#include "server/fields.h"
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
    struct apierror error;
    bool ok = fields_body(x, out, &error);
    if (!ok) {
        service_refuse(s, x, &error, false);
    }
    return ok;
}

/* Whether what holds settings has such that a turn takes, or none; false: the reply names what is wrong. */
static bool pagechats_settings(struct service *s, struct exchange *x, const json_t *holder, const char *where)
{
    const json_t *settings = json_object_get(holder, "settings");
    struct apierror error;
    if (!settings || chatsettings_check(settings, where, &error)) {
        return true;
    }
    service_refuse(s, x, &error, false);
    return false;
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
    bool number = limit && *limit && !limit[strspn(limit, "0123456789")];
    err e = limit && (!number || query.limit < 1 || query.limit > CHATSTORE_LIST_MAX)
                ? err_set(&info, ERR_ARGUMENT, "limit is \"%.40s\"; expected 1 to %d", limit,
                          CHATSTORE_LIST_MAX)
                : chatstore_list(s->chats, pagechats_owner(x), &query, &out, &info);
    pagechats_done(s, x, e, 200, out, &info);
}

static void pagechats_create(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    json_t *fields = NULL, *out = NULL;
    (void)m;
    if (pagechats_body(s, x, &fields) && pagechats_settings(s, x, fields, "settings")) {
        err e = chatstore_create(s->chats, pagechats_owner(x), fields, service_now(), &out, &info);
        pagechats_done(s, x, e, 201, out, &info);
    }
    json_decref(fields);
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
    if (pagechats_body(s, x, &fields) && pagechats_settings(s, x, fields, "settings")) {
        err e = chatstore_patch(s->chats, pagechats_owner(x), m->parts[0], fields, &out, &info);
        pagechats_done(s, x, e, 200, out, &info);
    }
    json_decref(fields);
}

static void pagechats_delete(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    err e = chatstore_delete(s->chats, pagechats_owner(x), m->parts[0], &info);
    if (e == ERR_OK) {
        liveanswer_forget(s->live, pagechats_owner(x), m->parts[0]);
        service_forget(s, pagechats_owner(x));
    }
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
    if (e == ERR_OK) {
        liveanswer_forget(s->live, pagechats_owner(x), NULL);
        service_forget(s, pagechats_owner(x));
    }
    pagechats_done(s, x, e, 204, NULL, &info);
}

/* ---- To take away, and to bring. ---- */

/* The page names the file, as it knows the title. */
static void pagechats_download(struct service *s, struct exchange *x, const char *type, struct strbuf *body)
{
    exchange_add_header(x, "Content-Disposition", "attachment");
    exchange_add_header(x, "Cache-Control", "no-store");
    metrics_request(s->metrics, 200);
    exchange_reply(x, 200, type, body);
}

/* One chat, or (`id` NULL) all. */
static void pagechats_give(struct service *s, struct exchange *x, const char *id)
{
    const char *format = exchange_query(x, "format");
    bool markdown = format && strcmp(format, "markdown") == 0;
    struct errinfo info = {0};
    struct strbuf body = {0};
    json_t *document = NULL;
    char *text = NULL;
    err e;
    if (markdown && id) {
        e = chatexport_markdown(s->chats, pagechats_owner(x), id, &text, &info);
        e = e == ERR_OK ? strbuf_puts(&body, text) : e;
    } else if (format && !markdown && strcmp(format, "json") != 0) {
        e = err_set(&info, ERR_ARGUMENT, "format is \"%.40s\"; expected json or markdown", format);
    } else if (markdown) {
        e = err_set(&info, ERR_ARGUMENT,
                    "all chats together are to be had as json; markdown is for one chat");
    } else {
        e = id ? chatexport_json(s->chats, pagechats_owner(x), id, &document, &info)
               : chatexport_part(s->chats, pagechats_owner(x), exchange_query(x, "after"), CHATEXPORT_BYTES,
                                 &document, &info);
        e = e == ERR_OK ? wirereply_json(&body, document) : e;
    }
    mem_free(text);
    if (e == ERR_OK) {
        pagechats_download(s, x, markdown ? "text/markdown; charset=utf-8" : "application/json", &body);
    } else {
        strbuf_deinit(&body);
        pagechats_done(s, x, e, 200, NULL, &info);
    }
}

static void pagechats_export(struct service *s, struct exchange *x, const struct route_match *m)
{
    pagechats_give(s, x, m->parts[0]);
}

static void pagechats_export_all(struct service *s, struct exchange *x, const struct route_match *m)
{
    (void)m;
    pagechats_give(s, x, NULL);
}

static void pagechats_import(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    struct chatimport_count n = {0};
    json_t *document = NULL;
    (void)m;
    if (pagechats_body(s, x, &document)) {
        err e = chatimport_read(s->chats, pagechats_owner(x), document, service_now(), &n, &info);
        json_t *counted =
            e == ERR_OK ? json_pack("{s:I, s:I, s:I}", "chats", (json_int_t)n.chats, "already_here",
                                    (json_int_t)n.already_here, "settings_left_out",
                                    (json_int_t)n.settings_left_out)
                        : NULL;
        pagechats_done(s, x, e, 201, counted, &info);
        json_decref(document);
    }
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

static bool pagechats_presets_settings(struct service *s, struct exchange *x, const json_t *presets)
{
    bool good = true;
    for (size_t i = 0; i < json_array_size(presets) && good; i++) {
        char where[40];
        snprintf(where, sizeof where, "presets[%zu].settings", i);
        good = pagechats_settings(s, x, json_array_get(presets, i), where);
    }
    return good;
}

static void pagechats_put_presets(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    json_t *body = NULL;
    (void)m;
    if (pagechats_body(s, x, &body) && pagechats_presets_settings(s, x, json_object_get(body, "presets"))) {
        err e = chatstore_put_presets(s->chats, pagechats_owner(x), json_object_get(body, "presets"), &info);
        pagechats_done(s, x, e, 204, NULL, &info);
    }
    json_decref(body);
}

#define PAGECHATS_NEED                                                                             \
    {                                                                                              \
        .scope = CALLER_CHAT                                                                       \
    }

static const struct route_row pagechats_rows[] = {
    {"GET", "/api/chats", PAGECHATS_NEED, .handle = pagechats_list},
    {"POST", "/api/chats", PAGECHATS_NEED, .handle = pagechats_create},
    {"DELETE", "/api/chats", PAGECHATS_NEED, .heavy = true, .handle = pagechats_delete_all},
    {"GET", "/api/chats/*", PAGECHATS_NEED, .heavy_if_large = true, .handle = pagechats_get},
    {"PATCH", "/api/chats/*", PAGECHATS_NEED, .handle = pagechats_patch},
    {"DELETE", "/api/chats/*", PAGECHATS_NEED, .heavy_if_large = true, .handle = pagechats_delete},
    {"GET", "/api/chats/*/export", PAGECHATS_NEED, .heavy = true, .handle = pagechats_export},
    {"GET", "/api/export", PAGECHATS_NEED, .heavy = true, .handle = pagechats_export_all},
    {"POST", "/api/import", PAGECHATS_NEED, .heavy = true, .body_max = CHATIMPORT_BYTES_MAX,
     .handle = pagechats_import},
    {"GET", "/api/presets", PAGECHATS_NEED, .handle = pagechats_presets},
    {"PUT", "/api/presets", PAGECHATS_NEED, .handle = pagechats_put_presets},
};

const struct route_table pagechats_routes = {pagechats_rows,
                                             sizeof pagechats_rows / sizeof *pagechats_rows};

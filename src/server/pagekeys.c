/* server/pagekeys.c: see pagekeys.h. */
#include "server/pagekeys.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/fields.h"
#include "server/money.h"
#include "server/service.h"

enum { PAGEKEYS_DAYS = 30 /* of usage, when no others are asked for */ };

static void pagekeys_refuse(struct service *s, struct exchange *x, err e,
                            const struct errinfo *info)
{
    struct apierror error;
    apierror_from(&error, e, info);
    service_refuse(s, x, &error, false);
}

/* The request's JSON; NULL: the reply says what is wrong. */
static json_t *pagekeys_body(struct service *s, struct exchange *x)
{
    struct apierror e;
    json_t *body = NULL;
    if (!fields_body(x, &body, &e)) {
        service_refuse(s, x, &e, false);
        return NULL;
    }
    return body;
}

/* ---- Keys. ---- */

static void pagekeys_list(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    struct keystore_key *keys;
    size_t n;
    (void)m;
    service_settle(s);
    err e = keystore_list(s->keys, &keys, &n, &info);
    if (e != ERR_OK) {
        pagekeys_refuse(s, x, e, &info);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        if (json_array_append_new(list, keystore_json(&keys[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    mem_free(keys);
    service_reply(s, x, 200, json_pack("{s:o, s:s}", "keys", list, "currency", s->prices.currency));
}

/* A key with its secret, the one time that is seen; or why there is none. */
static void pagekeys_show(struct service *s, struct exchange *x, err e,
                          const struct keystore_key *key, char secret[KEYSTORE_SECRET + 1],
                          unsigned status, const struct errinfo *info)
{
    if (e != ERR_OK) {
        pagekeys_refuse(s, x, e, info);
        return;
    }
    json_t *out = keystore_json(key);
    if (json_object_set_new(out, "key", json_string(secret)) != 0) {
        json_decref(out);
        out = NULL;
    }
    sodium_memzero(secret, KEYSTORE_SECRET + 1);
    exchange_add_header(x, "Cache-Control", "no-store");
    service_reply(s, x, status, out);
}

static void pagekeys_create(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    struct keystore_key key;
    char secret[KEYSTORE_SECRET + 1];
    json_t *body = pagekeys_body(s, x);
    (void)m;
    if (!body) {
        return;
    }
    err e = keystore_create(s->keys, body, service_now(), &key, secret, &info);
    json_decref(body);
    pagekeys_show(s, x, e, &key, secret, 201, &info);
}

/* The same owner, a new secret; the old one and its sessions end. */
static void pagekeys_renew(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    struct keystore_key key;
    char secret[KEYSTORE_SECRET + 1];
    err e = keystore_renew(s->keys, m->parts[0], service_now(), &key, secret, &info);
    pagekeys_show(s, x, e, &key, secret, 200, &info);
}

static void pagekeys_patch(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    struct keystore_key key;
    json_t *body = pagekeys_body(s, x);
    if (!body) {
        return;
    }
    err e = keystore_patch(s->keys, m->parts[0], body, &key, &info);
    json_decref(body);
    if (e != ERR_OK) {
        pagekeys_refuse(s, x, e, &info);
    } else {
        service_reply(s, x, 200, keystore_json(&key));
    }
}

static void pagekeys_revoke(struct service *s, struct exchange *x, const struct route_match *m)
{
    struct errinfo info = {0};
    err e = keystore_revoke(s->keys, m->parts[0], service_now(), &info);
    if (e != ERR_OK) {
        pagekeys_refuse(s, x, e, &info);
        return;
    }
    service_forget_key(s, m->parts[0]);
    metrics_request(s->metrics, 204);
    exchange_reply(x, 204, NULL, NULL);
}

/* ---- Usage. ---- */

static bool pagekeys_range(const struct exchange *x, struct usagestore_query *out,
                           struct apierror *e)
{
    const char *from = exchange_query(x, "from"), *to = exchange_query(x, "to");
    out->last = usagestore_day(service_now());
    if (to && *to && !usagestore_parse_day(to, &out->last)) {
        return apierror_set(e, 400, "invalid_value", "to",
                            "to is \"%.40s\"; expected a day as 2026-11-23", to);
    }
    out->first = out->last - PAGEKEYS_DAYS + 1;
    if (from && *from && !usagestore_parse_day(from, &out->first)) {
        return apierror_set(e, 400, "invalid_value", "from",
                            "from is \"%.40s\"; expected a day as 2026-11-23", from);
    }
    return true;
}

/* What the asker's own key may still use, as keystore_json, with "tokens_today". NULL: out of memory. */
static json_t *pagekeys_own(struct service *s, const struct caller *who)
{
    struct keystore_key key = {0};
    struct errinfo info = {0};
    uint64_t today = 0;
    if (keystore_get(s->keys, who->owner, &key, &info) != ERR_OK ||
        usagestore_today(s->usage, who->owner, service_now(), &today, NULL, &info) != ERR_OK) {
        return json_null();
    }
    json_t *own = keystore_json(&key);
    if (own && json_object_set_new(own, "tokens_today", json_integer((json_int_t)today)) != 0) {
        json_decref(own);
        own = NULL;
    }
    return own;
}

/* One's own; all keys' for who administers them. */
static void pagekeys_usage(struct service *s, struct exchange *x, const struct route_match *m)
{
    const struct caller *who = exchange_caller(x);
    const char *key = exchange_query(x, "key");
    struct usagestore_query query = {.key = who->scopes & CALLER_ADMIN ? (key && *key ? key : NULL)
                                                                       : who->owner};
    struct apierror e = {0};
    struct errinfo info = {0};
    json_t *out = NULL;
    (void)m;
    if (!pagekeys_range(x, &query, &e)) {
        service_refuse(s, x, &e, false);
        return;
    }
    service_settle(s);
    err result = usagestore_report(s->usage, &query, &out, &info);
    if (result == ERR_OK && who->keyed && json_object_set_new(out, "own", pagekeys_own(s, who)) != 0) {
        json_decref(out);
        result = err_set(&info, ERR_NOMEM, "out of memory for the report");
    }
    if (result != ERR_OK) {
        pagekeys_refuse(s, x, result, &info);
    } else {
        service_reply(s, x, 200, out);
    }
}

/* As DeepSeek has it: amounts are strings; who has no limit has no balance to tell of. */
static void pagekeys_balance(struct service *s, struct exchange *x, const struct route_match *m)
{
    const struct caller *who = exchange_caller(x);
    struct keystore_key key = {0};
    struct errinfo info = {0};
    char amount[MONEY_TEXT];
    (void)m;
    service_settle(s);
    if (!who->keyed || keystore_get(s->keys, who->owner, &key, &info) != ERR_OK || !key.limited) {
        service_reply(s, x, 200, json_pack("{s:b, s:[]}", "is_available", 1, "balance_infos"));
        return;
    }
    money_text(key.balance, amount);
    service_reply(s, x, 200,
                  json_pack("{s:b, s:[{s:s, s:s, s:s, s:s}]}", "is_available", key.balance > 0,
                            "balance_infos", "currency", s->prices.currency, "total_balance",
                            amount, "granted_balance", "0", "topped_up_balance", amount));
}

#define PAGEKEYS_ADMIN                                                                             \
    {                                                                                              \
        .scope = CALLER_ADMIN                                                                      \
    }

static const struct route_row pagekeys_rows[] = {
    {"GET", "/api/keys", PAGEKEYS_ADMIN, .handle = pagekeys_list},
    {"POST", "/api/keys", PAGEKEYS_ADMIN, .handle = pagekeys_create},
    {"PATCH", "/api/keys/*", PAGEKEYS_ADMIN, .handle = pagekeys_patch},
    {"DELETE", "/api/keys/*", PAGEKEYS_ADMIN, .handle = pagekeys_revoke},
    {"POST", "/api/keys/*/renew", PAGEKEYS_ADMIN, .handle = pagekeys_renew},
    {"GET", "/api/usage", {.scope = CALLER_CHAT | CALLER_ADMIN}, .handle = pagekeys_usage},
    {"GET", "/user/balance", {.scope = CALLER_CHAT}, .api = true, .handle = pagekeys_balance},
};

const struct route_table pagekeys_routes = {pagekeys_rows,
                                            sizeof pagekeys_rows / sizeof *pagekeys_rows};

/* server/guard.c: see guard.h. */
#include "server/guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

enum { GUARD_HOST_MAX = 256 };

/* ---- Where the request believes to be. ---- */

/* "name:port", "[address]:port" → name, address. False: it is neither. */
static bool guard_host_name(const char *host, char out[GUARD_HOST_MAX])
{
    const char *from = host, *to;
    if (*host == '[') {
        from++;
        to = strchr(host, ']');
        if (!to || (to[1] != '\0' && to[1] != ':')) {
            return false;
        }
    } else {
        to = strchr(host, ':');
        to = to ? to : host + strlen(host);
    }
    size_t n = (size_t)(to - from);
    const char *port = strchr(to, ':');
    if (n == 0 || n >= GUARD_HOST_MAX ||
        (port && port[1 + strspn(port + 1, "0123456789")] != '\0')) {
        return false;
    }
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

static bool guard_is_ours(const struct guard *g, const char *name)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcasecmp(name, "localhost") == 0) {
        return true;
    }
    for (size_t i = 0; i < g->n_hosts; i++) {
        if (strcasecmp(name, g->hosts[i]) == 0) {
            return true;
        }
    }
    if (inet_pton(AF_INET, name, &four) == 1) {
        return g->open || ntohl(four.s_addr) >> 24 == 127;
    }
    return inet_pton(AF_INET6, name, &six) == 1 && (g->open || IN6_IS_ADDR_LOOPBACK(&six));
}

static bool guard_host(const struct guard *g, const struct exchange *x, struct apierror *e)
{
    const char *host = exchange_header(x, "Host");
    char name[GUARD_HOST_MAX];
    if (!host) {
        return apierror_set(e, 400, "bad_host", NULL, "the request has no Host header");
    }
    if (!guard_host_name(host, name) || !guard_is_ours(g, name)) {
        return apierror_set(e, 403, "bad_host", NULL,
                            "the request is for \"%.100s\", which is no name of this server; if it "
                            "is to be one, start "
                            "with --host NAME",
                            host);
    }
    return true;
}

/* What is decided by a header must not depend on which of two of them is read. */
static bool guard_once(const struct exchange *x, struct apierror *e)
{
    static const char *const names[] = {"Host",           "Origin",       "Sec-Fetch-Site",
                                        "Sec-Fetch-Mode", "Content-Type", "Authorization",
                                        "x-api-key"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (exchange_header_count(x, names[i]) > 1) {
            return apierror_set(e, 400, "repeated_header", NULL,
                                "the request has more than one %s header", names[i]);
        }
    }
    return true;
}

/* ---- Who made the browser ask. ---- */

static bool guard_origin(const struct guard *g, const struct exchange *x,
                         const struct guard_need *need, struct apierror *e)
{
    const char *origin = exchange_header(x, "Origin"), *site = exchange_header(x, "Sec-Fetch-Site");
    const char *mode = exchange_header(x, "Sec-Fetch-Mode"),
               *scheme = g->tls ? "https://" : "http://";
    size_t n = strlen(scheme);
    if (origin && (strncasecmp(origin, scheme, n) != 0 ||
                   strcasecmp(origin + n, exchange_header(x, "Host")) != 0)) {
        return apierror_set(
            e, 403, "foreign_origin", NULL,
            "the request comes from another site (%.100s); this server answers its own page and "
            "programs alone",
            origin);
    }
    bool link = need->page && mode && strcmp(mode, "navigate") == 0;
    if (site && strcmp(site, "none") != 0 && strcmp(site, "same-origin") != 0 && !link) {
        return apierror_set(e, 403, "foreign_origin", NULL,
                            "the request comes from another site (Sec-Fetch-Site: %.40s); this "
                            "server answers its own "
                            "page and programs alone",
                            site);
    }
    return true;
}

static bool guard_type(const struct exchange *x, const struct guard_need *need, struct apierror *e)
{
    const char *method = exchange_method(x), *type = exchange_header(x, "Content-Type");
    const char *expected = need->type ? need->type : "application/json";
    size_t n = strlen(expected);
    bool body = exchange_header(x, "Transfer-Encoding") ||
                (exchange_header(x, "Content-Length") &&
                 strcmp(exchange_header(x, "Content-Length"), "0") != 0);
    if (!body || strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        return true;
    }
    if (!type || strncasecmp(type, expected, n) != 0 ||
        (type[n] != '\0' && type[n] != ';' && type[n] != ' ')) {
        return apierror_set(e, 415, "bad_content_type", NULL,
                            "the body is of type %.60s; expected Content-Type: %s",
                            type ? type : "(none)", expected);
    }
    return true;
}

/* ---- Whose key. ---- */

/* The key shown, or NULL. */
static const char *guard_shown(const struct exchange *x)
{
    const char *authorization = exchange_header(x, "Authorization"),
               *key = exchange_header(x, "x-api-key");
    if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0) {
        key = authorization + 7 + strspn(authorization + 7, " ");
    }
    return key && *key ? key : NULL;
}

void guard_cookie(const struct exchange *x, char out[GUARD_COOKIE])
{
    const char *host = exchange_header(x, "Host"), *port = host ? strrchr(host, ':') : NULL;
    size_t n = port ? strspn(port + 1, "0123456789") : 0;
    bool named = n > 0 && n <= 5 && port[1 + n] == '\0';
    snprintf(out, GUARD_COOKIE, "fathom_session%s%.5s", named ? "_" : "", named ? port + 1 : "");
}

static bool guard_who(const struct guard *g, const struct exchange *x, struct caller *who,
                      struct apierror *e)
{
    char name[GUARD_COOKIE];
    guard_cookie(x, name);
    const char *key = guard_shown(x), *cookie = exchange_cookie(x, name);
    *who =
        (struct caller){.owner = "local", .scopes = g->key_required ? CALLER_NOTHING : CALLER_ALL};
    /* Without keys being asked for, clients that insist on one send any word. */
    if (key && g->key && (g->key_required || strncmp(key, "fathom-", 7) == 0)) {
        return strlen(key) <= GUARD_KEY_MAX
                   ? g->key(g->user, key, who, e)
                   : apierror_set(e, 401, "invalid_api_key", NULL, "this key is no key of ours");
    }
    struct caller known;
    if (!key && cookie && g->cookie && g->cookie(g->user, cookie, &known)) {
        *who = known;
    }
    return true;
}

/* What the key would have to be for. */
static bool guard_refuse_scope(unsigned scope, struct apierror *e)
{
    char names[40] = "";
    for (size_t i = 0, n = 0; i < CALLER_SCOPES; i++) {
        if (scope & caller_scope_names[i].bit) {
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? " or " : "",
                                  caller_scope_names[i].name);
        }
    }
    return apierror_set(e, 403, "missing_scope", NULL, "this key may not do that: it lacks the scope %s",
                        names);
}

bool guard_admits(const struct guard *g, struct exchange *x, const struct guard_need *need,
                  struct apierror *e)
{
    struct caller who;
    if (!guard_once(x, e) || !guard_host(g, x, e) || !guard_origin(g, x, need, e) || !guard_type(x, need, e) ||
        (!need->page && !guard_who(g, x, &who, e))) {
        return false;
    }
    if (need->page) {
        return true;
    }
    if (need->scope && !(who.scopes & need->scope)) {
        return who.keyed
                   ? guard_refuse_scope(need->scope, e)
                   : apierror_set(e, 401, "invalid_api_key", NULL,
                                  "a key is needed: Authorization: Bearer KEY, or x-api-key: KEY "
                                  "(fathom keys "
                                  "create makes one)");
    }
    struct caller *kept = mem_alloc(sizeof *kept);
    if (!kept) {
        return apierror_set(e, 503, "out_of_memory", NULL, "out of memory");
    }
    *kept = who;
    exchange_set_caller(x, kept);
    return true;
}

/* The guard: every Host, Origin, Sec-Fetch-Site, Content-Type and key against every other, over real requests. */
#include "server/rawclient.h"

#include <signal.h>

#include "base/mem.h"
#include "server/guard.h"
#include "server/httpserver.h"
#include "server/listener.h"

/* Headers that something is decided by come once. */
static bool repeated(const char *headers)
{
    static const char *const names[] = {"Origin:", "Sec-Fetch-Site:", "Content-Type:"};
    for (size_t i = 0; i < 3; i++) {
        const char *one = strstr(headers, names[i]);
        if (one && strstr(one + 1, names[i])) {
            return true;
        }
    }
    return false;
}

struct door {
    struct httpserver *http;
    unsigned port;
    struct guard guard;
    struct guard_need need;
};

/* "fathom-chat" may chat, "fathom-busy" has no more requests now, others are nobody's. */
static bool key_of(void *user, const char *key, struct caller *out, struct apierror *e)
{
    (void)user;
    if (strcmp(key, "fathom-busy") == 0) {
        apierror_set(e, 429, "too_many", NULL, "too many requests at once");
        return false;
    }
    if (strcmp(key, "fathom-chat") != 0 && strcmp(key, "fathom-none") != 0) {
        return apierror_set(e, 401, "invalid_api_key", NULL, "this key is no key of ours");
    }
    *out = (struct caller){.owner = "7", .scopes = key[7] == 'c' ? CALLER_CHAT : CALLER_NOTHING, .keyed = true};
    return true;
}

/* Writes before it refuses: that must count for nothing. */
static bool cookie_of(void *user, const char *token, struct caller *out)
{
    (void)user;
    *out = (struct caller){.owner = "8", .scopes = CALLER_CHAT, .keyed = true};
    return strcmp(token, "good") == 0;
}

static void handle(void *user, struct exchange *x, bool whole)
{
    struct door *d = user;
    struct apierror e = {0};
    if (!whole) {
        if (!guard_admits(&d->guard, x, &d->need, &e)) {
            apierror_reply(x, &e, false);
        }
        return;
    }
    const struct caller *c = exchange_caller(x);
    struct strbuf who = {0};
    err result = strbuf_puts(&who, c ? c->owner : "-");
    assert_int_equal(result, ERR_OK);
    exchange_reply(x, 200, "text/plain", &who);
}

static int open_door(void **state)
{
    static struct door door;
    struct errinfo info = {0};
    struct httpserver_options o = {.handle = handle, .user = &door};
    door = (struct door){.port = 0};
    signal(SIGPIPE, SIG_IGN);
    if (listener_tcp("127.0.0.1", 0, &o.listener, &door.port, &info) != ERR_OK ||
        httpserver_start(&o, &door.http, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    *state = &door;
    return 0;
}

static int close_door(void **state)
{
    httpserver_stop(((struct door *)*state)->http);
    return 0;
}

/* One connection for all requests of a test would hide what a refusal does to it: each has its own. */
static int ask(const struct door *d, const char *method, const char *headers, char who[64])
{
    char request[4096];
    snprintf(request, sizeof request, "%s /x HTTP/1.1\r\n%s\r\n%s", method, headers,
             strstr(headers, "Content-Length: 2\r\n") ? "{}" : "");
    struct rawclient_reply r = rawclient_ask(d->port, request);
    int status = r.status;
    char value[1024];
    assert_null(rawclient_header(&r, "Access-Control-Allow-Origin", value)); /* never */
    if (who) {
        snprintf(who, 64, "%s", status == 200 ? r.body : "");
    }
    rawclient_free(&r);
    return status;
}

static const struct {
    const char *line;
    int closed, open; /* status where this machine alone can reach it, and where others can */
} hosts[] = {
    {"Host: localhost\r\n", 200, 200},          {"Host: localhost:8080\r\n", 200, 200},
    {"Host: LOCALHOST\r\n", 200, 200},          {"Host: 127.0.0.1:8080\r\n", 200, 200},
    {"Host: 127.1.2.3\r\n", 200, 200},          {"Host: [::1]\r\n", 200, 200},
    {"Host: [::1]:8080\r\n", 200, 200},         {"Host: box.example\r\n", 200, 200},
    {"Host: BOX.example:1\r\n", 200, 200},      {"Host: 192.168.1.5\r\n", 403, 200},
    {"Host: [fe80::1]:80\r\n", 403, 200},       {"Host: 0.0.0.0\r\n", 403, 200},
    {"Host: evil.example\r\n", 403, 403},       {"Host: localhost.evil.example\r\n", 403, 403},
    {"Host: evil.example:127.0.0.1\r\n", 403, 403}, {"Host: 127.0.0.1.evil.example\r\n", 403, 403},
    {"Host: localhost:80@evil\r\n", 403, 403},  {"Host: localhost:\r\n", 200, 200},
    {"Host: [::1\r\n", 403, 403},               {"Host: [::1]x\r\n", 403, 403},
    {"Host: 2130706433\r\n", 403, 403},         {"Host: 0x7f.1\r\n", 403, 403},
    {"Host: 127.1\r\n", 403, 403},              {"Host: localhost.\r\n", 403, 403},
    {"Host: \r\n", 403, 403},                   {"Host: box.example, evil\r\n", 403, 403},
    {"Host: localhost\r\nHost: localhost\r\n", 400, 400},
    {"Host: localhost\r\nhost: evil\r\n", 400, 400},
};

static void test_hosts(void **state)
{
    struct door *d = *state;
    static const char *const names[] = {"box.example"};
    for (int open = 0; open < 2; open++) {
        d->guard = (struct guard){.open = open, .hosts = names, .n_hosts = 1};
        for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
            int found = ask(d, "GET", hosts[i].line, NULL), expected = open ? hosts[i].open : hosts[i].closed;
            if (found != expected) {
                fail_msg("%s→ %d, expected %d", hosts[i].line, found, expected);
            }
        }
    }
}

static const struct {
    const char *line;
    bool http, https; /* good there */
} origins[] = {
    {"", true, true},
    {"Origin: http://localhost:8080\r\n", true, false},
    {"Origin: HTTP://LOCALHOST:8080\r\n", true, false},
    {"Origin: https://localhost:8080\r\n", false, true},
    {"Origin: http://localhost\r\n", false, false},
    {"Origin: http://localhost:80800\r\n", false, false},
    {"Origin: http://127.0.0.1:8080\r\n", false, false},
    {"Origin: http://evil.example\r\n", false, false},
    {"Origin: null\r\n", false, false},
    {"Origin: \r\n", false, false},
    {"Origin: http://localhost:8080\r\nOrigin: http://evil.example\r\n", false, false},
    {"Origin: http://evil.example\r\nOrigin: http://localhost:8080\r\n", false, false},
    {"Origin: http://localhost:8080/\r\n", false, false},
};
static const struct {
    const char *line;
    bool good, linked; /* linked: the page itself may be opened so */
} sites[] = {
    {"", true, true},
    {"Sec-Fetch-Site: none\r\n", true, true},
    {"Sec-Fetch-Site: same-origin\r\n", true, true},
    {"Sec-Fetch-Site: same-site\r\n", false, false},
    {"Sec-Fetch-Site: cross-site\r\n", false, false},
    {"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n", false, true},
    {"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n", false, false},
    {"Sec-Fetch-Site: anything\r\n", false, false},
    {"Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n", false, false},
};
static const struct {
    const char *line;
    int status;
} types[] = {
    {"", 200},
    {"Content-Length: 0\r\n", 200},
    {"Content-Type: application/json\r\nContent-Length: 2\r\n", 200},
    {"Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: 2\r\n", 200},
    {"Content-Type: application/json ;x\r\nContent-Length: 2\r\n", 200},
    {"Content-Length: 2\r\n", 415},
    {"Content-Type: text/plain\r\nContent-Length: 2\r\n", 415},
    {"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n", 415},
    {"Content-Type: multipart/form-data; boundary=a\r\nContent-Length: 2\r\n", 415},
    {"Content-Type: application/jsonx\r\nContent-Length: 2\r\n", 415},
    {"Content-Type: text/plain; application/json\r\nContent-Length: 2\r\n", 415},
    {"Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n", 415},
    {"Content-Type: text/plain\r\nContent-Type: application/json\r\nContent-Length: 2\r\n", 415},
};

static void test_origins_sites_and_types(void **state)
{
    struct door *d = *state;
    for (size_t o = 0; o < sizeof origins / sizeof *origins; o++) {
        for (size_t s = 0; s < sizeof sites / sizeof *sites; s++) {
            for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
                char headers[1024];
                snprintf(headers, sizeof headers, "Host: localhost:8080\r\n%s%s%s", origins[o].line, sites[s].line,
                         types[t].line);
                d->guard = (struct guard){.key_required = false};
                d->need = (struct guard_need){.scope = CALLER_CHAT};
                int found = ask(d, "POST", headers, NULL),
                    expected = repeated(headers)                        ? 400
                               : origins[o].http && sites[s].good ? types[t].status
                                                                  : 403;
                if (found != expected) {
                    fail_msg("%s→ %d, expected %d", headers, found, expected);
                }
            }
        }
    }
}

static void test_the_page_may_be_linked_to_and_tls_has_its_own_origin(void **state)
{
    struct door *d = *state;
    char headers[1024];
    for (size_t s = 0; s < sizeof sites / sizeof *sites; s++) {
        d->guard = (struct guard){.key_required = true, .key = key_of};
        d->need = (struct guard_need){.page = true};
        snprintf(headers, sizeof headers, "Host: localhost:8080\r\n%s", sites[s].line);
        assert_int_equal(ask(d, "GET", headers, NULL), repeated(headers) ? 400 : sites[s].linked ? 200 : 403);
    }
    for (size_t o = 0; o < sizeof origins / sizeof *origins; o++) {
        d->guard = (struct guard){.tls = true};
        d->need = (struct guard_need){.scope = CALLER_CHAT};
        snprintf(headers, sizeof headers, "Host: localhost:8080\r\n%s", origins[o].line);
        assert_int_equal(ask(d, "GET", headers, NULL), repeated(headers) ? 400 : origins[o].https ? 200 : 403);
    }
    d->need = (struct guard_need){.scope = CALLER_CHAT, .type = "application/pdf"};
    d->guard = (struct guard){.key_required = false};
    assert_int_equal(ask(d, "PUT", "Host: localhost\r\nContent-Type: application/pdf\r\nContent-Length: 2\r\n", NULL), 200);
    assert_int_equal(ask(d, "PUT", "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n", NULL), 415);
}

static const struct {
    const char *lines;
    int status[4]; /* needs: nothing, chat, metrics, with keys required; chat, without */
    const char *who[4];
} keys[] = {
    {"", {200, 401, 401, 200}, {"local", "", "", "local"}},
    {"Authorization: Bearer fathom-chat\r\n", {200, 200, 403, 200}, {"7", "7", "", "7"}},
    {"authorization: bearer   fathom-chat\r\n", {200, 200, 403, 200}, {"7", "7", "", "7"}},
    {"X-Api-Key: fathom-chat\r\n", {200, 200, 403, 200}, {"7", "7", "", "7"}},
    {"Authorization: Bearer fathom-none\r\n", {200, 403, 403, 403}, {"7", "", "", ""}},
    {"Authorization: Bearer fathom-wrong\r\n", {401, 401, 401, 401}, {"", "", "", ""}},
    {"Authorization: Bearer fathom-busy\r\n", {429, 429, 429, 429}, {"", "", "", ""}},
    {"Authorization: Bearer anything\r\n", {401, 401, 401, 200}, {"", "", "", "local"}},
    {"Authorization: Bearer \r\n", {200, 401, 401, 200}, {"local", "", "", "local"}},
    {"Authorization: Basic ZmF0aG9tLWNoYXQ=\r\n", {200, 401, 401, 200}, {"local", "", "", "local"}},
    {"Authorization: fathom-chat\r\n", {200, 401, 401, 200}, {"local", "", "", "local"}},
    {"Cookie: fathom_session=good\r\n", {200, 200, 403, 200}, {"8", "8", "", "8"}},
    {"Cookie: a=b; fathom_session=good; c=d\r\n", {200, 200, 403, 200}, {"8", "8", "", "8"}},
    {"Cookie: fathom_session=bad\r\n", {200, 401, 401, 200}, {"local", "", "", "local"}},
    {"Cookie: session=good\r\n", {200, 401, 401, 200}, {"local", "", "", "local"}},
    {"Authorization: Bearer fathom-chat\r\nAuthorization: Bearer fathom-wrong\r\n", {400, 400, 400, 400}, {"", "", "", ""}},
    /* Two that differ: the key counts, and a wrong one is not saved by a good cookie. */
    {"Authorization: Bearer fathom-wrong\r\nCookie: fathom_session=good\r\n", {401, 401, 401, 401}, {"", "", "", ""}},
    {"Authorization: Bearer fathom-wrong\r\nx-api-key: fathom-chat\r\n", {401, 401, 401, 401}, {"", "", "", ""}},
};

/* Servers on two ports of a host have a cookie each. */
static void test_a_port_has_a_cookie_of_its_own(void **state)
{
    struct door *d = *state;
    static const struct {
        const char *lines, *who;
    } asks[] = {{"Host: localhost:81\r\nCookie: fathom_session=bad; fathom_session_81=good; fathom_session_8=bad\r\n", "8"},
                {"Host: localhost:81\r\nCookie: fathom_session=good; fathom_session_8=good\r\n", "local"},
                {"Host: [::1]:8080\r\nCookie: fathom_session_8080=good\r\n", "8"},
                {"Host: [::1]\r\nCookie: fathom_session=good\r\n", "8"}};
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        char who[64];
        d->guard = (struct guard){.key = key_of, .cookie = cookie_of};
        d->need = (struct guard_need){.scope = CALLER_CHAT};
        assert_int_equal(ask(d, "GET", asks[i].lines, who), 200);
        assert_string_equal(who, asks[i].who);
    }
}

static void test_keys(void **state)
{
    struct door *d = *state;
    static const unsigned needs[] = {CALLER_NOTHING, CALLER_CHAT, CALLER_METRICS, CALLER_CHAT};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        for (size_t n = 0; n < 4; n++) {
            char headers[1024], who[64];
            snprintf(headers, sizeof headers, "Host: localhost\r\n%s", keys[i].lines);
            d->guard = (struct guard){.key_required = n < 3, .key = key_of, .cookie = cookie_of};
            d->need = (struct guard_need){.scope = needs[n]};
            int found = ask(d, "GET", headers, who);
            if (found != keys[i].status[n] || strcmp(who, keys[i].who[n]) != 0) {
                fail_msg("%sneed %u → %d \"%s\", expected %d \"%s\"", headers, needs[n], found, who, keys[i].status[n],
                         keys[i].who[n]);
            }
        }
    }
    char headers[600] = "Host: localhost\r\nAuthorization: Bearer fathom-"; /* longer than any key of ours */
    size_t n = strlen(headers);
    memset(headers + n, 'a', 300);
    strcpy(headers + n + 300, "\r\n");
    d->need = (struct guard_need){.scope = CALLER_CHAT};
    assert_int_equal(ask(d, "GET", headers, NULL), 401);
    d->guard = (struct guard){.key_required = true}; /* asked for, but there are none */
    assert_int_equal(ask(d, "GET", "Host: localhost\r\nAuthorization: Bearer fathom-chat\r\n", NULL), 401);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins_sites_and_types),
        cmocka_unit_test(test_the_page_may_be_linked_to_and_tls_has_its_own_origin),
        cmocka_unit_test(test_a_port_has_a_cookie_of_its_own),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, open_door, close_door);
}

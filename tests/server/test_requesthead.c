/* Requests that somebody else might read in another way than we do, and so hide one in another: each is refused, and
 * what is behind it is not answered. */
#include "server/echofixture.h"

#include <signal.h>

#include "base/mem.h"
#include "server/httpserver.h"
#include "server/listener.h"
#include "server/requesthead.h"

struct echo {
    struct httpserver *http;
    unsigned port;
    size_t alive; /* allocations before */
};

static void handle(void *user, struct exchange *x, bool whole)
{
    (void)user;
    if (whole) {
        echofixture_reply(x);
    }
}

static int echo_start(void **state)
{
    static struct echo echo;
    struct httpserver_options o = {.handle = handle, .deadlines = {.headers = 0.4, .body = 0.4}};
    struct errinfo info = {0};
    signal(SIGPIPE, SIG_IGN);
    echo.alive = mem_alive();
    assert_int_equal(listener_tcp("127.0.0.1", 0, &o.listener, &echo.port, &info), ERR_OK);
    assert_int_equal(httpserver_start(&o, &echo.http, &info), ERR_OK);
    *state = &echo;
    return 0;
}

static int echo_stop(void **state)
{
    const struct echo *e = *state;
    httpserver_stop(e->http);
    assert_int_equal(mem_alive(), e->alive);
    return 0;
}

/* With NULs inside. */
struct text {
    const char *bytes;
    size_t n;
};
#define TEXT(literal) {literal, sizeof literal - 1}

/* Everything that the server says to it, until it ends the connection. */
static struct rawclient told(unsigned port, struct text head, struct text rest)
{
    struct rawclient c = rawclient_open(port);
    if (rawclient_send(&c, head.bytes, head.n)) {
        rawclient_send(&c, rest.bytes, rest.n);
    }
    while (rawclient_more(&c, 3000)) {
    }
    return c;
}

static void refused(unsigned port, struct text head, struct text rest)
{
    struct rawclient c = told(port, head, rest);
    bool said = strncmp(c.in, "HTTP/1.1 4", 10) == 0 || strncmp(c.in, "HTTP/1.1 505 ", 13) == 0;
    if ((c.len > 0 && !said) || strstr(c.in, " 200 OK") || !rawclient_ended(&c)) {
        fail_msg("%.*s%.*s\n→ %s", (int)head.n, head.bytes, (int)rest.n, rest.bytes, c.in);
    }
    rawclient_close(&c);
}

#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

/* Behind "POST /a HTTP/1.1", "Host: x". */
static const struct text attacks[] = {
    TEXT("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    TEXT("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    TEXT("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    TEXT("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    TEXT("Content-Length: 5, 5\r\n\r\nhello"),
    TEXT("Content-Length: +5\r\n\r\nhello"),
    TEXT("Content-Length: -5\r\n\r\nhello"),
    TEXT("Content-Length: 0x5\r\n\r\nhello"),
    TEXT("Content-Length: five\r\n\r\nhello"),
    TEXT("Content-Length: 18446744073709551621\r\n\r\nhello"),
    TEXT("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    TEXT("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    TEXT("Transfer-Encoding: identity\r\n\r\n"),
    TEXT("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    TEXT("Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"),
    TEXT("Transfer-Encoding: chunked\r\n\r\ng\r\n0\r\n\r\n"),
    TEXT("Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n"),
    TEXT("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n"),
    TEXT("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n"),
    TEXT("Content-Length : 5\r\n\r\nhello"),
    TEXT("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    TEXT("Content-Length\t: 5\r\n\r\nhello"),
    TEXT("X-A: b\r\n Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
    /* folded: libmicrohttpd 0.9.75 takes "c" for the rest of the name */
    TEXT("X-A: b\r\n c\r\n\r\n"),
    TEXT("X-A: b\r\n\tc\r\nX-B: d\r\n\r\n"),
    TEXT("Content-Len: 38\r\n gth\r\n\r\n"),
    TEXT("X-A: b\r\n \r\n\r\n"),
    TEXT("Content-Length: 0\r\n 5\r\n\r\n"),
    /* control characters */
    TEXT("X-A: b\0c\r\n\r\n"),
    TEXT("X-A: b\0\r\n\r\n"),
    TEXT("X-A: b\0Content-Length: 38\r\nX-B: c\r\n\r\n"),
    TEXT("Content-Length: 0\0005\r\n\r\n"),
    TEXT("X\0-A: b\r\n\r\n"),
    TEXT("X-A\0: b\r\n\r\n"),
    TEXT("X-A: b\rContent-Length: 38\r\n\r\n"),
    TEXT("X-A: b\r\r\n\r\n"),
    TEXT("\rX-A: b\r\n\r\n"),
    TEXT("X-A: b\x1f\r\n\r\n"),
    TEXT("X-A: b\x7f\r\n\r\n"),
    TEXT("X-\xe4: b\r\n\r\n"),
    TEXT("X A: b\r\n\r\n"),
    TEXT("X-A\r\n\r\n"),
    TEXT(": b\r\n\r\n"),
    /* lines that end in LF alone */
    TEXT("X-A: b\n\r\n"),
    TEXT("X-A: b\r\n\n"),
    TEXT("X-A: b\nContent-Length: 38\r\n\r\n"),
    TEXT("X-A:b\nX-B:c\nX-C:  d\r\n\r\n"),
};

static void test_what_is_framed_in_two_ways_is_refused(void **state)
{
    const struct echo *e = *state;
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        char text[1024];
        static const char head[] = "POST /a HTTP/1.1\r\nHost: x\r\n";
        memcpy(text, head, strlen(head));
        memcpy(text + strlen(head), attacks[i].bytes, attacks[i].n);
        refused(e->port, (struct text){text, strlen(head) + attacks[i].n}, (struct text)TEXT(SMUGGLED));
    }
}

static const struct text lines[] = {
    TEXT("hello\r\n\r\n"),
    TEXT("GET\r\n\r\n"),
    TEXT("GET \r\n\r\n"),
    TEXT("GET /a\r\n\r\n"),
    TEXT("GET /a HTTP/9.9\r\nHost: x\r\n\r\n"),
    TEXT("GET /a HTTP/2.0\r\nHost: x\r\n\r\n"),
    TEXT("GET /a HTTP/1.9\r\nHost: x\r\n\r\n"),
    TEXT("GET /a HTTP/1.2\r\nHost: x\r\n\r\n"),
    TEXT("GET /a HTTP/0.9\r\nHost: x\r\n\r\n"),
    TEXT("GET /a HTTP/1.1 \r\nHost: x\r\n\r\n"),
    TEXT("GET /a HTTP/1.1x\r\nHost: x\r\n\r\n"),
    TEXT("GET  /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET /a  HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET\t/a HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET /a\tHTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("G\0T /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("G\x01T /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("G(T /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET /a\0HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET /a\rb HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET /a?q=\rb HTTP/1.1\r\nHost: x\r\n\r\n"),
    TEXT("GET /a HTTP/1.1\nHost: x\r\n\r\n"),
    TEXT("GET /a HTTP/1.1\nHost: x\n\n"),
    TEXT("GET /a HTTP/1.0\n\r\n"),
    TEXT("GET /a HTTP/1.0\r\n\n"),
    TEXT("GET /a HTTP/1.1\r\n Host: x\r\n\r\n"),
    TEXT("GET /a HTTP/1.1\r\nHost x\r\n\r\n"),
    TEXT("GET /a HTTP/1.1\r\n\r\n"),
    TEXT("GET /a HTTP/1.1\r\n: x\r\n\r\n"),
    TEXT("\x16\x03\x01\x02\x01\x01\r\n\r\n"),
};

static void test_what_is_no_http_is_refused(void **state)
{
    const struct echo *e = *state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        refused(e->port, lines[i], (struct text)TEXT(SMUGGLED));
    }
}

static void test_a_refusal_says_why(void **state)
{
    static const struct {
        struct text request;
        int status;
        const char *code;
    } cases[] = {
        {TEXT("GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "bad_path"},
        {TEXT("GET /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "bad_path"},
        {TEXT("GET /%2F HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "bad_path"},
        {TEXT("GET http://x/a HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "bad_path"},
        {TEXT("POST /a HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi"), 415, "bad_content_type"},
        {TEXT("POST /a%2f HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"), 400, "bad_path"},
        {TEXT("POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), 400, "bad_framing"},
        {TEXT("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), 400,
         "bad_framing"},
        {TEXT("POST /a HTTP/1.1\r\nHost: x\r\nExpect: foo\r\nContent-Length: 2\r\n\r\nhi"), 417, "expectation_failed"},
        {TEXT("GET /a HTTP/1.1\r\nHost: x\r\nExpect: foo\r\n\r\n"), 417, "expectation_failed"},
        {TEXT("GET /a HTTP/1.9\r\nHost: x\r\n\r\n"), 400, "bad_header"},
        {TEXT("GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n"), 400, "bad_header"},
        {TEXT("GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n"), 400, "bad_header"},
        {TEXT("GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n"), 400, "bad_header"},
        {TEXT("GET /a HTTP/1.1\r\nHost: x\n\r\n"), 400, "bad_header"},
    };
    const struct echo *e = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rawclient c = rawclient_open(e->port);
        assert_true(rawclient_send(&c, cases[i].request.bytes, cases[i].request.n));
        struct rawclient_reply r = rawclient_reply(&c);
        if (r.status != cases[i].status || !strstr(r.body, "{\"error\":{\"message\":") || !strstr(r.body, cases[i].code) ||
            !rawclient_ends(&c, 2000)) {
            fail_msg("%s → %s%s", cases[i].request.bytes, r.head, r.body);
        }
        rawclient_free(&r);
        rawclient_close(&c);
    }
    struct rawclient_reply r = rawclient_ask(e->port, "GET /a HTTP/1.9\r\nHost: x\r\nanthropic-version: 1\r\n\r\n");
    assert_non_null(strstr(r.body, "{\"type\":\"error\",\"error\":"));
    rawclient_free(&r);
}

/* What others write, however odd, is read as it is meant. */
static void test_what_reads_in_one_way_is_answered(void **state)
{
    static const struct {
        const char *request, *body;
    } cases[] = {
        {"GET /a HTTP/1.0\r\n\r\n", "GET /a - 0 "},
        {"GET /a HTTP/1.1\r\nHost:x\r\n\r\n", "GET /a - 0 "},
        {"POST /a HTTP/1.1\r\nHost:x\r\nContent-Encoding: Identity\r\nContent-Length: 2\r\n\r\nhi", "POST /a - 2 hi"},
        {"GET /a HTTP/1.1\r\nHost:\t x \t \r\nX-Empty:\r\nX-Blank:   \r\nX-Last: y\r\n\r\n", "GET /a - 0 "},
        {"GET /a?q=%2F%00&r=/ HTTP/1.1\r\nHost: x\r\nCookie: a=b; c=\"d\"\r\n\r\n", "GET /a / 0 "},
        {"GET /a%20b%41?q HTTP/1.1\r\nHost: x\r\nX-A: \xc3\xa4: \"b\"\ty\r\n\r\n", "GET /a bA - 0 "},
        {"\r\n\r\nPURGE /a HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\n\r\n", "PURGE /a - 0 "},
        {"POST /a HTTP/1.1\r\nhOST: x\r\ncontent-LENGTH:2\r\n\r\nhi", "POST /a - 2 hi"},
        {"POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "POST /a - 2 hi"},
    };
    const struct echo *e = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rawclient_reply r = rawclient_ask(e->port, cases[i].request);
        if (r.status != 200 || strcmp(r.body, cases[i].body) != 0) {
            fail_msg("%s → %s%s", cases[i].request, r.head, r.body);
        }
        rawclient_free(&r);
    }
}

/* libmicrohttpd 0.9.75 writes NULs over CR LF, so that NUL LF looks like them: it ends a line, and hides nothing.
 * Where this fails, a newer one has learnt to tell: then these are attacks like the others. */
static void test_nul_lf_is_taken_for_the_end_of_a_line(void **state)
{
    static const struct text heads[] = {
        TEXT("X-A: b\0\nContent-Length: 2\r\n\r\nhi"),
        TEXT("Content-Length: 2\0\n\r\nhi"),
        TEXT("Content-Length: 2\r\n\0\nhi"),
    };
    const struct echo *e = *state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char text[200];
        size_t n = (size_t)sprintf(text, "POST /a HTTP/1.1\r\nHost: x\r\n");
        memcpy(text + n, heads[i].bytes, heads[i].n);
        struct rawclient c = rawclient_open(e->port);
        assert_true(rawclient_send(&c, text, n + heads[i].n));
        struct rawclient_reply r = rawclient_reply(&c);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, "POST /a - 2 hi");
        rawclient_free(&r);
        rawclient_close(&c);
    }
}

/* A long head comes in many pieces, and its memory grows meanwhile. */
static void test_long_heads_are_read(void **state)
{
    const struct echo *e = *state;
    for (size_t most = 1000; most <= 48000; most += 2300) {
        char head[50000];
        size_t n = (size_t)sprintf(head, "GET /a HTTP/1.1\r\nHost: x\r\nCookie: ");
        for (size_t i = 0; n < most; i++) {
            n += (size_t)sprintf(head + n, i % 40 == 39 ? "\r\nX-A%zu: " : "%zu; ", i);
        }
        n += (size_t)sprintf(head + n, "\r\n\r\n");
        struct rawclient c = rawclient_open(e->port);
        for (size_t at = 0; at < n; at += 997) {
            assert_true(rawclient_send(&c, head + at, n - at < 997 ? n - at : 997));
            usleep(1000);
        }
        struct rawclient_reply r = rawclient_reply(&c);
        bool fits = n <= REQUESTHEAD_MAX;
        if (r.status != (fits ? 200 : 431) || (!fits && !strstr(r.body, "{\"error\":{\"message\":"))) {
            fail_msg("%zu bytes → %s%s", n, r.head, r.body);
        }
        rawclient_free(&r);
        rawclient_close(&c);
    }
}

/* libmicrohttpd takes these, and does not tell. So nothing counts that comes behind chunks. */
static void test_nothing_follows_chunks(void **state)
{
    static const struct text bodies[] = {
        TEXT("2\r\nhi\r\n0\r\n\r\n"),
        TEXT("2\nhi\n0\n\n"),
        TEXT("2;\nhi\r\n0\r\n\r\n"),
        TEXT("2\r\nhi\n0\r\n\r\n"),
        TEXT("2\r\nhi\r\n0\r\nX-Late: b\n\n"),
        TEXT("2\r\nhi\r\n0\r\nContent-Length: 5\r\n\r\n"),
        TEXT("2;a=\"\r\nhi\r\n0\r\n\r\n"),
    };
    const struct echo *e = *state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char text[512];
        size_t n = (size_t)sprintf(text, "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        memcpy(text + n, bodies[i].bytes, bodies[i].n);
        struct rawclient c = told(e->port, (struct text){text, n + bodies[i].n}, (struct text)TEXT(SMUGGLED));
        if (strstr(c.in, "smuggled") || !strstr(c.in, "POST /a - 2 hi") || !strstr(c.in, "Connection: close\r\n") ||
            !rawclient_ended(&c)) {
            fail_msg("%s → %s", bodies[i].bytes, c.in);
        }
        rawclient_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_framed_in_two_ways_is_refused),
        cmocka_unit_test(test_what_is_no_http_is_refused),
        cmocka_unit_test(test_a_refusal_says_why),
        cmocka_unit_test(test_what_reads_in_one_way_is_answered),
        cmocka_unit_test(test_nul_lf_is_taken_for_the_end_of_a_line),
        cmocka_unit_test(test_long_heads_are_read),
        cmocka_unit_test(test_nothing_follows_chunks),
    };
    return cmocka_run_group_tests(tests, echo_start, echo_stop);
}

/* The HTTP server: requests whole and in pieces, limits, deadlines, crowds, streams that wait, flood and end
 * early, TLS and Unix sockets; with a handler of the test behind it. */
#include "server/echofixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "formats/tempdir.h"
#include "server/httpserver.h"
#include "server/listener.h"

enum { TAPS = 16 };

/* A source that the test pours into. */
struct tap {
    pthread_mutex_t lock;
    struct strbuf ready;
    struct exchange *x; /* NULL: closed, or not open yet */
    bool over;
    atomic_int opened, closed, pulls;
};

struct world {
    struct httpserver *http;
    unsigned port;
    struct tap taps[TAPS];
};

static void tap_pour(struct tap *t, const char *text, bool over)
{
    pthread_mutex_lock(&t->lock);
    err e = strbuf_puts(&t->ready, text);
    assert_int_equal(e, ERR_OK);
    t->over = t->over || over;
    if (t->x) {
        exchange_wake(t->x);
    }
    pthread_mutex_unlock(&t->lock);
}

static enum exchange_more tap_pull(void *user, struct exchange *x, struct strbuf *out)
{
    struct tap *t = user;
    enum exchange_more more;
    t->pulls++;
    pthread_mutex_lock(&t->lock);
    if (t->over && strcmp(exchange_path(x), "/fails") == 0) {
        exchange_fail(x, 429, "text/plain");
    }
    err e = t->ready.len ? strbuf_append(out, t->ready.data, t->ready.len) : ERR_OK;
    strbuf_clear(&t->ready);
    more = t->over || e != ERR_OK ? EXCHANGE_END : EXCHANGE_WAIT;
    pthread_mutex_unlock(&t->lock);
    return more;
}

static enum exchange_more tap_flood(void *user, struct exchange *x, struct strbuf *out)
{
    struct tap *t = user;
    char block[4096];
    (void)x;
    t->pulls++;
    memset(block, 'x', sizeof block);
    return strbuf_append(out, block, sizeof block) == ERR_OK ? EXCHANGE_WAIT : EXCHANGE_END;
}

static void tap_close(void *user)
{
    struct tap *t = user;
    pthread_mutex_lock(&t->lock);
    t->x = NULL;
    pthread_mutex_unlock(&t->lock);
    t->closed++;
}

static void tap_open(struct tap *t, struct exchange *x)
{
    bool flood = strcmp(exchange_path(x), "/flood") == 0, whole = strcmp(exchange_path(x), "/document") == 0;
    const struct exchange_source source = {.pull = flood ? tap_flood : tap_pull,
                                           .close = tap_close,
                                           .user = t,
                                           .type = "text/plain",
                                           .keepalive = whole ? "\n" : ": keep-alive\n\n",
                                           .whole = whole};
    pthread_mutex_lock(&t->lock);
    t->x = x;
    pthread_mutex_unlock(&t->lock);
    exchange_stream(x, &source);
    t->opened++;
}

static void handle(void *user, struct exchange *x, bool whole)
{
    struct world *w = user;
    const char *path = exchange_path(x), *tap = exchange_query(x, "tap");
    if (strcmp(path, "/refuse") == 0) {
        exchange_reply_static(x, 401, "text/plain", "no", 2);
    } else if (!whole) {
        if (strncmp(path, "/deferred", 9) == 0) {
            exchange_defer(x, path, strcmp(path, "/deferred/light") != 0);
        }
        exchange_allow_body(x, strcmp(path, "/large") == 0 ? 2000 : 0);
    } else if (strcmp(path, "/deferred/light") == 0) {
        if (!exchange_heavy(x)) {
            exchange_defer(x, path, true);
        } else {
            exchange_reply_static(x, 200, "text/plain", "heavy after all", 15);
        }
    } else if (strcmp(path, "/deferred/slow") == 0) {
        usleep(300000);
        exchange_reply_static(x, 200, "text/plain", "slow", 4);
    } else if (tap) {
        tap_open(&w->taps[atoi(tap) % TAPS], x);
    } else if (strcmp(path, "/split") == 0) {
        exchange_add_header(x, "X-Bad", "a\r\nX-Worse: b");
        exchange_reply_static(x, 200, "text/plain", "?", 1);
    } else {
        echofixture_reply(x);
    }
}

static void world_start(struct world *w, const struct httpserver_options *as, const char *path)
{
    struct httpserver_options o = as ? *as : (struct httpserver_options){0};
    struct errinfo info = {0};
    err e = path ? listener_unix(path, &o.listener, &info)
                 : listener_tcp("127.0.0.1", 0, &o.listener, &w->port, &info);
    assert_int_equal(e, ERR_OK);
    o.handle = handle;
    o.user = w;
    for (size_t i = 0; i < TAPS; i++) {
        pthread_mutex_init(&w->taps[i].lock, NULL);
    }
    e = httpserver_start(&o, &w->http, &info);
    if (e != ERR_OK) {
        fail_msg("%s", info.message);
    }
}

static void world_stop(struct world *w)
{
    httpserver_stop(w->http);
    for (size_t i = 0; i < TAPS; i++) {
        assert_int_equal(w->taps[i].opened, w->taps[i].closed);
        strbuf_deinit(&w->taps[i].ready);
        pthread_mutex_destroy(&w->taps[i].lock);
    }
}

static bool comes_true(const atomic_int *value, int at_least, double seconds)
{
    double until = progress_clock() + seconds;
    while (*value < at_least && progress_clock() < until) {
        usleep(2000);
    }
    return *value >= at_least;
}

/* ---- Requests. ---- */

static const struct {
    const char *request, *body;
} golden[] = {
    {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a - 0 "},
    {"GET /a%20b?q=1%262 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a b 1&2 0 "},
    {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST /a - 5 hello"},
    {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "POST /a - 0 "},
    {"DELETE /a HTTP/1.1\r\nHost: x\r\n\r\n", "DELETE /a - 0 "},
    {"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "POST /a - 2 hi"},
    {"\r\nGET /a HTTP/1.1\r\nHost: x\r\nX-Folded:   b   \r\n\r\n", "GET /a - 0 "},
    /* those with chunks end their connections */
    {"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n1;note=\"a\"\r\n!\r\n0\r\n\r\n",
     "POST /a - 6 hello!"},
    {"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n00a\r\n0123456789\r\n0\r\nX-Late: 1\r\n\r\n",
     "POST /a - 10 0123456789"},
};
enum { GOLDEN = sizeof golden / sizeof *golden, KEPT = GOLDEN - 2 };

static void test_requests_come_whole_or_byte_by_byte(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    for (size_t i = 0; i < GOLDEN; i++) {
        echofixture_says(w.port, golden[i].request, 200, golden[i].body);
        struct rawclient c = rawclient_open(w.port);
        int one = 1;
        setsockopt(c.fd, 6 /* TCP */, 1 /* NODELAY */, &one, sizeof one);
        for (const char *p = golden[i].request; *p; p++) {
            assert_true(rawclient_send(&c, p, 1));
            usleep(100);
        }
        struct rawclient_reply r = rawclient_reply(&c);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, golden[i].body);
        rawclient_free(&r);
        rawclient_close(&c);
    }
    world_stop(&w);
}

static void test_a_connection_takes_many_requests(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    struct rawclient c = rawclient_open(w.port);
    for (size_t i = 0; i < KEPT; i++) {
        assert_true(rawclient_say(&c, golden[i].request));
        struct rawclient_reply r = rawclient_reply(&c);
        assert_string_equal(r.body, golden[i].body);
        rawclient_free(&r);
    }
    for (size_t i = 0; i < KEPT; i++) { /* pipelined: answered in order */
        assert_true(rawclient_say(&c, golden[i].request));
    }
    for (size_t i = 0; i < KEPT; i++) {
        struct rawclient_reply r = rawclient_reply(&c);
        assert_string_equal(r.body, golden[i].body);
        rawclient_free(&r);
    }
    assert_true(rawclient_say(&c, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    struct rawclient_reply head = rawclient_reply_to(&c, true), last = rawclient_reply(&c);
    assert_int_equal(head.status, 200);
    assert_string_equal(last.body, "GET /b - 0 ");
    assert_true(rawclient_ends(&c, 2000));
    rawclient_free(&head);
    rawclient_free(&last);
    rawclient_close(&c);
    world_stop(&w);
}

static void test_a_header_of_two_lines_is_not_sent(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    echofixture_says(w.port, "GET /split HTTP/1.1\r\nHost: x\r\n\r\n", 500, NULL);
    world_stop(&w);
}

/* Nearly full, a newcomer is served, and the one that has been silent for longest goes. */
static void test_silent_ones_make_room(void **state)
{
    enum { ROOM = 64, SILENT = 200 };
    struct world w = {0};
    (void)state;
    const struct httpserver_options o = {.connections = ROOM};
    world_start(&w, &o, NULL);
    struct rawclient c[SILENT];
    for (int i = 0; i < SILENT; i++) {
        c[i] = rawclient_open(w.port);
        if (i % 3 == 1) { /* headers at least, but no more */
            rawclient_say(&c[i], "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n");
        }
        if (i % 20 == 0) {
            echofixture_says(w.port, golden[0].request, 200, golden[0].body);
        }
    }
    double since = progress_clock();
    echofixture_says(w.port, golden[0].request, 200, golden[0].body);
    assert_true(progress_clock() - since < 3);
    assert_true(rawclient_ends(&c[0], 2000));
    for (int i = 0; i < SILENT; i++) {
        rawclient_close(&c[i]);
    }
    world_stop(&w);
}

static void test_bodies_over_the_cap_are_refused(void **state)
{
    struct world w = {0};
    (void)state;
    enum { CAP = 1000, LARGE = 2000 /* what handle allows at /large */ };
    const struct httpserver_options o = {.body_max = CAP};
    world_start(&w, &o, NULL);
    for (size_t i = 0; i < 6; i++) {
        char request[2 * LARGE], body[LARGE + 2];
        const char *path = i < 3 ? "/a" : "/large";
        size_t cap = i < 3 ? CAP : LARGE, n = cap - 1 + i % 3;
        memset(body, 'b', sizeof body);
        body[n] = '\0';
        snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", path, n, body);
        echofixture_says(w.port, request, n <= cap ? 200 : 413, NULL);
        snprintf(request, sizeof request,
                 "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n%zx\r\n%s\r\n0\r\n\r\n", path,
                 n - 1, body + 1);
        echofixture_says(w.port, request, n <= cap ? 200 : 413, NULL);
    }
    struct rawclient_reply r = rawclient_ask(w.port, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n");
    assert_int_equal(r.status, 413);
    assert_non_null(strstr(r.body, "1000 bytes"));
    rawclient_free(&r);
    world_stop(&w);
}

/* The reply arrives although its body was not wanted: no reset overtakes it. */
static void test_refusals_reach_who_sends_much(void **state)
{
    struct world w = {0};
    (void)state;
    enum { MUCH = 6 << 20 };
    const struct httpserver_options o = {.body_max = 1 << 20};
    char *body = malloc(MUCH), head[128];
    memset(body, 'b', MUCH);
    world_start(&w, &o, NULL);
    for (int i = 0; i < 20; i++) {
        size_t n = i % 2 ? MUCH : 1 << 20;
        struct rawclient c = rawclient_open(w.port);
        snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", i % 2 ? "/a" : "/refuse", n);
        rawclient_say(&c, head);
        rawclient_send(&c, body, n);
        struct rawclient_reply r = rawclient_reply(&c);
        assert_int_equal(r.status, i % 2 ? 413 : 401);
        rawclient_free(&r);
        rawclient_close(&c);
    }
    free(body);
    world_stop(&w);
}

static void test_headers_have_a_limit(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    enum { HUGE_ = 256 << 10 };
    char *request = malloc(HUGE_ + 256);
    for (int what = 0; what < 3; what++) { /* a long value, many headers, a long path */
        size_t n = (size_t)sprintf(request, what == 2 ? "GET /" : "GET /a HTTP/1.1\r\nHost: x\r\nX-A: ");
        while (n < HUGE_) {
            n += (size_t)sprintf(request + n, what == 1 ? "a\r\nX-A: " : "aaaaaaaa");
        }
        sprintf(request + n, what == 2 ? " HTTP/1.1\r\nHost: x\r\n\r\n" : "\r\n\r\n");
        struct rawclient_reply r = rawclient_ask(w.port, request);
        assert_true(r.status == 0 || r.status == 413 || r.status == 414 || r.status == 431);
        rawclient_free(&r);
    }
    free(request);
    echofixture_says(w.port, golden[0].request, 200, golden[0].body);
    world_stop(&w);
}

/* ---- Deadlines and crowds. ---- */

static void test_who_does_not_finish_is_let_go(void **state)
{
    struct world w = {0};
    (void)state;
    const struct httpserver_options o = {.deadlines = {.headers = 0.6, .body = 0.6}};
    world_start(&w, &o, NULL);
    struct rawclient c[4];
    for (size_t i = 0; i < 4; i++) {
        c[i] = rawclient_open(w.port);
    }
    rawclient_say(&c[1], "GET /a HTTP/1.1\r\nHost: x\r\nX-A: ");
    rawclient_say(&c[2], "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    rawclient_say(&c[3], golden[0].request);
    struct rawclient_reply r = rawclient_reply(&c[3]);
    double since = progress_clock();
    while (progress_clock() - since < 0.5) { /* a byte now and then does not help */
        rawclient_say(&c[1], "a");
        rawclient_say(&c[2], "a");
        usleep(50000);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_true(rawclient_ends(&c[i], 1500));
        rawclient_close(&c[i]);
    }
    rawclient_free(&r);
    assert_true(progress_clock() - since < 2);
    world_stop(&w);
}

static void test_a_crowd_that_says_nothing_delays_nobody(void **state)
{
    struct world w = {0};
    (void)state;
    enum { CROWD = 2000 };
    static int fds[CROWD];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * CROWD + 100) {
        skip();
    }
    world_start(&w, NULL, NULL);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < CROWD; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof to), 0);
        if (i % 2) {
            assert_int_equal(send(fds[i], "GET /", 5, MSG_NOSIGNAL), 5);
        }
    }
    double best = 9;
    for (int i = 0; i < 5; i++) { /* the best of five: the machine may be busy otherwise */
        double since = progress_clock();
        echofixture_says(w.port, golden[2].request, 200, golden[2].body);
        double took = progress_clock() - since;
        best = took < best ? took : best;
    }
    assert_true(best < 0.1);
    assert_true(httpserver_connections(w.http) >= CROWD);
    for (size_t i = 0; i < CROWD; i++) {
        close(fds[i]);
    }
    world_stop(&w);
}

/* ---- Streams. ---- */

static struct rawclient open_tap(struct world *w, const char *path, int tap)
{
    struct rawclient c = rawclient_open(w->port);
    char request[128];
    snprintf(request, sizeof request, "GET %s?tap=%d HTTP/1.1\r\nHost: x\r\n\r\n", path, tap);
    rawclient_say(&c, request);
    assert_true(comes_true(&w->taps[tap].opened, 1, 5));
    return c;
}

static void test_a_stream_comes_as_it_is_poured(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    struct rawclient c = open_tap(&w, "/stream", 0);
    tap_pour(&w.taps[0], "one ", false);
    assert_true(rawclient_until(&c, "one ", 2000)); /* before the next is made */
    tap_pour(&w.taps[0], "two ", false);
    assert_true(rawclient_until(&c, "two ", 2000));
    tap_pour(&w.taps[0], "three", true);
    rawclient_say(&c, golden[0].request); /* the connection goes on */
    struct rawclient_reply r = rawclient_reply(&c), next = rawclient_reply(&c);
    assert_string_equal(r.body, "one two three");
    assert_true(r.whole);
    assert_string_equal(next.body, golden[0].body);
    rawclient_free(&r);
    rawclient_free(&next);
    rawclient_close(&c);
    world_stop(&w);
}

/* HEAD of a stream that goes on: what it is, at once, and not a byte that could be taken for the next reply's. */
static void test_the_head_of_a_stream_has_nothing_behind_it(void **state)
{
    struct world w = {0};
    char value[1024];
    (void)state;
    world_start(&w, NULL, NULL);
    struct rawclient c = rawclient_open(w.port);
    rawclient_say(&c, "HEAD /stream?tap=0 HTTP/1.1\r\nHost: x\r\n\r\n");
    struct rawclient_reply r = rawclient_reply_to(&c, true);
    assert_int_equal(r.status, 200);
    assert_string_equal(rawclient_header(&r, "Content-Type", value), "text/plain");
    assert_null(rawclient_header(&r, "Content-Length", value));
    assert_null(rawclient_header(&r, "Transfer-Encoding", value));
    assert_true(rawclient_ends(&c, 2000));
    assert_true(comes_true(&w.taps[0].closed, 1, 2));
    assert_int_equal(w.taps[0].pulls, 0);
    rawclient_free(&r);
    rawclient_close(&c);
    world_stop(&w);
}

static void test_a_source_may_fail_before_its_first_byte(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    struct rawclient c = open_tap(&w, "/fails", 0), late = open_tap(&w, "/fails", 1);
    tap_pour(&w.taps[0], "busy", true);
    tap_pour(&w.taps[1], "begun ", false);
    assert_true(rawclient_until(&late, "begun ", 2000));
    tap_pour(&w.taps[1], "busy", true);
    struct rawclient_reply r = rawclient_reply(&c), l = rawclient_reply(&late);
    assert_int_equal(r.status, 429);
    assert_string_equal(r.body, "busy");
    assert_int_equal(l.status, 200);
    assert_string_equal(l.body, "begun busy");
    rawclient_free(&r);
    rawclient_free(&l);
    rawclient_close(&c);
    rawclient_close(&late);
    world_stop(&w);
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void test_waiting_costs_nothing_and_keeps_alive(void **state)
{
    struct world w = {0};
    (void)state;
    const struct httpserver_options o = {.deadlines = {.keepalive = 0.5}};
    world_start(&w, &o, NULL);
    struct rawclient stream = open_tap(&w, "/stream", 0), document = open_tap(&w, "/document", 1);
    double since = processor_seconds();
    usleep(2600000);
    assert_true(processor_seconds() - since < 0.1);
    assert_true(w.taps[0].pulls < 30 && w.taps[1].pulls < 30);
    tap_pour(&w.taps[0], "done", true);
    tap_pour(&w.taps[1], "{", false);
    tap_pour(&w.taps[1], "}", true);
    struct rawclient_reply s = rawclient_reply(&stream), d = rawclient_reply(&document);
    size_t blank = strspn(d.body, "\n");
    assert_memory_equal(s.body, ": keep-alive\n\n: keep-alive\n\n", 28);
    assert_non_null(strstr(s.body, "\n\ndone"));
    assert_true(blank >= 2 && blank <= 6);
    assert_string_equal(d.body + blank, "{}");
    rawclient_free(&s);
    rawclient_free(&d);
    rawclient_close(&stream);
    rawclient_close(&document);
    world_stop(&w);
}

static void test_a_reader_that_goes_ends_its_source(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    static const char *const paths[] = {"/stream", "/document", "/stream", "/flood", "/flood"};
    struct rawclient c[5];
    for (int i = 0; i < 5; i++) {
        c[i] = open_tap(&w, paths[i], i);
    }
    tap_pour(&w.taps[2], "begun", false);
    assert_true(rawclient_until(&c[2], "begun", 2000));
    usleep(300000); /* the floods have filled what the system takes */
    for (int i = 0; i < 4; i++) {
        rawclient_close(&c[i]);
    }
    for (int i = 0; i < 2; i++) { /* what is written to them shows it, at the latest to keep them waiting */
        tap_pour(&w.taps[i], ".", false);
        tap_pour(&w.taps[i], ".", false);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(comes_true(&w.taps[i].closed, 1, 8));
    }
    rawclient_close(&c[4]);
    world_stop(&w);
}

/* "shutdown(SHUT_WR)" after the request is no farewell. */
static void test_who_has_said_all_still_gets_an_answer(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    static const char *const paths[] = {"/stream", "/document"};
    for (int i = 0; i < 2; i++) {
        struct rawclient c = open_tap(&w, paths[i], i);
        shutdown(c.fd, SHUT_WR);
        usleep(1200000);
        tap_pour(&w.taps[i], "answer", true);
        struct rawclient_reply r = rawclient_reply(&c);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, "answer");
        rawclient_free(&r);
        rawclient_close(&c);
    }
    world_stop(&w);
}

/* Twelve requests that take 300 ms each hold up no other one, and none is lost. */
static void test_deferred_work_holds_up_nobody(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    enum { SLOW = 12 };
    struct rawclient c[SLOW];
    for (int i = 0; i < SLOW; i++) {
        c[i] = rawclient_open(w.port);
        rawclient_say(&c[i], "POST /deferred/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    }
    double worst = 0;
    for (int i = 0; i < 30; i++) {
        double since = progress_clock();
        echofixture_says(w.port, golden[0].request, 200, golden[0].body);
        worst = progress_clock() - since > worst ? progress_clock() - since : worst;
        usleep(20000);
    }
    assert_true(worst < 0.25);
    for (int i = 0; i < SLOW; i++) {
        struct rawclient_reply r = rawclient_reply(&c[i]);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, "slow");
        rawclient_free(&r);
        rawclient_close(&c[i]);
    }
    echofixture_says(w.port, "GET /deferred/light HTTP/1.1\r\nHost: x\r\n\r\n", 200, "heavy after all");
    struct rawclient tap = rawclient_open(w.port);
    rawclient_say(&tap, "GET /deferred/stream?tap=0 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(comes_true(&w.taps[0].opened, 1, 2));
    tap_pour(&w.taps[0], "begun", false);
    assert_true(rawclient_until(&tap, "begun", 2000));
    tap_pour(&w.taps[0], "over", true);
    struct rawclient_reply r = rawclient_reply(&tap);
    assert_string_equal(r.body, "begunover");
    rawclient_free(&r);
    rawclient_close(&tap);
    world_stop(&w);
}

/* Stopping waits for what is being done, and refuses what waits. */
static void test_stopping_refuses_deferred_work(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    struct rawclient c[3];
    for (int i = 0; i < 3; i++) {
        c[i] = rawclient_open(w.port);
        rawclient_say(&c[i], "GET /deferred/slow HTTP/1.1\r\nHost: x\r\n\r\n");
        usleep(50000);
    }
    world_stop(&w);
    for (int i = 0; i < 3; i++) {
        struct rawclient_reply r = rawclient_reply(&c[i]);
        assert_true(r.status == 0 || r.status == (i == 0 ? 200 : 503));
        rawclient_free(&r);
        rawclient_close(&c[i]);
    }
}

static void test_who_reads_slowly_holds_up_nobody(void **state)
{
    struct world w = {0};
    (void)state;
    const struct httpserver_options o = {.deadlines = {.idle = 2}};
    world_start(&w, &o, NULL);
    struct rawclient slow = open_tap(&w, "/flood", 0), never = open_tap(&w, "/flood", 1);
    usleep(200000);
    size_t before = mem_alive();
    int pulled = w.taps[1].pulls;
    for (int i = 0; i < 30; i++) {
        assert_true(rawclient_more(&slow, 2000));
        rawclient_drop(&slow, slow.len);
        usleep(100000);
        echofixture_says(w.port, golden[0].request, 200, golden[0].body);
    }
    assert_int_equal(w.taps[1].pulls, pulled); /* nothing is made that nobody takes */
    assert_true(mem_alive() <= before);
    assert_int_equal(w.taps[0].closed, 0);
    assert_true(comes_true(&w.taps[1].closed, 1, 3)); /* it was idle for two seconds */
    rawclient_close(&slow);
    rawclient_close(&never);
    world_stop(&w);
}

static void test_stopping_ends_streams(void **state)
{
    struct world w = {0};
    (void)state;
    world_start(&w, NULL, NULL);
    struct rawclient c[8];
    static const char *const paths[] = {"/stream", "/flood", "/document", "/stream"};
    for (int i = 0; i < 8; i++) {
        c[i] = open_tap(&w, paths[i % 4], i);
    }
    tap_pour(&w.taps[3], "begun", false);
    assert_true(rawclient_until(&c[3], "begun", 2000));
    tap_pour(&w.taps[2], "{half", false);
    double since = progress_clock();
    world_stop(&w);
    assert_true(progress_clock() - since < 2);
    struct rawclient_reply begun = rawclient_reply(&c[3]), document = rawclient_reply(&c[2]),
                           stream = rawclient_reply(&c[0]);
    assert_int_equal(begun.status, 200);
    assert_false(begun.whole);
    assert_int_equal(document.status, 503); /* not half a document that looks whole */
    assert_string_equal(document.body, "");
    assert_int_equal(stream.status, 503);
    rawclient_free(&begun);
    rawclient_free(&document);
    rawclient_free(&stream);
    for (int i = 0; i < 8; i++) {
        rawclient_close(&c[i]);
    }
}

struct waker {
    struct world *w;
    atomic_bool stop;
};

static void *wake_all(void *user)
{
    struct waker *k = user;
    for (unsigned i = 0; !k->stop; i++) {
        tap_pour(&k->w->taps[i % 8], i % 7 == 0 ? "." : "", false);
        if (i % 64 == 0) {
            usleep(500);
        }
    }
    return NULL;
}

/* Wakes come at any moment: before the source's first pull, in it, while it is closed. */
static void test_wakes_come_at_any_moment(void **state)
{
    struct world w = {0};
    struct waker k = {.w = &w};
    pthread_t threads[2];
    (void)state;
    const struct httpserver_options o = {.deadlines = {.keepalive = 0.2}}; /* shows who has gone */
    world_start(&w, &o, NULL);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wake_all, &k), 0);
    }
    struct rawclient c[8];
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 8; i++) {
            c[i] = open_tap(&w, i % 3 ? "/stream" : "/document", i);
            assert_true(comes_true(&w.taps[i].opened, round + 1, 5));
        }
        for (int i = 0; i < 8; i++) {
            if (i % 3) {
                assert_true(rawclient_until(&c[i], "....", 5000));
            }
            rawclient_close(&c[i]);
        }
        for (int i = 0; i < 8; i++) {
            assert_true(comes_true(&w.taps[i].closed, round + 1, 2));
        }
    }
    struct rawclient left = open_tap(&w, "/stream", 1);
    httpserver_stop(w.http);
    w.http = NULL;
    k.stop = true;
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    rawclient_close(&left);
    world_stop(&w);
}

/* ---- Sockets. ---- */

static void test_a_unix_socket_serves_its_owner(void **state)
{
    struct world w = {0};
    struct tempdir dir;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    (void)state;
    tempdir_make(&dir);
    const char *path = to.sun_path;
    snprintf(to.sun_path, sizeof to.sun_path, "%s/socket", dir.path);
    world_start(&w, NULL, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), second;
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    struct rawclient c = rawclient_take(fd);
    rawclient_say(&c, golden[2].request);
    struct rawclient_reply r = rawclient_reply(&c);
    assert_string_equal(r.body, golden[2].body);
    rawclient_free(&r);
    rawclient_close(&c);
    struct errinfo info = {0};
    assert_int_equal(listener_unix(path, &second, &info), ERR_IO); /* in use */
    assert_int_equal(listener_unix("README.md", &second, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "README.md: it is there already, and no socket"));
    world_stop(&w);
    assert_int_equal(listener_unix(path, &second, &info), ERR_OK); /* left behind */
    close(second);
    unlink(path);
    tempdir_remove(&dir);
}

static void test_tls(void **state)
{
    struct tempdir dir;
    char command[2000], *cert = NULL, *key = NULL;
    size_t len;
    struct world w = {0};
    struct errinfo info = {0};
    (void)state;
    tempdir_make(&dir);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
             "-addext subjectAltName=DNS:localhost -keyout %s/key -out %s/cert >%s/log 2>&1",
             dir.path, dir.path, dir.path);
    if (system(command) != 0) {
        tempdir_remove(&dir);
        skip();
    }
    assert_int_equal(file_read(tempdir_file(&dir, "cert"), 1 << 16, &cert, &len, &info), ERR_OK);
    assert_int_equal(file_read(tempdir_file(&dir, "key"), 1 << 16, &key, &len, &info), ERR_OK);
    const struct httpserver_options o = {.tls_cert = cert, .tls_key = key}, bad = {.tls_cert = cert, .tls_key = cert};
    world_start(&w, &o, NULL);
    snprintf(command, sizeof command,
             "printf 'GET /a HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -quiet "
             "-connect 127.0.0.1:%u -servername localhost -CAfile %s/cert -verify_return_error 2>%s/log | tail -n 1 | "
             "grep -q '^GET /a - 0 $'",
             w.port, dir.path, dir.path);
    assert_int_equal(system(command), 0);
    echofixture_says(w.port, golden[0].request, 400, NULL); /* in the clear: not answered, but told */
    struct rawclient_reply plain = rawclient_ask(w.port, golden[2].request);
    assert_non_null(strstr(plain.body, "https://"));
    assert_true(plain.whole);
    rawclient_free(&plain);
    struct rawclient noise = rawclient_open(w.port);
    rawclient_say(&noise, "what is this\r\n\r\n");
    while (rawclient_more(&noise, 2000)) { /* perhaps an alert of TLS */
    }
    assert_true(rawclient_ended(&noise));
    rawclient_close(&noise);
    world_stop(&w);
    struct httpserver *none;
    struct httpserver_options wrong = bad;
    unsigned port;
    assert_int_equal(listener_tcp("127.0.0.1", 0, &wrong.listener, &port, &info), ERR_OK);
    assert_int_equal(httpserver_start(&wrong, &none, &info), ERR_ARGUMENT);
    mem_free(cert);
    mem_free(key);
    tempdir_remove(&dir);
}

static void test_addresses_that_are_none_are_refused(void **state)
{
    struct errinfo info = {0};
    int fd;
    unsigned port, chosen;
    (void)state;
    assert_int_equal(listener_tcp("localhost", 0, &fd, &port, &info), ERR_ARGUMENT);
    assert_int_equal(listener_tcp("::1", 0, &fd, &port, &info), ERR_OK);
    close(fd);
    assert_int_equal(listener_tcp("127.0.0.1", 0, &fd, &port, &info), ERR_OK);
    int other;
    assert_int_equal(listener_tcp("127.0.0.1", port, &other, &chosen, &info), ERR_IO);
    assert_non_null(strstr(info.message, "another program"));
    close(fd);
}

static int ignore_pipes(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_come_whole_or_byte_by_byte),
        cmocka_unit_test(test_a_connection_takes_many_requests),
        cmocka_unit_test(test_a_header_of_two_lines_is_not_sent),
        cmocka_unit_test(test_silent_ones_make_room),
        cmocka_unit_test(test_bodies_over_the_cap_are_refused),
        cmocka_unit_test(test_refusals_reach_who_sends_much),
        cmocka_unit_test(test_headers_have_a_limit),
        cmocka_unit_test(test_who_does_not_finish_is_let_go),
        cmocka_unit_test(test_a_crowd_that_says_nothing_delays_nobody),
        cmocka_unit_test(test_a_stream_comes_as_it_is_poured),
        cmocka_unit_test(test_the_head_of_a_stream_has_nothing_behind_it),
        cmocka_unit_test(test_a_source_may_fail_before_its_first_byte),
        cmocka_unit_test(test_waiting_costs_nothing_and_keeps_alive),
        cmocka_unit_test(test_a_reader_that_goes_ends_its_source),
        cmocka_unit_test(test_who_has_said_all_still_gets_an_answer),
        cmocka_unit_test(test_deferred_work_holds_up_nobody),
        cmocka_unit_test(test_stopping_refuses_deferred_work),
        cmocka_unit_test(test_who_reads_slowly_holds_up_nobody),
        cmocka_unit_test(test_stopping_ends_streams),
        cmocka_unit_test(test_wakes_come_at_any_moment),
        cmocka_unit_test(test_a_unix_socket_serves_its_owner),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_addresses_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, ignore_pipes, NULL);
}

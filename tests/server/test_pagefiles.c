/* The page's files over HTTP: packed for whoever takes that, and not sent again to whoever has them. */
#include "server/rawclient.h"

#include <signal.h>

#include "server/httpserver.h"
#include "server/listener.h"
#include "server/pagefiles.h"

static void handle(void *user, struct exchange *x, bool whole)
{
    (void)user;
    if (whole && !pagefiles_give(x)) {
        exchange_reply(x, 404, NULL, NULL);
    }
}

static void test_files_are_packed_for_who_takes_that(void **state)
{
    static const struct {
        const char *header;
        bool packed;
    } rows[] = {{"", false},
                {"Accept-Encoding: gzip\r\n", true},
                {"Accept-Encoding: br , GZIP;q=0.5, *\r\n", true},
                {"Accept-Encoding: gzip; q=1\r\n", true},
                {"Accept-Encoding: gzip;q=0\r\n", false},
                {"Accept-Encoding: gzip;q=0.0, br;q=1\r\n", false},
                {"Accept-Encoding: identity;q=0, gzip\r\n", true},
                {"Accept-Encoding: gzipped, x-gzip\r\n", false},
                {"Accept-Encoding: br\r\n", false}};
    struct httpserver_options o = {.handle = handle};
    struct httpserver *http;
    struct errinfo info = {0};
    unsigned port;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(listener_tcp("127.0.0.1", 0, &o.listener, &port, &info), ERR_OK);
    assert_int_equal(httpserver_start(&o, &http, &info), ERR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char request[300], value[1024];
        snprintf(request, sizeof request, "GET /js/page.js HTTP/1.1\r\nHost: x\r\n%s\r\n", rows[i].header);
        struct rawclient_reply r = rawclient_ask(port, request);
        assert_int_equal(r.status, 200);
        if ((rawclient_header(&r, "Content-Encoding", value) != NULL) != rows[i].packed) {
            fail_msg("%s→ %s", rows[i].header, r.head);
        }
        rawclient_free(&r);
    }
    httpserver_stop(http);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_are_packed_for_who_takes_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

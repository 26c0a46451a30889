/* Limits of a key, by a clock that the test turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/ratelimit.h"

static struct ratelimit *r;
static struct errinfo info;
static struct ratelimit_wait waits;

static int set_up(void **state)
{
    (void)state;
    return ratelimit_new(&r, &info) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ratelimit_free(r);
    return 0;
}

/* Asks and ends at once. */
static err ask(const char *id, const struct keystore_limits *l, uint64_t today, int64_t now)
{
    waits = (struct ratelimit_wait){0};
    err e = ratelimit_begin(r, id, l, 1, today, now, &waits, &info);
    if (e == ERR_OK) {
        ratelimit_end(r, id, 1);
    }
    return e;
}

static void a_minute_holds_so_many_requests(void **state)
{
    (void)state;
    const struct keystore_limits l = {.requests_per_minute = 6};
    const int64_t t = 1000000;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(ask("a", &l, 0, t), ERR_OK);
    }
    assert_int_equal(ask("a", &l, 0, t), ERR_BUSY);
    assert_int_equal(waits.seconds, 10);
    assert_false(waits.day);
    assert_non_null(strstr(info.message, "6 times a minute"));
    assert_int_equal(ask("b", &l, 0, t), ERR_OK); /* another's minute */
    assert_int_equal(ask("a", &l, 0, t + 9999), ERR_BUSY);
    assert_int_equal(waits.seconds, 1);
    assert_int_equal(ask("a", &l, 0, t + 10000), ERR_OK); /* what Retry-After said, holds */
    assert_int_equal(ask("a", &l, 0, t + 10000), ERR_BUSY);
    for (int i = 0; i < 6; i++) { /* never more than a minute's worth */
        assert_int_equal(ask("a", &l, 0, t + 3600000), ERR_OK);
    }
    assert_int_equal(ask("a", &l, 0, t + 3600000), ERR_BUSY);
}

static void the_rate_holds_over_a_long_time(void **state)
{
    (void)state;
    const struct keystore_limits l = {.requests_per_minute = 7};
    int done = 0;
    for (int64_t t = 0; t < 600000; t += 13) {
        done += ask("a", &l, 0, t) == ERR_OK;
    }
    assert_in_range(done, 70 + 6, 70 + 7); /* ten minutes, and the full bucket at the beginning */
}

static void a_clock_that_goes_back_gives_nothing(void **state)
{
    (void)state;
    const struct keystore_limits l = {.requests_per_minute = 1};
    assert_int_equal(ask("a", &l, 0, 500000), ERR_OK);
    assert_int_equal(ask("a", &l, 0, 100000), ERR_BUSY);
    assert_int_equal(ask("a", &l, 0, 130000), ERR_BUSY);
    assert_int_equal(waits.seconds, 30);
    assert_int_equal(ask("a", &l, 0, 160000), ERR_OK);
    assert_int_equal(ask("a", &l, 0, INT64_MAX), ERR_OK);
    assert_int_equal(ask("a", &l, 0, INT64_MIN / 2), ERR_BUSY);
}

static void so_many_at_a_time(void **state)
{
    (void)state;
    const struct keystore_limits l = {.concurrent = 2};
    assert_int_equal(ratelimit_begin(r, "a", &l, 1, 0, 0, &waits, &info), ERR_OK);
    assert_int_equal(ratelimit_begin(r, "a", &l, 1, 0, 0, &waits, &info), ERR_OK);
    assert_int_equal(ratelimit_begin(r, "a", &l, 1, 0, 0, &waits, &info), ERR_BUSY);
    assert_int_equal(waits.seconds, 1);
    assert_non_null(strstr(info.message, "2 answers at a time"));
    ratelimit_end(r, "a", 1);
    assert_int_equal(ratelimit_begin(r, "a", &l, 1, 0, 0, &waits, &info), ERR_OK);
    for (int i = 0; i < 3; i++) {
        char id[20];
        snprintf(id, sizeof id, "other%d", i);
        assert_int_equal(ask(id, &l, 0, 100000000), ERR_OK); /* a's place is not given away */
    }
    assert_int_equal(ratelimit_begin(r, "a", &l, 1, 0, 100000000, &waits, &info), ERR_BUSY);
    ratelimit_end(r, "nobody", 1);
}

/* A request for several answers counts for as many. */
static void every_answer_of_a_request_counts(void **state)
{
    (void)state;
    const struct keystore_limits l = {.concurrent = 4}, less = {.concurrent = 1};
    assert_int_equal(ratelimit_begin(r, "a", &l, 5, 0, 0, &waits, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "5 answers"));
    assert_int_equal(ratelimit_begin(r, "a", &l, 3, 0, 0, &waits, &info), ERR_OK);
    assert_int_equal(ratelimit_begin(r, "a", &l, 2, 0, 0, &waits, &info), ERR_BUSY);
    assert_non_null(strstr(info.message, "3 are under way"));
    assert_int_equal(ratelimit_begin(r, "a", &l, 1, 0, 0, &waits, &info), ERR_OK);
    assert_int_equal(ratelimit_begin(r, "a", &less, 1, 0, 0, &waits, &info), ERR_BUSY); /* lowered since */
    ratelimit_end(r, "a", 3);
    assert_int_equal(ratelimit_begin(r, "a", &l, 3, 0, 0, &waits, &info), ERR_OK);
}

static void tokens_of_a_day(void **state)
{
    (void)state;
    const struct keystore_limits l = {.tokens_per_day = 100};
    const int64_t day = 86400000;
    assert_int_equal(ask("a", &l, 99, 20000 * day), ERR_OK);
    assert_int_equal(ask("a", &l, 100, 20000 * day + 1000), ERR_BUSY);
    assert_int_equal(waits.seconds, 86399);
    assert_true(waits.day);
    assert_non_null(strstr(info.message, "23 h 59 min"));
    assert_int_equal(ask("a", &l, 100, 20001 * day - 1), ERR_BUSY);
    assert_int_equal(waits.seconds, 1);
    assert_int_equal(ask("a", &l, 0, 20001 * day), ERR_OK);
}

/* Midnight is of the day's tokens: it neither fills the minute nor ends what is under way. */
static void a_minute_goes_on_over_midnight(void **state)
{
    (void)state;
    const struct keystore_limits l = {.requests_per_minute = 2, .concurrent = 1, .tokens_per_day = 100};
    const int64_t midnight = 20001 * (int64_t)86400000;
    assert_int_equal(ask("a", &l, 99, midnight - 2), ERR_OK);
    assert_int_equal(ratelimit_begin(r, "a", &l, 1, 99, midnight - 1, &waits, &info), ERR_OK);
    assert_int_equal(ask("a", &l, 0, midnight), ERR_BUSY);
    assert_non_null(strstr(info.message, "under way"));
    ratelimit_end(r, "a", 1);
    assert_int_equal(ask("a", &l, 0, midnight), ERR_BUSY);
    assert_int_equal(waits.seconds, 30);
    assert_false(waits.day);
    assert_int_equal(ask("a", &l, 0, midnight + 30000 - 2), ERR_OK);
}

static void no_limits_limit_nothing(void **state)
{
    (void)state;
    const struct keystore_limits l = {0};
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(ratelimit_begin(r, "a", &l, 1, UINT64_MAX, 5, &waits, &info), ERR_OK);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_minute_holds_so_many_requests), TEST(the_rate_holds_over_a_long_time),
        TEST(a_clock_that_goes_back_gives_nothing), TEST(so_many_at_a_time),
        TEST(every_answer_of_a_request_counts), TEST(tokens_of_a_day), TEST(a_minute_goes_on_over_midnight), TEST(no_limits_limit_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

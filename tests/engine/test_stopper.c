/* Stop strings: found across any split of the text, never shown, nothing else lost or delayed forever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/stopper.h"

/* Feeds text in pieces of `step` bytes; what was shown goes to out. */
static bool feed(const char *text, size_t step, const char *const *stops, size_t n, char *out)
{
    struct stopper s;
    size_t len = strlen(text), shown = 0;
    stopper_init(&s, stops, n);
    for (size_t i = 0; i < len; i += step) {
        assert_int_equal(stopper_push(&s, text + i, len - i < step ? len - i : step), ERR_OK);
        if (i + step >= len) {
            assert_int_equal(stopper_finish(&s), ERR_OK);
        }
        memcpy(out + shown, s.shown.data ? s.shown.data : "", s.shown.len);
        shown += s.shown.len;
    }
    out[shown] = '\0';
    bool stopped = s.found != NULL;
    stopper_deinit(&s);
    return stopped;
}

static void check(const char *text, const char *const *stops, size_t n, const char *want)
{
    char out[256];
    for (size_t step = 1; step <= strlen(text); step++) {
        bool stopped = feed(text, step, stops, n, out);
        assert_string_equal(out, want);
        assert_int_equal(stopped, strcmp(text, want) != 0);
    }
}

static void test_found_at_every_split(void **state)
{
    (void)state;
    check("one END two", (const char *[]){"END"}, 1, "one ");
    check("ENENEND", (const char *[]){"END"}, 1, "ENEN");
    check("aaaab", (const char *[]){"aab"}, 1, "aa");
    check("\n\nUser:", (const char *[]){"User:", "\n\nUser"}, 2, "");
    check("abc", (const char *[]){"bcd", "b"}, 2, "a");
    check("xyz", (const char *[]){"xyz"}, 1, "");
}

static void test_what_only_looked_like_a_stop_is_shown(void **state)
{
    (void)state;
    check("one EN", (const char *[]){"END"}, 1, "one EN");
    check("ENx EN.", (const char *[]){"END"}, 1, "ENx EN.");
    check("nothing", NULL, 0, "nothing");
}

static void test_text_is_held_only_while_undecided(void **state)
{
    (void)state;
    struct stopper s;
    stopper_init(&s, (const char *[]){"STOP"}, 1);
    assert_int_equal(stopper_push(&s, "go ST", 5), ERR_OK);
    assert_string_equal(s.shown.data, "go ");
    assert_int_equal(stopper_push(&s, "A", 1), ERR_OK);
    assert_string_equal(s.shown.data, "STA");
    assert_int_equal(stopper_push(&s, "STOP more", 9), ERR_OK);
    assert_int_equal(s.shown.len, 0);
    assert_non_null(s.found);
    assert_int_equal(stopper_push(&s, "x", 1), ERR_OK);
    assert_int_equal(stopper_finish(&s), ERR_OK);
    assert_int_equal(s.shown.len, 0);
    stopper_deinit(&s);
}

/* Random texts over two letters, where overlaps abound, against a plain search. */
static void test_agrees_with_plain_search(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 2);
    for (int round = 0; round < 3000; round++) {
        char text[33] = {0}, a[6] = {0}, b[6] = {0}, want[33], out[64];
        for (size_t i = 0; i < 32; i++) {
            text[i] = (char)('a' + rng_u64(&r) % 2);
        }
        for (size_t i = 0; i < 1 + rng_u64(&r) % 5; i++) {
            a[i] = (char)('a' + rng_u64(&r) % 2);
        }
        for (size_t i = 0; i < 1 + rng_u64(&r) % 5; i++) {
            b[i] = (char)('a' + rng_u64(&r) % 2);
        }
        a[0] = a[0] ? a[0] : 'a';
        b[0] = b[0] ? b[0] : 'b';
        const char *stops[] = {a, b};
        strcpy(want, text);
        const char *at_a = strstr(text, a), *at_b = strstr(text, b);
        /* Reading piece by piece, the stop that is complete first wins. */
        size_t end_a = at_a ? (size_t)(at_a - text) + strlen(a) : 99;
        size_t end_b = at_b ? (size_t)(at_b - text) + strlen(b) : 99;
        const char *first = end_a < end_b ? at_a : end_b < end_a ? at_b : at_a < at_b ? at_a : at_b;
        if (first) {
            want[first - text] = '\0';
        }
        feed(text, 1, stops, 2, out);
        assert_string_equal(out, want);
    }
}

static void test_failed_allocations_are_reported(void **state)
{
    (void)state;
    size_t before = mem_alive();
    for (size_t k = 1; k <= 2; k++) {
        struct stopper s;
        stopper_init(&s, (const char *[]){"x"}, 1);
        mem_fault(k, 0);
        assert_int_equal(stopper_push(&s, "abc", 3), ERR_NOMEM);
        mem_fault(0, 0);
        stopper_deinit(&s);
        assert_int_equal(mem_alive(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_at_every_split),
        cmocka_unit_test(test_what_only_looked_like_a_stop_is_shown),
        cmocka_unit_test(test_text_is_held_only_while_undecided),
        cmocka_unit_test(test_agrees_with_plain_search),
        cmocka_unit_test(test_failed_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

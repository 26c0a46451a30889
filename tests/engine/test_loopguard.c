/* When an answer counts as a loop, and when it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/loopguard.h"

enum { MAX = 4096 };

/* How many tokens of `ids` pass before the guard speaks; 0 when it never does. */
static size_t spoken_at(const int32_t *ids, size_t n, size_t *period)
{
    struct loopguard g = {0};
    for (size_t i = 1; i <= n; i++) {
        *period = loopguard_push(&g, ids, i);
        if (*period) {
            return i;
        }
    }
    return 0;
}

/* `before` different tokens, then a passage of p different ones over and over. */
static void fill(int32_t *ids, size_t before, size_t p)
{
    for (size_t i = 0; i < MAX; i++) {
        ids[i] = (int32_t)(i < before ? 100000 + i : (i - before) % p);
    }
}

static void test_a_repeated_passage_is_found_with_its_period(void **state)
{
    (void)state;
    static int32_t ids[MAX];
    const size_t periods[] = {1, 2, 7, 64, 100, LOOPGUARD_PERIOD};
    for (size_t k = 0; k < sizeof periods / sizeof *periods; k++) {
        size_t p = periods[k], found, same = LOOPGUARD_TIMES * p;
        fill(ids, 50, p);
        same = same > LOOPGUARD_TOKENS ? same : LOOPGUARD_TOKENS;
        assert_int_equal(spoken_at(ids, MAX, &found), 50 + p + same);
        assert_int_equal(found, p);
    }
}

static void test_what_repeats_a_few_times_or_at_length_is_no_loop(void **state)
{
    (void)state;
    static int32_t ids[MAX];
    size_t period;
    fill(ids, 0, LOOPGUARD_PERIOD + 1);
    assert_int_equal(spoken_at(ids, MAX, &period), 0);
    fill(ids, 10, 80);
    assert_int_equal(spoken_at(ids, 10 + 4 * 80 - 1, &period), 0);
    fill(ids, 0, 1);
    assert_int_equal(spoken_at(ids, LOOPGUARD_TOKENS, &period), 0);
}

static void test_a_counter_inside_the_passage_is_no_loop(void **state)
{
    (void)state;
    static int32_t ids[MAX];
    size_t period;
    fill(ids, 0, 20);
    for (size_t i = 0; i < MAX; i += 20) {
        ids[i] = (int32_t)(5000 + i);
    }
    assert_int_equal(spoken_at(ids, MAX, &period), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_repeated_passage_is_found_with_its_period),
        cmocka_unit_test(test_what_repeats_a_few_times_or_at_length_is_no_loop),
        cmocka_unit_test(test_a_counter_inside_the_passage_is_no_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Factors at the corners and between them, for every shape; ramps; what cannot be is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "train/schedule.h"

static void near(const struct schedule *s, uint64_t step, double want)
{
    if (fabs(schedule_factor(s, step) - want) > 1e-12) {
        fail_msg("step %d: %.15g instead of %.15g", (int)step, schedule_factor(s, step), want);
    }
}

static void test_warm_up_stable_decay(void **state)
{
    (void)state;
    struct schedule s = {.steps = 100, .warmup = 10, .decay_share = 0.2, .shape = SCHEDULE_LINEAR, .final = 0.1};
    assert_int_equal(schedule_check(&s, NULL), ERR_OK);
    near(&s, 0, 0.1);
    near(&s, 8, 0.9);
    near(&s, 9, 1);
    near(&s, 10, 1);
    near(&s, 79, 1);
    near(&s, 80, 1);
    near(&s, 90, 0.55);
    near(&s, 99, 1 - 0.9 * 0.95);
    near(&s, 100, 0.1);
    near(&s, 5000, 0.1);
    s.shape = SCHEDULE_ROOT;
    near(&s, 80, 1);
    near(&s, 85, 1 - 0.9 * 0.5);
    near(&s, 100, 0.1);
    s.shape = SCHEDULE_COSINE;
    near(&s, 80, 1);
    near(&s, 85, 1 - 0.9 * (1 - sqrt(0.5)) / 2);
    near(&s, 90, 0.55);
    near(&s, 100, 0.1);
}

static void test_plain_cosine_constant_and_all_warm_up(void **state)
{
    (void)state;
    struct schedule s = {.steps = 50, .warmup = 10, .decay_share = 1, .shape = SCHEDULE_COSINE, .final = 0};
    assert_int_equal(schedule_check(&s, NULL), ERR_OK);
    near(&s, 4, 0.5);
    near(&s, 10, 1);
    near(&s, 20, (1 + sqrt(0.5)) / 2);
    near(&s, 30, 0.5);
    near(&s, 50, 0);
    for (uint64_t i = 11; i < 50; i++) {
        assert_true(schedule_factor(&s, i) < schedule_factor(&s, i - 1) && schedule_factor(&s, i) > 0);
    }
    s = (struct schedule){.steps = 3};
    assert_int_equal(schedule_check(&s, NULL), ERR_OK);
    near(&s, 0, 1);
    near(&s, 2, 1);
    near(&s, 3, 1);
    s = (struct schedule){.steps = 4, .warmup = 4, .decay_share = 0.5, .final = 0.5};
    assert_int_equal(schedule_check(&s, NULL), ERR_OK);
    near(&s, 1, 0.5);
    near(&s, 3, 1);
}

static void test_schedules_that_cannot_be_are_named(void **state)
{
    (void)state;
    const struct {
        struct schedule s;
        const char *says;
    } cases[] = {
        {{.steps = 0}, "0 steps"},
        {{.steps = 5, .warmup = 6}, "warm-up of 6 steps in a run of 5"},
        {{.steps = 5, .decay_share = 1.01}, "share of the steps is 1.01"},
        {{.steps = 5, .decay_share = NAN}, "share of the steps is "},
        {{.steps = 5, .final = -0.5}, "final factor is -0.5"},
        {{.steps = 5, .shape = (enum schedule_shape)3}, "shape 3"},
    };
    struct errinfo info;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(schedule_check(&cases[i].s, &info), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, cases[i].says));
    }
    enum schedule_shape shape;
    for (int i = SCHEDULE_LINEAR; i <= SCHEDULE_ROOT; i++) {
        assert_int_equal(schedule_shape_named(schedule_shape_name((enum schedule_shape)i), &shape, &info), ERR_OK);
        assert_int_equal(shape, i);
    }
    assert_int_equal(schedule_shape_named("square", &shape, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "\"square\""));
}

static void test_batches_grow_where_the_ramp_says(void **state)
{
    (void)state;
    const struct schedule_ramp ramp[] = {{0, 8}, {1000, 16}, {1001, 64}};
    struct errinfo info;
    assert_int_equal(schedule_check_ramp(ramp, 3, &info), ERR_OK);
    assert_int_equal(schedule_sequences(ramp, 3, 0), 8);
    assert_int_equal(schedule_sequences(ramp, 3, 999), 8);
    assert_int_equal(schedule_sequences(ramp, 3, 1000), 16);
    assert_int_equal(schedule_sequences(ramp, 3, 1001), 64);
    assert_int_equal(schedule_sequences(ramp, 3, UINT64_MAX), 64);
    assert_int_equal(schedule_sequences(ramp, 1, UINT64_MAX), 8);
    const struct {
        struct schedule_ramp ramp[2];
        size_t n;
        const char *says;
    } bad[] = {
        {{{0, 1}}, 0, "empty"},
        {{{5, 1}}, 1, "begins at 5"},
        {{{0, 0}}, 1, "entry 1 has 0"},
        {{{0, 1}, {0, 2}}, 2, "entry 2 begins at 0 tokens"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(schedule_check_ramp(bad[i].ramp, bad[i].n, &info), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, bad[i].says));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm_up_stable_decay),
        cmocka_unit_test(test_plain_cosine_constant_and_all_warm_up),
        cmocka_unit_test(test_schedules_that_cannot_be_are_named),
        cmocka_unit_test(test_batches_grow_where_the_ramp_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

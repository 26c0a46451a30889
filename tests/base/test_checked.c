/* tests/base/test_checked.c: size arithmetic at its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checked.h"

static void sums_and_products_are_exact_or_refused(void **state)
{
    (void)state;
    size_t out = 42;
    assert_true(checked_add(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    out = 42;
    assert_false(checked_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 42);
    for (size_t k = 2; k < 1000; k++) {
        assert_true(checked_mul(SIZE_MAX / k, k, &out));
        assert_true(out == SIZE_MAX / k * k);
        out = 42;
        assert_false(checked_mul(SIZE_MAX / k + 1, k, &out));
        assert_int_equal(out, 42);
    }
    assert_true(checked_mul(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
}

static void rounding_up_reaches_the_next_multiple_or_is_refused(void **state)
{
    (void)state;
    size_t out = 42;
    for (size_t align = 1; align <= 4096; align *= 2) {
        for (size_t a = 0; a < 100; a++) {
            assert_true(checked_align(a, align, &out));
            assert_true(out >= a && out - a < align && out % align == 0);
        }
    }
    assert_true(checked_align(SIZE_MAX - 31, 32, &out));
    assert_true(out == SIZE_MAX - 31);
    out = 42;
    assert_false(checked_align(SIZE_MAX - 30, 32, &out));
    assert_int_equal(out, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_products_are_exact_or_refused),
        cmocka_unit_test(rounding_up_reaches_the_next_multiple_or_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

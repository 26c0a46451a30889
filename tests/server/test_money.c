/* Amounts of money: exact, whatever their size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/money.h"

static void decimals_are_read_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t amount;
        const char *back;
    } good[] = {
        {"0", 0, "0"}, {"1", 1000000000, "1"}, {"12.50", 12500000000, "12.5"}, {"0.000000001", 1, "0.000000001"},
        {"-0.5", -500000000, "-0.5"}, {"9000000000", 9000000000 * MONEY_UNIT, "9000000000"},
        {"007", 7 * MONEY_UNIT, "7"}, {"-9000000000.999999999", -9000000000 * MONEY_UNIT - 999999999, "-9000000000.999999999"},
    };
    static const char *const bad[] = {"", "-", ".", ".5", "1.", "1.0000000001", "1e3", " 1", "1 ", "+1", "1,5", "9000000001",
                                      "99999999999", "0x1", "1.2.3", "--1", "NaN"};
    char text[MONEY_TEXT];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t n = 77;
        assert_true(money_parse(good[i].text, &n));
        assert_int_equal(n, good[i].amount);
        assert_string_equal(money_text(n, text), good[i].back);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t n = 77;
        if (money_parse(bad[i], &n)) {
            fail_msg("\"%s\" was read as %lld", bad[i], (long long)n);
        }
    }
    assert_string_equal(money_text(INT64_MIN, text), "-9223372036.854775808");
    assert_string_equal(money_text(INT64_MAX, text), "9223372036.854775807");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decimals_are_read_exactly)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

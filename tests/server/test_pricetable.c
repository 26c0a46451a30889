/* Price tables: what is read, what is refused, what tokens cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "server/pricetable.h"

static struct pricetable t;
static struct errinfo info;

static err parse(const char *text)
{
    return pricetable_parse(text, strlen(text), &t, &info);
}

static int64_t cost(const char *model, uint64_t prompt, uint64_t cached, uint64_t completion)
{
    return pricetable_cost(&t, model, &(struct pricetable_tokens){prompt, cached, completion});
}

static void the_first_line_that_fits_counts(void **state)
{
    (void)state;
    assert_int_equal(parse("# prices\n\ncurrency EUR\n big | 0.028 | 0.28 | 0.42 \r\nbig-* | 1 | 2 | 3\n"), ERR_OK);
    assert_string_equal(t.currency, "EUR");
    assert_int_equal(cost("big", 1000000, 0, 0), 280000000);
    assert_int_equal(cost("big", 1000000, 1000000, 0), 28000000);
    assert_int_equal(cost("big", 3, 1, 1), 28 + 2 * 280 + 420); /* 0.000000028 for the first … */
    assert_int_equal(cost("big-er", 1, 0, 1), 5000);
    assert_int_equal(cost("bigger", 1, 0, 1), 0);
    assert_int_equal(cost("big", 1, 5, 0), 28); /* more cached than there are: no credit */
}

static void nothing_wraps_and_halves_round_up(void **state)
{
    (void)state;
    assert_int_equal(parse("currency X\n* | 0 | 1000000 | 0.000500000\ny | 0 | 0 | 0\n"), ERR_OK);
    assert_int_equal(cost("x", UINT64_MAX, 0, UINT64_MAX), INT64_MAX);
    assert_int_equal(cost("x", 0, 0, 1), 1); /* half a billionth */
    assert_int_equal(parse("currency X\n* | 0 | 0 | 0.000499999\n"), ERR_OK);
    assert_int_equal(cost("x", 0, 0, 1), 0);
    assert_int_equal(cost("x", 0, 0, 3), 1);
}

static void bad_tables_are_refused_by_line(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "* | 0 | 0 | 0\n", "currency TOOLONGWORD\n", "currency A\ncurrency B\n", "currency A\nx | 1 | 2\n",
        "currency A\nx | 1 | 2 | 3 | 4\n", "currency A\nx | 1 | -2 | 3\n", "currency A\nx | a | 2 | 3\n",
        "currency A\nx | 1 | 2 | 1000001\n", "currency A\nx\n", "currency \n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i]), ERR_CORRUPT);
        assert_non_null(strstr(info.message, "prices"));
    }
    assert_int_equal(parse("currency A\n\nx | 1\n"), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "line 3"));
}

static void the_built_in_one_costs_nothing(void **state)
{
    (void)state;
    assert_int_equal(pricetable_builtin(&t, &info), ERR_OK);
    assert_string_equal(t.currency, "USD");
    assert_int_equal(t.n, 1);
    assert_int_equal(cost("anything", 1000000, 0, 1000000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_that_fits_counts),
        cmocka_unit_test(nothing_wraps_and_halves_round_up),
        cmocka_unit_test(bad_tables_are_refused_by_line),
        cmocka_unit_test(the_built_in_one_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

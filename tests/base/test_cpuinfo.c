/* tests/base/test_cpuinfo.c: FATHOM_CPU chooses a level the machine has, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpuinfo.h"

static void without_a_wish_the_best_level_is_chosen(void **state)
{
    (void)state;
    enum cpuinfo_level level = CPUINFO_LEVELS;
    struct errinfo info = {0};
    unsetenv("FATHOM_CPU");
    assert_int_equal(cpuinfo_choose(&level, &info), ERR_OK);
    assert_int_equal(level, cpuinfo_best());
    setenv("FATHOM_CPU", "", 1);
    assert_int_equal(cpuinfo_choose(&level, &info), ERR_OK);
    assert_int_equal(level, cpuinfo_best());
}

static void every_level_up_to_the_best_can_be_wished_for(void **state)
{
    (void)state;
    for (int i = 0; i < CPUINFO_LEVELS; i++) {
        enum cpuinfo_level level = CPUINFO_LEVELS;
        struct errinfo info = {0};
        const char *name = cpuinfo_level_name((enum cpuinfo_level)i);
        setenv("FATHOM_CPU", name, 1);
        if (i <= (int)cpuinfo_best()) {
            assert_int_equal(cpuinfo_choose(&level, &info), ERR_OK);
            assert_int_equal(level, i);
        } else {
            assert_int_equal(cpuinfo_choose(&level, &info), ERR_ARGUMENT);
            assert_non_null(strstr(info.message, name));
            assert_int_equal(level, CPUINFO_LEVELS);
        }
    }
}

static void unknown_wishes_are_refused_with_the_known_ones(void **state)
{
    (void)state;
    static const char *const wishes[] = {"AVX2", "avx", "sse", " ref", "avx512 "};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        enum cpuinfo_level level = CPUINFO_LEVELS;
        struct errinfo info = {0};
        setenv("FATHOM_CPU", wishes[i], 1);
        assert_int_equal(cpuinfo_choose(&level, &info), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, "ref, avx2, avx512, avx512bf16 or amx"));
    }
    unsetenv("FATHOM_CPU");
}

static void the_machine_is_described(void **state)
{
    (void)state;
    assert_true(strlen(cpuinfo_model()) > 3);
    assert_true(cpuinfo_cores() >= 1);
    assert_string_equal(cpuinfo_level_name(CPUINFO_REF), "ref");
    assert_string_equal(cpuinfo_level_name(CPUINFO_LEVELS), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_wish_the_best_level_is_chosen),
        cmocka_unit_test(every_level_up_to_the_best_can_be_wished_for),
        cmocka_unit_test(unknown_wishes_are_refused_with_the_known_ones),
        cmocka_unit_test(the_machine_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The names of weight types: the manual names all of them, and a near miss is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/weighttype.h"
#include "model/quantmix.h"

static void test_the_list_is_what_quantmix_knows(void **state)
{
    (void)state;
    char list[512] = "";
    const char *name;
    for (size_t i = 0; (name = quantmix_name_at(i)) != NULL; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? " " : "", name);
        assert_int_equal(weighttype_check(name, NULL), ERR_OK);
    }
    assert_string_equal(list, WEIGHTTYPE_NAMES);
    assert_int_equal(weighttype_check("Q4_K_M", NULL), ERR_OK);
}

static void test_a_near_miss_gets_a_suggestion(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"q4km", "q4_k_m?"}, {"Q5-K-S", "q5_k_s?"}, {"q4", "q4_k_m?"},
                                           {"fp16", "f16?"},    {"q8", "q8_0?"},       {"bf6", "bf16?"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct errinfo info = {0};
        assert_int_equal(weighttype_check(pairs[i][0], &info), ERR_ARGUMENT);
        if (!strstr(info.message, "did you mean") || !strstr(info.message, pairs[i][1])) {
            fail_msg("%s: %s", pairs[i][0], info.message);
        }
    }
    struct errinfo info = {0};
    assert_int_equal(weighttype_check("nonsense", &info), ERR_ARGUMENT);
    assert_null(strstr(info.message, "did you mean"));
    assert_non_null(strstr(info.message, WEIGHTTYPE_NAMES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_list_is_what_quantmix_knows),
        cmocka_unit_test(test_a_near_miss_gets_a_suggestion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

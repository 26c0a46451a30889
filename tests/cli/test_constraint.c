/* What --grammar, --json-schema and --json-object read, and that they exclude each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/constraint.h"

static void nothing_asked_for_is_no_constraint(void **state)
{
    (void)state;
    struct constraint c = {0};
    assert_int_equal(constraint_read(&c, NULL), ERR_OK);
    assert_int_equal(constraint_open(&c, NULL, true, NULL), ERR_OK);
    assert_null(c.mask);
    constraint_close(&c);
}

static void they_exclude_each_other(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct constraint c = {.grammar_file = "a", .json_object = true};
    assert_int_equal(constraint_read(&c, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "exclude each other"));
}

static void a_bad_file_is_named(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct constraint c = {.grammar_file = "CONTRIBUTING.md"};
    assert_int_equal(constraint_read(&c, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "CONTRIBUTING.md: grammar, line "));
    c = (struct constraint){.schema_file = "CONTRIBUTING.md"};
    assert_int_equal(constraint_read(&c, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "CONTRIBUTING.md"));
}

static void a_grammar_needs_a_tokenizer(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct constraint c = {.json_object = true};
    assert_int_equal(constraint_read(&c, &info), ERR_OK);
    assert_int_equal(constraint_open(&c, NULL, false, &info), ERR_UNSUPPORTED);
    constraint_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_for_is_no_constraint),
        cmocka_unit_test(they_exclude_each_other),
        cmocka_unit_test(a_bad_file_is_named),
        cmocka_unit_test(a_grammar_needs_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/base/test_err.c: messages are kept, prefixed, cut and always safe to print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void a_message_is_set_and_its_code_returned(void **state)
{
    (void)state;
    struct errinfo info = {0};
    assert_int_equal(err_set(&info, ERR_LIMIT, "%d of %s", 7, "x"), ERR_LIMIT);
    assert_int_equal(info.code, ERR_LIMIT);
    assert_string_equal(info.message, "7 of x");
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

static void a_prefix_stands_in_front_and_may_change_the_code(void **state)
{
    (void)state;
    struct errinfo info = {0};
    err_set(&info, ERR_NOTFOUND, "no such key");
    assert_int_equal(err_prefix(&info, ERR_CORRUPT, "while reading %s: ", "f"), ERR_CORRUPT);
    assert_string_equal(info.message, "while reading f: no such key");
    assert_int_equal(info.code, ERR_CORRUPT);
    assert_int_equal(err_prefix(NULL, ERR_IO, "x"), ERR_IO);
}

static void the_field_that_lies_deepest_is_named(void **state)
{
    (void)state;
    struct errinfo info = {0};
    err_set(&info, ERR_ARGUMENT, "no number");
    assert_string_equal(info.field, "");
    assert_int_equal(err_at(&info, ERR_ARGUMENT, "limits.%s", "rpm"), ERR_ARGUMENT);
    assert_int_equal(err_at(&info, ERR_ARGUMENT, "limits"), ERR_ARGUMENT);
    assert_string_equal(info.field, "limits.rpm");
    err_prefix(&info, ERR_ARGUMENT, "key 3 of the file: ");
    assert_string_equal(info.field, ""); /* it was the key's, and not the file's */
    err_at(&info, ERR_ARGUMENT, "keys[2]");
    assert_string_equal(info.field, "keys[2]");
    err_set(&info, ERR_IO, "another");
    assert_string_equal(info.field, "");
    assert_int_equal(err_at(NULL, ERR_IO, "x"), ERR_IO);
}

static void long_messages_are_cut_at_the_end_without_half_a_character(void **state)
{
    (void)state;
    struct errinfo info = {0};
    char text[2001];
    for (size_t i = 0; i < 2000; i += 2) {
        memcpy(text + i, "\xc3\xa9", 2);
    }
    text[2000] = '\0';
    err_set(&info, ERR_IO, "%s", text);
    assert_int_equal(strlen(info.message), sizeof info.message - 1);
    assert_int_equal(info.message[sizeof info.message - 2], '?');
    err_prefix(&info, ERR_IO, "%s", text);
    assert_int_equal(strlen(info.message), sizeof info.message - 1);
}

static void hostile_bytes_become_question_marks(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"plain\ttext\n", "plain\ttext\n"},
        {"caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80"},
        {"\x1b[2J\x07\x7f\r", "?[2J???"},
        {"\xc2\x9b"
         "31m",
         "??31m"},
        {"\xff\xfe\x80", "???"},
        {"\xc0\xaf", "??"},
        {"\xed\xa0\x80", "???"},
        {"\xf4\x90\x80\x80", "????"},
        {"\xe0\x80\x80", "???"},
        {"\xf0\x9f\x98", "???"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errinfo info = {0};
        err_set(&info, ERR_CORRUPT, "%s", cases[i][0]);
        assert_string_equal(info.message, cases[i][1]);
    }
}

static void every_code_has_a_name(void **state)
{
    (void)state;
    for (int e = ERR_OK; e <= ERR_CANCELLED; e++) {
        assert_true(strlen(err_name((err)e)) > 1);
        assert_string_not_equal(err_name((err)e), "unknown error");
    }
    assert_string_equal(err_name((err)99), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_set_and_its_code_returned),
        cmocka_unit_test(a_prefix_stands_in_front_and_may_change_the_code),
        cmocka_unit_test(long_messages_are_cut_at_the_end_without_half_a_character),
        cmocka_unit_test(the_field_that_lies_deepest_is_named),
        cmocka_unit_test(hostile_bytes_become_question_marks),
        cmocka_unit_test(every_code_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

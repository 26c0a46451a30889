/* tests/base/test_json.c: bounded, strict parsing; getters that name what is wrong; no leaks when
 * memory is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"

static err parse(const char *text, json_t **out, struct errinfo *info)
{
    return json_parse(text, strlen(text), "config.json", out, info);
}

static void every_bad_document_is_refused_with_file_and_place(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\":1,\"a\":2}",
        "{} x",
        "nul",
        "\"\\u0000\"",
        "\"\xff\"",
        "{'a':1}",
        "[1 2]",
        "\"open",
        "{\"a\" 1}",
        "01",
        "[\"\\ud800\"]",
        "1e999",
        "-",
        "1.",
        "1e",
        ".5",
        "+1",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "tru",
        "[",
        "[1",
        "{\"a\":",
        "{1:2}",
        "\"\xed\xa0\x80\"",
        "\"\xc0\xaf\"",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct errinfo info = {0};
        json_t *value = NULL;
        assert_int_equal(parse(bad[i], &value, &info), ERR_CORRUPT);
        assert_null(value);
        assert_non_null(strstr(info.message, "config.json, line "));
        assert_int_equal(json_parse_line(bad[i], strlen(bad[i]), "log, line 7", &value, &info), ERR_CORRUPT);
        assert_non_null(strstr(info.message, "log, line 7, column "));
    }
}

static void escapes_unicode_and_numbers_mean_what_they_say(void **state)
{
    (void)state;
    json_t *v;
    assert_int_equal(
        parse(" [ \"\\u00e9\\ud83d\\ude00\\n\\\"\\/x\xf0\x9f\x98\x80\" , -0 , "
              "1.5e-3,\t-9223372036854775808,"
              "9223372036854775807 , {\"k\\ney\" : \"a\\tb\", \"z\": \"plain\"},[ ],{ } ] \n",
              &v, NULL),
        ERR_OK);
    assert_string_equal(json_string_value(json_array_get(v, 0)),
                        "\xc3\xa9\xf0\x9f\x98\x80\n\"/x\xf0\x9f\x98\x80");
    assert_true(json_integer_value(json_array_get(v, 1)) == 0);
    assert_true(json_real_value(json_array_get(v, 2)) == 1.5e-3);
    assert_true(json_integer_value(json_array_get(v, 3)) == INT64_MIN);
    assert_true(json_integer_value(json_array_get(v, 4)) == INT64_MAX);
    assert_string_equal(json_string_value(json_object_get(json_array_get(v, 5), "k\ney")), "a\tb");
    assert_string_equal(json_string_value(json_object_get(json_array_get(v, 5), "z")), "plain");
    assert_int_equal(json_array_size(v), 8);
    json_decref(v);
}

static void what_goes_on_as_text_may_repeat_names_and_hold_nul(void **state)
{
    (void)state;
    json_t *v = NULL;
    struct errinfo info = {0};
    static const char text[] = "{\"a\":1,\"b\\u0000\":\"\\u0000x\",\"a\":{\"\":2,\"\":3}}";
    assert_int_equal(json_parse_text(text, strlen(text), "arguments", &v, &info), ERR_OK);
    assert_int_equal(json_object_size(v), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "a"), "")), 3);
    assert_int_equal(json_string_length(json_object_getn(v, "b\0", 2)), 2);
    json_decref(v);
    assert_int_equal(json_parse_text("{\"a\":1,}", 8, "arguments", &v, &info), ERR_CORRUPT);
    assert_int_equal(json_parse_text("\"\\ud800\"", 8, "arguments", &v, &info), ERR_CORRUPT);
}

static void nesting_is_bounded_and_brackets_in_strings_do_not_count(void **state)
{
    (void)state;
    char text[4096];
    struct errinfo info = {0};
    json_t *value = NULL;
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        err e = json_parse(text, 2 * depth, "x", &value, &info);
        assert_int_equal(e, depth > JSON_DEPTH_MAX ? ERR_LIMIT : ERR_OK);
        json_decref(e == ERR_OK ? value : NULL);
    }
    assert_non_null(strstr(info.message, "over 64 levels"));
    memset(text, '[', 200);
    text[0] = text[199] = '"';
    memcpy(text + 100, "\\\"", 2);
    assert_int_equal(json_parse(text, 200, "x", &value, &info), ERR_OK);
    json_decref(value);
}

static void the_number_of_values_is_bounded(void **state)
{
    (void)state;
    size_t n = 2 * (size_t)JSON_VALUES_MAX + 2;
    char *text = mem_alloc(n);
    memset(text, ',', n);
    for (size_t i = 0; i < n; i += 2) {
        text[i] = '1';
    }
    text[0] = '[';
    text[1] = '1';
    text[n - 1] = ']';
    struct errinfo info = {0};
    json_t *value = NULL;
    assert_int_equal(json_parse(text, n, "big.json", &value, &info), ERR_LIMIT);
    assert_non_null(strstr(info.message, "big.json"));
    mem_free(text);
}

static void integers_too_big_for_64_bits_do_not_spoil_the_file(void **state)
{
    (void)state;
    json_t *v;
    struct errinfo info = {0};
    const char *text = "{\"model_max_length\": 1000000000000000019884624838656, \"n\": 7}";
    assert_int_equal(parse(text, &v, &info), ERR_OK);
    uint64_t n = 0;
    assert_int_equal(json_get_u64(v, "t", "n", &n, &info), ERR_OK);
    assert_int_equal(n, 7);
    assert_int_equal(json_get_u64(v, "t", "model_max_length", &n, &info), ERR_CORRUPT);
    double d = 0;
    assert_int_equal(json_get_double(v, "t", "model_max_length", &d, &info), ERR_OK);
    assert_true(d > 9e29);
    json_decref(v);
}

static void getters_return_values_and_leave_out_alone_on_error(void **state)
{
    (void)state;
    json_t *v;
    struct errinfo info = {0};
    assert_int_equal(parse("{\"n\":128,\"w\":64.0,\"neg\":-1,\"f\":0.5,\"b\":true,\"s\":\"x\","
                           "\"o\":{},\"a\":[],\"z\":null}",
                           &v, &info),
                     ERR_OK);
    uint64_t u = 5;
    size_t z = 5;
    double d = 5;
    bool b = false;
    const char *s = "old";
    const json_t *j = NULL;
    assert_int_equal(json_get_u64(v, "c", "n", &u, &info), ERR_OK);
    assert_int_equal(u, 128);
    assert_int_equal(json_get_size(v, "c", "w", &z, &info), ERR_OK);
    assert_int_equal(z, 64);
    assert_int_equal(json_get_double(v, "c", "n", &d, &info), ERR_OK);
    assert_true(d == 128.0);
    assert_int_equal(json_get_bool(v, "c", "b", &b, &info), ERR_OK);
    assert_true(b);
    assert_int_equal(json_get_string(v, "c", "s", &s, &info), ERR_OK);
    assert_string_equal(s, "x");
    assert_int_equal(json_get_object(v, "c", "o", &j, &info), ERR_OK);
    assert_int_equal(json_get_array(v, "c", "a", &j, &info), ERR_OK);

    static const char *const not_counts[] = {"neg", "f", "b", "s", "o", "a"};
    for (size_t i = 0; i < sizeof not_counts / sizeof *not_counts; i++) {
        assert_int_equal(json_get_u64(v, "c", not_counts[i], &u, &info), ERR_CORRUPT);
        assert_non_null(strstr(info.message, not_counts[i]));
        assert_int_equal(u, 128);
    }
    assert_int_equal(json_get_u64(v, "c", "absent", &u, &info), ERR_NOTFOUND);
    assert_int_equal(json_get_u64(v, "c", "z", &u, &info), ERR_NOTFOUND);
    assert_string_equal(info.message, "c: \"z\" is missing");
    assert_int_equal(json_get_double(v, "c", "s", &d, &info), ERR_CORRUPT);
    assert_int_equal(json_get_bool(v, "c", "n", &b, &info), ERR_CORRUPT);
    assert_int_equal(json_get_string(v, "c", "n", &s, &info), ERR_CORRUPT);
    assert_string_equal(info.message, "c: \"n\" is 128; expected a string");
    assert_int_equal(json_get_object(v, "c", "a", &j, &info), ERR_CORRUPT);
    assert_int_equal(json_get_array(v, "c", "o", &j, &info), ERR_CORRUPT);
    assert_int_equal(json_get_u64(NULL, "c", "n", &u, &info), ERR_CORRUPT);
    assert_non_null(strstr(info.message, "found nothing"));
    json_decref(v);
}

static void a_refused_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    const char *text = "{\"a key that outgrows its buffer\":[1,2.5,\"text with "
                       "\\u00e9\",{\"b\":null,\"c\":true}],\"d\":\"e\"}";
    size_t before = mem_alive();
    for (size_t k = 1;; k++) {
        for (int later = 0; later < 2; later++) {
            struct errinfo info = {0};
            json_t *v = NULL;
            mem_fault(k, later);
            err e = parse(text, &v, &info);
            size_t attempts = mem_attempts();
            mem_fault(0, 0);
            if (e == ERR_OK) {
                json_decref(v);
                assert_true(attempts < k);
                assert_int_equal(mem_alive(), before);
                return;
            }
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(mem_alive(), before);
        }
    }
}

static void text_is_complete_or_an_error(void **state)
{
    (void)state;
    const char *text =
        "{\"a\":[1,2.5,\"text with some length to make the buffer grow\",{\"b\":null}]}";
    json_t *v;
    char *out = NULL;
    assert_int_equal(parse(text, &v, NULL), ERR_OK);
    size_t before = mem_alive();
    for (size_t k = 1;; k++) {
        mem_fault(k, 0);
        err e = json_text(v, JSON_COMPACT, &out);
        mem_fault(0, 0);
        if (e == ERR_OK) {
            assert_string_equal(out, text);
            mem_free(out);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_int_equal(mem_alive(), before);
    }
    assert_int_equal(json_text(NULL, 0, &out), ERR_ARGUMENT);
    json_decref(v);
}

static void a_file_over_its_cap_or_absent_is_named(void **state)
{
    (void)state;
    struct errinfo info = {0};
    json_t *v;
    assert_int_equal(json_parse_file("Makefile", 10, &v, &info), ERR_LIMIT);
    assert_non_null(strstr(info.message, "Makefile"));
    assert_int_equal(json_parse_file("no/such.json", 10, &v, &info), ERR_NOTFOUND);
    assert_int_equal(json_parse_file("LICENSE", 1 << 20, &v, &info), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_document_is_refused_with_file_and_place),
        cmocka_unit_test(escapes_unicode_and_numbers_mean_what_they_say),
        cmocka_unit_test(what_goes_on_as_text_may_repeat_names_and_hold_nul),
        cmocka_unit_test(nesting_is_bounded_and_brackets_in_strings_do_not_count),
        cmocka_unit_test(the_number_of_values_is_bounded),
        cmocka_unit_test(integers_too_big_for_64_bits_do_not_spoil_the_file),
        cmocka_unit_test(getters_return_values_and_leave_out_alone_on_error),
        cmocka_unit_test(a_refused_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(text_is_complete_or_an_error),
        cmocka_unit_test(a_file_over_its_cap_or_absent_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

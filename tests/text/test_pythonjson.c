/* JSON as Python's json.dumps(json.loads(text), ensure_ascii=False) gives it: the right column was printed by Python
 * 3.11. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/pythonjson.h"

static void text_is_what_python_prints(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        {"{}", "{}"},
        {"[ ]", "[]"},
        {"{\"a\":1,\"b\":[1,2,{\"c\":null}],\"d\":true,\"e\":false}", "{\"a\": 1, \"b\": [1, 2, {\"c\": null}], \"d\": true, \"e\": false}"},
        {" { \"a\" : \"b\" } ", "{\"a\": \"b\"}"},
        {"\"\\u00fc\\u4f60\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\\"\\\\\\u0001\\u001F\\u007f\"", "\"ü你😀/\\b\\f\\n\\r\\t\\\"\\\\\\u0001\\u001f\177\""},
        {"\"ü你😀\"", "\"ü你😀\""},
        {"[0,-0,-0.0,1.0,1.5,0.1,1e5,1E5,1e15,1e16,1.5e300,1e-4,1e-5,123456.789,2.5e-7,1e22,5e-324,"
         "1.7976931348623157e308,0.30000000000000004,1234567890123456.7,100,18446744073709551615,-9223372036854775809,"
         "123456789012345678901234567890,12.0e1]",
         "[0, 0, -0.0, 1.0, 1.5, 0.1, 100000.0, 100000.0, 1000000000000000.0, 1e+16, 1.5e+300, 0.0001, 1e-05,"
         " 123456.789, 2.5e-07, 1e+22, 5e-324, 1.7976931348623157e+308, 0.30000000000000004, 1234567890123456.8, 100,"
         " 18446744073709551615, -9223372036854775809, 123456789012345678901234567890, 120.0]"},
        {"{\"\":{\"\":\"\"}}", "{\"\": {\"\": \"\"}}"},
        {"{\"a\":1,\"a\":\"\\u0000\"}", "{\"a\": 1, \"a\": \"\\u0000\"}"},
        {"null", "null"},
        {"\"a,b:c{}[]\"", "\"a,b:c{}[]\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct strbuf out = {0};
        struct errinfo info = {0};
        if (pythonjson_append(&out, rows[i].text, strlen(rows[i].text), "text", &info) != ERR_OK) {
            fail_msg("%s: %s", rows[i].text, info.message);
        }
        assert_string_equal(out.data, rows[i].wanted);
        strbuf_deinit(&out);
    }
}

static void what_is_no_json_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const rows[] = {"", "{", "{\"a\"}", "nul", "[1,]", "\"\\ud800\"", "1 2", "'a'"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct strbuf out = {0};
        struct errinfo info = {0};
        assert_int_equal(pythonjson_append(&out, rows[i], strlen(rows[i]), "the schema", &info), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, "the schema"));
        assert_int_equal(out.len, 0);
        strbuf_deinit(&out);
    }
}

static void members_are_walked_in_order(void **state)
{
    (void)state;
    static const char text[] = "{\"a\\\"}\": \"x, \\\"y\\\"\\n\\u0001\", \"b\": [1, {\"c\": \"]\"}], \"n\": -1.5, \"\": null}";
    static const char *const wanted[][2] = {
        {"a\"}", "x, \"y\"\n\001"}, {"b", "[1, {\"c\": \"]\"}]"}, {"n", "-1.5"}, {"", "null"}};
    const char *pos = text;
    struct pythonjson_member m;
    size_t n = 0;
    while (pythonjson_next(&pos, &m)) {
        struct strbuf key = {0}, value = {0};
        assert_int_equal(pythonjson_unescape(&key, m.key, m.key_len), ERR_OK);
        assert_int_equal(*m.value == '"' ? pythonjson_unescape(&value, m.value, m.value_len)
                                         : strbuf_append(&value, m.value, m.value_len), ERR_OK);
        assert_true(n < 4);
        assert_string_equal(key.data ? key.data : "", wanted[n][0]);
        assert_string_equal(value.data, wanted[n][1]);
        n++;
        strbuf_deinit(&key);
        strbuf_deinit(&value);
    }
    assert_int_equal(n, 4);
    pos = "{}";
    assert_false(pythonjson_next(&pos, &m));
}

static void a_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": [1, 2.50, \"\\u00fc and a text that is longer than the first room for texts is\"]}";
    size_t alive = mem_alive();
    bool done = false;
    for (size_t k = 1; !done; k++) {
        struct strbuf out = {0};
        struct errinfo info = {0};
        mem_fault(k, 0);
        err e = pythonjson_append(&out, text, strlen(text), "text", &info);
        mem_fault(0, 0);
        done = e == ERR_OK;
        assert_true(done || (e == ERR_NOMEM && info.message[0]));
        strbuf_deinit(&out);
        assert_int_equal(mem_alive(), alive);
        assert_true(k < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_what_python_prints),
        cmocka_unit_test(what_is_no_json_is_refused_by_name),
        cmocka_unit_test(members_are_walked_in_order),
        cmocka_unit_test(a_failed_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

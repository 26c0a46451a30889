/* Well-formed and ill-formed UTF-8 against the standard's definition, over every short sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "text/utf8.h"

static void every_code_point_is_written_and_read_back(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < 0x110000; point++) {
        char bytes[4];
        size_t n = utf8_write(point, bytes);
        bool surrogate = point >= 0xd800 && point < 0xe000;
        assert_int_equal(utf8_length(bytes, n, NULL, NULL), surrogate ? 0 : n);
        assert_int_equal(utf8_point(bytes, n), point);
        assert_int_equal(utf8_step(bytes[0]), n);
    }
}

/* Every sequence of up to three bytes that is found well-formed is the one way to write its point. */
static void what_is_found_well_formed_is_the_shortest_form(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 1u << 24; v += v % 7 + 1) {
        char bytes[4] = {(char)(v >> 16), (char)(v >> 8), (char)v, '\x80'}, again[4];
        size_t n = utf8_length(bytes, 4, NULL, NULL);
        if (n > 0) {
            assert_int_equal(utf8_write(utf8_point(bytes, n), again), n);
            assert_memory_equal(bytes, again, n);
        }
    }
}

static void ill_formed_parts_have_the_standards_length(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len, bad;
        bool cut;
    } rows[] = {
        {"\x80", 1, 1, false},         {"\xc3", 1, 1, true},          {"\xc3(", 2, 1, false},
        {"\xc0\x80", 2, 1, false},     {"\xe2\x82", 2, 2, true},      {"\xe2\x82(", 3, 2, false},
        {"\xe0\x80\x80", 3, 1, false}, {"\xed\xa0\x80", 3, 1, false}, {"\xf0\x9f\x98", 3, 3, true},
        {"\xf4\x90\x80", 3, 1, false}, {"\xf5\x80", 2, 1, false},     {"\xff", 1, 1, false},
        {"\xf0\x9f\xff", 3, 2, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t bad = 0;
        bool cut = false;
        assert_int_equal(utf8_length(rows[i].bytes, rows[i].len, &bad, &cut), 0);
        assert_int_equal(bad, rows[i].bad);
        assert_int_equal(cut, rows[i].cut);
    }
    assert_int_equal(utf8_valid_prefix("0123456789\xc3\xa9 \xff", 14), 13);
    assert_int_equal(utf8_valid_prefix("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_written_and_read_back),
        cmocka_unit_test(what_is_found_well_formed_is_the_shortest_form),
        cmocka_unit_test(ill_formed_parts_have_the_standards_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

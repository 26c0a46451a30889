/* Classes of well-known characters, the borders of planes, and how many code points each class has in
 * Unicode 16.0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/unicodeclass.h"

static void known_characters_have_their_class(void **state)
{
    (void)state;
    static const struct {
        uint32_t point;
        enum unicodeclass cls;
    } rows[] = {
        {'a', UNICODECLASS_LETTER},    {'7', UNICODECLASS_NUMBER},    {'!', UNICODECLASS_PUNCT},
        {'$', UNICODECLASS_SYMBOL},    {' ', UNICODECLASS_SPACE},     {0, UNICODECLASS_OTHER},
        {0x85, UNICODECLASS_SPACE},    {0xa0, UNICODECLASS_SPACE},    {0x301, UNICODECLASS_MARK},
        {0x4e00, UNICODECLASS_LETTER}, {0x3000, UNICODECLASS_SPACE},  {0x200b, UNICODECLASS_OTHER},
        {0x2167, UNICODECLASS_NUMBER}, {0x1f600, UNICODECLASS_SYMBOL}, {0xac00, UNICODECLASS_LETTER},
        {0xe000, UNICODECLASS_OTHER},  {0x1c89, UNICODECLASS_LETTER}, {0x10d40, UNICODECLASS_NUMBER},
        {0x10ffff, UNICODECLASS_OTHER}, {0x110000, UNICODECLASS_OTHER}, {UINT32_MAX, UNICODECLASS_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(unicodeclass_of(rows[i].point), rows[i].cls);
    }
}

static void the_table_is_that_of_unicode_16(void **state)
{
    (void)state;
    size_t count[UNICODECLASS_SPACE + 1] = {0};
    for (uint32_t point = 0; point < 0x110000; point++) {
        count[unicodeclass_of(point)]++;
        assert_int_equal(unicodeclass_of(point), unicodeclass_beyond_ascii(point));
    }
    assert_int_equal(count[UNICODECLASS_LETTER], 141028);
    assert_int_equal(count[UNICODECLASS_NUMBER], 1911);
    assert_int_equal(count[UNICODECLASS_SPACE], 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_characters_have_their_class),
        cmocka_unit_test(the_table_is_that_of_unicode_16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

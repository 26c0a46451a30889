/* Each byte has one letter, each letter one byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/bytealphabet.h"
#include "text/utf8.h"

static void every_byte_is_spelled_and_read_back(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        char letter[4], byte[4];
        size_t n, len = utf8_write(bytealphabet_point((unsigned char)b), letter);
        assert_true(bytealphabet_decode(letter, len, byte, &n));
        assert_int_equal(n, 1);
        assert_int_equal((unsigned char)byte[0], b);
    }
    assert_int_equal(bytealphabet_point(' '), 0x120);
    assert_int_equal(bytealphabet_point('\n'), 0x10a);
    assert_int_equal(bytealphabet_point(0xad), 0x143);
}

static void exactly_256_characters_are_letters(void **state)
{
    (void)state;
    size_t letters = 0, n;
    for (uint32_t point = 0; point < 0x110000; point++) {
        char letter[4], byte[4];
        letters += bytealphabet_decode(letter, utf8_write(point, letter), byte, &n);
    }
    assert_int_equal(letters, 256);
    char out[4];
    assert_false(bytealphabet_decode("\xc4", 1, out, &n));
    assert_true(bytealphabet_decode("", 0, out, &n));
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_spelled_and_read_back),
        cmocka_unit_test(exactly_256_characters_are_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/base/test_cursor.c: a cursor reads little-endian numbers and never past its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cursor.h"

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void numbers_are_little_endian(void **state)
{
    (void)state;
    struct cursor c = {.data = bytes, .size = sizeof bytes};
    uint8_t a = 0;
    uint16_t b = 0;
    uint32_t d = 0;
    uint64_t e = 0;
    assert_int_equal(cursor_u8(&c, &a), ERR_OK);
    assert_int_equal(cursor_u16(&c, &b), ERR_OK);
    assert_int_equal(cursor_u32(&c, &d), ERR_OK);
    assert_int_equal(cursor_u64(&c, &e), ERR_OK);
    assert_int_equal(a, 1);
    assert_int_equal(b, 0x0302);
    assert_int_equal(d, 0x07060504);
    assert_true(e == 0x0f0e0d0c0b0a0908u);
    assert_int_equal(cursor_left(&c), 0);
}

static void a_refused_read_moves_nothing(void **state)
{
    (void)state;
    for (size_t left = 0; left < 9; left++) {
        struct cursor c = {.data = bytes, .size = sizeof bytes, .pos = sizeof bytes - left};
        size_t pos = c.pos;
        uint64_t out = 42;
        uint32_t word = 42;
        const uint8_t *p = NULL;
        if (left < 8) {
            assert_int_equal(cursor_u64(&c, &out), ERR_CORRUPT);
            assert_true(out == 42 && c.pos == pos);
        }
        if (left < 4) {
            assert_int_equal(cursor_u32(&c, &word), ERR_CORRUPT);
            assert_true(word == 42 && c.pos == pos);
        }
        assert_int_equal(cursor_bytes(&c, left + 1, &p), ERR_CORRUPT);
        assert_int_equal(cursor_bytes(&c, SIZE_MAX, &p), ERR_CORRUPT);
        assert_int_equal(cursor_skip(&c, SIZE_MAX), ERR_CORRUPT);
        assert_true(p == NULL && c.pos == pos);
        assert_int_equal(cursor_bytes(&c, left, &p), ERR_OK);
        assert_ptr_equal(p, bytes + pos);
        assert_int_equal(cursor_skip(&c, 0), ERR_OK);
        assert_int_equal(cursor_left(&c), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(a_refused_read_moves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

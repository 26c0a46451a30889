/* tests/base/test_strbuf.c: a string that grows, stays terminated, and survives refused memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/strbuf.h"

static void appended_pieces_stand_one_after_the_other(void **state)
{
    (void)state;
    struct strbuf s = {0};
    assert_int_equal(strbuf_puts(&s, "one"), ERR_OK);
    assert_int_equal(strbuf_append(&s, "\0two", 4), ERR_OK);
    assert_int_equal(strbuf_printf(&s, "%d%s", 3, ""), ERR_OK);
    assert_int_equal(strbuf_append(&s, NULL, 0), ERR_OK);
    assert_int_equal(s.len, 8);
    assert_memory_equal(s.data, "one\0two3", 9);
    strbuf_clear(&s);
    assert_int_equal(s.len, 0);
    assert_string_equal(s.data, "");
    strbuf_deinit(&s);
    strbuf_deinit(&s);
    strbuf_clear(&s);
    assert_null(s.data);
}

static void it_grows_to_any_length(void **state)
{
    (void)state;
    struct strbuf s = {0};
    for (size_t i = 0; i < 10000; i++) {
        assert_int_equal(strbuf_printf(&s, "%zu,", i % 10), ERR_OK);
        assert_int_equal(strlen(s.data), s.len);
    }
    assert_int_equal(s.len, 20000);
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(strbuf_printf(&s, "%s", text), ERR_OK);
    assert_string_equal(s.data + 20000, text);
    assert_int_equal(strbuf_append(&s, text, SIZE_MAX), ERR_LIMIT);
    assert_int_equal(s.len, 20000 + sizeof text - 1);
    strbuf_deinit(&s);
}

static void taking_gives_the_bytes_away_even_when_there_are_none(void **state)
{
    (void)state;
    struct strbuf s = {0};
    char *text = NULL;
    assert_int_equal(strbuf_take(&s, &text), ERR_OK);
    assert_string_equal(text, "");
    mem_free(text);
    assert_int_equal(strbuf_puts(&s, "abc"), ERR_OK);
    assert_int_equal(strbuf_take(&s, &text), ERR_OK);
    assert_string_equal(text, "abc");
    assert_null(s.data);
    mem_free(text);
}

static void refused_memory_leaves_the_string_as_it_was(void **state)
{
    (void)state;
    struct strbuf s = {0};
    char text[200];
    memset(text, 'y', sizeof text);
    assert_int_equal(strbuf_puts(&s, "kept"), ERR_OK);
    mem_fault(1, 1);
    assert_int_equal(strbuf_append(&s, text, sizeof text), ERR_NOMEM);
    assert_int_equal(strbuf_printf(&s, "%.200s", text), ERR_NOMEM);
    mem_fault(0, 0);
    assert_string_equal(s.data, "kept");
    assert_int_equal(s.len, 4);
    strbuf_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_pieces_stand_one_after_the_other),
        cmocka_unit_test(it_grows_to_any_length),
        cmocka_unit_test(taking_gives_the_bytes_away_even_when_there_are_none),
        cmocka_unit_test(refused_memory_leaves_the_string_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

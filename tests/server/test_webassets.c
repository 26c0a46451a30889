/* The page inside the program: its files are found, whole, typed, and small enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/webassets.h"

static void what_browsers_ask_for_is_there(void **state)
{
    (void)state;
    const struct webasset *page = webassets_find("/");
    assert_non_null(page);
    assert_string_equal(page->type, "text/html; charset=utf-8");
    assert_memory_equal(page->bytes, "<!doctype html>", 15);
    assert_int_equal(page->bytes[page->size - 1], '\n');
    assert_non_null(webassets_find("/js/main.js"));
    assert_non_null(webassets_find("/page.css"));
    assert_null(webassets_find(""));
    assert_null(webassets_find("/js/"));
    assert_null(webassets_find("/js/main.js/"));
    assert_null(webassets_find("/../Makefile"));
}

static void etags_differ_and_are_quoted(void **state)
{
    (void)state;
    for (size_t i = 0; i < webassets_table_size; i++) {
        const struct webasset *a = &webassets_table[i];
        assert_int_equal(strlen(a->etag), 18);
        assert_true(a->etag[0] == '"' && a->etag[17] == '"');
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(a->path, webassets_table[k].path);
            assert_string_not_equal(a->etag, webassets_table[k].etag);
        }
    }
}

static void compressed_files_are_gzip_and_smaller(void **state)
{
    (void)state;
    for (size_t i = 0; i < webassets_table_size; i++) {
        const struct webasset *a = &webassets_table[i];
        assert_true(a->size > 0);
        if (a->packed != NULL) {
            assert_true(a->packed_size < a->size);
            assert_memory_equal(a->packed, "\x1f\x8b\x08", 3);
            uint32_t size; /* a gzip file ends with the size of what it holds */
            memcpy(&size, a->packed + a->packed_size - sizeof size, sizeof size);
            assert_int_equal(size, a->size);
        }
    }
}

/* Libraries are apart: they are loaded when they are needed. */
static void the_page_has_at_most_150_kb(void **state)
{
    (void)state;
    size_t total = 0;
    for (size_t i = 0; i < webassets_table_size; i++) {
        const struct webasset *a = &webassets_table[i];
        if (strncmp(a->path, "/lib/", 5) != 0) {
            total += a->packed != NULL ? a->packed_size : a->size;
        }
    }
    print_message("the page has %zu bytes, compressed\n", total);
    assert_true(total <= 150000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_browsers_ask_for_is_there),
        cmocka_unit_test(etags_differ_and_are_quoted),
        cmocka_unit_test(compressed_files_are_gzip_and_smaller),
        cmocka_unit_test(the_page_has_at_most_150_kb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

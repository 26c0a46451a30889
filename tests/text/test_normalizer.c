/* Composition, and a run of marks that would take quadratic time in one part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "text/normalizer.h"

static void expect(const char *text, const char *want)
{
    struct strbuf out = {0};
    assert_int_equal(normalizer_nfc(text, strlen(text), &out), ERR_OK);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.data, want, out.len);
    strbuf_deinit(&out);
}

static void text_is_composed(void **state)
{
    (void)state;
    expect("plain", "plain");
    expect("e\xcc\x81", "é");
    expect("é", "é");
    expect("a\xcc\xa7\xcc\x81 o\xcc\x82\xcc\xa3", "á\xcc\xa7 ộ");
    expect("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "한");
    expect("\xe2\x84\xab", "Å");
    expect("ﬁ", "ﬁ");
    struct strbuf out = {0};
    assert_int_equal(normalizer_nfc("", 0, &out), ERR_OK);
    assert_int_equal(out.len, 0);
}

static void a_long_run_of_marks_takes_time_in_proportion(void **state)
{
    (void)state;
    enum { PAIRS = 100000 };
    char *text = mem_alloc(4 * PAIRS);
    for (size_t i = 0; i < PAIRS; i++) {
        memcpy(text + 4 * i, "\xcc\x81\xcc\xa7", 4);
    }
    struct strbuf out = {0};
    double started = progress_clock();
    assert_int_equal(normalizer_nfc(text, 4 * PAIRS, &out), ERR_OK);
    assert_int_equal(out.len, 4 * PAIRS);
    assert_true(progress_clock() - started < 10);
    strbuf_deinit(&out);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_composed),
        cmocka_unit_test(a_long_run_of_marks_takes_time_in_proportion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* "did you mean": the distances and what counts as near enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/suggest.h"

static void distances_count_edits_and_swaps(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("", ""), 0);
    assert_int_equal(suggest_distance("", "abc"), 3);
    assert_int_equal(suggest_distance("abc", ""), 3);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
    assert_int_equal(suggest_distance("chta", "chat"), 1);
    assert_int_equal(suggest_distance("CHAT", "chat"), 0);
    char longest[SUGGEST_WORD_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[SUGGEST_WORD_MAX] = '\0';
    assert_int_equal(suggest_distance(longest, longest), 0);
    longest[SUGGEST_WORD_MAX] = 'a';
    longest[SUGGEST_WORD_MAX + 1] = '\0';
    assert_true(suggest_distance(longest, "a") > SUGGEST_WORD_MAX);
}

static void near_words_are_named_and_far_ones_are_not(void **state)
{
    (void)state;
    const char *names[] = {"chat", "run", "list", "tokenize", "temperature", "top-k", "top-p"};
    size_t n = sizeof names / sizeof *names;
    assert_string_equal(suggest_nearest("chta", names, n), "chat");
    assert_string_equal(suggest_nearest("temprature", names, n), "temperature");
    assert_string_equal(suggest_nearest("token", names, n), "tokenize");
    assert_string_equal(suggest_nearest("tempe", names, n), "temperature");
    assert_string_equal(suggest_nearest("tmptr", names, n), "temperature"); /* ctx, for context */
    assert_null(suggest_nearest("foo", (const char *[]){"fathom-nano"}, 1)); /* in it, but hardly of it */
    assert_null(suggest_nearest("r", names, n)); /* one letter says nothing */
    assert_null(suggest_nearest("xyzzy", names, n));
    assert_null(suggest_nearest("", names, n));
    assert_null(suggest_nearest("chat", NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_count_edits_and_swaps),
        cmocka_unit_test(near_words_are_named_and_far_ones_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

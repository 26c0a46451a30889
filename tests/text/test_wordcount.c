/* Words are counted one by one, whatever bytes they hold and however the table grows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "text/wordcount.h"

static void test_every_word_is_counted_through_all_growing(void **state)
{
    (void)state;
    enum { WORDS = 5000, DRAWS = 60000 };
    static uint64_t times[WORDS];
    struct wordcount w = {0};
    struct rng r;
    char word[32];
    rng_seed(&r, 3);
    for (int i = 0; i < DRAWS; i++) {
        size_t k = rng_u64(&r) % WORDS;
        int len = snprintf(word, sizeof word, "%zu%c%zu", k, 0, k * k); /* a NUL is a byte like others */
        times[k]++;
        assert_int_equal(wordcount_add(&w, word, (size_t)len, 1), ERR_OK);
    }
    size_t n = 0;
    for (size_t k = 0; k < WORDS; k++) {
        int len = snprintf(word, sizeof word, "%zu%c%zu", k, 0, k * k);
        assert_int_equal(wordcount_times(&w, word, (size_t)len), times[k]);
        n += times[k] > 0;
    }
    assert_int_equal(w.n, n);
    assert_int_equal(wordcount_times(&w, "never", 5), 0);
    wordcount_deinit(&w);
}

static void test_counts_of_two_are_added_up(void **state)
{
    (void)state;
    struct wordcount a = {0}, b = {0};
    assert_int_equal(wordcount_add(&a, "one", 3, 1), ERR_OK);
    assert_int_equal(wordcount_add(&a, "both", 4, 2), ERR_OK);
    assert_int_equal(wordcount_add(&b, "both", 4, 5), ERR_OK);
    assert_int_equal(wordcount_add(&b, "", 0, 7), ERR_OK);
    assert_int_equal(wordcount_merge(&a, &b), ERR_OK);
    assert_int_equal(wordcount_times(&a, "one", 3), 1);
    assert_int_equal(wordcount_times(&a, "both", 4), 7);
    assert_int_equal(wordcount_times(&a, "", 0), 7);
    assert_int_equal(a.n, 3);
    wordcount_deinit(&a);
    wordcount_deinit(&b);
}

static void test_without_memory_nothing_changes(void **state)
{
    (void)state;
    struct wordcount w = {0};
    size_t alive = mem_alive();
    for (size_t k = 1; k <= 2; k++) {
        mem_fault(k, 0);
        assert_int_equal(wordcount_add(&w, "word", 4, 1), ERR_NOMEM);
        mem_fault(0, 0);
        assert_int_equal(w.n, 0);
        assert_int_equal(wordcount_times(&w, "word", 4), 0);
        wordcount_deinit(&w);
    }
    assert_int_equal(wordcount_add(&w, "word", 4, 1), ERR_OK);
    assert_int_equal(wordcount_times(&w, "word", 4), 1);
    wordcount_deinit(&w);
    assert_int_equal(mem_alive(), alive);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_word_is_counted_through_all_growing),
        cmocka_unit_test(test_counts_of_two_are_added_up),
        cmocka_unit_test(test_without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Guesses from the sequence itself: against a plain search, through rewinds, without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/lookup.h"

enum { MAX = 3000 };

static struct lookup made(size_t capacity)
{
    struct lookup l;
    assert_int_equal(lookup_init(&l, capacity), ERR_OK);
    return l;
}

static void test_the_token_after_the_longest_match_is_guessed(void **state)
{
    (void)state;
    const int32_t ids[] = {9, 1, 2, 3, 50, 51, 52, 7, 8, 1, 2, 3, 60, 61, 9, 1, 2, 3};
    struct lookup l = made(sizeof ids / sizeof *ids);
    int32_t out[3];
    size_t matched;
    lookup_extend(&l, ids, sizeof ids / sizeof *ids);
    assert_int_equal(lookup_guess(&l, ids, 3, out, &matched), 3); /* 9 1 2 3, not the newer 8 1 2 3 */
    assert_int_equal(matched, 4);
    assert_memory_equal(out, ((int32_t[]){50, 51, 52}), sizeof out);
    lookup_truncate(&l, ids, 12);
    assert_int_equal(lookup_guess(&l, ids, 2, out, &matched), 2);
    assert_int_equal(matched, 3);
    assert_memory_equal(out, ((int32_t[]){50, 51}), 2 * sizeof *out);
    lookup_truncate(&l, ids, 11);
    assert_int_equal(lookup_guess(&l, ids, 2, out, &matched), 0);
    assert_int_equal(matched, 0);
    lookup_deinit(&l);
}

static void test_a_period_is_continued_round_and_round(void **state)
{
    (void)state;
    int32_t ids[64], out[16];
    size_t matched;
    for (size_t p = 1; p <= 9; p++) {
        for (size_t i = 0; i < 64; i++) {
            ids[i] = (int32_t)(i % p);
        }
        struct lookup l = made(64);
        lookup_extend(&l, ids, 40);
        assert_int_equal(lookup_guess(&l, ids, 16, out, &matched), 16);
        assert_memory_equal(out, ids + 40, sizeof out);
        lookup_deinit(&l);
    }
}

/* The longest match that ends before the end of ids[0..n), by plain search; 0: shorter than a gram. */
static size_t plainly(const int32_t *ids, size_t n)
{
    size_t best = 0;
    for (size_t end = 0; end + 1 < n; end++) {
        size_t k = 0;
        while (k < LOOKUP_MATCH_MAX && k <= end && ids[end - k] == ids[n - 1 - k]) {
            k++;
        }
        best = k > best ? k : best;
    }
    return best < LOOKUP_GRAM ? 0 : best;
}

/* Few enough places of every gram that all are looked at: then nothing longer is missed. */
static void test_the_index_finds_what_a_plain_search_finds(void **state)
{
    (void)state;
    struct rng r;
    static int32_t ids[MAX];
    rng_seed(&r, 5);
    for (size_t i = 0; i < MAX; i++) {
        size_t from = i > 100 ? (size_t)(rng_u64(&r) % 90) + 1 : 0;
        ids[i] = from && rng_u64(&r) % 8 ? ids[i - 97] : (int32_t)(rng_u64(&r) % 40);
    }
    struct lookup l = made(MAX);
    size_t matched, found = 0;
    int32_t out[4];
    for (size_t n = 1; n <= MAX; n++) {
        lookup_extend(&l, ids, n);
        if (n % 7 == 0) { /* back and forth leaves no trace */
            lookup_truncate(&l, ids, n - n % 64);
            lookup_extend(&l, ids, n);
        }
        lookup_guess(&l, ids, 4, out, &matched);
        assert_int_equal(matched, plainly(ids, n));
        found += matched > 0;
    }
    assert_true(found > MAX / 2);
    lookup_truncate(&l, ids, 0);
    for (size_t i = 0; i < l.n_heads; i++) {
        assert_int_equal(l.head[i], 0);
    }
    lookup_deinit(&l);
}

static void test_without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    size_t before = mem_alive();
    for (size_t k = 1; k <= 2; k++) {
        struct lookup l = {0};
        mem_fault(k, 0);
        assert_int_equal(lookup_init(&l, 100), ERR_NOMEM);
        mem_fault(0, 0);
        assert_null(l.head);
    }
    assert_int_equal(mem_alive(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_token_after_the_longest_match_is_guessed),
        cmocka_unit_test(test_a_period_is_continued_round_and_round),
        cmocka_unit_test(test_the_index_finds_what_a_plain_search_finds),
        cmocka_unit_test(test_without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Merging short and long pieces equals the definition: the lowest rank first, the leftmost place first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "text/bpe.h"

enum { IDS = 12, RULES = 40, LONG = 700 };

struct rule {
    int32_t left, right, made;
};

/* The definition, in quadratic time. */
static size_t merge_naive(const struct rule *rules, size_t n_rules, int32_t *ids, size_t n)
{
    for (;;) {
        size_t best_rank = n_rules, at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            for (size_t r = 0; r < best_rank; r++) {
                if (rules[r].left == ids[i] && rules[r].right == ids[i + 1]) {
                    best_rank = r;
                    at = i;
                }
            }
        }
        if (best_rank == n_rules) {
            return n;
        }
        ids[at] = rules[best_rank].made;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

static void merging_equals_the_definition_at_every_length(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    struct bpe_work work = {0};
    for (int round = 0; round < 300; round++) {
        struct rule rules[RULES];
        struct bpe b;
        size_t n_rules = 1 + (size_t)(rng_u64(&r) % RULES);
        int32_t step = round % 3 == 0 ? 1 : 1024; /* ranks that share all their low bits, too */
        assert_int_equal(bpe_init(&b, n_rules, rng_u64(&r)), ERR_OK);
        for (size_t i = 0; i < n_rules; i++) { /* rules may even lead back to their own parts */
            rules[i] = (struct rule){(int32_t)(rng_u64(&r) % IDS), (int32_t)(rng_u64(&r) % IDS),
                                     (int32_t)(rng_u64(&r) % IDS)};
            bpe_add(&b, rules[i].left, rules[i].right, (int32_t)i * step, rules[i].made);
            for (size_t k = 0; k < i; k++) { /* the later of two rules for one pair counts */
                if (rules[k].left == rules[i].left && rules[k].right == rules[i].right) {
                    rules[k].left = -1;
                }
            }
        }
        int32_t ids[LONG], want[LONG];
        size_t n = (size_t)(rng_u64(&r) % (round % 2 ? LONG : 40));
        for (size_t i = 0; i < n; i++) {
            ids[i] = want[i] = (int32_t)(rng_u64(&r) % IDS);
        }
        size_t n_want = merge_naive(rules, n_rules, want, n);
        assert_int_equal(bpe_merge(&b, &work, ids, &n), ERR_OK);
        assert_int_equal(n, n_want);
        assert_memory_equal(ids, want, n * sizeof *ids);
        bpe_deinit(&b);
    }
    bpe_work_deinit(&work);
}

static void a_failed_allocation_leaves_the_ids(void **state)
{
    (void)state;
    struct bpe b;
    struct bpe_work work = {0};
    int32_t ids[100] = {0};
    size_t n = 100;
    assert_int_equal(bpe_init(&b, 1, 0), ERR_OK);
    bpe_add(&b, 0, 0, 0, 1);
    for (size_t k = 1; k <= 4; k++) {
        mem_fault(k, 0);
        assert_int_equal(bpe_merge(&b, &work, ids, &n), ERR_NOMEM);
        mem_fault(0, 0);
        assert_int_equal(n, 100);
        assert_int_equal(ids[0], 0);
        bpe_work_deinit(&work);
    }
    assert_int_equal(bpe_merge(&b, &work, ids, &n), ERR_OK);
    assert_int_equal(n, 50);
    bpe_work_deinit(&work);
    bpe_deinit(&b);
}

/* A word of a million letters is no different. */
static void a_long_word_is_merged_in_pairs(void **state)
{
    (void)state;
    enum { LETTERS = 1 << 20, LEVELS = 12 };
    struct bpe b;
    struct bpe_work work = {0};
    int32_t *ids = mem_calloc(LETTERS + 3, sizeof *ids);
    size_t n = LETTERS + 3;
    assert_non_null(ids);
    assert_int_equal(bpe_init(&b, LEVELS, 7), ERR_OK);
    for (int32_t i = 0; i < LEVELS; i++) {
        bpe_add(&b, i, i, i, i + 1);
    }
    assert_int_equal(bpe_merge(&b, &work, ids, &n), ERR_OK);
    assert_int_equal(n, (LETTERS >> LEVELS) + 2);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(ids[i], i < LETTERS >> LEVELS ? LEVELS : i + 2 == n ? 1 : 0);
    }
    mem_free(ids);
    bpe_work_deinit(&work);
    bpe_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_equals_the_definition_at_every_length),
        cmocka_unit_test(a_long_word_is_merged_in_pairs),
        cmocka_unit_test(a_failed_allocation_leaves_the_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

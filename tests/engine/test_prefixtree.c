/* The tree of prefixes, and the pool its pages are from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/prefixtree.h"

enum { PAGE = MODEL_CACHE_PAGE };
static const struct prefixname root = {{7}};
static const struct model_cache_shape shape = {2, 24, 16, DTYPE_BF16};

static struct kvpool *pool_of(size_t pages)
{
    struct kvpool *p;
    assert_int_equal(kvpool_new(&shape, pages * 2 * 40 * 2 * PAGE + 7, &p, NULL), ERR_OK);
    assert_int_equal(kvpool_pages(p), pages);
    return p;
}

static struct kvpage *take(struct kvpool *p)
{
    struct kvpage *page;
    assert_int_equal(kvpool_take(p, &page, NULL), ERR_OK);
    assert_true((uintptr_t)page->data % 64 == 0);
    return page;
}

static void test_pages_come_back(void **state)
{
    (void)state;
    struct kvpool *p = pool_of(2);
    struct errinfo info = {0};
    struct kvpage *a = take(p), *b = take(p), *c;
    assert_int_equal(kvpool_take(p, &c, &info), ERR_LIMIT);
    assert_non_null(strstr(info.message, "all 2 pages"));
    kvpool_hold(p, a);
    kvpool_drop(p, a);
    assert_int_equal(kvpool_held(p), 2);
    kvpool_drop(p, a);
    assert_int_equal(kvpool_held(p), 1);
    assert_ptr_equal(take(p), a);
    kvpool_drop(p, a);
    kvpool_drop(p, b);
    assert_int_equal(kvpool_held(p), 0);
    kvpool_free(p);
}

/* Adds n pages of text, holding none of them afterwards. */
static void add(struct prefixtree *t, struct kvpool *p, uint64_t partition, const int32_t *text, size_t n)
{
    struct kvpage *pages[8];
    for (size_t i = 0; i < n; i++) {
        pages[i] = take(p);
    }
    prefixtree_add(t, partition, partition, text, pages, n);
    while (n > 0) {
        kvpool_drop(p, pages[--n]);
    }
}

/* How many pages are known, holding none. */
static size_t known(struct prefixtree *t, struct kvpool *p, uint64_t partition, const int32_t *text, size_t n)
{
    struct kvpage *pages[8];
    size_t found = prefixtree_find(t, partition, text, n, pages, NULL);
    for (size_t i = found; i-- > 0;) {
        kvpool_drop(p, pages[i]);
    }
    return found;
}

static void test_the_longest_beginning_is_found(void **state)
{
    (void)state;
    struct kvpool *p = pool_of(20);
    struct prefixtree *t;
    int32_t text[4 * PAGE], other[4 * PAGE];
    for (int32_t i = 0; i < 4 * PAGE; i++) {
        text[i] = i;
        other[i] = i < 2 * PAGE ? i : -i;
    }
    assert_int_equal(prefixtree_new(p, &root, &t, NULL), ERR_OK);
    assert_int_equal(known(t, p, 1, text, 4 * PAGE), 0);
    add(t, p, 1, text, 3);
    assert_int_equal(known(t, p, 1, text, 4 * PAGE), 3);
    assert_int_equal(known(t, p, 1, text, 3 * PAGE - 1), 2);
    assert_int_equal(known(t, p, 1, text, PAGE - 1), 0);
    assert_int_equal(known(t, p, 2, text, 4 * PAGE), 0);
    assert_int_equal(known(t, p, 1, other, 4 * PAGE), 2);
    assert_int_equal(known(t, p, 1, text + PAGE, 3 * PAGE), 0); /* not a beginning */
    add(t, p, 1, other, 4);
    assert_int_equal(prefixtree_pages(t), 5); /* two of them in common */
    assert_int_equal(kvpool_held(p), 0);
    assert_int_equal(kvpool_idle(p), 5);
    assert_int_equal(known(t, p, 1, other, 4 * PAGE), 4);
    assert_int_equal(known(t, p, 1, text, 4 * PAGE), 3);
    prefixtree_free(t);
    assert_int_equal(kvpool_idle(p), 0);
    kvpool_free(p);
}

static void test_the_longest_unused_goes_first(void **state)
{
    (void)state;
    struct kvpool *p = pool_of(20);
    struct prefixtree *t;
    int32_t a[2 * PAGE] = {1}, b[2 * PAGE] = {2};
    struct kvpage *held[2];
    assert_int_equal(prefixtree_new(p, &root, &t, NULL), ERR_OK);
    add(t, p, 1, a, 2);
    add(t, p, 1, b, 2);
    assert_int_equal(known(t, p, 1, a, 2 * PAGE), 2); /* b is older now */
    assert_true(prefixtree_evict(t, NULL, NULL));
    assert_int_equal(known(t, p, 1, b, 2 * PAGE), 1);
    assert_int_equal(prefixtree_find(t, 1, b, 2 * PAGE, held, NULL), 1);
    assert_true(prefixtree_evict(t, NULL, NULL)); /* b's first is held */
    assert_true(prefixtree_evict(t, NULL, NULL));
    assert_false(prefixtree_evict(t, NULL, NULL));
    assert_int_equal(known(t, p, 1, a, 2 * PAGE), 0);
    assert_int_equal(known(t, p, 1, b, 2 * PAGE), 1);
    kvpool_drop(p, held[0]);
    assert_true(prefixtree_evict(t, NULL, NULL));
    assert_int_equal(prefixtree_pages(t), 0);
    assert_int_equal(kvpool_held(p), 0);
    assert_int_equal(kvpool_idle(p), 0);
    prefixtree_free(t);
    kvpool_free(p);
}

/* However much is kept, and however much of it is held: a page is given up after a few looks. */
static void test_giving_up_costs_the_same_for_many(void **state)
{
    (void)state;
    enum { TEXTS = 4000, HELD = 1500 };
    static struct kvpage *held[HELD][2];
    struct kvpool *p = pool_of(2 * TEXTS);
    struct prefixtree *t;
    int32_t text[2 * PAGE] = {0};
    assert_int_equal(prefixtree_new(p, &root, &t, NULL), ERR_OK);
    for (int32_t i = 0; i < TEXTS; i++) {
        text[0] = i;
        add(t, p, 1, text, 2);
        if (i < HELD) { /* the oldest ones */
            assert_int_equal(prefixtree_find(t, 1, text, 2 * PAGE, held[i], NULL), 2);
        }
    }
    size_t before = prefixtree_looks(t), given_up = 0;
    while (prefixtree_evict(t, NULL, NULL)) {
        given_up++;
    }
    assert_int_equal(given_up, 2 * (TEXTS - HELD));
    print_message("%.2f looks a page\n", (double)(prefixtree_looks(t) - before) / (double)given_up);
    assert_true(prefixtree_looks(t) - before < 5 * given_up);
    assert_int_equal(prefixtree_pages(t), 2 * HELD);
    for (size_t i = 0; i < HELD; i++) {
        kvpool_drop(p, held[i][1]);
        kvpool_drop(p, held[i][0]);
    }
    text[0] = 0;
    assert_true(prefixtree_evict(t, NULL, NULL));
    assert_int_equal(known(t, p, 1, text, 2 * PAGE), 1); /* the one that was let go of first, its end first */
    prefixtree_free(t);
    kvpool_free(p);
}

/* More texts than buckets. */
static void test_many_texts(void **state)
{
    (void)state;
    enum { TEXTS = 1500 };
    struct kvpool *p = pool_of(TEXTS);
    struct prefixtree *t;
    int32_t text[PAGE] = {0};
    assert_int_equal(prefixtree_new(p, &root, &t, NULL), ERR_OK);
    for (int32_t i = 0; i < TEXTS; i++) {
        text[i % PAGE] = i;
        add(t, p, (uint64_t)i % 3, text, 1);
        assert_int_equal(known(t, p, (uint64_t)i % 3, text, PAGE), 1);
    }
    assert_int_equal(prefixtree_pages(t), TEXTS);
    prefixtree_free(t);
    kvpool_free(p);
}

/* What nobody holds since then; what is held, or was a moment ago, stays with all before it. */
static void test_what_is_long_unused_is_forgotten(void **state)
{
    (void)state;
    struct kvpool *p = pool_of(20);
    struct prefixtree *t;
    int32_t a[2 * PAGE] = {1}, b[2 * PAGE] = {2}, c[2 * PAGE] = {3};
    struct kvpage *held[2];
    assert_int_equal(prefixtree_new(p, &root, &t, NULL), ERR_OK);
    add(t, p, 1, a, 2);
    add(t, p, 1, b, 2);
    assert_int_equal(prefixtree_find(t, 1, b, 2 * PAGE, held, NULL), 2);
    int64_t then = kvpool_now();
    while (kvpool_now() == then) {}
    add(t, p, 2, c, 2);
    prefixtree_forget_unused(t, then);
    assert_int_equal(known(t, p, 1, a, 2 * PAGE), 0);
    assert_int_equal(known(t, p, 2, c, 2 * PAGE), 2);
    assert_int_equal(prefixtree_pages(t), 4);
    kvpool_drop(p, held[1]);
    kvpool_drop(p, held[0]);
    prefixtree_forget_unused(t, then);
    assert_int_equal(known(t, p, 1, b, 2 * PAGE), 2);
    prefixtree_forget_unused(t, INT64_MAX);
    assert_int_equal(prefixtree_pages(t), 0);
    prefixtree_free(t);
    kvpool_free(p);
}

static void test_failed_allocations_leave_nothing(void **state)
{
    (void)state;
    size_t before = mem_alive();
    for (size_t k = 1;; k++) {
        struct kvpool *p = NULL;
        struct prefixtree *t = NULL;
        struct kvpage *page = NULL;
        int32_t text[PAGE] = {0};
        mem_fault(k, 0);
        bool whole = kvpool_new(&shape, 1 << 20, &p, NULL) == ERR_OK && prefixtree_new(p, &root, &t, NULL) == ERR_OK &&
                     kvpool_take(p, &page, NULL) == ERR_OK;
        if (whole) {
            prefixtree_add(t, 1, 1, text, &page, 1);
            kvpool_drop(p, page);
            whole = prefixtree_pages(t) == 1;
        }
        mem_fault(0, 0);
        prefixtree_free(t);
        kvpool_free(p);
        assert_int_equal(mem_alive(), before);
        if (whole) {
            assert_int_equal(k, 7);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_come_back),
        cmocka_unit_test(test_the_longest_beginning_is_found),
        cmocka_unit_test(test_the_longest_unused_goes_first),
        cmocka_unit_test(test_giving_up_costs_the_same_for_many),
        cmocka_unit_test(test_many_texts),
        cmocka_unit_test(test_what_is_long_unused_is_forgotten),
        cmocka_unit_test(test_failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

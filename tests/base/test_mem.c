/* tests/base/test_mem.c: what is allocated is counted, aligned, bounded, and can be made to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void blocks_alive_are_counted(void **state)
{
    (void)state;
    size_t before = mem_alive();
    char *a = mem_alloc(10), *b = mem_calloc(3, 4), *c = mem_dup("text", 4), *d = NULL;
    void *e = mem_alloc_aligned(5);
    d = mem_resize(d, 4, 8);
    assert_int_equal(mem_alive(), before + 5);
    d = mem_resize(d, 400, 8);
    assert_int_equal(mem_alive(), before + 5);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(b[i], 0);
    }
    assert_string_equal(c, "text");
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    mem_free_aligned(e);
    mem_free(NULL);
    mem_free_aligned(NULL);
    assert_int_equal(mem_alive(), before);
}

static void nothing_is_still_a_valid_block(void **state)
{
    (void)state;
    void *p[] = {mem_alloc(0), mem_calloc(0, 8), mem_calloc(8, 0), mem_resize(NULL, 0, 8)};
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(p[i]);
        mem_free(p[i]);
    }
    void *a = mem_alloc_aligned(0);
    assert_non_null(a);
    mem_free_aligned(a);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    size_t before = mem_alive();
    volatile size_t most = SIZE_MAX; /* keeps the compiler from judging the constant */
    assert_null(mem_calloc(most / 2, 3));
    assert_null(mem_resize(NULL, most / 2, 3));
    assert_null(mem_alloc_aligned(most));
    assert_null(mem_dup("", most));
    assert_int_equal(mem_alive(), before);
}

static void alignment_is_64_and_2_mib_for_large_blocks(void **state)
{
    (void)state;
    for (size_t n = 1; n < 1000; n += 37) {
        void *p = mem_alloc_aligned(n);
        assert_int_equal((uintptr_t)p % 64, 0);
        mem_free_aligned(p);
    }
    char *large = mem_alloc_aligned((4 << 20) + 1);
    assert_int_equal((uintptr_t)large % (2 << 20), 0);
    large[4 << 20] = 1;
    mem_free_aligned(large);
}

static void the_chosen_allocation_fails_once_or_from_then_on(void **state)
{
    (void)state;
    for (int later = 0; later < 2; later++) {
        mem_fault(3, later);
        for (size_t i = 1; i <= 5; i++) {
            void *p = i % 2 ? mem_alloc(1) : mem_alloc_aligned(1);
            assert_int_equal(p == NULL, later ? i >= 3 : i == 3);
            mem_free(p);
        }
        assert_int_equal(mem_attempts(), 5);
        mem_fault(0, 0);
        assert_int_equal(mem_attempts(), 0);
    }
    char *p = mem_dup("kept", 4);
    mem_fault(1, 0);
    assert_null(mem_resize(p, 100, 1));
    mem_fault(0, 0);
    assert_string_equal(p, "kept");
    mem_free(p);
}

static void an_array_grows_by_doubling_and_stays_when_refused(void **state)
{
    size_t cap = 0;
    (void)state;
    int *a = mem_grow(NULL, 0, &cap, sizeof *a), *same;
    assert_non_null(a);
    assert_int_equal(cap, 16);
    a[15] = 7;
    same = mem_grow(a, 15, &cap, sizeof *a);
    assert_ptr_equal(same, a);
    assert_int_equal(cap, 16);
    mem_fault(1, 0);
    assert_null(mem_grow(a, 16, &cap, sizeof *a));
    mem_fault(0, 0);
    assert_int_equal(cap, 16);
    a = mem_grow(a, 16, &cap, sizeof *a);
    assert_non_null(a);
    assert_int_equal(cap, 32);
    assert_int_equal(a[15], 7);
    mem_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_alive_are_counted),
        cmocka_unit_test(nothing_is_still_a_valid_block),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(alignment_is_64_and_2_mib_for_large_blocks),
        cmocka_unit_test(the_chosen_allocation_fails_once_or_from_then_on),
        cmocka_unit_test(an_array_grows_by_doubling_and_stays_when_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* KV cache: sizes, layout, and refusals before anything is allocated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/kvcache.h"

static const struct model_cache_shape gqa = {3, 24, 16, DTYPE_BF16};
static const struct model_cache_shape mla = {2, 576, 0, DTYPE_F32};

static void test_areas_are_aligned_and_apart(void **state)
{
    (void)state;
    struct kvcache kv;
    assert_int_equal(kvcache_init(&kv, &gqa, 70, SIZE_MAX, NULL), ERR_OK);
    const char *end = kv.block;
    for (size_t page = 0; page < 2; page++) {
        assert_ptr_equal(kv.cache.pages[page], end);
        for (size_t i = 0; i < gqa.n_layers; i++) {
            char *k = kv.cache.pages[page] + model_cache_k_offset(&gqa, i);
            char *v = kv.cache.pages[page] + model_cache_v_offset(&gqa, i);
            assert_true((uintptr_t)k % 64 == 0 && (uintptr_t)v % 64 == 0);
            assert_ptr_equal(k, end);
            assert_ptr_equal(v, k + MODEL_CACHE_PAGE * 24 * 2);
            end = v + MODEL_CACHE_PAGE * 16 * 2;
            memset(k, 1, MODEL_CACHE_PAGE * 24 * 2);
            memset(v, 1, MODEL_CACHE_PAGE * 16 * 2);
        }
    }
    assert_ptr_equal(end, (const char *)kv.block + kv.bytes);
    kvcache_deinit(&kv);
    kvcache_deinit(&kv);
}

static void test_filled_rows_come_in_pieces(void **state)
{
    (void)state;
    struct kvcache kv;
    size_t n = 0;
    assert_int_equal(kvcache_init(&kv, &gqa, 200, SIZE_MAX, NULL), ERR_OK);
    assert_null(kvcache_piece(&kv, 0, 0, &n));
    kv.cache.len = 69;
    assert_ptr_equal(kvcache_piece(&kv, 1, 0, &n), kv.cache.pages[0] + model_cache_k_offset(&gqa, 1));
    assert_int_equal(n, 64 * 24 * 2);
    assert_ptr_equal(kvcache_piece(&kv, 1, 1, &n), kv.cache.pages[1] + model_cache_k_offset(&gqa, 1));
    assert_int_equal(n, 5 * 24 * 2);
    assert_ptr_equal(kvcache_piece(&kv, 1, 2, &n), kv.cache.pages[0] + model_cache_v_offset(&gqa, 1));
    assert_int_equal(n, 64 * 16 * 2);
    assert_ptr_equal(kvcache_piece(&kv, 1, 3, &n), kv.cache.pages[1] + model_cache_v_offset(&gqa, 1));
    assert_int_equal(n, 5 * 16 * 2);
    assert_null(kvcache_piece(&kv, 1, 4, &n));
    kvcache_deinit(&kv);
}

static void test_latent_cache_has_no_values(void **state)
{
    (void)state;
    struct kvcache kv;
    size_t n;
    assert_int_equal(kvcache_bytes_per_token(&mla), 2 * 576 * 4);
    assert_int_equal(kvcache_init(&kv, &mla, 1, SIZE_MAX, NULL), ERR_OK);
    assert_int_equal(kv.bytes, MODEL_CACHE_PAGE * 2 * 576 * 4);
    kv.cache.len = 1;
    assert_non_null(kvcache_piece(&kv, 1, 0, &n));
    assert_int_equal(n, 576 * 4);
    assert_null(kvcache_piece(&kv, 1, 1, &n));
    kvcache_deinit(&kv);
}

static void test_too_large_is_refused_with_numbers(void **state)
{
    (void)state;
    struct kvcache kv;
    struct errinfo info;
    size_t per = kvcache_bytes_per_token(&mla);
    mem_fault(1, 1); /* nothing may be allocated before the refusal */
    assert_int_equal(kvcache_init(&kv, &mla, 1001, 1000 * per, &info), ERR_NOMEM);
    assert_int_equal(mem_attempts(), 0);
    assert_non_null(strstr(info.message, "1001 positions"));
    assert_non_null(strstr(info.message, "at most 960 positions"));
    assert_int_equal(kvcache_init(&kv, &mla, SIZE_MAX / 64, SIZE_MAX, &info), ERR_CONTEXT);
    assert_int_equal(kvcache_init(&kv, &mla, 0, SIZE_MAX, &info), ERR_CONTEXT);
    mem_fault(0, 0);
}

static void test_unused_context_costs_no_memory(void **state)
{
    (void)state;
    struct kvcache kv;
    struct model_cache_shape big = {64, 1024, 1024, DTYPE_BF16};
    assert_int_equal(kvcache_init(&kv, &big, 60000, SIZE_MAX, NULL), ERR_OK); /* 15.7 GB */
    memset(kv.cache.pages[937] + model_cache_k_offset(&big, 63), 1, 4096);
    kvcache_deinit(&kv);
}

static void test_failed_allocations_leave_nothing(void **state)
{
    (void)state;
    size_t before = mem_alive();
    for (size_t k = 1; k <= 3; k++) {
        struct kvcache kv;
        mem_fault(k, 0);
        err e = kvcache_init(&kv, &gqa, 8, SIZE_MAX, NULL);
        mem_fault(0, 0);
        assert_int_equal(e, k <= 2 ? ERR_NOMEM : ERR_OK);
        if (e == ERR_OK) {
            kvcache_deinit(&kv);
        }
        assert_int_equal(mem_alive(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_areas_are_aligned_and_apart),
        cmocka_unit_test(test_filled_rows_come_in_pieces),
        cmocka_unit_test(test_latent_cache_has_no_values),
        cmocka_unit_test(test_too_large_is_refused_with_numbers),
        cmocka_unit_test(test_unused_context_costs_no_memory),
        cmocka_unit_test(test_failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

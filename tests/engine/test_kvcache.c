/* KV cache: sizes, layout, and refusals before anything is allocated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/kvcache.h"

static const struct kvcache_shape gqa = {3, 24, 16, DTYPE_BF16};
static const struct kvcache_shape mla = {2, 576, 0, DTYPE_F32};

static void test_areas_are_aligned_and_apart(void **state)
{
    (void)state;
    struct kvcache kv;
    assert_int_equal(kvcache_init(&kv, &gqa, 7, SIZE_MAX, NULL), ERR_OK);
    const char *end = kv.block;
    for (size_t i = 0; i < gqa.n_layers; i++) {
        assert_true((uintptr_t)kv.cache.k[i] % 64 == 0 && (uintptr_t)kv.cache.v[i] % 64 == 0);
        assert_true((const char *)kv.cache.k[i] >= end);
        assert_true((const char *)kv.cache.v[i] >= (const char *)kv.cache.k[i] + 7 * 24 * 2);
        end = (const char *)kv.cache.v[i] + 7 * 16 * 2;
        memset(kv.cache.k[i], 1, 7 * 24 * 2);
        memset(kv.cache.v[i], 1, 7 * 16 * 2);
    }
    assert_true(end <= (const char *)kv.block + kv.bytes);
    kv.cache.len = 5;
    assert_int_equal(kvcache_k_filled(&kv), 5 * 24 * 2);
    assert_int_equal(kvcache_v_filled(&kv), 5 * 16 * 2);
    kvcache_deinit(&kv);
    kvcache_deinit(&kv);
}

static void test_latent_cache_has_no_values(void **state)
{
    (void)state;
    struct kvcache kv;
    assert_int_equal(kvcache_bytes_per_token(&mla), 2 * 576 * 4);
    assert_int_equal(kvcache_init(&kv, &mla, 1, SIZE_MAX, NULL), ERR_OK);
    assert_null(kv.cache.v[0]);
    assert_int_equal(kv.bytes, 2 * 576 * 4);
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
    assert_non_null(strstr(info.message, "at most 1000 positions"));
    assert_int_equal(kvcache_init(&kv, &mla, SIZE_MAX / 64, SIZE_MAX, &info), ERR_CONTEXT);
    assert_int_equal(kvcache_init(&kv, &mla, 0, SIZE_MAX, &info), ERR_CONTEXT);
    mem_fault(0, 0);
}

static void test_unused_context_costs_no_memory(void **state)
{
    (void)state;
    struct kvcache kv;
    struct kvcache_shape big = {64, 1024, 1024, DTYPE_BF16};
    assert_int_equal(kvcache_init(&kv, &big, 60000, SIZE_MAX, NULL), ERR_OK); /* 15.7 GB */
    memset(kv.cache.k[63], 1, 4096);
    kvcache_deinit(&kv);
}

static void test_failed_allocations_leave_nothing(void **state)
{
    (void)state;
    size_t before = mem_alive();
    for (size_t k = 1; k <= 4; k++) {
        struct kvcache kv;
        mem_fault(k, 0);
        err e = kvcache_init(&kv, &gqa, 8, SIZE_MAX, NULL);
        mem_fault(0, 0);
        assert_int_equal(e, k <= 3 ? ERR_NOMEM : ERR_OK);
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
        cmocka_unit_test(test_latent_cache_has_no_values),
        cmocka_unit_test(test_too_large_is_refused_with_numbers),
        cmocka_unit_test(test_unused_context_costs_no_memory),
        cmocka_unit_test(test_failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

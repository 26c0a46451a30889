/* The measured roof is plausible at every CPU level present, and is printed for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/mem.h"
#include "tensor/roof.h"

static void every_level_has_a_plausible_roof(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *c;
        struct errinfo info;
        struct roof r;
        assert_int_equal(compute_new(level, 0, false, &c, &info), ERR_OK);
        assert_int_equal(roof_measure(c, &r), ERR_OK);
        printf("%-6s read %.1f GB/s (one thread %.1f), %s %.0f GFLOP/s, %s %.0f GOP/s\n",
               cpuinfo_level_name(level), r.read_gbs, r.read_gbs_one, r.float_name,
               r.float_flops * 1e-9, r.int8_name, r.int8_ops * 1e-9);
        assert_true(r.read_gbs > 0.1 && r.read_gbs < 10000);
        assert_true(r.read_gbs_one > 0.1 && r.read_gbs_one < 1000);
        assert_true(r.int8_ops > 1e6);
        assert_true(r.float_flops > 1e8);
        compute_free(c);
    }
}

static void no_memory_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    struct compute *c;
    struct errinfo info;
    struct roof r;
    assert_int_equal(compute_new(cpuinfo_best(), 1, false, &c, &info), ERR_OK);
    size_t alive = mem_alive();
    mem_fault(1, 0);
    assert_int_equal(roof_measure(c, &r), ERR_NOMEM);
    mem_fault(2, 0);
    assert_int_equal(roof_measure(c, &r), ERR_NOMEM);
    mem_fault(0, 0);
    assert_int_equal(mem_alive(), alive);
    compute_free(c);
}

static void a_gauge_goes_on_measuring(void **state)
{
    (void)state;
    struct compute *c;
    struct roof_gauge *g;
    assert_int_equal(compute_new(cpuinfo_best(), 1, false, &c, NULL), ERR_OK);
    size_t alive = mem_alive();
    assert_int_equal(roof_gauge_new(c, &g), ERR_OK);
    for (int i = 0; i < 2; i++) { /* a machine that others share swings, but not by a hundred */
        double read = roof_gauge_read(g) / roof_gauge_first(g)->read_gbs;
        double flops = roof_gauge_flops(g) / roof_gauge_first(g)->float_flops;
        assert_true(read > 0.01 && read < 100);
        assert_true(flops > 0.01 && flops < 100);
    }
    roof_gauge_free(g);
    assert_int_equal(mem_alive(), alive);
    compute_free(c);
}

static void more_threads_than_cpus_raise_no_roof(void **state)
{
    (void)state;
    struct compute *few, *many;
    struct roof a, b;
    assert_int_equal(compute_new(cpuinfo_best(), 0, false, &few, NULL), ERR_OK);
    assert_int_equal(compute_new(cpuinfo_best(), 64 * few->n_threads, false, &many, NULL), ERR_OK);
    assert_int_equal(roof_measure(few, &a), ERR_OK);
    assert_int_equal(roof_measure(many, &b), ERR_OK);
    assert_true(b.read_gbs < 10 * a.read_gbs && b.float_flops < 10 * a.float_flops); /* it was 64 times */
    compute_free(few);
    compute_free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_has_a_plausible_roof),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_gauge_goes_on_measuring),
        cmocka_unit_test(more_threads_than_cpus_raise_no_roof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

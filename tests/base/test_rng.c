/* tests/base/test_rng.c: the stream is the published one, the same everywhere, and well spread. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"

static void the_state_and_stream_are_those_of_the_published_algorithms(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 0);
    /* splitmix64 from 0, as in the authors' reference code */
    assert_true(r.s[0] == 0xe220a8397b1dcdafu && r.s[1] == 0x6e789e6aa1b965f4u);
    assert_true(r.s[2] == 0x06c45d188009454fu && r.s[3] == 0xf88bb8a8724c81ecu);
    /* xoshiro256++ from the state 1, 2, 3, 4 */
    r = (struct rng){{1, 2, 3, 4}};
    static const uint64_t stream[] = {41943041u, 58720359u, 3588806011781223u, 3591011842654386u};
    for (size_t i = 0; i < 4; i++) {
        assert_true(rng_u64(&r) == stream[i]);
    }
}

static void equal_seeds_give_equal_streams_and_a_copied_state_continues(void **state)
{
    (void)state;
    struct rng a, b, other;
    rng_seed(&a, 12345);
    rng_seed(&b, 12345);
    rng_seed(&other, 12346);
    size_t same = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_u64(&a);
        assert_true(x == rng_u64(&b));
        same += x == rng_u64(&other);
    }
    assert_int_equal(same, 0);
    struct rng saved = a;
    assert_true(rng_u64(&a) == rng_u64(&saved));
}

static void doubles_are_uniform_and_normals_are_normal(void **state)
{
    (void)state;
    enum { N = 200000, BINS = 16 };
    struct rng r;
    rng_seed(&r, 99);
    size_t bins[BINS] = {0};
    double sum = 0, square = 0, fourth = 0;
    for (int i = 0; i < N; i++) {
        double u = rng_double(&r);
        assert_true(u >= 0 && u < 1);
        bins[(size_t)(u * BINS)]++;
        double x = (double)rng_normal(&r);
        assert_true(isfinite(x));
        sum += x;
        square += x * x;
        fourth += x * x * x * x;
    }
    double chi = 0, expected = (double)N / BINS;
    for (size_t i = 0; i < BINS; i++) {
        chi += ((double)bins[i] - expected) * ((double)bins[i] - expected) / expected;
    }
    assert_true(chi < 40); /* 15 degrees of freedom: p = 0.0005 */
    assert_true(fabs(sum / N) < 0.01);
    assert_true(fabs(square / N - 1) < 0.02);
    assert_true(fabs(fourth / N - 3) < 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_state_and_stream_are_those_of_the_published_algorithms),
        cmocka_unit_test(equal_seeds_give_equal_streams_and_a_copied_state_continues),
        cmocka_unit_test(doubles_are_uniform_and_normals_are_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Shared by the tests of the fast ops: every CPU level of this machine against the reference,
 * random data, comparison in units of the last place, and a clock for the speed lines. */
#ifndef TESTS_TENSOR_LEVELS_H
#define TESTS_TENSOR_LEVELS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensor/compute.h"

static inline struct compute *levels_compute(enum cpuinfo_level level, int n_threads)
{
    struct compute *c = NULL;
    struct errinfo info;
    assert_int_equal(compute_new(level, n_threads, true, &c, &info), ERR_OK);
    return c;
}

/* Uniform in [-scale, scale], from a fixed-seed generator of the caller. */
static inline float levels_random(uint64_t *seed, float scale)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return scale * ((float)(*seed >> 40) * 0x1p-23f - 1.0f);
}

/* n floats, `skew` floats past an aligned address, so that nothing may rely on alignment. Free the
 * returned block; *at is the first float. */
static inline void *levels_floats(size_t n, size_t skew, uint64_t seed, float scale, float **at)
{
    float *p = malloc((n + skew + 1) * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n + skew + 1; i++) {
        p[i] = levels_random(&seed, scale);
    }
    *at = p + skew;
    return p;
}

static inline int32_t levels_order(float f)
{
    int32_t i;
    memcpy(&i, &f, sizeof i);
    return i < 0 ? (int32_t)(0x80000000u - (uint32_t)i) : i;
}

/* Distance in representable floats; 0 for two NaNs, huge for one. */
static inline double levels_ulp(float a, float b)
{
    if (isnan(a) || isnan(b)) {
        return isnan(a) && isnan(b) ? 0 : 1e30;
    }
    return fabs((double)levels_order(a) - (double)levels_order(b));
}

static inline double levels_max_ulp(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = levels_ulp(a[i], b[i]);
        worst = d > worst ? d : worst;
    }
    return worst;
}

static inline double levels_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The shortest of several runs of `statement`, in seconds, in about 50 ms. */
#define LEVELS_TIME(best, statement)                                                               \
    do {                                                                                           \
        double levels_end_ = levels_seconds() + 0.05;                                              \
        (best) = 1e9;                                                                              \
        do {                                                                                       \
            double levels_start_ = levels_seconds();                                               \
            statement;                                                                             \
            double levels_took_ = levels_seconds() - levels_start_;                                \
            (best) = levels_took_ < (best) ? levels_took_ : (best);                                \
        } while (levels_seconds() < levels_end_);                                                  \
    } while (0)

#endif

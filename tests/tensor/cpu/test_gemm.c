/* Products of learning at every level, against the reference: every form and type, sizes that end within tiles,
 * chunks and parts, gaps between rows, adding, several jobs; threads change no bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/learnops.h"
#include "tensor/ref/learnref.h"

static struct rng random_state;

static size_t size_below(size_t n)
{
    return 1 + (size_t)(rng_u64(&random_state) % n);
}

static struct mat fresh(enum mat_type type, size_t rows, size_t cols)
{
    size_t gap = rng_u64(&random_state) % 3;
    struct mat m = mat_of(malloc(rows * (cols + gap) * mat_type_bytes(type)), type, rows, cols);
    assert_non_null(m.data);
    m.stride = cols + gap;
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < cols; k++) {
            mat_set(&m, i, k, (double)rng_normal(&random_state));
        }
    }
    return m;
}

static struct learnops_matmul fresh_job(enum learnops_product p, size_t m, size_t n, size_t k, enum mat_type y)
{
    bool add = rng_u64(&random_state) % 2;
    return (struct learnops_matmul){fresh(y, m, n),
                                    p == LEARNOPS_TN ? fresh(MAT_BF16, k, m) : fresh(MAT_BF16, m, k),
                                    p == LEARNOPS_NT ? fresh(MAT_BF16, n, k) : fresh(MAT_BF16, k, n), add};
}

static void free_job(struct learnops_matmul *j)
{
    free(j->y.data);
    free(j->x.data);
    free(j->w.data);
}

static struct compute *compute_of(enum cpuinfo_level level, int n_threads)
{
    struct errinfo info = {0};
    struct compute *c;
    if (compute_new(level, n_threads, false, &c, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return c;
}

/* float32 sums: rounding grows with the square root of their length; bfloat16 results: half a unit more. */
static void compare(const struct learnops_matmul *j, const struct mat *want, size_t k)
{
    for (size_t m = 0; m < want->rows; m++) {
        for (size_t n = 0; n < want->cols; n++) {
            double got = mat_get(&j->y, m, n), w = mat_get(want, m, n), bound = 2e-6 * sqrt((double)k) * 4;
            bound += j->y.type == MAT_BF16 ? fabs(w) / 256 + 1e-30 : 0;
            if (!(fabs(got - w) <= bound)) {
                fail_msg("[%zu, %zu] of sums of %zu: %g instead of %g", m, n, k, got, w);
            }
        }
    }
}

static void check(struct compute *c, enum learnops_product p, size_t m, size_t n, size_t k, enum mat_type type)
{
    struct learnops_matmul job = fresh_job(p, m, n, k, type), judge;
    struct mat want = mat_of(malloc(m * n * sizeof(double)), MAT_F64, m, n);
    judge = job;
    judge.y = want;
    learnref_copy(want, job.y);
    learnref_matmul(p, &judge);
    assert_int_equal(learnops_matmul(c, p, &job, 1), ERR_OK);
    compare(&job, &want, k);
    free(want.data);
    free_job(&job);
}

static void test_every_form_and_size_equals_the_reference(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *c = compute_of(level, 2);
        int rounds = level == CPUINFO_REF ? 30 : 120;
        for (int i = 0; i < rounds; i++) {
            bool whole = i % 4 == 0; /* tiles of x as they are in memory */
            size_t m = whole ? 16 * size_below(9) : size_below(140), k = whole ? 32 * size_below(10) : size_below(330);
            check(c, (enum learnops_product)(i % 3), m, size_below(i % 5 ? 40 : 300), k, i % 2 ? MAT_F32 : MAT_BF16);
        }
        compute_free(c);
    }
}

static void test_long_sums_and_large_results_are_cut_right(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct compute *c = compute_of(level, 2);
        check(c, LEARNOPS_TN, 20, 17, 4500, MAT_F32);
        check(c, LEARNOPS_TN, 16, 33, 2049, MAT_BF16);
        check(c, LEARNOPS_NN, 530, 20, 600, MAT_BF16);
        check(c, LEARNOPS_NT, 1030, 270, 64, MAT_F32);
        check(c, LEARNOPS_NT, 300, 37, 2500, MAT_BF16); /* sums between panels and parts */
        compute_free(c);
    }
}

static void test_large_results_go_past_the_caches_whole(void **state)
{
    (void)state;
    struct compute *c = compute_of(cpuinfo_best(), 2);
    check(c, LEARNOPS_NT, 2 * 8200, 256, 3, MAT_F32);
    check(c, LEARNOPS_NN, 16390, 272, 5, MAT_BF16);
    compute_free(c);
}

static void test_the_sum_of_nothing_is_0(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *c = compute_of(level, 2);
        for (int add = 0; add < 2; add++) {
            float y[6] = {1, 2, 3, 4, 5, 6};
            uint16_t none[1] = {0};
            struct learnops_matmul job = {mat_of(y, MAT_F32, 2, 3), mat_of(none, MAT_BF16, 0, 2),
                                          mat_of(none, MAT_BF16, 0, 3), add};
            assert_int_equal(learnops_matmul(c, LEARNOPS_TN, &job, 1), ERR_OK);
            for (int i = 0; i < 6; i++) {
                assert_true(y[i] == (float)(add ? i + 1 : 0));
            }
        }
        compute_free(c);
    }
}

static void threads_and_company(enum cpuinfo_level level)
{
    enum { JOBS = 9 };
    struct learnops_matmul jobs[JOBS];
    struct compute *one = compute_of(level, 1), *three = compute_of(level, 3);
    for (int p = LEARNOPS_NT; p <= LEARNOPS_TN; p++) {
        struct mat alone[JOBS];
        for (int i = 0; i < JOBS; i++) { /* one of them empty */
            size_t k = i == 3 ? 5000 : size_below(300);
            jobs[i] = fresh_job((enum learnops_product)p, i == 4 ? 0 : size_below(70), size_below(50), k, MAT_F32);
            jobs[i].add = false;
            alone[i] = fresh(MAT_F32, jobs[i].y.rows, jobs[i].y.cols);
            struct learnops_matmul single = jobs[i];
            single.y = alone[i];
            assert_int_equal(learnops_matmul(one, (enum learnops_product)p, &single, 1), ERR_OK);
        }
        assert_int_equal(learnops_matmul(three, (enum learnops_product)p, jobs, JOBS), ERR_OK);
        for (int i = 0; i < JOBS; i++) {
            for (size_t m = 0; m < alone[i].rows; m++) {
                for (size_t n = 0; n < alone[i].cols; n++) {
                    assert_true(mat_get(&alone[i], m, n) == mat_get(&jobs[i].y, m, n));
                }
            }
            free(alone[i].data);
            free_job(&jobs[i]);
        }
    }
    compute_free(one);
    compute_free(three);
}

static void test_threads_and_company_change_no_bit(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        threads_and_company(level);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form_and_size_equals_the_reference),
        cmocka_unit_test(test_long_sums_and_large_results_are_cut_right),
        cmocka_unit_test(test_large_results_go_past_the_caches_whole),
        cmocka_unit_test(test_the_sum_of_nothing_is_0),
        cmocka_unit_test(test_threads_and_company_change_no_bit),
    };
    rng_seed(&random_state, 23);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

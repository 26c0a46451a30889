/* The average is the one of the formula; swapping in and out changes no bit; threads change no bit. */
#include "learnfixture.h"

#include "train/ema.h"

static struct ema *make(struct learnparams *p, double decay, struct compute *c)
{
    struct errinfo info = {0};
    struct ema *e;
    learnfixture_must(ema_new(p, decay, c, &e, &info), &info);
    return e;
}

static void draw(struct learnparams *p, uint64_t *seed)
{
    for (size_t i = 0; i < p->n; i++) {
        learnfixture_draw(p->all[i].value, seed, 1, 0);
    }
    learnparams_refresh(p);
}

static void check_formula(bool exact, enum cpuinfo_level level)
{
    enum { STEPS = 4 };
    uint64_t seed = 3, again = 3;
    struct compute *c = learnfixture_compute(level, 2);
    struct learnparams *p = learnfixture_params(1, exact, &seed), *judge = learnfixture_params(1, true, &again);
    struct ema *e = make(p, 0.75, c);
    for (int s = 0; s < STEPS; s++) {
        draw(p, &seed);
        ema_update(e);
        for (size_t i = 0; i < p->n; i++) {
            for (size_t k = 0; k < p->all[i].value.rows * p->all[i].value.cols; k++) {
                double *a = (double *)judge->all[i].value.data + k;
                *a = 0.75 * *a + 0.25 * mat_get(&p->all[i].value, k / p->all[i].value.cols, k % p->all[i].value.cols);
            }
        }
    }
    assert_int_equal(ema_n_arrays(e), p->n);
    for (size_t i = 0; i < p->n; i++) {
        struct ema_array a = ema_array_at(e, i);
        for (size_t k = 0; k < a.mat.rows * a.mat.cols; k++) {
            double got = mat_get(&a.mat, k / a.mat.cols, k % a.mat.cols), want = ((double *)judge->all[i].value.data)[k];
            assert_true(fabs(got - want) < (exact ? 1e-15 : 1e-6));
        }
    }
    assert_string_equal(ema_array_at(e, 0).name, "token_embd.weight.average");
    ema_free(e);
    learnparams_free(p);
    learnparams_free(judge);
    compute_free(c);
}

static void test_the_average_is_the_formulas(void **state)
{
    (void)state;
    check_formula(true, cpuinfo_best());
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        check_formula(false, level);
    }
}

static void test_swapping_there_and_back_changes_no_bit(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        uint64_t seed = 3, again = 3;
        struct compute *c = learnfixture_compute(level, 3);
        struct learnparams *p = learnfixture_params(8, false, &seed), *old = learnfixture_params(8, false, &again);
        struct ema *e = make(p, 0.9, c);
        draw(p, &seed);
        draw(old, &again);
        struct ema_array a = ema_array_at(e, 3);
        struct mat first = {malloc(a.mat.rows * a.mat.cols * sizeof(float)), MAT_F32, a.mat.rows, a.mat.cols, a.mat.cols};
        memcpy(first.data, a.mat.data, a.mat.rows * a.mat.cols * sizeof(float));
        assert_false(ema_swapped(e));
        ema_swap(e);
        assert_true(ema_swapped(e));
        assert_true(learnfixture_same(p->all[3].value, first));
        learnfixture_check_work(p);
        ema_swap(e);
        assert_false(ema_swapped(e));
        assert_true(learnfixture_equal(p, old));
        assert_true(learnfixture_same(ema_array_at(e, 3).mat, first));
        free(first.data);
        ema_free(e);
        learnparams_free(p);
        learnparams_free(old);
        compute_free(c);
    }
}

static void test_threads_change_no_bit_and_bytes_are_known(void **state)
{
    (void)state;
    uint64_t seed = 3, again = 3;
    size_t bytes = 0;
    struct compute *one = learnfixture_compute(cpuinfo_best(), 1), *three = learnfixture_compute(cpuinfo_best(), 3);
    struct learnparams *p = learnfixture_params(24, false, &seed), *q = learnfixture_params(24, false, &again);
    struct ema *e = make(p, 0.9, one), *f = make(q, 0.9, three);
    draw(p, &seed);
    draw(q, &again);
    ema_update(e);
    ema_update(f);
    for (size_t i = 0; i < p->n; i++) {
        struct mat m = ema_array_at(e, i).mat;
        assert_true(learnfixture_same(m, ema_array_at(f, i).mat));
        bytes += (m.rows * m.cols * sizeof(float) + 63) / 64 * 64;
    }
    assert_int_equal(bytes, ema_bytes(p));
    ema_free(e);
    ema_free(f);
    learnparams_free(p);
    learnparams_free(q);
    compute_free(one);
    compute_free(three);
}

static void test_a_decay_that_cannot_be_is_named(void **state)
{
    (void)state;
    static const double bad[] = {-0.1, 1, 2, NAN};
    uint64_t seed = 1;
    struct compute *c = learnfixture_compute(CPUINFO_REF, 1);
    struct learnparams *p = learnfixture_params(1, false, &seed);
    struct errinfo info;
    struct ema *e;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ema_new(p, bad[i], c, &e, &info), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, "decay is "));
    }
    learnparams_free(p);
    compute_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_average_is_the_formulas),
        cmocka_unit_test(test_swapping_there_and_back_changes_no_bit),
        cmocka_unit_test(test_threads_change_no_bit_and_bytes_are_known),
        cmocka_unit_test(test_a_decay_that_cannot_be_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every operation of updateops.h at every CPU level against the reference, on shapes with tails and gaps; threads
 * change no bit; averages that nothing feeds cost no more than others. */
#include "tensor/levels.h"

#include "tensor/updateops.h"

enum { ARRAYS = 6 };

/* value, work, grad, first and second state, x; rows have gaps. */
struct arrays {
    struct mat value, work, grad, first, second, x;
    double *sums;
};

static struct mat fresh(enum mat_type type, size_t rows, size_t cols, uint64_t *seed, float scale, float offset)
{
    struct mat m = {calloc(rows * (cols + 3) + 1, mat_type_bytes(type)), type, rows, cols, cols + 3};
    assert_non_null(m.data);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < cols; i++) {
            mat_set(&m, r, i, (double)(offset + levels_random(seed, scale)));
        }
    }
    return m;
}

static struct arrays arrays_make(size_t rows, size_t cols, bool vector)
{
    uint64_t seed = rows * 1000 + cols;
    struct arrays a = {.value = fresh(MAT_F32, rows, cols, &seed, 1, 0)};
    a.work = vector ? a.value : fresh(MAT_BF16, rows, cols, &seed, 0, 0);
    a.grad = fresh(MAT_F32, rows, cols, &seed, 0.01f, 0);
    a.first = fresh(MAT_F32, rows, cols, &seed, 0.01f, 0);
    a.second = fresh(MAT_F32, rows, cols, &seed, 1e-4f, 1e-4f);
    a.x = fresh(MAT_BF16, rows, cols, &seed, 0.1f, 0);
    a.sums = calloc(rows + 1, sizeof *a.sums);
    return a;
}

static void arrays_free(struct arrays *a)
{
    if (a->work.data != a->value.data) {
        free(a->work.data);
    }
    free(a->value.data);
    free(a->grad.data);
    free(a->first.data);
    free(a->second.data);
    free(a->x.data);
    free(a->sums);
}

static void adamw(struct compute *c, struct arrays *a)
{
    updateops_adamw(c, &(struct updateops_adamw){.value = a->value, .work = a->work, .grad = a->grad, .m = a->first,
                                                 .v = a->second, .grad_scale = 0.7, .beta1 = 0.9, .beta2 = 0.95,
                                                 .m_scale = 1.2, .v_scale = 1.3, .eps = 1e-8, .keep = 0.99,
                                                 .rate = 0.01, .sums = a->sums});
}

static struct updateops_momentum momentum_of(struct arrays *a, bool nesterov)
{
    return (struct updateops_momentum){.momentum = a->first, .grad = a->grad, .grad_scale = 0.7, .decay = 0.95,
                                       .nesterov = nesterov, .sums = a->sums};
}

static void direction(struct compute *c, struct arrays *a, bool nesterov)
{
    struct updateops_momentum m = momentum_of(a, nesterov);
    size_t each = (a->x.rows + 1) / 2;
    updateops_momentum(c, &m);
    updateops_direction(c, &m, a->x, (const double[]){31, 47}, each ? each : 1);
}

static void nesterov(struct compute *c, struct arrays *a)
{
    direction(c, a, true);
}

static void heavy_ball(struct compute *c, struct arrays *a)
{
    direction(c, a, false);
}

static void descend(struct compute *c, struct arrays *a)
{
    updateops_descend(c, &(struct updateops_descend){a->value, a->work, a->x, 0.98, 0.03, a->sums});
}

static void average(struct compute *c, struct arrays *a)
{
    updateops_average(c, a->first, a->value, 0.1);
}

static void swap(struct compute *c, struct arrays *a)
{
    updateops_swap(c, a->value, a->work, a->first);
}

static void squares(struct compute *c, struct arrays *a)
{
    updateops_squares(c, a->grad, a->sums);
}

static const struct {
    const char *name;
    void (*run)(struct compute *c, struct arrays *a);
} ops[] = {{"adamw", adamw}, {"nesterov", nesterov}, {"heavy ball", heavy_ball}, {"descend", descend},
           {"average", average}, {"swap", swap}, {"squares", squares}};

/* Some roundings of the largest term; a bfloat16 may also come out on the other side of a tie. */
static void compare(const char *op, struct mat got, struct mat want)
{
    double largest = 1e-3; /* sums of few terms may cancel */
    for (size_t k = 0; k < want.rows * want.cols; k++) {
        largest = fmax(largest, fabs(mat_get(&want, k / want.cols, k % want.cols)));
    }
    for (size_t r = 0; r < want.rows; r++) {
        for (size_t i = 0; i < want.stride && (r + 1 < want.rows || i < want.cols); i++) { /* gaps too */
            struct mat g = {got.data, got.type, 1, 1, 1}, w = {want.data, want.type, 1, 1, 1};
            double x = mat_get(&g, 0, r * got.stride + i), y = mat_get(&w, 0, r * want.stride + i);
            if (!(fabs(x - y) <= 0x1p-22 * largest + (want.type == MAT_BF16 ? 0x1p-7 * fabs(y) : 0))) {
                fail_msg("%s of %zu x %zu: (%zu, %zu) is %.9g instead of %.9g", op, want.rows, want.cols, r, i, x, y);
            }
        }
    }
}

static void test_every_level_equals_the_reference(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 1}, {1, 47}, {5, 16}, {2, 64}, {3, 33}, {7, 100}, {4, 1}, {900, 129}};
    struct compute *judge = levels_compute(CPUINFO_REF, 1);
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct compute *one = levels_compute(level, 1), *three = levels_compute(level, 3);
        for (size_t i = 0; i < sizeof ops / sizeof *ops * (sizeof shapes / sizeof *shapes) * 2; i++) {
            size_t op = i / 2 % (sizeof ops / sizeof *ops);
            const size_t *s = shapes[i / 2 / (sizeof ops / sizeof *ops)];
            struct arrays want = arrays_make(s[0], s[1], i % 2), got = arrays_make(s[0], s[1], i % 2);
            struct arrays same = arrays_make(s[0], s[1], i % 2);
            ops[op].run(judge, &want);
            ops[op].run(one, &got);
            ops[op].run(three, &same);
            const struct mat w[ARRAYS] = {want.value, want.work, want.grad, want.first, want.second, want.x};
            const struct mat g[ARRAYS] = {got.value, got.work, got.grad, got.first, got.second, got.x};
            const struct mat t[ARRAYS] = {same.value, same.work, same.grad, same.first, same.second, same.x};
            for (size_t k = 0; k < ARRAYS; k++) {
                compare(ops[op].name, g[k], w[k]);
                assert_memory_equal(g[k].data, t[k].data, s[0] * (s[1] + 3) * mat_type_bytes(g[k].type));
            }
            for (size_t r = 0; r < s[0]; r++) {
                assert_true(fabs(got.sums[r] - want.sums[r]) <= 1e-5 * want.sums[r]);
                assert_true(got.sums[r] == same.sums[r]);
            }
            arrays_free(&want);
            arrays_free(&got);
            arrays_free(&same);
        }
        compute_free(one);
        compute_free(three);
    }
    compute_free(judge);
}

static void test_polynomials_equal_the_reference(void **state)
{
    (void)state;
    struct compute *judge = levels_compute(CPUINFO_REF, 1);
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 3);
        for (size_t n = 1; n < 160; n += 1 + n / 2) {
            uint64_t seed = n, again = n;
            struct mat x = fresh(MAT_BF16, 3 * n, n, &seed, 1, 0), y = fresh(MAT_BF16, 3 * n, n, &seed, 1, 0);
            struct mat x2 = fresh(MAT_BF16, 3 * n, n, &again, 1, 0), y2 = fresh(MAT_BF16, 3 * n, n, &again, 1, 0);
            updateops_polynomial(judge, y, x, 3.4445, -4.775, 2.0315);
            updateops_polynomial(c, y2, x2, 3.4445, -4.775, 2.0315);
            compare("polynomial", y2, y);
            free(x.data);
            free(y.data);
            free(x2.data);
            free(y2.data);
        }
        compute_free(c);
    }
    compute_free(judge);
}

static void test_what_nothing_feeds_sinks_to_zero(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 1);
        struct arrays a = arrays_make(2, 40, false);
        for (size_t i = 0; i < 2 * 43; i++) {
            ((float *)a.grad.data)[i] = 0;
            ((float *)a.second.data)[i] = 1.2e-38f; /* the smallest numbers that are normal */
            ((float *)a.first.data)[i] = 1.2e-38f;
        }
        adamw(c, &a);
        for (size_t i = 0; i < 40; i++) {
            assert_true(((float *)a.second.data)[i] == 0 && ((float *)a.first.data)[i] == 0);
        }
        volatile float tiny = 1e-38f, half = 0.5f;
        assert_true(tiny * half > 0); /* and outside all is as it was */
        arrays_free(&a);
        compute_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_level_equals_the_reference),
        cmocka_unit_test(test_polynomials_equal_the_reference),
        cmocka_unit_test(test_what_nothing_feeds_sinks_to_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What Muon takes from a matrix: a direction whose singular values are all near 1, its size like AdamW's; of
 * every shape, at every CPU level, and however many matrices there are of a shape. */
#include "learnfixture.h"

#include "train/muon.h"

/* A parameter of n matrices with random gradients. */
struct fake {
    struct learnparam param;
    struct mat momentum;
};

static struct mat fresh(enum mat_type type, size_t rows, size_t cols)
{
    return mat_of(calloc(rows * cols, mat_type_bytes(type)), type, rows, cols);
}

static struct fake fake_make(bool exact, size_t n, size_t rows, size_t cols, uint64_t seed)
{
    enum mat_type type = exact ? MAT_F64 : MAT_F32;
    struct fake f = {.param = {.name = "fake", .n_matrices = n}};
    f.param.value = fresh(type, n * rows, cols);
    f.param.grad = fresh(type, n * rows, cols);
    f.param.work = exact ? f.param.value : fresh(MAT_BF16, n * rows, cols);
    f.momentum = fresh(type, n * rows, cols);
    learnfixture_draw(f.param.grad, &seed, 1e-5, 0);
    return f;
}

static void fake_free(struct fake *f)
{
    if (f->param.work.data != f->param.value.data) {
        free(f->param.work.data);
    }
    free(f->param.value.data);
    free(f->param.grad.data);
    free(f->momentum.data);
}

/* Values were 0 and become the negative directions. */
static double descend(struct fake *fakes, size_t n, struct compute *c)
{
    struct errinfo info = {0};
    struct muon *m;
    struct muon_part *parts = calloc(n, sizeof *parts);
    for (size_t i = 0; i < n; i++) {
        parts[i] = (struct muon_part){&fakes[i].param, fakes[i].momentum};
    }
    learnfixture_must(muon_new(parts, n, c, &m, &info), &info);
    const struct muon_rule rule = {
        .rate = 1, .momentum = 0.95, .eps = 1e-20, .nesterov = true, .steps = 5, .grad_scale = 1};
    double squares;
    assert_int_equal(muon_step(m, &rule, &squares), ERR_OK);
    muon_free(m);
    free(parts);
    return squares;
}

/* Jacobi's rotations turn the symmetric g [n, n] into its eigenvalues, on the diagonal. */
static void eigenvalues(double *g, size_t n)
{
    for (size_t turn = 0; n > 1 && turn < 12 * n * n; turn++) {
        size_t p = turn % n, q = (p + 1 + turn / n % (n - 1)) % n;
        double off = g[p * n + q];
        if (fabs(off) < 1e-12) {
            continue;
        }
        double angle = atan2(2 * off, g[q * n + q] - g[p * n + p]) / 2, s = sin(angle), c = cos(angle);
        for (size_t i = 0; i < n; i++) {
            double x = g[i * n + p], y = g[i * n + q];
            g[i * n + p] = c * x - s * y;
            g[i * n + q] = s * x + c * y;
        }
        for (size_t i = 0; i < n; i++) {
            double x = g[p * n + i], y = g[q * n + i];
            g[p * n + i] = c * x - s * y;
            g[q * n + i] = s * x + c * y;
        }
    }
}

/* Singular values of w / (0.2 sqrt(larger side)), all within the bounds; w points against g. */
static void check_orthogonal(struct mat w, struct mat g, double least, double most)
{
    bool wide = w.rows <= w.cols;
    size_t n = wide ? w.rows : w.cols, k = wide ? w.cols : w.rows;
    double *gram = calloc(n * n, sizeof *gram), scale = 0.04 * (double)k, along = 0;
    for (size_t a = 0; a < n; a++) {
        for (size_t i = 0; i < k; i++) {
            along += wide ? mat_get(&w, a, i) * mat_get(&g, a, i) : mat_get(&w, i, a) * mat_get(&g, i, a);
            for (size_t b = 0; b < n; b++) {
                gram[a * n + b] += (wide ? mat_get(&w, a, i) * mat_get(&w, b, i) : mat_get(&w, i, a) * mat_get(&w, i, b)) /
                                   scale;
            }
        }
    }
    assert_true(along < 0);
    eigenvalues(gram, n);
    for (size_t a = 0; a < n; a++) {
        double value = sqrt(gram[a * n + a]);
        if (!(value > least && value < most)) {
            fail_msg("%zu x %zu: singular value %g", w.rows, w.cols, value);
        }
    }
    free(gram);
}

static void test_directions_are_nearly_orthogonal(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{24, 60}, {60, 24}, {33, 70}, {7, 5}, {1, 9}, {9, 1}, {64, 130}, {2, 524288}};
    for (int exact = 0; exact < 2; exact++) {
        for (enum cpuinfo_level level = exact ? cpuinfo_best() : CPUINFO_REF; level <= cpuinfo_best(); level++) {
            struct compute *c = learnfixture_compute(level, 2);
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
                size_t rows = shapes[i][0], cols = shapes[i][1];
                struct fake f = fake_make(exact, 3, rows, cols, i + 1);
                double squares = descend(&f, 1, c), found = 0;
                for (size_t k = 0; k < 3 * rows * cols; k++) {
                    double w = mat_get(&f.param.value, k / cols, k % cols);
                    found += w * w;
                }
                assert_true(fabs(squares - found) < 1e-4 * found);
                for (size_t k = 0; k < 3; k++) {
                    check_orthogonal(learnparams_matrix(&f.param, f.param.value, k),
                                     learnparams_matrix(&f.param, f.param.grad, k), 0.6, 1.25);
                }
                fake_free(&f);
            }
            compute_free(c);
        }
    }
}

static void test_fast_directions_are_near_the_exact_ones(void **state)
{
    (void)state;
    struct compute *c = learnfixture_compute(cpuinfo_best(), 2);
    static const size_t shapes[][2] = {{48, 96}, {96, 48}, {64, 64}};
    for (size_t i = 0; i < 3; i++) {
        struct fake fast = fake_make(false, 2, shapes[i][0], shapes[i][1], 3);
        struct fake exact = fake_make(true, 2, shapes[i][0], shapes[i][1], 3);
        double all = descend(&exact, 1, c), off = 0;
        descend(&fast, 1, c);
        for (size_t k = 0; k < exact.param.value.rows * exact.param.value.cols; k++) {
            double d = (double)((float *)fast.param.value.data)[k] - ((double *)exact.param.value.data)[k];
            off += d * d;
        }
        if (sqrt(off / all) > 0.02) {
            fail_msg("%zu x %zu: %g of the direction off", shapes[i][0], shapes[i][1], sqrt(off / all));
        }
        fake_free(&fast);
        fake_free(&exact);
    }
    compute_free(c);
}

static void test_company_changes_no_bit(void **state)
{
    (void)state;
    enum { PARAMS = 5 };
    static const size_t shapes[PARAMS][3] = {{70, 16, 32}, {1, 16, 32}, {3, 32, 16}, {1, 256, 512}, {66, 16, 32}};
    struct compute *c = learnfixture_compute(cpuinfo_best(), 2);
    struct fake all[PARAMS];
    for (size_t i = 0; i < PARAMS; i++) {
        all[i] = fake_make(false, shapes[i][0], shapes[i][1], shapes[i][2], i + 1);
    }
    descend(all, PARAMS, c);
    for (size_t i = 0; i < PARAMS; i++) {
        for (size_t k = 0; k < shapes[i][0]; k += 1 + shapes[i][0] / 4) { /* one matrix alone */
            struct fake one = fake_make(false, 1, shapes[i][1], shapes[i][2], 1);
            size_t bytes = shapes[i][1] * shapes[i][2] * sizeof(float);
            memcpy(one.param.grad.data, learnparams_matrix(&all[i].param, all[i].param.grad, k).data, bytes);
            descend(&one, 1, c);
            assert_true(learnfixture_same(one.param.value, learnparams_matrix(&all[i].param, all[i].param.value, k)));
            fake_free(&one);
        }
        fake_free(&all[i]);
    }
    compute_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directions_are_nearly_orthogonal),
        cmocka_unit_test(test_fast_directions_are_near_the_exact_ones),
        cmocka_unit_test(test_company_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The head and its loss in one, at every level against the reference in float64: sizes that end within tiles,
 * panels, blocks and chunks, gaps between rows, tokens without a target, scores far above the target's, losses
 * alone, numbers that are not finite; threads change no bit. */
#include "tensor/levels.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tensor/learnops.h"

static struct rng random_state;

static struct mat fresh(enum mat_type type, size_t rows, size_t cols, double scale)
{
    struct mat m = mat_of(NULL, type, rows, cols);
    m.stride = cols + rng_u64(&random_state) % 3;
    m.data = malloc(rows * m.stride * mat_type_bytes(type) + 1);
    assert_non_null(m.data);
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < cols; k++) {
            mat_set(&m, i, k, scale * (double)rng_normal(&random_state));
        }
    }
    return m;
}

static struct mat copy_of(struct mat from, enum mat_type type)
{
    struct mat m = from;
    m.type = type;
    m.data = malloc(m.rows * m.stride * mat_type_bytes(type) + 1);
    assert_non_null(m.data);
    for (size_t i = 0; i < m.rows; i++) {
        for (size_t k = 0; k < m.cols; k++) {
            mat_set(&m, i, k, mat_get(&from, i, k));
        }
    }
    return m;
}

/* A head whose numbers its sizes decide, the same at every level; dx is set, dw added to. */
static struct learnops_head head_of(size_t t, size_t v, size_t d, double scale)
{
    rng_seed(&random_state, 41 + (t << 40) + (v << 20) + d);
    int32_t *targets = malloc((t + 1) * sizeof *targets);
    struct learnops_head h = {.x = fresh(MAT_BF16, t, d, 1), .w = fresh(MAT_BF16, v, d, scale),
                              .dx = fresh(MAT_F32, t, d, 1), .dw = fresh(MAT_F32, v, d, 1e-2), .targets = targets,
                              .losses = malloc((t + 1) * sizeof(double)), .z_loss = 1e-3, .scale = 0.3};
    for (size_t i = 0; i < t; i++) {
        targets[i] = rng_u64(&random_state) % 5 ? (int32_t)(rng_u64(&random_state) % v) : -1;
    }
    return h;
}

static struct learnops_head twin(const struct learnops_head *h, bool exact)
{
    struct learnops_head out = *h;
    out.x = copy_of(h->x, exact ? MAT_F64 : MAT_BF16);
    out.w = copy_of(h->w, exact ? MAT_F64 : MAT_BF16);
    out.dx = copy_of(h->dx, exact ? MAT_F64 : MAT_F32);
    out.dw = copy_of(h->dw, exact ? MAT_F64 : MAT_F32);
    out.losses = malloc((h->x.rows + 1) * sizeof(double));
    return out;
}

static void drop(struct learnops_head *h, bool twin_of_another)
{
    free(h->x.data);
    free(h->w.data);
    free(h->dx.data);
    free(h->dw.data);
    free(h->losses);
    if (!twin_of_another) {
        free((void *)h->targets);
    }
}

static void run(struct compute *c, struct learnops_head *h)
{
    size_t n = learnops_head_bytes(h->x, h->w, h->dx.data != NULL);
    h->memory = mem_alloc_aligned(n + 64);
    assert_non_null(h->memory);
    memset(h->memory, 0xff, n + 64); /* NaN, wherever something is read before it is made */
    assert_int_equal(learnops_head(c, h), ERR_OK);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(((unsigned char *)h->memory)[n + i], 0xff);
    }
    mem_free_aligned(h->memory);
}

/* What bfloat16 gradients leave of a sum: `of` is its largest term. Rounding comes to 2e-3 of that at most, as
 * the root of the mean square; of some thousand numbers one is five times as far off. */
static void compare(const char *name, struct mat got, struct mat want, double of)
{
    for (size_t i = 0; i < got.rows; i++) {
        for (size_t k = 0; k < got.cols; k++) {
            double a = mat_get(&got, i, k), b = mat_get(&want, i, k);
            if (!(fabs(a - b) <= 2e-6 + 4e-3 * fabs(b) + 12e-3 * of)) {
                fail_msg("%s [%zu, %zu] of [%zu, %zu]: %.9g instead of %.9g", name, i, k, got.rows, got.cols, a, b);
            }
        }
    }
}

static double largest(struct mat m)
{
    double most = 0;
    for (size_t i = 0; i < m.rows; i++) {
        for (size_t k = 0; k < m.cols; k++) {
            most = fmax(most, fabs(mat_get(&m, i, k)));
        }
    }
    return most;
}

static void compare_all(const struct learnops_head *got, const struct learnops_head *want)
{
    for (size_t t = 0; t < got->x.rows; t++) {
        double a = got->losses[t], b = want->losses[t];
        if (!(fabs(a - b) <= 4e-6 * (1 + fabs(b))) || (got->targets[t] < 0 && a != 0)) {
            fail_msg("loss %zu of a vocabulary of %zu: %.9g instead of %.9g", t, got->w.rows, a, b);
        }
    }
    if (got->dx.data) {
        compare("dx", got->dx, want->dx, got->scale * largest(want->w));
        compare("dw", got->dw, want->dw, got->scale * largest(want->x));
    }
}

static void check(struct compute *c, size_t t, size_t v, size_t d)
{
    struct learnops_head h = head_of(t, v, d, 0.5), judge = twin(&h, true), alone = h;
    struct compute *ref = levels_compute(CPUINFO_REF, 1);
    run(ref, &judge);
    run(c, &h);
    compare_all(&h, &judge);
    alone.dx.data = alone.dw.data = NULL;
    run(c, &alone);
    compare_all(&alone, &judge);
    compute_free(ref);
    drop(&judge, true);
    drop(&h, false);
}

static void test_every_size_equals_the_reference(void **state)
{
    static const size_t sizes[][3] = {{1, 1, 1}, {0, 5, 7}, {5, 17, 7}, {33, 50, 16}, {40, 100, 33}, {100, 600, 80},
                                      {70, 290, 256}, {65, 33, 300}, {530, 64, 48}, {31, 1031, 64}, {19, 40, 2100}};
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 2);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            check(c, sizes[i][0], sizes[i][1], sizes[i][2]);
        }
        compute_free(c);
    }
}

/* More exponentials than are kept at a time. */
static void test_chunks_add_up(void **state)
{
    (void)state;
    struct compute *c = levels_compute(cpuinfo_best(), 2);
    check(c, 2300, 4100, 3);
    check(c, 560, 17000, 2);
    compute_free(c);
}

/* One word whose score is far above everything: in the first panel, in a later one, as the target itself. */
static void test_scores_far_above_the_targets(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 2), *ref = levels_compute(CPUINFO_REF, 1);
        struct learnops_head h = head_of(70, 900, 40, 0.3);
        h.z_loss = 0;
        for (size_t k = 0; k < 40; k++) {
            mat_set(&h.w, 3, k, 12 * mat_get(&h.x, 4, k));
            mat_set(&h.w, 700, k, 30 * mat_get(&h.x, 50, k));
            mat_set(&h.w, 880, k, 5 * mat_get(&h.x, 4, k));
            mat_set(&h.w, 890, k, 25 * mat_get(&h.x, 4, k));
        }
        ((int32_t *)h.targets)[4] = 80;
        ((int32_t *)h.targets)[50] = 700;
        ((int32_t *)h.targets)[51] = 700;
        struct learnops_head judge = twin(&h, true);
        run(ref, &judge);
        run(c, &h);
        assert_true(h.losses[4] > 500 && h.losses[50] < 1e-6);
        compare_all(&h, &judge);
        compute_free(ref);
        compute_free(c);
        drop(&judge, true);
        drop(&h, false);
    }
}

static void test_what_is_not_finite_is_not_hidden(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct compute *c = levels_compute(level, 1);
        struct learnops_head h = head_of(40, 300, 32, 0.3);
        for (size_t t = 0; t < 40; t++) {
            ((int32_t *)h.targets)[t] = (int32_t)t;
        }
        mat_set(&h.x, 7, 3, NAN);
        mat_set(&h.x, 9, 3, INFINITY);
        run(c, &h);
        for (size_t t = 0; t < 40; t++) {
            assert_true(isfinite(h.losses[t]) == (t != 7 && t != 9));
        }
        compute_free(c);
        drop(&h, false);
    }
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct learnops_head h = head_of(300, 1001, 72, 0.3);
        struct compute *one = levels_compute(level, 1);
        struct learnops_head first = twin(&h, false);
        run(one, &first);
        for (int n = 2; n <= 3; n++) {
            struct compute *c = levels_compute(level, n);
            struct learnops_head other = twin(&h, false);
            run(c, &other);
            assert_memory_equal(other.losses, first.losses, h.x.rows * sizeof(double));
            for (size_t i = 0; i < h.x.rows; i++) {
                assert_memory_equal((float *)other.dx.data + i * h.dx.stride, (float *)first.dx.data + i * h.dx.stride,
                                    h.dx.cols * sizeof(float));
            }
            for (size_t i = 0; i < h.w.rows; i++) {
                assert_memory_equal((float *)other.dw.data + i * h.dw.stride, (float *)first.dw.data + i * h.dw.stride,
                                    h.dw.cols * sizeof(float));
            }
            compute_free(c);
            drop(&other, true);
        }
        compute_free(one);
        drop(&first, true);
        drop(&h, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_equals_the_reference), cmocka_unit_test(test_chunks_add_up),
        cmocka_unit_test(test_scores_far_above_the_targets),    cmocka_unit_test(test_what_is_not_finite_is_not_hidden),
        cmocka_unit_test(test_threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

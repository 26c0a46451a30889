/* Attention of learning at every level, forward and backward, against the reference in float64: dims and lengths
 * that end within tiles, heads that share keys, documents from one token on, gaps between rows; threads change
 * no bit, documents do not see each other, refused memory is an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tensor/learnops.h"
#include "tensor/ref/learnref.h"

static struct rng random_state;

static size_t below(size_t n)
{
    return (size_t)(rng_u64(&random_state) % n);
}

static struct mat fresh(enum mat_type type, size_t rows, size_t cols)
{
    size_t gap = below(3);
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

struct shape {
    size_t tokens, n_heads, n_kv_heads, k_dim, v_dim;
};

/* Everything of one call; the results of the reference beside. */
struct call {
    struct learnops_attention a;
    struct mat dout, dq, dk, dv;
    int32_t *positions;
};

/* Documents of 1 to `longest` tokens. */
static struct call fresh_call(struct shape s, size_t longest)
{
    struct call c = {.positions = malloc(s.tokens * sizeof(int32_t))};
    size_t left = 0;
    for (size_t t = 0; t < s.tokens; t++, left--) {
        left = left ? left : 1 + below(longest);
        c.positions[t] = t == 0 || left == 0 ? 0 : c.positions[t - 1] + 1;
        if (t > 0 && left == 1) {
            c.positions[t] = 0;
        }
    }
    c.a = (struct learnops_attention){.q = fresh(MAT_BF16, s.tokens, s.n_heads * s.k_dim),
                                      .k = fresh(MAT_BF16, s.tokens, s.n_kv_heads * s.k_dim),
                                      .v = fresh(MAT_BF16, s.tokens, s.n_kv_heads * s.v_dim),
                                      .out = fresh(MAT_BF16, s.tokens, s.n_heads * s.v_dim),
                                      .lse = fresh(MAT_F32, s.tokens, s.n_heads),
                                      .positions = c.positions,
                                      .n_heads = s.n_heads,
                                      .n_kv_heads = s.n_kv_heads,
                                      .k_dim = s.k_dim,
                                      .v_dim = s.v_dim,
                                      .scale = 1.3 / sqrt((double)s.k_dim)};
    c.dout = fresh(MAT_BF16, s.tokens, s.n_heads * s.v_dim);
    c.dq = fresh(MAT_BF16, s.tokens, s.n_heads * s.k_dim);
    c.dk = fresh(MAT_BF16, s.tokens, s.n_kv_heads * s.k_dim);
    c.dv = fresh(MAT_BF16, s.tokens, s.n_kv_heads * s.v_dim);
    return c;
}

/* The same inputs with results of its own. */
static struct call results_beside(const struct call *c, enum mat_type type)
{
    struct call d = *c;
    d.a.out = fresh(type, c->a.out.rows, c->a.out.cols);
    d.a.lse = fresh(type == MAT_F64 ? MAT_F64 : MAT_F32, c->a.lse.rows, c->a.lse.cols);
    d.dq = fresh(type, c->dq.rows, c->dq.cols);
    d.dk = fresh(type, c->dk.rows, c->dk.cols);
    d.dv = fresh(type, c->dv.rows, c->dv.cols);
    return d;
}

static void free_results(struct call *c)
{
    free(c->a.out.data);
    free(c->a.lse.data);
    free(c->dq.data);
    free(c->dk.data);
    free(c->dv.data);
}

static void free_call(struct call *c)
{
    free_results(c);
    free(c->a.q.data);
    free(c->a.k.data);
    free(c->a.v.data);
    free(c->dout.data);
    free(c->positions);
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

static void run(struct compute *c, struct call *a)
{
    assert_int_equal(learnops_attention(c, &a->a), ERR_OK);
    assert_int_equal(learnops_attention_backward(c, &a->a, a->dout, a->dq, a->dk, a->dv), ERR_OK);
}

/* Each element within `share` of the largest and half a unit of bfloat16; all together within that. What is 0
 * by theory is a sum of numbers near 1 that cancel. */
static void compare(const char *what, const struct mat *got, const struct mat *want, double share)
{
    double most = 0, wrong = 0, all = 0, half = got->type == MAT_BF16 ? 1.0 / 256 : 1e-6;
    for (size_t i = 0; i < want->rows * want->cols; i++) {
        most = fmax(most, fabs(mat_get(want, i / want->cols, i % want->cols)));
    }
    for (size_t i = 0; i < want->rows; i++) {
        for (size_t k = 0; k < want->cols; k++) {
            double g = mat_get(got, i, k), w = mat_get(want, i, k);
            if (!(fabs(g - w) <= share * most + half * fabs(w) + 1e-5)) {
                fail_msg("%s[%zu, %zu] of [%zu, %zu]: %g instead of %g, largest %g", what, i, k, want->rows,
                         want->cols, g, w, most);
            }
            wrong += (g - w) * (g - w);
            all += w * w + 1e-10;
        }
    }
    if (!(sqrt(wrong) <= (share + half) * sqrt(all) + 1e-5 * sqrt((double)(want->rows * want->cols)))) {
        fail_msg("%s: wrong by %g of its length", what, sqrt(wrong / all));
    }
}

/* One compute of each fast level of this machine; NULL beyond. */
static struct compute *levels[CPUINFO_LEVELS];

/* With float32 probabilities only the results round; AMX rounds what it multiplies to bfloat16. The backward gets
 * what the reference kept. */
static void check(struct shape s, size_t longest)
{
    struct call got = fresh_call(s, longest), want = results_beside(&got, MAT_F64);
    struct call kept = results_beside(&got, MAT_BF16);
    assert_int_equal(learnref_attention(&want.a), ERR_OK);
    learnref_copy(kept.a.out, want.a.out);
    learnref_copy(kept.a.lse, want.a.lse);
    assert_int_equal(learnref_attention_backward(&kept.a, want.dout, want.dq, want.dk, want.dv), ERR_OK);
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        double share = level == CPUINFO_AMX ? 1.0 / 128 : 2e-5;
        assert_int_equal(learnops_attention(levels[level], &got.a), ERR_OK);
        compare("out", &got.a.out, &want.a.out, share);
        compare("lse", &got.a.lse, &want.a.lse, 1e-5);
        assert_int_equal(learnops_attention_backward(levels[level], &kept.a, got.dout, got.dq, got.dk, got.dv),
                         ERR_OK);
        compare("dq", &got.dq, &want.dq, share);
        compare("dk", &got.dk, &want.dk, share);
        compare("dv", &got.dv, &want.dv, share);
    }
    free_results(&want);
    free_results(&kept);
    free_call(&got);
}

static int make_levels(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        levels[level] = compute_of(level, 2);
    }
    return 0;
}

static int free_levels(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        compute_free(levels[level]);
    }
    return 0;
}

static void test_every_shape_equals_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        size_t kv = 1 + below(2), group = 1 + below(3);
        check((struct shape){1 + below(100), kv * group, kv, 1 + below(70), 1 + below(70)},
              i % 3 == 0 ? 3 : 1 + below(200));
    }
    check((struct shape){70, 1, 1, 192, 128}, 1000);
    check((struct shape){0, 1, 1, 8, 8}, 1);
}

static void test_keys_come_in_several_blocks(void **state)
{
    (void)state;
    check((struct shape){650, 1, 1, 4, 5}, 1 << 30);
    check((struct shape){800, 1, 1, 5, 4}, 600);
}

static void same(const struct mat *a, const struct mat *b, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++) {
        for (size_t k = 0; k < a->cols; k++) {
            assert_true(mat_get(a, i, k) == mat_get(b, i, k));
        }
    }
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct compute *one = compute_of(level, 1), *three = compute_of(level, 3);
        struct call a = fresh_call((struct shape){1100, 4, 2, 48, 33}, 300), b = results_beside(&a, MAT_BF16);
        run(one, &a);
        run(three, &b);
        same(&a.a.out, &b.a.out, 0, 1100);
        same(&a.a.lse, &b.a.lse, 0, 1100);
        same(&a.dq, &b.dq, 0, 1100);
        same(&a.dk, &b.dk, 0, 1100);
        same(&a.dv, &b.dv, 0, 1100);
        free_results(&b);
        free_call(&a);
        compute_free(one);
        compute_free(three);
    }
}

/* Finite changes in one document reach no bit of another, not even in the same block. */
static void test_documents_do_not_see_each_other(void **state)
{
    (void)state;
    enum { T = 100, FIRST = 37, LAST = 60 };
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        struct compute *c = compute_of(level, 1);
        struct call a = fresh_call((struct shape){T, 2, 1, 16, 16}, T), b = results_beside(&a, MAT_BF16);
        for (int t = 0; t < T; t++) {
            a.positions[t] = t - (t >= LAST ? LAST : t >= FIRST ? FIRST : 0);
        }
        run(c, &a);
        for (int t = FIRST; t < LAST; t++) {
            mat_set(&a.a.k, (size_t)t, 3, 1e4);
            mat_set(&a.a.v, (size_t)t, 2, -1e30);
            mat_set(&a.a.q, (size_t)t, 1, 300);
        }
        run(c, &b);
        const struct mat *pairs[][2] = {{&a.a.out, &b.a.out}, {&a.a.lse, &b.a.lse}, {&a.dq, &b.dq}, {&a.dk, &b.dk},
                                        {&a.dv, &b.dv}};
        for (size_t i = 0; i < 5; i++) {
            same(pairs[i][0], pairs[i][1], 0, FIRST);
            same(pairs[i][0], pairs[i][1], LAST, T);
        }
        free_results(&b);
        free_call(&a);
        compute_free(c);
    }
}

static void test_refused_memory_is_an_error(void **state)
{
    (void)state;
    struct compute *c = compute_of(cpuinfo_best(), 1);
    struct call a = fresh_call((struct shape){40, 1, 1, 8, 8}, 40);
    size_t alive = mem_alive();
    for (size_t k = 1; k <= 2; k++) {
        mem_fault(k, 0);
        assert_int_equal(learnops_attention(c, &a.a), ERR_NOMEM);
        mem_fault(k, 0);
        assert_int_equal(learnops_attention_backward(c, &a.a, a.dout, a.dq, a.dk, a.dv), ERR_NOMEM);
    }
    mem_fault(0, 0);
    assert_int_equal(mem_alive(), alive);
    free_call(&a);
    compute_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_shape_equals_the_reference),
        cmocka_unit_test(test_keys_come_in_several_blocks),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_documents_do_not_see_each_other),
        cmocka_unit_test(test_refused_memory_is_an_error),
    };
    rng_seed(&random_state, 29);
    return cmocka_run_group_tests(tests, make_levels, free_levels);
}

/* Every gradient of the reference operations against finite differences, in float64 throughout; and products
 * of every form and type against sums by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/ref/learnref.h"

enum { INPUTS = 5, T = 7 };

/* An operation under test: its loss is the sum of outputs times fixed random numbers. */
struct check {
    struct mat in[INPUTS], grad[INPUTS]; /* inputs and their gradients as the backward says */
    size_t n;
    struct mat out, dout;
    void (*forward)(struct check *);
    void (*backward)(struct check *);
};

static struct rng random_state;

static struct mat fresh(size_t rows, size_t cols)
{
    double *p = calloc(rows * (cols + 3), sizeof *p); /* with a gap, which nobody may touch */
    struct mat m = mat_of(p, MAT_F64, rows, cols);
    m.stride = cols + 3;
    for (size_t i = 0; i < rows * m.stride; i++) {
        p[i] = i % m.stride < cols ? rng_normal(&random_state) : 99;
    }
    return m;
}

static void zero(struct mat m)
{
    for (size_t i = 0; i < m.rows; i++) {
        for (size_t k = 0; k < m.cols; k++) {
            mat_set(&m, i, k, 0);
        }
    }
}

static double loss(struct check *c)
{
    double sum = 0;
    c->forward(c);
    for (size_t i = 0; i < c->out.rows; i++) {
        for (size_t k = 0; k < c->out.cols; k++) {
            sum += mat_get(&c->out, i, k) * mat_get(&c->dout, i, k);
        }
    }
    return sum;
}

static void verify(struct check *c)
{
    loss(c);
    c->backward(c);
    for (size_t n = 0; n < c->n; n++) {
        struct mat in = c->in[n], grad = c->grad[n];
        for (size_t i = 0; i < in.rows; i++) {
            for (size_t k = 0; k < in.cols; k++) {
                const double h = 1e-5, at = mat_get(&in, i, k), said = mat_get(&grad, i, k);
                mat_set(&in, i, k, at + h);
                double up = loss(c);
                mat_set(&in, i, k, at - h);
                double down = loss(c), found = (up - down) / (2 * h);
                mat_set(&in, i, k, at);
                if (!(fabs(found - said) <= 1e-7 * (1 + fabs(found)))) {
                    fail_msg("input %zu (%zu, %zu): gradient %.12g, differences %.12g", n, i, k, said, found);
                }
            }
        }
        for (size_t i = 0; i < in.rows; i++) { /* the gaps */
            assert_true(((double *)grad.data)[i * grad.stride + grad.cols] == 99);
        }
    }
    for (size_t n = 0; n < c->n; n++) {
        free(c->in[n].data);
        free(c->grad[n].data);
    }
    free(c->out.data);
    free(c->dout.data);
}

static void add_input(struct check *c, size_t rows, size_t cols)
{
    c->in[c->n] = fresh(rows, cols);
    c->grad[c->n] = fresh(rows, cols);
    zero(c->grad[c->n++]);
}

static struct check begin(size_t rows, size_t cols)
{
    return (struct check){.out = fresh(rows, cols), .dout = fresh(rows, cols)};
}

/* ---- products ---- */

static enum learnops_product product;

static void matmul_forward(struct check *c)
{
    learnref_matmul(product, &(struct learnops_matmul){c->out, c->in[0], c->in[1], false});
}

/* The gradients of each form are products of the other forms. */
static void matmul_backward(struct check *c)
{
    struct mat x = c->in[0], w = c->in[1], dx = c->grad[0], dw = c->grad[1], dy = c->dout;
    if (product == LEARNOPS_NT) {
        learnref_matmul(LEARNOPS_NN, &(struct learnops_matmul){dx, dy, w, true});
        learnref_matmul(LEARNOPS_TN, &(struct learnops_matmul){dw, dy, x, true});
    } else if (product == LEARNOPS_NN) {
        learnref_matmul(LEARNOPS_NT, &(struct learnops_matmul){dx, dy, w, true});
        learnref_matmul(LEARNOPS_TN, &(struct learnops_matmul){dw, x, dy, true});
    } else {
        learnref_matmul(LEARNOPS_NT, &(struct learnops_matmul){dx, w, dy, true});
        learnref_matmul(LEARNOPS_NN, &(struct learnops_matmul){dw, x, dy, true});
    }
}

static void test_products_have_the_gradients_of_differences(void **state)
{
    (void)state;
    for (int p = LEARNOPS_NT; p <= LEARNOPS_TN; p++) {
        struct check c = begin(T, 5);
        product = (enum learnops_product)p;
        c.forward = matmul_forward;
        c.backward = matmul_backward;
        add_input(&c, p == LEARNOPS_TN ? 4 : T, p == LEARNOPS_TN ? T : 4);
        add_input(&c, p == LEARNOPS_NT ? 5 : 4, p == LEARNOPS_NT ? 4 : 5);
        verify(&c);
    }
}

/* ---- norm, swiglu, rope ---- */

static void layernorm_forward(struct check *c)
{
    learnref_layernorm(c->out, c->in[0], c->in[1], c->in[2], 1e-3);
}

static void layernorm_backward(struct check *c)
{
    const struct learnops_layernorm a = {c->grad[0], c->grad[1], c->grad[2], c->dout, c->in[0], c->in[1]};
    learnref_layernorm_backward(&a, 1e-3);
}

static void biased_gelu_forward(struct check *c)
{
    struct mat sum = fresh(c->in[0].rows, c->in[0].cols);
    learnref_copy(sum, c->in[0]);
    learnref_bias(sum, c->in[1]);
    learnref_gelu(c->out, sum);
    free(sum.data);
}

static void biased_gelu_backward(struct check *c)
{
    struct mat sum = fresh(c->in[0].rows, c->in[0].cols);
    learnref_copy(sum, c->in[0]);
    learnref_bias(sum, c->in[1]);
    learnref_gelu_backward(c->grad[0], c->dout, sum);
    learnref_bias_backward(c->grad[1], c->grad[0]);
    free(sum.data);
}

static void test_layernorm_gelu_and_bias_have_the_gradients_of_differences(void **state)
{
    (void)state;
    struct check c = begin(T, 6), b = begin(T, 6);
    c.forward = layernorm_forward;
    c.backward = layernorm_backward;
    add_input(&c, T, 6);
    add_input(&c, 1, 6);
    add_input(&c, 1, 6);
    verify(&c);
    b.forward = biased_gelu_forward;
    b.backward = biased_gelu_backward;
    add_input(&b, T, 6);
    add_input(&b, 1, 6);
    verify(&b);
}

static void rmsnorm_forward(struct check *c)
{
    learnref_rmsnorm(c->out, c->in[0], c->in[1], 1e-3);
}

static void rmsnorm_backward(struct check *c)
{
    learnref_rmsnorm_backward(c->grad[0], c->grad[1], c->dout, c->in[0], c->in[1], 1e-3);
}

static void test_rmsnorm_has_the_gradients_of_differences(void **state)
{
    (void)state;
    struct check c = begin(T, 9);
    c.forward = rmsnorm_forward;
    c.backward = rmsnorm_backward;
    add_input(&c, T, 9);
    add_input(&c, 1, 9);
    verify(&c);
}

static void swiglu_forward(struct check *c)
{
    learnref_swiglu(c->out, c->in[0], c->in[1]);
}

static void swiglu_backward(struct check *c)
{
    learnref_swiglu_backward(c->grad[0], c->grad[1], c->dout, c->in[0], c->in[1]);
}

static void test_swiglu_has_the_gradients_of_differences(void **state)
{
    (void)state;
    struct check c = begin(T, 6);
    c.forward = swiglu_forward;
    c.backward = swiglu_backward;
    add_input(&c, T, 6);
    add_input(&c, T, 6);
    verify(&c);
}

static const int32_t positions[T] = {0, 1, 2, 0, 1, 2, 3};
static const float freqs[2] = {0.7f, 0.05f};
static enum rope_pairs pairs;

static struct learnops_rope rope_of(struct mat x, bool back)
{
    return (struct learnops_rope){.x = x, .n_heads = 2, .head_dim = 7, .first = 2, .dim = 4,
                                  .positions = positions, .freqs = freqs, .pairs = pairs, .back = back};
}

static void rope_forward(struct check *c)
{
    struct learnops_rope a = rope_of(c->out, false);
    learnref_copy(c->out, c->in[0]);
    learnref_rope(&a);
}

static void rope_backward(struct check *c)
{
    struct learnops_rope a = rope_of(c->grad[0], true);
    learnref_copy(c->grad[0], c->dout);
    learnref_rope(&a);
}

static void test_rope_has_the_gradients_of_differences(void **state)
{
    (void)state;
    for (int p = ROPE_INTERLEAVED; p <= ROPE_HALF; p++) {
        struct check c = begin(T, 14);
        pairs = (enum rope_pairs)p;
        c.forward = rope_forward;
        c.backward = rope_backward;
        add_input(&c, T, 14);
        verify(&c);
    }
}

/* ---- attention ---- */

static size_t n_kv_heads;

static struct learnops_attention attention_of(struct check *c, struct mat lse)
{
    return (struct learnops_attention){.q = c->in[0], .k = c->in[1], .v = c->in[2], .out = c->out, .lse = lse,
                                       .positions = positions, .n_heads = 4, .n_kv_heads = n_kv_heads,
                                       .k_dim = 3, .v_dim = 2, .scale = 0.6};
}

static void attention_forward(struct check *c)
{
    double lse[T * 4];
    struct learnops_attention a = attention_of(c, mat_of(lse, MAT_F64, T, 4));
    assert_int_equal(learnref_attention(&a), ERR_OK);
}

static void attention_backward(struct check *c)
{
    double lse[T * 4];
    struct learnops_attention a = attention_of(c, mat_of(lse, MAT_F64, T, 4));
    assert_int_equal(learnref_attention(&a), ERR_OK);
    assert_int_equal(learnref_attention_backward(&a, c->dout, c->grad[0], c->grad[1], c->grad[2]), ERR_OK);
}

static void test_attention_has_the_gradients_of_differences(void **state)
{
    (void)state;
    for (n_kv_heads = 1; n_kv_heads <= 4; n_kv_heads *= 2) {
        struct check c = begin(T, 8);
        c.forward = attention_forward;
        c.backward = attention_backward;
        add_input(&c, T, 12);
        add_input(&c, T, 3 * n_kv_heads);
        add_input(&c, T, 2 * n_kv_heads);
        verify(&c);
    }
}

static void test_attention_does_not_look_past_a_document(void **state)
{
    (void)state;
    struct check c = begin(T, 8);
    double lse[T * 4], before[4 * 8];
    n_kv_heads = 2;
    add_input(&c, T, 12);
    add_input(&c, T, 6);
    add_input(&c, T, 4);
    struct learnops_attention a = attention_of(&c, mat_of(lse, MAT_F64, T, 4));
    assert_int_equal(learnref_attention(&a), ERR_OK);
    for (int i = 0; i < 32; i++) {
        before[i] = mat_get(&c.out, 3 + (size_t)i / 8, (size_t)i % 8);
    }
    for (size_t i = 0; i < 6; i++) {
        mat_set(&c.in[1], 1, i, 1e3);
        mat_set(&c.in[2], 2, i % 4, 1e3);
    }
    assert_int_equal(learnref_attention(&a), ERR_OK);
    for (int i = 0; i < 32; i++) {
        assert_true(before[i] == mat_get(&c.out, 3 + (size_t)i / 8, (size_t)i % 8));
    }
    for (size_t i = 0; i < 3; i++) {
        free(c.in[i].data);
        free(c.grad[i].data);
    }
    free(c.out.data);
    free(c.dout.data);
}

/* ---- the loss ---- */

static const int32_t targets[T] = {3, 0, -1, 4, 4, 1, 2};

static void loss_forward(struct check *c)
{
    double logits[T * 5], losses[T];
    struct mat copy = mat_of(logits, MAT_F64, T, 5);
    learnref_copy(copy, c->in[0]);
    learnref_cross_entropy(copy, copy, targets, losses, 1e-2, 1);
    for (size_t t = 0; t < T; t++) {
        mat_set(&c->out, t, 0, losses[t]);
        mat_set(&c->dout, t, 0, 0.25);
    }
}

static void loss_backward(struct check *c)
{
    double losses[T];
    learnref_copy(c->grad[0], c->in[0]);
    learnref_cross_entropy(c->grad[0], c->grad[0], targets, losses, 1e-2, 0.25);
}

static void test_cross_entropy_has_the_gradients_of_differences(void **state)
{
    (void)state;
    struct check c = begin(T, 1);
    c.forward = loss_forward;
    c.backward = loss_backward;
    add_input(&c, T, 5);
    verify(&c);
}

/* ---- rows that go somewhere and come back ---- */

static const int32_t ids[T] = {2, 0, 2, 5, 1, 2, 0};
static const uint32_t slots[2 * T] = {3, 0, 1, 2, 13, 4, 5, 6, 12, 8, 9, 11, 10, 7};

static void embed_forward(struct check *c)
{
    learnref_embed(c->out, c->in[0], ids);
}

static void embed_backward(struct check *c)
{
    learnref_embed_backward(c->grad[0], c->dout, ids);
}

static void test_rows_that_move_have_the_gradients_of_differences(void **state)
{
    (void)state;
    struct check c = begin(T, 3);
    c.forward = embed_forward;
    c.backward = embed_backward;
    add_input(&c, 6, 3);
    verify(&c);
}

/* ---- routed experts: h, gate, up, down, and the weights with which their results come to the tokens ---- */

enum { EXPERTS = 3, F = 2, D = 3 };

/* A place is a choice, and back; an expert has no places. Gates and ups have room in `kept`. */
static struct learnops_experts experts_of(struct check *c, uint32_t choice[2 * T], double kept[2][2 * T * F])
{
    static const size_t first[EXPERTS + 1] = {0, 5, 5, 2 * T};
    for (uint32_t i = 0; i < 2 * T; i++) {
        choice[slots[i]] = i;
    }
    return (struct learnops_experts){.h = c->in[0],
                                     .gate = c->in[1],
                                     .up = c->in[2],
                                     .down = c->in[3],
                                     .gates = mat_of(kept[0], MAT_F64, 2 * T, F),
                                     .ups = mat_of(kept[1], MAT_F64, 2 * T, F),
                                     .first = first,
                                     .choice = choice,
                                     .n_experts = EXPERTS,
                                     .n_chosen = 2};
}

static void experts_forward(struct check *c)
{
    uint32_t choice[2 * T];
    double kept[2][2 * T * F], places[2 * T * D];
    struct learnops_experts a = experts_of(c, choice, kept);
    struct mat y = mat_of(places, MAT_F64, 2 * T, D);
    assert_int_equal(learnref_experts(&a, y), ERR_OK);
    zero(c->out);
    learnref_combine(c->out, y, c->in[4], slots);
}

static void experts_backward(struct check *c)
{
    uint32_t choice[2 * T];
    double kept[2][2 * T * F], places[2 * T * D];
    struct learnops_experts a = experts_of(c, choice, kept);
    struct mat y = mat_of(places, MAT_F64, 2 * T, D), ones = {.type = MAT_F64, .rows = T, .cols = 2};
    assert_int_equal(learnref_experts(&a, y), ERR_OK);
    const struct learnops_experts_grads g = {.d = c->dout,
                                             .weight = c->in[4],
                                             .dweight = c->grad[4],
                                             .dplaces = y,
                                             .dgate = c->grad[1],
                                             .dup = c->grad[2],
                                             .ddown = c->grad[3]};
    assert_int_equal(learnref_experts_backward(&a, &g), ERR_OK);
    learnref_combine(c->grad[0], y, ones, slots);
}

static void test_experts_have_the_gradients_of_differences(void **state)
{
    (void)state;
    struct check c = begin(T, D);
    c.forward = experts_forward;
    c.backward = experts_backward;
    add_input(&c, T, D);
    add_input(&c, EXPERTS * F, D);
    add_input(&c, EXPERTS * F, D);
    add_input(&c, EXPERTS * D, F);
    add_input(&c, T, 2);
    verify(&c);
}

/* ---- types ---- */

static void test_mats_hold_numbers_as_their_types_round_them(void **state)
{
    (void)state;
    static const struct {
        double in, f32, bf16;
    } cases[] = {{1, 1, 1}, {1.0 / 3, 1.0f / 3, 0.333984375}, {1.00390625, 1.00390625, 1},
                 {1.01171875, 1.01171875, 1.015625}, {-2.5, -2.5, -2.5}, {1e39, INFINITY, INFINITY},
                 {3.3999999e38, 3.3999999e38f, INFINITY}};
    double d;
    float f;
    uint16_t h;
    struct mat a = mat_of(&d, MAT_F64, 1, 1), b = mat_of(&f, MAT_F32, 1, 1), e = mat_of(&h, MAT_BF16, 1, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mat_set(&a, 0, 0, cases[i].in);
        mat_set(&b, 0, 0, cases[i].in);
        mat_set(&e, 0, 0, cases[i].in);
        assert_true(mat_get(&a, 0, 0) == cases[i].in);
        assert_true(mat_get(&b, 0, 0) == cases[i].f32);
        assert_true(mat_get(&e, 0, 0) == cases[i].bf16);
    }
    mat_set(&e, 0, 0, NAN);
    assert_true(isnan(mat_get(&e, 0, 0)));
    double block[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    struct mat m = mat_of(block, MAT_F64, 3, 4), part = mat_cols(mat_rows(m, 1, 2), 1, 2);
    assert_true(mat_get(&part, 0, 0) == 5 && mat_get(&part, 1, 1) == 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_have_the_gradients_of_differences),
        cmocka_unit_test(test_rmsnorm_has_the_gradients_of_differences),
        cmocka_unit_test(test_layernorm_gelu_and_bias_have_the_gradients_of_differences),
        cmocka_unit_test(test_swiglu_has_the_gradients_of_differences),
        cmocka_unit_test(test_rope_has_the_gradients_of_differences),
        cmocka_unit_test(test_attention_has_the_gradients_of_differences),
        cmocka_unit_test(test_attention_does_not_look_past_a_document),
        cmocka_unit_test(test_cross_entropy_has_the_gradients_of_differences),
        cmocka_unit_test(test_rows_that_move_have_the_gradients_of_differences),
        cmocka_unit_test(test_experts_have_the_gradients_of_differences),
        cmocka_unit_test(test_mats_hold_numbers_as_their_types_round_them),
    };
    rng_seed(&random_state, 17);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The row-wise operations of learning at every level against the reference in float64: widths that end within
 * vectors, float32 and bfloat16 in any mix, gaps between rows (which stay as they are), no rows at all, outputs
 * that may be inputs; threads change no bit. */
#include "tensor/levels.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tensor/learnops.h"

enum { MATS = 7, K = 3, HEADS = 3, E = 33, SEQUENCES = 2, T_MOST = 400, GAP = 0x5a };

static const size_t widths[] = {1, 7, 16, 33, 256, 300};
static struct rng random_state;

/* What an operation works on; `index` and so on are the same for all copies of a set. */
struct set {
    struct mat m[MATS];
    size_t n, t;
    double losses[T_MOST];
};
static uint32_t index_of[T_MOST * K];
static int32_t targets[T_MOST], positions[T_MOST];

static size_t below(size_t n)
{
    return (size_t)(rng_u64(&random_state) % n);
}

static void fill(struct mat m, double scale)
{
    for (size_t i = 0; i < m.rows; i++) {
        for (size_t k = 0; k < m.cols; k++) {
            mat_set(&m, i, k, scale * (double)rng_normal(&random_state));
        }
    }
}

static struct mat fresh(struct set *s, size_t rows, size_t cols)
{
    size_t stride = cols + below(3);
    enum mat_type type = below(2) ? MAT_F32 : MAT_BF16;
    struct mat m = mat_of(malloc(rows * stride * sizeof(double) + 1), type, rows, cols);
    assert_non_null(m.data);
    memset(m.data, GAP, rows * stride * sizeof(double));
    m.stride = stride;
    fill(m, 1);
    s->m[s->n++] = m;
    return m;
}

static struct set twin(const struct set *s, bool exact)
{
    struct set out = *s;
    for (size_t i = 0; i < s->n; i++) {
        const struct mat *from = &s->m[i];
        size_t size = from->rows * from->stride * sizeof(double);
        out.m[i].data = malloc(size + 1);
        assert_non_null(out.m[i].data);
        memcpy(out.m[i].data, from->data, size);
        out.m[i].type = exact ? MAT_F64 : from->type;
        for (size_t r = 0; exact && r < from->rows; r++) {
            for (size_t c = 0; c < from->cols; c++) {
                mat_set(&out.m[i], r, c, mat_get(from, r, c));
            }
        }
    }
    return out;
}

static void drop(struct set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->m[i].data);
    }
}

/* Against the judge; every mat, outputs or not. */
static void compare(const char *name, const struct set *got, const struct set *want, double tolerance)
{
    for (size_t i = 0; i < got->n; i++) {
        for (size_t r = 0; r < got->m[i].rows; r++) {
            for (size_t c = 0; c < got->m[i].cols; c++) {
                double a = mat_get(&got->m[i], r, c), b = mat_get(&want->m[i], r, c);
                double most = tolerance * (1 + fabs(b)) + (got->m[i].type == MAT_BF16 ? fabs(b) / 256 : 0);
                if (!(fabs(a - b) <= most) && !(isnan(a) && isnan(b))) {
                    fail_msg("%s: mat %zu [%zu, %zu] of [%zu, %zu]: %.9g instead of %.9g", name, i, r, c,
                             got->m[i].rows, got->m[i].cols, a, b);
                }
            }
        }
    }
    for (size_t t = 0; t < got->t; t++) {
        assert_true(fabs(got->losses[t] - want->losses[t]) <= tolerance * (1 + fabs(want->losses[t])));
    }
}

static void assert_same_bits(const char *name, const struct set *a, const struct set *b)
{
    for (size_t i = 0; i < a->n; i++) {
        if (memcmp(a->m[i].data, b->m[i].data, a->m[i].rows * a->m[i].stride * sizeof(double)) != 0) {
            fail_msg("%s: mat %zu of %zu columns depends on threads", name, i, a->m[i].cols);
        }
    }
    assert_memory_equal(a->losses, b->losses, sizeof a->losses);
}

static void assert_gaps_untouched(const struct set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct mat *m = &s->m[i];
        size_t bytes = mat_type_bytes(m->type);
        const unsigned char *p = m->data;
        for (size_t r = 0; r < m->rows; r++) {
            for (size_t k = (r * m->stride + m->cols) * bytes; k < (r + 1) * m->stride * bytes; k++) {
                assert_int_equal(p[k], GAP);
            }
        }
    }
}

struct op {
    const char *name;
    void (*make)(struct set *s, size_t t, size_t d);
    void (*run)(struct compute *c, struct set *s);
    double tolerance;
};

static void check_once(const struct op *op, struct compute *one, struct compute *three, size_t t, size_t d)
{
    struct set s = {.t = t};
    op->make(&s, t, d);
    struct set judge = twin(&s, true), other = twin(&s, false);
    op->run(one, &judge);
    op->run(one, &s);
    op->run(three, &other);
    compare(op->name, &s, &judge, op->tolerance);
    assert_same_bits(op->name, &s, &other);
    assert_gaps_untouched(&s);
    drop(&s);
    drop(&judge);
    drop(&other);
}

/* AMX has the rows of AVX-512. */
static enum cpuinfo_level last_level(void)
{
    return cpuinfo_best() < CPUINFO_AMX ? cpuinfo_best() : CPUINFO_AVX512;
}

static void check(const struct op *op)
{
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= last_level(); level++) {
        struct compute *one = levels_compute(level, 1), *three = levels_compute(level, 3);
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            for (size_t t = 0; t < 40; t = 2 * t + 2) { /* types by chance */
                check_once(op, one, three, t, widths[i]);
            }
        }
        check_once(op, one, three, T_MOST, 300); /* enough to be shared among threads */
        compute_free(one);
        compute_free(three);
    }
}

/* ---- norm, rotation, swiglu, elements ---- */

static void rmsnorm_make(struct set *s, size_t t, size_t d)
{
    fresh(s, t, d);
    fresh(s, t, d);
    fresh(s, 1, d);
}

static void rmsnorm_run(struct compute *c, struct set *s)
{
    learnops_rmsnorm(c, s->m[0], s->m[1], s->m[2], 1e-3);
}

static void rmsnorm_back_make(struct set *s, size_t t, size_t d)
{
    fresh(s, t, d);
    fresh(s, 1, d);
    fresh(s, t, d);
    fresh(s, t, d);
    fresh(s, 1, d);
}

static void rmsnorm_back_run(struct compute *c, struct set *s)
{
    assert_int_equal(learnops_rmsnorm_backward(c, s->m[0], s->m[1], s->m[2], s->m[3], s->m[4], 1e-3), ERR_OK);
}

/* Nor does it touch dweight. */
static void weightless_run(struct compute *c, struct set *s)
{
    struct mat weight = s->m[2];
    weight.data = NULL;
    learnops_rmsnorm(c, s->m[0], s->m[1], weight, 1e-3);
}

static void weightless_back_run(struct compute *c, struct set *s)
{
    struct mat weight = s->m[4], none = s->m[1];
    weight.data = none.data = NULL;
    assert_int_equal(learnops_rmsnorm_backward(c, s->m[0], none, s->m[2], s->m[3], weight, 1e-3), ERR_OK);
}

static void test_norms(void **state)
{
    (void)state;
    check(&(struct op){"rmsnorm without weight", rmsnorm_make, weightless_run, 2e-6});
    check(&(struct op){"its backward", rmsnorm_back_make, weightless_back_run, 1e-5});
    check(&(struct op){"rmsnorm", rmsnorm_make, rmsnorm_run, 2e-6});
    check(&(struct op){"rmsnorm backward", rmsnorm_back_make, rmsnorm_back_run, 1e-5});
}

static enum rope_pairs pairs;
static bool back;
static float freqs[150];

static void rope_make(struct set *s, size_t t, size_t d)
{
    fresh(s, t, HEADS * (d + 2));
    for (size_t i = 0; i < t; i++) {
        positions[i] = (int32_t)below(5000);
    }
}

static void rope_run(struct compute *c, struct set *s)
{
    size_t head_dim = s->m[0].cols / HEADS;
    const struct learnops_rope a = {.x = s->m[0], .n_heads = HEADS, .head_dim = head_dim, .first = 1,
                                    .dim = (head_dim - 2) / 2 * 2, .positions = positions, .freqs = freqs,
                                    .pairs = pairs, .back = back};
    learnops_rope(c, &a);
}

static void test_rotations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof freqs / sizeof *freqs; i++) {
        freqs[i] = (float)pow(10000, -(double)i / 64);
    }
    for (int i = 0; i < 4; i++) {
        pairs = i % 2 ? ROPE_HALF : ROPE_INTERLEAVED;
        back = i / 2;
        check(&(struct op){"rope", rope_make, rope_run, 2e-6});
    }
}

static void three_make(struct set *s, size_t t, size_t d)
{
    for (int i = 0; i < 3; i++) {
        fill(fresh(s, t, d), i == 1 ? 9 : 1);
    }
}

static void swiglu_run(struct compute *c, struct set *s)
{
    learnops_swiglu(c, s->m[0], s->m[1], s->m[2]);
}

static void five_make(struct set *s, size_t t, size_t d)
{
    for (int i = 0; i < 5; i++) {
        fill(fresh(s, t, d), i == 3 ? 9 : 1);
    }
}

static void swiglu_back_run(struct compute *c, struct set *s)
{
    learnops_swiglu_backward(c, s->m[0], s->m[1], s->m[2], s->m[3], s->m[4]);
}

static void swiglu_back_in_place_run(struct compute *c, struct set *s)
{
    learnops_swiglu_backward(c, s->m[1], s->m[2], s->m[0], s->m[1], s->m[2]);
}

static void test_swiglu(void **state)
{
    (void)state;
    check(&(struct op){"swiglu", three_make, swiglu_run, 4e-6});
    check(&(struct op){"swiglu backward", five_make, swiglu_back_run, 1e-5});
    check(&(struct op){"swiglu backward in place", three_make, swiglu_back_in_place_run, 1e-5});
}

static void two_make(struct set *s, size_t t, size_t d)
{
    fresh(s, t, d);
    fresh(s, t, d);
}

static void add_run(struct compute *c, struct set *s)
{
    learnops_add(c, s->m[0], s->m[1]);
}

static void copy_run(struct compute *c, struct set *s)
{
    learnops_copy(c, s->m[0], s->m[1]);
}

static void zero_run(struct compute *c, struct set *s)
{
    learnops_zero(c, s->m[0]);
}

static void test_sums_copies_zeros(void **state)
{
    (void)state;
    check(&(struct op){"add", two_make, add_run, 1e-6});
    check(&(struct op){"copy", two_make, copy_run, 0});
    check(&(struct op){"zero", two_make, zero_run, 0});
}

static void mix_make(struct set *s, size_t t, size_t d)
{
    for (int i = 0; i < 5; i++) {
        fresh(s, t, d);
    }
    fresh(s, 1, 2);
}

static void mix_run(struct compute *c, struct set *s)
{
    learnops_mix(c, s->m[0], s->m[1], s->m[2], s->m[5]);
    learnops_mix(c, s->m[3], s->m[3], s->m[4], s->m[5]);
}

static void mix_back_make(struct set *s, size_t t, size_t d)
{
    mix_make(s, t, d);
    fresh(s, 1, 2);
}

static void mix_back_run(struct compute *c, struct set *s)
{
    const struct learnops_mix m = {.da = s->m[0], .db = s->m[1], .dweight = s->m[6], .dy = s->m[2],
                                   .a = s->m[3], .b = s->m[4], .weight = s->m[5]};
    assert_int_equal(learnops_mix_backward(c, &m), ERR_OK);
}

static void mix_back_in_place_run(struct compute *c, struct set *s)
{
    const struct learnops_mix m = {.da = s->m[2], .db = s->m[1], .dweight = s->m[6], .dy = s->m[2],
                                   .a = s->m[3], .b = s->m[4], .weight = s->m[5]};
    assert_int_equal(learnops_mix_backward(c, &m), ERR_OK);
}

static void test_sums_by_two_weights(void **state)
{
    (void)state;
    check(&(struct op){"mix", mix_make, mix_run, 1e-6});
    check(&(struct op){"mix backward", mix_back_make, mix_back_run, 1e-4});
    check(&(struct op){"mix backward in place", mix_back_make, mix_back_in_place_run, 1e-4});
}

/* ---- GPT-2's class ---- */

static void layernorm_make(struct set *s, size_t t, size_t d)
{
    rmsnorm_make(s, t, d);
    fresh(s, 1, d);
}

static void layernorm_run(struct compute *c, struct set *s)
{
    learnops_layernorm(c, s->m[0], s->m[1], s->m[2], s->m[3], 1e-3);
}

static void layernorm_back_make(struct set *s, size_t t, size_t d)
{
    rmsnorm_back_make(s, t, d);
    fresh(s, 1, d);
}

static void layernorm_back_run(struct compute *c, struct set *s)
{
    const struct learnops_layernorm a = {s->m[0], s->m[1], s->m[5], s->m[2], s->m[3], s->m[4]};
    assert_int_equal(learnops_layernorm_backward(c, &a, 1e-3), ERR_OK);
}

static void gelu_run(struct compute *c, struct set *s)
{
    learnops_gelu(c, s->m[0], s->m[1]);
}

static void gelu_back_run(struct compute *c, struct set *s)
{
    learnops_gelu_backward(c, s->m[0], s->m[2], s->m[1]);
}

static void gelu_back_in_place_run(struct compute *c, struct set *s)
{
    learnops_gelu_backward(c, s->m[1], s->m[2], s->m[1]);
}

static void bias_make(struct set *s, size_t t, size_t d)
{
    fresh(s, t, d);
    fresh(s, 1, d);
}

static void bias_run(struct compute *c, struct set *s)
{
    learnops_bias(c, s->m[0], s->m[1]);
}

static void bias_back_run(struct compute *c, struct set *s)
{
    assert_int_equal(learnops_bias_backward(c, s->m[1], s->m[0]), ERR_OK);
}

static void test_layer_norms_gelu_and_biases(void **state)
{
    (void)state;
    check(&(struct op){"layernorm", layernorm_make, layernorm_run, 4e-6});
    check(&(struct op){"layernorm backward", layernorm_back_make, layernorm_back_run, 2e-5});
    check(&(struct op){"gelu", three_make, gelu_run, 4e-6});
    check(&(struct op){"gelu backward", three_make, gelu_back_run, 1e-5});
    check(&(struct op){"gelu backward in place", three_make, gelu_back_in_place_run, 1e-5});
    check(&(struct op){"bias", bias_make, bias_run, 1e-6});
    check(&(struct op){"bias backward", bias_make, bias_back_run, 1e-5});
}

/* ---- rows that move ---- */

enum { TABLE = 19 };

static void gather_make(struct set *s, size_t t, size_t d)
{
    fresh(s, t, d);
    fresh(s, TABLE, d);
    for (size_t i = 0; i < t; i++) {
        index_of[i] = (uint32_t)below(TABLE);
    }
}

static void embed_run(struct compute *c, struct set *s)
{
    learnops_embed(c, s->m[0], s->m[1], (const int32_t *)index_of);
}

static void scatter_make(struct set *s, size_t t, size_t d)
{
    gather_make(s, t, d);
    while (s->m[1].type == MAT_BF16) { /* which would round after every row, the judge not once */
        drop(s);
        s->n = 0;
        gather_make(s, t, d);
    }
}

static void embed_back_run(struct compute *c, struct set *s)
{
    learnops_embed_backward(c, s->m[1], s->m[0], (const int32_t *)index_of);
}

static void test_rows_of_tables(void **state)
{
    (void)state;
    check(&(struct op){"embed", gather_make, embed_run, 0});
    check(&(struct op){"embed backward", scatter_make, embed_back_run, 1e-5});
}

static size_t n_k; /* experts per token */

static void shuffled_slots(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = below(i + 1);
        index_of[i] = index_of[k];
        index_of[k] = (uint32_t)i;
    }
}

static void combine_make(struct set *s, size_t t, size_t d)
{
    t /= n_k > K ? n_k : 1; /* index_of has room */
    do { /* more rows than are added in one go round y on the way, the judge does not */
        drop(s);
        s->n = 0;
        fresh(s, t, d);
    } while (n_k > K && s->m[0].type == MAT_BF16);
    fresh(s, t * n_k, d);
    fresh(s, t, n_k);
    shuffled_slots(t * n_k);
}

static void combine_run(struct compute *c, struct set *s)
{
    learnops_combine(c, s->m[0], s->m[1], s->m[2], index_of);
}

static void combine_plain_run(struct compute *c, struct set *s)
{
    struct mat ones = {.type = s->m[2].type, .rows = s->m[2].rows, .cols = s->m[2].cols};
    learnops_combine(c, s->m[0], s->m[1], ones, index_of);
}

static void test_experts_results(void **state)
{
    (void)state;
    for (n_k = 1; n_k <= 11; n_k += n_k == 1 ? K - 1 : 8) { /* 11: added in two goes */
        check(&(struct op){"combine", combine_make, combine_run, 1e-5});
        check(&(struct op){"combine with weights of 1", combine_make, combine_plain_run, 1e-5});
    }
}

/* ---- the loss ---- */

static void loss_make(struct set *s, size_t t, size_t d)
{
    fill(fresh(s, t, d), 4);
    fresh(s, t, d);
    for (size_t i = 0; i < t; i++) {
        targets[i] = (int32_t)below(d + 1) - 1;
    }
}

static void loss_run(struct compute *c, struct set *s)
{
    learnops_cross_entropy(c, s->m[1], s->m[0], targets, s->losses, 1e-2, 0.25);
    learnops_zero(c, s->m[0]); /* used up */
}

static void loss_in_place_run(struct compute *c, struct set *s)
{
    learnops_cross_entropy(c, s->m[0], s->m[0], targets, s->losses, 1e-2, 0.25);
}

static void loss_alone_run(struct compute *c, struct set *s)
{
    learnops_cross_entropy(c, (struct mat){.type = MAT_F32}, s->m[0], targets, s->losses, 1e-2, 0.25);
}

static void test_the_loss_of_next_tokens(void **state)
{
    (void)state;
    check(&(struct op){"cross entropy", loss_make, loss_run, 2e-6});
    check(&(struct op){"cross entropy in place", loss_make, loss_in_place_run, 2e-6});
    check(&(struct op){"cross entropy alone", loss_make, loss_alone_run, 2e-6});
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= last_level(); level++) {
        struct compute *one = levels_compute(level, 1), *three = levels_compute(level, 3);
        const struct op large = {"cross entropy of many", loss_make, loss_run, 2e-6};
        check_once(&large, one, three, 5, 33001);
        compute_free(one);
        compute_free(three);
    }
}

static void test_logits_without_bounds(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
        enum { N = 40 };
        struct compute *c = levels_compute(level, 1);
        float logits[4 * N], d[4 * N];
        double losses[4];
        for (int i = 0; i < 4 * N; i++) {
            logits[i] = i % 5 ? -INFINITY : (float)i;
        }
        logits[N + 5] = 30000;
        logits[2 * N + 7] = NAN;
        logits[3 * N + 2] = INFINITY;
        learnops_cross_entropy(c, mat_of(d, MAT_F32, 4, N), mat_of(logits, MAT_F32, 4, N),
                               (const int32_t[]){0, 5, 10, 2}, losses, 0, 1);
        assert_true(fabs(losses[0] - 35.0067607) < 1e-5 && losses[1] == 0); /* -log of exp(0) / sum exp(5 i) */
        assert_true(d[1] == 0 && d[N + 5] == 0 && d[N] == 0);
        assert_true(isnan(losses[2]) && isnan(losses[3]));
        compute_free(c);
    }
}

/* ---- the router ---- */

static bool softmax, normalise;

static void router_make(struct set *s, size_t t, size_t d)
{
    size_t e = d < K ? K : d;
    fresh(s, t, e);         /* logits, then their gradient */
    fresh(s, t, e);         /* scores */
    fresh(s, t, K);         /* weights, then their gradient */
    fresh(s, SEQUENCES, e); /* load */
    for (size_t i = 0; i < t; i++) {
        for (size_t k = 0, at = below(e); k < K; k++) {
            index_of[i * K + k] = (uint32_t)((at + k * (e / K)) % e);
        }
        for (size_t k = 0; k < e; k++) {
            mat_set(&s->m[1], i, k, 0.1 + 0.8 * rng_double(&random_state));
        }
    }
}

static struct learnops_router router_of(struct set *s)
{
    return (struct learnops_router){.scores = s->m[1], .weights = s->m[2], .load = s->m[3], .chosen = index_of,
                                    .softmax = softmax, .normalise = normalise, .scale = 1.7};
}

static void scores_run(struct compute *c, struct set *s)
{
    const struct learnops_router a = router_of(s);
    learnops_router_scores(c, &a, s->m[0]);
}

static void scores_in_place_run(struct compute *c, struct set *s)
{
    struct learnops_router a = router_of(s);
    a.scores = s->m[0];
    learnops_router_scores(c, &a, s->m[0]);
}

static void weigh_run(struct compute *c, struct set *s)
{
    const struct learnops_router a = router_of(s);
    learnops_router_weigh(c, &a);
}

static void balance_run(struct compute *c, struct set *s)
{
    const struct learnops_router a = router_of(s);
    learnops_router_balance(c, &a, s->losses);
}

static void router_back_run(struct compute *c, struct set *s)
{
    const struct learnops_router a = router_of(s);
    learnops_router_backward(c, &a, s->m[2], 0.3, s->m[0]);
}

/* The softmax's gradient counts on scores that add up to 1. */
static void router_softmax_make(struct set *s, size_t t, size_t d)
{
    router_make(s, t, d);
    for (size_t i = 0; i < s->m[1].rows; i++) {
        double sum = 0;
        for (size_t k = 0; k < s->m[1].cols; k++) {
            sum += mat_get(&s->m[1], i, k);
        }
        for (size_t k = 0; k < s->m[1].cols; k++) {
            mat_set(&s->m[1], i, k, mat_get(&s->m[1], i, k) / sum);
        }
    }
}

static void test_routers(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        softmax = i % 2;
        normalise = i / 2;
        check(&(struct op){"scores", router_make, scores_run, 1e-6});
        check(&(struct op){"scores in place", router_make, scores_in_place_run, 1e-6});
        check(&(struct op){"weights", router_make, weigh_run, 1e-6});
        check(&(struct op){"balance", router_make, balance_run, 1e-6});
        check(&(struct op){"router backward", softmax ? router_softmax_make : router_make, router_back_run,
                           1e-5});
    }
}

/* ---- outputs that do not fit into caches ---- */

enum { LARGE_ROWS = 2100, LARGE_COLS = 1024 }; /* above 4 MB in both types */

/* A mat of a set without a gap, at an aligned address, or with one. */
static void large(struct set *s, enum mat_type type, size_t rows, size_t gap)
{
    size_t i = s->n++, stride = LARGE_COLS + gap;
    uint64_t seed = i;
    s->m[i] = mat_of(aligned_alloc(64, (rows * stride * mat_type_bytes(type) + 63) / 64 * 64), type, rows, LARGE_COLS);
    assert_non_null(s->m[i].data);
    s->m[i].stride = stride;
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < LARGE_COLS; c++) {
            mat_set(&s->m[i], r, c, (double)levels_random(&seed, 2));
        }
    }
}

/* Past the caches they are written what they are otherwise: the same with rows at odd addresses. */
static void check_large(enum cpuinfo_level level, enum mat_type type, void (*run)(struct compute *c, struct set *s))
{
    struct compute *c = levels_compute(level, 2);
    struct set sets[2] = {{.t = 0}};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 5; k++) {
            large(&sets[i], type, k == 2 && run == rmsnorm_run ? 1 : LARGE_ROWS, i);
        }
        run(c, &sets[i]);
    }
    for (size_t k = 0; k < 5; k++) {
        for (size_t r = 0; r < sets[0].m[k].rows; r++) {
            size_t bytes = mat_type_bytes(type);
            assert_memory_equal((char *)sets[0].m[k].data + r * sets[0].m[k].stride * bytes,
                                (char *)sets[1].m[k].data + r * sets[1].m[k].stride * bytes, LARGE_COLS * bytes);
        }
    }
    drop(&sets[0]);
    drop(&sets[1]);
    compute_free(c);
}

static uint32_t large_index[LARGE_ROWS];
static int32_t large_targets[LARGE_ROWS];
static double large_losses[LARGE_ROWS];

static void large_embed_run(struct compute *c, struct set *s)
{
    learnops_embed(c, s->m[0], s->m[1], (const int32_t *)large_index);
}

static void large_loss_run(struct compute *c, struct set *s)
{
    learnops_cross_entropy(c, s->m[1], s->m[0], large_targets, large_losses, 1e-2, 0.25);
}

static void test_outputs_that_go_past_the_caches(void **state)
{
    (void)state;
    static void (*const runs[])(struct compute *, struct set *) = {
        rmsnorm_run, swiglu_run, copy_run, zero_run, large_embed_run, large_loss_run};
    for (size_t i = 0; i < LARGE_ROWS; i++) {
        large_index[i] = (uint32_t)(i * 1013 % LARGE_ROWS); /* each once */
        large_targets[i] = i % 9 ? (int32_t)(i % LARGE_COLS) : -1;
    }
    for (size_t i = 0; i < 2 * sizeof runs / sizeof *runs; i++) {
        enum mat_type type = i % 2 ? MAT_F32 : MAT_BF16;
        check_large(last_level(), type, runs[i / 2]);
        if (last_level() > CPUINFO_AVX2 && i / 2 == 2) { /* copies have all there is of the level */
            check_large(CPUINFO_AVX2, type, runs[i / 2]);
        }
    }
}

/* ---- memory ---- */

static void test_no_memory_for_partial_sums_is_said(void **state)
{
    (void)state;
    if (cpuinfo_best() == CPUINFO_REF) {
        skip();
    }
    struct compute *c = levels_compute(cpuinfo_best(), 1);
    float x[6] = {1, 2, 3, 4, 5, 6}, dx[6] = {0}, db[6] = {0}, w[3] = {1, 1, 1}, dw[3] = {0};
    struct mat mx = mat_of(x, MAT_F32, 2, 3), mdx = mat_of(dx, MAT_F32, 2, 3);
    struct mat mw = mat_of(w, MAT_F32, 1, 3), mdw = mat_of(dw, MAT_F32, 1, 3);
    mem_fault(1, 0);
    assert_int_equal(learnops_rmsnorm_backward(c, mdx, mdw, mx, mx, mw, 1e-5), ERR_NOMEM);
    mem_fault(0, 0);
    assert_int_equal(learnops_rmsnorm_backward(c, mdx, mdw, mx, mx, mw, 1e-5), ERR_OK);
    compute_free(c);
    c = levels_compute(cpuinfo_best(), 1);
    const struct learnops_mix mix = {.da = mdx, .db = mat_of(db, MAT_F32, 2, 3), .dweight = mdw, .dy = mx, .a = mx,
                                     .b = mx, .weight = mw};
    mem_fault(1, 0);
    assert_int_equal(learnops_mix_backward(c, &mix), ERR_NOMEM);
    mem_fault(0, 0);
    assert_int_equal(learnops_mix_backward(c, &mix), ERR_OK);
    compute_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_rotations),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_layer_norms_gelu_and_biases),
        cmocka_unit_test(test_sums_copies_zeros),
        cmocka_unit_test(test_sums_by_two_weights),
        cmocka_unit_test(test_rows_of_tables),
        cmocka_unit_test(test_experts_results),
        cmocka_unit_test(test_the_loss_of_next_tokens),
        cmocka_unit_test(test_logits_without_bounds),
        cmocka_unit_test(test_routers),
        cmocka_unit_test(test_outputs_that_go_past_the_caches),
        cmocka_unit_test(test_no_memory_for_partial_sums_is_said),
    };
    rng_seed(&random_state, 29);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

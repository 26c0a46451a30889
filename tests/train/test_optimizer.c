/* Steps equal numpy's in exact mode and come near them in the fast one; each expert is by itself; clipping, decay,
 * bad gradients and bad options; threads and checkpoints change no bit. */
#include "learnfixture.h"

#include "base/json.h"
#include "fault/faultsweep.h"
#include "train/ema.h"
#include "train/optimizer.h"

#define GOLDEN "tests/golden/optimizer/steps.json"

static struct optimizer_options plain_options(bool muon)
{
    struct optimizer_options o = {.muon_momentum = 0.95, .muon_nesterov = true, .muon_steps = 5};
    for (int g = 0; g < OPTIMIZER_GROUPS; g++) {
        o.rules[g] = (struct optimizer_rule){.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8};
    }
    o.rules[OPTIMIZER_MATRICES].muon = muon;
    return o;
}

static struct optimizer *make(struct learnparams *p, const struct optimizer_options *o, struct compute *c)
{
    struct errinfo info = {0};
    struct optimizer *out;
    learnfixture_must(optimizer_new(p, o, c, &out, &info), &info);
    return out;
}

static struct optimizer_report step(struct optimizer *o, double lr_scale)
{
    struct errinfo info = {0};
    struct optimizer_report r;
    learnfixture_must(optimizer_step(o, lr_scale, &r, &info), &info);
    return r;
}

/* ---- Golden values ---- */

static double number(const json_t *of, const char *key)
{
    const json_t *v = json_object_get(of, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static struct optimizer_options golden_options(const json_t *run)
{
    static const char *const groups[] = {"matrices", "embeddings", "head", "routers", "vectors"};
    struct optimizer_options o = {.muon_momentum = number(run, "muon_momentum"),
                                  .muon_nesterov = json_is_true(json_object_get(run, "muon_nesterov")),
                                  .muon_steps = (int)number(run, "muon_steps"),
                                  .clip = number(run, "clip")};
    for (int g = 0; g < OPTIMIZER_GROUPS; g++) {
        const json_t *r = json_object_get(json_object_get(run, "rules"), groups[g]);
        o.rules[g] = (struct optimizer_rule){.muon = json_is_true(json_object_get(r, "muon")),
                                             .lr = number(r, "lr"),
                                             .weight_decay = number(r, "weight_decay"),
                                             .beta1 = number(r, "beta1"),
                                             .beta2 = number(r, "beta2"),
                                             .eps = number(r, "eps")};
    }
    return o;
}

static void near(double got, double want, double bound, const char *what)
{
    if (!(fabs(got - want) <= bound)) {
        fail_msg("%s: %.17g instead of %.17g", what, got, want);
    }
}

/* How far the values are from the golden ones, at most, and as a share of all changes (root mean squares). */
struct distance {
    double most, share;
};

static struct distance golden_distance(const struct learnparams *p, const struct learnparams *start, const json_t *run)
{
    const json_t *values = json_object_get(run, "values");
    double most = 0, error = 0, change = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct learnparam *q = &p->all[i];
        const json_t *want = json_object_get(values, q->name);
        assert_int_equal(json_array_size(want), q->value.rows * q->value.cols);
        for (size_t k = 0; k < json_array_size(want); k++) {
            double w = json_number_value(json_array_get(want, k));
            double d = mat_get(&q->value, k / q->value.cols, k % q->value.cols) - w;
            double moved = w - mat_get(&start->all[i].value, k / q->value.cols, k % q->value.cols);
            most = fabs(d) > most ? fabs(d) : most;
            error += d * d;
            change += moved * moved;
        }
    }
    return (struct distance){most, sqrt(error / change)};
}

static struct distance golden_run(const json_t *run, bool exact, enum cpuinfo_level level, double bound)
{
    struct compute *c = learnfixture_compute(level, 2);
    uint64_t seed = (uint64_t)number(run, "seed"), again = seed;
    struct learnparams *p = learnfixture_params(1, exact, &seed), *start = learnfixture_params(1, exact, &again);
    struct optimizer_options o = golden_options(run);
    struct optimizer *optimizer = make(p, &o, c);
    size_t n;
    const json_t *scales = json_object_get(run, "lr_scales");
    for (n = 0; n < json_array_size(scales); n++) {
        learnfixture_gradients(p, &seed);
        struct optimizer_report r = step(optimizer, json_number_value(json_array_get(scales, n)));
        const json_t *report = json_array_get(json_object_get(run, "reports"), n);
        assert_true(r.finite);
        near(r.grad_norm, number(report, "grad_norm"), bound, "norm of gradients");
        near(r.clip_factor, number(report, "clip_factor"), bound, "clip factor");
        for (int g = 0; g < OPTIMIZER_GROUPS; g++) {
            near(r.update_rms[g], json_number_value(json_array_get(json_object_get(report, "update_rms"), (size_t)g)),
                 g == OPTIMIZER_MATRICES && !exact ? 0.01 : bound, "size of updates");
        }
    }
    assert_int_equal(n, 3);
    assert_int_equal(optimizer_steps(optimizer), 3);
    learnfixture_check_work(p);
    struct distance d = golden_distance(p, start, run);
    optimizer_free(optimizer);
    learnparams_free(p);
    learnparams_free(start);
    compute_free(c);
    return d;
}

static void test_steps_are_numpys(void **state)
{
    (void)state;
    struct errinfo info = {0};
    json_t *all;
    learnfixture_must(json_parse_file(GOLDEN, 1 << 20, &all, &info), &info);
    const json_t *runs = json_object_get(all, "cases");
    assert_int_equal(json_array_size(runs), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *run = json_array_get(runs, i);
        const char *name = json_string_value(json_object_get(run, "name"));
        struct distance exact = golden_run(run, true, CPUINFO_REF, 1e-11);
        if (exact.most > 1e-11) {
            fail_msg("%s, exact: %g off", name, exact.most);
        }
        for (enum cpuinfo_level level = CPUINFO_REF; level <= cpuinfo_best(); level++) {
            bool muon = golden_options(run).rules[OPTIMIZER_MATRICES].muon;
            struct distance fast = golden_run(run, false, level, 1e-6);
            if (fast.share > (muon ? 0.01 : 1e-5)) { /* bfloat16 products; float32 */
                fail_msg("%s, %s: %g of the change off", name, cpuinfo_level_name(level), fast.share);
            }
        }
    }
    json_decref(all);
}

/* ---- Properties ---- */

/* A pair of models with equal values and gradients. */
struct pair {
    struct compute *c;
    struct learnparams *a, *b;
    struct optimizer *of_a, *of_b;
};

static struct pair pair_make(const struct optimizer_options *a, const struct optimizer_options *b, bool exact)
{
    uint64_t one = 9, two = 9;
    struct pair p = {.c = learnfixture_compute(cpuinfo_best(), 2)};
    p.a = learnfixture_params(1, exact, &one);
    p.b = learnfixture_params(1, exact, &two);
    p.of_a = make(p.a, a, p.c);
    p.of_b = make(p.b, b, p.c);
    learnfixture_gradients(p.a, &one);
    learnfixture_gradients(p.b, &two);
    return p;
}

static void pair_free(struct pair *p)
{
    optimizer_free(p->of_a);
    optimizer_free(p->of_b);
    learnparams_free(p->a);
    learnparams_free(p->b);
    compute_free(p->c);
}

static void test_each_expert_is_made_orthogonal_by_itself(void **state)
{
    (void)state;
    struct optimizer_options o = plain_options(true);
    struct pair p = pair_make(&o, &o, false);
    struct learnparam *a = learnparams_find(p.a, "blk.1.ffn_up_exps.weight"), *b = learnparams_find(p.b, a->name);
    for (size_t k = 0; k < 18; k++) { /* expert 1 other gradients, expert 2 none */
        mat_set(&b->grad, 3 + k / 6, k % 6, -3 * mat_get(&b->grad, 9 + k / 6, k % 6));
        mat_set(&a->grad, 6 + k / 6, k % 6, 0);
        mat_set(&b->grad, 6 + k / 6, k % 6, 0);
    }
    struct learnparam before = *a;
    float was[72];
    memcpy(was, before.value.data, sizeof was);
    step(p.of_a, 1);
    step(p.of_b, 1);
    for (size_t e = 0; e < 4; e++) {
        struct mat x = learnparams_matrix(a, a->value, e), y = learnparams_matrix(b, b->value, e);
        assert_int_equal(learnfixture_same(x, y), e != 1);
        assert_int_equal(memcmp(x.data, was + e * 18, 18 * sizeof *was) == 0, e == 2);
    }
    pair_free(&p);
}

static void test_clipping_is_a_smaller_gradient(void **state)
{
    (void)state;
    for (int muon = 0; muon < 2; muon++) {
        struct optimizer_options free = plain_options(muon), clipped = free;
        clipped.clip = 0.5;
        struct pair p = pair_make(&clipped, &free, true);
        double squares = 0;
        for (size_t i = 0; i < p.b->n; i++) {
            struct learnparam *q = &p.b->all[i];
            for (size_t k = 0; q->kind != LEARNPARAMS_BALANCE && k < q->grad.rows * q->grad.cols; k++) {
                double g = ((double *)q->grad.data)[k];
                squares += g * g;
            }
        }
        for (size_t i = 0; i < p.b->n; i++) {
            for (size_t k = 0; k < p.b->all[i].grad.rows * p.b->all[i].grad.cols; k++) {
                ((double *)p.b->all[i].grad.data)[k] *= 0.5 / sqrt(squares);
            }
        }
        struct optimizer_report r = step(p.of_a, 1), s = step(p.of_b, 1);
        near(r.grad_norm, sqrt(squares), 1e-12, "norm");
        near(r.clip_factor, 0.5 / sqrt(squares), 1e-12, "factor");
        near(s.grad_norm, 0.5, 1e-12, "norm after clipping");
        assert_true(s.clip_factor == 1);
        for (size_t i = 0; i < p.a->n; i++) {
            for (size_t k = 0; k < p.a->all[i].value.rows * p.a->all[i].value.cols; k++) {
                near(((double *)p.a->all[i].value.data)[k], ((double *)p.b->all[i].value.data)[k], 1e-11, "value");
            }
        }
        pair_free(&p);
    }
}

static void test_each_group_decays_by_its_own_rule(void **state)
{
    (void)state;
    struct optimizer_options o = plain_options(true);
    for (int g = 0; g < OPTIMIZER_GROUPS; g++) {
        o.rules[g].lr = 0.01 * (g + 1);
        o.rules[g].weight_decay = g == OPTIMIZER_VECTORS ? 0 : 0.1 * (g + 1);
    }
    struct pair p = pair_make(&o, &o, true);
    bool seen[OPTIMIZER_GROUPS + 1] = {false};
    learnparams_zero_grad(p.a);
    learnfixture_draw(learnparams_find(p.a, "blk.1.exp_probs_b.bias")->grad, &(uint64_t){4}, 1, 0);
    struct optimizer_report r = step(p.of_a, 0.5);
    assert_true(r.finite && r.grad_norm == 0 && r.clip_factor == 1);
    for (size_t i = 0; i < p.a->n; i++) {
        const struct learnparam *q = &p.a->all[i];
        enum optimizer_group g = optimizer_group_of(p.a, q);
        bool still = g == OPTIMIZER_GROUPS || o.rules[g].muon; /* no loss has reached Muon's: they stay */
        double keep = still ? 1 : 1 - o.rules[g].lr * 0.5 * o.rules[g].weight_decay;
        seen[g] = true;
        for (size_t k = 0; k < q->value.rows * q->value.cols; k++) {
            near(((double *)q->value.data)[k], keep * ((double *)p.b->all[i].value.data)[k], 1e-15, q->name);
        }
    }
    for (int g = 0; g <= OPTIMIZER_GROUPS; g++) {
        assert_true(seen[g]);
    }
    pair_free(&p);
}

static void test_a_gradient_that_is_no_number_changes_nothing(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 6; i++) {
        struct optimizer_options o = plain_options(true);
        struct pair p = pair_make(&o, &o, false);
        step(p.of_a, 1);
        step(p.of_b, 1);
        const struct learnparam *q = i % 2 ? &p.a->all[p.a->n - 1] : learnparams_find(p.a, "blk.1.ffn_up_exps.weight");
        mat_set(&q->grad, q->grad.rows - 1, q->grad.cols - 1, (double)bad[i / 2]);
        struct optimizer_report r = step(p.of_a, 1);
        assert_false(r.finite);
        assert_int_equal(optimizer_steps(p.of_a), 1);
        assert_true(learnfixture_equal(p.a, p.b));
        for (size_t k = 0; k < optimizer_n_arrays(p.of_a); k++) {
            assert_true(learnfixture_same(optimizer_array_at(p.of_a, k).mat, optimizer_array_at(p.of_b, k).mat));
        }
        mat_set(&q->grad, q->grad.rows - 1, q->grad.cols - 1, 1e19); /* more than float32 can square */
        assert_false(step(p.of_a, 1).finite);
        assert_true(learnfixture_equal(p.a, p.b));
        pair_free(&p);
    }
}

static void test_clipping_takes_gradients_of_any_size(void **state)
{
    (void)state;
    struct optimizer_options o = plain_options(true);
    o.clip = 1;
    struct pair p = pair_make(&o, &o, false);
    mat_set(&p.a->all[0].grad, 0, 0, 1e38);
    struct optimizer_report r = step(p.of_a, 1);
    assert_true(r.finite && fabs(r.grad_norm - 1e38) < 1e32 && fabs(r.clip_factor - 1e-38) < 1e-44);
    for (size_t i = 0; i < p.a->n; i++) {
        for (size_t k = 0; k < p.a->all[i].value.rows * p.a->all[i].value.cols; k++) {
            assert_true(isfinite(((float *)p.a->all[i].value.data)[k]));
        }
    }
    pair_free(&p);
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    for (enum cpuinfo_level level = CPUINFO_AVX2; level <= cpuinfo_best(); level++) {
        size_t times = level == CPUINFO_AMX ? 24 : 8; /* without AMX products are the reference's */
        struct optimizer_options o = plain_options(true);
        uint64_t seed = 5;
        struct learnparams *first = NULL;
        struct optimizer_report reports[3];
        o.clip = 0.1;
        for (int threads = 1; threads <= 3; threads++) {
            uint64_t s = seed;
            struct compute *c = learnfixture_compute(level, threads);
            struct learnparams *p = learnfixture_params(times, false, &s);
            struct optimizer *optimizer = make(p, &o, c);
            for (int i = 0; i < 2; i++) {
                learnfixture_gradients(p, &s);
                reports[threads - 1] = step(optimizer, 1);
            }
            optimizer_free(optimizer);
            compute_free(c);
            if (!first) {
                first = p;
                continue;
            }
            assert_true(learnfixture_equal(p, first));
            assert_true(reports[threads - 1].grad_norm == reports[0].grad_norm);
            assert_memory_equal(reports[threads - 1].update_rms, reports[0].update_rms, sizeof reports[0].update_rms);
            learnparams_free(p);
        }
        learnparams_free(first);
    }
}

static void test_a_state_that_was_saved_goes_on(void **state)
{
    (void)state;
    for (int muon = 0; muon < 2; muon++) {
        struct optimizer_options o = plain_options(muon);
        struct pair p = pair_make(&o, &o, false);
        size_t bytes = 0, arrays = optimizer_n_arrays(p.of_a);
        step(p.of_a, 1);
        step(p.of_a, 0.7);
        for (size_t i = 0; i < p.a->n; i++) {
            const struct mat *from = &p.a->all[i].value;
            memcpy(p.b->all[i].value.data, from->data, from->rows * from->cols * sizeof(float));
        }
        learnparams_refresh(p.b);
        for (size_t i = 0; i < arrays; i++) {
            struct optimizer_array from = optimizer_array_at(p.of_a, i), to = optimizer_array_at(p.of_b, i);
            size_t size = from.mat.rows * from.mat.cols * sizeof(float);
            assert_string_equal(from.name, to.name);
            assert_true(from.mat.type == MAT_F32 && from.mat.stride == from.mat.cols);
            memcpy(to.mat.data, from.mat.data, size);
            bytes += (size + 63) / 64 * 64;
        }
        assert_int_equal(bytes, optimizer_bytes(p.a, &o));
        optimizer_set_steps(p.of_b, optimizer_steps(p.of_a));
        step(p.of_a, 0.5);
        step(p.of_b, 0.5);
        assert_true(learnfixture_equal(p.a, p.b));
        assert_string_equal(optimizer_array_at(p.of_a, 0).name, "token_embd.weight.m");
        assert_string_equal(optimizer_array_at(p.of_a, 1).name, "token_embd.weight.v");
        assert_string_equal(optimizer_array_at(p.of_a, 4).name, muon ? "blk.0.attn_q.weight.momentum" :
                                                                       "blk.0.attn_q.weight.m");
        assert_string_equal(optimizer_array_at(p.of_a, arrays - 1).name, "output.weight.v");
        pair_free(&p);
    }
}

static void test_options_that_cannot_be_are_named(void **state)
{
    (void)state;
    struct {
        struct optimizer_options o;
        const char *says;
    } cases[13];
    for (size_t i = 0; i < 13; i++) {
        cases[i].o = plain_options(true);
    }
#define BAD(i, field, bad, text) cases[i].o.field = bad, cases[i].says = text
    BAD(0, rules[OPTIMIZER_MATRICES].lr, -1, "matrices.lr is -1");
    BAD(1, rules[OPTIMIZER_ROUTERS].lr, NAN, "routers.lr is ");
    BAD(2, rules[OPTIMIZER_HEAD].weight_decay, 101, "head.weight_decay is 101");
    BAD(3, rules[OPTIMIZER_EMBEDDINGS].beta1, 1, "embeddings.beta1 is 1");
    BAD(4, rules[OPTIMIZER_VECTORS].beta2, -0.1, "vectors.beta2 is -0.1");
    BAD(5, rules[OPTIMIZER_VECTORS].eps, 0, "vectors.eps is 0");
    BAD(6, rules[OPTIMIZER_EMBEDDINGS].muon, true, "embeddings.muon is set");
    BAD(7, muon_momentum, 1, "muon_momentum is 1");
    BAD(8, muon_steps, 0, "muon_steps is 0");
    BAD(9, muon_steps, 21, "muon_steps is 21");
    BAD(10, clip, -1, "clip is -1");
    BAD(11, clip, INFINITY, "clip is inf");
    BAD(12, rules[OPTIMIZER_MATRICES].eps, 2, "matrices.eps is 2");
#undef BAD
    uint64_t seed = 1;
    struct compute *c = learnfixture_compute(CPUINFO_REF, 1);
    struct learnparams *p = learnfixture_params(1, false, &seed);
    struct errinfo info;
    struct optimizer *out = NULL;
    for (size_t i = 0; i < 13; i++) {
        assert_int_equal(optimizer_new(p, &cases[i].o, c, &out, &info), ERR_ARGUMENT);
        if (!strstr(info.message, cases[i].says)) {
            fail_msg("\"%s\" lacks \"%s\"", info.message, cases[i].says);
        }
    }
    struct optimizer_options o = plain_options(true);
    struct optimizer_report r;
    o.rules[OPTIMIZER_MATRICES].beta2 = 7; /* Muon has none */
    struct optimizer *fine = make(p, &o, c);
    assert_int_equal(optimizer_step(fine, NAN, &r, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "factor"));
    optimizer_free(fine);
    learnparams_free(p);
    compute_free(c);
}

/* ---- Memory that is refused ---- */

static err make_and_step(struct errinfo *info)
{
    struct config config = learnfixture_config(1);
    struct optimizer_options o = plain_options(true);
    struct compute *c = NULL;
    struct learnparams *p = NULL;
    struct optimizer *optimizer = NULL;
    struct ema *average = NULL;
    struct optimizer_report r;
    err e = compute_new(cpuinfo_best(), 1, false, &c, info);
    e = e == ERR_OK ? learnparams_new(&config, false, &p, info) : e;
    e = e == ERR_OK ? optimizer_new(p, &o, c, &optimizer, info) : e;
    e = e == ERR_OK ? ema_new(p, 0.9, c, &average, info) : e;
    e = e == ERR_OK ? optimizer_step(optimizer, 1, &r, info) : e;
    ema_free(average);
    optimizer_free(optimizer);
    learnparams_free(p);
    compute_free(c);
    return e;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    const struct faultsweep sweep = {"optimizer and average", make_and_step, 12, 0};
    faultsweep_run(&sweep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_are_numpys),
        cmocka_unit_test(test_each_expert_is_made_orthogonal_by_itself),
        cmocka_unit_test(test_clipping_is_a_smaller_gradient),
        cmocka_unit_test(test_each_group_decays_by_its_own_rule),
        cmocka_unit_test(test_a_gradient_that_is_no_number_changes_nothing),
        cmocka_unit_test(test_clipping_takes_gradients_of_any_size),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_a_state_that_was_saved_goes_on),
        cmocka_unit_test(test_options_that_cannot_be_are_named),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

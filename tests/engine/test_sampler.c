/* Sampler: exact arithmetic of every step, distributions over many draws, and the edges. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/sampler.h"

enum { VOCAB = 50, DRAWS = 20000 };

static struct sampler *make(size_t vocab)
{
    struct sampler *s;
    assert_int_equal(sampler_new(vocab, &s, NULL), ERR_OK);
    return s;
}

static int32_t pick_at(struct sampler *s, const struct sampling *p, const float *logits,
                       size_t position)
{
    static int32_t tokens[DRAWS + 1];
    int32_t id = -1;
    assert_int_equal(sampler_pick(s, p, logits, &(struct sampler_past){tokens, position, 0, NULL}, &id, NULL),
                     ERR_OK);
    return id;
}

/* Shares of each token over DRAWS positions. */
static void histogram(struct sampler *s, const struct sampling *p, const float *logits, size_t vocab,
                      double *share)
{
    memset(share, 0, vocab * sizeof *share);
    for (size_t i = 0; i < DRAWS; i++) {
        share[pick_at(s, p, logits, i)] += 1.0 / DRAWS;
    }
}

/* Expected probabilities by the plain definition, with a full sort: the judge. */
static void expected(const struct sampling *p, const float *logits, size_t vocab, double *out)
{
    size_t order[VOCAB];
    double w[VOCAB], sum = 0;
    for (size_t i = 0; i < vocab; i++) {
        order[i] = i;
        out[i] = 0;
    }
    for (size_t i = 0; i < vocab; i++) {
        for (size_t j = i; j > 0 && logits[order[j]] > logits[order[j - 1]]; j--) {
            size_t t = order[j];
            order[j] = order[j - 1];
            order[j - 1] = t;
        }
    }
    size_t n = p->top_k > 0 && (size_t)p->top_k < vocab ? (size_t)p->top_k : vocab;
    for (size_t i = 0; i < n; i++) {
        w[i] = exp(((double)logits[order[i]] - (double)logits[order[0]]) / (double)p->temperature);
        sum += w[i];
    }
    if (p->top_p > 0 && p->top_p < 1) {
        double mass = 0;
        size_t kept = 0;
        while (kept < n && mass < (double)p->top_p * sum) {
            mass += w[kept++];
        }
        n = kept;
    }
    sum = 0;
    for (size_t i = 0; i < n; i++) {
        w[i] = w[i] >= (double)p->min_p ? w[i] : 0;
        sum += w[i];
    }
    for (size_t i = 0; i < n; i++) {
        out[order[i]] = w[i] / sum;
    }
}

/* Pearson's chi-square of the drawn shares; also: what has probability 0 is never drawn. */
static void check_distribution(const struct sampling *p, const float *logits, size_t vocab)
{
    struct sampler *s = make(vocab);
    double share[VOCAB], want[VOCAB], chi = 0;
    int cells = 0;
    histogram(s, p, logits, vocab, share);
    expected(p, logits, vocab, want);
    for (size_t i = 0; i < vocab; i++) {
        if (want[i] == 0) {
            assert_true(share[i] == 0);
        } else if (want[i] * DRAWS >= 5) {
            chi += DRAWS * (share[i] - want[i]) * (share[i] - want[i]) / want[i];
            cells++;
        }
    }
    /* mean cells - 1, variance 2 (cells - 1); five deviations and the seed is fixed */
    assert_true(chi < cells + 5 * sqrt(2.0 * cells) + 5);
    sampler_free(s);
}

static void random_logits(float *logits, size_t n, uint64_t seed, float spread)
{
    struct rng r;
    rng_seed(&r, seed);
    for (size_t i = 0; i < n; i++) {
        logits[i] = spread * rng_normal(&r);
    }
}

static void test_draws_follow_the_softmax(void **state)
{
    (void)state;
    float logits[VOCAB];
    random_logits(logits, VOCAB, 1, 2);
    check_distribution(&(struct sampling){.temperature = 1, .seed = 7}, logits, VOCAB);
    check_distribution(&(struct sampling){.temperature = 0.6f, .seed = 8}, logits, VOCAB);
    check_distribution(&(struct sampling){.temperature = 3, .seed = 9}, logits, VOCAB);
}

static void test_cuts_keep_exactly_their_set(void **state)
{
    (void)state;
    float logits[VOCAB];
    for (uint64_t seed = 0; seed < 6; seed++) {
        random_logits(logits, VOCAB, seed, seed < 3 ? 2 : 0.1f);
        check_distribution(&(struct sampling){.temperature = 1, .top_k = 7}, logits, VOCAB);
        check_distribution(&(struct sampling){.temperature = 1, .top_p = 0.8f}, logits, VOCAB);
        check_distribution(&(struct sampling){.temperature = 1, .min_p = 0.2f}, logits, VOCAB);
        check_distribution(
            &(struct sampling){.temperature = 1.5f, .top_k = 20, .top_p = 0.9f, .min_p = 0.05f},
            logits, VOCAB);
    }
}

static void test_wide_top_p_falls_back_to_every_token(void **state)
{
    (void)state;
    enum { MANY = 200000 }; /* one token at 0, the rest at -13: together they weigh 0.45 */
    float *logits = malloc(MANY * sizeof *logits);
    assert_non_null(logits);
    for (size_t i = 0; i < MANY; i++) {
        logits[i] = i == 17 ? 0 : -13;
    }
    struct sampler *s = make(MANY);
    struct sampling p = {.temperature = 1, .top_p = 0.8f, .seed = 3};
    int best = 0, highest = 0;
    for (size_t i = 0; i < 400; i++) {
        int32_t id = pick_at(s, &p, logits, i);
        best += id == 17;
        highest = id > highest ? id : highest;
    }
    double w = exp(-13.0), all = 1 + (MANY - 1) * w;
    size_t kept = (size_t)ceil(((double)p.top_p * all - 1) / w); /* equal logits go in order of id */
    assert_true(highest <= (int)kept + 1);
    assert_true(fabs(best / 400.0 - 1 / ((double)p.top_p * all)) < 0.1);
    sampler_free(s);
    free(logits);
}

static void test_equal_logits_are_cut_in_order_of_id(void **state)
{
    (void)state;
    float logits[VOCAB] = {0};
    struct sampler *s = make(VOCAB);
    double share[VOCAB];
    histogram(s, &(struct sampling){.temperature = 1, .top_k = 5}, logits, VOCAB, share);
    for (size_t i = 0; i < VOCAB; i++) {
        assert_true(i < 5 ? fabs(share[i] - 0.2) < 0.02 : share[i] == 0);
    }
    histogram(s, &(struct sampling){.temperature = 1, .top_p = 0.099f}, logits, VOCAB, share);
    for (size_t i = 0; i < VOCAB; i++) {
        assert_true(i < 5 ? share[i] > 0 : share[i] == 0);
    }
    sampler_free(s);
}

static void test_greedy_takes_the_first_of_the_best(void **state)
{
    (void)state;
    float logits[VOCAB] = {0};
    logits[31] = logits[40] = 2;
    struct sampler *s = make(VOCAB);
    assert_int_equal(pick_at(s, &(struct sampling){0}, logits, 0), 31);
    assert_int_equal(pick_at(s, &(struct sampling){.temperature = 1e-9f}, logits, 0), 31);
    assert_int_equal(pick_at(s, &(struct sampling){.temperature = 1, .top_k = 1}, logits, 9), 31);
    assert_int_equal(pick_at(s, &(struct sampling){.temperature = 1, .top_p = 1e-30f}, logits, 9), 31);
    sampler_free(s);
}

static void test_penalties_are_exact(void **state)
{
    (void)state;
    struct sampler *s = make(4);
    struct sampling p = {.repetition_penalty = 2};
    int32_t tokens[] = {3, 0, 0, 1}, id;
    struct sampler_past past = {tokens, 4, 2, NULL};
    /* l / 2 above zero, l * 2 below, once per token however often it occurs */
    float a[] = {8, -1, 4.5f, 8.5f};
    assert_int_equal(sampler_pick(s, &p, a, &past, &id, NULL), ERR_OK);
    assert_int_equal(id, 2);
    float b[] = {-1, -1.5f, -2.5f, -1.2f}; /* becomes -2, -3, -2.5, -2.4 */
    assert_int_equal(sampler_pick(s, &p, b, &past, &id, NULL), ERR_OK);
    assert_int_equal(id, 0);
    p.penalty_window = 1; /* only token 1 */
    assert_int_equal(sampler_pick(s, &p, a, &past, &id, NULL), ERR_OK);
    assert_int_equal(id, 3);
    /* presence 1 and frequency 0.5 over the generated tokens 0 and 1 alone: 0 loses 1.5 */
    p = (struct sampling){.presence_penalty = 1, .frequency_penalty = 0.5f};
    float c[] = {3.4f, 0, 2, 1};
    assert_int_equal(sampler_pick(s, &p, c, &past, &id, NULL), ERR_OK);
    assert_int_equal(id, 2);
    c[2] = 1.8f;
    assert_int_equal(sampler_pick(s, &p, c, &past, &id, NULL), ERR_OK);
    assert_int_equal(id, 0);
    past.n_generated = 3; /* now 0 occurs twice: 3.4 - 1 - 2 * 0.5 = 1.4 */
    assert_int_equal(sampler_pick(s, &p, c, &past, &id, NULL), ERR_OK);
    assert_int_equal(id, 2);
    sampler_free(s);
}

/* Whatever was said is penalised, however long ago, unless a window is given: 94 tokens, all alike, all come before
 * one comes again. */
static void test_repetition_is_of_the_whole_text(void **state)
{
    enum { ALIKE = 94, FIRST = 33 };
    float logits[FIRST + ALIKE];
    int32_t tokens[ALIKE + 1];
    (void)state;
    for (size_t i = 0; i < FIRST + ALIKE; i++) {
        logits[i] = i < FIRST ? 0 : 100;
    }
    struct sampler *s = make(FIRST + ALIKE);
    for (size_t window = 0; window <= 64; window += 64) {
        const struct sampling p = {.repetition_penalty = 2, .penalty_window = window};
        for (size_t n = 0; n <= ALIKE; n++) {
            const struct sampler_past past = {tokens, n, n, NULL};
            assert_int_equal(sampler_pick(s, &p, logits, &past, &tokens[n], NULL), ERR_OK);
            size_t before = window && n > window ? n % (window + 1) : n % ALIKE;
            assert_int_equal(tokens[n], FIRST + before);
        }
    }
    sampler_free(s);
}

static void test_bias_forces_and_bans(void **state)
{
    (void)state;
    float logits[VOCAB];
    random_logits(logits, VOCAB, 3, 3);
    struct sampler *s = make(VOCAB);
    int32_t ids[] = {11, 12};
    float values[] = {100, -INFINITY};
    struct sampling p = {.bias_ids = ids, .bias_values = values, .n_bias = 1, .temperature = 1};
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(pick_at(s, &p, logits, i), 11);
    }
    values[0] = -INFINITY;
    p.n_bias = 2;
    p.temperature = 20;
    double share[VOCAB];
    histogram(s, &p, logits, VOCAB, share);
    assert_true(share[11] == 0 && share[12] == 0);
    sampler_free(s);
}

static void test_a_draw_depends_on_seed_and_position_alone(void **state)
{
    (void)state;
    float logits[VOCAB];
    random_logits(logits, VOCAB, 4, 0.5f);
    struct sampler *s = make(VOCAB), *other = make(VOCAB);
    struct sampling p = {.temperature = 1, .seed = 42};
    int same_seed = 0, same_position = 0;
    for (size_t i = 0; i < 1000; i++) {
        int32_t id = pick_at(s, &p, logits, i);
        assert_int_equal(id, pick_at(other, &p, logits, i));
        assert_int_equal(id, pick_at(s, &p, logits, i));
        p.seed = 43;
        same_seed += pick_at(s, &p, logits, i) == id;
        p.seed = 42;
        same_position += pick_at(s, &p, logits, i + 1) == id;
    }
    assert_true(same_seed < 100 && same_position < 100);
    sampler_free(s);
    sampler_free(other);
}

static void test_nan_and_infinity_are_harmless(void **state)
{
    (void)state;
    float logits[VOCAB];
    for (size_t i = 0; i < VOCAB; i++) {
        logits[i] = i % 2 ? NAN : (float)i / 10;
    }
    logits[8] = -INFINITY;
    struct sampler *s = make(VOCAB);
    assert_int_equal(pick_at(s, &(struct sampling){0}, logits, 0), 48);
    double share[VOCAB];
    histogram(s, &(struct sampling){.temperature = 2, .top_p = 0.99f}, logits, VOCAB, share);
    for (size_t i = 0; i < VOCAB; i++) {
        assert_true(!(i % 2 || i == 8) || share[i] == 0);
    }
    logits[20] = INFINITY;
    assert_int_equal(pick_at(s, &(struct sampling){0}, logits, 0), 20);
    assert_int_equal(pick_at(s, &(struct sampling){.temperature = 1, .min_p = 0.1f}, logits, 0), 20);
    for (size_t i = 0; i < VOCAB; i++) {
        logits[i] = i % 2 ? NAN : -INFINITY;
    }
    int32_t id = -7;
    struct errinfo info;
    struct sampler_past past = {&id, 0, 0, NULL};
    assert_int_equal(sampler_pick(s, &(struct sampling){.temperature = 1}, logits, &past, &id, &info),
                     ERR_CORRUPT);
    assert_int_equal(id, -7);
    sampler_free(s);
}

static void test_logprobs_are_the_models_own(void **state)
{
    (void)state;
    float logits[VOCAB];
    random_logits(logits, VOCAB, 5, 4);
    logits[9] = NAN;
    double z = 0;
    for (size_t i = 0; i < VOCAB; i++) {
        z += i == 9 ? 0 : exp((double)logits[i]);
    }
    assert_true(fabs(sampler_logsumexp(logits, VOCAB) - log(z)) < 1e-6);
    struct session_token t;
    sampler_logprobs(logits, VOCAB, 3, FATHOM_TOP_LOGPROBS_MAX, &t);
    assert_int_equal(t.n_top, FATHOM_TOP_LOGPROBS_MAX);
    assert_true(fabs((double)t.logprob - ((double)logits[3] - log(z))) < 1e-5);
    for (int i = 0; i < t.n_top; i++) {
        double want = (double)logits[t.top_ids[i]] - log(z);
        assert_true(fabs((double)t.top_logprobs[i] - want) < 1e-5);
        assert_true(i == 0 || t.top_logprobs[i] <= t.top_logprobs[i - 1]);
        int better = 0;
        for (size_t j = 0; j < VOCAB; j++) {
            better += logits[j] > logits[t.top_ids[i]];
        }
        assert_int_equal(better, i);
    }
    sampler_logprobs(logits, 3, 0, 20, &t); /* fewer tokens than asked for */
    assert_int_equal(t.n_top, 3);
    sampler_logprobs(logits, VOCAB, 9, 0, &t);
    assert_int_equal(t.n_top, 0);
    assert_true(t.logprob == -INFINITY);
}

static void test_logsumexp_holds_over_a_large_vocabulary(void **state)
{
    (void)state;
    enum { MANY = 129280 };
    float *logits = malloc(MANY * sizeof *logits);
    assert_non_null(logits);
    random_logits(logits, MANY, 6, 3);
    double z = 0;
    for (size_t i = 0; i < MANY; i++) {
        z += exp((double)logits[i]);
    }
    assert_true(fabs(sampler_logsumexp(logits, MANY) - log(z)) < 1e-6);
    for (size_t i = 0; i < MANY; i++) {
        logits[i] = NAN;
    }
    assert_true(sampler_logsumexp(logits, MANY) == -INFINITY);
    free(logits);
}

static void refuse(struct sampling p, const char *field)
{
    struct errinfo info = {0};
    assert_int_equal(sampling_check(&p, VOCAB, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, field));
}

static void test_every_field_has_its_range(void **state)
{
    (void)state;
    float bad[] = {-1, INFINITY, NAN};
    for (int i = 0; i < 3; i++) {
        refuse((struct sampling){.temperature = bad[i]}, "temperature");
        refuse((struct sampling){.top_p = bad[i]}, "top_p");
        refuse((struct sampling){.min_p = bad[i]}, "min_p");
        refuse((struct sampling){.repetition_penalty = bad[i]}, "repetition_penalty");
        refuse((struct sampling){.presence_penalty = 3 * bad[i]}, "presence_penalty");
        refuse((struct sampling){.frequency_penalty = 3 * bad[i]}, "frequency_penalty");
    }
    refuse((struct sampling){.top_k = -1}, "top_k");
    refuse((struct sampling){.top_p = 1.01f}, "top_p");
    int32_t ids[] = {0, VOCAB};
    float values[] = {-INFINITY, 1};
    refuse((struct sampling){.n_bias = 1}, "logit_bias");
    refuse((struct sampling){.bias_ids = ids, .bias_values = values, .n_bias = 2}, "0 to 49");
    values[0] = INFINITY;
    refuse((struct sampling){.bias_ids = ids, .bias_values = values, .n_bias = 1}, "logit_bias");
    values[0] = -INFINITY;
    struct sampling good = {.temperature = 100, .top_k = VOCAB * 2, .top_p = 1, .min_p = 1,
                            .repetition_penalty = 1.1f, .presence_penalty = -2,
                            .frequency_penalty = 2, .bias_ids = ids, .bias_values = values,
                            .n_bias = 1};
    assert_int_equal(sampling_check(&good, VOCAB, NULL), ERR_OK);
    assert_int_equal(sampling_check(&(struct sampling){0}, VOCAB, NULL), ERR_OK);
}

static void test_failed_allocations_leave_nothing(void **state)
{
    (void)state;
    size_t before = mem_alive();
    for (size_t k = 1;; k++) {
        struct sampler *s = NULL;
        mem_fault(k, 0);
        err e = sampler_new(VOCAB, &s, NULL);
        mem_fault(0, 0);
        if (e == ERR_OK) {
            sampler_free(s);
            assert_true(k > 4);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_int_equal(mem_alive(), before);
    }
    assert_int_equal(mem_alive(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws_follow_the_softmax),
        cmocka_unit_test(test_cuts_keep_exactly_their_set),
        cmocka_unit_test(test_wide_top_p_falls_back_to_every_token),
        cmocka_unit_test(test_equal_logits_are_cut_in_order_of_id),
        cmocka_unit_test(test_greedy_takes_the_first_of_the_best),
        cmocka_unit_test(test_penalties_are_exact),
        cmocka_unit_test(test_repetition_is_of_the_whole_text),
        cmocka_unit_test(test_bias_forces_and_bans),
        cmocka_unit_test(test_a_draw_depends_on_seed_and_position_alone),
        cmocka_unit_test(test_nan_and_infinity_are_harmless),
        cmocka_unit_test(test_logprobs_are_the_models_own),
        cmocka_unit_test(test_logsumexp_holds_over_a_large_vocabulary),
        cmocka_unit_test(test_every_field_has_its_range),
        cmocka_unit_test(test_failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

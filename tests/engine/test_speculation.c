/* The cost model on clocks that are made up: what it learns, when it tries guesses, and that it never loses
 * more than it allows itself, whatever the machine and the text are like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/speculation.h"

/* DeepSeek-V2-Lite at some 4.5 bits, more or less. */
static const struct speculation_bytes mixture = {.dense = 600e6, .expert = 5e6, .position = 30000,
                                                 .moe_layers = 26, .experts = 64,
                                                 .experts_per_token = 6};
static const struct speculation_bytes dense = {.dense = 1000e6, .position = 10000};

static void assert_near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b)))) {
        fail_msg("%.12g is not %.12g", a, b);
    }
}

/* Steps of one row that read `bytes_per_second`. */
static struct speculation_costs measured_singles(struct speculation_bytes bytes, double per_second)
{
    struct speculation_costs c = {.bytes = bytes};
    double experts = (double)(bytes.moe_layers * bytes.experts_per_token);
    for (int i = 0; i < 8; i++) {
        double all = bytes.dense + bytes.expert * experts + bytes.position * 101;
        speculation_measured(&c, 1, 100, (size_t)experts, all / per_second);
    }
    return c;
}

static void test_unique_experts_are_expected_and_then_seen(void **state)
{
    (void)state;
    struct speculation_costs c = {.bytes = mixture};
    assert_near(speculation_experts(&c, 1), 6);
    assert_near(speculation_experts(&c, 2), 64 * (1 - pow(1 - 6 / 64.0, 2)));
    assert_true(speculation_experts(&c, 4) < 24);
    for (int i = 0; i < 50; i++) {
        speculation_measured(&c, 2, 10, 26 * 9, 0.1); /* neighbours agree on three of six */
    }
    assert_near(speculation_experts(&c, 2), 9);
    struct speculation_costs d = {.bytes = dense};
    assert_near(speculation_experts(&d, 4), 0);
}

static void test_steps_are_priced_by_what_they_read(void **state)
{
    (void)state;
    struct speculation_costs m = measured_singles(mixture, 20e9), d = measured_singles(dense, 20e9);
    assert_near(speculation_seconds(&d, 1, 100), (1000e6 + 10000 * 101) / 20e9);
    assert_near(speculation_seconds(&d, 1, 50000), (1000e6 + 10000 * 50001.0) / 20e9);
    /* Unmeasured: rows cost a dense model little, a mixture more experts. */
    double dense_price = speculation_seconds(&d, 4, 100) / speculation_seconds(&d, 1, 100);
    double mixture_price = speculation_seconds(&m, 4, 100) / speculation_seconds(&m, 1, 100);
    assert_true(dense_price > 1 && dense_price < 1.6);
    assert_true(mixture_price > dense_price * 1.5);
    /* Time is the only truth: as soon as it is known it counts, also for its neighbours. */
    for (int i = 0; i < 20; i++) {
        speculation_measured(&d, 3, 100, 0, 0.15);
    }
    assert_near(speculation_seconds(&d, 3, 100), 0.15);
    double two = speculation_seconds(&d, 2, 100), four = speculation_seconds(&d, 4, 100);
    assert_true(two > 0.09 && two < 0.11 && four > 0.19 && four < 0.21);
}

static void test_slow_first_steps_and_moments_elsewhere_are_forgotten(void **state)
{
    (void)state;
    struct speculation_costs c = {.bytes = dense};
    speculation_measured(&c, 1, 0, 0, 10); /* from disk */
    for (int i = 0; i < 30; i++) {
        speculation_measured(&c, 1, 0, 0, 0.05);
    }
    assert_true(speculation_seconds(&c, 1, 0) < 0.056);
    speculation_measured(&c, 1, 0, 0, 30);
    assert_true(speculation_seconds(&c, 1, 0) < 0.062);
}

static void test_old_times_follow_the_machine(void **state)
{
    (void)state;
    struct speculation_costs c = measured_singles(dense, 20e9);
    for (int i = 0; i < 20; i++) {
        speculation_measured(&c, 4, 100, 0, 0.08);
    }
    double single = speculation_seconds(&c, 1, 100), four = speculation_seconds(&c, 4, 100);
    for (int i = 0; i < 300; i++) {
        speculation_measured(&c, 1, 100, 0, single * 1.6);
    }
    double grown = speculation_seconds(&c, 4, 100) / four;
    assert_true(grown > 1.2 && grown < 1.61);
    struct speculation_costs d = measured_singles(dense, 20e9);
    speculation_measured(&d, 4, 100, 0, 0.08);
    for (int i = 0; i < 4; i++) { /* what is fresh stands for itself */
        speculation_measured(&d, 1, 100, 0, single * 1.6);
    }
    assert_near(speculation_seconds(&d, 4, 100), 0.08);
}

static void test_chances_are_learnt_for_each_place_and_fade(void **state)
{
    (void)state;
    struct speculation s = {0};
    struct speculation_costs c = measured_singles(dense, 20e9);
    double before = speculation_chance(&s, SPECULATION_SHORT, 0);
    for (int i = 0; i < 60; i++) {
        speculation_outcome(&s, SPECULATION_SHORT, 0, true);
        speculation_outcome(&s, SPECULATION_SHORT, 1, i % 2);
    }
    assert_true(speculation_chance(&s, SPECULATION_SHORT, 0) > 0.85);
    double second = speculation_chance(&s, SPECULATION_SHORT, 1);
    assert_true(second > 0.4 && second < 0.6);
    double first = speculation_chance(&s, SPECULATION_SHORT, 0);
    assert_near(speculation_tokens(&s, SPECULATION_SHORT, 2), 1 + first + first * second);
    assert_near(speculation_tokens(&s, SPECULATION_SHORT, 0), 1);
    for (int i = 0; i < 5000; i++) {
        speculation_single(&s, &c, 100, 0.05);
    }
    assert_true(fabs(speculation_chance(&s, SPECULATION_SHORT, 0) - before) < 0.01);
    assert_int_equal(speculation_of_match(3), SPECULATION_SHORT);
    assert_int_equal(speculation_of_match(8), SPECULATION_MIDDLE);
    assert_int_equal(speculation_of_match(32), SPECULATION_LONG);
}

/* A machine, a text, a decoder: `tokens` tokens with every guess right by `chance`; a step of n rows takes
 * cost(n) times one of one row, give or take noise. Returns its time over that without guesses. */
struct world {
    struct speculation_bytes bytes;
    double row, noise; /* a row more costs `row` of a single step */
    double chance, guess_seconds;
    size_t most;
    bool change; /* half way, chance becomes its opposite */
};

static double lived(const struct world *w, size_t tokens, size_t *tried)
{
    struct speculation_costs c = {.bytes = w->bytes};
    struct speculation s = {0};
    struct rng r;
    rng_seed(&r, 9);
    double single = 0.05, spent = 0;
    size_t experts = w->bytes.moe_layers * w->bytes.experts_per_token;
    *tried = 0;
    for (size_t made = 0; made < tokens;) {
        double chance = w->change && made > tokens / 2 ? 1 - w->chance : w->chance;
        double luck = 1 + w->noise * (double)(rng_u64(&r) % 1000) / 1000;
        size_t k = speculation_choose(&s, &c, SPECULATION_MTP, w->most, 100, w->guess_seconds), right = 0;
        double seconds = single * (1 + w->row * (double)k) * luck;
        spent += seconds + (double)k * w->guess_seconds;
        speculation_measured(&c, k + 1, 100, experts, seconds);
        if (k == 0) {
            speculation_single(&s, &c, 100, seconds);
        } else {
            bool good = true;
            for (size_t i = 0; i < k && good; i++) {
                good = (double)(rng_u64(&r) % 1000) < 1000 * chance;
                speculation_outcome(&s, SPECULATION_MTP, i, good);
                right += good;
            }
            speculation_settle(&s, &c, 100, seconds + (double)k * w->guess_seconds, k + 1,
                               right + 1);
            ++*tried;
        }
        made += right + 1;
    }
    return spent / (single * (1 + w->noise / 2) * (double)tokens);
}

static void test_good_guesses_are_used(void **state)
{
    (void)state;
    size_t tried;
    struct world w = {.bytes = dense, .row = 0.1, .chance = 0.9, .most = 3};
    assert_true(lived(&w, 2000, &tried) < 0.45);
    w.noise = 0.6;
    assert_true(lived(&w, 2000, &tried) < 0.47);
    w = (struct world){.bytes = mixture, .row = 0.4, .chance = 0.85, .most = 3, .guess_seconds = 0.004};
    assert_true(lived(&w, 2000, &tried) < 0.9);
}

static void test_nothing_is_ever_lost(void **state)
{
    (void)state;
    const double rows[] = {0.05, 0.3, 0.6, 0.95, 1.5}, chances[] = {0, 0.1, 0.3, 0.5, 0.7, 0.95};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t k = 0; k < sizeof chances / sizeof *chances; k++) {
            for (size_t n = 0; n < 8; n++) {
                size_t tried;
                const struct world w = {.bytes = n & 1 ? mixture : dense, .row = rows[i],
                                        .chance = chances[k], .noise = n & 2 ? 0.6 : 0,
                                        .most = n & 4 ? 15 : 3, .change = n & 1,
                                        .guess_seconds = n & 4 ? 0.005 : 0};
                double share = lived(&w, 1500, &tried);
                if (share > 1.025) {
                    fail_msg("row %.2f, chance %.2f, case %zu: %.3f of the time, %zu tried", rows[i],
                             chances[k], n, share, tried);
                }
            }
        }
    }
}

static void test_a_debt_stops_everything_until_it_is_paid(void **state)
{
    (void)state;
    struct speculation_costs c = measured_singles(dense, 20e9);
    struct speculation s = {0};
    assert_int_equal(speculation_choose(&s, &c, SPECULATION_LONG, 3, 100, 0), 3);
    speculation_settle(&s, &c, 100, 0.5, 4, 1);
    assert_int_equal(speculation_choose(&s, &c, SPECULATION_LONG, 3, 100, 0), 0);
    for (int i = 0; i < 2000; i++) {
        speculation_single(&s, &c, 100, 0.05);
    }
    assert_int_equal(speculation_choose(&s, &c, SPECULATION_LONG, 3, 100, 0), 3);
    speculation_settle(&s, &c, 100, 300, 4, 1); /* stopped by somebody for five minutes: not for ever */
    for (int i = 0; i < 700; i++) {
        speculation_single(&s, &c, 100, 0.05);
    }
    assert_int_equal(speculation_choose(&s, &c, SPECULATION_LONG, 3, 100, 0), 3);
    for (int i = 0; i < 32; i++) { /* now and then a plain step, to know what one takes */
        assert_true(speculation_choose(&s, &c, SPECULATION_LONG, 3, 100, 0) > 0);
        speculation_settle(&s, &c, 100, 0.06, 4, 4);
    }
    assert_int_equal(speculation_choose(&s, &c, SPECULATION_LONG, 3, 100, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unique_experts_are_expected_and_then_seen),
        cmocka_unit_test(test_steps_are_priced_by_what_they_read),
        cmocka_unit_test(test_slow_first_steps_and_moments_elsewhere_are_forgotten),
        cmocka_unit_test(test_old_times_follow_the_machine),
        cmocka_unit_test(test_chances_are_learnt_for_each_place_and_fade),
        cmocka_unit_test(test_good_guesses_are_used),
        cmocka_unit_test(test_nothing_is_ever_lost),
        cmocka_unit_test(test_a_debt_stops_everything_until_it_is_paid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

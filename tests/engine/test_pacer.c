/* Prompts beside answers, on machines made up: answers keep more than half their pace, prompts are read as fast as that
 * allows, whatever the shape of the costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/pacer.h"

/* Seconds of a step of so many rows. */
struct machine {
    double small, row;     /* up to 4 rows */
    double large, tile;    /* above: the first tile of 16, and each more */
    double noise;          /* times up to 1 + noise, for one step in eight */
};

static double seconds_of(const struct machine *m, size_t rows, struct rng *r)
{
    double t = rows <= 4 ? m->small + m->row * (double)rows : m->large + m->tile * (double)((rows - 1) / 16);
    return rng_u64(r) % 8 == 0 ? t * (1 + m->noise * rng_double(r)) : t;
}

struct run {
    double mean, worst, tokens_per_s; /* steps with a prompt waiting, in units of one of answers alone */
    size_t steps;
};

static struct run run_of(const struct machine *m, size_t answers, size_t prompts, size_t tokens, size_t room)
{
    struct pacer p = {0};
    struct rng r;
    struct run out = {0};
    double alone = seconds_of(&(struct machine){m->small, m->row, m->large, m->tile, 0}, answers, &r), total = 0;
    size_t left = tokens, steps = 0;
    rng_seed(&r, 3);
    for (int i = 0; i < 20; i++) {
        pacer_learn(&p, seconds_of(m, answers, &r), answers, 0);
    }
    while (left > 0) {
        size_t n = pacer_budget(&p, answers, prompts, room - answers);
        assert_true(n <= room - answers);
        n = n < left ? n : left;
        double t = seconds_of(m, answers + n, &r);
        pacer_learn(&p, t, answers, n);
        left -= n;
        total += t;
        steps++;
        out.worst = t / alone > out.worst ? t / alone : out.worst;
        assert_true(steps < 100000);
    }
    out.steps = steps;
    out.mean = total / (double)steps / alone;
    out.tokens_per_s = (double)tokens / total;
    print_message("mean %.2f, worst %.2f, %.0f tokens/s\n", out.mean, out.worst, out.tokens_per_s);
    return out;
}

static void test_costs_by_the_row(void **state)
{
    (void)state;
    const struct machine m = {0.010, 0.001, 0.014, 0.003, 0}; /* 5 rows cost as 4, and 16 more a fifth of that */
    struct run r = run_of(&m, 4, 1, 4000, 512);
    assert_true(r.mean > 1.3 && r.mean < 1.8 && r.worst < 2);
    assert_true(r.tokens_per_s > 1500);
}

/* Grammars that overdraw what they may take leave steps out: on the average of many it is no more. */
static void test_grammars_keep_to_their_share(void **state)
{
    (void)state;
    static const double grains[] = {0.0001, 0.003, 0.05}; /* seconds that are taken at least */
    for (size_t i = 0; i < sizeof grains / sizeof *grains; i++) {
        for (size_t prompt = 0; prompt < 2; prompt++) {
            struct pacer p = {0};
            double taken = 0;
            pacer_learn(&p, 0.010, 4, 0);
            assert_true(pacer_masks(&p, 0.010) > 0);
            for (int k = 0; k < 1000; k++) {
                pacer_learn(&p, prompt ? 0.015 : 0.010, 4, prompt ? 12 : 0);
                double may = pacer_masks(&p, 0.015), took = may <= 0 ? 0 : may > grains[i] ? may : grains[i];
                pacer_masked(&p, took);
                taken += took;
            }
            assert_true(taken / 1000 < 0.00701 - 0.004 * (double)prompt && taken / 1000 > 0.0015);
        }
    }
    struct pacer p = {0};
    assert_true(pacer_masks(&p, 0.4) > 0); /* beside prompts alone: a share of theirs */
}

/* The first tile costs more than answers alone: pieces fill it, and steps without any come between. */
static void test_a_first_tile_that_costs_too_much(void **state)
{
    (void)state;
    const struct machine m = {0.010, 0.0025, 0.042, 0.020, 0};
    struct run r = run_of(&m, 4, 1, 4000, 512);
    assert_true(r.mean < 1.8 && r.worst < 2.2);
    assert_true(r.tokens_per_s > 12 / (0.042 + 2 * 0.020));
}

/* However many answers there are, a short question beside them is read in few steps. */
static void test_a_short_prompt_beside_many_answers(void **state)
{
    (void)state;
    const struct machine machines[] = {{0.010, 0.001, 0.014, 0.003, 0}, {0.010, 0.0025, 0.042, 0.020, 0}};
    for (size_t m = 0; m < 2; m++) {
        for (size_t answers = 1; answers < 40; answers++) {
            struct run r = run_of(&machines[m], answers, 1, 100, 512);
            assert_true(r.steps <= 40);
            assert_true(r.mean < 2);
        }
    }
}

static void test_rows_that_cost_nothing(void **state)
{
    (void)state;
    const struct machine m = {0.020, 0, 0.020, 0, 0};
    struct run r = run_of(&m, 4, 1, 8000, 512);
    assert_true(r.mean < 1.01);
    assert_true(r.tokens_per_s > 200 / 0.020);
}

static void test_a_disturbed_machine(void **state)
{
    (void)state;
    const struct machine m = {0.010, 0.0025, 0.042, 0.020, 5};
    struct run r = run_of(&m, 4, 1, 4000, 512);
    assert_true(r.mean / (1 + 5.0 / 16) < 1.8); /* the noise's own mean */
}

/* Thirty prompts beside two answers are read nearly as fast as they would be alone. */
static void test_many_prompts_beside_few_answers(void **state)
{
    (void)state;
    const struct machine m = {0.010, 0.001, 0.014, 0.003, 0};
    struct run r = run_of(&m, 2, 30, 5000, 512);
    assert_true(r.tokens_per_s > 0.7 * 512 / (0.014 + 31 * 0.003));
}

/* No answers: as much as there is room for. Unknown times: a tile. */
static void test_the_beginning(void **state)
{
    (void)state;
    struct pacer p = {0};
    assert_int_equal(pacer_budget(&p, 0, 1, 512), 512);
    assert_int_equal(pacer_budget(&p, 4, 1, 508), 12);
    assert_int_equal(pacer_budget(&p, 16, 1, 496), 16);
    assert_int_equal(pacer_budget(&p, 31, 1, 481), 17);
    assert_int_equal(pacer_budget(&p, 8, 1, 481), 8);
    assert_int_equal(pacer_budget(&p, 4, 1, 3), 3);
    assert_int_equal(pacer_budget(&p, 4, 1, 0), 0);
    pacer_learn(&p, 1, 0, 512); /* prompts alone say what a token costs, not what answers do */
    assert_int_equal(pacer_budget(&p, 4, 1, 508), 12);
    for (int i = 0; i < 40; i++) { /* nor do prompts beside answers */
        size_t n = pacer_budget(&p, 4, 1, 508);
        pacer_learn(&p, 0.1, 4, n);
    }
    assert_true(p.answers_s > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_costs_by_the_row),
        cmocka_unit_test(test_grammars_keep_to_their_share),
        cmocka_unit_test(test_a_first_tile_that_costs_too_much),
        cmocka_unit_test(test_a_short_prompt_beside_many_answers),
        cmocka_unit_test(test_rows_that_cost_nothing),
        cmocka_unit_test(test_a_disturbed_machine),
        cmocka_unit_test(test_many_prompts_beside_few_answers),
        cmocka_unit_test(test_the_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

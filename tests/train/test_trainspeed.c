/* What --speed measures: all numbers are there and fit together, a wish to stop is heard, failing memory is an error. */
#include <math.h>

#include "fault/faultsweep.h"
#include "trainfixture.h"
#include "train/trainspeed.h"

static struct compute *computer(void)
{
    struct errinfo info = {0};
    struct compute *c;
    enum cpuinfo_level level;
    datasetfixture_must(cpuinfo_choose(&level, &info), &info);
    datasetfixture_must(compute_new(level, 2, true, &c, &info), &info);
    return c;
}

static void in_order(const struct trainspeed_seconds *s)
{
    assert_true(s->min > 0 && s->min <= s->median && s->median <= s->max);
}

static void test_numbers_fit_together(void **state)
{
    (void)state;
    struct trainfixture x;
    struct trainspeed s;
    struct errinfo info = {0};
    trainfixture_init(&x, "");
    struct compute *c = computer();
    datasetfixture_must(trainspeed_measure(&x.recipe, c, 4, NULL, &s, &info), &info);
    assert_int_equal(s.micro_tokens, 8 * 32);
    assert_int_equal(s.step_tokens, 16 * 32);
    in_order(&s.micro);
    in_order(&s.update);
    assert_true(s.flops_per_token > 0 && s.peak_flops > 0);
    assert_true(fabs(s.loss - log((double)x.recipe.config.vocab_size)) < 2);
    double seconds = 2 * s.micro.median + s.update.median;
    assert_true(fabs(trainspeed_rate(&s) * seconds / (double)s.step_tokens - 1) < 1e-9);
    assert_true(trainspeed_rate(&s) < trainspeed_micro_rate(&s));
    assert_int_equal(trainspeed_measure(&x.recipe, c, 0, NULL, &s, &info), ERR_ARGUMENT);
    assert_int_equal(trainspeed_measure(&x.recipe, c, TRAINSPEED_RUNS_MAX + 1, NULL, &s, &info), ERR_ARGUMENT);
    compute_free(c);
    trainfixture_deinit(&x);
}

/* Sixteen threads of each core are no sixteen cores. */
static void test_the_peak_counts_cores(void **state)
{
    (void)state;
    struct compute *c = computer();
    c->n_threads = cpuinfo_cores();
    double cores = trainspeed_peak(c);
    c->n_threads *= 16;
    double threads = trainspeed_peak(c);
    assert_true(cores > 0 && threads < 4 * cores);
    compute_free(c);
}

static bool no(void)
{
    return false;
}

static void test_stops_when_asked(void **state)
{
    (void)state;
    struct trainfixture x;
    struct trainspeed s;
    struct errinfo info = {0};
    trainfixture_init(&x, "");
    struct compute *c = computer();
    assert_int_equal(trainspeed_measure(&x.recipe, c, 4, no, &s, &info), ERR_CANCELLED);
    compute_free(c);
    trainfixture_deinit(&x);
}

static struct trainfixture swept;
static struct compute *swept_compute;

static err measure(struct errinfo *info)
{
    struct trainspeed s;
    return trainspeed_measure(&swept.recipe, swept_compute, 1, NULL, &s, info);
}

static void test_failing_memory(void **state)
{
    (void)state;
    trainfixture_init(&swept, "");
    swept_compute = computer();
    struct errinfo info = {0};
    datasetfixture_must(measure(&info), &info); /* the compute's scratch is there from now on */
    faultsweep_run(&(struct faultsweep){.name = "trainspeed_measure", .work = measure, .least = 100, .stride = 401});
    compute_free(swept_compute);
    trainfixture_deinit(&swept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers_fit_together),
        cmocka_unit_test(test_the_peak_counts_cores),
                                       cmocka_unit_test(test_stops_when_asked),
                                       cmocka_unit_test(test_failing_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* How far two ways of predicting are apart: worked by hand, zero for the same, refused for other vocabularies. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpuinfo.h"
#include "base/mem.h"
#include "cli/divergence.h"

static const char model[] = "tests/golden/chatmodel";

static struct engine *engine(const char *path, const char *cpu, size_t chunk)
{
    const struct engine_options o = {
        .n_threads = 1, .deterministic = true, .kv_type = "f32", .cpu = cpu, .chunk = chunk};
    struct engine *e;
    struct errinfo info;
    if (engine_open(path, &o, &e, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return e;
}

static void text(int32_t ids[100])
{
    for (int i = 0; i < 100; i++) {
        ids[i] = 65 + i * i % 26;
    }
}

static void two_rows_by_hand(void **state)
{
    (void)state;
    /* p = 1/2 1/4 1/4, q = 1/4 1/2 1/4, logits shifted by constants that must not matter */
    const float p[3] = {logf(0.5f) + 3, logf(0.25f) + 3, logf(0.25f) + 3};
    const float q[3] = {logf(0.25f) - 7, logf(0.5f) - 7, logf(0.25f) - 7};
    struct divergence d = {0};
    divergence_add(&d, q, p, 3, 0);
    divergence_add(&d, p, p, 3, 2);
    assert_true(fabs(d.kl - 0.25 * log(2)) < 1e-6);
    assert_true(fabs(divergence_kl(&d) - 0.125 * log(2)) < 1e-6);
    assert_true(fabs(divergence_kl_error(&d) - 0.125 * log(2)) < 1e-6);
    assert_true(fabs(d.kl_max - 0.25 * log(2)) < 1e-6);
    assert_true(fabs(divergence_ratio(&d) - sqrt(2)) < 1e-6); /* (1/2 over 1/4) to the power of 1/2 */
    assert_true(fabs(divergence_rms(&d) - log(2) / sqrt(2)) < 1e-6);
    assert_true(divergence_same_best(&d) == 0.5);
    assert_true(fabs(perplexity_value(&d.reference) - sqrt(8)) < 1e-5);
    assert_true(fabs(perplexity_value(&d.model) - 4) < 1e-5);
}

/* A broken model is not one without any divergence. */
static void what_is_no_number_is_not_taken_for_none(void **state)
{
    (void)state;
    const float p[3] = {1, 2, 3}, broken[3] = {1, NAN, 3}, never[3] = {1, -INFINITY, 3};
    struct divergence d = {0};
    divergence_add(&d, broken, p, 3, 0);
    assert_true(isnan(d.kl));
    d = (struct divergence){0};
    divergence_add(&d, p, never, 3, 0); /* what never happens costs nothing */
    assert_true(d.kl > 0 && isfinite(d.kl));
    d = (struct divergence){0};
    divergence_add(&d, never, p, 3, 0);
    assert_true(isinf(d.kl));
}

static void a_model_is_no_way_from_itself(void **state)
{
    (void)state;
    int32_t ids[100];
    struct divergence d;
    struct perplexity p;
    text(ids);
    struct engine *a = engine(model, "ref", 0), *b = engine(model, "ref", 7);
    assert_int_equal(perplexity_of(a, ids, 100, 32, 0, &p, NULL), ERR_OK);
    assert_int_equal(divergence_of(a, b, ids, 100, 32, 0, &d, NULL), ERR_OK);
    assert_true(d.kl == 0 && d.difference_squared == 0 && divergence_same_best(&d) == 1);
    assert_int_equal(d.model.tokens, p.tokens);
    assert_int_equal(d.model.bytes, p.bytes);
    assert_true(fabs(d.model.nats - p.nats) < 1e-4);
    assert_int_equal(perplexity_of(a, ids, 100, 32, 20, &p, NULL), ERR_OK);
    assert_int_equal(divergence_of(a, b, ids, 100, 32, 20, &d, NULL), ERR_OK);
    assert_int_equal(d.model.tokens, p.tokens);
    assert_int_equal(d.model.tokens, 99);
    assert_true(d.kl == 0);
    engine_close(a);
    engine_close(b);
}

static void levels_differ_by_their_rounding_alone(void **state)
{
    (void)state;
    int32_t ids[100];
    struct divergence d;
    text(ids);
    struct engine *a = engine(model, cpuinfo_level_name(cpuinfo_best()), 0), *b = engine(model, "ref", 0);
    assert_int_equal(divergence_of(a, b, ids, 100, 64, 0, &d, NULL), ERR_OK);
    assert_true(divergence_kl(&d) < 0.01);
    assert_true(fabs(divergence_ratio(&d) - 1) < 0.05);
    engine_close(a);
    engine_close(b);
}

static void other_vocabularies_are_refused_with_both_sizes(void **state)
{
    (void)state;
    int32_t ids[100];
    struct divergence d;
    struct errinfo info = {0};
    text(ids);
    struct engine *a = engine(model, "ref", 0), *b = engine("tests/golden/model/llama-tied", "ref", 0);
    size_t alive = mem_alive();
    assert_int_equal(divergence_of(a, b, ids, 100, 32, 0, &d, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "vocabulary"));
    assert_int_equal(mem_alive(), alive);
    engine_close(a);
    engine_close(b);
}

static void an_unknown_level_is_refused(void **state)
{
    (void)state;
    struct engine *e;
    struct errinfo info = {0};
    const struct engine_options o = {.cpu = "mmx"};
    assert_int_equal(engine_open(model, &o, &e, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "CPU level mmx is unknown"));
}

/* Not in the session's piece of a window: its numbers mean nothing to people. */
static void ctrl_c_is_told_in_tokens_of_all_windows(void **state)
{
    (void)state;
    struct progress p = {.done = 600, .total = perplexity_total(3109, 512, 0)};
    struct errinfo info = {0};
    perplexity_stopped(&p, 512, &info);
    assert_int_equal(info.code, ERR_CANCELLED);
    assert_string_equal(info.message, "stopped after 600 of the 3072 tokens in all windows of 512");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_rows_by_hand),
        cmocka_unit_test(what_is_no_number_is_not_taken_for_none),
        cmocka_unit_test(a_model_is_no_way_from_itself),
        cmocka_unit_test(levels_differ_by_their_rounding_alone),
        cmocka_unit_test(other_vocabularies_are_refused_with_both_sizes),
        cmocka_unit_test(an_unknown_level_is_refused),
        cmocka_unit_test(ctrl_c_is_told_in_tokens_of_all_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

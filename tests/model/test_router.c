/* tests/model/test_router.c: the three routing methods on numbers worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/router.h"

static void assert_near(float a, double b)
{
    if (!(fabs((double)a - b) < 1e-6)) {
        fail_msg("%.8f is not %.8f", (double)a, b);
    }
}

/* Logits whose sigmoid (or relative softmax weight) is p. */
static float logit(double p)
{
    return (float)log(p / (1 - p));
}

static void greedy_takes_the_best_softmax_scores_unnormalised(void **state)
{
    (void)state;
    struct config c = {.n_routed_experts = 4, .num_experts_per_tok = 2, .n_group = 1, .topk_group = 1,
                       .topk_method = CONFIG_GREEDY, .scoring_func = CONFIG_SOFTMAX,
                       .routed_scaling_factor = 2};
    float logits[4] = {logf(0.1f), logf(0.4f), logf(0.2f), logf(0.3f)}, scratch[8], weights[2];
    uint32_t ids[2];
    router_select(&c, logits, NULL, scratch, ids, weights);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 3);
    assert_near(weights[0], 0.8);
    assert_near(weights[1], 0.6);
}

static void groups_are_ranked_by_their_best_expert(void **state)
{
    (void)state;
    struct config c = {.n_routed_experts = 6, .num_experts_per_tok = 2, .n_group = 3, .topk_group = 1,
                       .topk_method = CONFIG_GROUP_LIMITED_GREEDY, .scoring_func = CONFIG_SOFTMAX,
                       .routed_scaling_factor = 1};
    /* the second best expert is in another group than the best and must be passed over */
    float logits[6] = {logf(0.25f), logf(0.2f), logf(0.3f), logf(0.05f), logf(0.1f), logf(0.1f)};
    float scratch[12], weights[2];
    uint32_t ids[2];
    router_select(&c, logits, NULL, scratch, ids, weights);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 3);
    assert_near(weights[0], 0.3);
    assert_near(weights[1], 0.05);
}

static void v3_groups_are_ranked_by_two_and_the_bias_only_chooses(void **state)
{
    (void)state;
    struct config c = {.n_routed_experts = 6, .num_experts_per_tok = 2, .n_group = 2, .topk_group = 1,
                       .topk_method = CONFIG_NOAUX_TC, .scoring_func = CONFIG_SIGMOID,
                       .norm_topk_prob = true, .routed_scaling_factor = 2.5f};
    /* biased: group 0 = .9 .1 .2, sum of two 1.1; group 1 = .6 .7 .1, sum of two 1.3 */
    float logits[6] = {logit(0.9), logit(0.3), logit(0.2), logit(0.6), logit(0.2), logit(0.1)};
    const float bias[6] = {0, -0.2f, 0, 0, 0.5f, 0};
    float scratch[12], weights[2];
    uint32_t ids[2];
    router_select(&c, logits, bias, scratch, ids, weights);
    assert_int_equal(ids[0], 4);
    assert_int_equal(ids[1], 3);
    assert_near(weights[0], 2.5 * 0.2 / 0.8);
    assert_near(weights[1], 2.5 * 0.6 / 0.8);
}

/* Masking dropped groups with 0 instead of -inf would let expert 2 in front of expert 1. */
static void dropped_groups_stay_dropped_when_biases_are_negative(void **state)
{
    (void)state;
    struct config c = {.n_routed_experts = 4, .num_experts_per_tok = 2, .n_group = 2, .topk_group = 1,
                       .topk_method = CONFIG_NOAUX_TC, .scoring_func = CONFIG_SIGMOID,
                       .routed_scaling_factor = 1};
    float logits[4] = {logit(0.5), logit(0.2), logit(0.1), logit(0.1)}, scratch[8], weights[2];
    const float bias[4] = {-0.9f, -0.9f, -0.9f, -0.9f};
    uint32_t ids[2];
    router_select(&c, logits, bias, scratch, ids, weights);
    assert_int_equal(ids[0], 0);
    assert_int_equal(ids[1], 1);
}

static void ties_go_to_the_lower_index(void **state)
{
    (void)state;
    struct config c = {.n_routed_experts = 8, .num_experts_per_tok = 3, .n_group = 4, .topk_group = 2,
                       .topk_method = CONFIG_NOAUX_TC, .scoring_func = CONFIG_SIGMOID,
                       .norm_topk_prob = true, .routed_scaling_factor = 1};
    float logits[8] = {0}, scratch[16], weights[3];
    uint32_t ids[3];
    router_select(&c, logits, NULL, scratch, ids, weights);
    for (uint32_t k = 0; k < 3; k++) {
        assert_int_equal(ids[k], k);
        assert_near(weights[k], 1.0 / 3);
    }
}

static void broken_logits_still_give_distinct_valid_experts(void **state)
{
    (void)state;
    const float values[] = {NAN, INFINITY, -INFINITY, 0};
    for (int method = CONFIG_GREEDY; method <= CONFIG_NOAUX_TC; method++) {
        for (int scoring = CONFIG_SOFTMAX; scoring <= CONFIG_SIGMOID; scoring++) {
            for (unsigned mix = 0; mix < 4096; mix++) {
                struct config c = {.n_routed_experts = 6, .num_experts_per_tok = 4, .n_group = 3,
                                   .topk_group = 2, .topk_method = (enum config_topk)method,
                                   .scoring_func = (enum config_scoring)scoring,
                                   .norm_topk_prob = true, .routed_scaling_factor = 1};
                float logits[6], scratch[12], weights[4];
                const float bias[6] = {0, NAN, -INFINITY, INFINITY, 0, 0};
                uint32_t ids[4], seen = 0;
                for (size_t i = 0; i < 6; i++) {
                    logits[i] = values[mix >> (2 * i) & 3];
                }
                router_select(&c, logits, mix & 1 ? bias : NULL, scratch, ids, weights);
                for (size_t k = 0; k < 4; k++) {
                    assert_true(ids[k] < 6);
                    assert_false(seen >> ids[k] & 1);
                    seen |= 1u << ids[k];
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_best_softmax_scores_unnormalised),
        cmocka_unit_test(groups_are_ranked_by_their_best_expert),
        cmocka_unit_test(v3_groups_are_ranked_by_two_and_the_bias_only_chooses),
        cmocka_unit_test(dropped_groups_stay_dropped_when_biases_are_negative),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(broken_logits_still_give_distinct_valid_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

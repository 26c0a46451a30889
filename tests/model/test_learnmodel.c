/* The gradient of every parameter of whole models against finite differences, in float64: latent attention with
 * and without a query rank, grouped queries, dense and mixtures, both scorings, multi-token prediction, documents
 * in a row, the balance loss, norms of queries and keys, skips. Recomputing changes nothing; what cannot be is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/learnmodel.h"

enum { SEQUENCES = 2, CONTEXT = 6, T = SEQUENCES * CONTEXT, VOCAB = 11 };

static const struct learnmodel_scales scales = {0.3, 0.17, 0.21};

static struct config tiny(void)
{
    return (struct config){.family = CONFIG_DEEPSEEK,
                           .name = "tiny",
                           .vocab_size = VOCAB,
                           .hidden_size = 6,
                           .num_hidden_layers = 2,
                           .intermediate_size = 5,
                           .num_attention_heads = 2,
                           .num_key_value_heads = 2,
                           .max_position_embeddings = 64,
                           .rms_norm_eps = 1e-5f,
                           .kv_lora_rank = 4,
                           .qk_nope_head_dim = 3,
                           .qk_rope_head_dim = 2,
                           .v_head_dim = 3,
                           .n_routed_experts = 4,
                           .n_shared_experts = 1,
                           .num_experts_per_tok = 2,
                           .moe_intermediate_size = 3,
                           .first_k_dense_replace = 1,
                           .n_group = 1,
                           .topk_group = 1,
                           .topk_method = CONFIG_NOAUX_TC,
                           .scoring_func = CONFIG_SIGMOID,
                           .norm_topk_prob = true,
                           .routed_scaling_factor = 1.5f,
                           .num_nextn_predict_layers = 1,
                           .rope_theta = 100};
}

static const int32_t tokens[T] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8};
static const int32_t targets[T] = {1, 4, 1, 10, 9, 2, 6, 5, 7, 5, 8, -1};
static const int32_t positions[T] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
static const struct learnmodel_batch batch = {tokens, targets, positions};

static struct learnmodel *make(struct config c, struct learnmodel_options o, struct compute **compute)
{
    struct errinfo info = {0};
    struct learnmodel *m;
    if (config_finish(&c, &info) != ERR_OK || compute_new(CPUINFO_REF, 1, true, compute, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    o.n_sequences = SEQUENCES;
    o.context = CONTEXT;
    if (learnmodel_new(&c, &o, *compute, &m, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    learnparams_randomise(learnmodel_params(m), &(struct learnparams_init){1.3, 0.8, 0, 0.9, 0.9, 5});
    struct learnparams *p = learnmodel_params(m);
    struct rng r;
    rng_seed(&r, 6);
    for (size_t i = 0; i < p->n; i++) { /* norms and biases that are not all alike */
        struct learnparam *q = &p->all[i];
        for (size_t k = 0; q->kind >= LEARNPARAMS_VECTOR && k < q->value.cols; k++) {
            mat_set(&q->value, 0, k, (q->kind == LEARNPARAMS_VECTOR) + 0.2 * (double)rng_normal(&r));
        }
    }
    learnparams_refresh(p);
    return m;
}

static struct learnmodel_losses step(struct learnmodel *m, const struct learnmodel_scales *s)
{
    struct errinfo info = {0};
    struct learnmodel_losses l;
    if (learnmodel_step(m, &batch, s, &l, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return l;
}

static double total(struct learnmodel *m)
{
    struct learnmodel_losses l = step(m, NULL);
    return l.sum * scales.token + l.mtp_sum * scales.mtp + l.balance_sum * scales.balance;
}

/* f, which weighs the balance loss, jumps when a token changes its experts: a difference over a jump means nothing. */
static bool same_experts(struct learnmodel *m, uint64_t *before, bool set)
{
    bool same = true;
    const struct config *c = learnmodel_config(m);
    for (size_t i = 0; i < c->num_hidden_layers + c->num_nextn_predict_layers; i++) {
        const uint64_t *load = learnmodel_load(m, i);
        for (size_t e = 0; load && e < c->n_routed_experts; e++) {
            uint64_t *b = &before[i * c->n_routed_experts + e];
            same &= set || *b == load[e];
            *b = set ? load[e] : *b;
        }
    }
    learnmodel_forget_load(m);
    return same;
}

static void check_gradients(struct config c, struct learnmodel_options o)
{
    struct compute *compute;
    uint64_t load[64] = {0};
    size_t checked = 0, skipped = 0;
    o.exact = true;
    struct learnmodel *m = make(c, o, &compute);
    struct learnparams *p = learnmodel_params(m);
    learnparams_zero_grad(p);
    step(m, &scales);
    same_experts(m, load, true);
    for (size_t i = 0; i < p->n; i++) {
        struct learnparam *q = &p->all[i];
        for (size_t k = 0; q->kind != LEARNPARAMS_BALANCE && k < q->value.rows * q->value.cols; k++) {
            size_t row = k / q->value.cols, col = k % q->value.cols;
            const double h = 1e-5, at = mat_get(&q->value, row, col), said = mat_get(&q->grad, row, col);
            mat_set(&q->value, row, col, at + h);
            double up = total(m);
            bool same = same_experts(m, load, false);
            mat_set(&q->value, row, col, at - h);
            double found = (up - total(m)) / (2 * h);
            same &= same_experts(m, load, false);
            mat_set(&q->value, row, col, at);
            if (same && !(fabs(found - said) <= 2e-7 * (1 + fabs(found)))) {
                fail_msg("%s (%zu, %zu): gradient %.12g, differences %.12g", q->name, row, col, said, found);
            }
            checked += same;
            skipped += !same;
        }
    }
    assert_true(checked > 300 && skipped * 50 < checked);
    learnmodel_free(m);
    compute_free(compute);
}

static void test_mixture_with_mtp_has_the_gradients_of_differences(void **state)
{
    (void)state;
    check_gradients(tiny(), (struct learnmodel_options){.z_loss = 1e-3});
}

static void test_query_rank_softmax_and_no_shared_expert_have_them(void **state)
{
    (void)state;
    struct config c = tiny();
    c.q_lora_rank = 3;
    c.scoring_func = CONFIG_SOFTMAX;
    c.topk_method = CONFIG_GREEDY;
    c.norm_topk_prob = false;
    c.n_shared_experts = 0;
    c.num_nextn_predict_layers = 0;
    check_gradients(c, (struct learnmodel_options){0});
}

static void test_dense_tied_model_has_them(void **state)
{
    (void)state;
    struct config c = tiny();
    c.n_routed_experts = c.n_shared_experts = c.num_experts_per_tok = c.moe_intermediate_size = 0;
    c.n_group = c.topk_group = 0;
    c.tie_word_embeddings = true;
    c.num_nextn_predict_layers = 0;
    check_gradients(c, (struct learnmodel_options){0});
}

static struct config llama(void)
{
    struct config c = tiny();
    return (struct config){.family = CONFIG_LLAMA,
                           .name = "tiny llama",
                           .vocab_size = VOCAB,
                           .hidden_size = 6,
                           .num_hidden_layers = 2,
                           .intermediate_size = 5,
                           .num_attention_heads = 4,
                           .num_key_value_heads = 2,
                           .head_dim = 4,
                           .max_position_embeddings = 64,
                           .rms_norm_eps = c.rms_norm_eps,
                           .rope_theta = 100,
                           .rope_pairs = ROPE_HALF};
}

static void test_grouped_queries_have_them_tied_and_untied(void **state)
{
    (void)state;
    struct config c = llama();
    check_gradients(c, (struct learnmodel_options){.z_loss = 1e-3});
    c.tie_word_embeddings = true;
    c.num_key_value_heads = 1;
    c.rope_pairs = ROPE_INTERLEAVED;
    check_gradients(c, (struct learnmodel_options){.recompute = true});
}

static struct config gpt2(void)
{
    return (struct config){.family = CONFIG_GPT2,
                           .name = "tiny GPT-2",
                           .vocab_size = VOCAB,
                           .hidden_size = 6,
                           .num_hidden_layers = 2,
                           .intermediate_size = 5,
                           .num_attention_heads = 3,
                           .num_key_value_heads = 3,
                           .head_dim = 2,
                           .max_position_embeddings = 7,
                           .rms_norm_eps = 1e-5f,
                           .rope_theta = 100};
}

static void test_gpt2s_class_has_them_tied_and_untied(void **state)
{
    (void)state;
    struct config c = gpt2();
    check_gradients(c, (struct learnmodel_options){.z_loss = 1e-3});
    c.tie_word_embeddings = true;
    check_gradients(c, (struct learnmodel_options){.recompute = true});
}

/* Fewer rows than pairs, so that some share one. */
static void test_embeddings_of_pairs_have_them(void **state)
{
    (void)state;
    struct config c = llama();
    c.bigram_vocab_size = 5;
    check_gradients(c, (struct learnmodel_options){0});
    c = tiny();
    c.bigram_vocab_size = 9;
    c.tie_word_embeddings = true;
    check_gradients(c, (struct learnmodel_options){0});
}

static void test_norms_of_queries_and_keys_have_them(void **state)
{
    (void)state;
    struct config c = llama();
    c.qk_norm = true;
    check_gradients(c, (struct learnmodel_options){0});
    c = tiny();
    c.qk_norm = true;
    c.q_lora_rank = 3;
    check_gradients(c, (struct learnmodel_options){.recompute = true});
}

static void test_skips_from_the_embedding_have_them(void **state)
{
    (void)state;
    struct config c = llama();
    c.x0_skip = true;
    c.tie_word_embeddings = true;
    check_gradients(c, (struct learnmodel_options){0});
    c = tiny();
    c.x0_skip = true;
    c.bigram_vocab_size = 9;
    check_gradients(c, (struct learnmodel_options){.recompute = true});
}

static void test_values_of_the_first_layer_have_them(void **state)
{
    (void)state;
    struct config c = llama();
    c.value_residual = true;
    c.num_hidden_layers = 3;
    check_gradients(c, (struct learnmodel_options){0});
    c = tiny();
    c.value_residual = c.x0_skip = c.qk_norm = true;
    check_gradients(c, (struct learnmodel_options){.recompute = true});
}

/* With weights 1 and 0 for itself and the other, a layer is as it was; so it is with weights of the values. */
static void test_skips_that_weigh_nothing_change_nothing(void **state)
{
    (void)state;
    double loss[2];
    for (int i = 0; i < 2; i++) {
        struct compute *compute;
        struct config c = llama();
        c.value_residual = i;
        struct learnmodel *m = make(c, (struct learnmodel_options){.exact = true}, &compute);
        struct learnparams *p = learnmodel_params(m);
        for (size_t k = 0; k < p->n; k++) {
            bool skip = strstr(p->all[k].name, "value_residual");
            for (size_t r = 0; r < p->all[k].value.rows; r++) {
                for (size_t col = 0; col < p->all[k].value.cols; col++) {
                    mat_set(&p->all[k].value, r, col, skip ? col == 0 : sin((double)(7 * r + 3 * col + 1)));
                }
            }
        }
        loss[i] = step(m, NULL).sum;
        learnmodel_free(m);
        compute_free(compute);
    }
    assert_true(loss[0] == loss[1]);
}

/* What a pair adds depends on both tokens, and not on another document's. */
static void test_a_pair_is_a_token_and_the_one_before_it(void **state)
{
    (void)state;
    struct config c = llama();
    struct compute *compute;
    c.bigram_vocab_size = 4099;
    struct learnmodel *m = make(c, (struct learnmodel_options){.exact = true}, &compute);
    struct learnparams *p = learnmodel_params(m);
    learnparams_zero_grad(p);
    step(m, &scales);
    size_t used = 0;
    for (size_t r = 0; r < p->bigrams->grad.rows; r++) {
        used += mat_get(&p->bigrams->grad, r, 0) != 0;
        assert_true(mat_get(&p->bigrams->value, r, 0) == 0);
    }
    assert_int_equal(used, T - 2); /* two documents begin with 3, and the last token of all predicts nothing */
    learnmodel_free(m);
    compute_free(compute);
}

static void test_biases_of_attention_are_refused_by_name(void **state)
{
    (void)state;
    struct config c = llama();
    struct compute *compute;
    struct learnmodel *m;
    struct errinfo info = {0};
    c.family = CONFIG_QWEN2;
    c.attention_bias = true;
    assert_int_equal(config_finish(&c, &info), ERR_OK);
    assert_int_equal(compute_new(CPUINFO_REF, 1, true, &compute, &info), ERR_OK);
    const struct learnmodel_options o = {.n_sequences = SEQUENCES, .context = CONTEXT};
    assert_int_equal(learnmodel_new(&c, &o, compute, &m, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "biases"));
    compute_free(compute);
}

static void test_recomputing_changes_no_bit_and_takes_less_memory(void **state)
{
    (void)state;
    struct compute *compute[2];
    struct learnmodel *m[2];
    struct learnmodel_losses l[2];
    struct learnmodel_sizes sizes[2];
    struct errinfo info = {0};
    for (int exact = 0; exact < 2; exact++) {
        for (int i = 0; i < 2; i++) {
            struct learnmodel_options o = {.exact = exact, .recompute = i};
            m[i] = make(tiny(), o, &compute[i]);
            o.n_sequences = SEQUENCES;
            o.context = CONTEXT;
            assert_int_equal(learnmodel_measure(learnmodel_config(m[i]), &o, 1, &sizes[i], &info), ERR_OK);
            learnparams_zero_grad(learnmodel_params(m[i]));
            l[i] = step(m[i], &scales);
        }
        assert_true(l[0].sum == l[1].sum && l[0].mtp_sum == l[1].mtp_sum);
        assert_int_equal(l[0].n, T - 1);
        assert_true(sizes[1].activations < sizes[0].activations);
        assert_int_equal(sizes[0].n_values, learnmodel_params(m[0])->n_values);
        for (size_t i = 0; i < learnmodel_params(m[0])->n; i++) {
            struct mat a = learnmodel_params(m[0])->all[i].grad, b = learnmodel_params(m[1])->all[i].grad;
            assert_memory_equal(a.data, b.data, a.rows * a.cols * mat_type_bytes(a.type));
        }
        for (int i = 0; i < 2; i++) {
            learnmodel_free(m[i]);
            compute_free(compute[i]);
        }
    }
}

/* What validation asks for: the same losses, without the layer that looks further. */
static void test_a_score_leaves_out_what_is_further(void **state)
{
    (void)state;
    struct compute *compute;
    struct learnmodel *m = make(tiny(), (struct learnmodel_options){0}, &compute);
    struct learnmodel_losses all = step(m, NULL), l;
    struct errinfo info = {0};
    size_t last = learnmodel_config(m)->num_hidden_layers, chosen = 0;
    assert_true(all.mtp_n > 0);
    learnmodel_forget_load(m);
    assert_int_equal(learnmodel_score(m, &batch, &l, &info), ERR_OK);
    assert_true(l.sum == all.sum && l.n == all.n && l.mtp_n == 0);
    const uint64_t *load = learnmodel_load(m, last);
    for (size_t e = 0; load && e < learnmodel_config(m)->n_routed_experts; e++) {
        chosen += load[e];
    }
    assert_true(load && chosen == 0);
    learnmodel_free(m);
    compute_free(compute);
}

static void test_more_threads_take_more_memory(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct config c = tiny();
    struct learnmodel_sizes one, four;
    const struct learnmodel_options o = {.n_sequences = 8, .context = 2048};
    assert_int_equal(config_finish(&c, &info), ERR_OK);
    assert_int_equal(learnmodel_measure(&c, &o, 1, &one, &info), ERR_OK);
    assert_int_equal(learnmodel_measure(&c, &o, 4, &four, &info), ERR_OK);
    assert_true(four.activations > one.activations && four.parameters == one.parameters);
}

static void test_tokens_and_places_that_are_none_are_refused(void **state)
{
    (void)state;
    struct compute *compute;
    struct learnmodel *m = make(tiny(), (struct learnmodel_options){0}, &compute);
    struct learnmodel_losses l;
    struct errinfo info = {0};
    for (int k = 0; k < 4; k++) {
        int32_t a[T], b[T], p[T];
        memcpy(a, tokens, sizeof a);
        memcpy(b, targets, sizeof b);
        memcpy(p, positions, sizeof p);
        a[3] = k == 0 ? VOCAB : k == 1 ? -1 : a[3];
        b[5] = k == 2 ? VOCAB : b[5];
        p[6] = k == 3 ? 1 : p[6];
        const struct learnmodel_batch bad = {a, b, p};
        assert_int_equal(learnmodel_step(m, &bad, NULL, &l, &info), ERR_ARGUMENT);
    }
    learnmodel_free(m);
    compute_free(compute);
}

static void test_failing_allocations_leave_nothing_behind(void **state)
{
    (void)state;
    struct config c = tiny();
    struct compute *compute;
    struct errinfo info = {0};
    struct learnmodel *m;
    const struct learnmodel_options o = {.n_sequences = SEQUENCES, .context = CONTEXT};
    assert_int_equal(config_finish(&c, &info), ERR_OK);
    assert_int_equal(compute_new(CPUINFO_REF, 1, true, &compute, &info), ERR_OK);
    size_t alive = mem_alive(), k = 1;
    for (;; k++) {
        mem_fault(k, 0);
        err e = learnmodel_new(&c, &o, compute, &m, &info);
        mem_fault(0, 0);
        if (e == ERR_OK) {
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        assert_int_equal(mem_alive(), alive);
    }
    assert_true(k > 8);
    learnmodel_free(m);
    compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixture_with_mtp_has_the_gradients_of_differences),
        cmocka_unit_test(test_query_rank_softmax_and_no_shared_expert_have_them),
        cmocka_unit_test(test_dense_tied_model_has_them),
        cmocka_unit_test(test_grouped_queries_have_them_tied_and_untied),
        cmocka_unit_test(test_gpt2s_class_has_them_tied_and_untied),
        cmocka_unit_test(test_embeddings_of_pairs_have_them),
        cmocka_unit_test(test_norms_of_queries_and_keys_have_them),
        cmocka_unit_test(test_skips_from_the_embedding_have_them),
        cmocka_unit_test(test_values_of_the_first_layer_have_them),
        cmocka_unit_test(test_skips_that_weigh_nothing_change_nothing),
        cmocka_unit_test(test_a_pair_is_a_token_and_the_one_before_it),
        cmocka_unit_test(test_biases_of_attention_are_refused_by_name),
        cmocka_unit_test(test_recomputing_changes_no_bit_and_takes_less_memory),
        cmocka_unit_test(test_a_score_leaves_out_what_is_further),
        cmocka_unit_test(test_more_threads_take_more_memory),
        cmocka_unit_test(test_tokens_and_places_that_are_none_are_refused),
        cmocka_unit_test(test_failing_allocations_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Parameters of a tiny mixture of experts for the tests of optimizer and average, with values and gradients that
 * tools/golden/optimizer.py draws too. */
#ifndef TESTS_TRAIN_LEARNFIXTURE_H
#define TESTS_TRAIN_LEARNFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/learnparams.h"

static inline void learnfixture_must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fail_msg("%s: %s", err_name(e), info->message);
    }
}

/* `times` widens it: 1 is the golden shape, 16 enough for threads to share the work. */
static inline struct config learnfixture_config(size_t times)
{
    struct errinfo info = {0};
    struct config c = {.family = CONFIG_DEEPSEEK,
                       .name = "tiny",
                       .vocab_size = 11 * times,
                       .hidden_size = 6 * times,
                       .num_hidden_layers = 2,
                       .intermediate_size = 5 * times,
                       .num_attention_heads = 2,
                       .num_key_value_heads = 2,
                       .max_position_embeddings = 64,
                       .rms_norm_eps = 1e-5f,
                       .kv_lora_rank = 4 * times,
                       .qk_nope_head_dim = 3 * times,
                       .qk_rope_head_dim = 2 * times,
                       .v_head_dim = 3 * times,
                       .n_routed_experts = 4,
                       .n_shared_experts = 1,
                       .num_experts_per_tok = 2,
                       .moe_intermediate_size = 3 * times,
                       .first_k_dense_replace = 1,
                       .n_group = 1,
                       .topk_group = 1,
                       .topk_method = CONFIG_NOAUX_TC,
                       .scoring_func = CONFIG_SIGMOID,
                       .norm_topk_prob = true,
                       .routed_scaling_factor = 1.5f,
                       .rope_theta = 100};
    learnfixture_must(config_finish(&c, &info), &info);
    return c;
}

static inline struct compute *learnfixture_compute(enum cpuinfo_level level, int n_threads)
{
    struct errinfo info = {0};
    struct compute *c;
    learnfixture_must(compute_new(level, n_threads, false, &c, &info), &info);
    return c;
}

static inline double learnfixture_number(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 40) * 0x1p-23 - 1;
}

static inline void learnfixture_draw(struct mat m, uint64_t *state, double scale, double offset)
{
    for (size_t r = 0; r < m.rows; r++) {
        for (size_t c = 0; c < m.cols; c++) {
            mat_set(&m, r, c, offset + scale * learnfixture_number(state));
        }
    }
}

static inline struct learnparams *learnfixture_params(size_t times, bool exact, uint64_t *state)
{
    struct errinfo info = {0};
    struct learnparams *p;
    struct config c = learnfixture_config(times);
    learnfixture_must(learnparams_new(&c, exact, &p, &info), &info);
    for (size_t i = 0; i < p->n; i++) {
        bool vector = p->all[i].kind == LEARNPARAMS_VECTOR;
        learnfixture_draw(p->all[i].value, state, vector ? 0.25 : 1, vector);
    }
    learnparams_refresh(p);
    return p;
}

static inline void learnfixture_gradients(struct learnparams *p, uint64_t *state)
{
    for (size_t i = 0; i < p->n; i++) {
        learnfixture_draw(p->all[i].grad, state, 0.125, 0);
    }
}

static inline bool learnfixture_same(struct mat a, struct mat b)
{
    return memcmp(a.data, b.data, a.rows * a.cols * mat_type_bytes(a.type)) == 0;
}

/* All values and their copies, bit for bit. */
static inline bool learnfixture_equal(const struct learnparams *a, const struct learnparams *b)
{
    for (size_t i = 0; i < a->n; i++) {
        if (!learnfixture_same(a->all[i].value, b->all[i].value) ||
            !learnfixture_same(a->all[i].work, b->all[i].work)) {
            return false;
        }
    }
    return true;
}

/* The copy is what learnparams_refresh would make of the values. */
static inline void learnfixture_check_work(const struct learnparams *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct learnparam *q = &p->all[i];
        uint16_t rounded;
        struct mat one = mat_of(&rounded, MAT_BF16, 1, 1);
        for (size_t k = 0; q->work.type == MAT_BF16 && k < q->value.rows * q->value.cols; k++) {
            mat_set(&one, 0, 0, mat_get(&q->value, k / q->value.cols, k % q->value.cols));
            assert_int_equal(((uint16_t *)q->work.data)[k], rounded);
        }
    }
}

#endif

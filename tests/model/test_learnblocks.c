/* Batches are cut by their shape; every token is in one block, with its own positions and a compute of its own, for
 * any number of threads; sums over blocks run in order; the first error is told. In whole models of several blocks
 * threads change no bit, and a batch's gradients are the sum of its sequences'. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/learnmodel.h"

enum { TOKENS = 3600, CONTEXT = 300, THREADS = 5 };

static void test_blocks_are_whole_sequences_of_about_as_many_tokens(void **state)
{
    (void)state;
    static const size_t cases[][4] = { /* sequences, context, blocks, tokens */
        {8, 512, 8, 512}, {8, 511, 8, 511}, {8, 256, 4, 512}, {7, 256, 4, 512}, {9, 100, 2, 500},
        {3, 100, 1, 300}, {4, 2048, 4, 2048}, {1, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct learnblocks b;
        learnblocks_init(&b, cases[i][0], cases[i][1]);
        assert_int_equal(b.n, cases[i][2]);
        assert_int_equal(b.tokens, cases[i][3]);
    }
}

struct seen {
    const int32_t *positions;
    unsigned char *times; /* [TOKENS] */
    struct mat sums;
    size_t fails; /* from this token on */
};

static err look(const struct learnrun *r, size_t first, const void *user)
{
    const struct seen *s = user;
    char *own = learnarena_bytes(r->arena, 100 * r->n_tokens);
    struct mat sum = learnblocks_sum(r, s->sums, first);
    if (r->counting) {
        return ERR_OK;
    }
    assert_non_null(own);
    assert_int_equal(r->n_sequences * CONTEXT, r->n_tokens);
    assert_ptr_equal(r->positions, s->positions + first);
    memset(own, (int)first, 100 * r->n_tokens);
    for (size_t t = first; t < first + r->n_tokens; t++) {
        s->times[t]++;
        mat_set(&sum, 0, 0, mat_get(&sum, 0, 0) + (double)t);
    }
    return first >= s->fails ? err_set(r->info, ERR_LIMIT, "from %zu", first) : ERR_OK;
}

static void check_blocks(int n_threads, size_t fails)
{
    static int32_t positions[TOKENS];
    static unsigned char times[TOKENS];
    struct compute *compute;
    struct learnblocks blocks;
    struct learnarena arena;
    struct errinfo info = {0};
    struct mat y = mat_of(&(double){0}, MAT_F64, 1, 1);
    struct seen seen = {positions, times, {0}, fails};
    struct learnrun r = {.arena = &arena, .wide = MAT_F64, .narrow = MAT_F64, .n_tokens = TOKENS,
                         .n_sequences = TOKENS / CONTEXT, .blocks = &blocks, .counting = true, .info = &info};
    memset(times, 0, sizeof times);
    assert_int_equal(compute_new(CPUINFO_REF, n_threads, true, &compute, &info), ERR_OK);
    learnarena_init_counting(&arena);
    learnblocks_init(&blocks, r.n_sequences, CONTEXT);
    seen.sums = learnblocks_sums(&r, 1);
    assert_int_equal(learnblocks_run(&r, look, &seen), ERR_OK);
    assert_int_equal(blocks.area, 100 * blocks.tokens / 64 * 64 + 64);
    assert_int_equal(learnblocks_bytes(&blocks, n_threads), blocks.area * (size_t)n_threads);
    assert_int_equal(learnarena_init(&arena, arena.most, &info), ERR_OK);
    assert_int_equal(learnblocks_start(&blocks, compute, &info), ERR_OK);
    r.compute = compute;
    r.counting = false;
    r.positions = positions;
    seen.sums = learnblocks_sums(&r, 1);
    err e = learnblocks_run(&r, look, &seen);
    if (fails < TOKENS) {
        assert_int_equal(e, ERR_LIMIT);
        assert_non_null(strstr(info.message, "from "));
    } else {
        assert_int_equal(e, ERR_OK);
        for (size_t t = 0; t < TOKENS; t++) {
            assert_int_equal(times[t], 1);
        }
        learnblocks_add(&r, y, seen.sums);
        assert_true(mat_get(&y, 0, 0) == TOKENS * (TOKENS - 1) / 2);
    }
    assert_false(arena.failed);
    learnblocks_deinit(&blocks);
    learnarena_deinit(&arena);
    compute_free(compute);
}

static void test_every_token_is_in_one_block_for_any_number_of_threads(void **state)
{
    (void)state;
    for (int n = 1; n <= THREADS; n++) {
        check_blocks(n, TOKENS);
    }
}

static void test_the_error_of_a_block_is_told(void **state)
{
    (void)state;
    check_blocks(1, 1200);
    check_blocks(3, 1200);
    check_blocks(2, 0);
}

/* ---- Whole models ---- */

static struct config small(bool latent)
{
    struct config c = {.family = latent ? CONFIG_DEEPSEEK : CONFIG_LLAMA,
                       .name = "small",
                       .vocab_size = 19,
                       .hidden_size = 32,
                       .num_hidden_layers = 2,
                       .intermediate_size = 24,
                       .num_attention_heads = 2,
                       .num_key_value_heads = latent ? 2 : 1,
                       .max_position_embeddings = 1024,
                       .rms_norm_eps = 1e-5f,
                       .rope_theta = 100};
    if (!latent) {
        c.head_dim = 16;
        return c;
    }
    c.q_lora_rank = 16;
    c.kv_lora_rank = 16;
    c.qk_nope_head_dim = 8;
    c.qk_rope_head_dim = 8;
    c.v_head_dim = 16;
    c.n_routed_experts = 4;
    c.n_shared_experts = 1;
    c.num_experts_per_tok = 2;
    c.moe_intermediate_size = 16;
    c.first_k_dense_replace = 1;
    c.n_group = c.topk_group = 1;
    c.topk_method = CONFIG_NOAUX_TC;
    c.scoring_func = CONFIG_SIGMOID;
    c.norm_topk_prob = true;
    c.routed_scaling_factor = 1.5f;
    c.num_nextn_predict_layers = 1;
    return c;
}

/* With what no published class has. */
static struct config more(bool latent)
{
    struct config c = small(latent);
    c.qk_norm = c.x0_skip = c.value_residual = true;
    c.num_hidden_layers = 3;
    return c;
}

struct made {
    struct compute *compute;
    struct learnmodel *model;
    struct learnparams *params;
};

static struct made make(struct config c, enum cpuinfo_level level, int n_threads, struct learnmodel_options o)
{
    struct made m;
    struct errinfo info = {0};
    if (config_finish(&c, &info) != ERR_OK || compute_new(level, n_threads, true, &m.compute, &info) != ERR_OK ||
        learnmodel_new(&c, &o, m.compute, &m.model, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    m.params = learnmodel_params(m.model);
    learnparams_randomise(m.params, &(struct learnparams_init){1.3, 0.8, 0, 0.9, 0.9, 5});
    learnparams_refresh(m.params);
    learnparams_zero_grad(m.params);
    return m;
}

static void unmake(struct made *m)
{
    learnmodel_free(m->model);
    compute_free(m->compute);
}

/* n sequences from sequence `first` on, of one or two documents. */
static void step(struct made *m, size_t first, size_t n, size_t context)
{
    static int32_t tokens[TOKENS], targets[TOKENS], positions[TOKENS];
    struct learnmodel_losses l;
    struct errinfo info = {0};
    for (size_t t = 0; t < n * context; t++) {
        size_t at = first * context + t, in = at % context, cut = at / context % 2 ? context / 3 : context;
        tokens[t] = (int32_t)(at * at % 19);
        targets[t] = in + 1 == context ? -1 : (int32_t)((at + 1) * (at + 1) % 19);
        positions[t] = (int32_t)(in < cut ? in : in - cut);
    }
    const struct learnmodel_batch b = {tokens, targets, positions};
    if (learnmodel_step(m->model, &b, &(struct learnmodel_scales){0.01, 0.003, 0.1}, &l, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
}

static void check_threads(struct config c, enum cpuinfo_level level)
{
    const struct learnmodel_options o = {.n_sequences = 3, .context = CONTEXT, .recompute = config_is_mla(&c)};
    struct made one = make(c, level, 1, o);
    step(&one, 0, 3, CONTEXT);
    for (int n = 2; n < 9; n += 3) { /* as many blocks each, or fewer than threads */
        struct made many = make(c, level, n, o);
        step(&many, 0, 3, CONTEXT);
        for (size_t i = 0; i < one.params->n; i++) {
            struct mat a = one.params->all[i].grad, b = many.params->all[i].grad;
            assert_memory_equal(a.data, b.data, a.rows * a.cols * mat_type_bytes(a.type));
        }
        unmake(&many);
    }
    unmake(&one);
}

static void test_threads_change_no_bit(void **state)
{
    (void)state;
    for (int level = CPUINFO_REF + 1; level <= (int)cpuinfo_best(); level++) { /* the reference has none */
        for (int latent = 0; latent < 2; latent++) {
            check_threads(small(latent), (enum cpuinfo_level)level);
            check_threads(more(latent), (enum cpuinfo_level)level);
        }
    }
}

/* In float64, where only the order of sums differs. */
static void check_sequences(struct config c)
{
    struct made all = make(c, CPUINFO_REF, 2,
                           (struct learnmodel_options){.exact = true, .n_sequences = 2, .context = CONTEXT});
    struct made one = make(c, CPUINFO_REF, 1,
                           (struct learnmodel_options){.exact = true, .n_sequences = 1, .context = CONTEXT});
    step(&all, 0, 2, CONTEXT);
    for (size_t i = 0; i < 2; i++) {
        step(&one, i, 1, CONTEXT);
    }
    for (size_t i = 0; i < all.params->n; i++) {
        struct mat a = all.params->all[i].grad, b = one.params->all[i].grad;
        for (size_t k = 0; k < a.rows * a.cols; k++) {
            double x = ((const double *)a.data)[k], y = ((const double *)b.data)[k];
            if (fabs(x - y) > 1e-11 * (1 + fabs(x))) {
                fail_msg("%s, %zu: %g and %g", all.params->all[i].name, k, x, y);
            }
        }
    }
    unmake(&one);
    unmake(&all);
}

static void test_a_batch_has_the_sum_of_its_sequences_gradients(void **state)
{
    (void)state;
    check_sequences(small(true));
    check_sequences(small(false));
    check_sequences(more(true));
}

/* Of each tensor's gradient: the distance between the two, relative to its size. */
static void check_bfloat16(struct config c, enum cpuinfo_level level)
{
    const struct learnmodel_options o = {.n_sequences = 2, .context = CONTEXT};
    struct learnmodel_options judges = o;
    judges.exact = true;
    struct made fast = make(c, level, 1, o), judge = make(c, CPUINFO_REF, 1, judges);
    step(&fast, 0, 2, CONTEXT);
    step(&judge, 0, 2, CONTEXT);
    for (size_t i = 0; i < judge.params->n; i++) {
        const struct mat *a = &fast.params->all[i].grad, *b = &judge.params->all[i].grad;
        double far = 0, size = 0;
        for (size_t k = 0; k < b->rows * b->cols; k++) {
            double x = mat_get(a, k / b->cols, k % b->cols), y = mat_get(b, k / b->cols, k % b->cols);
            far += (x - y) * (x - y);
            size += y * y;
        }
        if (!(far <= 0.03 * 0.03 * size)) {
            fail_msg("%s: %.3g of its size away", judge.params->all[i].name, sqrt(far / size));
        }
    }
    unmake(&fast);
    unmake(&judge);
}

static void test_in_bfloat16_gradients_are_near(void **state)
{
    (void)state;
    for (int level = CPUINFO_REF + 1; level <= (int)cpuinfo_best(); level++) {
        check_bfloat16(more(false), (enum cpuinfo_level)level);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_whole_sequences_of_about_as_many_tokens),
        cmocka_unit_test(test_every_token_is_in_one_block_for_any_number_of_threads),
        cmocka_unit_test(test_the_error_of_a_block_is_told),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_a_batch_has_the_sum_of_its_sequences_gradients),
        cmocka_unit_test(test_in_bfloat16_gradients_are_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

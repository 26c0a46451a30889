/* Guessing ahead changes nothing but the speed: tokens, log-probabilities and saved sessions, bit for bit,
 * whatever is sampled and however the answer ends. */
#include <math.h>
#include <unistd.h>

#include "engine/drafter.h"
#include "enginefixture.h"
#include "tensor/ops.h"
#include "tensor/ref/quantize.h"

enum { PROMPT = 40, ANSWER = 60, CONTEXT = 200 };

/* Everything the callback of one generation saw. */
struct heard {
    int32_t ids[CONTEXT];
    float logprobs[CONTEXT], top[CONTEXT];
    char text[8 * CONTEXT];
    size_t n, len, stop_at;
};

static bool hear(void *user, const struct session_token *t)
{
    struct heard *h = user;
    h->ids[h->n] = t->id;
    h->logprobs[h->n] = t->logprob;
    h->top[h->n] = t->n_top ? t->top_logprobs[t->n_top - 1] : 0;
    memcpy(h->text + h->len, t->text, t->text_len);
    h->len += t->text_len;
    return ++h->n != h->stop_at;
}

/* A prompt that repeats itself, with a change here and there. */
static struct session *begun(struct engine *e, size_t context)
{
    int32_t ids[PROMPT];
    enginefixture_tokens(e, ids, 9);
    for (size_t i = 9; i < PROMPT; i++) {
        ids[i] = i % 13 == 0 ? (int32_t)(i % engine_vocab_size(e)) : ids[i - 9];
    }
    struct session *s = enginefixture_session(e, context);
    enginefixture_append(s, ids, PROMPT);
    return s;
}

static uint8_t *saved(const struct session *s, size_t *n)
{
    struct errinfo info = {0};
    char path[] = "/tmp/fathom-drafter-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    must(session_save(s, path, &info), &info);
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*n);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    fclose(f);
    unlink(path);
    return bytes;
}

static struct generate_result answer(struct session *s, const struct sampling *sampling,
                                     struct generate_options o, enum session_speculation how,
                                     struct heard *h)
{
    struct errinfo info = {0};
    struct generate_result r;
    *h = (struct heard){.stop_at = h->stop_at};
    o.speculation = how;
    o.draft_always = how != SESSION_SPECULATE_OFF;
    must(session_generate(s, sampling, &o, hear, h, &r, &info), &info);
    assert_int_equal(r.completion_tokens, h->n);
    assert_true(r.accepted_tokens <= r.drafted_tokens);
    return r;
}

/* Two sessions, one guessing, go through the same answer and a second one. Returns tokens guessed right. */
static size_t the_same(struct engine *e, const struct sampling *sampling, struct generate_options o,
                       size_t stop_at, enum session_speculation how)
{
    struct session *a = begun(e, CONTEXT), *b = begun(e, CONTEXT);
    size_t n[2], right = 0;
    for (int turn = 0; turn < 2; turn++) {
        struct heard plain = {.stop_at = stop_at}, guessed = {.stop_at = stop_at};
        struct generate_result p = answer(a, sampling, o, SESSION_SPECULATE_OFF, &plain);
        struct generate_result g = answer(b, sampling, o, how, &guessed);
        assert_memory_equal(&plain, &guessed, sizeof plain);
        assert_int_equal(p.finish, g.finish);
        assert_int_equal(p.prompt_tokens, g.prompt_tokens);
        assert_int_equal(p.drafted_tokens, 0);
        right += g.accepted_tokens;
        uint8_t *first = saved(a, &n[0]), *second = saved(b, &n[1]);
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(first, second, n[0]);
        free(first);
        free(second);
        if (turn == 0 && session_length(a) + 5 < CONTEXT) {
            struct errinfo info = {0};
            size_t keep = session_length(a) - 3;
            must(session_rewind(a, keep, &info), &info);
            must(session_rewind(b, keep, &info), &info);
            enginefixture_append(a, plain.ids, 4);
            enginefixture_append(b, plain.ids, 4);
        }
    }
    session_free(a);
    session_free(b);
    return right;
}

/* Sampled among few, so that guesses are right and wrong by turns. */
static const struct sampling few = {.temperature = 0.7f, .top_k = 3, .seed = 5};

static void each_model_both_modes(void)
{
    const struct generate_options o = {.max_tokens = ANSWER, .ignore_eos = true, .top_logprobs = 2};
    size_t right = 0;
    for (size_t m = 0; m < ENGINEFIXTURE_MODELS; m++) {
        for (int deterministic = 0; deterministic < 2; deterministic++) {
            struct engine *e =
                enginefixture_open(enginefixture_models[m], m == 0 ? 2 : 1, deterministic, 16);
            right += the_same(e, (m + (size_t)deterministic) % 2 ? NULL : &few, o, 0,
                              SESSION_SPECULATE_LOOKUP);
            engine_close(e);
        }
    }
    assert_true(right > 100);
}

static void test_the_same_bits_with_and_without_guesses(void **state)
{
    (void)state;
    enginefixture_each_level(each_model_both_modes);
}

enum { WIDE = 1408, HIGH = 40 };

/* Rows of a product together and alone, weights of `k` columns. */
static void a_weight_type(struct compute *c, enum dtype t, const float *weights, size_t k, const float *x)
{
    static const float scales[WIDE / 128] = {0.5f, 3, 0.25f, 1, 2, 0.125f, 1, 5, 0.3f, 1, 0.7f};
    static float together[DRAFTER_FAST_ROWS * HIGH];
    struct errinfo info = {0};
    const struct dtype_info *d = dtype_info(t);
    void *blocks = mem_alloc_aligned(HIGH * k / d->block_elems * d->block_bytes);
    assert_int_equal(quantize_run(t, weights, blocks, HIGH * k, NULL), ERR_OK);
    struct matmul_job job = {.x = x, .y = together, .x_stride = WIDE, .y_stride = HIGH};
    must(tensor_init(&job.w, t, 2, (const size_t[]){HIGH, k}, blocks), &info);
    job.w.scale = t == DTYPE_F8_E4M3 ? scales : NULL;
    for (job.n_rows = 2; job.n_rows <= DRAFTER_FAST_ROWS; job.n_rows++) {
        assert_int_equal(ops_matmul(c, &job, 1), ERR_OK);
        for (size_t i = 0; i < job.n_rows; i++) {
            float alone[HIGH];
            struct matmul_job one = job;
            one.n_rows = 1;
            one.x = x + i * WIDE;
            one.y = alone;
            assert_int_equal(ops_matmul(c, &one, 1), ERR_OK);
            assert_memory_equal(alone, together + i * HIGH, sizeof alone);
        }
    }
    mem_free_aligned(blocks);
}

/* What the fast mode rests on, for the weight types that no tiny model has, and for rows of every kind of end:
 * 1,408 columns are five and a half runs of 256. */
static void each_weight_type(void)
{
    struct errinfo info = {0};
    struct compute *c;
    struct rng r;
    static float x[DRAFTER_FAST_ROWS * WIDE], weights[HIGH * WIDE];
    enum cpuinfo_level level;
    must(cpuinfo_choose(&level, &info), &info);
    must(compute_new(level, 2, false, &c, &info), &info);
    rng_seed(&r, 3);
    for (size_t i = 0; i < HIGH * WIDE; i++) {
        weights[i] = (float)(rng_u64(&r) % 2001) / 1000 - 1;
        x[i % (DRAFTER_FAST_ROWS * WIDE)] = (float)(rng_u64(&r) % 2001) / 1000 - 1;
    }
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (quantize_has((enum dtype)t)) {
            size_t block = dtype_info((enum dtype)t)->block_elems;
            a_weight_type(c, (enum dtype)t, weights, 512, x);
            a_weight_type(c, (enum dtype)t, weights, block == 1 ? 1333 : WIDE / block * block, x);
        }
    }
    compute_free(c);
}

static void test_steps_of_few_rows_round_as_single_ones(void **state)
{
    (void)state;
    enginefixture_each_level(each_weight_type);
}

/* Three tokens to choose from: then the layer, whose weights are random, is right now and then. */
static const int32_t few_ids[] = {3, 40, 77};
static const float few_values[] = {60, 60, 60};
static const struct sampling biased = {.temperature = 1, .bias_ids = few_ids, .bias_values = few_values,
                                       .n_bias = 3, .seed = 6};

static void mtp_both_modes(void)
{
    static const char *const forms[] = {"tests/golden/model/v3-mtp", "tests/golden/model/v3-mtp/model.gguf"};
    const struct generate_options o = {.max_tokens = ANSWER, .top_logprobs = 2};
    size_t right = 0;
    for (int i = 0; i < 4; i++) {
        struct engine *e = enginefixture_open(forms[i / 2], 1, i & 1, 16);
        right += the_same(e, &biased, o, 0, SESSION_SPECULATE_MTP);
        the_same(e, NULL, o, 0, SESSION_SPECULATE_MTP);
        the_same(e, &few, o, 0, SESSION_SPECULATE_AUTO);
        engine_close(e);
    }
    assert_true(right > 100);
}

static void test_the_same_bits_with_the_models_own_guesses(void **state)
{
    (void)state;
    enginefixture_each_level(mtp_both_modes);
}

static void test_penalties_bias_and_truncation_of_the_set(void **state)
{
    const int32_t ids[] = {1, 2};
    const float values[] = {3, -INFINITY};
    const struct sampling all[] = {
        {.repetition_penalty = 1.3f, .penalty_window = 20},
        {.temperature = 1, .top_p = 0.5f, .presence_penalty = 0.5f, .frequency_penalty = 0.3f, .seed = 2},
        {.temperature = 0.5f, .min_p = 0.2f, .seed = 3},
        {.temperature = 1.5f, .top_k = 2, .bias_ids = ids, .bias_values = values, .n_bias = 2, .seed = 4}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        the_same(*state, &all[i], (struct generate_options){.max_tokens = ANSWER, .ignore_eos = true}, 0,
                 SESSION_SPECULATE_LOOKUP);
    }
}

/* Four tokens and no others: so that guesses are right and wrong often enough, and all can be counted. */
enum { SEEDS = 5000, FOUR = 4, HOT = 2 };
static const int32_t four[FOUR] = {3, 40, 77, 90};
static const float four_values[FOUR] = {80, 80, 80, 80};

/* How far counts of the four are from the model's distribution over them at temperature HOT: chi-square, 3
 * degrees. */
static double chi_square(struct session *s, const size_t counts[FOUR])
{
    struct errinfo info = {0};
    must(session_prefill(s, NULL, NULL, &info), &info);
    const float *logits = session_logits(s);
    double p[FOUR], sum = 0, total = 0, chi = 0;
    for (int i = 0; i < FOUR; i++) {
        p[i] = exp(((double)logits[four[i]] - (double)logits[four[0]]) / HOT);
        sum += p[i];
        total += (double)counts[i];
    }
    assert_true(total > 300);
    for (int i = 0; i < FOUR; i++) {
        double want = total * p[i] / sum;
        chi += ((double)counts[i] - want) * ((double)counts[i] - want) / want;
    }
    return chi;
}

static size_t which(int32_t id)
{
    for (size_t i = 0; i < FOUR; i++) {
        if (four[i] == id) {
            return i;
        }
    }
    fail_msg("token %d is none of the four", id);
    return 0;
}

/* Over many seeds, the third token after each pair of first ones, whether guesses were right or wrong there,
 * is distributed as the model says. The limit is what one case in 100,000 exceeds; 16 are looked at. */
static void check_distribution(const char *path, enum session_speculation how)
{
    static size_t counts[FOUR][FOUR][FOUR];
    struct engine *e = enginefixture_open(path, 1, false, 0);
    struct session *s = enginefixture_session(e, 100);
    struct errinfo info = {0};
    struct generate_result r;
    struct rng random;
    size_t right = 0, wrong = 0;
    const struct generate_options o = {.max_tokens = 5, .speculation = how, .draft_always = true,
                                       .ignore_eos = true};
    struct sampling p = {.temperature = HOT, .bias_ids = four, .bias_values = four_values, .n_bias = FOUR};
    int32_t prompt[PROMPT];
    rng_seed(&random, 4);
    for (int i = 0; i < PROMPT; i++) {
        prompt[i] = four[rng_u64(&random) % FOUR];
    }
    enginefixture_append(s, prompt, PROMPT);
    memset(counts, 0, sizeof counts);
    for (p.seed = 1; p.seed <= SEEDS; p.seed++) {
        must(session_generate(s, &p, &o, NULL, NULL, &r, &info), &info);
        const int32_t *t = session_tokens(s) + PROMPT;
        counts[which(t[0])][which(t[1])][which(t[2])]++;
        right += r.accepted_tokens;
        wrong += r.drafted_tokens - r.accepted_tokens;
        must(session_rewind(s, PROMPT, &info), &info);
    }
    assert_true(right > SEEDS / 10 && wrong > SEEDS / 10);
    size_t looked_at = 0;
    for (size_t i = 0; i < FOUR * FOUR; i++) {
        const size_t *n = counts[i / FOUR][i % FOUR];
        if (n[0] + n[1] + n[2] + n[3] > 300) {
            enginefixture_append(s, (int32_t[]){four[i / FOUR], four[i % FOUR]}, 2);
            double chi = chi_square(s, n);
            if (chi > 26) {
                fail_msg("%s after %d, %d: chi-square %.1f", path, four[i / FOUR], four[i % FOUR], chi);
            }
            must(session_rewind(s, PROMPT, &info), &info);
            looked_at++;
        }
    }
    assert_true(looked_at >= 4);
    session_free(s);
    engine_close(e);
}

static void test_sampled_tokens_follow_the_models_distribution(void **state)
{
    (void)state;
    check_distribution("tests/golden/model/v3", SESSION_SPECULATE_LOOKUP);
    check_distribution("tests/golden/model/v3-mtp", SESSION_SPECULATE_MTP);
}

static void test_every_way_an_answer_ends(void **state)
{
    const char *stop = "o";
    const int32_t stop_id = ' ';
    for (size_t n = 1; n < 20; n++) {
        the_same(*state, &few, (struct generate_options){.max_tokens = n, .ignore_eos = true}, 0,
                 SESSION_SPECULATE_LOOKUP);
        the_same(*state, &few, (struct generate_options){.ignore_eos = true}, n,
                 SESSION_SPECULATE_LOOKUP);
    }
    the_same(*state, &few, (struct generate_options){.stop = &stop, .n_stop = 1}, 0,
             SESSION_SPECULATE_LOOKUP);
    the_same(*state, &few, (struct generate_options){.stop_ids = &stop_id, .n_stop_ids = 1}, 0,
             SESSION_SPECULATE_LOOKUP);
    the_same(*state, NULL, (struct generate_options){.stop_loops = true, .ignore_eos = true}, 0,
             SESSION_SPECULATE_LOOKUP);
    the_same(*state, NULL, (struct generate_options){.ignore_eos = true}, 0, SESSION_SPECULATE_LOOKUP);
}

static void test_the_cost_model_decides_the_same_tokens(void **state)
{
    struct engine *e = *state;
    struct session *a = begun(e, CONTEXT), *b = begun(e, CONTEXT);
    struct errinfo info = {0};
    struct generate_result r;
    struct heard plain = {0}, guessed = {0};
    answer(a, NULL, (struct generate_options){.ignore_eos = true}, SESSION_SPECULATE_OFF, &plain);
    must(session_generate(b, NULL, &(struct generate_options){.ignore_eos = true}, hear, &guessed, &r,
                          &info), &info);
    assert_memory_equal(&plain, &guessed, sizeof plain);
    session_free(a);
    session_free(b);
}

static void test_what_cannot_be_asked_for(void **state)
{
    struct errinfo info = {0};
    struct session *s = begun(*state, CONTEXT);
    const struct generate_options o = {.draft = DRAFTER_MOST + 1};
    assert_int_equal(session_generate(s, NULL, &o, NULL, NULL, NULL, &info), ERR_ARGUMENT);
    const struct generate_options mtp = {.speculation = SESSION_SPECULATE_MTP};
    assert_int_equal(session_generate(s, NULL, &mtp, NULL, NULL, NULL, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "no multi-token-prediction layer"));
    session_free(s);
}

static void fail_each_allocation(struct engine *e, enum session_speculation how)
{
    const struct generate_options o = {.max_tokens = 12, .ignore_eos = true, .draft_always = true,
                                       .speculation = how};
    size_t alive = 0;
    bool done = false;
    for (size_t k = 0; !done; k++) { /* 0: none fails, and what the engine keeps is there */
        struct errinfo info = {0};
        alive = k == 1 ? mem_alive() : alive;
        struct session *s = begun(e, CONTEXT), *whole = begun(e, CONTEXT);
        mem_fault(k, 0);
        err result = session_generate(s, NULL, &o, NULL, NULL, NULL, &info);
        done = k > 0 && mem_attempts() < k;
        mem_fault(0, 0);
        assert_true(result == ERR_OK || (result == ERR_NOMEM && info.message[0]));
        if (result != ERR_OK) {
            must(session_rewind(s, PROMPT, &info), &info);
            must(session_generate(s, NULL, &o, NULL, NULL, NULL, &info), &info);
        }
        must(session_generate(whole, NULL, &o, NULL, NULL, NULL, &info), &info);
        assert_memory_equal(session_tokens(s), session_tokens(whole),
                            session_length(whole) * sizeof(int32_t));
        session_free(s);
        session_free(whole);
    }
    assert_int_equal(mem_alive(), alive);
}

static void test_every_failing_allocation_leaves_a_usable_session(void **state)
{
    struct engine *e = enginefixture_open("tests/golden/model/v3-mtp", 1, false, 0);
    fail_each_allocation(*state, SESSION_SPECULATE_AUTO);
    fail_each_allocation(e, SESSION_SPECULATE_AUTO);
    fail_each_allocation(e, SESSION_SPECULATE_MTP);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_bits_with_and_without_guesses),
        cmocka_unit_test(test_steps_of_few_rows_round_as_single_ones),
        cmocka_unit_test(test_the_same_bits_with_the_models_own_guesses),
        cmocka_unit_test(test_penalties_bias_and_truncation_of_the_set),
        cmocka_unit_test(test_sampled_tokens_follow_the_models_distribution),
        cmocka_unit_test(test_every_way_an_answer_ends),
        cmocka_unit_test(test_the_cost_model_decides_the_same_tokens),
        cmocka_unit_test(test_what_cannot_be_asked_for),
        cmocka_unit_test(test_every_failing_allocation_leaves_a_usable_session),
    };
    return cmocka_run_group_tests(tests, enginefixture_chat_fast, enginefixture_close);
}

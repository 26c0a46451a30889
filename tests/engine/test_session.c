/* Sessions: how tokens are read must not matter. In deterministic mode chunked, whole, one-by-one,
 * rewound, 1 and 2 threads agree bit for bit at every CPU level; in fast mode within a bound. */
#include <math.h>

#include "enginefixture.h"

enum { N = 45, MADE = 12 };

/* What a session did with N tokens: scores, last logits, and a sampled continuation. */
struct outcome {
    float scores[N];
    float logits[512];
    int32_t made[MADE];
};

static void generate(struct session *s, uint64_t seed, int32_t *made)
{
    struct errinfo info = {0};
    const struct sampling sampling = {.temperature = 0.9f, .top_p = 0.95f, .seed = seed};
    const struct generate_options options = {.max_tokens = MADE, .ignore_eos = true};
    struct generate_result r;
    must(session_generate(s, &sampling, &options, NULL, NULL, &r, &info), &info);
    assert_int_equal(r.completion_tokens, MADE);
    assert_int_equal(r.finish, SESSION_LENGTH);
    memcpy(made, session_tokens(s) + session_length(s) - MADE, MADE * sizeof *made);
}

/* Tokens are appended `step` at a time. */
static void observe(const char *path, int threads, bool deterministic, size_t chunk, size_t step,
                    struct outcome *out)
{
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(path, threads, deterministic, chunk);
    struct session *s = enginefixture_session(e, 100);
    int32_t ids[N];
    enginefixture_tokens(e, ids, N);
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < N; i += step) {
        size_t n = N - i < step ? N - i : step;
        enginefixture_append(s, ids + i, n);
        if (step % 2) {
            must(session_prefill(s, NULL, NULL, &info), &info);
        }
    }
    must(session_prefill(s, NULL, NULL, &info), &info);
    assert_non_null(session_logits(s));
    memcpy(out->logits, session_logits(s), engine_vocab_size(e) * sizeof(float));
    generate(s, 5, out->made);
    assert_null(session_logits(s)); /* the last made token waits */
    must(session_rewind(s, 0, &info), &info);
    for (size_t i = 0; i < N; i += step) {
        size_t n = N - i < step ? N - i : step;
        enginefixture_append(s, ids + i, n);
        must(session_score(s, out->scores + i, NULL, NULL, &info), &info);
    }
    assert_true(out->scores[0] == 0);
    session_free(s);
    engine_close(e);
}

static void check_bits(void)
{
    static const struct {
        int threads;
        size_t chunk, step;
    } ways[] = {{1, 512, N}, {2, 512, N}, {1, 7, N}, {2, 1, N}, {2, 512, 1}, {1, 512, 4}, {2, 16, 9}};
    for (int m = 0; m < ENGINEFIXTURE_MODELS; m++) {
        struct outcome first, other;
        observe(enginefixture_models[m], ways[0].threads, true, ways[0].chunk, ways[0].step, &first);
        for (size_t i = 1; i < sizeof ways / sizeof *ways; i++) {
            observe(enginefixture_models[m], ways[i].threads, true, ways[i].chunk, ways[i].step,
                    &other);
            assert_memory_equal(first.scores, other.scores, sizeof first.scores);
            assert_memory_equal(first.logits, other.logits, sizeof first.logits);
            assert_memory_equal(first.made, other.made, sizeof first.made);
        }
    }
}

static void test_deterministic_mode_is_exact_at_every_level(void **state)
{
    (void)state;
    enginefixture_each_level(check_bits);
}

/* The stated bounds of fast mode: the last logits move by less than this share of the largest one, the
 * log-probabilities by less than this many nats on average. One token alone may move more: where two experts tie,
 * rounding decides which one computes it, above all in these models, whose weights are random. */
static const float fast_logit_bound = 0.05f, fast_score_bound = 0.1f;

static void check_bound(void)
{
    for (int m = 0; m < ENGINEFIXTURE_MODELS; m++) {
        struct outcome exact, fast;
        observe(enginefixture_models[m], 1, true, 512, N, &exact);
        static const size_t chunks[] = {512, 16, 1};
        for (int i = 0; i < 3; i++) {
            observe(enginefixture_models[m], 2, false, chunks[i], N, &fast);
            float largest = 0, worst = 0, sum = 0;
            for (size_t j = 0; j < 512; j++) {
                largest = fmaxf(largest, fabsf(exact.logits[j]));
                worst = fmaxf(worst, fabsf(exact.logits[j] - fast.logits[j]));
            }
            for (size_t j = 0; j < N; j++) {
                sum += fabsf(exact.scores[j] - fast.scores[j]);
            }
            assert_true(worst <= fast_logit_bound * largest);
            assert_true(sum / N <= fast_score_bound);
        }
    }
}

static void test_fast_mode_stays_within_its_bound(void **state)
{
    (void)state;
    enginefixture_each_level(check_bound);
}

static void test_scores_are_the_log_probabilities_of_the_logits(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(enginefixture_models[0], 1, true, 0);
    struct session *s = enginefixture_session(e, N);
    int32_t ids[N];
    float scores[N];
    enginefixture_tokens(e, ids, N);
    enginefixture_append(s, ids, N);
    must(session_score(s, scores, NULL, NULL, &info), &info);
    must(session_score(s, scores, NULL, NULL, &info), &info); /* nothing pending: nothing changes */
    must(session_rewind(s, 0, &info), &info);
    for (size_t i = 0; i < N; i++) {
        if (i > 0) {
            const float *l = session_logits(s);
            double sum = 0;
            for (size_t j = 0; j < engine_vocab_size(e); j++) {
                sum += exp((double)l[j]);
            }
            assert_true(fabs((double)scores[i] - ((double)l[ids[i]] - log(sum))) < 1e-5);
        }
        enginefixture_append(s, ids + i, 1);
        must(session_prefill(s, NULL, NULL, &info), &info);
    }
    session_free(s);
    engine_close(e);
}

static void test_rewound_is_fresh(void **state)
{
    (void)state;
    struct errinfo info = {0};
    for (int m = 0; m < ENGINEFIXTURE_MODELS; m++) {
        struct engine *e = enginefixture_open(enginefixture_models[m], 2, true, 8);
        struct session *s = enginefixture_session(e, 100), *fresh = enginefixture_session(e, 100);
        int32_t ids[N], first[MADE], again[MADE], other[MADE];
        enginefixture_tokens(e, ids, N);
        enginefixture_append(s, ids, 20);
        generate(s, 9, first);
        must(session_rewind(s, 20, &info), &info);
        assert_int_equal(session_length(s), 20);
        generate(s, 9, again);
        assert_memory_equal(first, again, sizeof first);
        /* back into the prompt and on with other tokens = a session that never saw the first ones */
        must(session_rewind(s, 13, &info), &info);
        enginefixture_append(s, ids + 30, 10);
        generate(s, 9, again);
        enginefixture_append(fresh, ids, 13);
        enginefixture_append(fresh, ids + 30, 10);
        generate(fresh, 9, other);
        assert_memory_equal(again, other, sizeof again);
        /* back to a place with nothing appended: score and generate read the last token again */
        float a, b;
        must(session_rewind(s, 15, &info), &info);
        must(session_rewind(fresh, 0, &info), &info);
        enginefixture_append(s, ids, 1);
        must(session_score(s, &a, NULL, NULL, &info), &info);
        enginefixture_append(fresh, ids, 13);
        enginefixture_append(fresh, ids + 30, 2);
        must(session_prefill(fresh, NULL, NULL, &info), &info);
        enginefixture_append(fresh, ids, 1);
        must(session_score(fresh, &b, NULL, NULL, &info), &info);
        assert_memory_equal(&a, &b, sizeof a);
        assert_int_equal(session_rewind(s, 17, &info), ERR_ARGUMENT);
        session_free(s);
        session_free(fresh);
        engine_close(e);
    }
}

static void test_contexts_beyond_the_limits_are_refused_with_numbers(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(enginefixture_models[0], 1, false, 0);
    struct session *s = NULL;
    assert_int_equal(engine_context_max(e), 256);
    assert_int_equal(session_new(e, &(struct session_options){.context = 257}, &s, &info), ERR_CONTEXT);
    assert_non_null(strstr(info.message, "257"));
    assert_non_null(strstr(info.message, "256"));
    assert_null(s);
    s = enginefixture_session(e, 0);
    assert_int_equal(session_capacity(s), 256);
    session_free(s);
    s = enginefixture_session(e, 10);
    int32_t ids[12];
    enginefixture_tokens(e, ids, 12);
    enginefixture_append(s, ids, 3);
    assert_int_equal(session_append(s, ids, 8, &info), ERR_CONTEXT);
    assert_non_null(strstr(info.message, "8 tokens"));
    assert_non_null(strstr(info.message, "holds 10"));
    assert_int_equal(session_length(s), 3); /* nothing was appended */
    ids[1] = -1;
    assert_int_equal(session_append(s, ids, 2, &info), ERR_ARGUMENT);
    ids[1] = (int32_t)engine_vocab_size(e);
    assert_int_equal(session_append(s, ids, 2, &info), ERR_ARGUMENT);
    assert_int_equal(session_length(s), 3);
    assert_int_equal(session_append_text(s, "no tokenizer here", &info), ERR_UNSUPPORTED);
    session_free(s);
    engine_close(e);
}

static void test_engine_options_are_checked(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = NULL;
    const char *path = enginefixture_models[2];
    assert_int_equal(engine_open(path, &(struct engine_options){.kv_type = "q8_0"}, &e, &info),
                     ERR_ARGUMENT);
    assert_int_equal(engine_open(path, &(struct engine_options){.n_threads = -1}, &e, &info),
                     ERR_ARGUMENT);
    assert_int_equal(engine_open(path, &(struct engine_options){.chunk = 1 << 20}, &e, &info),
                     ERR_ARGUMENT);
    assert_int_equal(engine_open("tests/golden/nothing", NULL, &e, &info), ERR_NOTFOUND);
    assert_null(e);
    must(engine_open(path, NULL, &e, &info), &info);
    size_t bf16 = engine_cache_bytes_per_token(e);
    engine_close(e);
    must(engine_open(path, &(struct engine_options){.kv_type = "f32"}, &e, &info), &info);
    assert_int_equal(engine_cache_bytes_per_token(e), 2 * bf16);
    assert_null(engine_tokenizer(e));
    engine_close(e);
}

static bool stop_after(void *user, size_t done, size_t total)
{
    size_t *limit = user;
    return done < *limit || done == total;
}

static void test_a_cancelled_prefill_goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(enginefixture_models[1], 1, true, 8);
    struct session *s = enginefixture_session(e, N), *whole = enginefixture_session(e, N);
    int32_t ids[N];
    float scores[N];
    size_t limit = 16;
    enginefixture_tokens(e, ids, N);
    enginefixture_append(whole, ids, N);
    must(session_prefill(whole, NULL, NULL, &info), &info);
    enginefixture_append(s, ids, N);
    assert_int_equal(session_prefill(s, stop_after, &limit, &info), ERR_CANCELLED);
    assert_null(session_logits(s));
    limit = 1;
    assert_int_equal(session_score(s, scores, stop_after, &limit, &info), ERR_CANCELLED);
    must(session_prefill(s, NULL, NULL, &info), &info);
    assert_memory_equal(session_logits(s), session_logits(whole),
                        engine_vocab_size(e) * sizeof(float));
    session_free(s);
    session_free(whole);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deterministic_mode_is_exact_at_every_level),
        cmocka_unit_test(test_fast_mode_stays_within_its_bound),
        cmocka_unit_test(test_scores_are_the_log_probabilities_of_the_logits),
        cmocka_unit_test(test_rewound_is_fresh),
        cmocka_unit_test(test_contexts_beyond_the_limits_are_refused_with_numbers),
        cmocka_unit_test(test_engine_options_are_checked),
        cmocka_unit_test(test_a_cancelled_prefill_goes_on_where_it_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Guesses of the multi-token-prediction layer: those PyTorch makes, whatever way the layer came to see the
 * sequence; and the memory of the model's outputs it lives on. */
#include "engine/mtpdraft.h"
#include "enginefixture.h"
#include "model/model.h"

enum { MTP_TOKENS = 24 };

#define FOLDER "tests/golden/model/v3-mtp"

/* From the fixture: the tokens, the guess after them, and the guess after that one. */
static void expected(int32_t tokens[MTP_TOKENS], int32_t guesses[2])
{
    int32_t head[4];
    FILE *f = fopen(FOLDER "/expected.bin", "rb");
    assert_non_null(f);
    assert_int_equal(fread(head, sizeof *head, 4, f), 4);
    assert_int_equal(head[0], MTP_TOKENS);
    assert_int_equal(fread(tokens, sizeof *tokens, MTP_TOKENS, f), MTP_TOKENS);
    fclose(f);
    f = fopen(FOLDER "/mtp.bin", "rb");
    assert_non_null(f);
    assert_int_equal(fread(head, sizeof *head, 4, f), 4);
    guesses[0] = head[3];
    float more[256];
    assert_true(head[2] <= 256);
    assert_int_equal(fseek(f, -(long)sizeof(float) * head[2], SEEK_END), 0);
    assert_int_equal(fread(more, sizeof *more, (size_t)head[2], f), (size_t)head[2]);
    fclose(f);
    guesses[1] = 0;
    for (int32_t i = 1; i < head[2]; i++) {
        guesses[1] = more[i] > more[guesses[1]] ? i : guesses[1];
    }
}

struct onlooker {
    struct mtpdraft *m;
    struct session *s;
    int last;
};

static void look_on(void *user, int layer, const float *x, size_t n)
{
    struct onlooker *o = user;
    if (o->m && layer == o->last) {
        mtpdraft_look(o->m, o->s->kv.cache.len, x, n);
    }
}

/* The model reads; the drafter looks on, unless it is NULL. */
static void read_some(struct session *s, struct mtpdraft *m, const int32_t *ids, size_t n)
{
    struct errinfo info = {0};
    struct onlooker o = {m, s, (int)s->kv.shape.n_layers};
    struct model_segment segment = {.cache = &s->kv.cache, .tokens = ids, .n_tokens = n};
    must(model_forward(s->engine->model, s->engine->compute, s->engine->work, &segment, 1, look_on, &o,
                       &info), &info);
}

static void guess(struct session *s, struct mtpdraft *m, size_t k, int32_t *out, size_t *caught_up)
{
    static const struct sampling greedy;
    struct errinfo info = {0};
    size_t n;
    must(mtpdraft_guess(m, s, &greedy, k, out, &n, caught_up, &info), &info);
    assert_int_equal(n, k);
}

static void test_guesses_are_pytorchs_in_one_go_or_bit_by_bit(void **state)
{
    (void)state;
    int32_t tokens[MTP_TOKENS], want[2], got[2];
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(FOLDER, 2, false, 9);
    expected(tokens, want);
    for (size_t chunk = 1; chunk <= 9; chunk += 4) {
        struct session *s = enginefixture_session(e, 40);
        struct mtpdraft m;
        size_t caught_up;
        must(mtpdraft_init(&m, s, &info), &info);
        enginefixture_append(s, tokens, MTP_TOKENS);
        size_t all = s->n_tokens - 1;
        for (size_t at = 0; at < all;) {
            size_t n = all - at < chunk ? all - at : chunk;
            read_some(s, &m, tokens + at, n);
            at += n;
            if (chunk == 5 && at < all) { /* a guess in between, which must not disturb */
                s->n_tokens = at + 1;
                guess(s, &m, 2, got, &caught_up);
                memcpy(s->tokens, tokens, sizeof tokens);
                s->n_tokens = MTP_TOKENS;
            }
        }
        if (chunk == 1) { /* back, and the same once more */
            mtpdraft_rewind(&m, 20);
            s->kv.cache.len = 20;
            read_some(s, &m, tokens + 20, 3);
        }
        guess(s, &m, 2, got, &caught_up);
        assert_int_equal(caught_up, chunk == 5 ? 3 : MTP_TOKENS - 1);
        assert_memory_equal(got, want, sizeof want);
        mtpdraft_deinit(&m);
        session_free(s);
    }
    engine_close(e);
}

static void test_without_the_last_output_there_is_no_guess(void **state)
{
    (void)state;
    static const struct sampling greedy;
    int32_t tokens[MTP_TOKENS], want[2], got[2];
    struct errinfo info = {0};
    struct engine *e = enginefixture_open(FOLDER, 1, false, 0);
    struct session *s = enginefixture_session(e, 40);
    struct mtpdraft m;
    size_t n, caught_up;
    expected(tokens, want);
    must(mtpdraft_init(&m, s, &info), &info);
    enginefixture_append(s, tokens, 10);
    s->n_tokens = 1;
    must(mtpdraft_guess(&m, s, &greedy, 2, got, &n, &caught_up, &info), &info);
    assert_int_equal(n, 0);
    read_some(s, &m, tokens, 5);
    read_some(s, NULL, tokens + 5, 2); /* while nobody looked */
    s->n_tokens = 8;
    must(mtpdraft_guess(&m, s, &greedy, 2, got, &n, &caught_up, &info), &info);
    assert_int_equal(n, 0);
    read_some(s, &m, tokens + 7, 1); /* from here on it begins anew */
    s->n_tokens = 9;
    guess(s, &m, 1, got, &caught_up);
    assert_int_equal(caught_up, 1);
    mtpdraft_deinit(&m);
    session_free(s);
    engine_close(e);
}

static void test_outputs_are_kept_through_any_going_back_and_forth(void **state)
{
    (void)state;
    enum { POSITIONS = 5000, MOST = 300 };
    static float row[2 * MTPDRAFT_PAST], truth[POSITIONS + MOST], x[MOST];
    struct mtpdraft m = {.width = 1, .hidden = row};
    struct rng r;
    size_t at = 0, seen_from = 0;
    float stamp = 0;
    rng_seed(&r, 8);
    for (int step = 0; step < 4000 && at < POSITIONS; step++) {
        size_t kind = rng_u64(&r) % 10;
        if (kind == 0 && at > 0) {
            at -= rng_u64(&r) % (at < 200 ? at : 200);
            mtpdraft_rewind(&m, at);
            assert_true(m.first <= m.end && m.end <= at);
        } else if (kind == 1) {
            at += rng_u64(&r) % 3; /* unseen */
        } else {
            size_t n = 1 + rng_u64(&r) % (kind == 2 ? MOST : 6);
            for (size_t i = 0; i < n; i++) {
                truth[at + i] = x[i] = ++stamp;
            }
            seen_from = at > m.end || at < m.first ? at : m.first;
            mtpdraft_look(&m, at, x, n);
            at += n;
            size_t want = at - seen_from < MTPDRAFT_PAST ? seen_from : at - MTPDRAFT_PAST;
            assert_int_equal(m.end, at);
            assert_true(m.first <= want && m.end - m.first <= 2 * MTPDRAFT_PAST);
            assert_memory_equal(row, truth + m.first, (m.end - m.first) * sizeof *row);
        }
    }
}

static void test_without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    struct engine *e = enginefixture_open(FOLDER, 1, false, 0);
    struct session *s = enginefixture_session(e, 40);
    size_t before = mem_alive();
    err result = ERR_NOMEM;
    for (size_t k = 1; result != ERR_OK; k++) {
        struct errinfo info = {0};
        struct mtpdraft m = {0};
        mem_fault(k, 0);
        result = mtpdraft_init(&m, s, &info);
        mem_fault(0, 0);
        assert_true(result == ERR_OK || (result == ERR_NOMEM && info.message[0] && !m.hidden));
        mtpdraft_deinit(&m);
    }
    assert_int_equal(mem_alive(), before);
    session_free(s);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guesses_are_pytorchs_in_one_go_or_bit_by_bit),
        cmocka_unit_test(test_without_the_last_output_there_is_no_guess),
        cmocka_unit_test(test_outputs_are_kept_through_any_going_back_and_forth),
        cmocka_unit_test(test_without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

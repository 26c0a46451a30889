/* Every public call with the k-th allocation failing, for every k: an error, never a crash or a leak. */
#include <unistd.h>

#include "enginefixture.h"

static char path[64];

static bool listen(void *user, const struct session_token *t)
{
    (void)user;
    return t->n_top >= 0;
}

/* Everything an engine can do, in one life. */
static err life(struct engine *e, struct errinfo *info)
{
    struct session *s = NULL, *back = NULL;
    const char *stop = "xyz";
    const struct generate_options o = {
        .max_tokens = 8, .stop = &stop, .n_stop = 1, .top_logprobs = 2};
    float scores[64];
    TRY(session_new(e, &(struct session_options){.context = 64}, &s, info));
    err r = session_append_text(s, "count to ten", info);
    r = r == ERR_OK ? session_prefill(s, NULL, NULL, info) : r;
    r = r == ERR_OK ? session_append_text(s, " please", info) : r;
    r = r == ERR_OK ? session_score(s, scores, NULL, NULL, info) : r;
    r = r == ERR_OK ? session_generate(s, NULL, &o, listen, NULL, NULL, info) : r;
    r = r == ERR_OK ? session_save(s, path, info) : r;
    r = r == ERR_OK ? session_load(e, path, &back, info) : r;
    session_free(s);
    session_free(back);
    return r;
}

static void sweep_life(bool deterministic)
{
    struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 2, deterministic, 8);
    struct errinfo info;
    must(life(e, &info), &info); /* grows the scratch memory the engine keeps */
    size_t before = mem_alive(), failed = 0;
    for (size_t k = 1;; k++) {
        info = (struct errinfo){0};
        mem_fault(k, 0);
        err r = life(e, &info);
        mem_fault(0, 0);
        assert_int_equal(mem_alive(), before);
        if (r == ERR_OK) {
            break;
        }
        failed++;
        assert_int_equal(r, ERR_NOMEM);
        assert_true(info.message[0] != '\0');
    }
    assert_true(failed > 15);
    must(life(e, &info), &info);
    engine_close(e);
    unlink(path);
}

static void test_sessions_survive_failing_allocations(void **state)
{
    (void)state;
    sweep_life(false);
    sweep_life(true);
}

static void test_opening_survives_failing_allocations(void **state)
{
    (void)state;
    for (int m = 0; m < 3; m++) {
        size_t before = mem_alive(), k = 1;
        for (;; k++) {
            struct engine *e = NULL;
            struct errinfo info = {0};
            mem_fault(k, 0);
            err r = engine_open(enginefixture_models[m], NULL, &e, &info);
            mem_fault(0, 0);
            if (r == ERR_OK) {
                engine_close(e);
                assert_int_equal(mem_alive(), before);
                break;
            }
            assert_null(e);
            assert_int_equal(mem_alive(), before);
        }
        assert_true(k > 20);
    }
}

/* A fresh engine per failure: the first use of its scratch memory fails too. */
static void test_first_use_survives_failing_allocations(void **state)
{
    (void)state;
    size_t before = mem_alive();
    for (size_t k = 1;; k++) {
        struct errinfo info = {0};
        struct engine *e = enginefixture_open(ENGINEFIXTURE_CHAT, 1, false, 8);
        mem_fault(k, 1);
        err r = life(e, &info);
        mem_fault(0, 0);
        engine_close(e);
        assert_int_equal(mem_alive(), before);
        if (r == ERR_OK) {
            break;
        }
        assert_int_equal(r, ERR_NOMEM);
    }
    unlink(path);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/fathom-life-%ld", (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_survive_failing_allocations),
        cmocka_unit_test(test_opening_survives_failing_allocations),
        cmocka_unit_test(test_first_use_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

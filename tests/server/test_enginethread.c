/* The engine's thread: answers for many threads, each as it would be alone; readers that come late, go early or
 * ask for what cannot be. */
#include "engine/enginefixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "formats/tempdir.h"
#include "server/enginethread.h"

enum { MOST = 40, CLIENTS = 6 };

struct heard {
    int32_t ids[MOST];
    float logprobs[MOST];
    char text[2000];
    size_t n;
    struct enginethread_event end;
};

static struct enginethread *start(struct engine *e, const struct batcher_options *o)
{
    struct errinfo info = {0};
    struct enginethread *t = NULL;
    must(enginethread_start(e, o, &t, &info), &info);
    return t;
}

static struct enginethread_stream *ask(struct enginethread *t, const struct enginethread_request *r)
{
    struct errinfo info = {0};
    struct enginethread_stream *s = NULL;
    must(enginethread_ask(t, r, &s, &info), &info);
    return s;
}

static bool hear(void *user, const struct session_token *token)
{
    struct heard *h = user;
    h->ids[h->n] = token->id;
    h->logprobs[h->n++] = token->logprob;
    strncat(h->text, token->text, token->text_len);
    return true;
}

static void hear_all(struct enginethread_stream *s, struct heard *h)
{
    struct enginethread_event e;
    while (enginethread_wait(s, &e)) {
        if (e.kind == ENGINETHREAD_TOKEN) {
            hear(h, &e.token);
        } else {
            h->end = e;
        }
    }
    assert_int_equal(h->end.kind, ENGINETHREAD_END);
}

struct client {
    struct enginethread *thread;
    struct enginethread_request request;
    struct heard heard;
};

static void *client_run(void *user)
{
    struct client *c = user;
    struct enginethread_stream *s = ask(c->thread, &c->request);
    hear_all(s, &c->heard);
    enginethread_close(s);
    return NULL;
}

static void test_each_hears_what_it_would_alone(void **state)
{
    struct engine *e = *state;
    static struct client clients[CLIENTS];
    static struct heard alone[CLIENTS];
    pthread_t threads[CLIENTS];
    int32_t ids[200];
    enginefixture_tokens(e, ids, 200);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i].request = (struct enginethread_request){
            .tokens = ids + i,
            .n_tokens = 20 * i + 1,
            .sampling = {.temperature = i % 2 ? 0.8f : 0, .seed = i},
            .options = {.max_tokens = 10 + 5 * i, .ignore_eos = true},
            .owner = i % 3,
        };
        struct session *s = enginefixture_session(e, 300);
        struct errinfo info = {0};
        enginefixture_append(s, ids + i, 20 * i + 1);
        must(session_generate(s, &clients[i].request.sampling, &clients[i].request.options, hear, &alone[i],
                              NULL, &info),
             &info);
        session_free(s);
    }
    struct enginethread *t = start(e, &(struct batcher_options){.running = 4});
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i].thread = t;
        assert_int_equal(pthread_create(&threads[i], NULL, client_run, &clients[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].heard.n, alone[i].n);
        assert_memory_equal(clients[i].heard.ids, alone[i].ids, sizeof alone[i].ids);
        assert_memory_equal(clients[i].heard.logprobs, alone[i].logprobs, sizeof alone[i].logprobs);
        assert_string_equal(clients[i].heard.text, alone[i].text);
        assert_int_equal(clients[i].heard.end.e, ERR_OK);
        assert_int_equal(clients[i].heard.end.result.prompt_tokens, 20 * i + 1);
    }
    enginethread_stop(t);
}

static atomic_int released, notified;

static void release(void *owned, const struct enginethread_event *end)
{
    assert_ptr_equal(owned, &released);
    assert_int_equal(end->kind, ENGINETHREAD_END);
    assert_int_equal(end->result.prompt_tokens, end->result.completion_tokens > 0 ? 8 : 0);
    atomic_fetch_add(&released, 1);
}

static void notify(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Closed before it began, in the middle, and after the end; and all that belonged to them is released. */
static void test_readers_may_go(void **state)
{
    struct engine *e = *state;
    struct enginethread *t = start(e, &(struct batcher_options){.running = 1});
    int32_t ids[8];
    struct enginethread_event event;
    enginefixture_tokens(e, ids, 8);
    struct enginethread_request r = {.tokens = ids,
                                     .n_tokens = 8,
                                     .options = {.max_tokens = MOST, .ignore_eos = true},
                                     .owned = &released,
                                     .release = release,
                                     .notify = notify,
                                     .user = &notified};
    atomic_store(&released, 0);
    atomic_store(&notified, 0);
    enginethread_close(ask(t, &r));
    struct enginethread_stream *middle = ask(t, &r), *end = ask(t, &r);
    while (!enginethread_next(middle, &event)) {
        nap();
    }
    assert_int_equal(event.kind, ENGINETHREAD_TOKEN);
    assert_true(atomic_load(&notified) > 0);
    enginethread_close(middle);
    struct heard heard = {0};
    hear_all(end, &heard);
    assert_int_equal(heard.n, MOST);
    assert_false(enginethread_next(end, &event));
    assert_false(enginethread_wait(end, &event));
    enginethread_close(end);
    for (int i = 0; i < 5000 && atomic_load(&released) < 3; i++) {
        nap();
    }
    assert_int_equal(atomic_load(&released), 3);
    enginethread_close(ask(t, &r)); /* whatever its state when the thread stops */
    struct enginethread_stream *runs = ask(t, &r);
    assert_true(enginethread_wait(runs, &event));
    enginethread_close(runs);
    enginethread_stop(t);
    assert_int_equal(atomic_load(&released), 5);
}

static void test_what_is_refused_ends_with_its_reason(void **state)
{
    struct engine *e = *state;
    struct enginethread *t = start(e, &(struct batcher_options){.running = 1, .waiting = 1});
    struct enginethread_stream *s[4];
    struct heard heard[4] = {0};
    int32_t ids[8] = {0}, wrong[2] = {0, -7};
    const struct enginethread_request empty = {.tokens = ids};
    const struct enginethread_request unknown = {.tokens = wrong, .n_tokens = 2, .options = {.max_tokens = 3}};
    const struct enginethread_request hot = {.tokens = ids, .n_tokens = 2, .sampling = {.temperature = -1}};
    s[0] = ask(t, &empty);
    hear_all(s[0], &heard[0]);
    assert_int_equal(heard[0].end.e, ERR_ARGUMENT);
    s[1] = ask(t, &unknown);
    hear_all(s[1], &heard[1]);
    assert_int_equal(heard[1].end.e, ERR_ARGUMENT);
    assert_non_null(strstr(heard[1].end.message, "not in the vocabulary"));
    s[2] = ask(t, &hot);
    hear_all(s[2], &heard[2]);
    assert_int_equal(heard[2].end.e, ERR_ARGUMENT);
    assert_non_null(strstr(heard[2].end.message, "temperature"));
    for (int i = 0; i < 3; i++) {
        enginethread_close(s[i]);
    }
    struct enginethread_request r = {.tokens = ids, .n_tokens = 8, .options = {.max_tokens = MOST}};
    size_t limit = 0;
    for (int i = 0; i < 4; i++) { /* one runs, one waits, the others come too soon */
        s[i] = ask(t, &r);
    }
    for (int i = 0; i < 4; i++) {
        heard[i] = (struct heard){0};
        hear_all(s[i], &heard[i]);
        limit += heard[i].end.e == ERR_BUSY;
        enginethread_close(s[i]);
    }
    assert_true(limit >= 1 && limit <= 2);
    while (enginethread_counts(t).running > 0) {
        nap();
    }
    enginethread_stop(t);
}

/* A request counts from the moment it is asked to the moment its end can be read. */
static void test_counts_do_not_lag(void **state)
{
    struct engine *e = *state;
    struct enginethread *t = start(e, &(struct batcher_options){.running = 1});
    int32_t ids[300];
    enginefixture_tokens(e, ids, 300);
    const struct enginethread_request r = {.tokens = ids, .n_tokens = 300, .options = {.max_tokens = 2}};
    for (int round = 0; round < 20; round++) {
        struct enginethread_stream *s[2] = {ask(t, &r), ask(t, &r)};
        struct heard h = {0};
        struct enginethread_event event;
        struct batcher_counts c = enginethread_counts(t);
        assert_true(c.running + c.waiting == 2 || enginethread_next(s[0], &event));
        hear_all(s[0], &h);
        hear_all(s[1], &h);
        c = enginethread_counts(t);
        assert_int_equal(c.running + c.waiting, 0);
        enginethread_close(s[0]);
        enginethread_close(s[1]);
    }
    enginethread_stop(t);
}

/* A reader that asks hears how far its prompt is, and may have its answer at once. */
static void test_a_reader_may_be_in_a_hurry(void **state)
{
    struct engine *e = *state;
    static const int32_t end[] = {'#'};
    struct enginethread *t = start(e, &(struct batcher_options){.running = 1});
    struct enginethread_event event;
    int32_t ids[200];
    enginefixture_tokens(e, ids, 200);
    const struct enginethread_request r = {.tokens = ids, .n_tokens = 200, .progress = true,
                                           .options = {.max_tokens = MOST, .ignore_eos = true, .think_end = end,
                                                       .n_think_end = 1}};
    for (int round = 0; round < 3; round++) { /* asked before it begins, in its midst, and after its end */
        struct enginethread_stream *s = ask(t, &r);
        struct heard h = {0};
        size_t told = 0;
        if (round == 0) {
            enginethread_answer_now(s);
        }
        while (enginethread_wait(s, &event)) {
            if (event.kind == ENGINETHREAD_PROGRESS) {
                assert_int_equal(h.n, 0);
                assert_int_equal(event.progress.total, 200);
                told = event.progress.done;
            } else if (event.kind == ENGINETHREAD_TOKEN) {
                hear(&h, &event.token);
                if (round == 1 && h.n == 2) {
                    enginethread_answer_now(s);
                }
            }
        }
        assert_int_equal(event.kind, ENGINETHREAD_END);
        assert_int_equal(told, 200);
        assert_int_equal(h.n, MOST);
        size_t at = 0;
        while (at < MOST && h.ids[at] != '#') {
            at++;
        }
        assert_true(round == 0 ? at == 0 : round == 2 || at >= 2);
        enginethread_answer_now(s);
        enginethread_close(s);
    }
    enginethread_stop(t);
}

/* While others answer and pages are written: what is forgotten is not found again, and nothing else is lost. */
static void test_a_drawer_is_forgotten(void **state)
{
    struct engine *e = *state;
    struct tempdir dir;
    struct errinfo info = {0};
    int32_t ids[200];
    tempdir_make(&dir);
    enginefixture_tokens(e, ids, 200);
    const struct prefixdisk_options disk = {.folder = dir.path, .bytes = 1 << 28, .key = {4}};
    const struct batcher_options o = {.running = 2, .memory = engine_cache_bytes_per_token(e) * 64 * 8, .disk = &disk};
    struct enginethread *t = start(e, &o);
    struct enginethread_request r = {.tokens = ids, .n_tokens = 200, .options = {.max_tokens = 8, .ignore_eos = true}};
    size_t cached[2][3];
    for (int round = 0; round < 3; round++) {
        struct enginethread_stream *s[2];
        for (size_t i = 0; i < 2; i++) {
            r.partition = r.drawer = i;
            s[i] = ask(t, &r);
        }
        for (size_t i = 0; i < 2; i++) {
            struct heard h = {0};
            hear_all(s[i], &h);
            assert_int_equal(h.end.e, ERR_OK);
            cached[i][round] = h.end.cached;
            enginethread_close(s[i]);
        }
        must(enginethread_forget(t, 1, &info), &info);
        if (round == 1) {
            enginethread_stop(t);
            t = start(e, &o);
        }
    }
    assert_int_equal(cached[0][0], 0);
    assert_int_equal(cached[0][1], 192);
    assert_int_equal(cached[0][2], 192);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(cached[1][round], 0);
    }
    enginethread_stop(t);
    tempdir_remove_all(dir.path);
}

static void test_failing_allocations_are_said(void **state)
{
    struct engine *e = *state;
    int32_t ids[8] = {0};
    size_t before = mem_alive();
    for (size_t k = 1, whole = 0; !whole; k++) {
        struct errinfo info = {0};
        struct enginethread *t = NULL;
        struct enginethread_stream *s = NULL;
        struct heard heard = {0};
        mem_fault(k, 0);
        err r = enginethread_start(e, &(struct batcher_options){.memory = 1 << 28}, &t, &info);
        if (r == ERR_OK) {
            r = enginethread_ask(
                t, &(struct enginethread_request){.tokens = ids, .n_tokens = 8, .options = {.max_tokens = 4}},
                &s, &info);
        }
        if (r == ERR_OK) {
            hear_all(s, &heard);
            r = heard.end.e;
        }
        mem_fault(0, 0);
        if (s) {
            enginethread_close(s);
        }
        enginethread_stop(t);
        assert_true(r == ERR_OK || r == ERR_NOMEM);
        assert_int_equal(mem_alive(), before);
        whole = r == ERR_OK && heard.n == 4 && k > 20;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_hears_what_it_would_alone),
        cmocka_unit_test(test_readers_may_go),
        cmocka_unit_test(test_what_is_refused_ends_with_its_reason),
        cmocka_unit_test(test_counts_do_not_lag),
        cmocka_unit_test(test_a_reader_may_be_in_a_hurry),
        cmocka_unit_test(test_a_drawer_is_forgotten),
        cmocka_unit_test(test_failing_allocations_are_said),
    };
    return cmocka_run_group_tests(tests, enginefixture_chat_exact, enginefixture_close);
}

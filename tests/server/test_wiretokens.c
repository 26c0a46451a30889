/* Tokens with their log-probabilities: lists in their places, without memory, and in little of it. */
#include "server/servicefixture.h"

#include <math.h>

static struct servicefixture chat;

static int open_model(void **state)
{
    const struct service_options chatml = {.format = CHAT_CHATML};
    (void)state;
    servicefixture_open(&chat, ENGINEFIXTURE_CHAT, &chatml);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    servicefixture_close(&chat);
    return 0;
}

/* A document with one list that is kept, and one that is empty. */
static err write_kept(const struct tokenizer *t, const struct answering_token *list, struct strbuf *out)
{
    struct wiretokens kept = {0};
    struct wiretokens_places places = {0};
    err e = wiretokens_keep(&kept, list);
    json_t *d = NULL;
    if (e == ERR_OK) {
        d = json_pack("{s:o, s:[]}", "a", wiretokens_stand_in(&places, &kept, 0, wiretokens_openai, 0), "b");
        e = wiretokens_write(&places, t, d, out);
    }
    json_decref(d);
    wiretokens_places_deinit(&places);
    wiretokens_deinit(&kept);
    return e;
}

/* Every allocation of a list of probabilities fails in turn: no list then, and nothing is left. It runs
 * without a server, whose threads would be counted too. */
static void test_probabilities_without_memory(void **state)
{
    struct errinfo info = {0};
    struct tokenizer *words = NULL;
    must(tokenizer_open(ENGINEFIXTURE_CHAT, &words, &info), &info);
    const struct answering_model model = {.tokenizer = words};
    const struct wirereply r = {.model = &model};
    struct answering_token second = {.id = 200, .logprob = -1, .n_top = 2, .top_ids = {200, 7}, .top_logprobs = {-1, -2}};
    const struct answering_token first = {.next = &second, .id = 258, .logprob = -INFINITY};
    (void)state;
    for (size_t k = 1;; k++) {
        size_t alive = mem_alive();
        mem_fault(k, 0);
        json_t *list = wirereply_logprobs(&r, &first);
        bool failed = mem_attempts() >= k;
        mem_fault(0, 0);
        assert_true(failed ? !list : json_array_size(list) == 2);
        json_decref(list);
        assert_int_equal(mem_alive(), alive);
        if (!failed) {
            break;
        }
    }
    for (size_t k = 1;; k++) {
        size_t alive = mem_alive();
        struct strbuf text = {0};
        mem_fault(k, 0);
        err e = write_kept(words, &first, &text);
        bool failed = mem_attempts() >= k;
        mem_fault(0, 0);
        assert_int_equal(e, failed ? ERR_NOMEM : ERR_OK);
        if (!failed) { /* the same list, in its place */
            json_t *list = wirereply_logprobs(&r, &first), *d = json_pack("{s:o, s:[]}", "a", list, "b");
            json_t *written = json_loads(text.data, 0, NULL);
            assert_true(json_equal(d, written));
            json_decref(d);
            json_decref(written);
        }
        strbuf_deinit(&text);
        assert_int_equal(mem_alive(), alive);
        if (!failed) {
            break;
        }
    }
    tokenizer_free(words);
}

static bool idle(void)
{
    struct batcher_counts now = enginethread_counts(chat.service->model.thread);
    return now.running + now.waiting == 0;
}

#define CHAT "/v1/chat/completions"
#define TEXT "/v1/completions"
#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"

/* As JSON values each token with its likeliest others is hundreds of allocations: none are kept so, neither for a
 * document nor for what a stream says again at its end. */
static void test_probabilities_take_little_memory(void **state)
{
    enum { MUCH = 50000 };
#define ENDLESS "\"logit_bias\":{\"258\":-100},\"max_tokens\":1500,\"temperature\":1,\"seed\":1"
    static const struct {
        const char *path, *body;
    } rows[] = {
        {CHAT, "{" HELLO "," ENDLESS ",\"top_logprobs\":20,\"logprobs\":true}"},
        {CHAT, "{" HELLO "," ENDLESS ",\"top_logprobs\":20,\"logprobs\":true,\"stream\":true}"},
        {TEXT, "{\"prompt\":\"hello\"," ENDLESS ",\"logprobs\":20}"},
        {"/v1/responses", "{\"input\":\"hello\",\"top_logprobs\":20,\"temperature\":1,\"max_output_tokens\":2000,\"stream\":true,"
                          "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"a\",\"schema\":{\"type\":\"string\","
                          "\"minLength\":500,\"maxLength\":500}}}}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rawclient c = rawclient_open(chat.port);
        size_t before = mem_alive(), most = 0, now;
        servicefixture_begin(&c, "POST", rows[i].path, "", rows[i].body);
        double until = progress_clock() + 10;
        do {
            usleep(500);
            now = mem_alive();
            most = now > before && now - before > most ? now - before : most;
        } while ((most == 0 || !idle()) && progress_clock() < until);
        struct rawclient_reply r = rawclient_reply(&c);
        if (r.status != 200 || !r.whole || r.len < 500000 || most > MUCH) {
            fail_msg("%s: %d, %zu bytes, %zu allocations", rows[i].body, r.status, r.len, most);
        }
        rawclient_free(&r);
        rawclient_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_probabilities_without_memory)};
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_probabilities_take_little_memory)};
    int failed = cmocka_run_group_tests_name("alone", alone, NULL, NULL);
    return failed + cmocka_run_group_tests_name("served", tests, open_model, close_model);
}

/* An agent's fifty turns over HTTP, each of which sends everything again: nearly all of it is found, by who sent it
 * alone, and after a restart, too. */
#include "server/pagefixture.h"

enum { TURNS = 50, WORDS = 18, TRACE = 64 << 10 };

static struct servicefixture f;
static struct tempdir data;
static struct pagefixture_key mine, others;

static void start(void)
{
    const struct service_options o = {.format = CHAT_CHATML, .data = data.path, .disk = 256 << 20, .guard = {.key_required = true}};
    servicefixture_open(&f, ENGINEFIXTURE_CHAT, &o);
}

static int open_service(void **state)
{
    (void)state;
    tempdir_make(&data);
    start();
    pagefixture_key(&f, "{'name':'mine'}", &mine);
    pagefixture_key(&f, "{'name':'others'}", &others);
    return 0;
}

static int close_service(void **state)
{
    (void)state;
    servicefixture_close(&f);
    tempdir_remove_all(data.path);
    return 0;
}

/* What is said so far, as the messages of a request: "{…},{…}". */
struct trace {
    char messages[TRACE];
    size_t sent, found; /* tokens that were sent before, and those of them that were found */
    size_t before;      /* tokens of the request before and its answer */
};

static void say(struct trace *t, const char *role, const char *content)
{
    json_t *m = json_pack("{s:s, s:s}", "role", role, "content", content);
    char *text = json_text_dup(m, JSON_COMPACT);
    size_t n = strlen(t->messages);
    assert_true(snprintf(t->messages + n, TRACE - n, "%s%s", n ? "," : "", text) < (int)(TRACE - n));
    mem_free(text);
    json_decref(m);
}

/* Asks; the answer's document (json_decref). */
static json_t *ask(const struct trace *t, const struct pagefixture_key *key, const char *user)
{
    static char body[TRACE + 200];
    snprintf(body, sizeof body, "{\"messages\":[%s],\"user\":\"%s\",\"max_tokens\":20,\"temperature\":0}", t->messages, user);
    struct rawclient_reply r = servicefixture_raw(&f, "POST", "/v1/chat/completions", key->headers, body);
    json_t *d = servicefixture_parse(r.body, r.len);
    if (r.status != 200) {
        fail_msg("%d: %s", r.status, r.body);
    }
    rawclient_free(&r);
    return d;
}

static size_t tokens(const json_t *d, const char *path)
{
    return (size_t)json_integer_value(servicefixture_at(d, path));
}

static size_t found(const struct trace *t, const struct pagefixture_key *key, const char *user)
{
    json_t *d = ask(t, key, user);
    size_t n = tokens(d, "usage.prompt_tokens_details.cached_tokens");
    json_decref(d);
    return n;
}

static void say_more(struct trace *t, struct rng *r)
{
    char words[WORDS * 8] = "";
    for (int i = 0; i < WORDS; i++) {
        snprintf(words + strlen(words), 8, "%05u ", (unsigned)(rng_u64(r) % 100000));
    }
    say(t, "user", words);
}

static void be_answered(struct trace *t)
{
    json_t *d = ask(t, &mine, "anna");
    t->sent += t->before;
    t->found += tokens(d, "usage.prompt_tokens_details.cached_tokens");
    t->before = tokens(d, "usage.total_tokens");
    say(t, "assistant", servicefixture_text(d, "choices.0.message.content"));
    json_decref(d);
}

static void test_an_agent_pays_for_what_is_new(void **state)
{
    static struct trace t;
    struct rng r;
    (void)state;
    rng_seed(&r, 4);
    for (int i = 0; i < TURNS; i++) {
        say_more(&t, &r);
        be_answered(&t);
    }
    print_message("%zu tokens sent again, %.2f%% found\n", t.sent, 100.0 * (double)t.found / (double)t.sent);
    assert_true(t.sent > 100000 && (double)t.found >= 0.98 * (double)t.sent);

    servicefixture_close(&f);
    start();
    size_t sent = t.sent, before = t.found;
    say_more(&t, &r);
    assert_int_equal(found(&t, &mine, "ben"), 0);
    assert_int_equal(found(&t, &others, "anna"), 0);
    be_answered(&t);
    print_message("after a restart %zu of %zu\n", t.found - before, t.sent - sent);
    assert_true((double)(t.found - before) >= 0.98 * (double)(t.sent - sent));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_agent_pays_for_what_is_new)};
    return cmocka_run_group_tests(tests, open_service, close_service);
}

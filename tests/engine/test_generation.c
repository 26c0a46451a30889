/* Generation with a model whose answers are known: stop rules, text, log-probabilities, cancelling. */
#include <math.h>

#include "engine/loopguard.h"
#include "enginefixture.h"
#include "text/chat.h"
#include "text/grammarmask.h"

static const char *const answer = "Hello! 你好 🐳";

struct talk {
    char text[256];
    size_t len, calls, stop_at; /* cancel in call number stop_at */
    struct session_token tokens[64];
};

static size_t utf8_whole(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t k = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if ((c & 0xc0) == 0x80 || i + k > n) {
            return i;
        }
        i += k;
    }
    return n;
}

static bool listen(void *user, const struct session_token *t)
{
    struct talk *k = user;
    assert_int_equal(utf8_whole(t->text, t->text_len), t->text_len);
    assert_int_equal(t->text[t->text_len], '\0');
    memcpy(k->text + k->len, t->text, t->text_len + 1);
    k->len += t->text_len;
    k->tokens[k->calls] = *t;
    return ++k->calls != k->stop_at;
}

/* A session in which the user has said `text`. */
static struct session *say(struct engine *e, const char *text, size_t context)
{
    struct errinfo info = {0};
    struct tokenizer_ids ids = {0};
    struct chat_message m = {.role = CHAT_USER, .content = text};
    must(chat_encode(engine_tokenizer(e), CHAT_CHATML, &m, 1, false, &ids, &info), &info);
    struct session *s = enginefixture_session(e, context);
    enginefixture_append(s, ids.data, ids.len);
    tokenizer_ids_deinit(&ids);
    return s;
}

static struct generate_result reply(struct session *s, const struct generate_options *o,
                                    struct talk *k)
{
    struct errinfo info = {0};
    struct generate_result r;
    size_t before = session_length(s);
    k->len = k->calls = 0;
    k->text[0] = '\0';
    must(session_generate(s, NULL, o, listen, k, &r, &info), &info);
    assert_int_equal(k->calls, r.completion_tokens);
    assert_int_equal(session_length(s), before + r.completion_tokens);
    return r;
}

static void test_the_answer_ends_at_eos(void **state)
{
    struct talk k = {0};
    struct session *s = say(*state, "hello", 100);
    struct generate_result r = reply(s, NULL, &k);
    assert_string_equal(k.text, answer);
    assert_int_equal(r.finish, SESSION_STOP);
    assert_int_equal(r.prompt_tokens, 24);
    assert_int_equal(r.completion_tokens, strlen(answer) + 1); /* bytes and <|im_end|> */
    assert_string_equal(session_finish_name(r.finish), "stop");
    session_free(s);
}

static void test_stop_strings_cut_anywhere(void **state)
{
    static const struct {
        const char *stop, *want;
    } cases[] = {{"lo!", "Hel"}, {"你", "Hello! "}, {"! 你好", "Hello"}, {"Hello", ""},
                 {"🐳", "Hello! 你好 "}, {"🐳x", "Hello! 你好 🐳"}, {"o! x", "Hello! 你好 🐳"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct talk k = {0};
        struct session *s = say(*state, "hello", 100);
        struct generate_options o = {.stop = &cases[i].stop, .n_stop = 1};
        struct generate_result r = reply(s, &o, &k);
        assert_string_equal(k.text, cases[i].want);
        assert_int_equal(r.finish, SESSION_STOP);
        session_free(s);
    }
}

static void test_stop_ids_and_ignore_eos(void **state)
{
    struct talk k = {0};
    struct session *s = say(*state, "hello", 100);
    int32_t space = ' ';
    reply(s, &(struct generate_options){.stop_ids = &space, .n_stop_ids = 1}, &k);
    assert_string_equal(k.text, "Hello!");
    session_free(s);
    s = say(*state, "hello", 100);
    struct generate_result r =
        reply(s, &(struct generate_options){.ignore_eos = true, .max_tokens = 30}, &k);
    assert_int_equal(r.completion_tokens, 30);
    assert_int_equal(r.finish, SESSION_LENGTH);
    session_free(s);
}

/* Neither the model's end nor a stop id comes before min_tokens are made; then as ever. */
static void test_an_answer_does_not_end_too_early(void **state)
{
    const int32_t space = ' ';
    for (size_t least = 1; least <= 30; least += 7) {
        struct talk k = {0};
        struct session *s = say(*state, "hello", 100);
        const struct generate_options o = {.min_tokens = least, .max_tokens = 40, .stop_ids = &space, .n_stop_ids = 1};
        struct generate_result r = reply(s, &o, &k);
        assert_true(r.completion_tokens > least || r.finish == SESSION_LENGTH);
        for (size_t i = 0; i < k.calls && i < least; i++) {
            assert_true(k.tokens[i].id != space && k.tokens[i].id != tokenizer_eos(engine_tokenizer(*state)));
        }
        assert_true(least > 6 || strcmp(k.text, "Hello!") == 0);
        session_free(s);
    }
}

static void test_a_cut_character_comes_with_the_continuation(void **state)
{
    struct talk k = {0};
    for (size_t n = 1; n <= strlen(answer); n++) {
        struct session *s = say(*state, "hello", 100);
        struct generate_result r = reply(s, &(struct generate_options){.max_tokens = n}, &k);
        assert_int_equal(r.finish, SESSION_LENGTH);
        char text[64];
        strcpy(text, k.text);
        assert_int_equal(k.len, utf8_whole(answer, n));
        r = reply(s, NULL, &k);
        assert_int_equal(r.prompt_tokens, 1); /* the last token of the first part */
        strcat(text, k.text);
        assert_string_equal(text, answer);
        session_free(s);
    }
}

static void test_a_full_context_is_length(void **state)
{
    struct talk k = {0};
    struct session *s = say(*state, "hello", 30);
    struct generate_result r = reply(s, NULL, &k);
    assert_int_equal(r.finish, SESSION_LENGTH);
    assert_int_equal(r.completion_tokens, 6);
    assert_string_equal(k.text, "Hello!");
    r = reply(s, NULL, &k);
    assert_int_equal(r.finish, SESSION_LENGTH);
    assert_int_equal(r.completion_tokens, 0);
    session_free(s);
}

static void test_an_endless_answer_is_a_loop(void **state)
{
    const int32_t space = ' ';
    const float always = 100;
    const struct sampling sampling = {.bias_ids = &space, .bias_values = &always, .n_bias = 1};
    struct generate_options o = {.stop_loops = true};
    struct generate_result r;
    struct errinfo info = {0};
    struct session *s = say(*state, "hello", 400);
    must(session_generate(s, &sampling, &o, NULL, NULL, &r, &info), &info);
    assert_int_equal(r.finish, SESSION_LOOP);
    assert_string_equal(session_finish_name(r.finish), "loop");
    assert_int_equal(r.completion_tokens, LOOPGUARD_TOKENS + 1);
    assert_int_equal(session_length(s), 24 + r.completion_tokens);
    session_free(s);
    s = say(*state, "hello", 400);
    o.stop_loops = false;
    must(session_generate(s, &sampling, &o, NULL, NULL, &r, &info), &info);
    assert_int_equal(r.finish, SESSION_LENGTH);
    assert_int_equal(session_length(s), 400);
    session_free(s);
}

static void test_logprobs_agree_with_scores(void **state)
{
    struct errinfo info = {0};
    struct talk k = {0};
    struct session *s = say(*state, "hello", 100);
    size_t prompt = session_length(s);
    struct generate_result r = reply(s, &(struct generate_options){.top_logprobs = 20}, &k);
    int32_t ids[64];
    float scores[64];
    memcpy(ids, session_tokens(s) + prompt, r.completion_tokens * sizeof *ids);
    must(session_rewind(s, prompt, &info), &info);
    enginefixture_append(s, ids, r.completion_tokens);
    must(session_score(s, scores, NULL, NULL, &info), &info);
    for (size_t i = 0; i < r.completion_tokens; i++) {
        const struct session_token *t = &k.tokens[i];
        assert_int_equal(t->id, ids[i]);
        assert_int_equal(t->n_top, 20);
        assert_int_equal(t->top_ids[0], t->id); /* greedy */
        assert_true(t->top_logprobs[0] == t->logprob);
        assert_true(fabsf(t->logprob - scores[i]) < 1e-5f);
    }
    session_free(s);
}

static void test_cancelled_goes_on_as_if_nothing_happened(void **state)
{
    struct talk k = {.stop_at = 9};
    struct session *s = say(*state, "hello", 100);
    struct generate_result r = reply(s, NULL, &k);
    assert_int_equal(r.finish, SESSION_CANCELLED);
    assert_int_equal(r.completion_tokens, 9);
    char text[64];
    strcpy(text, k.text);
    k.stop_at = 0;
    reply(s, NULL, &k);
    strcat(text, k.text);
    assert_string_equal(text, answer);
    session_free(s);
}

static bool never(void *user, size_t done, size_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return false;
}

static void test_cancelled_prefill_is_a_finish_reason(void **state)
{
    struct talk k = {0};
    struct session *s = say(*state, "hello", 100);
    struct generate_result r = reply(s, &(struct generate_options){.progress = never}, &k);
    assert_int_equal(r.finish, SESSION_CANCELLED);
    assert_int_equal(r.completion_tokens, 0);
    reply(s, NULL, &k);
    assert_string_equal(k.text, answer);
    session_free(s);
}

static void test_penalties_count_the_answer_across_calls(void **state)
{
    struct errinfo info = {0};
    const struct sampling p = {.frequency_penalty = 2, .presence_penalty = 2};
    const struct generate_options part = {.max_tokens = 5}, whole = {.max_tokens = 10};
    struct session *a = say(*state, "count", 100), *b = say(*state, "count", 100);
    must(session_generate(a, &p, &whole, NULL, NULL, NULL, &info), &info);
    must(session_generate(b, &p, &part, NULL, NULL, NULL, &info), &info);
    must(session_generate(b, &p, &part, NULL, NULL, NULL, &info), &info);
    assert_int_equal(session_length(a), session_length(b));
    assert_memory_equal(session_tokens(a), session_tokens(b), session_length(a) * sizeof(int32_t));
    session_free(a);
    session_free(b);
}

static void test_bad_requests_are_refused(void **state)
{
    struct errinfo info = {0};
    struct session *s = say(*state, "hello", 100), *empty = enginefixture_session(*state, 10);
    assert_int_equal(session_generate(empty, NULL, NULL, NULL, NULL, NULL, &info), ERR_ARGUMENT);
    struct generate_options o = {.top_logprobs = 21};
    assert_int_equal(session_generate(s, NULL, &o, NULL, NULL, NULL, &info), ERR_ARGUMENT);
    const char *nothing = "";
    o = (struct generate_options){.stop = &nothing, .n_stop = 1};
    assert_int_equal(session_generate(s, NULL, &o, NULL, NULL, NULL, &info), ERR_ARGUMENT);
    struct sampling p = {.top_p = 2};
    assert_int_equal(session_generate(s, &p, NULL, NULL, NULL, NULL, &info), ERR_ARGUMENT);
    assert_non_null(strstr(info.message, "top_p is 2"));
    assert_int_equal(session_length(s), 24);
    session_free(s);
    session_free(empty);
}

/* The answer of a seed by a grammar; empty text for what is not a whole answer. */
static struct generate_result constrained(struct engine *e, const char *grammar, uint64_t seed,
                                          enum session_speculation speculation, struct talk *k)
{
    struct errinfo info = {0};
    struct grammar *g = NULL;
    struct tokentrie *v = NULL;
    struct grammarmask *m = NULL;
    struct generate_result r = {0};
    const struct sampling sampling = {.temperature = 1.5f, .seed = seed};
    must(grammar_new(grammar, strlen(grammar), &g, &info), &info);
    must(tokentrie_new(engine_tokenizer(e), &v, &info), &info);
    must(grammarmask_new(g, v, &m, &info), &info);
    const struct generate_options o = {.grammar = m, .speculation = speculation, .draft_always = true};
    struct session *s = say(e, "hello", 100);
    k->len = k->calls = 0;
    must(session_generate(s, &sampling, &o, listen, k, &r, &info), &info);
    session_free(s);
    grammarmask_free(m);
    tokentrie_free(v);
    grammar_free(g);
    return r;
}

static void test_an_answer_matches_its_grammar(void **state)
{
    static const char list[] = "root ::= \"[\" ([0-9]{1,3} (\",\" [0-9]{1,3}){0,4})? \"]\"";
    struct talk k = {0}, again = {0};
    size_t drafted = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct generate_result r = constrained(*state, list, seed, SESSION_SPECULATE_OFF, &k);
        assert_int_equal(r.finish, SESSION_STOP);
        assert_int_equal(strspn(k.text, "[0123456789,]"), k.len);
        assert_true(k.len >= 2 && k.text[0] == '[' && k.text[k.len - 1] == ']');
        r = constrained(*state, list, seed, SESSION_SPECULATE_LOOKUP, &again);
        assert_string_equal(again.text, k.text);
        drafted += r.drafted_tokens;
    }
    assert_true(drafted > 0);
    constrained(*state, "root ::= \"你好\" | \"你们\"", 3, SESSION_SPECULATE_OFF, &k);
    assert_true(strcmp(k.text, "你好") == 0 || strcmp(k.text, "你们") == 0);
}

/* Before its grammar begins an answer is free in all but its end. */
static void test_a_grammar_may_begin_behind_a_token(void **state)
{
    struct errinfo info = {0};
    struct grammar *g = NULL;
    struct tokentrie *v = NULL;
    struct grammarmask *m = NULL;
    struct talk k = {0};
    must(grammar_new("root ::= \"ok\"", 13, &g, &info), &info);
    must(tokentrie_new(engine_tokenizer(*state), &v, &info), &info);
    must(grammarmask_new(g, v, &m, &info), &info);
    const struct generate_options o = {.grammar = m, .max_tokens = 40};
    struct session *s = say(*state, "hello", 100);
    grammarmask_begin(m, '!');
    assert_int_equal(reply(s, &o, &k).finish, SESSION_STOP);
    assert_string_equal(k.text, "Hello!ok");
    session_free(s);
    s = say(*state, "hello", 100);
    grammarmask_begin(m, '%');
    assert_int_equal(reply(s, &o, &k).finish, strstr(k.text, "%") ? SESSION_STOP : SESSION_LENGTH);
    assert_memory_equal(k.text, answer, strlen(answer));
    session_free(s);
    grammarmask_free(m);
    tokentrie_free(v);
    grammar_free(g);
}

/* After so many tokens the think block's end comes whatever the model would say, once; the rest is what would follow
 * it. */
static void test_thinking_ends_when_it_must(void **state)
{
    static const int32_t end[] = {'#', '\n'};
    struct errinfo info = {0};
    struct generate_options o = {.max_tokens = 12, .ignore_eos = true, .think_end = end, .n_think_end = 2,
                                 .think_tokens = 3};
    const struct generate_options rest = {.max_tokens = 7, .ignore_eos = true};
    struct session *s = say(*state, "hello", 100), *by_hand = say(*state, "hello", 100);
    size_t before = session_length(s);
    must(session_generate(s, NULL, &o, NULL, NULL, NULL, &info), &info);
    const int32_t *made = session_tokens(s) + before;
    assert_int_equal(made[3], '#');
    assert_int_equal(made[4], '\n');
    enginefixture_append(by_hand, made, 5);
    must(session_generate(by_hand, NULL, &rest, NULL, NULL, NULL, &info), &info);
    assert_memory_equal(session_tokens(by_hand) + before, made, 12 * sizeof *made);
    session_free(by_hand);
    struct session *other = say(*state, "hello", 100); /* "Hello!" */
    o.think_end = (const int32_t[]){'!'};
    o.n_think_end = 1;
    o.think_tokens = 6; /* behind it: there is nothing to end any more */
    must(session_generate(other, NULL, &o, NULL, NULL, NULL, &info), &info);
    made = session_tokens(other) + before;
    assert_int_equal(made[5], '!');
    assert_int_not_equal(made[6], '!');
    o.think_end = (const int32_t[]){1 << 30};
    assert_int_equal(session_generate(other, NULL, &o, NULL, NULL, NULL, &info), ERR_ARGUMENT);
    session_free(other);
    session_free(s);
}

/* What ends thinking begins the grammar; what the grammar then does not allow is left out. */
static void test_thinking_ends_before_a_grammar(void **state)
{
    struct errinfo info = {0};
    struct grammar *g = NULL;
    struct tokentrie *v = NULL;
    struct grammarmask *m = NULL;
    struct talk k = {0};
    static const int32_t end[] = {'#', '\n'};
    must(grammar_new("root ::= \"\\n\"? \"ok\"", 19, &g, &info), &info);
    must(tokentrie_new(engine_tokenizer(*state), &v, &info), &info);
    must(grammarmask_new(g, v, &m, &info), &info);
    struct generate_options o = {.grammar = m, .max_tokens = 40, .think_end = end, .n_think_end = 2,
                                 .think_tokens = 3};
    struct session *s = say(*state, "hello", 100);
    grammarmask_begin(m, '#');
    assert_int_equal(reply(s, &o, &k).finish, SESSION_STOP);
    assert_string_equal(k.text, "Hel#\nok");
    session_free(s);
    o.think_end = (const int32_t[]){'#', ' '};
    s = say(*state, "hello", 100);
    grammarmask_begin(m, '#');
    assert_int_equal(reply(s, &o, &k).finish, SESSION_STOP);
    assert_true(strcmp(k.text, "Hel#ok") == 0 || strcmp(k.text, "Hel#\nok") == 0);
    session_free(s);
    grammarmask_free(m);
    tokentrie_free(v);
    grammar_free(g);
}

static void test_a_grammar_needs_an_end(void **state)
{
    struct errinfo info = {0};
    struct grammar *g = NULL;
    struct tokentrie *v = NULL;
    struct grammarmask *m = NULL;
    struct generate_result r;
    must(grammar_new("root ::= \"a\"", 12, &g, &info), &info);
    must(tokentrie_new(engine_tokenizer(*state), &v, &info), &info);
    must(grammarmask_new(g, v, &m, &info), &info);
    const struct generate_options o = {.grammar = m, .ignore_eos = true};
    struct session *s = say(*state, "hello", 100);
    assert_int_equal(session_generate(s, NULL, &o, NULL, NULL, &r, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "a token that ends the answer"));
    session_free(s);
    grammarmask_free(m);
    tokentrie_free(v);
    grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_answer_ends_at_eos),
        cmocka_unit_test(test_stop_strings_cut_anywhere),
        cmocka_unit_test(test_stop_ids_and_ignore_eos),
        cmocka_unit_test(test_an_answer_does_not_end_too_early),
        cmocka_unit_test(test_a_cut_character_comes_with_the_continuation),
        cmocka_unit_test(test_a_full_context_is_length),
        cmocka_unit_test(test_an_endless_answer_is_a_loop),
        cmocka_unit_test(test_logprobs_agree_with_scores),
        cmocka_unit_test(test_cancelled_goes_on_as_if_nothing_happened),
        cmocka_unit_test(test_cancelled_prefill_is_a_finish_reason),
        cmocka_unit_test(test_penalties_count_the_answer_across_calls),
        cmocka_unit_test(test_bad_requests_are_refused),
        cmocka_unit_test(test_an_answer_matches_its_grammar),
        cmocka_unit_test(test_a_grammar_may_begin_behind_a_token),
        cmocka_unit_test(test_thinking_ends_when_it_must),
        cmocka_unit_test(test_thinking_ends_before_a_grammar),
        cmocka_unit_test(test_a_grammar_needs_an_end),
    };
    return cmocka_run_group_tests(tests, enginefixture_chat_exact, enginefixture_close);
}

/* Text completion requests to questions: prompts as text and as tokens, filling in the middle, what is refused. */
#include "server/questioncase.h"

#include "server/openaitext.h"

static void test_prompts(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"prompt\":\"abc\"}", "{\"prompt\":[\"abc\"]}"};
    for (size_t i = 0; i < 2; i++) {
        struct question *q = questioncase_good(openaitext_read, texts[i]);
        assert_true(q->kind == QUESTION_TEXT && !q->tokens && !q->echo && !q->logprobs);
        assert_string_equal(q->text, "abc");
        question_free(q);
    }
    struct question *q = questioncase_good(openaitext_read, "{\"prompt\":[5,0,2147483647],\"logprobs\":0,\"n\":2,\"best_of\":1,\"stop\":\"x\"}");
    assert_true(q->n_tokens == 3 && q->tokens[2] == INT32_MAX && q->logprobs && q->top_logprobs == 0 && q->n == 2 && q->n_stop == 1);
    question_free(q);
    q = questioncase_good(openaitext_read, "{\"prompt\":\"a\",\"suffix\":\"b\",\"echo\":true,\"max_tokens\":5,\"stream\":true}");
    assert_true(q->kind == QUESTION_FILL && q->echo && q->stream && q->max_tokens == 5);
    assert_string_equal(q->suffix, "b");
    question_free(q);
    q = questioncase_good(openaitext_read, "{\"prompt\":\"a\",\"response_format\":{\"type\":\"json_object\"},\"add_special_tokens\":true}");
    assert_true(q->form == QUESTION_JSON && q->unknown.len == 0);
    question_free(q);
    q = questioncase_good(openaitext_read, "{\"prompt\":\"a\",\"suffix\":null,\"logprobs\":20,\"zeal\":1}");
    assert_true(q->kind == QUESTION_TEXT && q->top_logprobs == 20);
    assert_string_equal(q->unknown.data, "zeal");
    question_free(q);
}

static void test_what_is_wrong_is_named(void **state)
{
    static const struct questioncase_bad cases[] = {
        {"{}", 400, "prompt"},
        {"{\"prompt\":null}", 400, "prompt"},
        {"{\"prompt\":5}", 400, "prompt"},
        {"{\"prompt\":{}}", 400, "prompt"},
        {"{\"prompt\":[]}", 400, "prompt"},
        {"{\"prompt\":[\"a\",\"b\"]}", 400, "prompt"},
        {"{\"prompt\":[[1,2]]}", 400, "prompt"},
        {"{\"prompt\":[1,\"a\"]}", 400, "prompt"},
        {"{\"prompt\":[-1]}", 400, "prompt"},
        {"{\"prompt\":[1.5]}", 400, "prompt"},
        {"{\"prompt\":[2147483648]}", 400, "prompt"},
        {"{\"prompt\":[1],\"suffix\":\"b\"}", 400, "prompt"},
        {"{\"prompt\":[1],\"echo\":true}", 400, "echo"},
        {"{\"prompt\":\"a\",\"echo\":true,\"logprobs\":1}", 400, "echo"},
        {"{\"prompt\":\"a\",\"suffix\":5}", 400, "suffix"},
        {"{\"prompt\":\"a\",\"logprobs\":true}", 400, "logprobs"},
        {"{\"prompt\":\"a\",\"logprobs\":21}", 422, "logprobs"},
        {"{\"prompt\":\"a\",\"logprobs\":-1}", 422, "logprobs"},
        {"{\"prompt\":\"a\",\"add_special_tokens\":false}", 400, "add_special_tokens"},
        {"{\"prompt\":\"a\",\"response_format\":{\"type\":\"xml\"}}", 422, "response_format.type"},
        {"{\"prompt\":\"a\",\"best_of\":2}", 422, "best_of"},
        {"{\"prompt\":\"a\",\"temperature\":3}", 422, "temperature"},
        {"{\"prompt\":\"a\",\"stream_options\":{}}", 400, "stream_options"},
    };
    (void)state;
    questioncase_refused(openaitext_read, cases, sizeof cases / sizeof *cases);
}

static void test_short_memory(void **state)
{
    (void)state;
    questioncase_short_of_memory(openaitext_read, "{\"prompt\":[1,2,3],\"zeal\":1,\"logit_bias\":{\"1\":1}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

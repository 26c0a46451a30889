/* OpenAI's responses to questions: conversations of items, what is said about text and reasoning, what is wrong. */
#include "server/questioncase.h"

#include "server/responses.h"

#define ASK(more) "{\"input\":\"hi\"," more "}"
#define INPUT(items) "{\"input\":[" items "]}"
#define CALL(id) "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"f\",\"arguments\":\"{}\"}"
#define OUTPUT(id) "{\"type\":\"function_call_output\",\"call_id\":\"" id "\",\"output\":\"o\"}"

static void test_items_become_messages(void **state)
{
    (void)state;
    struct question *q = questioncase_good(
        responses_read,
        INPUT("{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\"},{\"type\":\"input_text\",\"text\":\"b\"}]},"
              "{\"type\":\"reasoning\",\"content\":[{\"type\":\"reasoning_text\",\"text\":\"r\"}]}," CALL("a") ","
              "{\"type\":\"reasoning\",\"summary\":[]}," CALL("b") "," OUTPUT("b") "," OUTPUT("a") "," CALL("c") "," OUTPUT("c")));
    assert_int_equal(q->n_messages, 6);
    assert_string_equal(q->messages[0].content, "ab");
    assert_string_equal(q->messages[1].reasoning, "r");
    assert_true(q->messages[1].n_calls == 2 && q->messages[2].role == CHAT_TOOL && q->messages[4].n_calls == 1);
    assert_string_equal(q->messages[1].calls[0].id, "a");
    assert_string_equal(q->messages[1].calls[1].id, "b");
    assert_string_equal(q->messages[4].calls[0].id, "c");
    question_free(q);
}

/* What is kept for calls is as many as the items, however they lie. */
static void test_many_turns_take_little(void **state)
{
    enum { TURNS = 2000 };
    static const char turn[] = CALL("a") "," OUTPUT("a") ",";
    char *text = malloc(TURNS * sizeof turn + 100);
    size_t n = (size_t)sprintf(text, "{\"input\":[");
    (void)state;
    for (int i = 0; i < TURNS; i++) {
        n += (size_t)sprintf(text + n, "%s", turn);
    }
    strcpy(text + n - 1, "]}");
    struct question *q = questioncase_good(responses_read, text);
    assert_true(q->n_messages == 2 * TURNS && q->n_owned < 10);
    question_free(q);
    free(text);
}

static void test_text_and_reasoning(void **state)
{
    static const struct {
        const char *text;
        enum chat_thinking think;
        const char *listed;
    } rows[] = {
        {ASK("\"text\":{},\"reasoning\":{}"), CHAT_NO_THINKING, ""},
        {ASK("\"text\":{\"format\":null,\"verbosity\":null},\"reasoning\":{\"effort\":null,\"summary\":null}"), CHAT_NO_THINKING, ""},
        {ASK("\"text\":{\"format\":{\"type\":\"text\"},\"verbosity\":\"medium\"}"), CHAT_NO_THINKING, ""},
        {ASK("\"text\":{\"verbosity\":\"low\"}"), CHAT_NO_THINKING, "text.verbosity"},
        {ASK("\"text\":{\"verbosity\":\"high\",\"zeal\":1}"), CHAT_NO_THINKING, "text.zeal, text.verbosity"},
        {ASK("\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"}"), CHAT_THINKING_LOW, ""},
        {ASK("\"reasoning\":{\"summary\":\"concise\"}"), CHAT_NO_THINKING, "reasoning.summary"},
        {ASK("\"reasoning\":{\"summary\":\"detailed\",\"effort\":\"high\"}"), CHAT_THINKING, "reasoning.summary"},
        {ASK("\"reasoning\":{\"generate_summary\":\"auto\"}"), CHAT_NO_THINKING, "reasoning.generate_summary"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = questioncase_good(responses_read, rows[i].text);
        if (q->think != rows[i].think || q->form != QUESTION_FREE || strcmp(q->unknown.data ? q->unknown.data : "", rows[i].listed) != 0) {
            fail_msg("%s: think %d, listed %s", rows[i].text, q->think, q->unknown.data);
        }
        question_free(q);
    }
}

static void test_a_model_that_always_thinks_is_not_told_not_to(void **state)
{
    (void)state;
    questioncase_thinker_refuses(responses_read, ASK("\"reasoning\":{\"effort\":\"none\"}"), "reasoning.effort");
}

/* What replies give to their items comes back with them, and passes. */
static void test_members_without_effect_are_listed(void **state)
{
    (void)state;
    struct question *q = questioncase_good(
        responses_read,
        INPUT("{\"type\":\"reasoning\",\"id\":\"r\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"r\"}],\"encrypted_content\":\"x\"},"
              "{\"type\":\"message\",\"id\":\"m\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\","
              "\"annotations\":[],\"logprobs\":[]}]},{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\",\"zeal\":1}],\"zeal\":2}"));
    assert_string_equal(q->unknown.data, "input[0].encrypted_content, input[2].zeal, input[2].content[0].zeal");
    assert_true(q->n_messages == 2 && q->messages[0].role == CHAT_ASSISTANT);
    question_free(q);
    q = questioncase_good(responses_read,
                          ASK("\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"strict\":true,\"description\":\"d\",\"schema\":{}}}"));
    assert_string_equal(q->unknown.data, "text.format.description");
    assert_true(q->form == QUESTION_SCHEMA && q->schema);
    question_free(q);
}

static void test_what_replies_are_to_hold(void **state)
{
    (void)state;
    struct question *q = questioncase_good(
        responses_read, ASK("\"store\":false,\"include\":[\"reasoning.encrypted_content\",\"message.output_text.logprobs\"]"));
    assert_true(q->logprobs && q->top_logprobs == 0);
    assert_string_equal(q->unknown.data, "include[0]");
    question_free(q);
    q = questioncase_good(responses_read, ASK("\"store\":true,\"include\":[]"));
    assert_string_equal(q->unknown.data, "store");
    assert_false(q->logprobs);
    question_free(q);
}

static void test_what_is_wrong_is_named(void **state)
{
    static const struct questioncase_bad cases[] = {
        {"{}", 400, "input"},
        {"{\"input\":5}", 400, "input"},
        {"{\"input\":[]}", 400, "input"},
        {INPUT("5"), 400, "input[0]"},
        {INPUT("{\"type\":\"item_reference\"}"), 400, "input[0]"},
        {INPUT("{\"role\":\"king\",\"content\":\"x\"}"), 422, "input[0].role"},
        {INPUT("{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}"), 400, "input[0].content[0]"},
        {INPUT("{\"role\":\"user\"}"), 400, "input[0].content"},
        {INPUT("{\"role\":\"user\",\"content\":[{\"type\":\"input_text\"}]}"), 400, "input[0].content[0].text"},
        {INPUT("{\"type\":\"function_call\",\"call_id\":\"a\"}"), 400, "input[0].name"},
        {INPUT(CALL("a") ",{\"type\":\"function_call_output\",\"call_id\":\"a\"}"), 400, "input[1].output"},
        {ASK("\"tool_choice\":{\"type\":\"web_search\"}"), 422, "tool_choice.type"},
        {ASK("\"tool_choice\":{\"type\":\"function\"}"), 400, "tool_choice.name"},
        {ASK("\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}"), 400, "tool_choice"},
        {INPUT(OUTPUT("a")), 400, "input[0].call_id"},
        {INPUT(OUTPUT("a") "," CALL("a")), 400, "input[0].call_id"},
        {INPUT(CALL("a") "," OUTPUT("b")), 400, "input[1].call_id"},
        {INPUT(CALL("a") "," CALL("a") "," OUTPUT("a")), 400, "input[1].call_id"},
        {INPUT(CALL("a") "," OUTPUT("a") "," OUTPUT("a")), 400, "input[2].call_id"},
        {INPUT(CALL("a") "," CALL("b") "," OUTPUT("b")), 400, "input[0].call_id"},
        {ASK("\"store\":\"yes\""), 400, "store"},
        {ASK("\"include\":\"reasoning.encrypted_content\""), 400, "include"},
        {ASK("\"include\":[\"reasoning.encrypted_content\",\"x\"]"), 422, "include[1]"},
        {ASK("\"include\":[1]"), 422, "include[0]"},
        {INPUT(CALL("a") ",{\"type\":\"function_call_output\",\"output\":\"o\"}"), 400, "input[1].call_id"},
        {ASK("\"text\":\"low\""), 400, "text"},
        {ASK("\"text\":{\"verbosity\":1}"), 400, "text.verbosity"},
        {ASK("\"text\":{\"verbosity\":\"some\"}"), 422, "text.verbosity"},
        {ASK("\"text\":{\"format\":\"json\"}"), 400, "text.format"},
        {ASK("\"text\":{\"format\":{}}"), 400, "text.format.type"},
        {ASK("\"text\":{\"format\":{\"type\":\"xml\"}}"), 422, "text.format.type"},
        {ASK("\"text\":{\"format\":{\"type\":\"json_schema\"}}"), 400, "text.format.schema"},
        {ASK("\"text\":{\"format\":{\"type\":\"text\",\"schema\":{}}}"), 400, "text.format.schema"},
        {ASK("\"reasoning\":\"low\""), 400, "reasoning"},
        {ASK("\"reasoning\":{\"effort\":\"much\"}"), 422, "reasoning.effort"},
        {ASK("\"reasoning\":{\"effort\":1}"), 400, "reasoning.effort"},
        {ASK("\"reasoning\":{\"summary\":\"short\"}"), 422, "reasoning.summary"},
        {ASK("\"reasoning\":{\"summary\":true}"), 400, "reasoning.summary"},
    };
    (void)state;
    questioncase_refused(responses_read, cases, sizeof cases / sizeof *cases);
}

static void test_short_memory(void **state)
{
    (void)state;
    questioncase_short_of_memory(
        responses_read, "{\"instructions\":\"i\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\"}]}," CALL("a") ","
                        OUTPUT("a") "],\"text\":{\"verbosity\":\"low\"},\"reasoning\":{\"summary\":\"detailed\"},"
                        "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{}}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_become_messages),
        cmocka_unit_test(test_many_turns_take_little),
        cmocka_unit_test(test_text_and_reasoning),
        cmocka_unit_test(test_a_model_that_always_thinks_is_not_told_not_to),
        cmocka_unit_test(test_members_without_effect_are_listed),
        cmocka_unit_test(test_what_replies_are_to_hold),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

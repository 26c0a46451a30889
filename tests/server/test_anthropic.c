/* Anthropic's requests to questions: choices of tools, thinking, the output, and what is wrong with them. */
#include "server/questioncase.h"

#include "server/anthropic.h"

static bool messages(struct question *q, struct apierror *e)
{
    return anthropic_read(q, false, e);
}

static bool counting(struct question *q, struct apierror *e)
{
    return anthropic_read(q, true, e);
}

#define ASK(more) "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]," more "}"
#define TOOLS "\"tools\":[{\"name\":\"f\"},{\"name\":\"g\"}]"

static void test_every_field_arrives(void **state)
{
    (void)state;
    struct question *q = questioncase_good(messages, ASK("\"temperature\":0.25,\"top_p\":0.5,\"top_k\":40,\"stop_sequences\":[\"a\",\"b\"],\"stream\":true,"
                                                         "\"metadata\":{\"user_id\":\"u\"}," TOOLS));
    assert_true(q->sampling.temperature == 0.25f && q->sampling.top_p == 0.5f && q->sampling.top_k == 40 && q->max_tokens == 9);
    assert_true(q->n_stop == 2 && q->stream && q->n_tools == 2 && q->think == CHAT_NO_THINKING && q->unknown.len == 0);
    assert_string_equal(q->user, "u");
    question_free(q);
    question_free(questioncase_good(counting, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"));
}

static void test_choices(void **state)
{
    static const struct {
        const char *choice;
        enum question_choice is;
        bool one;
    } rows[] = {{"{\"type\":\"auto\"}", QUESTION_AUTO, false},
                {"{\"type\":\"none\"}", QUESTION_NONE, false},
                {"{\"type\":\"any\",\"disable_parallel_tool_use\":true}", QUESTION_REQUIRED, true},
                {"{\"type\":\"tool\",\"name\":\"g\",\"disable_parallel_tool_use\":false}", QUESTION_NAMED, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1000];
        snprintf(text, sizeof text, ASK(TOOLS ",\"tool_choice\":%s"), rows[i].choice);
        struct question *q = questioncase_good(messages, text);
        assert_true(q->choice == rows[i].is && q->one_call == rows[i].one);
        assert_true(q->choice != QUESTION_NAMED || strcmp(q->chosen, "g") == 0);
        question_free(q);
    }
}

static void test_thinking_and_effort(void **state)
{
    static const struct {
        const char *text;
        enum chat_thinking think;
        size_t tokens;
        const char *listed;
    } rows[] = {
        {ASK("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}"), CHAT_THINKING, 1024, ""},
        {ASK("\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"low\"}"), CHAT_THINKING_LOW, 0, ""},
        {ASK("\"thinking\":{\"type\":\"enabled\"},\"output_config\":{\"effort\":\"max\"}"), CHAT_THINKING_MAX, 0, ""},
        {ASK("\"thinking\":{\"type\":\"disabled\"},\"output_config\":{\"effort\":\"high\"}"), CHAT_NO_THINKING, 0, "output_config.effort"},
        {ASK("\"output_config\":{\"effort\":\"high\"}"), CHAT_NO_THINKING, 0, "output_config.effort"},
        {ASK("\"output_config\":{\"task_budget\":{\"type\":\"tokens\",\"total\":9}}"), CHAT_NO_THINKING, 0, "output_config.task_budget"},
        {ASK("\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\"}"), CHAT_THINKING, 0, "thinking.display"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = questioncase_good(messages, rows[i].text);
        if (q->think != rows[i].think || q->think_tokens != rows[i].tokens || strcmp(q->unknown.data ? q->unknown.data : "", rows[i].listed) != 0) {
            fail_msg("%s: think %d, %zu tokens, listed %s", rows[i].text, q->think, q->think_tokens, q->unknown.data);
        }
        question_free(q);
    }
}

static void test_a_model_that_always_thinks_is_not_told_not_to(void **state)
{
    (void)state;
    questioncase_thinker_refuses(messages, ASK("\"thinking\":{\"type\":\"disabled\"}"), "thinking");
    questioncase_thinker_refuses(messages, ASK("\"output_config\":{\"effort\":\"none\"}"), "output_config.effort");
}

static void test_members_without_effect_are_listed(void **state)
{
    (void)state;
    struct question *q = questioncase_good(messages, ASK(TOOLS ",\"tool_choice\":{\"type\":\"auto\",\"zeal\":1},\"metadata\":{\"zeal\":2},"
                                                         "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{},\"zeal\":3}}"));
    assert_string_equal(q->unknown.data, "tool_choice.zeal, output_config.format.zeal, metadata.zeal");
    assert_true(q->form == QUESTION_SCHEMA && q->schema);
    question_free(q);
}

static void test_what_is_wrong_is_named(void **state)
{
    static const struct questioncase_bad cases[] = {
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", 400, "max_tokens"},
        {"{\"model\":\"m\",\"max_tokens\":9}", 400, "messages"},
        {"{\"model\":\"m\",\"max_tokens\":9,\"messages\":[]}", 422, "messages"},
        {ASK("\"tool_choice\":\"auto\""), 400, "tool_choice"},
        {ASK("\"tool_choice\":{}"), 400, "tool_choice.type"},
        {ASK("\"tool_choice\":{\"type\":5}"), 400, "tool_choice.type"},
        {ASK("\"tool_choice\":{\"type\":\"required\"}"), 422, "tool_choice.type"},
        {ASK("\"tool_choice\":{\"type\":\"any\"}"), 400, "tool_choice"},
        {ASK(TOOLS ",\"tool_choice\":{\"type\":\"tool\"}"), 400, "tool_choice.name"},
        {ASK(TOOLS ",\"tool_choice\":{\"type\":\"tool\",\"name\":\"h\"}"), 400, "tool_choice"},
        {ASK(TOOLS ",\"tool_choice\":{\"type\":\"auto\",\"name\":\"f\"}"), 400, "tool_choice.name"},
        {ASK(TOOLS ",\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":1}"), 400, "tool_choice.disable_parallel_tool_use"},
        {ASK("\"thinking\":{\"type\":\"sometimes\"}"), 422, "thinking.type"},
        {ASK("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":0}"), 422, "thinking.budget_tokens"},
        {ASK("\"output_config\":{\"effort\":\"much\"}"), 422, "output_config.effort"},
        {ASK("\"output_config\":{\"effort\":5}"), 400, "output_config.effort"},
        {ASK("\"output_config\":{\"format\":\"json\"}"), 400, "output_config.format"},
        {ASK("\"output_config\":{\"format\":{}}"), 400, "output_config.format.type"},
        {ASK("\"output_config\":{\"format\":{\"type\":\"json_schema\"}}"), 400, "output_config.format"},
        {ASK("\"metadata\":{\"user_id\":5}"), 400, "metadata.user_id"},
        {ASK("\"reasoning\":{\"effort\":\"low\"}"), 400, "reasoning"},
        {ASK("\"mcp_servers\":[{}]"), 400, "mcp_servers"},
    };
    (void)state;
    questioncase_refused(messages, cases, sizeof cases / sizeof *cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_arrives),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_thinking_and_effort),
        cmocka_unit_test(test_a_model_that_always_thinks_is_not_told_not_to),
        cmocka_unit_test(test_members_without_effect_are_listed),
        cmocka_unit_test(test_what_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

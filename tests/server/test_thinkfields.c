/* Thinking in the words of many servers, by way of chat completions: what they mean, and what contradicts itself. */
#include "server/questioncase.h"

#include "server/openaichat.h"
#include "server/thinkfields.h"

static bool chat(struct question *q, struct apierror *e)
{
    return openaichat_read(q, false, e);
}

#define ASK(more) "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]," more "}"
#define KWARGS(more) "\"chat_template_kwargs\":{" more "}"
#define OFF CHAT_NO_THINKING
#define ON CHAT_THINKING
#define LOW CHAT_THINKING_LOW
#define MOST CHAT_THINKING_MAX

static void test_each_says_what_it_means(void **state)
{
    static const struct {
        const char *text;
        enum chat_thinking before, after;
        size_t tokens;
    } rows[] = {
        {ASK("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":7}"), OFF, ON, 7},
        {ASK("\"thinking\":{\"type\":\"adaptive\"}"), OFF, ON, 0},
        {ASK("\"thinking\":{\"type\":\"disabled\",\"budget_tokens\":7}"), ON, OFF, 7},
        {ASK("\"enable_thinking\":true"), OFF, ON, 0},
        {ASK("\"enable_thinking\":false"), ON, OFF, 0},
        {ASK("\"enable_thinking\":null"), ON, ON, 0},
        {ASK("\"enable_thinking\":true,\"thinking_budget\":9"), OFF, ON, 9},
        {ASK("\"enable_thinking\":false,\"thinking_budget\":9"), ON, OFF, 9},
        {ASK("\"thinking_budget\":9"), OFF, ON, 9},
        {ASK("\"thinking_budget\":9.0,\"reasoning_effort\":\"none\""), ON, OFF, 9},
        {ASK("\"reasoning\":{}"), OFF, OFF, 0},
        {ASK("\"reasoning\":{\"enabled\":true,\"exclude\":false}"), OFF, ON, 0},
        {ASK("\"reasoning\":{\"enabled\":false}"), ON, OFF, 0},
        {ASK("\"reasoning\":{\"effort\":\"minimal\"}"), OFF, LOW, 0},
        {ASK("\"reasoning\":{\"effort\":\"none\"}"), ON, OFF, 0},
        {ASK("\"reasoning\":{\"max_tokens\":50}"), OFF, ON, 50},
        {ASK("\"reasoning\":{\"effort\":\"max\",\"max_tokens\":50}"), OFF, MOST, 50},
        {ASK("\"reasoning\":{\"effort\":\"high\",\"enabled\":false}"), ON, OFF, 0},
        {ASK(KWARGS("")), OFF, OFF, 0},
        {ASK(KWARGS("\"thinking\":true")), OFF, ON, 0},
        {ASK(KWARGS("\"enable_thinking\":false")), ON, OFF, 0},
        {ASK(KWARGS("\"enable_thinking\":true,\"thinking\":true")), OFF, ON, 0},
        {ASK(KWARGS("\"thinking\":true,\"reasoning_effort\":\"max\"")), OFF, MOST, 0},
        {ASK("\"enable_thinking\":true,\"reasoning\":{\"enabled\":true},\"thinking\":{\"type\":\"enabled\"}," KWARGS("\"thinking\":true")), OFF, ON, 0},
        {ASK("\"reasoning_effort\":\"high\",\"reasoning\":{\"effort\":\"medium\"}"), OFF, ON, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = question_new(&questioncase_defaults, CHAT_DEEPSEEK_V31);
        struct apierror e = {0};
        q->think = rows[i].before;
        if (!question_parse(q, rows[i].text, strlen(rows[i].text), &e) || !chat(q, &e) || q->think != rows[i].after ||
            q->think_tokens != rows[i].tokens || q->unknown.len > 0) {
            fail_msg("%s: think %d, %zu tokens, listed %s, %s", rows[i].text, q->think, q->think_tokens, q->unknown.data, e.message);
        }
        question_free(q);
    }
}

/* To think is a wish: a model that cannot answers without, and says so. */
static void test_what_cannot_be_had_is_listed(void **state)
{
    static const struct {
        enum chat_format format;
        const char *text, *listed;
    } rows[] = {
        {CHAT_SMOLLM2, ASK("\"enable_thinking\":true"), "enable_thinking"},
        {CHAT_SMOLLM2, ASK("\"enable_thinking\":false"), ""},
        {CHAT_SMOLLM2, ASK("\"thinking_budget\":9"), "thinking_budget"},
        {CHAT_SMOLLM2, ASK("\"reasoning\":{\"max_tokens\":9}"), "reasoning.max_tokens"},
        {CHAT_SMOLLM2, ASK("\"reasoning\":{\"effort\":\"low\"}"), "reasoning.effort"},
        {CHAT_SMOLLM2, ASK(KWARGS("\"thinking\":true")), "chat_template_kwargs.thinking"},
        {CHAT_DEEPSEEK_R1, ASK("\"temperature\":1"), ""},
        {CHAT_DEEPSEEK_R1, ASK("\"thinking\":{\"type\":\"enabled\"},\"reasoning_effort\":\"none\""), ""},
        {CHAT_DEEPSEEK_R1, ASK("\"reasoning\":{\"enabled\":true,\"effort\":\"low\",\"max_tokens\":9}"), ""},
        {CHAT_DEEPSEEK_V31, ASK("\"thinking\":{\"type\":\"enabled\",\"display\":\"summarized\"}"), "thinking.display"},
        {CHAT_DEEPSEEK_V31, ASK("\"reasoning\":{\"enabled\":true,\"summary\":\"auto\"}"), "reasoning.summary"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = question_new(&questioncase_defaults, rows[i].format);
        struct apierror e = {0};
        if (!question_parse(q, rows[i].text, strlen(rows[i].text), &e) || !chat(q, &e) ||
            strcmp(q->unknown.data ? q->unknown.data : "", rows[i].listed) != 0) {
            fail_msg("%s: listed %s, %s", rows[i].text, q->unknown.data, e.message);
        }
        question_free(q);
    }
}

/* Not to think is a choice: a model that always thinks refuses it. */
static void test_what_cannot_be_left_is_refused(void **state)
{
    static const struct {
        const char *text, *param;
    } rows[] = {
        {ASK("\"thinking\":{\"type\":\"disabled\"}"), "thinking"},
        {ASK("\"thinking\":{\"type\":\"disabled\"},\"reasoning_effort\":\"none\""), "thinking"},
        {ASK("\"thinking\":{\"type\":\"disabled\"},\"reasoning_effort\":\"high\""), "thinking"},
        {ASK("\"reasoning_effort\":\"none\""), "reasoning_effort"},
        {ASK("\"reasoning\":{\"enabled\":false}"), "reasoning.enabled"},
        {ASK("\"reasoning\":{\"effort\":\"none\"}"), "reasoning.effort"},
        {ASK("\"enable_thinking\":false"), "enable_thinking"},
        {ASK("\"enable_thinking\":false,\"thinking_budget\":9"), "enable_thinking"},
        {ASK(KWARGS("\"thinking\":false")), "chat_template_kwargs.thinking"},
        {ASK(KWARGS("\"enable_thinking\":false")), "chat_template_kwargs.enable_thinking"},
        {ASK(KWARGS("\"reasoning_effort\":\"none\"")), "chat_template_kwargs.reasoning_effort"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        questioncase_thinker_refuses(chat, rows[i].text, rows[i].param);
    }
}

static void test_what_is_wrong_is_named(void **state)
{
    static const struct questioncase_bad cases[] = {
        {ASK("\"thinking\":true"), 400, "thinking"},
        {ASK("\"thinking\":{}"), 400, "thinking.type"},
        {ASK("\"thinking\":{\"type\":true}"), 400, "thinking.type"},
        {ASK("\"thinking\":{\"type\":\"on\"}"), 422, "thinking.type"},
        {ASK("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":0}"), 422, "thinking.budget_tokens"},
        {ASK("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":\"9\"}"), 400, "thinking.budget_tokens"},
        {ASK("\"enable_thinking\":\"yes\""), 400, "enable_thinking"},
        {ASK("\"enable_thinking\":1"), 400, "enable_thinking"},
        {ASK("\"thinking_budget\":0"), 422, "thinking_budget"},
        {ASK("\"thinking_budget\":-1"), 422, "thinking_budget"},
        {ASK("\"thinking_budget\":\"many\""), 400, "thinking_budget"},
        {ASK("\"reasoning\":\"high\""), 400, "reasoning"},
        {ASK("\"reasoning\":{\"enabled\":1}"), 400, "reasoning.enabled"},
        {ASK("\"reasoning\":{\"effort\":5}"), 400, "reasoning.effort"},
        {ASK("\"reasoning\":{\"effort\":\"much\"}"), 422, "reasoning.effort"},
        {ASK("\"reasoning\":{\"max_tokens\":0}"), 422, "reasoning.max_tokens"},
        {ASK("\"reasoning\":{\"exclude\":true}"), 400, "reasoning.exclude"},
        {ASK("\"chat_template_kwargs\":[]"), 400, "chat_template_kwargs"},
        {ASK(KWARGS("\"thinking\":\"true\"")), 400, "chat_template_kwargs.thinking"},
        {ASK(KWARGS("\"enable_thinking\":0")), 400, "chat_template_kwargs.enable_thinking"},
        {ASK(KWARGS("\"reasoning_effort\":\"much\"")), 422, "chat_template_kwargs.reasoning_effort"},
        {ASK(KWARGS("\"date\":\"today\"")), 400, "chat_template_kwargs.date"},
        {ASK("\"thinking\":{\"type\":\"enabled\"},\"enable_thinking\":false"), 400, "enable_thinking"},
        {ASK("\"enable_thinking\":true," KWARGS("\"enable_thinking\":false")), 400, "chat_template_kwargs.enable_thinking"},
        {ASK(KWARGS("\"enable_thinking\":true,\"thinking\":false")), 400, "chat_template_kwargs.enable_thinking"},
        {ASK("\"reasoning\":{\"enabled\":true},\"enable_thinking\":false"), 400, "enable_thinking"},
        {ASK("\"reasoning_effort\":\"low\",\"reasoning\":{\"effort\":\"high\"}"), 400, "reasoning.effort"},
        {ASK("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":8},\"thinking_budget\":9"), 400, "thinking_budget"},
        {ASK("\"reasoning\":{\"max_tokens\":8},\"thinking_budget\":9"), 400, "thinking_budget"},
    };
    (void)state;
    questioncase_refused(chat, cases, sizeof cases / sizeof *cases);
}

static void test_short_memory(void **state)
{
    (void)state;
    questioncase_short_of_memory(chat, ASK("\"thinking\":{\"type\":\"enabled\",\"zeal\":1},\"reasoning\":{\"zeal\":2}," KWARGS("\"thinking\":true")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_says_what_it_means),
        cmocka_unit_test(test_what_cannot_be_had_is_listed),
        cmocka_unit_test(test_what_cannot_be_left_is_refused),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

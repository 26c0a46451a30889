/* Messages made of blocks: what becomes of them, whose results they hold, what is listed and what refused. */
#include "server/questioncase.h"

#include "server/anthropic.h"

static bool messages(struct question *q, struct apierror *e)
{
    return anthropic_read(q, false, e);
}

#define SAY(list) "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" list "]}"
#define SYSTEM(list) "{\"model\":\"m\",\"max_tokens\":9,\"system\":" list ",\"messages\":[" USER "]}"
#define USER "{\"role\":\"user\",\"content\":\"hi\"}"
#define BY(role, blocks) "{\"role\":\"" role "\",\"content\":[" blocks "]}"
#define TEXT(text) "{\"type\":\"text\",\"text\":\"" text "\"}"
#define USE(id) "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":{}}"
#define RESULT(id, more) "{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\"" more "}"
#define ONE BY("assistant", USE("a"))
#define AGENT BY("assistant", USE("a") "," USE("b"))

static void test_blocks_become_messages(void **state)
{
    (void)state;
    struct question *q = questioncase_good(
        messages,
        "{\"model\":\"m\",\"max_tokens\":9,\"system\":[" TEXT("s") "," TEXT("t") "],\"messages\":["
        BY("user", TEXT("a") "," TEXT("b")) ","
        BY("assistant", "{\"type\":\"thinking\",\"thinking\":\"r\",\"signature\":\"x\"}," TEXT("t") ","
                        "{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{ \"n\" : 1 }}") ","
        BY("user", TEXT("so?") "," RESULT("c", ",\"content\":[" TEXT("x") "," TEXT("y") "],\"is_error\":false")) "]}");
    assert_int_equal(q->n_messages, 5);
    assert_true(q->messages[0].role == CHAT_SYSTEM && q->messages[1].role == CHAT_USER && q->messages[2].role == CHAT_ASSISTANT);
    assert_true(q->messages[3].role == CHAT_TOOL && q->messages[4].role == CHAT_USER && !q->messages[4].open);
    assert_string_equal(q->messages[0].content, "s\n\nt");
    assert_string_equal(q->messages[1].content, "ab");
    assert_string_equal(q->messages[2].reasoning, "r");
    assert_string_equal(q->messages[2].content, "t");
    assert_string_equal(q->messages[2].calls[0].arguments, "{\"n\":1}");
    assert_string_equal(q->messages[3].content, "x\n\ny");
    assert_string_equal(q->messages[3].call_id, "c");
    assert_string_equal(q->messages[4].content, "so?");
    assert_int_equal(q->unknown.len, 0);
    question_free(q);
    q = questioncase_good(messages, SAY(USER ",{\"role\":\"assistant\",\"content\":\"It\"}"));
    assert_true(q->messages[1].open);
    question_free(q);
}

static void test_a_result_may_be_an_error(void **state)
{
    static const struct {
        const char *more, *content;
    } rows[] = {{",\"content\":\"no file\",\"is_error\":true", "Error: no file"},
                {",\"content\":[" TEXT("no") "," TEXT("file") "],\"is_error\":true", "Error: no\n\nfile"},
                {",\"content\":\"\",\"is_error\":true", "Error"},
                {",\"is_error\":true", "Error"},
                {",\"content\":[],\"is_error\":true", "Error"},
                {",\"content\":null,\"is_error\":null", ""},
                {",\"content\":\"fine\",\"is_error\":false", "fine"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1000];
        snprintf(text, sizeof text, SAY(USER "," ONE "," BY("user", RESULT("a", "%s"))), rows[i].more);
        struct question *q = questioncase_good(messages, text);
        assert_string_equal(q->messages[2].content, rows[i].content);
        assert_int_equal(q->unknown.len, 0);
        question_free(q);
    }
}

/* Of the assistant's turn before, which may be several messages, as may be the user's. */
static void test_results_answer_the_turn_before(void **state)
{
    static const char *const good[] = {
        SAY(USER "," AGENT "," BY("user", RESULT("b", "") "," RESULT("a", ""))),
        SAY(USER "," AGENT "," BY("user", RESULT("b", "")) "," USER "," BY("user", RESULT("a", ""))),
        SAY(USER "," BY("assistant", USE("a")) "," BY("assistant", USE("b")) "," BY("user", RESULT("b", "") "," RESULT("a", ""))),
        SAY(USER "," BY("assistant", USE("a")) "," BY("user", RESULT("a", "")) "," BY("assistant", USE("a")) "," BY("user", RESULT("a", ""))),
        SAY(BY("assistant", USE("a")) "," BY("user", RESULT("a", "")))};
    static const struct questioncase_bad bad[] = {
        {SAY(BY("user", RESULT("a", ""))), 400, "messages[0].content[0].tool_use_id"},
        {SAY(USER "," AGENT "," BY("user", TEXT("x") "," RESULT("c", ""))), 400, "messages[2].content[1].tool_use_id"},
        {SAY(USER "," AGENT "," BY("user", RESULT("", ""))), 400, "messages[2].content[0].tool_use_id"},
        {SAY(USER "," ONE "," BY("user", RESULT("a", "")) "," BY("assistant", TEXT("x")) "," BY("user", RESULT("a", ""))), 400,
         "messages[4].content[0].tool_use_id"},
        {SAY(USER "," ONE "," BY("user", RESULT("a", "") "," RESULT("a", ""))), 400, "messages[2].content[1].tool_use_id"},
        {SAY(USER "," BY("assistant", USE("a") "," USE("b") "," USE("a")) "," BY("user", RESULT("a", ""))), 400,
         "messages[1].content[2].id"},
        {SAY(USER "," AGENT "," USER ",{\"role\":\"assistant\",\"content\":\"x\"}," USER), 400, "messages[1].content[0].id"},
        {SAY(USER "," AGENT "," BY("user", RESULT("a", "")) "," BY("assistant", USE("c")) "," BY("user", RESULT("b", ""))), 400,
         "messages[1].content[1].id"},
        {SAY(USER "," AGENT "," BY("user", RESULT("b", "") "," TEXT("and?"))), 400, "messages[1].content[0].id"},
        {SAY(USER "," ONE), 400, "messages[1].content[0].id"},
        {SAY(USER "," BY("user", RESULT("a", "")) "," AGENT), 400, "messages[1].content[0].tool_use_id"},
        {"{\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}],\"tool_choice\":{\"type\":\"any\"},"
         "\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"It\"}]}", 400, "messages[1]"}};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        question_free(questioncase_good(messages, good[i]));
    }
    questioncase_refused(messages, bad, sizeof bad / sizeof *bad);
}

static void test_what_has_no_effect_is_listed(void **state)
{
    static const struct {
        const char *text, *listed;
    } rows[] = {
        {SAY("{\"role\":\"user\",\"content\":\"hi\",\"name\":\"ann\"}"), "messages[0].name"},
        {SAY(BY("user", "{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}")), "messages[0].content[0].cache_control"},
        {SAY(USER "," BY("assistant", "{\"type\":\"text\",\"text\":\"a\",\"citations\":[{}]}") "," USER), "messages[1].content[0].citations"},
        {SAY(USER "," BY("assistant", "{\"type\":\"text\",\"text\":\"a\",\"citations\":null}") "," USER), ""},
        {SAY(USER "," BY("assistant", "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{},\"caller\":{\"type\":\"direct\"}}") ","
             BY("user", RESULT("a", ",\"zeal\":1"))), "messages[1].content[0].caller, messages[2].content[0].zeal"},
        {SYSTEM("[{\"type\":\"text\",\"text\":\"a\",\"zeal\":1}]"), "system[0].zeal"},
        {SAY(USER "," ONE "," BY("user", RESULT("a", ",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"zeal\":1}]"))),
         "messages[2].content[0].content[0].zeal"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = questioncase_good(messages, rows[i].text);
        assert_string_equal(q->unknown.data ? q->unknown.data : "", rows[i].listed);
        question_free(q);
    }
}

/* The header has little room: what the whole request asks for goes before what its blocks hold. */
static void test_blocks_do_not_crowd_the_rest_out(void **state)
{
    enum { BLOCKS = 500 };
    static const char block[] = "{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{}},";
    char *text = malloc(BLOCKS * sizeof block + 1000);
    size_t n = (size_t)sprintf(text, "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[");
    (void)state;
    for (int i = 0; i < BLOCKS; i++) {
        n += (size_t)sprintf(text + n, "%s", block);
    }
    strcpy(text + n - 1, "]}],\"output_config\":{\"effort\":\"low\"}}");
    struct question *q = questioncase_good(messages, text);
    assert_non_null(strstr(q->unknown.data, "output_config.effort"));
    question_free(q);
    free(text);
}

static void test_what_is_wrong_is_named(void **state)
{
    static const struct questioncase_bad cases[] = {
        {SAY("5"), 400, "messages[0]"},
        {SAY("{\"content\":\"x\"}"), 400, "messages[0].role"},
        {SAY("{\"role\":\"king\",\"content\":\"x\"}"), 422, "messages[0].role"},
        {SAY("{\"role\":\"user\"}"), 400, "messages[0].content"},
        {SAY("{\"role\":\"user\",\"content\":5}"), 400, "messages[0].content"},
        {SAY("{\"role\":\"user\",\"content\":[5]}"), 400, "messages[0].content[0]"},
        {SAY(BY("user", "{\"type\":\"image\"}")), 400, "messages[0].content[0]"},
        {SAY(BY("user", "{\"type\":\"text\"}")), 400, "messages[0].content[0].text"},
        {SAY(BY("user", "{\"type\":\"text\",\"text\":5}")), 400, "messages[0].content[0].text"},
        {SAY(BY("user", USE("a"))), 400, "messages[0].content[0]"},
        {SAY(BY("assistant", RESULT("a", ""))), 400, "messages[0].content[0]"},
        {SAY(BY("assistant", "{\"type\":\"thinking\"}")), 400, "messages[0].content[0].thinking"},
        {SAY(BY("assistant", "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":5}")), 400, "messages[0].content[0].signature"},
        {SAY(BY("assistant", "{\"type\":\"tool_use\",\"name\":\"f\",\"input\":{}}")), 400, "messages[0].content[0].id"},
        {SAY(BY("assistant", "{\"type\":\"tool_use\",\"id\":\"a\",\"input\":{}}")), 400, "messages[0].content[0].name"},
        {SAY(BY("assistant", "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":\"{}\"}")), 400, "messages[0].content[0].input"},
        {SAY(USER "," AGENT "," BY("user", "{\"type\":\"tool_result\"}")), 400, "messages[2].content[0].tool_use_id"},
        {SAY(USER "," AGENT "," BY("user", RESULT("a", ",\"is_error\":1"))), 400, "messages[2].content[0].is_error"},
        {SAY(USER "," AGENT "," BY("user", RESULT("a", ",\"content\":5"))), 400, "messages[2].content[0].content"},
        {SAY(USER "," AGENT "," BY("user", RESULT("a", ",\"content\":[{\"type\":\"image\"}]"))), 400, "messages[2].content[0].content[0]"},
        {SYSTEM("5"), 400, "system"},
        {SYSTEM("[{\"type\":\"image\"}]"), 400, "system[0]"},
    };
    (void)state;
    questioncase_refused(messages, cases, sizeof cases / sizeof *cases);
}

static void test_short_memory(void **state)
{
    (void)state;
    questioncase_short_of_memory(
        messages, SAY(BY("user", TEXT("a") "," TEXT("b")) "," BY("assistant", "{\"type\":\"thinking\",\"thinking\":\"r\",\"zeal\":1}," USE("a")) ","
                      BY("user", TEXT("so?") "," RESULT("a", ",\"content\":[" TEXT("x") "],\"is_error\":true"))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_become_messages),
        cmocka_unit_test(test_a_result_may_be_an_error),
        cmocka_unit_test(test_results_answer_the_turn_before),
        cmocka_unit_test(test_what_has_no_effect_is_listed),
        cmocka_unit_test(test_blocks_do_not_crowd_the_rest_out),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

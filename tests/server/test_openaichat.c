/* Chat requests to questions: every field to its place, every wrong one refused by its name. */
#include "server/questioncase.h"

#include "server/openaichat.h"

static bool plain(struct question *q, struct apierror *e)
{
    return openaichat_read(q, false, e);
}

static bool beta(struct question *q, struct apierror *e)
{
    return openaichat_read(q, true, e);
}

#define USER "{\"role\":\"user\",\"content\":\"hi\"}"
#define ASK(more) "{\"messages\":[" USER "]" more "}"
#define SAY(message) "{\"messages\":[" message "]}"
/* An answer that begins with `text`, and what is said of calls. */
#define BEGUN(text, choice) \
    "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"" text "\",\"prefix\":true}],\"tools\":[" TOOL("f") "],\"tool_choice\":" choice "}"
#define TOOL(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"

static void test_every_field_arrives(void **state)
{
    (void)state;
    struct question *q = questioncase_good(
        plain, ASK(",\"model\":\"m\",\"temperature\":1.25,\"top_p\":0.5,\"min_p\":0.25,\"top_k\":40,\"presence_penalty\":-2,"
                   "\"frequency_penalty\":2,\"repetition_penalty\":1.5,\"seed\":9223372036854775807,\"max_tokens\":7,\"n\":8,"
                   "\"stop\":[\"a\",\"b\"],\"logit_bias\":{\"3\":-100,\"0\":1.5},\"stream\":true,\"stream_options\":"
                   "{\"include_usage\":true},\"user\":\"u\",\"logprobs\":true,\"top_logprobs\":20,\"parallel_tool_calls\":false"));
    assert_string_equal(q->model, "m");
    assert_true(q->sampling.temperature == 1.25f && q->sampling.top_p == 0.5f && q->sampling.min_p == 0.25f && q->sampling.top_k == 40);
    assert_true(q->sampling.presence_penalty == -2 && q->sampling.frequency_penalty == 2 && q->sampling.repetition_penalty == 1.5f);
    assert_true(q->sampling.seed == INT64_MAX && q->max_tokens == 7 && q->n == 8 && q->n_stop == 2);
    assert_string_equal(q->stop[1], "b");
    assert_true(q->sampling.n_bias == 2 && q->sampling.bias_ids[0] + q->sampling.bias_ids[1] == 3);
    assert_true(q->stream && q->usage && q->logprobs && q->top_logprobs == 20 && q->one_call);
    assert_string_equal(q->user, "u");
    assert_true(q->kind == QUESTION_CHAT && q->n_messages == 1 && q->messages[0].role == CHAT_USER);
    assert_string_equal(q->messages[0].content, "hi");
    assert_int_equal(q->unknown.len, 0);
    question_free(q);
}

static void test_fields_of_other_servers_that_are_had(void **state)
{
    (void)state;
    struct question *q = questioncase_good(
        plain, ASK(",\"top_k\":-1,\"min_tokens\":3,\"max_tokens\":3,\"stop_token_ids\":[7,0],\"repeat_penalty\":1.5,\"repeat_last_n\":-1"));
    assert_true(q->sampling.top_k == 0 && q->min_tokens == 3 && !q->ignore_eos && q->sampling.repetition_penalty == 1.5f);
    assert_true(q->n_stop_ids == 2 && q->stop_ids[0] == 7 && q->stop_ids[1] == 0 && q->unknown.len == 0);
    question_free(q);
    q = questioncase_good(plain, ASK(",\"thinking\":{\"type\":\"disabled\",\"budget_tokens\":9,\"zeal\":1}"));
    assert_true(q->think_tokens == 9 && strstr(q->unknown.data, "thinking.zeal"));
    question_free(q);
    q = questioncase_good(plain, ASK(",\"verbosity\":\"low\""));
    assert_string_equal(q->unknown.data, "verbosity");
    question_free(q);
    q = questioncase_good(plain, ASK(",\"ignore_eos\":true,\"stop_token_ids\":[],\"repeat_last_n\":64,\"repeat_penalty\":1"));
    assert_true(q->ignore_eos && q->n_stop_ids == 0 && q->sampling.repetition_penalty == 1);
    question_free(q);
}

/* Of how much of the text the repetition penalty is, over a server that has one, for 20 tokens. */
static void test_windows_of_the_repetition_penalty(void **state)
{
    static const struct {
        const char *text;
        float penalty;
        size_t window;
    } rows[] = {{ASK(""), 1.5f, 20},
                {ASK(",\"repetition_penalty\":null,\"repeat_last_n\":null"), 1.5f, 20},
                {ASK(",\"repetition_penalty\":2"), 2, 20},
                {ASK(",\"repeat_penalty\":2"), 2, 20},
                {ASK(",\"repeat_penalty\":1"), 1, 20},
                {ASK(",\"repeat_last_n\":-1"), 1.5f, 0},
                {ASK(",\"repeat_last_n\":64,\"presence_penalty\":0"), 1.5f, 64},
                {ASK(",\"repeat_last_n\":-1,\"presence_penalty\":1"), 1.5f, 0},
                {ASK(",\"repeat_last_n\":0,\"repeat_penalty\":2,\"repetition_penalty\":2"), 1, 0}};
    static const struct sampling server = {.temperature = 0.5f, .repetition_penalty = 1.5f, .penalty_window = 20};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = question_new(&server, CHAT_DEEPSEEK_V31);
        struct apierror e = {0};
        assert_true(question_parse(q, rows[i].text, strlen(rows[i].text), &e));
        if (!plain(q, &e) || q->sampling.repetition_penalty != rows[i].penalty || q->sampling.penalty_window != rows[i].window) {
            fail_msg("%s: %g of %zu, %s", rows[i].text, (double)q->sampling.repetition_penalty, q->sampling.penalty_window, e.message);
        }
        question_free(q);
    }
}

/* What asks for nothing passes unsaid; what would be kept elsewhere, is listed. */
static void test_what_asks_for_no_more_than_there_is(void **state)
{
    static const struct {
        const char *text, *listed;
    } rows[] = {{ASK(",\"store\":false,\"modalities\":[\"text\"],\"web_search_options\":null"), ""},
                {ASK(",\"store\":true"), "store"}};
    static const struct questioncase_bad bad[] = {{ASK(",\"modalities\":[\"audio\"]"), 400, "modalities"},
                                                  {ASK(",\"modalities\":[\"text\",\"audio\"]"), 400, "modalities"},
                                                  {ASK(",\"web_search_options\":{}"), 400, "web_search_options"},
                                                  {ASK(",\"store\":\"yes\""), 400, "store"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = questioncase_good(plain, rows[i].text);
        assert_string_equal(q->unknown.data ? q->unknown.data : "", rows[i].listed);
        question_free(q);
    }
    questioncase_refused(plain, bad, sizeof bad / sizeof *bad);
}

static void test_what_is_left_out_is_the_servers(void **state)
{
    static const char *const same[] = {ASK(""), ASK(",\"temperature\":null,\"top_p\":null,\"n\":null,\"stop\":null,\"tools\":null,\"logit_bias\":null,"
                                                    "\"stream\":null,\"response_format\":null,\"audio\":null,\"functions\":[],\"prediction\":null")};
    (void)state;
    uint64_t seeds[2];
    for (size_t i = 0; i < 2; i++) {
        struct question *q = questioncase_good(plain, same[i]);
        assert_true(q->sampling.temperature == 0.5f && q->sampling.top_p == 0.9f && q->n == 1 && q->max_tokens == 0);
        assert_true(!q->stream && !q->usage && !q->logprobs && !q->one_call && q->form == QUESTION_FREE && !q->user);
        assert_string_equal(q->model, "");
        seeds[i] = q->sampling.seed;
        question_free(q);
    }
    assert_true(seeds[0] != seeds[1] && seeds[0] != 77); /* drawn each time */
}

#define CALL(id) "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"
#define CALLS(list) "{\"role\":\"assistant\",\"tool_calls\":[" list "]}"
#define RESULT(id) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"x\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"so\"}"

/* Each call has one result, before the assistant goes on; what clients do beyond that passes. */
static void test_calls_and_their_results(void **state)
{
    static const char *const good[] = {
        SAY(USER "," CALLS(CALL("a") "," CALL("b")) "," RESULT("b") "," RESULT("a") "," ANSWER "," USER),
        SAY(USER "," CALLS(CALL("a")) "," CALLS(CALL("b")) "," RESULT("a") "," RESULT("b")), /* calls one by one */
        SAY(USER "," CALLS(CALL("a")) "," USER "," RESULT("a") "," USER),
        SAY(USER "," CALLS(CALL("a")) "," RESULT("a") "," CALLS(CALL("a")) "," RESULT("a")), /* counted anew each turn */
        SAY(USER "," CALLS(CALL("") "," CALL("")) "," RESULT("") "," RESULT(""))};
    static const struct questioncase_bad bad[] = {
        {SAY(USER "," CALLS(CALL("a") "," CALL("a")) "," RESULT("a")), 400, "messages[1].tool_calls[1].id"},
        {SAY(USER "," CALLS(CALL("a")) "," RESULT("a") "," RESULT("a")), 400, "messages[3].tool_call_id"},
        {SAY(USER "," CALLS(CALL("a")) "," RESULT("a") "," ANSWER "," RESULT("a")), 400, "messages[4].tool_call_id"},
        {SAY(USER "," CALLS(CALL("a") "," CALL("b")) "," RESULT("a") "," ANSWER "," USER), 400, "messages[1].tool_calls[1].id"},
        {SAY(USER "," CALLS(CALL("a")) "," USER), 400, "messages[1].tool_calls[0].id"},
        {SAY(USER "," CALLS(CALL("a"))), 400, "messages[1].tool_calls[0].id"}};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        question_free(questioncase_good(plain, good[i]));
    }
    questioncase_refused(plain, bad, sizeof bad / sizeof *bad);
}

static void test_conversations(void **state)
{
    (void)state;
    struct question *q = questioncase_good(
        plain,
        "{\"messages\":[{\"role\":\"developer\",\"content\":\"d\"},{\"role\":\"user\",\"name\":\"ann\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
        "{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"r\",\"tool_calls\":[{\"id\":\"c1\",\"type\":"
        "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"t\"}]}");
    assert_int_equal(q->n_messages, 4);
    assert_int_equal(q->messages[0].role, CHAT_SYSTEM);
    assert_string_equal(q->messages[1].content, "ab");
    assert_null(q->messages[2].content);
    assert_string_equal(q->messages[2].reasoning, "r");
    assert_string_equal(q->messages[2].calls[0].arguments, "{}");
    assert_string_equal(q->messages[3].call_id, "c1");
    assert_string_equal(q->unknown.data, "messages[1].name");
    question_free(q);
    q = questioncase_good(plain, "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
                                 "{\"role\":\"tool\",\"tool_call_id\":\"any\",\"content\":\"t\"}]}"); /* of a call without an id */
    assert_string_equal(q->messages[1].call_id, "any");
    question_free(q);
    q = questioncase_good(beta, "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"{\",\"prefix\":true}]}");
    assert_true(q->messages[1].open);
    question_free(q);
    q = questioncase_good(plain, SAY("{\"role\":\"user\",\"content\":[]}"));
    assert_string_equal(q->messages[0].content, "");
    question_free(q);
}

static void test_tools_and_choices(void **state)
{
    static const struct {
        const char *choice;
        enum question_choice is;
    } rows[] = {{"null", QUESTION_AUTO},
                {"\"auto\"", QUESTION_AUTO},
                {"\"none\"", QUESTION_NONE},
                {"\"required\"", QUESTION_REQUIRED},
                {"{\"type\":\"function\",\"function\":{\"name\":\"g\"}}", QUESTION_NAMED}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1000];
        snprintf(text, sizeof text, ASK(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f-1_A\","
                                        "\"description\":\"d\",\"parameters\":{ \"type\" : \"object\" },"
                                        "\"strict\":true}}," TOOL("g") "],\"tool_choice\":%s"), rows[i].choice);
        struct question *q = questioncase_good(plain, text);
        assert_true(q->choice == rows[i].is && q->n_tools == 2 && q->strict);
        assert_string_equal(q->tools[0].parameters, "{\"type\":\"object\"}");
        assert_null(q->tools[1].parameters);
        assert_true(q->choice != QUESTION_NAMED || strcmp(q->chosen, "g") == 0);
        question_free(q);
    }
}

static void test_forms_and_thinking(void **state)
{
    static const struct {
        const char *more;
        enum question_form form;
        enum chat_thinking think;
    } rows[] = {{",\"response_format\":{\"type\":\"text\"}", QUESTION_FREE, CHAT_THINKING},
                {",\"response_format\":{\"type\":\"json_object\"}", QUESTION_JSON, CHAT_THINKING},
                {",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{}}}", QUESTION_SCHEMA, CHAT_THINKING},
                {",\"response_format\":{\"type\":\"json_object\",\"schema\":{}}", QUESTION_SCHEMA, CHAT_THINKING},
                {",\"grammar\":\"root ::= \\\"a\\\"\"", QUESTION_GRAMMAR, CHAT_THINKING},
                {",\"thinking\":{\"type\":\"disabled\"}", QUESTION_FREE, CHAT_NO_THINKING},
                {",\"thinking\":{\"type\":\"enabled\"}", QUESTION_FREE, CHAT_THINKING},
                {",\"thinking\":{\"type\":\"enabled\"},\"reasoning_effort\":\"low\"", QUESTION_FREE, CHAT_THINKING_LOW},
                {",\"thinking\":{\"type\":\"enabled\"},\"reasoning_effort\":\"none\"", QUESTION_FREE, CHAT_THINKING},
                {",\"reasoning_effort\":\"max\"", QUESTION_FREE, CHAT_THINKING_MAX},
                {",\"reasoning_effort\":\"none\"", QUESTION_FREE, CHAT_NO_THINKING}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = question_new(&questioncase_defaults, CHAT_DEEPSEEK_V31);
        struct apierror e = {0};
        char text[1000];
        snprintf(text, sizeof text, ASK("%s"), rows[i].more);
        q->think = CHAT_THINKING;
        assert_true(question_parse(q, text, strlen(text), &e) && openaichat_read(q, false, &e));
        if (q->form != rows[i].form || q->think != rows[i].think) {
            fail_msg("%s: form %d, think %d", text, q->form, q->think);
        }
        question_free(q);
    }
}

/* To think is a wish: a model that cannot answers without, and says so. */
static void test_thinking_that_cannot_be_had_is_listed(void **state)
{
    static const struct {
        enum chat_format format;
        const char *more, *listed;
    } rows[] = {{CHAT_SMOLLM2, ",\"thinking\":{\"type\":\"enabled\"}", "thinking"},
                {CHAT_SMOLLM2, ",\"thinking\":{\"type\":\"disabled\"},\"reasoning_effort\":\"none\"", ""},
                {CHAT_SMOLLM2, ",\"reasoning_effort\":\"high\"", "reasoning_effort"},
                {CHAT_SMOLLM2, ",\"thinking\":{\"type\":\"enabled\"},\"reasoning_effort\":\"max\"", "reasoning_effort, thinking"},
                {CHAT_DEEPSEEK_R1, ",\"thinking\":{\"type\":\"enabled\"},\"reasoning_effort\":\"low\"", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct question *q = question_new(&questioncase_defaults, rows[i].format);
        enum chat_thinking usual = rows[i].format == CHAT_SMOLLM2 ? CHAT_NO_THINKING : CHAT_THINKING;
        struct apierror e = {0};
        char text[1000];
        snprintf(text, sizeof text, ASK("%s"), rows[i].more);
        q->think = usual;
        assert_true(question_parse(q, text, strlen(text), &e) && openaichat_read(q, false, &e));
        if (strcmp(q->unknown.data ? q->unknown.data : "", rows[i].listed) != 0 ||
            (q->think == CHAT_NO_THINKING) != (usual == CHAT_NO_THINKING)) {
            fail_msg("%s: think %d, listed %s", text, q->think, q->unknown.data);
        }
        question_free(q);
    }
}

static void test_what_is_wrong_is_named(void **state)
{
    static const struct questioncase_bad cases[] = {
        {"", 400, ""},
        {"{", 400, ""},
        {"null", 400, ""},
        {"{}", 400, "messages"},
        {"{\"messages\":null}", 400, "messages"},
        {"{\"messages\":{}}", 400, "messages"},
        {"{\"messages\":[]}", 422, "messages"},
        {SAY("5"), 400, "messages[0]"},
        {SAY("{}"), 400, "messages[0].role"},
        {SAY("{\"role\":\"king\",\"content\":\"\"}"), 422, "messages[0].role"},
        {SAY("{\"role\":\"user\"}"), 400, "messages[0].content"},
        {SAY("{\"role\":\"user\",\"content\":5}"), 400, "messages[0].content"},
        {SAY("{\"role\":\"user\",\"content\":[5]}"), 400, "messages[0].content[0]"},
        {SAY("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"), 400, "messages[0].content[0].text"},
        {SAY("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_url\"}]}"), 400, "messages[0].content[1]"},
        {SAY(USER ",{\"role\":\"tool\",\"content\":\"x\"}"), 400, "messages[1].tool_call_id"},
        {SAY(USER ",{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"x\"}"), 400, "messages[1].tool_call_id"},
        {SAY("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
             "{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"x\"}"), 400, "messages[1].tool_call_id"},
        {SAY(USER ",{\"role\":\"assistant\",\"tool_calls\":[{}]}"), 400, "messages[1].tool_calls[0].function"},
        {SAY(USER ",{\"role\":\"assistant\",\"tool_calls\":[{\"type\":\"custom\"}]}"), 422, "messages[1].tool_calls[0].type"},
        {SAY(USER ",{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]}"), 400,
         "messages[1].tool_calls[0].function.arguments"},
        {SAY(USER ",{\"role\":\"assistant\",\"content\":\"x\",\"prefix\":true}"), 400, "messages[1].prefix"},
        {ASK(",\"temperature\":2.01"), 422, "temperature"},
        {ASK(",\"temperature\":-0.01"), 422, "temperature"},
        {ASK(",\"temperature\":\"1\""), 400, "temperature"},
        {ASK(",\"top_p\":1.01"), 422, "top_p"},
        {ASK(",\"top_k\":-2"), 422, "top_k"},
        {ASK(",\"min_tokens\":-1"), 422, "min_tokens"},
        {ASK(",\"min_tokens\":9,\"max_tokens\":8"), 400, "min_tokens"},
        {ASK(",\"ignore_eos\":1"), 400, "ignore_eos"},
        {ASK(",\"stop_token_ids\":[1,\"a\"]"), 400, "stop_token_ids[1]"},
        {ASK(",\"stop_token_ids\":[-1]"), 400, "stop_token_ids[0]"},
        {ASK(",\"stop_token_ids\":[1],\"ignore_eos\":true"), 400, "stop_token_ids"},
        {ASK(",\"stop_token_ids\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"), 422, "stop_token_ids"},
        {ASK(",\"repeat_penalty\":1.1,\"repetition_penalty\":1.2"), 400, "repeat_penalty"},
        {ASK(",\"presence_penalty\":1.1,\"repeat_last_n\":64"), 400, "repeat_last_n"},
        {ASK(",\"frequency_penalty\":1.1,\"repeat_last_n\":0"), 400, "repeat_last_n"},
        {ASK(",\"repeat_last_n\":-2"), 422, "repeat_last_n"},
        {ASK(",\"presence_penalty\":2.1"), 422, "presence_penalty"},
        {ASK(",\"repetition_penalty\":0"), 422, "repetition_penalty"},
        {ASK(",\"seed\":1.5"), 400, "seed"},
        {ASK(",\"seed\":9223372036854775808"), 400, "seed"},
        {ASK(",\"max_tokens\":0"), 422, "max_tokens"},
        {ASK(",\"max_tokens\":-1"), 422, "max_tokens"},
        {ASK(",\"max_tokens\":1.5"), 400, "max_tokens"},
        {ASK(",\"max_tokens\":5,\"max_completion_tokens\":6"), 400, "max_tokens"},
        {ASK(",\"n\":0"), 422, "n"},
        {ASK(",\"n\":9"), 422, "n"},
        {ASK(",\"stop\":5"), 400, "stop"},
        {ASK(",\"stop\":\"\""), 400, "stop"},
        {ASK(",\"stop\":[\"a\",\"\"]"), 400, "stop[1]"},
        {ASK(",\"stop\":[\"a\",1]"), 400, "stop[1]"},
        {ASK(",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]"), 422, "stop"},
        {ASK(",\"logit_bias\":[]"), 400, "logit_bias"},
        {ASK(",\"logit_bias\":{\"a\":1}"), 400, "logit_bias.a"},
        {ASK(",\"logit_bias\":{\"-1\":1}"), 400, "logit_bias.-1"},
        {ASK(",\"logit_bias\":{\"97\":100,\"097\":-100}"), 400, "logit_bias.097"}, /* one token twice */
        {ASK(",\"logit_bias\":{\"00\":1}"), 400, "logit_bias.00"},
        {ASK(",\"user\":\"a\",\"user_id\":\"b\""), 400, "user_id"},
        {ASK(",\"logit_bias\":{\" 1\":1}"), 400, "logit_bias. 1"},
        {ASK(",\"logit_bias\":{\"+1\":1}"), 400, "logit_bias.+1"},
        {ASK(",\"logit_bias\":{\"\":1}"), 400, "logit_bias."},
        {ASK(",\"logit_bias\":{\"99999999999999999999\":1}"), 400, "logit_bias.99999999999999999999"},
        {ASK(",\"logit_bias\":{\"1\":100.5}"), 422, "logit_bias.1"},
        {ASK(",\"logit_bias\":{\"1\":\"1\"}"), 422, "logit_bias.1"},
        {ASK(",\"stream\":1"), 400, "stream"},
        {ASK(",\"stream_options\":{\"include_usage\":true}"), 400, "stream_options"},
        {ASK(",\"stream\":true,\"stream_options\":{\"include_usage\":1}"), 400, "stream_options.include_usage"},
        {ASK(",\"logprobs\":1"), 400, "logprobs"},
        {ASK(",\"top_logprobs\":1"), 400, "top_logprobs"},
        {ASK(",\"logprobs\":true,\"top_logprobs\":21"), 422, "top_logprobs"},
        {ASK(",\"tools\":{}"), 400, "tools"},
        {ASK(",\"tools\":[5]"), 400, "tools[0]"},
        {ASK(",\"tools\":[{\"type\":\"web_search\"}]"), 400, "tools[0]"},
        {ASK(",\"tools\":[{\"type\":\"function\"}]"), 400, "tools[0].function"},
        {ASK(",\"tools\":[{\"type\":\"function\",\"function\":{}}]"), 400, "tools[0].function.name"},
        {ASK(",\"tools\":[" TOOL("a b") "]"), 422, "tools[0].function.name"},
        {ASK(",\"tools\":[" TOOL("") "]"), 422, "tools[0].function.name"},
        {ASK(",\"tools\":[" TOOL("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") "]"), 422, "tools[0].function.name"},
        {ASK(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":[]}}]"), 400, "tools[0].function.parameters"},
        {ASK(",\"tools\":[" TOOL("f") "," TOOL("f") "]"), 400, "tools[1].function.name"},
        {ASK(",\"tool_choice\":\"required\""), 400, "tool_choice"},
        {ASK(",\"tool_choice\":\"sometimes\""), 400, "tool_choice"},
        {ASK(",\"tool_choice\":5"), 400, "tool_choice"},
        {ASK(",\"tools\":[" TOOL("f") "],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}"), 400, "tool_choice"},
        {ASK(",\"tools\":[" TOOL("f") "],\"tool_choice\":\"required\",\"response_format\":{\"type\":\"json_object\"}"), 400, "response_format"},
        {ASK(",\"response_format\":\"json\""), 400, "response_format"},
        {ASK(",\"tools\":[" TOOL("f") "],\"tool_choice\":{\"type\":\"function\"}"), 400, "tool_choice.function"},
        {ASK(",\"tools\":[" TOOL("f") "],\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{}}"), 422, "tool_choice.type"},
        {ASK(",\"response_format\":{}"), 400, "response_format.type"},
        {ASK(",\"response_format\":{\"type\":\"text\",\"schema\":{}}"), 400, "response_format"},
        {ASK(",\"response_format\":{\"type\":\"xml\"}"), 422, "response_format.type"},
        {ASK(",\"response_format\":{\"type\":\"json_schema\"}"), 400, "response_format.json_schema.schema"},
        {ASK(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":5}}"), 400, "response_format.json_schema.schema"},
        {ASK(",\"grammar\":\"root ::= \\\"a\\\"\",\"response_format\":{\"type\":\"json_object\"}"), 400, "response_format"},
        {ASK(",\"thinking\":true"), 400, "thinking"},
        {ASK(",\"thinking\":{}"), 400, "thinking.type"},
        {ASK(",\"verbosity\":\"some\""), 422, "verbosity"},
        {ASK(",\"verbosity\":1"), 400, "verbosity"},
        {ASK(",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":0}"), 422, "thinking.budget_tokens"},
        {ASK(",\"reasoning_effort\":\"much\""), 422, "reasoning_effort"},
        {ASK(",\"functions\":[{\"name\":\"f\"}]"), 400, "functions"},
        {ASK(",\"function_call\":\"auto\""), 400, "function_call"},
        {ASK(",\"audio\":{\"voice\":\"x\"}"), 400, "audio"},
        {ASK(",\"web_search_options\":{\"a\":1}"), 400, "web_search_options"},
        {ASK(",\"model\":5"), 400, "model"},
    };
    (void)state;
    questioncase_refused(plain, cases, sizeof cases / sizeof *cases);
}

static void test_an_answer_may_be_begun(void **state)
{
    static const struct questioncase_bad betas[] = {
        {SAY("{\"role\":\"user\",\"content\":\"x\",\"prefix\":true}"), 400, "messages[0].prefix"},
        {SAY("{\"role\":\"assistant\",\"content\":\"x\",\"prefix\":true}," USER), 400, "messages[0].prefix"},
        {BEGUN("x", "\"required\""), 400, "messages[1].prefix"},
        {BEGUN("x", "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"), 400, "messages[1].prefix"}};
    (void)state;
    questioncase_refused(beta, betas, sizeof betas / sizeof *betas);
    question_free(questioncase_good(beta, BEGUN("", "\"required\"")));
    question_free(questioncase_good(beta, BEGUN("x", "\"auto\"")));
}

static void test_members_without_effect_are_listed(void **state)
{
    (void)state;
    struct question *q = questioncase_good(
        plain, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{}}]},"
               "{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}," RESULT("c") "],"
               "\"tools\":[{\"type\":\"function\",\"zeal\":1,\"function\":{\"name\":\"f\"}}],\"response_format\":{\"type\":\"json_schema\","
               "\"json_schema\":{\"name\":\"n\",\"strict\":true,\"description\":\"d\",\"schema\":{}}}}");
    assert_string_equal(q->unknown.data, "response_format.json_schema.description, tools[0].zeal, "
                                         "messages[0].content[0].cache_control, messages[1].tool_calls[0].index");
    question_free(q);
}

static void test_sizes(void **state)
{
    (void)state;
    enum { MESSAGES = 70000 };
    char *text = malloc(MESSAGES * 40);
    struct apierror e;
    for (int over = 0; over < 2; over++) {
        size_t n = (size_t)sprintf(text, "{\"messages\":[" USER);
        for (int i = 1; i < QUESTION_MESSAGES_MAX + over; i++) {
            n += (size_t)sprintf(text + n, "," USER);
        }
        strcpy(text + n, "]}");
        struct question *q = questioncase_read(plain, text, &e);
        assert_int_equal(q != NULL, !over);
        assert_true(!over || (e.status == 422 && strcmp(e.param, "messages") == 0));
        question_free(q);
        n = (size_t)sprintf(text, "{\"messages\":[" USER "],\"tools\":[");
        for (int i = 0; i < QUESTION_TOOLS_MAX + over; i++) {
            n += (size_t)sprintf(text + n, "%s{\"type\":\"function\",\"function\":{\"name\":\"f%d\"}}", i ? "," : "", i);
        }
        strcpy(text + n, "]}");
        q = questioncase_read(plain, text, &e);
        assert_int_equal(q != NULL, !over);
        question_free(q);
        n = (size_t)sprintf(text, "{\"messages\":[" USER "],\"logit_bias\":{");
        for (int i = 0; i < QUESTION_BIAS_MAX + over; i++) {
            n += (size_t)sprintf(text + n, "%s\"%d\":1", i ? "," : "", i);
        }
        strcpy(text + n, "}}");
        q = questioncase_read(plain, text, &e);
        assert_int_equal(q != NULL, !over);
        question_free(q);
    }
    memset(text, '[', 1000); /* deeper than any request */
    text[1000] = '\0';
    assert_null(questioncase_read(plain, text, &e));
    assert_int_equal(e.status, 400);
    free(text);
}

static void test_short_memory(void **state)
{
    (void)state;
    questioncase_short_of_memory(
        plain, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"x\":1},"
               "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\","
               "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
               RESULT("c") "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
               "\"logit_bias\":{\"1\":1},\"stop\":[\"a\"],\"store\":true}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_arrives),
        cmocka_unit_test(test_fields_of_other_servers_that_are_had),
        cmocka_unit_test(test_windows_of_the_repetition_penalty),
        cmocka_unit_test(test_what_asks_for_no_more_than_there_is),
        cmocka_unit_test(test_what_is_left_out_is_the_servers),
        cmocka_unit_test(test_calls_and_their_results),
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_tools_and_choices),
        cmocka_unit_test(test_forms_and_thinking),
        cmocka_unit_test(test_thinking_that_cannot_be_had_is_listed),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_an_answer_may_be_begun),
        cmocka_unit_test(test_members_without_effect_are_listed),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

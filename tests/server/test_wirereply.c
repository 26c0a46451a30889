/* Answers over HTTP, from a tiny model: a stream says what the document says; choices, stops, probabilities, biases,
 * grammars, tools; what cannot be asked; and what becomes of a reader that goes. */
#include "server/pagefixture.h"

#include <pthread.h>

static struct servicefixture chat, think;

static int open_models(void **state)
{
    const struct service_options chatml = {.format = CHAT_CHATML, .batcher = {.running = 4, .waiting = 4}};
    const struct service_options v31 = {.format = CHAT_DEEPSEEK_V31};
    (void)state;
    servicefixture_open(&chat, ENGINEFIXTURE_CHAT, &chatml);
    servicefixture_open(&think, SERVICEFIXTURE_THINK, &v31);
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    servicefixture_close(&chat);
    servicefixture_close(&think);
    return 0;
}

static json_t *ask(const struct servicefixture *f, const char *path, const char *body)
{
    int status;
    json_t *d = servicefixture_post(f, path, body, &status);
    if (status != 200) {
        fail_msg("%s → %d %s", body, status, servicefixture_text(d, "error.message"));
    }
    return d;
}

static json_t *ask_stream(const struct servicefixture *f, const char *path, const char *body)
{
    char text[4000], value[1024];
    snprintf(text, sizeof text, "%.*s,\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
             (int)strlen(body) - 1, body);
    struct rawclient_reply r = servicefixture_raw(f, "POST", path, "", text);
    if (r.status != 200) {
        fail_msg("%s → %d %s", text, r.status, r.body);
    }
    assert_string_equal(rawclient_header(&r, "Content-Type", value), "text/event-stream");
    json_t *list = servicefixture_events(r.body);
    rawclient_free(&r);
    return list;
}

/* ---- A stream put together is the document. ---- */

static void append(json_t *object, const char *key, const json_t *piece)
{
    if (json_is_string(piece)) {
        const char *before = json_string_value(json_object_get(object, key));
        json_t *joined = json_sprintf("%s%s", before ? before : "", json_string_value(piece));
        assert_non_null(joined);
        json_object_set_new(object, key, joined);
    }
}

static void append_calls(json_t *message, const json_t *deltas)
{
    size_t i;
    json_t *delta;
    json_array_foreach((json_t *)deltas, i, delta)
    {
        json_t *calls = json_object_get(message, "tool_calls");
        size_t index = (size_t)json_integer_value(json_object_get(delta, "index"));
        assert_true(json_is_integer(json_object_get(delta, "index")));
        if (!calls) {
            calls = json_array();
            json_object_set_new(message, "tool_calls", calls);
        }
        if (index == json_array_size(calls)) { /* the first of a call says all but the arguments */
            assert_non_null(servicefixture_at(delta, "id"));
            json_array_append_new(calls, json_deep_copy(delta));
        } else {
            assert_null(servicefixture_at(delta, "id"));
            append(servicefixture_at(json_array_get(calls, index), "function"), "arguments",
                   servicefixture_at(delta, "function.arguments"));
        }
    }
}

static void append_list(json_t *object, const char *key, const json_t *more)
{
    json_t *list = json_object_get(object, key);
    if (json_is_array(more)) {
        if (!list) {
            list = json_array();
            json_object_set_new(object, key, list);
        }
        json_array_extend(list, (json_t *)more);
    }
}

/* Chunks into one choice as the document has it: {"message"|"text","finish_reason","logprobs"}. */
static json_t *joined(const json_t *events, size_t index, bool text)
{
    json_t *choice = json_pack("{s:{s:s}, s:{}}", "message", "content", "", "logprobs");
    size_t i;
    json_t *e;
    json_array_foreach((json_t *)events, i, e)
    {
        const json_t *c = servicefixture_at(e, "choices.0"), *delta = servicefixture_at(c, "delta");
        json_t *message = json_object_get(choice, "message"), *probabilities = json_object_get(choice, "logprobs");
        if (!c || json_integer_value(json_object_get(c, "index")) != (json_int_t)index) {
            continue;
        }
        assert_int_equal(json_array_size(servicefixture_at(e, "choices")), 1);
        assert_null(servicefixture_at(choice, "finish_reason")); /* the last says how it ended */
        append(message, "content", text ? servicefixture_at(c, "text") : servicefixture_at(delta, "content"));
        append(message, "reasoning_content", servicefixture_at(delta, "reasoning_content"));
        append(message, "role", servicefixture_at(delta, "role"));
        append_calls(message, servicefixture_at(delta, "tool_calls"));
        static const char *const lists[] = {"content",     "reasoning_content", "tokens", "token_logprobs",
                                            "text_offset", "top_logprobs"};
        for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
            append_list(probabilities, lists[k], json_object_get(servicefixture_at(c, "logprobs"), lists[k]));
        }
        append(choice, "finish_reason", servicefixture_at(c, "finish_reason"));
    }
    return choice;
}

static void same(const json_t *a, const json_t *b, const char *what, const char *body)
{
    bool nothing = !a || json_is_null(a) || (json_is_object(a) && json_object_size(a) == 0) ||
                   (json_is_string(a) && json_string_length(a) == 0),
         none = !b || json_is_null(b) || (json_is_string(b) && json_string_length(b) == 0);
    if (!(nothing && none) && !json_equal(a, b)) {
        char *x = json_text_dup(a, JSON_ENCODE_ANY), *y = json_text_dup(b, JSON_ENCODE_ANY);
        fail_msg("%s of %s: %s in the stream, %s in the document", what, body, x, y);
    }
}

/* Ids of calls are drawn each time; what counts is that they are there. */
static json_t *without_ids(json_t *calls)
{
    size_t i;
    json_t *call;
    json_array_foreach(calls, i, call)
    {
        assert_memory_equal(servicefixture_text(call, "id"), "call_", 5);
        json_object_del(call, "id");
    }
    return calls;
}

static void stream_is_document(const struct servicefixture *f, const char *path, const char *body)
{
    json_t *d = ask(f, path, body), *events = ask_stream(f, path, body), *choices = json_object_get(d, "choices");
    bool text = strstr(path, "/chat/") == NULL;
    for (size_t i = 0; i < json_array_size(choices); i++) {
        json_t *whole = json_array_get(choices, i), *parts = joined(events, i, text);
        json_t *message = text ? whole : json_object_get(whole, "message");
        same(servicefixture_at(parts, "message.content"), json_object_get(message, text ? "text" : "content"), "content",
             body);
        same(servicefixture_at(parts, "message.reasoning_content"), json_object_get(message, "reasoning_content"),
             "reasoning", body);
        same(without_ids(servicefixture_at(parts, "message.tool_calls")), without_ids(json_object_get(message, "tool_calls")),
             "calls", body);
        same(servicefixture_at(parts, "finish_reason"), json_object_get(whole, "finish_reason"), "finish", body);
        json_t *probabilities = json_object_get(whole, "logprobs");
        const char *list;
        json_t *tokens;
        void *next;
        json_object_foreach_safe(probabilities, next, list, tokens)
        {
            if (json_array_size(tokens) == 0) { /* a stream leaves out what is empty */
                json_object_del(probabilities, list);
            }
        }
        same(servicefixture_at(parts, "logprobs"), probabilities, "logprobs", body);
        json_decref(parts);
    }
    json_t *last = json_array_get(events, json_array_size(events) - 1);
    assert_int_equal(json_array_size(json_object_get(last, "choices")), 0);
    static const char *const counts[] = {"prompt_tokens", "completion_tokens", "total_tokens"};
    for (size_t i = 0; i < 3; i++) {
        same(servicefixture_at(json_object_get(last, "usage"), counts[i]), servicefixture_at(json_object_get(d, "usage"), counts[i]),
             counts[i], body);
    }
    json_decref(d);
    json_decref(events);
}

#define CHAT "/v1/chat/completions"
#define TEXT "/v1/completions"
#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"
#define SUM "\"messages\":[{\"role\":\"user\",\"content\":\"sum\"}],\"temperature\":0"
#define TOOL(name) \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"parameters\":{\"type\":\"object\",\"properties\":{\"n\":" \
    "{\"enum\":[1,2]}},\"required\":[\"n\"],\"additionalProperties\":false}}}"
#define TOOLS "\"tools\":[" TOOL("one") "," TOOL("two") "]"

static void test_a_stream_says_what_the_document_says(void **state)
{
    static const char *const chats[] = {
        "{" HELLO ",\"temperature\":0}",
        "{" HELLO ",\"temperature\":0,\"logprobs\":true,\"top_logprobs\":3}",
        "{" HELLO ",\"temperature\":0,\"logprobs\":true,\"max_tokens\":9}",
        "{" HELLO ",\"temperature\":0,\"logprobs\":true,\"stop\":\"llo!\"}",
        "{" HELLO ",\"temperature\":0,\"stop\":[\"zzz\",\"\\u4f60\"]}",
        "{" HELLO ",\"temperature\":1.5,\"seed\":7,\"n\":4,\"max_tokens\":24,\"logprobs\":true,\"top_logprobs\":2}",
        "{" HELLO ",\"temperature\":1,\"seed\":-9223372036854775807,\"max_tokens\":5}",
        "{" HELLO ",\"temperature\":0,\"logit_bias\":{\"72\":-100},\"max_tokens\":6}",
        "{" HELLO ",\"temperature\":2,\"seed\":3,\"response_format\":{\"type\":\"json_object\"},\"max_tokens\":60}",
        "{" HELLO ",\"temperature\":0,\"grammar\":\"root ::= \\\"yes\\\" | \\\"no\\\"\"}",
        "{" HELLO "," TOOLS ",\"tool_choice\":\"required\",\"temperature\":1,\"seed\":1,\"max_tokens\":300}",
        "{" HELLO "," TOOLS ",\"tool_choice\":\"required\",\"temperature\":1,\"seed\":1,\"max_tokens\":300,\"logprobs\":true}",
        "{" HELLO "," TOOLS ",\"tool_choice\":\"required\",\"temperature\":1,\"seed\":1,\"max_tokens\":20,\"logprobs\":true}",
        "{" HELLO "," TOOLS ",\"tool_choice\":\"none\",\"temperature\":0,\"max_tokens\":20}",
        "{" HELLO "," TOOLS ",\"temperature\":0,\"max_tokens\":20}",
    };
    static const char *const texts[] = {
        "{\"prompt\":\"hello\",\"temperature\":0,\"max_tokens\":12}",
        "{\"prompt\":\"h\\u00e9llo\",\"echo\":true,\"temperature\":1,\"seed\":3,\"n\":2,\"max_tokens\":12}",
        "{\"prompt\":\"hello\",\"logprobs\":2,\"temperature\":0,\"max_tokens\":12}",
        "{\"prompt\":[104,101],\"logprobs\":0,\"temperature\":0,\"max_tokens\":7,\"stop\":\"e\"}",
        "{\"prompt\":[\"hello\"],\"temperature\":0,\"max_tokens\":1}",
    };
    static const char *const thoughts[] = {
        "{" SUM "}",
        "{" SUM ",\"thinking\":{\"type\":\"disabled\"}}",
        "{" SUM ",\"logprobs\":true}",
        "{" SUM ",\"max_tokens\":9}",
        "{" SUM ",\"max_tokens\":9,\"logprobs\":true,\"top_logprobs\":1}",
        "{" SUM ",\"model\":\"deepseek-chat\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof chats / sizeof *chats; i++) {
        stream_is_document(&chat, CHAT, chats[i]);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        stream_is_document(&chat, TEXT, texts[i]);
    }
    for (size_t i = 0; i < sizeof thoughts / sizeof *thoughts; i++) {
        stream_is_document(&think, CHAT, thoughts[i]);
    }
}

/* ---- What is asked comes. ---- */

static void answers(const struct servicefixture *f, const char *body, const char *path, const char *text)
{
    json_t *d = ask(f, CHAT, body);
    servicefixture_says(d, path, text);
    json_decref(d);
}

static void test_answers(void **state)
{
    (void)state;
#define CONTENT "choices.0.message.content"
#define FINISH "choices.0.finish_reason"
    answers(&chat, "{" HELLO ",\"temperature\":0}", CONTENT, "Hello! \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x90\xb3");
    answers(&chat, "{" HELLO ",\"temperature\":0}", FINISH, "stop");
    answers(&chat, "{" HELLO ",\"temperature\":0}", "model", "tiny");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"model\":\"gpt-4o\"}", CONTENT, "Hello! \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x90\xb3");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"stop\":\" \"}", CONTENT, "Hello!");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"stop\":[\"o!\",\"l\"]}", CONTENT, "He");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"max_tokens\":3}", CONTENT, "Hel");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"max_completion_tokens\":3}", FINISH, "length");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"logit_bias\":{\"90\":100},\"max_tokens\":3}", CONTENT, "ZZZ");
    answers(&chat, "{" HELLO ",\"grammar\":\"root ::= \\\"ab\\\"\"}", CONTENT, "ab");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"stop_token_ids\":[32]}", CONTENT, "Hello!");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"min_tokens\":30,\"max_tokens\":30}", FINISH, "length");
    answers(&chat, "{" HELLO ",\"temperature\":0,\"ignore_eos\":true,\"max_tokens\":30}", FINISH, "length");
    answers(&chat,
            "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hel\"},"
            "{\"type\":\"text\",\"text\":\"lo\"}]}],\"temperature\":0}",
            CONTENT, "Hello! \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x90\xb3");
    answers(&think, "{" SUM "}", CONTENT, "It is 5.");
    answers(&think, "{" SUM "}", "choices.0.message.reasoning_content", "Two and three.\nThat makes 5.");
    answers(&think, "{" SUM ",\"thinking\":{\"type\":\"disabled\"}}", "choices.0.message.reasoning_content", "(none)");
    answers(&think, "{" SUM ",\"model\":\"deepseek-chat\"}", "choices.0.message.reasoning_content", "(none)");
    answers(&think, "{" SUM ",\"reasoning_effort\":\"none\"}", "choices.0.message.reasoning_content", "(none)");
    answers(&think, "{" SUM ",\"max_tokens\":9}", CONTENT, "");
    answers(&think, "{" SUM ",\"max_tokens\":9}", "choices.0.message.reasoning_content", "Two and t");
    answers(&think, "{" SUM ",\"max_tokens\":9}", FINISH, "length");
    answers(&think, "{" SUM ",\"logit_bias\":{\"258\":100}}", FINISH, "length"); /* it ends inside its thoughts */
}

static void test_a_call_cut_before_its_arguments_has_none(void **state)
{
    const struct service_options v31 = {.format = CHAT_DEEPSEEK_V31};
    struct servicefixture tools;
    json_t *call = NULL;
    (void)state;
    servicefixture_open(&tools, SERVICEFIXTURE_TOOLS, &v31);
    for (int n = 2; n < 64 && !call; n++) {
        char body[1000];
        snprintf(body, sizeof body, "{" HELLO "," TOOLS
                 ",\"tool_choice\":\"required\",\"temperature\":0,\"enable_thinking\":false,\"max_tokens\":%d}", n);
        json_t *d = ask(&tools, CHAT, body);
        call = json_incref(servicefixture_at(d, "choices.0.message.tool_calls.0"));
        json_decref(d);
    }
    servicefixture_says(call, "function.arguments", "");
    json_decref(call);
    servicefixture_close(&tools);
}

/* The name of a model, and nothing else said: the same in every format. Without a name messages do not think. */
static void test_a_name_means_a_way_of_thinking(void **state)
{
    static const struct {
        const char *path, *body, *at, *with, *without, *usual;
    } rows[] = {
        {CHAT, "{" SUM ",\"model\":\"%s\"}", "choices.0.message.reasoning_content", "Two and three.\nThat makes 5.", "(none)",
         "Two and three.\nThat makes 5."},
        {"/v1/responses", "{\"input\":\"sum\",\"temperature\":0,\"model\":\"%s\"}", "output.0.type", "reasoning", "message",
         "reasoning"},
        {"/v1/messages", "{" SUM ",\"max_tokens\":64,\"model\":\"%s\"}", "content.0.type", "thinking", "text", "text"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static const char *const names[] = {"deepseek-reasoner", "deepseek-chat", "default"};
        const char *expected[] = {rows[i].with, rows[i].without, rows[i].usual};
        for (size_t k = 0; k < 3; k++) {
            char body[300];
            snprintf(body, sizeof body, rows[i].body, names[k]);
            json_t *d = ask(&think, rows[i].path, body);
            servicefixture_says(d, rows[i].at, expected[k]);
            json_decref(d);
        }
    }
}

static void test_seeds_repeat(void **state)
{
    char body[300];
    (void)state;
    json_t *first = NULL;
    for (int seed = 5; seed < 8; seed++) {
        snprintf(body, sizeof body, "{" HELLO ",\"temperature\":2,\"max_tokens\":30,\"seed\":%d,\"n\":2}", seed);
        json_t *a = ask(&chat, CHAT, body), *b = ask(&chat, CHAT, body);
        same(servicefixture_at(a, "choices"), servicefixture_at(b, "choices"), "choices", body);
        assert_string_not_equal(servicefixture_text(a, CONTENT), servicefixture_text(a, "choices.1.message.content"));
        assert_true(!first || !json_equal(servicefixture_at(first, "choices"), servicefixture_at(a, "choices")));
        json_decref(first);
        json_decref(b);
        first = a;
    }
    json_decref(first);
}

/* A server with a seed gives it to requests that have none, in every format. */
static void test_a_server_can_have_a_seed(void **state)
{
    static const char *const rows[][3] = {
        {CHAT, "{" HELLO ",\"temperature\":2,\"max_tokens\":30}", CONTENT},
        {"/v1/responses", "{\"input\":\"hello\",\"temperature\":2,\"max_output_tokens\":30}", "output.0.content.0.text"},
        {"/v1/messages", "{" HELLO ",\"model\":\"default\",\"temperature\":2,\"max_tokens\":30}", "content.0.text"}};
    const struct service_options o = {.format = CHAT_CHATML, .sampling = {.seed = 7}, .seeded = true};
    struct servicefixture seeded;
    (void)state;
    servicefixture_open(&seeded, ENGINEFIXTURE_CHAT, &o);
    json_t *seven = ask(&chat, CHAT, "{" HELLO ",\"temperature\":2,\"max_tokens\":30,\"seed\":7}");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *d = ask(&seeded, rows[i][0], rows[i][1]);
        servicefixture_says(d, rows[i][2], servicefixture_text(seven, CONTENT));
        json_decref(d);
    }
    json_decref(seven);
    servicefixture_close(&seeded);
}

static void test_forms_are_kept(void **state)
{
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":99},"
                                 "\"name\":{\"enum\":[\"Ann\",\"Bob\"]}},\"required\":[\"age\",\"name\"],\"additionalProperties\":false}";
    (void)state;
    for (int seed = 1; seed <= 6; seed++) {
        char body[1000];
        snprintf(body, sizeof body, "{" HELLO ",\"temperature\":1.5,\"seed\":%d,\"response_format\":{\"type\":\"json_schema\","
                                    "\"json_schema\":{\"name\":\"p\",\"strict\":true,\"schema\":%s}}}", seed, schema);
        json_t *d = ask(&chat, CHAT, body);
        servicefixture_says(d, FINISH, "stop");
        const char *text = servicefixture_text(d, CONTENT);
        json_t *said = servicefixture_parse(text, strlen(text));
        json_int_t age = json_integer_value(servicefixture_at(said, "age"));
        assert_true(json_is_integer(servicefixture_at(said, "age")) && age >= 0 && age <= 99);
        assert_true(strcmp(servicefixture_text(said, "name"), "Ann") == 0 || strcmp(servicefixture_text(said, "name"), "Bob") == 0);
        json_decref(said);
        json_decref(d);
        static const char *const choices[] = {"\"required\"", "{\"type\":\"function\",\"function\":{\"name\":\"two\"}}"};
        for (int named = 0; named < 2; named++) {
            snprintf(body, sizeof body, "{" HELLO "," TOOLS ",\"tool_choice\":%s,\"parallel_tool_calls\":false,\"max_tokens\":500,"
                     "\"temperature\":1.5,\"seed\":%d}",
                     choices[named], seed);
            d = ask(&chat, CHAT, body);
            servicefixture_says(d, FINISH, "tool_calls");
            assert_true(json_is_null(servicefixture_at(d, CONTENT)));
            assert_int_equal(json_array_size(servicefixture_at(d, "choices.0.message.tool_calls")), 1);
            const char *name = servicefixture_text(d, "choices.0.message.tool_calls.0.function.name");
            assert_true(strcmp(name, "two") == 0 || (!named && strcmp(name, "one") == 0));
            text = servicefixture_text(d, "choices.0.message.tool_calls.0.function.arguments");
            said = servicefixture_parse(text, strlen(text));
            assert_true(json_integer_value(servicefixture_at(said, "n")) == 1 || json_integer_value(servicefixture_at(said, "n")) == 2);
            json_decref(said);
            json_decref(d);
        }
    }
}

/* A stop string inside a call: no marks of it are shown, and half a call is none. */
static void test_a_stop_string_leaves_no_half_calls(void **state)
{
    static const char *const stops[] = {"{", "name", "arguments", "n"};
    (void)state;
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        char body[1000];
        snprintf(body, sizeof body, "{" HELLO "," TOOLS ",\"tool_choice\":\"required\",\"seed\":1,\"stop\":\"%s\"}", stops[i]);
        json_t *d = ask(&chat, CHAT, body);
        servicefixture_says(d, FINISH, "stop");
        assert_string_equal(servicefixture_text(d, CONTENT), "");
        assert_int_equal(json_array_size(servicefixture_at(d, "choices.0.message.tool_calls")), 0);
        json_decref(d);
    }
}

/* Tokens of a call have probabilities, too: what they say is the call as the model wrote it. */
static void test_probabilities_of_calls(void **state)
{
    (void)state;
    json_t *d = ask(&chat, CHAT, "{" HELLO "," TOOLS ",\"tool_choice\":\"required\",\"parallel_tool_calls\":false,\"seed\":1,"
                                 "\"max_tokens\":300,\"logprobs\":true}"), *token;
    struct strbuf text = {0};
    size_t i;
    servicefixture_says(d, FINISH, "tool_calls");
    json_array_foreach((json_t *)servicefixture_at(d, "choices.0.logprobs.content"), i, token)
    {
        assert_int_equal(strbuf_puts(&text, servicefixture_text(token, "token")), ERR_OK);
    }
    assert_non_null(text.data);
    assert_non_null(strstr(text.data, servicefixture_text(d, "choices.0.message.tool_calls.0.function.name")));
    assert_non_null(strstr(text.data, "arguments"));
    strbuf_deinit(&text);
    json_decref(d);
}

static void test_probabilities(void **state)
{
    (void)state;
    json_t *d = ask(&chat, CHAT, "{" HELLO ",\"temperature\":0,\"logprobs\":true,\"top_logprobs\":20}"), *token;
    const json_t *list = servicefixture_at(d, "choices.0.logprobs.content");
    struct strbuf text = {0};
    size_t i;
    json_array_foreach((json_t *)list, i, token)
    {
        const json_t *bytes = servicefixture_at(token, "bytes"), *top = servicefixture_at(token, "top_logprobs");
        double mine = json_number_value(servicefixture_at(token, "logprob"));
        assert_int_equal(json_array_size(top), 20);
        assert_true(mine <= 0 && mine == json_number_value(servicefixture_at(token, "top_logprobs.0.logprob")));
        for (size_t k = 0; k < json_array_size(bytes); k++) {
            char byte = (char)json_integer_value(json_array_get(bytes, k));
            assert_int_equal(strbuf_append(&text, &byte, 1), ERR_OK);
        }
    }
    assert_string_equal(text.data, servicefixture_text(d, CONTENT)); /* the bytes of the tokens are the text */
    strbuf_deinit(&text);
    json_decref(d);
    d = ask(&chat, CHAT, "{" HELLO ",\"temperature\":0}");
    assert_true(json_is_null(servicefixture_at(d, "choices.0.logprobs")));
    json_decref(d);
    d = ask(&chat, TEXT, "{\"prompt\":\"hello\",\"logprobs\":1,\"logit_bias\":{\"90\":100},\"max_tokens\":3}");
    assert_int_equal(json_integer_value(servicefixture_at(d, "choices.0.logprobs.text_offset.2")), 2);
    assert_int_equal(json_object_size(servicefixture_at(d, "choices.0.logprobs.top_logprobs.0")), 1);
    json_decref(d);
}

static void test_usage(void **state)
{
    (void)state;
    json_t *d = ask(&chat, CHAT, "{" HELLO ",\"temperature\":0,\"max_tokens\":4,\"n\":3}");
    const json_t *u = servicefixture_at(d, "usage");
    json_int_t prompt = json_integer_value(servicefixture_at(u, "prompt_tokens"));
    assert_int_equal(json_integer_value(servicefixture_at(u, "completion_tokens")), 12);
    assert_int_equal(json_integer_value(servicefixture_at(u, "total_tokens")), prompt + 12);
    assert_int_equal(json_integer_value(servicefixture_at(u, "prompt_cache_hit_tokens")) +
                         json_integer_value(servicefixture_at(u, "prompt_cache_miss_tokens")), prompt);
    json_decref(d);
    d = ask(&think, CHAT, "{" SUM "}");
    json_int_t thoughts = json_integer_value(servicefixture_at(d, "usage.completion_tokens_details.reasoning_tokens"));
    assert_true(thoughts >= 28 && thoughts <= 30); /* a token a letter, and the one that ends them */
    json_decref(d);
}

/* ---- What cannot be asked. ---- */

static void refused(const struct servicefixture *f, const char *path, const char *body, int status, const char *code,
                    const char *says)
{
    int found;
    json_t *d = servicefixture_post(f, path, body, &found);
    if (found != status || strcmp(servicefixture_text(d, "error.code"), code) != 0 ||
        !strstr(servicefixture_text(d, "error.message"), says)) {
        fail_msg("%.200s → %d %s %s", body, found, servicefixture_text(d, "error.code"), servicefixture_text(d, "error.message"));
    }
    json_decref(d);
}

/* What only the model can tell is named as all the rest is. */
static void test_the_field_that_is_wrong_is_named(void **state)
{
    static const struct {
        const char *path, *body, *param;
    } rows[] = {{TEXT, "{\"prompt\":\"a\",\"suffix\":\"b\"}", "suffix"},
                {TEXT, "{\"prompt\":\"\"}", "prompt"},
                {TEXT, "{\"prompt\":[300]}", "prompt"},
                {CHAT, "{" HELLO ",\"logit_bias\":{\"100000\":1}}", "logit_bias"},
                {CHAT, "{" HELLO ",\"grammar\":\"root ::= (\"}", "grammar"},
                {CHAT, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"}]}", "messages"},
                {"/v1/responses", "{\"input\":[{\"role\":\"assistant\",\"content\":\"x\"}]}", "input"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int status;
        json_t *d = servicefixture_post(&chat, rows[i].path, rows[i].body, &status);
        servicefixture_says(d, "error.param", rows[i].param);
        json_decref(d);
    }
}

static void test_what_this_model_cannot_do_is_said(void **state)
{
    char *big = malloc(20000);
    size_t n = (size_t)sprintf(big, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    memset(big + n, 'a', 9000);
    strcpy(big + n + 9000, "\"}]}");
    (void)state;
    refused(&chat, CHAT, big, 400, "context_length_exceeded", "8192");
    refused(&chat, CHAT, big, 400, "context_length_exceeded", "90");
    free(big);
    refused(&chat, CHAT, "{" HELLO ",\"logit_bias\":{\"100000\":1}}", 400, "invalid_value", "100000");
    refused(&chat, CHAT, "{" HELLO ",\"grammar\":\"root ::= (\"}", 400, "invalid_value", "");
    refused(&chat, CHAT, "{" HELLO ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"type\":\"objekt\"}}}}",
            400, "invalid_value", "objekt");
    refused(&chat, CHAT, "{" HELLO ",\"grammar\":\"root ::= \\\"a\\\"\",\"response_format\":{\"type\":\"json_object\"}}", 400,
            "invalid_value", "response_format");
    refused(&chat, CHAT, "{" HELLO ",\"model\":\"llama\"}", 404, "model_not_found", "\"tiny\"");
    refused(&chat, CHAT, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"}]}", 400, "invalid_value", "assistant");
    refused(&chat, CHAT, "{" HELLO ",\"min_tokens\":1,\"response_format\":{\"type\":\"json_object\"}}", 400, "invalid_value", "min_tokens");
    refused(&chat, CHAT, "{" HELLO "," TOOLS ",\"tool_choice\":\"required\",\"ignore_eos\":true}", 400, "invalid_value", "ignore_eos");
    refused(&chat, TEXT, "{\"prompt\":[300]}", 422, "out_of_range", "258");
    refused(&chat, TEXT, "{\"prompt\":\"a\",\"suffix\":\"b\"}", 400, "unsupported", "middle");
    refused(&chat, TEXT, "{\"prompt\":\"\"}", 400, "invalid_value", "empty");
    refused(&chat, TEXT, "{\"prompt\":[104],\"echo\":true}", 400, "unsupported", "echo");
    refused(&chat, TEXT, "{\"prompt\":\"a\",\"echo\":true,\"logprobs\":1}", 400, "unsupported", "echo");
    refused(&chat, "/v1/embeddings", "{\"input\":\"a\"}", 400, "unsupported", "embeddings");
    refused(&chat, CHAT, "{", 400, "invalid_json", "");
    refused(&chat, CHAT, "[]", 400, "invalid_type", "object");
    refused(&chat, CHAT, "{" HELLO ",\"n\":1,\"n\":2}", 400, "invalid_json", "");
    refused(&chat, CHAT, "{" HELLO ",\"temperature\":1e400}", 400, "invalid_json", "");
}

/* A form too large is the request's fault, whenever it shows: clients that heed 429 would ask again and again. */
static void test_forms_too_large_are_no_overload(void **state)
{
    static const struct {
        const char *path, *more, *param;
    } rows[] = {{CHAT, "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"type\":\"string\","
                       "\"minLength\":70000}}}", "response_format"},
                {CHAT, "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"type\":\"string\","
                       "\"pattern\":\"a{0,100000}\"}}}", "response_format"},
                {CHAT, "\"grammar\":\"root ::= \\\"a\\\"{1,1000000}\"", "grammar"},
                {CHAT, "\"grammar\":\"root ::= (\"", "grammar"},
                {CHAT, "\"grammar\":\"root ::= a{20000}\\na ::= [a-z]?\"", "grammar"}, /* too many places to begin at */
                {CHAT, "\"temperature\":0,\"logit_bias\":{\"97\":100},\"grammar\":\"root ::= a* [a-z]*\\na ::= [a-z]? [a-z]? "
                       "a? a?\"", "grammar"},
                {CHAT, "\"tool_choice\":\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                       "\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":70000}}}}}]",
                 "tools"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[1000];
        int status;
        snprintf(body, sizeof body, "{" HELLO ",%s}", rows[i].more);
        json_t *d = servicefixture_post(&chat, rows[i].path, body, &status);
        if (status != 400 || strcmp(servicefixture_text(d, "error.param"), rows[i].param) != 0) {
            fail_msg("%s → %d %s %s", body, status, servicefixture_text(d, "error.param"), servicefixture_text(d, "error.message"));
        }
        json_decref(d);
    }
}

/* 1,700 parts that all may be left out, each one of nine characters: after each character hundreds may come next. */
static char *loose_grammar_body(const char *of)
{
    char *body = malloc(60000), *at = body;
    at += sprintf(at, "{" HELLO ",\"stream\":true,\"max_tokens\":400,\"grammar\":\"root ::=");
    for (size_t i = 0; i < 1700; i++) {
        at += sprintf(at, " [");
        for (size_t k = 0; k < 9; k++) {
            *at++ = of[(i * (k + 3) + 7 * k) % strlen(of)];
        }
        at += sprintf(at, "]?");
    }
    sprintf(at, "\"}");
    return body;
}

/* Too much work for one token is refused; where it shows later, the answer ends with what was wrong. */
static void test_a_grammar_that_takes_too_much_work_is_refused(void **state)
{
    (void)state;
    int status;
    char *body = loose_grammar_body("acegikmoqsuwyACEGIKMOQSUWY02468bdfhjlnprtvxzBDFHJLNPRTVXZ13579");
    json_t *d = servicefixture_post(&chat, CHAT, body, &status);
    assert_int_equal(status, 400);
    servicefixture_says(d, "error.param", "grammar");
    assert_non_null(strstr(servicefixture_text(d, "error.message"), "too much work"));
    json_decref(d);
    free(body);
    body = loose_grammar_body("acegikmoqsuwybdfhjlnprtvxz");
    struct rawclient_reply r = servicefixture_raw(&chat, "POST", CHAT, "", body);
    assert_int_equal(r.status, 200);
    const char *last = strstr(r.body, "too much work");
    assert_non_null(last);
    assert_null(strstr(last, "finish_reason"));
    rawclient_free(&r);
    free(body);
}

static void test_fields_without_effect_are_named_in_a_header(void **state)
{
    static const struct {
        const char *body, *names;
    } rows[] = {{"{" HELLO ",\"max_tokens\":1,\"store\":true,\"zeal\":1}", "zeal, store"},
                {"{" HELLO ",\"max_tokens\":1,\"a\\nb\":1}", "a?b"},
                {"{" HELLO ",\"max_tokens\":1,\"thinking\":{\"type\":\"enabled\"}}", "thinking"},
                {"{" HELLO ",\"max_tokens\":1,\"model\":\"deepseek-reasoner\"}", "model (thinking)"},
                {"{" HELLO ",\"max_tokens\":1,\" \":1}", NULL},
                {"{" HELLO ",\"max_tokens\":1,\"\":1}", NULL},
                {"{" HELLO ",\"max_tokens\":1,\"a\\tb \":1}", NULL},
                {"{" HELLO ",\"max_tokens\":1,\"\\u4f60\":1}", NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char value[1024];
        struct rawclient_reply r = servicefixture_raw(&chat, "POST", CHAT, "", rows[i].body);
        if (r.status != 200) {
            fail_msg("%s → %s%s", rows[i].body, r.head, r.body);
        }
        assert_true(!rows[i].names || strcmp(rawclient_header(&r, "X-Fathom-Ignored", value), rows[i].names) == 0);
        rawclient_free(&r);
    }
}

/* ---- Readers that go, and crowds. ---- */

static bool falls_idle(const struct servicefixture *f, double seconds)
{
    double until = progress_clock() + seconds;
    struct batcher_counts c;
    do {
        c = enginethread_counts(f->service->model.thread);
        if (c.running + c.waiting == 0 && c.reserved == 0) {
            return true;
        }
        usleep(5000);
    } while (progress_clock() < until);
    return false;
}

static double metric(const char *name)
{
    struct rawclient_reply r = servicefixture_raw(&chat, "GET", "/metrics", "", "");
    char line[100];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(r.body, line);
    assert_non_null(at);
    double value = atof(at + strlen(line));
    rawclient_free(&r);
    return value;
}

/* Never ends by itself: the token that would end it is forbidden. */
#define LONG "\"logit_bias\":{\"258\":-100},\"max_tokens\":7000,\"temperature\":1,\"seed\":1"

/* A reader asks, and goes once its answer is being made. */
static void ask_and_go(bool stream)
{
    struct rawclient c = rawclient_open(chat.port);
    servicefixture_begin(&c, "POST", CHAT, "",
                         stream ? "{" HELLO "," LONG ",\"stream\":true,\"n\":2}" : "{" HELLO "," LONG ",\"n\":4}");
    if (stream) {
        assert_true(rawclient_until(&c, "\"content\":\"", 5000));
    }
    struct batcher_counts now;
    double until = progress_clock() + 5;
    do { /* the counts are those of the last step */
        usleep(1000);
        now = enginethread_counts(chat.service->model.thread);
    } while ((now.running == 0 || now.reserved == 0) && progress_clock() < until);
    rawclient_close(&c);
    assert_true(falls_idle(&chat, 10));
}

/* A prompt that nobody asked before, of about as many tokens as characters. */
static char *fresh(size_t len, const char *more)
{
    static int seen;
    char *body = malloc(len + 1000);
    size_t n = (size_t)sprintf(body, "{\"messages\":[{\"role\":\"user\",\"content\":\"%d ", ++seen);
    memset(body + n, 'x', len);
    sprintf(body + n + len, "\"}],%s}", more);
    return body;
}

static double number(const json_t *d, const char *path)
{
    return json_number_value(servicefixture_at(d, path));
}

/* On a busy machine an answer may be done before we have gone: then again. */
static void test_a_reader_that_goes_frees_its_place(void **state)
{
    json_t *whole = ask(&chat, CHAT, "{" HELLO ",\"max_tokens\":2}");
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        double broken = metric("fathom_answers_broken_total"), made = metric("fathom_completion_tokens_total");
        double read = metric("fathom_prompt_tokens_total"), took = metric("fathom_answer_seconds_sum");
        double between = metric("fathom_between_tokens_seconds_sum");
        for (int tries = 0; tries < 10 && metric("fathom_answers_broken_total") == broken; tries++) {
            ask_and_go(stream);
        }
        assert_true(metric("fathom_answers_broken_total") > broken); /* counted, with what it cost */
        if (stream) {
            assert_true(metric("fathom_prompt_tokens_total") - read >= number(whole, "usage.prompt_tokens"));
            assert_true(metric("fathom_completion_tokens_total") > made);
            assert_true(metric("fathom_answer_seconds_sum") > took);
            assert_true(metric("fathom_between_tokens_seconds_sum") > between);
        }
    }
    json_decref(whole);
}

/* A reader with a key that goes while his prompt is read, or his answer is made (`until`: what came of it). */
static void ask_with_key_and_go(const struct pagefixture_key *key, const char *body, const char *until)
{
    struct rawclient c = rawclient_open(chat.port);
    servicefixture_begin(&c, "POST", CHAT, key->headers, body);
    if (until) {
        assert_true(rawclient_until(&c, until, 5000));
    }
    for (double end = progress_clock() + 5; !until && progress_clock() < end;) {
        struct batcher_counts now = enginethread_counts(chat.service->model.thread);
        if (now.running > 0 && now.reserved > 0) {
            break;
        }
        usleep(200);
    }
    rawclient_close(&c);
    assert_true(falls_idle(&chat, 10));
}

/* What was read of a prompt is used, whether anybody waits for an answer or not. */
static void test_prompts_that_are_dropped_count_as_far_as_they_were_read(void **state)
{
    struct pagefixture_key key;
    double hit = 0;
    uint64_t used = 0;
    (void)state;
    pagefixture_key(&chat, "{'name':'goes'}", &key);
    for (int tries = 0; tries < 10 && hit == 0; tries++) {
        struct errinfo info = {0};
        uint64_t before, after;
        char *body = fresh(6000, "\"max_tokens\":1");
        must(usagestore_today(chat.service->usage, key.id, service_now(), &before, NULL, &info), &info);
        ask_with_key_and_go(&key, body, NULL);
        must(usagestore_today(chat.service->usage, key.id, service_now(), &after, NULL, &info), &info);
        used = after - before;
        json_t *again = pagefixture_ask(&chat, key.headers, 200, "POST", CHAT, body);
        hit = number(again, "usage.prompt_cache_hit_tokens");
        assert_true((double)used >= hit && used <= 6100);
        json_decref(again);
        free(body);
    }
    assert_true(hit > 0);
}

/* What was found in the cache is cheaper, in an answer that is dropped, too. */
static void test_cached_tokens_of_a_dropped_answer_are_cached(void **state)
{
    struct pagefixture_key key;
    bool went = false;
    (void)state;
    pagefixture_key(&chat, "{'name':'cached'}", &key);
    for (int tries = 0; tries < 10 && !went; tries++) {
        char *body = fresh(300, LONG ",\"stream\":true");
        ask_with_key_and_go(&key, body, "\"content\":\"");
        double cached = metric("fathom_prompt_tokens_cached_total"), broken = metric("fathom_answers_broken_total");
        double prompt = metric("fathom_prompt_tokens_total");
        ask_with_key_and_go(&key, body, "\"content\":\"");
        cached = metric("fathom_prompt_tokens_cached_total") - cached;
        prompt = metric("fathom_prompt_tokens_total") - prompt;
        assert_true(prompt > 300 && cached < prompt && cached >= prompt - 64); /* all its whole pages */
        went = metric("fathom_answers_broken_total") > broken;
        free(body);
    }
    assert_true(went);
}

/* Of choices that wait for a place the later ones find what the first has read: that is no cached prompt. */
static void test_what_a_question_reads_itself_was_not_cached(void **state)
{
    char *body = fresh(300, "\"n\":8,\"max_tokens\":2,\"ignore_eos\":true");
    (void)state;
    json_t *d = ask(&chat, CHAT, body);
    assert_int_equal(number(d, "usage.prompt_cache_hit_tokens"), 0);
    assert_int_equal(number(d, "usage.completion_tokens"), 16);
    json_decref(d);
    free(body);
}

static void test_time_between_tokens_is_that_of_a_choice(void **state)
{
    double sums[3];
    static const char *const names[] = {"fathom_answer_seconds_sum", "fathom_first_token_seconds_sum",
                                        "fathom_between_tokens_seconds_sum"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        sums[i] = metric(names[i]);
    }
    json_decref(ask(&chat, CHAT, "{" HELLO ",\"n\":4,\"max_tokens\":65,\"ignore_eos\":true}"));
    for (size_t i = 0; i < 3; i++) {
        sums[i] = metric(names[i]) - sums[i];
    }
    double each = (sums[0] - sums[1]) / 64;
    assert_true(sums[2] > each / 2 && sums[2] < 1.01 * each);
}

/* After a while a document has begun, for its reader to know that somebody is there; it is one document all the
 * same. */
static void test_a_document_that_fails_late_is_one_document(void **state)
{
    static struct servicefixture slow = {.keepalive = 0.01};
    const struct service_options o = {.format = CHAT_CHATML};
    (void)state;
    servicefixture_open(&slow, ENGINEFIXTURE_CHAT, &o);
    struct rawclient_reply r =
        servicefixture_raw(&slow, "POST", CHAT, "",
                           "{" HELLO ",\"logit_bias\":{\"97\":100},\"max_tokens\":7000,\"grammar\":\"root ::= [b-z]{1500} s\\n"
                           "s ::= \\\"a\\\" s \\\"b\\\" | \\\"a\\\" s \\\"c\\\" | \\\"a\\\" s \\\"d\\\" | \\\"a\\\"\"}");
    json_t *d = servicefixture_parse(r.body, r.len);
    assert_int_equal(r.status, 200); /* so it began */
    servicefixture_says(d, "error.param", "grammar");
    json_decref(d);
    rawclient_free(&r);
    servicefixture_close(&slow);
}

static void test_too_many_at_once_are_told_to_come_back(void **state)
{
    (void)state;
    struct rawclient c[8], late; /* four run, four wait */
    char value[1024];
    for (int i = 0; i < 8; i++) {
        c[i] = rawclient_open(chat.port);
        servicefixture_begin(&c[i], "POST", CHAT, "", "{" HELLO "," LONG ",\"stream\":true}");
        double until = progress_clock() + 5;
        struct batcher_counts now;
        do {
            usleep(1000);
            now = enginethread_counts(chat.service->model.thread);
        } while (now.running + now.waiting < (size_t)i + 1 && progress_clock() < until);
    }
    for (int stream = 0; stream < 2; stream++) {
        late = rawclient_open(chat.port);
        servicefixture_begin(&late, "POST", CHAT, "", stream ? "{" HELLO ",\"stream\":true}" : "{" HELLO ",\"n\":2}");
        struct rawclient_reply r = rawclient_reply(&late);
        if (r.status != 429) {
            fail_msg("%s%s", r.head, r.body);
        }
        assert_string_equal(rawclient_header(&r, "Retry-After", value), "1");
        json_t *d = servicefixture_parse(r.body, r.len);
        servicefixture_says(d, "error.code", "overloaded");
        json_decref(d);
        rawclient_free(&r);
        rawclient_close(&late);
    }
    for (int i = 0; i < 8; i++) {
        rawclient_close(&c[i]);
    }
    assert_true(falls_idle(&chat, 3));
    json_decref(ask(&chat, CHAT, "{" HELLO "}"));
}

static void test_replies_are_counted_by_their_status(void **state)
{
    static const char *const names[] = {"fathom_replies_total{class=\"2xx\"}", "fathom_replies_total{class=\"4xx\"}"};
    static const struct {
        const char *body;
        double good, bad;
    } rows[] = {{"{" HELLO ",\"max_tokens\":1}", 1, 0},
                {"{" HELLO ",\"max_tokens\":1,\"stream\":true}", 1, 0},
                {"{" HELLO ",\"max_tokens\":0}", 0, 1},
                {"{" HELLO ",\"logit_bias\":{\"999\":1}}", 0, 1},
                {"{" HELLO ",\"max_tokens\":9,\"messages\":[]}", 0, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double before[2], after[2];
        before[1] = metric(names[1]);
        before[0] = metric(names[0]);
        struct rawclient_reply r = servicefixture_raw(&chat, "POST", CHAT, "", rows[i].body);
        rawclient_free(&r);
        assert_true(falls_idle(&chat, 2));
        after[0] = metric(names[0]);
        after[1] = metric(names[1]);
        if (after[0] - before[0] != rows[i].good + 1 || after[1] - before[1] != rows[i].bad) { /* 1: the metrics' own */
            fail_msg("%s: %g good, %g bad", rows[i].body, after[0] - before[0], after[1] - before[1]);
        }
    }
}

static void *chatter(void *user)
{
    json_t **out = user;
    int status;
    *out = servicefixture_post(&chat, CHAT, "{" HELLO ",\"temperature\":0}", &status);
    return NULL;
}

static void test_many_at_once_get_the_same_answer(void **state)
{
    enum { MANY = 8 };
    pthread_t threads[MANY];
    json_t *said[MANY];
    (void)state;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, chatter, &said[i]), 0);
    }
    for (int i = 0; i < MANY; i++) {
        pthread_join(threads[i], NULL);
        servicefixture_says(said[i], CONTENT, "Hello! \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x90\xb3");
        json_decref(said[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_says_what_the_document_says),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_call_cut_before_its_arguments_has_none),
        cmocka_unit_test(test_a_name_means_a_way_of_thinking),
        cmocka_unit_test(test_seeds_repeat),
        cmocka_unit_test(test_a_server_can_have_a_seed),
        cmocka_unit_test(test_forms_are_kept),
        cmocka_unit_test(test_a_stop_string_leaves_no_half_calls),
        cmocka_unit_test(test_probabilities_of_calls),
        cmocka_unit_test(test_probabilities),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_the_field_that_is_wrong_is_named),
        cmocka_unit_test(test_what_this_model_cannot_do_is_said),
        cmocka_unit_test(test_forms_too_large_are_no_overload),
        cmocka_unit_test(test_a_grammar_that_takes_too_much_work_is_refused),
        cmocka_unit_test(test_fields_without_effect_are_named_in_a_header),
        cmocka_unit_test(test_a_reader_that_goes_frees_its_place),
        cmocka_unit_test(test_prompts_that_are_dropped_count_as_far_as_they_were_read),
        cmocka_unit_test(test_cached_tokens_of_a_dropped_answer_are_cached),
        cmocka_unit_test(test_what_a_question_reads_itself_was_not_cached),
        cmocka_unit_test(test_time_between_tokens_is_that_of_a_choice),
        cmocka_unit_test(test_a_document_that_fails_late_is_one_document),
        cmocka_unit_test(test_replies_are_counted_by_their_status),
        cmocka_unit_test(test_too_many_at_once_are_told_to_come_back),
        cmocka_unit_test(test_many_at_once_get_the_same_answer),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}

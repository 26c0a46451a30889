/* Conversations with tools: as the templates lay them out (tools/golden/chat_tools.py), as V4's encoding code does (its
 * published examples), and never with a control token out of what somebody said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "text/chat.h"
#include "text/markvocabulary.h"

enum { MESSAGES_MAX = 16, CALLS_MAX = 4, TOOLS_MAX = 4 };
#define BOS "<｜begin▁of▁sentence｜>"
#define EOS "<｜end▁of▁sentence｜>"
#define U "<｜User｜>"
#define A "<｜Assistant｜>"

static void expect(enum chat_format f, enum chat_thinking think, const struct chat_message *m, size_t n,
                   const char *wanted)
{
    struct tokenizer *t = markvocabulary_new();
    struct tokenizer_ids ids = {0};
    struct strbuf text = {0};
    struct errinfo info = {0};
    if (chat_encode(t, f, m, n, think, &ids, &info) != ERR_OK) {
        fail_msg("%s: %s", chat_format_name(f), info.message);
    }
    markvocabulary_read(t, &ids, &text);
    if (strcmp(text.data, wanted) != 0) {
        fail_msg("%s gave\n%s\nwanted\n%s", chat_format_name(f), text.data, wanted);
    }
    size_t end = text.len - strlen("<think>"); /* R1 adds a newline */
    bool open = strcmp(text.data + end, "<think>") == 0 || strcmp(text.data + end - 1, "<think>\n") == 0;
    assert_int_equal(chat_opens_thinking(f, m, n, think), open);
    strbuf_deinit(&text);
    tokenizer_ids_deinit(&ids);
    tokenizer_free(t);
}

/* ---- templates ---- */

struct golden {
    struct chat_message messages[MESSAGES_MAX];
    struct chat_call calls[MESSAGES_MAX][CALLS_MAX];
    struct chat_tool tools[TOOLS_MAX];
    char *schemas[TOOLS_MAX]; /* owned */
    size_t n, n_tools;
};

static const char *string_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void read_message(struct golden *g, const json_t *m)
{
    const char *role = string_of(m, "role");
    struct chat_message *out = &g->messages[g->n];
    *out = (struct chat_message){.content = string_of(m, "content")};
    out->role = strcmp(role, "user") == 0   ? CHAT_USER
                : strcmp(role, "tool") == 0 ? CHAT_TOOL
                : role[0] == 's'            ? CHAT_SYSTEM
                                            : CHAT_ASSISTANT;
    size_t k;
    json_t *c;
    json_array_foreach(json_object_get(m, "tool_calls"), k, c) {
        const json_t *f = json_object_get(c, "function");
        g->calls[g->n][k] =
            (struct chat_call){string_of(c, "id"), string_of(f, "name"), string_of(f, "arguments")};
        out->calls = g->calls[g->n];
        out->n_calls = k + 1;
    }
    g->n++;
}

static void read_case(struct golden *g, const json_t *c)
{
    size_t i;
    json_t *m, *tool;
    json_array_foreach(json_object_get(c, "tools"), i, tool) {
        g->schemas[i] = json_text_dup(json_object_get(tool, "parameters"), JSON_COMPACT | JSON_REAL_PRECISION(3));
        g->tools[i] = (struct chat_tool){string_of(tool, "name"), string_of(tool, "description"), g->schemas[i]};
        g->n_tools++;
    }
    const json_t *messages = json_object_get(c, "messages");
    if (strcmp(string_of(json_array_get(messages, 0), "role"), "system") != 0) {
        g->messages[g->n++] = (struct chat_message){.role = CHAT_SYSTEM}; /* carries the tools alone */
    }
    json_array_foreach(messages, i, m) {
        read_message(g, m);
    }
    g->messages[0].tools = g->tools;
    g->messages[0].n_tools = g->n_tools;
}

static void every_format_lays_tools_out_as_its_template(void **state)
{
    (void)state;
    json_t *cases, *c;
    size_t i;
    assert_int_equal(json_parse_file("tests/golden/chat/tools.json", 1 << 20, &cases, NULL), ERR_OK);
    json_array_foreach(cases, i, c) {
        struct golden g = {.n = 0};
        enum chat_format f;
        assert_true(chat_format_from_name(string_of(c, "format"), &f));
        read_case(&g, c);
        expect(f, CHAT_NO_THINKING, g.messages, g.n, string_of(c, "text"));
        for (size_t k = 0; k < g.n_tools; k++) {
            mem_free(g.schemas[k]);
        }
    }
    assert_int_equal(i, 24);
    json_decref(cases);
}

/* ---- V4 ---- */

#define V4_TOOLS(schemas) \
    "## Tools\n\n" \
    "You have access to a set of tools to help answer the user's question. You can invoke tools by writing a " \
    "\"<｜DSML｜tool_calls>\" block like the following:\n\n" \
    "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"$TOOL_NAME\">\n" \
    "<｜DSML｜parameter name=\"$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n...\n" \
    "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"$TOOL_NAME2\">\n...\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>\n\n" \
    "String parameters should be specified as is and set `string=\"true\"`. For all other types (numbers, booleans, " \
    "arrays, objects), pass the value in JSON format and set `string=\"false\"`.\n\n" \
    "If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside " \
    "<think>...</think> BEFORE any tool calls or final response.\n\n" \
    "Otherwise, output directly after </think> with tool calls or final response.\n\n" \
    "### Available Tool Schemas\n\n" schemas \
    "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n"

static const struct chat_tool weather[] = {
    {"get_weather", "Get the weather for a specific location",
     "{\"type\":\"object\",\"properties\":{\"location\":{\"type\":\"string\",\"description\":\"The city name\"}},"
     "\"required\":[\"location\"]}"},
    {"search", NULL, NULL}};
#define WEATHER_SCHEMAS \
    "{\"name\": \"get_weather\", \"description\": \"Get the weather for a specific location\", \"parameters\": {\"type\": " \
    "\"object\", \"properties\": {\"location\": {\"type\": \"string\", \"description\": \"The city name\"}}, \"required\": " \
    "[\"location\"]}}\n{\"name\": \"search\"}"
static const struct chat_call two_calls[] = {
    {"call_1", "get_weather", "{\"location\":\"Beijing\", \"unit\":\"celsius\"}"},
    {"call_2", "search", "{\"n\": 3, \"deep\":[true,{\"q\":\"天\"}], \"q\": \"a \\\"b\\\"\\n<c>\"}"}};
#define TWO_CALLS(block) \
    "\n\n<｜DSML｜" block ">\n<｜DSML｜invoke name=\"get_weather\">\n" \
    "<｜DSML｜parameter name=\"location\" string=\"true\">Beijing</｜DSML｜parameter>\n" \
    "<｜DSML｜parameter name=\"unit\" string=\"true\">celsius</｜DSML｜parameter>\n</｜DSML｜invoke>\n" \
    "<｜DSML｜invoke name=\"search\">\n<｜DSML｜parameter name=\"n\" string=\"false\">3</｜DSML｜parameter>\n" \
    "<｜DSML｜parameter name=\"deep\" string=\"false\">[true, {\"q\": \"天\"}]</｜DSML｜parameter>\n" \
    "<｜DSML｜parameter name=\"q\" string=\"true\">a \"b\"\n<c></｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜" block ">"

static void v4_calls_tools_as_its_code_has_it(void **state)
{
    (void)state;
    const struct chat_message m[] = {
        {.role = CHAT_SYSTEM, .content = "You are a helpful assistant.", .tools = weather, .n_tools = 2},
        {.role = CHAT_USER, .content = "What's the weather in Beijing?"},
        {.role = CHAT_ASSISTANT, .reasoning = "I should use get_weather.", .calls = two_calls, .n_calls = 2},
        {.role = CHAT_TOOL, .content = "second", .call_id = "call_2"}, /* put into the calls' order */
        {.role = CHAT_TOOL, .content = "{\"temperature\": 22}", .call_id = "call_1"},
        {.role = CHAT_USER, .content = "And now?"}, /* joins the results */
        {.role = CHAT_ASSISTANT, .content = "Sunny."}, /* no reasoning: an empty one, since there are tools */
        {.role = CHAT_USER, .content = "Thanks"}};
    static const char begin[] = BOS "You are a helpful assistant.\n\n" V4_TOOLS(WEATHER_SCHEMAS) U
                                    "What's the weather in Beijing?" A "<think>";
    expect(CHAT_DEEPSEEK_V4, CHAT_THINKING, m, 2, begin);
    static char whole[8000];
    snprintf(whole, sizeof whole, "%s%s", begin,
             "I should use get_weather.</think>" TWO_CALLS("tool_calls") EOS U
             "<tool_result>{\"temperature\": 22}</tool_result>\n\n<tool_result>second</tool_result>\n\nAnd now?" A
             "<think></think>Sunny." EOS U "Thanks" A "<think>");
    expect(CHAT_DEEPSEEK_V4, CHAT_THINKING, m, 8, whole);
}

static void v4_drops_earlier_reasoning_where_there_are_no_tools(void **state)
{
    (void)state;
    const struct chat_message m[] = {
        {.role = CHAT_SYSTEM, .content = "S"}, {.role = CHAT_DEVELOPER, .content = "dev"},
        {.role = CHAT_USER, .content = "a"},   {.role = CHAT_ASSISTANT, .content = "b", .reasoning = "why"},
        {.role = CHAT_USER, .content = "c"},   {.role = CHAT_USER, .content = "d"}};
    expect(CHAT_DEEPSEEK_V4, CHAT_THINKING, m, 6, BOS "S" U "a" A "</think>b" EOS U "c\n\nd" A "<think>");
    expect(CHAT_DEEPSEEK_V4, CHAT_NO_THINKING, m, 6,
           BOS "S" U "dev" U "a" A "</think>b" EOS U "c\n\nd" A "</think>");
    expect(CHAT_DEEPSEEK_V4, CHAT_THINKING, m, 1, BOS "S" A "<think>");
}

static void v4_knows_reminders_tasks_and_developers(void **state)
{
    (void)state;
    const struct chat_message task[] = {
        {.role = CHAT_SYSTEM, .content = "该助手为DeepSeek。"}, {.role = CHAT_REMINDER, .content = "2024-11-15,上海市"},
        {.role = CHAT_USER, .content = "q"}, {.role = CHAT_ASSISTANT, .content = "a"},
        {.role = CHAT_USER, .content = "世界著名温泉有哪些", .task = "action"}, {.role = CHAT_ASSISTANT, .content = "Search"},
        {.role = CHAT_USER, .content = "r", .task = "query"}};
    static const char begin[] = BOS "该助手为DeepSeek。<｜latest_reminder｜>2024-11-15,上海市" U "q" A "</think>a" EOS U
                                    "世界著名温泉有哪些" A;
    char text[600];
    snprintf(text, sizeof text, "%s</think><｜action｜>", begin);
    expect(CHAT_DEEPSEEK_V4, CHAT_NO_THINKING, task, 5, text);
    snprintf(text, sizeof text, "%s<think><｜action｜>", begin);
    expect(CHAT_DEEPSEEK_V4, CHAT_THINKING, task, 5, text);
    snprintf(text, sizeof text, "%s<think><｜action｜>Search" EOS U "r<｜query｜>", begin);
    expect(CHAT_DEEPSEEK_V4, CHAT_THINKING, task, 7, text);
    const struct chat_message developer[] = {
        {.role = CHAT_DEVELOPER, .content = "q", .tools = weather, .n_tools = 2, .response_schema = "{\"a\":[1.50]}"}};
    expect(CHAT_DEEPSEEK_V4, CHAT_THINKING, developer, 1,
           BOS U "q\n\n" V4_TOOLS(WEATHER_SCHEMAS) "\n\n## Response Format:\n\nYou MUST strictly adhere to the following "
           "schema to reply:\n{\"a\": [1.5]}" A "<think>");
}

static void v4_is_told_how_hard_to_think(void **state)
{
    (void)state;
    const struct chat_message m[] = {{.role = CHAT_USER, .content = "q"}};
    static const char p1[] = "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n";
    static const char p2[] = "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n";
    static const struct {
        enum chat_format format;
        enum chat_thinking think;
        const char *prefix;
    } rows[] = {
        {CHAT_DEEPSEEK_V4, CHAT_NO_THINKING, ""},      {CHAT_DEEPSEEK_V4, CHAT_THINKING_LOW, ""},
        {CHAT_DEEPSEEK_V4, CHAT_THINKING, ""},         {CHAT_DEEPSEEK_V4, CHAT_THINKING_MAX, p1},
        {CHAT_DEEPSEEK_V4_0731, CHAT_NO_THINKING, ""}, {CHAT_DEEPSEEK_V4_0731, CHAT_THINKING_LOW, ""},
        {CHAT_DEEPSEEK_V4_0731, CHAT_THINKING, p1},    {CHAT_DEEPSEEK_V4_0731, CHAT_THINKING_MAX, p2}};
    struct tokenizer *t = markvocabulary_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tokenizer_ids ids = {0};
        struct strbuf text = {0};
        assert_int_equal(chat_encode(t, rows[i].format, m, 1, rows[i].think, &ids, NULL), ERR_OK);
        markvocabulary_read(t, &ids, &text);
        const char *rest = text.data + strlen(BOS), *turn = strstr(rest, U "q" A);
        assert_non_null(turn);
        assert_int_equal(strncmp(rest, rows[i].prefix, strlen(rows[i].prefix)), 0);
        assert_int_equal(turn == rest, rows[i].prefix[0] == '\0');
        assert_true(turn == rest || strncmp(turn - 2, "\n\n", 2) == 0);
        strbuf_deinit(&text);
        tokenizer_ids_deinit(&ids);
    }
    tokenizer_free(t);
}

static void v4_is_known_by_its_vocabulary(void **state)
{
    (void)state;
    struct tokenizer *t = markvocabulary_new();
    assert_int_equal(chat_detect(t, NULL, 0).format, CHAT_DEEPSEEK_V4);
    tokenizer_free(t);
}

/* ---- V3.2 ---- */

static void v32_keeps_reasoning_after_the_last_question(void **state)
{
    (void)state;
    const struct chat_message m[] = {
        {.role = CHAT_SYSTEM, .content = "S"},
        {.role = CHAT_USER, .content = "a"},
        {.role = CHAT_ASSISTANT, .content = "b", .reasoning = "early"},
        {.role = CHAT_USER, .content = "c"},
        {.role = CHAT_ASSISTANT, .content = "look", .reasoning = "late", .calls = two_calls, .n_calls = 2},
        {.role = CHAT_TOOL, .content = "r1", .call_id = "call_1"},
        {.role = CHAT_TOOL, .content = "r2", .call_id = "call_2"}};
#define V32_TALK(think, late) \
    BOS "S" U "a" A "</think>b" EOS U "c" A think late "look" TWO_CALLS("function_calls") EOS \
        "\n\n<function_results>\n<result>r1</result>\n<result>r2</result>\n</function_results>\n\n" think
    expect(CHAT_DEEPSEEK_V32, CHAT_THINKING, m, 7, V32_TALK("<think>", "late</think>"));
    expect(CHAT_DEEPSEEK_V32, CHAT_NO_THINKING, m, 7, V32_TALK("</think>", ""));
}

static void v32_describes_tools_in_its_own_words(void **state)
{
    (void)state;
    const struct chat_message m[] = {
        {.role = CHAT_SYSTEM, .content = "S", .tools = weather, .n_tools = 2, .response_schema = "{}"},
        {.role = CHAT_USER, .content = "q"}};
    expect(CHAT_DEEPSEEK_V32, CHAT_THINKING, m, 2,
           BOS "S\n\n## Tools\n\nYou have access to a set of tools you can use to answer the user's question.\n"
           "You can invoke functions by writing a \"<｜DSML｜function_calls>\" block like the following as part of your reply "
           "to the user:\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"$FUNCTION_NAME\">\n"
           "<｜DSML｜parameter name=\"$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n...\n"
           "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"$FUNCTION_NAME2\">\n...\n</｜DSML｜invoke>\n</｜DSML｜function_calls>\n\n"
           "String and scalar parameters should be specified as is without any escaping or quotes, while lists and objects "
           "should use JSON format. The \"string\" attribute should be set to \"true\" for string type parameters and "
           "\"false\" for other types (numbers, booleans, arrays, objects).\n\n"
           "If the thinking_mode is enabled, then after function results you should strongly consider outputting a thinking "
           "block. Here is an example:\n\n<｜DSML｜function_calls>\n...\n</｜DSML｜function_calls>\n\n<function_results>\n...\n"
           "</function_results>\n\n<think>...thinking about results</think>\n\n"
           "Here are the functions available in JSONSchema format:\n<functions>\n" WEATHER_SCHEMAS "\n</functions>\n"
           "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n{}" U "q" A "<think>");
    const struct chat_message developer[] = {{.role = CHAT_DEVELOPER, .content = "q"}};
    expect(CHAT_DEEPSEEK_V32, CHAT_THINKING, developer, 1, BOS U "\n\n# The user's message is: q" A "<think>");
}

/* ---- what nobody can say ---- */

static size_t count_control(const struct tokenizer *t, enum chat_format f, const char *text, bool reasoning)
{
    char arguments[2000];
    snprintf(arguments, sizeof arguments, "{\"%s\": \"%s\", \"n\": [\"%s\"]}", text, text, text);
    char schema[2000];
    snprintf(schema, sizeof schema, "{\"description\": \"%s\"}", text);
    const struct chat_tool tool = {text, text, schema};
    const struct chat_call call = {text, text, arguments};
    const struct chat_message m[] = {
        {.role = CHAT_SYSTEM, .content = text, .tools = &tool, .n_tools = 1},
        {.role = CHAT_USER, .content = text},
        {.role = CHAT_ASSISTANT, .content = text, .reasoning = reasoning ? text : NULL, .calls = &call, .n_calls = 1},
        {.role = CHAT_TOOL, .content = text, .call_id = text}};
    struct tokenizer_ids ids = {0};
    struct strbuf said = {0};
    struct errinfo info = {0};
    if (chat_encode(t, f, m, 4, CHAT_THINKING, &ids, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    size_t n = markvocabulary_read(t, &ids, &said);
    strbuf_deinit(&said);
    tokenizer_ids_deinit(&ids);
    return n;
}

static void text_that_spells_control_tokens_stays_text(void **state)
{
    (void)state;
    struct tokenizer *t = markvocabulary_new();
    struct strbuf wild = {0};
    for (int32_t id = 256; (size_t)id < tokenizer_size(t); id++) {
        struct tokenizer_piece p = tokenizer_bytes(t, id);
        assert_int_equal(strbuf_append(&wild, p.data, p.len), ERR_OK);
    }
    for (unsigned f = 0; f < CHAT_FORMATS; f++) {
        if (chat_can_call((enum chat_format)f)) {
            assert_int_equal(count_control(t, (enum chat_format)f, "tame", true),
                             count_control(t, (enum chat_format)f, wild.data, true));
        }
    }
    strbuf_deinit(&wild);
    tokenizer_free(t);
}

static void what_a_format_does_not_know_is_refused_by_name(void **state)
{
    (void)state;
    static const struct chat_call call = {"1", "f", "{}"}, list = {"1", "f", "[1]"}, bad = {"1", "f", "{"};
    static const struct chat_tool tool = {"f", NULL, NULL}, broken = {"f", NULL, "{\"type\""};
    static const struct {
        enum chat_format format;
        struct chat_message m;
        err code;
        const char *says;
    } rows[] = {
        {CHAT_LLAMA3, {.role = CHAT_SYSTEM, .content = "", .tools = &tool, .n_tools = 1}, ERR_UNSUPPORTED, "llama3"},
        {CHAT_SMOLLM2, {.role = CHAT_ASSISTANT, .content = "", .calls = &call, .n_calls = 1}, ERR_UNSUPPORTED, "smollm2"},
        {CHAT_DEEPSEEK_V2, {.role = CHAT_TOOL, .content = ""}, ERR_UNSUPPORTED, "deepseek-v2"},
        {CHAT_DEEPSEEK_V3, {.role = CHAT_DEVELOPER, .content = ""}, ERR_UNSUPPORTED, "developer"},
        {CHAT_DEEPSEEK_V31, {.role = CHAT_SYSTEM, .content = "", .response_schema = "{}"}, ERR_UNSUPPORTED, "schema"},
        {CHAT_DEEPSEEK_V32, {.role = CHAT_REMINDER, .content = ""}, ERR_UNSUPPORTED, "latest_reminder"},
        {CHAT_QWEN25, {.role = CHAT_USER, .content = "", .task = "action"}, ERR_UNSUPPORTED, "task"},
        {CHAT_DEEPSEEK_V4, {.role = CHAT_USER, .content = "", .task = "dance"}, ERR_ARGUMENT, "dance"},
        {CHAT_DEEPSEEK_V4, {.role = CHAT_TOOL, .content = ""}, ERR_ARGUMENT, "nothing was called"},
        {CHAT_DEEPSEEK_V3, {.role = CHAT_ASSISTANT, .content = "", .calls = &list, .n_calls = 1}, ERR_ARGUMENT, "an array"},
        {CHAT_DEEPSEEK_V3, {.role = CHAT_ASSISTANT, .content = "", .calls = &bad, .n_calls = 1}, ERR_ARGUMENT, "arguments"},
        {CHAT_QWEN25, {.role = CHAT_SYSTEM, .content = "", .tools = &broken, .n_tools = 1}, ERR_ARGUMENT, "parameters of f"},
        {CHAT_DEEPSEEK_V4, {.role = CHAT_SYSTEM, .content = "", .response_schema = "no"}, ERR_ARGUMENT, "schema"},
    };
    struct tokenizer *t = markvocabulary_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct chat_message m[] = {rows[i].m, {.role = CHAT_USER, .content = "q"}};
        struct tokenizer_ids ids = {0};
        struct errinfo info = {0};
        err e = chat_encode(t, rows[i].format, m, 2, false, &ids, &info);
        if (e != rows[i].code || !strstr(info.message, rows[i].says) || ids.len != 0) {
            fail_msg("row %zu: %s: %s", i, err_name(e), info.message);
        }
        tokenizer_ids_deinit(&ids);
    }
    tokenizer_free(t);
}

/* Results of many calls stand in the calls' order, wherever they were given: of an id that two calls have at the
 * last one's place, of none and of an unknown one at the first, and after a later message at its calls'. */
static void many_results_stand_in_the_order_of_their_calls(void **state)
{
    enum { CALLS = 300, RESULTS = CALLS + 2, AGAIN = 7 };
    static struct chat_message m[RESULTS + 5];
    static struct chat_call calls[CALLS], later[] = {{"late", "f", "{}"}, {"c250", "f", "{}"}};
    static char ids[CALLS][8], said[RESULTS][8];
    struct strbuf wanted = {0};
    (void)state;
    for (size_t k = 0; k < CALLS; k++) { /* their order is not that of the ids */
        snprintf(ids[k], sizeof ids[k], "c%zu", k % 90 == AGAIN ? AGAIN : k * 77 % CALLS);
        calls[k] = (struct chat_call){k == 5 ? NULL : ids[k], "f", "{}"};
    }
    m[0] = (struct chat_message){.role = CHAT_USER, .content = "q"};
    m[1] = (struct chat_message){.role = CHAT_ASSISTANT, .content = "", .calls = calls, .n_calls = CALLS};
    size_t n = 2;
    for (size_t i = 0; i < RESULTS; i++) {
        snprintf(said[i], sizeof said[i], "[%zu]", i);
        m[n++] = (struct chat_message){.role = CHAT_TOOL, .content = said[i],
                                       .call_id = i == 40 ? NULL : i == 41 ? "unknown" : ids[i * 131 % CALLS]};
    }
    assert_int_equal(strbuf_puts(&wanted, U), ERR_OK);
    for (size_t place = 0, shown = 0; place < CALLS; place++) {
        for (size_t i = 0; i < RESULTS; i++) {
            size_t at = 0;
            for (size_t k = 0; k < CALLS && m[2 + i].call_id; k++) {
                at = calls[k].id && strcmp(calls[k].id, m[2 + i].call_id) == 0 ? k : at;
            }
            if (at == place) {
                assert_int_equal(strbuf_printf(&wanted, "%s<tool_result>%s</tool_result>", shown++ ? "\n\n" : "", said[i]), ERR_OK);
            }
        }
    }
    m[n++] = (struct chat_message){.role = CHAT_ASSISTANT, .content = "", .calls = later, .n_calls = 2};
    m[n++] = (struct chat_message){.role = CHAT_TOOL, .content = "B", .call_id = "c250"};
    m[n++] = (struct chat_message){.role = CHAT_TOOL, .content = "A", .call_id = "late"};
    struct tokenizer *t = markvocabulary_new();
    struct tokenizer_ids tokens = {0};
    struct strbuf text = {0};
    struct errinfo info = {0};
    assert_int_equal(chat_encode(t, CHAT_DEEPSEEK_V4, m, n, CHAT_NO_THINKING, &tokens, &info), ERR_OK);
    markvocabulary_read(t, &tokens, &text);
    assert_non_null(strstr(text.data, wanted.data));
    assert_non_null(strstr(text.data, U "<tool_result>A</tool_result>\n\n<tool_result>B</tool_result>"));
    strbuf_deinit(&wanted);
    strbuf_deinit(&text);
    tokenizer_ids_deinit(&tokens);
    tokenizer_free(t);
}

static void a_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    static const enum chat_format formats[] = {CHAT_DEEPSEEK_V3, CHAT_DEEPSEEK_V31, CHAT_DEEPSEEK_V32, CHAT_DEEPSEEK_V4,
                                               CHAT_QWEN25};
    const struct chat_message m[] = {
        {.role = CHAT_SYSTEM, .content = "S", .tools = weather, .n_tools = 2},
        {.role = CHAT_USER, .content = "q"},
        {.role = CHAT_ASSISTANT, .content = "c", .reasoning = "r", .calls = two_calls, .n_calls = 2},
        {.role = CHAT_TOOL, .content = "1", .call_id = "call_2"},
        {.role = CHAT_TOOL, .content = "2", .call_id = "call_1"}};
    struct tokenizer *t = markvocabulary_new();
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        size_t alive = mem_alive();
        bool done = false;
        for (size_t k = 1; !done; k++) {
            struct tokenizer_ids ids = {0};
            struct errinfo info = {0};
            mem_fault(k, 0);
            err e = chat_encode(t, formats[i], m, 5, CHAT_THINKING, &ids, &info);
            mem_fault(0, 0);
            done = e == ERR_OK;
            if (!done && (e != ERR_NOMEM || ids.len != 0 || !info.message[0])) {
                fail_msg("%s, allocation %zu: %s %s", chat_format_name(formats[i]), k, err_name(e), info.message);
            }
            tokenizer_ids_deinit(&ids);
            assert_int_equal(mem_alive(), alive);
            assert_true(k < 2000);
        }
    }
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_lays_tools_out_as_its_template),
        cmocka_unit_test(v4_calls_tools_as_its_code_has_it),
        cmocka_unit_test(v4_drops_earlier_reasoning_where_there_are_no_tools),
        cmocka_unit_test(v4_knows_reminders_tasks_and_developers),
        cmocka_unit_test(v4_is_told_how_hard_to_think),
        cmocka_unit_test(v4_is_known_by_its_vocabulary),
        cmocka_unit_test(v32_keeps_reasoning_after_the_last_question),
        cmocka_unit_test(v32_describes_tools_in_its_own_words),
        cmocka_unit_test(text_that_spells_control_tokens_stays_text),
        cmocka_unit_test(what_a_format_does_not_know_is_refused_by_name),
        cmocka_unit_test(many_results_stand_in_the_order_of_their_calls),
        cmocka_unit_test(a_failed_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Anthropic's messages over HTTP: what agents send and a tiny model cannot do, calls that are cut off, errors. */
#include "server/anthropicreply.h"
#include "server/servicefixture.h"

static struct servicefixture f, plain;

static int open_models(void **state)
{
    const struct service_options chatml = {.format = CHAT_CHATML}, smollm2 = {.format = CHAT_SMOLLM2};
    (void)state;
    servicefixture_open(&f, ENGINEFIXTURE_CHAT, &chatml);
    servicefixture_open(&plain, ENGINEFIXTURE_CHAT, &smollm2);
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    servicefixture_close(&f);
    servicefixture_close(&plain);
    return 0;
}

#define HELLO "\"model\":\"claude-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"temperature\":0"
#define TOOL(name) \
    "{\"name\":\"" name "\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"n\":{\"enum\":[1,2]}}," \
    "\"required\":[\"n\"],\"additionalProperties\":false}}"

/* Half a call is none: a tool would run without what it needs. */
static void test_a_call_that_is_cut_off_is_left_out(void **state)
{
    size_t cut = 0;
    (void)state;
    for (int tokens = 1; tokens < 160; tokens += 3) {
        char body[1000];
        int status;
        snprintf(body, sizeof body, "{" HELLO ",\"max_tokens\":%d,\"tool_choice\":{\"type\":\"any\"},\"tools\":[" TOOL("one") "]}", tokens);
        json_t *d = servicefixture_post(&f, "/v1/messages", body, &status), *block;
        size_t i;
        assert_int_equal(status, 200);
        cut += strcmp(servicefixture_text(d, "stop_reason"), "max_tokens") == 0;
        json_array_foreach(servicefixture_at(d, "content"), i, block)
        {
            if (strcmp(servicefixture_text(block, "type"), "tool_use") == 0) {
                assert_true(json_is_integer(servicefixture_at(block, "input.n")));
            }
        }
        json_decref(d);
    }
    assert_true(cut > 10);
}

/* A call's input reaches who asked as the model wrote it: digits that no integer here could hold, a name twice. */
static void test_an_input_is_passed_on_unchanged(void **state)
{
    static const char *const inputs[] = {"{\"id\": 12345678901234567890}", "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "{\"x\":1e999}", ""};
    (void)state;
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        struct strbuf out = {0};
        struct wirereply_call calls[] = {{.id = "c", .name = "f"}, {.id = "d", .name = "g", .whole = true}};
        struct wirereply_choice choice = {.calls = calls, .n_calls = 2, .finish = ANSWERING_CALLS};
        struct wirereply r = {.id = "1", .model_id = "m", .choices = &choice};
        char wanted[200];
        assert_int_equal(strbuf_puts(&choice.content, "Hm \"so\""), ERR_OK);
        assert_int_equal(strbuf_puts(&calls[1].arguments, inputs[i]), ERR_OK);
        assert_int_equal(anthropicreply_messages.whole(&r, &out), ERR_OK);
        snprintf(wanted, sizeof wanted,
                 ",\"content\":[{\"type\":\"text\",\"text\":\"Hm \\\"so\\\"\"},{\"type\":\"tool_use\",\"id\":\"d\",\"name\":\"g\","
                 "\"input\":%s}]}", *inputs[i] ? inputs[i] : "{}");
        if (!strstr(out.data, wanted)) {
            fail_msg("%s\nwanted %s", out.data, wanted);
        }
        strbuf_deinit(&out);
        strbuf_deinit(&choice.content);
        strbuf_deinit(&calls[1].arguments);
    }
}

static void listed(const struct servicefixture *where, const char *more, const char *names)
{
    char body[1000], value[1024] = "";
    snprintf(body, sizeof body, "{" HELLO ",\"max_tokens\":1%s}", more);
    struct rawclient_reply r = servicefixture_raw(where, "POST", "/v1/messages", "", body);
    const char *found = rawclient_header(&r, "X-Fathom-Ignored", value);
    if (r.status != 200 || strcmp(found ? found : "", names) != 0) {
        fail_msg("%s: %d, ignored \"%s\": %s", more, r.status, found ? found : "", r.body);
    }
    rawclient_free(&r);
}

static void test_what_agents_ask_beyond_the_model_is_listed(void **state)
{
    (void)state;
    listed(&plain, ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}", "thinking");
    listed(&plain, ",\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"high\"}", "thinking, output_config.effort");
    listed(&plain, ",\"thinking\":{\"type\":\"disabled\"}", "");
    listed(&plain, ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]", "tools[0] (web_search_20250305)");
    listed(&f, ",\"tools\":[{\"type\":\"web\\nsearch\",\"name\":\"a\"}," TOOL("one") "]", "tools[0] (web?search)");
}

static void error_is(const char *method, const char *path, const char *headers, const char *body, int status, const char *type,
                     const char *words)
{
    struct rawclient_reply r = servicefixture_raw(&plain, method, path, headers, body);
    json_t *d = servicefixture_parse(r.body, r.len);
    assert_int_equal(r.status, status);
    servicefixture_says(d, "type", "error");
    servicefixture_says(d, "error.type", type);
    if (!strstr(servicefixture_text(d, "error.message"), words)) {
        fail_msg("%s: %s", path, servicefixture_text(d, "error.message"));
    }
    json_decref(d);
    rawclient_free(&r);
}

static void test_errors_have_the_form_that_the_client_knows(void **state)
{
    static const char version[] = "anthropic-version: 2023-06-01\r\n";
    (void)state;
    error_is("POST", "/v1/messages/batches", version, "{}", 404, "not_found_error", "/v1/messages/batches");
    error_is("GET", "/v1/models/none", version, "", 404, "not_found_error", "there is no model");
    error_is("GET", "/v1/messages", version, "", 405, "invalid_request_error", "POST");
    error_is("GET", "/anthropic/v1/files", "", "", 404, "not_found_error", "/anthropic/v1/files");
    error_is("POST", "/v1/v1/messages", version, "{}", 404, "not_found_error", "base URL");
    error_is("POST", "/v1/messages", "", "{" HELLO ",\"max_tokens\":1,\"tools\":[" TOOL("one") "]}", 400, "invalid_request_error",
             "deepseek-v3.1");
    /* Of every path, wherever the error is found: in the fields, in the form, in what the model can do. */
    error_is("POST", "/v1/chat/completions", version, "{}", 400, "invalid_request_error", "messages is missing");
    error_is("POST", "/v1/chat/completions", version, "{" HELLO ",\"grammar\":\"root ::= ((\"}", 400, "invalid_request_error", "grammar");
    error_is("POST", "/v1/responses", version, "{\"input\":\"a\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\","
             "\"schema\":{\"type\":\"strange\"}}}}", 400, "invalid_request_error", "strange");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call_that_is_cut_off_is_left_out),
        cmocka_unit_test(test_an_input_is_passed_on_unchanged),
        cmocka_unit_test(test_what_agents_ask_beyond_the_model_is_listed),
        cmocka_unit_test(test_errors_have_the_form_that_the_client_knows),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}

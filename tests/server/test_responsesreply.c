/* OpenAI's responses over HTTP: what is cut off is incomplete, item by item, in documents and in streams. */
#include "server/servicefixture.h"

static struct servicefixture chat, think;

static int open_models(void **state)
{
    const struct service_options chatml = {.format = CHAT_CHATML}, v31 = {.format = CHAT_DEEPSEEK_V31};
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

#define TOOLS \
    ",\"tool_choice\":\"required\",\"tools\":[{\"type\":\"function\",\"name\":\"one\",\"parameters\":{\"type\":\"object\"," \
    "\"properties\":{\"n\":{\"enum\":[1,2]}},\"required\":[\"n\"],\"additionalProperties\":false}}]"

static json_t *ask(const struct servicefixture *f, const char *input, const char *more, int tokens)
{
    char body[1000];
    int status;
    snprintf(body, sizeof body, "{\"input\":\"%s\",\"temperature\":0,\"max_output_tokens\":%d%s}", input, tokens, more);
    json_t *d = servicefixture_post(f, "/v1/responses", body, &status);
    assert_int_equal(status, 200);
    return d;
}

/* The response that the stream ends with. */
static json_t *ask_stream(const struct servicefixture *f, const char *input, const char *more, int tokens)
{
    char body[1000];
    snprintf(body, sizeof body, "{\"input\":\"%s\",\"temperature\":0,\"max_output_tokens\":%d%s,\"stream\":true}", input, tokens, more);
    struct rawclient_reply r = servicefixture_raw(f, "POST", "/v1/responses", "", body);
    assert_int_equal(r.status, 200);
    const char *at = NULL, *next = r.body;
    while ((next = strstr(next, "data: "))) {
        at = next += 6;
    }
    assert_non_null(at);
    json_t *event = servicefixture_parse(at, strcspn(at, "\n"));
    json_t *response = json_incref(json_object_get(event, "response"));
    json_decref(event);
    rawclient_free(&r);
    return response;
}

/* The last item is as the response is; those before it are whole, and so is a call that says so. */
static void items_are(const json_t *d)
{
    const json_t *output = servicefixture_at(d, "output");
    size_t n = json_array_size(output);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(output, i);
        bool call = strcmp(servicefixture_text(item, "type"), "function_call") == 0;
        bool whole = strcmp(servicefixture_text(item, "status"), "completed") == 0;
        if (i + 1 < n) {
            assert_true(whole);
        } else if (!call) {
            servicefixture_says(item, "status", servicefixture_text(d, "status"));
        }
        if (call) {
            json_t *arguments = json_loads(servicefixture_text(item, "arguments"), 0, NULL);
            assert_true(!whole || json_is_integer(json_object_get(arguments, "n")));
            assert_true(whole || strcmp(servicefixture_text(d, "status"), "incomplete") == 0);
            json_decref(arguments);
        }
    }
}

/* The text that a list of tokens makes; free. */
static char *spelt(const json_t *tokens)
{
    char *text = calloc(json_array_size(tokens) * 8 + 1, 1);
    size_t i, k;
    json_t *token, *byte;
    json_array_foreach((json_t *)tokens, i, token)
    {
        assert_int_equal(json_array_size(json_object_get(token, "top_logprobs")), 2);
        json_array_foreach(json_object_get(token, "bytes"), k, byte)
        {
            text[strlen(text)] = (char)json_integer_value(byte);
        }
    }
    return text;
}

/* In a document and at the end of a stream: those of the message, and not of the thoughts before it. */
static void test_probabilities_are_those_of_the_text(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        json_t *d = (stream ? ask_stream : ask)(&think, "sum", ",\"top_logprobs\":2", 100);
        const json_t *part = servicefixture_at(d, "output.1.content.0");
        char *text = spelt(json_object_get(part, "logprobs"));
        assert_string_equal(text, "</think>It is 5."); /* with the token that ended the thoughts */
        servicefixture_says(part, "text", "It is 5.");
        free(text);
        json_decref(d);
        d = (stream ? ask_stream : ask)(&think, "sum", "", 100);
        assert_int_equal(json_array_size(servicefixture_at(d, "output.1.content.0.logprobs")), 0);
        json_decref(d);
    }
}

static void test_what_is_cut_off_is_incomplete(void **state)
{
    size_t halves = 0;
    (void)state;
    for (int tokens = 1; tokens < 160; tokens += 3) {
        for (int stream = 0; stream < 2; stream++) {
            json_t *(*how)(const struct servicefixture *, const char *, const char *, int) = stream ? ask_stream : ask;
            json_t *call = how(&chat, "hello", TOOLS, tokens);
            items_are(call);
            halves += strcmp(servicefixture_text(call, "output.0.status"), "incomplete") == 0;
            json_decref(call);
            json_t *text = how(&chat, "hello", "", tokens % 40 + 1), *thoughts = how(&think, "sum", "", tokens % 60 + 1);
            items_are(text);
            items_are(thoughts);
            json_decref(text);
            json_decref(thoughts);
        }
    }
    assert_true(halves > 3);
}

static void test_numbers_are_as_they_were_asked(void **state)
{
    (void)state;
    struct rawclient_reply r = servicefixture_raw(&chat, "POST", "/v1/responses", "",
                                                  "{\"input\":\"a\",\"temperature\":0.6,\"top_p\":0.95,\"max_output_tokens\":1}");
    assert_non_null(strstr(r.body, "\"temperature\":0.6,"));
    assert_non_null(strstr(r.body, "\"top_p\":0.95,"));
    rawclient_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_cut_off_is_incomplete),
        cmocka_unit_test(test_probabilities_are_those_of_the_text),
        cmocka_unit_test(test_numbers_are_as_they_were_asked),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}

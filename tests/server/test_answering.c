/* Answers to questions over HTTP, from a tiny model: those that have begun already. */
#include "server/servicefixture.h"

static struct servicefixture f;

static int open_model(void **state)
{
    const struct service_options o = {.format = CHAT_CHATML};
    (void)state;
    servicefixture_open(&f, ENGINEFIXTURE_CHAT, &o);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    servicefixture_close(&f);
    return 0;
}

/* What an answer is given to begin with belongs to it: the whole keeps to the form. */
static void test_a_beginning_and_the_rest_are_one_form(void **state)
{
#define INTEGER "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"maximum\":99,\"minimum\":0}},\"required\":[\"a\"]}"
#define BEGUN(text) \
    "\"model\":\"default\",\"temperature\":2,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}," \
    "{\"role\":\"assistant\",\"content\":\"" text "\""
#define SCHEMA "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":" INTEGER "}}"
    static const char beta[] = "/beta/chat/completions", messages[] = "/v1/messages";
    static const struct {
        const char *path, *body, *at, *before;
    } rows[] = {
        {beta, "{" BEGUN("{\\\"a\\\":") ",\"prefix\":true}],\"n\":1," SCHEMA "}", "choices.0.message.content", "{\"a\":"},
        {beta, "{" BEGUN("{\\\"a\\\": 1") ",\"prefix\":true}]," SCHEMA "}", "choices.0.message.content", "{\"a\": 1"},
        {messages, "{" BEGUN("{\\\"a\\\":") "}],\"max_tokens\":60,\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":" INTEGER "}}}",
         "content.0.text", "{\"a\":"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char whole[300];
        int status;
        json_t *d = servicefixture_post(&f, rows[i].path, rows[i].body, &status);
        assert_int_equal(status, 200);
        snprintf(whole, sizeof whole, "%s%s", rows[i].before, servicefixture_text(d, rows[i].at));
        json_t *said = servicefixture_parse(whole, strlen(whole));
        assert_true(json_is_integer(servicefixture_at(said, "a")) && json_object_size(said) == 1);
        json_decref(said);
        json_decref(d);
    }
    int status;
    json_t *d = servicefixture_post(&f, beta, "{" BEGUN("{\\\"a\\\": 12}") ",\"prefix\":true}]," SCHEMA "}", &status);
    assert_int_equal(status, 200); /* it is whole already */
    servicefixture_says(d, "choices.0.message.content", "");
    json_decref(d);
    d = servicefixture_post(&f, beta, "{" BEGUN("Sure: {") ",\"prefix\":true}]," SCHEMA "}", &status);
    assert_int_equal(status, 400);
    servicefixture_says(d, "error.param", "response_format");
    assert_non_null(strstr(servicefixture_text(d, "error.message"), "Sure"));
    json_decref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_beginning_and_the_rest_are_one_form)};
    return cmocka_run_group_tests(tests, open_model, close_model);
}

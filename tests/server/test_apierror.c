/* Errors of the API: which status each failure below has, and their documents in both formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "server/apierror.h"

static void test_failures_of_lower_layers_have_a_status(void **state)
{
    static const struct {
        err code;
        unsigned status;
        bool retry;
    } rows[] = {{ERR_CONTEXT, 400, false},     {ERR_ARGUMENT, 400, false}, {ERR_CORRUPT, 500, false},
                {ERR_UNSUPPORTED, 400, false}, {ERR_NOTFOUND, 404, false}, {ERR_LIMIT, 400, false},     {ERR_BUSY, 429, true},
                {ERR_NOMEM, 503, true},        {ERR_IO, 500, false},       {ERR_CANCELLED, 500, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct errinfo info = {0};
        struct apierror e = {.retry_after = 99};
        err_set(&info, rows[i].code, "what was found");
        assert_false(apierror_from(&e, rows[i].code, &info));
        assert_int_equal(e.status, rows[i].status);
        assert_int_equal(e.retry_after > 0, rows[i].retry);
        assert_string_equal(e.message, "what was found");
    }
}

static json_t *document(const struct apierror *e, bool anthropic)
{
    struct strbuf out = {0};
    json_t *d = NULL;
    assert_int_equal(apierror_text(e, anthropic, &out), ERR_OK);
    assert_int_equal(json_parse(out.data, out.len, "error", &d, NULL), ERR_OK);
    strbuf_deinit(&out);
    return d;
}

static void test_documents(void **state)
{
    struct apierror e;
    (void)state;
    apierror_set(&e, 422, "out_of_range", "n", "n is %d", 9);
    json_t *d = document(&e, false), *inner = json_object_get(d, "error");
    assert_string_equal(json_string_value(json_object_get(inner, "message")), "n is 9");
    assert_string_equal(json_string_value(json_object_get(inner, "type")), "invalid_request_error");
    assert_string_equal(json_string_value(json_object_get(inner, "param")), "n");
    assert_string_equal(json_string_value(json_object_get(inner, "code")), "out_of_range");
    json_decref(d);
    d = document(&e, true);
    assert_string_equal(json_string_value(json_object_get(d, "type")), "error");
    assert_int_equal(json_object_size(json_object_get(d, "error")), 2);
    json_decref(d);
    apierror_set(&e, 402, "insufficient_balance", NULL, "nothing left");
    d = document(&e, true); /* Anthropic's name for it */
    assert_string_equal(json_string_value(json_object_get(json_object_get(d, "error"), "type")), "billing_error");
    json_decref(d);
    apierror_set(&e, 404, NULL, NULL, "nothing"); /* what is not said is null, not absent */
    d = document(&e, false);
    inner = json_object_get(d, "error");
    assert_true(json_is_null(json_object_get(inner, "param")) && json_is_null(json_object_get(inner, "code")));
    json_decref(d);
}

/* Names and values out of requests are quoted, however long and however broken. */
static void test_what_is_quoted_breaks_nothing(void **state)
{
    char text[5000];
    struct apierror e;
    (void)state;
    for (size_t cut = 0; cut < 4; cut++) {
        for (size_t i = cut, n = 0; i + 3 < sizeof text; i += 3, n++) {
            memcpy(text + i, n % 3 ? "\xe4\xbd\xa0" : "\x80\n\"", 3);
        }
        memset(text, 'a', cut);
        text[sizeof text - 3] = '\0';
        apierror_set(&e, 400, "x", text, "%s is \"%.7s\"", text, text);
        json_decref(document(&e, false));
        json_decref(document(&e, true));
    }
}

static void test_types_are_those_that_clients_know(void **state)
{
    static const struct {
        unsigned status;
        const char *type;
    } rows[] = {{400, "invalid_request_error"}, {401, "authentication_error"}, {402, "insufficient_balance"},
                {403, "permission_error"},      {404, "not_found_error"},      {405, "invalid_request_error"},
                {413, "request_too_large"},     {422, "invalid_request_error"}, {429, "rate_limit_error"},
                {500, "api_error"},             {503, "overloaded_error"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(apierror_type(rows[i].status), rows[i].type);
    }
}

static void test_a_document_that_finds_no_memory_says_so(void **state)
{
    struct apierror e;
    (void)state;
    apierror_set(&e, 400, "x", "y", "z");
    for (size_t k = 1;; k++) {
        struct strbuf out = {0};
        size_t alive = mem_alive();
        mem_fault(k, 0);
        err result = apierror_text(&e, false, &out);
        bool failed = mem_attempts() >= k;
        mem_fault(0, 0);
        assert_true(result == ERR_OK || (result == ERR_NOMEM && out.len == 0));
        strbuf_deinit(&out);
        assert_int_equal(mem_alive(), alive);
        if (!failed) {
            break;
        }
        assert_int_equal(result, ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_of_lower_layers_have_a_status),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_what_is_quoted_breaks_nothing),
        cmocka_unit_test(test_types_are_those_that_clients_know),
        cmocka_unit_test(test_a_document_that_finds_no_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

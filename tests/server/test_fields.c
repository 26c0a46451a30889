/* Fields of requests: a generator walks a table of all types with values inside, at, and over every edge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/fields.h"

struct values {
    bool flag;
    int64_t whole, any_whole;
    double number, any_number;
    const char *text, *any_text, *name;
    int word;
    const json_t *list, *object, *any;
};

static const char *const words[] = {"low", "high", NULL};
#define AT(field) offsetof(struct values, field)
static const struct fields_row rows[] = {
    {"flag", .type = FIELDS_BOOL, .offset = AT(flag)},
    {"whole", .type = FIELDS_INT, .offset = AT(whole), .min = -3, .max = 20},
    {"any_whole", .type = FIELDS_INT, .offset = AT(any_whole)},
    {"number", .type = FIELDS_NUMBER, .offset = AT(number), .min = -0.5, .max = 2},
    {"any_number", .type = FIELDS_NUMBER, .offset = AT(any_number)},
    {"text", .type = FIELDS_STRING, .offset = AT(text), .max = 8},
    {"any_text", .type = FIELDS_STRING, .offset = AT(any_text)},
    {"word", .type = FIELDS_WORD, .offset = AT(word), .words = words},
    {"list", .type = FIELDS_ARRAY, .offset = AT(list), .min = 1, .max = 3},
    {"object", .type = FIELDS_OBJECT, .offset = AT(object)},
    {"any", .type = FIELDS_ANY, .offset = AT(any)},
    {"ignored", .type = FIELDS_IGNORED},
    {"refused", .type = FIELDS_REFUSED, .why = "there is none here"},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* Which types take which of these: a letter for each row, in order; '-' 400, '!' 422, '+' taken. */
static const struct {
    const char *json, taken[ROWS + 1];
} samples[] = {
    /* flag whole any_whole number any_number text any_text word list object any ignored refused */
    {"true", "+---------++-"},
    {"false", "+---------+++"},
    {"0", "-++++-----++-"},
    {"-0.0", "-++++-----++-"},
    {"3.0", "-++!+-----++-"},
    {"0.5", "---++-----++-"},
    {"9007199254740992", "-!+!+-----++-"},
    {"9223372036854775807", "-!+!+-----++-"},
    {"-9223372036854775808", "-!+!+-----++-"},
    {"1e300", "---!+-----++-"},
    {"\"\"", "-----++!--+++"},
    {"\"low\"", "-----+++--++-"},
    {"\"12345678\"", "-----++!--++-"},
    {"\"123456789\"", "-----!+!--++-"},
    {"\"NaN\"", "-----++!--++-"},
    {"[]", "--------!-+++"},
    {"[1]", "--------+-++-"},
    {"[1,2,3]", "--------+-++-"},
    {"[1,2,3,4]", "--------!-++-"},
    {"{}", "---------++++"},
    {"{\"a\":{}}", "---------+++-"},
};

static bool read_one(const char *name, const char *json, struct values *v, struct apierror *e)
{
    char text[2000];
    json_t *document = NULL;
    struct strbuf unknown = {0};
    snprintf(text, sizeof text, "{\"%s\":%s}", name, json);
    *e = (struct apierror){0};
    assert_int_equal(json_parse(text, strlen(text), "test", &document, NULL), ERR_OK);
    bool good = fields_read(&FIELDS_OF(rows), document, "", v, &unknown, e);
    assert_int_equal(good, e->status == 0);
    assert_true(good || (strcmp(e->param, name) == 0 && strstr(e->message, name)));
    strbuf_deinit(&unknown);
    json_decref(document);
    return good;
}

static void test_every_type_takes_what_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        for (size_t r = 0; r < ROWS; r++) {
            struct values v = {0};
            struct apierror e;
            char expected = samples[i].taken[r];
            read_one(rows[r].name, samples[i].json, &v, &e);
            char found = e.status == 0 ? '+' : e.status == 422 ? '!' : e.status == 400 ? '-' : '?';
            if (found != expected) {
                fail_msg("%s: %s → %u %s, expected %c", rows[r].name, samples[i].json, e.status, e.message, expected);
            }
        }
    }
}

static void test_edges_of_every_range(void **state)
{
    (void)state;
    for (size_t r = 0; r < ROWS; r++) {
        bool whole = rows[r].type == FIELDS_INT;
        if ((!whole && rows[r].type != FIELDS_NUMBER) || (rows[r].min == 0 && rows[r].max == 0)) {
            continue;
        }
        double step = whole ? 1 : 1e-9;
        for (int k = -1; k <= 1; k++) {
            struct values v = {0};
            struct apierror e;
            char low[40], high[40];
            snprintf(low, sizeof low, "%.12f", rows[r].min + k * step);
            snprintf(high, sizeof high, "%.12f", rows[r].max - k * step);
            assert_int_equal(read_one(rows[r].name, low, &v, &e), k >= 0);
            assert_true(k >= 0 || e.status == 422);
            assert_int_equal(read_one(rows[r].name, high, &v, &e), k >= 0);
            assert_true(k >= 0 || e.status == 422);
        }
    }
}

static void test_values_arrive(void **state)
{
    static const char text[] =
        "{\"flag\":true,\"whole\":3.0,\"any_whole\":-9223372036854775807,\"number\":1.5,\"any_number\":7,\"text\":\"t\","
        "\"any_text\":null,\"word\":\"high\",\"list\":[1,2],\"object\":{},\"any\":false,\"refused\":null}";
    struct values v = {.any_text = "as it was"};
    struct apierror e = {0};
    json_t *d = NULL;
    (void)state;
    assert_int_equal(json_parse(text, strlen(text), "test", &d, NULL), ERR_OK);
    assert_true(fields_read(&FIELDS_OF(rows), d, "", &v, NULL, &e));
    assert_true(v.flag && v.whole == 3 && v.any_whole == -INT64_MAX && v.number == 1.5 && v.any_number == 7);
    assert_string_equal(v.text, "t");
    assert_string_equal(v.any_text, "as it was");
    assert_true(v.word == 1 && json_array_size(v.list) == 2 && json_is_object(v.object) && json_is_false(v.any));
    json_decref(d);
}

static void test_unknown_and_ignored_fields_are_named(void **state)
{
    static const char text[] = "{\"zeal\":1,\"absent\":null,\"ignored\":2,\"a\\nb\":3}";
    struct values v = {0};
    struct strbuf unknown = {0};
    struct apierror e = {0};
    json_t *d = NULL;
    (void)state;
    assert_int_equal(json_parse(text, strlen(text), "test", &d, NULL), ERR_OK);
    assert_true(fields_read(&FIELDS_OF(rows), d, "m[1]", &v, &unknown, &e));
    assert_string_equal(unknown.data, "m[1].zeal, m[1].ignored, m[1].a?b");
    assert_false(fields_read(&FIELDS_OF(rows), d, "", &v, NULL, &e));
    assert_int_equal(e.status, 400);
    assert_string_equal(e.param, "zeal");
    strbuf_deinit(&unknown);
    json_decref(d);
    d = json_object();
    for (int i = 0; i < 10000; i++) {
        char name[32];
        snprintf(name, sizeof name, "unknown-%d", i);
        json_object_set_new(d, name, json_true());
    }
    assert_true(fields_read(&FIELDS_OF(rows), d, "", &v, &unknown, &e));
    assert_true(unknown.len < 1300); /* it becomes a header */
    assert_string_equal(unknown.data + unknown.len - 5, ", ...");
    strbuf_deinit(&unknown);
    json_decref(d);
}

static void test_what_is_required_is_asked_for(void **state)
{
    static const struct fields_row must[] = {
        {"name", .type = FIELDS_STRING, .offset = AT(name), .required = true}};
    static const char *const texts[] = {"{}", "{\"name\":null}", "{\"nam\":\"x\"}"};
    struct values v = {0};
    struct apierror e = {0};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct strbuf unknown = {0};
        json_t *d = NULL;
        assert_int_equal(json_parse(texts[i], strlen(texts[i]), "test", &d, NULL), ERR_OK);
        assert_false(fields_read(&FIELDS_OF(must), d, "tools[0]", &v, &unknown, &e));
        assert_int_equal(e.status, 400);
        assert_string_equal(e.param, "tools[0].name");
        strbuf_deinit(&unknown);
        json_decref(d);
    }
    json_t *list = json_array();
    assert_false(fields_read(&FIELDS_OF(must), list, "", &v, NULL, &e));
    assert_false(fields_read(&FIELDS_OF(must), NULL, "tools[1].function", &v, NULL, &e));
    assert_string_equal(e.param, "tools[1].function");
    json_decref(list);
}

static void test_paths_are_cut_not_overrun(void **state)
{
    char path[FIELDS_PATH], name[1000];
    struct values v = {0};
    struct apierror e;
    (void)state;
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_true(strlen(fields_item(path, name, SIZE_MAX)) < FIELDS_PATH);
    assert_true(strlen(fields_path(path, name, name)) < FIELDS_PATH);
    assert_string_equal(fields_item(path, "messages", 2), "messages[2]");
    char text[3000], cut[] = "\xe4\xbd\xa0"; /* long words of three bytes each, cut anywhere */
    size_t n = 0;
    for (int i = 0; i < 300; i++) {
        n += (size_t)sprintf(text + n, "%s%s", i ? "" : "\"", cut);
    }
    strcpy(text + n, "\"");
    json_t *d = json_object();
    json_object_set_new(d, "word", json_string(text));
    assert_false(fields_read(&FIELDS_OF(rows), d, "", &v, NULL, &e));
    struct strbuf reply = {0};
    assert_int_equal(apierror_text(&e, false, &reply), ERR_OK);
    strbuf_deinit(&reply);
    json_decref(d);
}

static void test_people_are_told_bounds_that_mean_something(void **state)
{
    (void)state;
    static const struct fields_row endless[] = {
        {"whole", .type = FIELDS_INT, .offset = AT(whole), .min = 1, .max = 0x1p40}};
    const struct {
        const char *json, *says;
    } bad[] = {{"{\"whole\":0}", "whole is 0; expected 1 or more"},
               {"{\"whole\":2199023255552}", "whole is 2199023255552; expected 1 to 1099511627776"}};
    for (size_t i = 0; i < 2; i++) {
        struct values v = {0};
        struct apierror e = {0};
        json_t *d = json_loads(bad[i].json, 0, NULL);
        assert_false(fields_read(&FIELDS_OF(endless), d, "", &v, NULL, &e));
        assert_string_equal(e.message, bad[i].says);
        json_decref(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_takes_what_it_should),
        cmocka_unit_test(test_edges_of_every_range),
        cmocka_unit_test(test_people_are_told_bounds_that_mean_something),
        cmocka_unit_test(test_values_arrive),
        cmocka_unit_test(test_unknown_and_ignored_fields_are_named),
        cmocka_unit_test(test_what_is_required_is_asked_for),
        cmocka_unit_test(test_paths_are_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

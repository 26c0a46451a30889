/* JSON schemas as grammars: what matches is valid, what is not supported is refused by name and place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fault/faultsweep.h"
#include "text/grammarstates.h"
#include "text/schemagrammar.h"

static void must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fail_msg("%s", info->message);
    }
}

static json_t *schema_of(const char *text)
{
    struct errinfo info = {0};
    json_t *schema = NULL;
    must(json_parse(text, strlen(text), "schema", &schema, &info), &info);
    return schema;
}

static bool matches(const struct grammar *g, const char *text)
{
    struct errinfo info = {0};
    struct grammarstates *s = NULL;
    must(grammarstates_new(g, &s, &info), &info);
    uint32_t at = grammarstates_start(s);
    for (; *text; text++) {
        must(grammarstates_next(s, at, (uint8_t)*text, &at, &info), &info);
    }
    bool yes = grammarstates_may_end(s, at);
    grammarstates_free(s);
    return yes;
}

static void values_match_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *yes[7], *no[8];
    } cases[] = {
        {"{}", {"1", "\"x\"", "null", "[]", "{\"a\": [1, 2]}", "[1,\n  2]", "-1.5e+10"}, {"", " 1", "01", "[1,]", "{a:1}", "[  ]", "\"\n\""}},
        {"{\"type\":\"object\"}", {"{}", "{ }", "{\"a\":{\"b\":[]}}"}, {"[]", "1", "{\"a\"}", "{\"a\":1,}"}},
        {"{\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}},\"required\":[\"b\"]}",
         {"{\"a\":1,\"b\":\"\"}", "{\"b\":\"x\"}", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"},
         {"{}", "{\"a\":1}", "{\"b\":\"\",\"a\":1}", "{\"a\":\"x\",\"b\":\"\"}", "{\"b\":\"\",\"c\":1}"}},
        {"{\"properties\":{\"a\":{},\"ab\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"boolean\"}}",
         {"{}", "{\"b\":true}", "{\"a\":1,\"abc\":true,\"c\":false}", "{\"\":true}", "{\"ab\":null,\"x\":true}"},
         {"{\"c\":true,\"a\":true}", "{\"c\":true,\"ab\":true}", "{\"c\":1}", "{\"\\u0061\":true}"}},
        {"{\"properties\":{\"a\":{}},\"required\":[\"z\"],\"additionalProperties\":true}",
         {"{\"z\":1}", "{\"a\":1,\"z\":2,\"y\":3}"}, {"{}", "{\"a\":1}", "{\"y\":1}"}},
        {"{\"properties\":{\"a\":false,\"b\":{}},\"additionalProperties\":true}", {"{}", "{\"b\":1,\"c\":2}"}, {"{\"a\":1}", "{\"c\":1,\"a\":1}"}},
        {"{\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}", {"[1]", "[1, 2,3]"}, {"[]", "[1,2,3,4]", "[\"\"]"}},
        {"{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"null\"}],\"items\":{\"type\":\"string\"},\"minItems\":1}",
         {"[1]", "[1,null]", "[1,null,\"a\",\"b\"]"}, {"[]", "[null]", "[1,\"a\"]"}},
        {"{\"prefixItems\":[{\"type\":\"integer\"}]}", {"[]", "[1]"}, {"[1,2]"}},
        {"{\"enum\":[1,\"a\\n\",0.1,null,{\"k\":[]}]}", {"1", "\"a\\n\"", "0.1", "null", "{\"k\":[]}"}, {"2", "\"a\"", "{}"}},
        {"{\"type\":\"string\",\"enum\":[\"a\",1]}", {"\"a\""}, {"1"}},
        {"{\"type\":\"string\"}", {"\"\\u0001\"", "\"\\u0010\\u0100\\u1000\\u0abc\"", "\"\\uD7ff\""}, {"\"\\u0000\"", "\"\\ud800\""}},
        {"{\"oneOf\":[{\"const\":[1]},{\"const\":[1.5]},{\"const\":{\"a\":1}},{\"const\":{\"a\":2}},{\"const\":3}]}",
         {"[1]", "[1.5]", "{\"a\":1}", "{\"a\":2}", "3"}, {"[2]"}},
        {"{\"enum\":[[1.0],2],\"const\":[1]}", {"[1.0]"}, {"2"}},
        {"{\"allOf\":[{\"enum\":[[1.0],2]},{\"enum\":[2.0,[1]]}]}", {"[1.0]", "2"}, {"3"}},
        {"{\"type\":\"integer\",\"enum\":[1e20,0.5]}", {"1e20"}, {"0.5"}},
        {"{\"$id\":\"http://e/e\",\"$defs\":{\"n\":{\"type\":\"null\"}},\"allOf\":[{\"items\":{\"$ref\":\"#/$defs/n\"},\"maxItems\":1}],"
         "\"type\":\"array\"}", {"[null]"}, {"[1]"}},
        {"{\"type\":\"object\",\"properties\":{\"$id\":{\"type\":\"null\"}},\"required\":[\"$id\"]}", {"{\"$id\":null}"}, {"{}"}},
        {"{\"const\":\"\\u00e9\"}", {"\"é\""}, {"\"e\""}},
        {"{\"type\":[\"integer\",\"null\"]}", {"1", "null", "-5"}, {"1.5", "\"\""}},
        {"{\"anyOf\":[{\"type\":\"boolean\"},{\"type\":\"integer\",\"maximum\":3}]}", {"true", "3", "-7"}, {"4"}},
        {"{\"properties\":{\"a\":{},\"b\":{}},\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
         {"{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":1}"}, {"{}"}},
        {"{\"oneOf\":[{\"properties\":{\"t\":{\"const\":1}},\"required\":[\"t\"],\"type\":\"object\"},"
         "{\"properties\":{\"t\":{\"const\":\"b\"}},\"required\":[\"t\"],\"type\":\"object\"}]}", {"{\"t\":1}", "{\"t\":\"b\"}"}, {"{\"t\":2}"}},
        {"{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},"
         "{\"properties\":{\"b\":{},\"a\":{\"minimum\":5}},\"required\":[\"b\"]}]}", {"{\"a\":5,\"b\":1}"}, {"{\"a\":4,\"b\":1}", "{\"a\":5}"}},
        {"{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{\"$ref\":\"#/$defs/n\"}},\"required\":[\"v\"]}}}",
         {"{\"v\":1}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3}}}"}, {"{}", "{\"v\":1,\"next\":{}}"}},
        {"{\"properties\":{\"a/~\":{\"type\":\"null\"},\"b\":{\"$ref\":\"#/properties/a~1~0\"}}}", {"{\"b\":null}"}, {"{\"b\":1}"}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", {"\"ab\"", "\"漢字漢\"", "\"\\n\\u00e9\""}, {"\"a\"", "\"abcd\"", "\"\\ud83d\\ude00x\""}},
        {"{\"pattern\":\"^[a-c]{2}(x|\\\\d+)$\"}", {"\"abx\"", "\"cc0123\""}, {"\"abc\"", "\"ab\"", "\"abx1\""}},
        {"{\"pattern\":\"^[^a]\\\"\\\\\\\\.$\"}", {"\"b\\\"\\\\é\"", "\"\\n\\\"\\\\x\""}, {"\"a\\\"\\\\x\"", "\"b\"\\\\x\"", "\"b\\\"\\\\\\n\""}},
        {"{\"format\":\"date\"}", {"\"2024-02-29\"", "\"2000-02-29\"", "\"2023-12-31\""},
         {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\"", "\"0000-01-01\"", "\"2024-13-01\""}},
        {"{\"format\":\"date-time\"}", {"\"2024-01-01T00:00:00Z\"", "\"2024-01-01T23:59:59.123+05:30\""}, {"\"2024-01-01\"", "\"2024-01-01T24:00:00Z\""}},
        {"{\"format\":\"uuid\"}", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123e4567e89b12d3a456426614174000\""}},
        {"{\"format\":\"ipv4\"}", {"\"0.0.0.0\"", "\"255.249.199.9\""}, {"\"256.1.1.1\"", "\"01.1.1.1\"", "\"1.1.1\""}},
        {"{\"format\":\"ipv6\"}", {"\"::\"", "\"::1\"", "\"fe80::1:2\"", "\"1:2:3:4:5:6:7:8\"", "\"1::\""}, {"\":::\"", "\"1:2:3\"", "\"1::2::3\""}},
        {"{\"format\":\"email\"}", {"\"a.b+c@x-y.example.org\""}, {"\"a@b\"", "\"@b.c\"", "\"a.@b.c\""}},
        {"{\"format\":\"email\",\"minLength\":5,\"maxLength\":239}", {"\"a@b.c\""}, {"\"\""}},
        {"{\"format\":\"uuid\",\"minLength\":1}", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"1\""}},
        {"{\"format\":\"hostname\",\"minLength\":1,\"maxLength\":223}", {"\"a\""}, {"\"\""}},
        {"{\"format\":\"ipv4\",\"minLength\":7,\"maxLength\":15}", {"\"1.1.1.1\"", "\"255.255.255.255\""}, {"\"1\""}},
        {"{\"format\":\"ipv6\",\"minLength\":2,\"maxLength\":39}", {"\"::\"", "\"1111:2222:3333:4444:5555:6666:7777:8888\""}, {"\"1\""}},
        {"{\"format\":\"time\",\"minLength\":9,\"maxLength\":21}", {"\"00:00:00Z\"", "\"00:00:00.123456+01:00\""}, {"\"1\""}},
        {"{\"type\":\"integer\",\"minimum\":-12,\"maximum\":105}", {"-12", "-9", "0", "99", "105"}, {"-13", "106", "-0", "007", "1.0"}},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":2,\"maximum\":2.5e1}", {"3", "25"}, {"2", "26"}},
        {"{\"type\":\"integer\",\"minimum\":7}", {"7", "10", "9999999999999999"}, {"6", "-8"}},
        {"{\"type\":\"number\",\"minimum\":0,\"exclusiveMaximum\":2}", {"0", "0.5", "1.999999", "1"}, {"2", "-0.1", "2.0"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":-1,\"maximum\":1}", {"-0.5", "0", "1"}, {"-1", "1.1", "-1.0"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errinfo info = {0};
        struct grammar *g = NULL;
        json_t *schema = schema_of(cases[i].schema);
        must(schemagrammar_new(schema, &g, &info), &info);
        for (int k = 0; k < 7 && cases[i].yes[k]; k++) {
            if (!matches(g, cases[i].yes[k])) {
                fail_msg("%s does not match %s", cases[i].schema, cases[i].yes[k]);
            }
        }
        for (int k = 0; k < 8 && cases[i].no[k]; k++) {
            if (matches(g, cases[i].no[k])) {
                fail_msg("%s matches %s", cases[i].schema, cases[i].no[k]);
            }
        }
        grammar_free(g);
        json_decref(schema);
    }
}

static void without_a_schema_any_object_matches(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct grammar *g = NULL;
    must(schemagrammar_new(NULL, &g, &info), &info);
    assert_true(matches(g, "{\"a\": [1, {\"b\": null}]}"));
    assert_false(matches(g, "[]"));
    assert_false(matches(g, "{\"a\":   1}"));
    grammar_free(g);
}

static void what_is_not_supported_is_refused_by_name_and_place(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        err code;
        const char *message;
    } cases[] = {
        {"{\"properties\":{\"a/b\":{\"items\":{\"multipleOf\":3}}}}", ERR_UNSUPPORTED, "at #/properties/a~1b/items: \"multipleOf\" is not supported"},
        {"{\"patternProperties\":{}}", ERR_UNSUPPORTED, "at #: \"patternProperties\""},
        {"{\"not\":{}}", ERR_UNSUPPORTED, "\"not\" is not supported"},
        {"{\"uniqueItems\":true}", ERR_UNSUPPORTED, "\"uniqueItems\" is not supported"},
        {"{\"maxLenght\":3}", ERR_UNSUPPORTED, "\"maxLenght\" is not supported"},
        {"{\"format\":\"uri\"}", ERR_UNSUPPORTED, "\"format\": uri is not supported"},
        {"{\"pattern\":\"a\"}", ERR_UNSUPPORTED, "does not begin with ^ and end with $"},
        {"{\"pattern\":\"^a\\\\$\"}", ERR_UNSUPPORTED, "does not begin with ^ and end with $"},
        {"{\"pattern\":\"^a|b$\"}", ERR_UNSUPPORTED, "with | outside of parentheses"},
        {"{\"pattern\":\"^(?=a)b$\"}", ERR_UNSUPPORTED, "\"pattern\", character 3: (? other than (?: is not supported"},
        {"{\"pattern\":\"^(a$\"}", ERR_UNSUPPORTED, "a group without )"},
        {"{\"pattern\":\"^a)$\"}", ERR_UNSUPPORTED, "a ) without ("},
        {"{\"pattern\":\"^[a$\"}", ERR_UNSUPPORTED, "without ]"},
        {"{\"pattern\":\"^a{1$\"}", ERR_UNSUPPORTED, "{ without a number and }"},
        {"{\"pattern\":\"^a++$\"}", ERR_UNSUPPORTED, "what repeats a repetition"},
        {"{\"pattern\":\"^\\\\bx$\"}", ERR_UNSUPPORTED, "this escape"},
        {"{\"pattern\":\"^a$\",\"maxLength\":3}", ERR_UNSUPPORTED, "\"pattern\" beside \"maxLength\""},
        {"{\"minLength\":3,\"maxLength\":2}", ERR_ARGUMENT, "\"minLength\" 3 is above \"maxLength\" 2"},
        {"{\"maxLength\":100000}", ERR_LIMIT, "\"maxLength\" is over 65536"},
        {"{\"maxItems\":-1}", ERR_ARGUMENT, "\"maxItems\" is an integer; expected a count"},
        {"{\"type\":\"number\",\"minimum\":0.5}", ERR_UNSUPPORTED, "\"minimum\" of 0.5 is not supported"},
        {"{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", ERR_ARGUMENT, "no number is between its bounds"},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", ERR_UNSUPPORTED, "schemas 0 and 1 of \"oneOf\""},
        {"{\"oneOf\":[{\"enum\":[[1]]},{\"const\":[1.0]}]}", ERR_UNSUPPORTED, "schemas 0 and 1 of \"oneOf\""},
        {"{\"oneOf\":[{\"const\":{\"a\":[0]}},{\"const\":{\"a\":[-0.0]}}]}", ERR_UNSUPPORTED, "schemas 0 and 1 of \"oneOf\""},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"const\":1e20}]}", ERR_UNSUPPORTED, "schemas 0 and 1 of \"oneOf\""},
        {"{\"$defs\":{\"e\":{\"$id\":\"http://e/e\",\"type\":\"null\"}},\"$ref\":\"#/$defs/e\"}", ERR_UNSUPPORTED, "\"$id\" below the root"},
        {"{\"$defs\":{\"e\":{\"$id\":\"e\",\"$defs\":{\"n\":{}}}},\"$ref\":\"#/$defs/e/$defs/n\"}", ERR_UNSUPPORTED, "\"$id\" below the root"},
        {"{\"properties\":{\"a\":{\"$id\":\"e\",\"type\":\"null\"}}}", ERR_UNSUPPORTED, "at #/properties/a: \"$id\" below the root"},
        {"{\"allOf\":[{\"$id\":\"e\",\"type\":\"null\"}]}", ERR_UNSUPPORTED, "\"$id\" below the root"},
        {"{\"anyOf\":[]}", ERR_ARGUMENT, "\"anyOf\" is an empty list"},
        {"{\"anyOf\":[{\"type\":\"integer\"},{\"if\":{}}]}", ERR_UNSUPPORTED, "at #/anyOf/1: \"if\""},
        {"{\"$ref\":\"#/$defs/x\"}", ERR_ARGUMENT, "\"$ref\" to #/$defs/x: there is nothing there"},
        {"{\"$ref\":\"other.json\"}", ERR_UNSUPPORTED, "\"$ref\" to other.json is not supported"},
        {"{\"$ref\":\"#\"}", ERR_ARGUMENT, "left recursion"},
        {"{\"allOf\":[{\"$ref\":\"#\"}]}", ERR_LIMIT, "schemas inside more than"},
        {"{\"type\":\"text\"}", ERR_ARGUMENT, "\"type\" is text; expected null"},
        {"{\"type\":[]}", ERR_ARGUMENT, "no type is left"},
        {"{\"required\":[\"a\"],\"additionalProperties\":false}", ERR_ARGUMENT, "\"a\" is required and may not be there"},
        {"{\"properties\":[]}", ERR_ARGUMENT, "\"properties\" is an array"},
        {"{\"properties\":{\"a\":3}}", ERR_ARGUMENT, "at #/properties/a: found an integer, expected a schema"},
        {"{\"required\":[\"n\"],\"properties\":{\"n\":{\"$ref\":\"#\"}}}", ERR_ARGUMENT, "has no end"},
        {"{\"enum\":[]}", ERR_ARGUMENT, "no value of enum"},
        {"{\"format\":\"email\",\"minLength\":6}", ERR_UNSUPPORTED, "5 to 239"},
        {"{\"format\":\"date\",\"maxLength\":9}", ERR_UNSUPPORTED, "\"maxLength\""},
        {"{\"format\":\"date\",\"pattern\":\"a\"}", ERR_UNSUPPORTED, "\"format\" beside \"pattern\""},
        {"{\"enum\":[1],\"minimum\":3}", ERR_UNSUPPORTED, "\"minimum\" beside enum"},
        {"{\"allOf\":[{\"pattern\":\"^a$\"},{\"pattern\":\"^b$\"}]}", ERR_UNSUPPORTED, "two different \"pattern\""},
        {"{\"allOf\":[{\"prefixItems\":[true]},{\"items\":{\"type\":\"null\"}}]}", ERR_UNSUPPORTED, "\"items\" of one schema and"},
        {"{\"allOf\":[{\"items\":{\"type\":\"null\"},\"prefixItems\":[true]},{\"items\":{\"type\":\"null\"}}]}", ERR_UNSUPPORTED, "\"items\" of one"},
        {"{\"allOf\":[{\"properties\":3}]}", ERR_ARGUMENT, "\"properties\" is not an object"},
        {"false", ERR_ARGUMENT, "false, which no value matches"},
        {"[]", ERR_ARGUMENT, "found an array, expected a schema"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errinfo info = {0};
        struct grammar *g = NULL;
        json_t *schema = schema_of(cases[i].schema);
        err e = schemagrammar_new(schema, &g, &info);
        if (e != cases[i].code || !strstr(info.message, cases[i].message)) {
            fail_msg("%s gave %s: %s", cases[i].schema, err_name(e), info.message);
        }
        json_decref(schema);
    }
}

static json_t *swept;

static err work(struct errinfo *info)
{
    struct grammar *g = NULL;
    err e = schemagrammar_new(swept, &g, info);
    grammar_free(g);
    return e;
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    swept = schema_of("{\"allOf\":[{\"properties\":{\"a\":{\"enum\":[1.5,\"x\"]},\"b\":{\"pattern\":\"^[a-z]\\\\d$\"}}},"
                      "{\"$ref\":\"#/$defs/d\"}],\"additionalProperties\":true,\"$defs\":{\"d\":{\"required\":[\"c\"],"
                      "\"properties\":{\"c\":{\"anyOf\":[{\"$ref\":\"#/$defs/d\"},{\"minimum\":3,\"type\":\"integer\"}]},"
                      "\"a\":{\"type\":\"number\"},\"e\":{\"prefixItems\":[true],\"items\":{\"minLength\":2}}}}}}");
    faultsweep_run(&(struct faultsweep){"schemagrammar", work, 50, 7});
    json_decref(swept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_match_or_not),
        cmocka_unit_test(without_a_schema_any_object_matches),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name_and_place),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

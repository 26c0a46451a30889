/* Grammars: what is refused and in which words, what matches, and that a text matches however it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "fault/faultsweep.h"
#include "text/grammar.h"
#include "text/grammarstates.h"

static void must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fail_msg("%s", info->message);
    }
}

static bool matches_bytes(const char *grammar, const char *text, size_t len)
{
    struct errinfo info = {0};
    struct grammar *g = NULL;
    struct grammarstates *s = NULL;
    must(grammar_new(grammar, strlen(grammar), &g, &info), &info);
    must(grammarstates_new(g, &s, &info), &info);
    uint32_t at = grammarstates_start(s);
    for (size_t i = 0; i < len; i++) {
        must(grammarstates_next(s, at, (uint8_t)text[i], &at, &info), &info);
    }
    bool yes = grammarstates_may_end(s, at);
    grammarstates_free(s);
    grammar_free(g);
    return yes;
}

static bool matches(const char *grammar, const char *text)
{
    return matches_bytes(grammar, text, strlen(text));
}

static void texts_match_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *yes[6], *no[6];
    } cases[] = {
        {"root ::= \"yes\" | \"no\"", {"yes", "no"}, {"", "y", "yesno", "yess"}},
        {"root ::= \"\"", {""}, {"a"}},
        {"root ::=", {""}, {"a"}},
        {"root ::=\na ::= \"x\"", {""}, {"x"}},
        {"root ::= [a-c]+", {"a", "abcabc"}, {"", "abd"}},
        {"root ::= [^a-c]", {"d", "\n", "é", "漢", "😀"}, {"a", "", "dd", "\x80", "\xc3"}},
        {"root ::= .", {"a", "\n", "é", "\xf4\x8f\xbf\xbf"}, {"\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", ""}},
        {"root ::= [à-ÿ]", {"à", "é", "ÿ"}, {"a", "Ā", "ß"}},
        {"root ::= [\\u0400-\\U00010FFF-]{2}", {"Ѐ-", "漢漢", "--"}, {"漢", "a漢"}},
        {"root ::= [-+a-]", {"-", "+", "a"}, {"b"}},
        {"root ::= \"\\x41\\u00e9\\n\\\"\\\\\"", {"Aé\n\"\\"}, {"A"}},
        {"root ::= [\\]\\[\\\\]", {"]", "[", "\\"}, {"^"}},
        {"root ::= \"a\"*", {"", "a", "aaaa"}, {"b"}},
        {"root ::= \"a\"?", {"", "a"}, {"aa"}},
        {"root ::= \"ab\"{2}", {"abab"}, {"ab", "ababab", ""}},
        {"root ::= \"a\"{2,}", {"aa", "aaa", "aaaaaa"}, {"a", ""}},
        {"root ::= \"a\"{2,4}", {"aa", "aaa", "aaaa"}, {"a", "aaaaa"}},
        {"root ::= \"a\"{,2}", {"", "a", "aa"}, {"aaa"}},
        {"root ::= \"a\"{0} \"b\"", {"b"}, {"ab"}},
        {"root ::= \"a\"{0,0} \"b\"", {"b"}, {"ab"}},
        {"root ::= \"a\"{1} | \"b\"{ 1 , 1 }", {"a", "b"}, {"", "ab"}},
        {"root ::= (\"a\" | \"b\"{2})+ \"c\"", {"ac", "bbc", "abbac"}, {"bc", "c"}},
        {"root ::= (\"a\"? \"b\"?)*", {"", "abba", "bbb"}, {"c"}},
        {"root ::= (\"\" )* \"x\"", {"x"}, {"", "xx"}},
        {"root ::= (\"a\"{0,3}){0,3}", {"", "aaaaaaaaa"}, {"aaaaaaaaaa"}},
        {"root ::= \"(\" root \")\" | \"\"", {"", "()", "((()))"}, {"(", "(()", "())"}},
        {"root ::= item (\",\" item)*\nitem ::= [0-9]+", {"1", "1,22,3"}, {"", ",", "1,"}},
        {"root ::= \"a\" root | \"b\"", {"b", "aaaaab"}, {"a", ""}},
        {"# a comment\n\nroot ::= # here\n  \"a\" | # there\n  \"b\"\n  | \"c\" # end", {"a", "b", "c"}, {""}},
        {"root ::= (\n  \"a\"\n  \"b\"\n)?\r\n", {"", "ab"}, {"a"}},
        {"root ::= a-b_1 a-b_1\na-b_1 ::= \"x\"\n", {"xx"}, {"x"}},
        {"root ::= s\ns ::= \"a\" s \"b\" s | \"\"", {"", "ab", "aabb", "abab"}, {"ba", "aab"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 6 && cases[i].yes[k]; k++) {
            if (!matches(cases[i].grammar, cases[i].yes[k])) {
                fail_msg("%s does not match \"%s\"", cases[i].grammar, cases[i].yes[k]);
            }
        }
        for (int k = 0; k < 6 && cases[i].no[k]; k++) {
            if (matches(cases[i].grammar, cases[i].no[k])) {
                fail_msg("%s matches \"%s\"", cases[i].grammar, cases[i].no[k]);
            }
        }
    }
    assert_true(matches_bytes("root ::= \"a\\x00\" [\\x00-\\x01]", "a\0\1", 3));
}

/* Every code point against every class of a list, both ways round. */
static void a_class_holds_the_characters_it_says(void **state)
{
    (void)state;
    static const struct {
        const char *grammar;
        uint32_t low, high;
    } cases[] = {
        {"root ::= [\\U00000000-\\U0010FFFF]", 0, 0x10ffff}, {"root ::= [\\x30-\\U0001F600]", 0x30, 0x1f600},
        {"root ::= [\\u07f0-\\uD7FF]", 0x7f0, 0xd7ff},       {"root ::= [\\u1234-\\U00012345]", 0x1234, 0x12345},
        {"root ::= [\\U00054321-\\U00100001]", 0x54321, 0x100001},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errinfo info = {0};
        struct grammar *g = NULL;
        struct grammarstates *s = NULL;
        must(grammar_new(cases[i].grammar, strlen(cases[i].grammar), &g, &info), &info);
        must(grammarstates_new(g, &s, &info), &info);
        for (uint32_t c = 0; c <= 0x10ffff; c++) {
            char b[4] = {0};
            size_t n = 0;
            if (c < 0x80) {
                b[n++] = (char)c;
            } else if (c < 0x800) {
                b[n++] = (char)(0xc0 | c >> 6);
            } else if (c < 0x10000) {
                b[n++] = (char)(0xe0 | c >> 12);
                b[n++] = (char)(0x80 | (c >> 6 & 0x3f));
            } else {
                b[n++] = (char)(0xf0 | c >> 18);
                b[n++] = (char)(0x80 | (c >> 12 & 0x3f));
                b[n++] = (char)(0x80 | (c >> 6 & 0x3f));
            }
            if (n > 0 && c >= 0x80) {
                b[n++] = (char)(0x80 | (c & 0x3f));
            }
            uint32_t at = grammarstates_start(s);
            for (size_t k = 0; k < n; k++) {
                must(grammarstates_next(s, at, (uint8_t)b[k], &at, &info), &info);
            }
            bool wanted = c >= cases[i].low && c <= cases[i].high && (c < 0xd800 || c > 0xdfff);
            if (grammarstates_may_end(s, at) != wanted) {
                fail_msg("%s: U+%04X", cases[i].grammar, c);
            }
        }
        grammarstates_free(s);
        grammar_free(g);
    }
}

static void bad_grammars_are_refused_with_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *grammar;
        err code;
        const char *message;
    } cases[] = {
        {"", ERR_ARGUMENT, "line 1, column 1: there is no rule \"root\""},
        {"a ::= \"x\"", ERR_ARGUMENT, "there is no rule \"root\""},
        {"root := \"x\"", ERR_ARGUMENT, "line 1, column 6: found \":\", expected \"::=\""},
        {"root", ERR_ARGUMENT, "line 1, column 5: found the end, expected \"::=\""},
        {"root ::= \"x", ERR_ARGUMENT, "line 1, column 10: this literal has no closing \""},
        {"root ::= \"\\q\"", ERR_ARGUMENT, "line 1, column 12: found \"q\", expected one of"},
        {"root ::= \"\\", ERR_ARGUMENT, "found the end, expected one of"},
        {"root ::= \"\\x4g\"", ERR_ARGUMENT, "found \"g\", expected two hexadecimal digits"},
        {"root ::= \"\\ud800\"", ERR_ARGUMENT, "no character has this number"},
        {"root ::= \"\\U00110000\"", ERR_ARGUMENT, "no character has this number"},
        {"root ::= \"\xff\"", ERR_ARGUMENT, "found byte 0xff, expected a character"},
        {"root ::= [a", ERR_ARGUMENT, "line 1, column 10: this class has no closing ]"},
        {"root ::= []", ERR_ARGUMENT, "no character is in this class"},
        {"root ::= [^\\x00-\\U0010FFFF]", ERR_ARGUMENT, "no character is in this class"},
        {"root ::= [z-a]", ERR_ARGUMENT, "this range ends before it begins"},
        {"root ::= (\"a\"", ERR_ARGUMENT, "found the end, expected \")\""},
        {"root ::= \"a\")", ERR_ARGUMENT, "line 1, column 13: found \")\", expected a literal"},
        {"root ::= \"a\"{3,2}", ERR_ARGUMENT, "{m,n} with n below m"},
        {"root ::= \"a\"{x}", ERR_ARGUMENT, "found \"x\", expected a number"},
        {"root ::= \"a\"{1", ERR_ARGUMENT, "found the end, expected \"}\""},
        {"root ::= *", ERR_ARGUMENT, "found \"*\", expected a literal"},
        {"root ::= \"é\" nothing\n", ERR_ARGUMENT, "line 1, column 14: the rule \"nothing\" is used and not defined"},
        {"root ::= \"a\"\nroot ::= \"b\"", ERR_ARGUMENT, "line 2, column 1: the rule \"root\" has a definition already"},
        {"root ::= root \"a\" | \"b\"", ERR_ARGUMENT, "line 1, column 1: the rule \"root\" comes to itself again"},
        {"root ::= root", ERR_ARGUMENT, "left recursion"},
        {"root ::= a\na ::= \"\" b\nb ::= \"x\"? a \"y\" | \"z\"", ERR_ARGUMENT, "left recursion"},
        {"root ::= (root \"x\"){0,5}", ERR_ARGUMENT, "the rule \"root\" comes to itself again"},
        {"root ::= \"x\"* root?", ERR_ARGUMENT, "left recursion"},
        {"root ::= \"a\" root", ERR_ARGUMENT, "the rule \"root\" has no end"},
        {"root ::= \"a\" | a\na ::= \"b\" a", ERR_ARGUMENT, "line 2, column 1: the rule \"a\" has no end"},
        {"root ::= <[7>", ERR_ARGUMENT, "column 13: found \">\", expected \"]>\""},
        {"root ::= <[99999999999]>", ERR_LIMIT, "no token has an id over 2147483647"},
        {"root ::= <[1]><[2]><[3]><[4]><[5]><[6]><[7]><[8]><[1]><[9]>", ERR_LIMIT, "more than 8 different tokens"},
        {"root ::= <think>", ERR_UNSUPPORTED, "tokens by name (<…>) are not supported"},
        {"root ::= \"a\"{1,1000000}", ERR_LIMIT, "repeated more than 65536 times"},
        {"root ::= \"a\"{60000} \"b\"{60000} \"c\"{60000} \"d\"{60000} \"a\"{60000} \"b\"{60000} \"c\"{60000} "
         "\"d\"{60000} \"a\"{60000} \"b\"{60000} \"c\"{60000} \"d\"{60000} \"a\"{60000} \"b\"{60000} \"c\"{60000} "
         "\"d\"{60000} \"a\"{60000} \"b\"{60000} \"c\"{60000} \"d\"{60000}", ERR_LIMIT, "more than 1048576 steps"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errinfo info = {0};
        struct grammar *g = NULL;
        size_t alive = mem_alive();
        err e = grammar_new(cases[i].grammar, strlen(cases[i].grammar), &g, &info);
        if (e != cases[i].code || !strstr(info.message, cases[i].message)) {
            fail_msg("%s gave %s: %s", cases[i].grammar, err_name(e), info.message);
        }
        assert_null(g);
        assert_int_equal(mem_alive(), alive);
    }
}

static void deep_groups_are_refused(void **state)
{
    (void)state;
    char text[1000] = "root ::= ";
    struct errinfo info = {0};
    struct grammar *g = NULL;
    memset(text + 9, '(', 500);
    assert_int_equal(grammar_new(text, 509, &g, &info), ERR_LIMIT);
    assert_non_null(strstr(info.message, "groups inside more than 128 groups"));
}

/* Grammars that grow without bound end in an error or stay small, and soon. */
static void explosions_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *text;
        err code;
        int repeat;
    } cases[] = {
        {"root ::= (((((\"a\"?){0,60000}){0,60000}){0,60000}){0,60000}){0,60000}", "a", ERR_LIMIT, 1},
        {"root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"\"", "a", ERR_LIMIT, 1000},
        {"root ::= \"a\" root root | \"\"", "a", ERR_OK, 2000},
        {"root ::= \"a\" root \"b\" | \"\"", "a", ERR_LIMIT, 2000000},
        {"root ::= (\"a\"{0,50000}){0,50000}", "a", ERR_LIMIT, 1000},
        {"root ::= (\"a\"{1,50000}){0,50000}", "a", ERR_OK, 100},
        {"root ::= x x x x\nx ::= (\"a\" | \"a\" | \"aa\")*", "a", ERR_OK, 3000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errinfo info = {0};
        struct grammar *g = NULL;
        struct grammarstates *s = NULL;
        double start = progress_clock();
        must(grammar_new(cases[i].grammar, strlen(cases[i].grammar), &g, &info), &info);
        err e = grammarstates_new(g, &s, &info);
        uint32_t at = e == ERR_OK ? grammarstates_start(s) : 0;
        for (int k = 0; k < cases[i].repeat && e == ERR_OK; k++) {
            e = grammarstates_next(s, at, (uint8_t)cases[i].text[0], &at, &info);
        }
        if (e != cases[i].code) {
            fail_msg("%s gave %s: %s", cases[i].grammar, err_name(e), info.message);
        }
        if (progress_clock() - start > 20) {
            fail_msg("%s took %g s", cases[i].grammar, progress_clock() - start);
        }
        grammarstates_free(s);
        grammar_free(g);
    }
}

/* A state that is kept while all others are forgotten goes on as before. */
static void forgetting_changes_nothing(void **state)
{
    (void)state;
    static const char grammar[] = "root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | [0-9]+ | \"é\"{1,5}";
    static const char text[] = "[1,[22,[],[[éé]]],é,[3,4]]";
    struct errinfo info = {0};
    struct grammar *g = NULL;
    struct grammarstates *s = NULL;
    must(grammar_new(grammar, strlen(grammar), &g, &info), &info);
    must(grammarstates_new(g, &s, &info), &info);
    assert_false(grammarstates_crowded(s));
    uint32_t at = grammarstates_start(s);
    for (size_t i = 0; i < strlen(text); i++) {
        assert_false(grammarstates_may_end(s, at));
        must(grammarstates_next(s, at, (uint8_t)text[i], &at, &info), &info);
        must(grammarstates_keep(s, &at, &info), &info);
    }
    assert_true(grammarstates_may_end(s, at));
    must(grammarstates_next(s, at, 'x', &at, &info), &info);
    assert_int_equal(at, GRAMMARSTATES_DEAD);
    grammarstates_free(s);
    grammar_free(g);
}

static err work(struct errinfo *info)
{
    static const char grammar[] = "root ::= v ws\nv ::= \"[\" (v (\",\" v)*)? \"]\" | [^0-9]{2,40}\nws ::= \" \"?";
    static const char text[] = "[abcd,[[[[xx]],漢字漢字]]]";
    struct grammar *g = NULL;
    struct grammarstates *s = NULL;
    uint32_t at = 0;
    err e = grammar_new(grammar, strlen(grammar), &g, info);
    e = e == ERR_OK ? grammarstates_new(g, &s, info) : e;
    at = e == ERR_OK ? grammarstates_start(s) : 0;
    for (size_t i = 0; i < strlen(text) && e == ERR_OK; i++) {
        e = grammarstates_next(s, at, (uint8_t)text[i], &at, info);
    }
    e = e == ERR_OK ? grammarstates_keep(s, &at, info) : e;
    grammarstates_free(s);
    grammar_free(g);
    return e;
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    faultsweep_run(&(struct faultsweep){"grammar", work, 10, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_match_or_not),
        cmocka_unit_test(a_class_holds_the_characters_it_says),
        cmocka_unit_test(bad_grammars_are_refused_with_the_place),
        cmocka_unit_test(deep_groups_are_refused),
        cmocka_unit_test(explosions_are_bounded),
        cmocka_unit_test(forgetting_changes_nothing),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Answers come apart into the same reasoning, content and calls wherever they are cut; nothing of a broken call is
 * lost; what chat_encode writes is read back. */
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
#include "base/rng.h"
#include "text/answerparser.h"
#include "text/markvocabulary.h"

/* All that was said, as one line: R(…) C(…) name{…}; or name{…}!, one kind's pieces put together. */
struct heard {
    struct strbuf text;
    enum answerparser_kind last;
    bool any;
};

static void hear(void *user, const struct answerparser_event *e)
{
    struct heard *h = user;
    static const char *const opens[] = {"R(", "C(", "call ", " args ", ";", "!"};
    bool goes_on = h->any && e->kind == h->last && e->kind != ANSWERPARSER_CALL;
    assert_true(e->len > 0 || e->kind >= ANSWERPARSER_CALL_END);
    if (!goes_on) {
        if (h->any && h->last <= ANSWERPARSER_CONTENT) {
            assert_int_equal(strbuf_puts(&h->text, ")"), ERR_OK);
        }
        assert_int_equal(strbuf_puts(&h->text, opens[e->kind]), ERR_OK);
    }
    assert_int_equal(strbuf_append(&h->text, e->text, e->len), ERR_OK);
    h->any = true;
    h->last = e->kind;
}

struct talk {
    enum chat_format format;
    bool tools, thinking, cut;
};

/* The answer in pieces: whole (step 0), all of `step` bytes, or cut at `at` alone (step SIZE_MAX). */
static enum answerparser_ending parse(const struct talk *k, const char *text, size_t n, size_t step, size_t at,
                                      struct heard *h)
{
    struct answerparser *p;
    enum answerparser_ending ending;
    assert_int_equal(answerparser_new(k->format, k->tools, k->thinking, hear, h, &p), ERR_OK);
    if (step == SIZE_MAX) {
        assert_int_equal(answerparser_push(p, text, at), ERR_OK);
        assert_int_equal(answerparser_push(p, text + at, n - at), ERR_OK);
    } else {
        step = step ? step : n;
        for (size_t i = 0; i < n; i += step) {
            assert_int_equal(answerparser_push(p, text + i, step < n - i ? step : n - i), ERR_OK);
        }
    }
    assert_int_equal(answerparser_finish(p, k->cut, &ending), ERR_OK);
    answerparser_free(p);
    if (h->any && h->last <= ANSWERPARSER_CONTENT) {
        assert_int_equal(strbuf_puts(&h->text, ")"), ERR_OK);
    }
    return ending;
}

static const char *said(const struct heard *h)
{
    return h->text.data ? h->text.data : "";
}

/* The answer whole, and cut at every byte, and in pieces of 1 to 7 bytes. */
static void expect(const struct talk *k, const char *text, enum answerparser_ending ending, const char *wanted)
{
    size_t n = strlen(text);
    for (size_t i = 0; i <= n + 7; i++) {
        struct heard h = {0};
        enum answerparser_ending e = i < n ? parse(k, text, n, SIZE_MAX, i, &h) : parse(k, text, n, i - n, 0, &h);
        if (strcmp(said(&h), wanted) != 0 || e != ending) {
            fail_msg("cut %zu of %s\n  gave   %s (%d)\n  wanted %s (%d)", i, text, said(&h), e, wanted, ending);
        }
        strbuf_deinit(&h.text);
    }
}

static const enum answerparser_ending WHOLE = ANSWERPARSER_COMPLETE, CUT = ANSWERPARSER_TRUNCATED, BROKEN = ANSWERPARSER_MALFORMED;

static void tags_part_the_answer(void **state)
{
    (void)state;
    const struct talk quiet = {CHAT_DEEPSEEK_R1, false, false, false}, loud = {CHAT_DEEPSEEK_R1, false, true, false};
    expect(&loud, "because\n</think>\n\nyes", WHOLE, "R(because\n)C(yes)");
    expect(&loud, "<think>\nbecause</think>yes", WHOLE, "R(because)C(yes)");
    expect(&quiet, "<think>\nbecause</think>\n\nyes", WHOLE, "R(because)C(yes)");
    expect(&quiet, "\n\n<think>why</think>yes", WHOLE, "R(why)C(yes)");
    expect(&quiet, "yes", WHOLE, "C(yes)");
    expect(&loud, "never ends", CUT, "R(never ends)");
    expect(&loud, "</think>x", WHOLE, "C(x)");
    expect(&quiet, "", WHOLE, "");
    expect(&loud, "\n\r\n", CUT, "");
}

static void what_only_looks_like_a_tag_is_text(void **state)
{
    (void)state;
    const struct talk quiet = {CHAT_DEEPSEEK_R1, false, false, false}, loud = {CHAT_DEEPSEEK_R1, false, true, false};
    expect(&quiet, "the tag <think> and </think>", WHOLE, "C(the tag <think> and </think>)");
    expect(&loud, "a < b </thin </think", CUT, "R(a < b </thin </think)");
    expect(&loud, "<<</think>x", WHOLE, "R(<<)C(x)");
    expect(&loud, "<</</think</think>x<think>", WHOLE, "R(<</</think)C(x<think>)");
    expect(&quiet, "<thin", WHOLE, "C(<thin)");
    expect(&quiet, "<thinking>", WHOLE, "C(<thinking>)");
    expect(&loud, "x<think>y</think>z", WHOLE, "R(x<think>y)C(z)");
    expect(&loud, "a</think>b</think>c", WHOLE, "R(a)C(b</think>c)");
    expect(&quiet, " <think>", WHOLE, "C( <think>)");
    expect(&quiet, "<｜DSML｜tool_calls>", WHOLE, "C(<｜DSML｜tool_calls>)");
}

static void text_is_never_held_back_for_long(void **state)
{
    (void)state;
    static const struct {
        enum chat_format format;
        bool thinking;
        const char *text, *wanted;
    } rows[] = {
        {CHAT_DEEPSEEK_V4, true, "abc</th", "R(abc"},
        {CHAT_DEEPSEEK_V4, true, "abc</thx", "R(abc</thx"},
        {CHAT_DEEPSEEK_V4, false, "abc\n\n<｜DSML｜tool_call", "C(abc"},
        {CHAT_DEEPSEEK_V4, false, "abc\n\n<｜DSML｜tool_callx", "C(abc\n\n<｜DSML｜tool_callx"},
        {CHAT_DEEPSEEK_V4, false, "```\n\n\n", "C(```\n"},
        {CHAT_DEEPSEEK_V4, false,
         "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"k\" string=\"true\">va\"l</｜D",
         "call f args {\"k\": \"va\\\"l"},
        {CHAT_QWEN25, false, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, ", "call f args {\"a\": [1, "},
        {CHAT_DEEPSEEK_V31, false, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\"", "call f args {\"a\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct heard h = {0};
        struct answerparser *p;
        assert_int_equal(answerparser_new(rows[i].format, true, rows[i].thinking, hear, &h, &p), ERR_OK);
        assert_int_equal(answerparser_push(p, rows[i].text, strlen(rows[i].text)), ERR_OK);
        assert_string_equal(said(&h), rows[i].wanted);
        answerparser_free(p);
        strbuf_deinit(&h.text);
    }
}

#define DSML_CALL(name, parameters) "<｜DSML｜invoke name=\"" name "\">\n" parameters "</｜DSML｜invoke>\n"
#define DSML_STRING(key, value) "<｜DSML｜parameter name=\"" key "\" string=\"true\">" value "</｜DSML｜parameter>\n"
#define DSML_JSON(key, value) "<｜DSML｜parameter name=\"" key "\" string=\"false\">" value "</｜DSML｜parameter>\n"
#define V4(calls) "\n\n<｜DSML｜tool_calls>\n" calls "</｜DSML｜tool_calls>"

static void dsml_becomes_json(void **state)
{
    (void)state;
    const struct talk v4 = {CHAT_DEEPSEEK_V4, true, false, false}, loud = {CHAT_DEEPSEEK_V4, true, true, false};
    const struct talk v32 = {CHAT_DEEPSEEK_V32, true, false, false}, off = {CHAT_DEEPSEEK_V4, false, false, false};
    expect(&loud, "reason</think>" V4(DSML_CALL("get_weather", DSML_STRING("location", "Beijing"))), WHOLE,
           "R(reason)call get_weather args {\"location\": \"Beijing\"};");
    expect(&v4, "Let me see.\n" V4(DSML_CALL("f", DSML_STRING("a", "x \"y\"\n\\ <b> </ </｜DSML｜ü") DSML_JSON("n", "[1, {\"k\": null}]"))
                                  DSML_CALL("g", "")), WHOLE,
           "C(Let me see.\n)call f args {\"a\": \"x \\\"y\\\"\\n\\\\ <b> </ </｜DSML｜ü\", \"n\": [1, {\"k\": null}]};"
           "call g args {};");
    expect(&v4, "<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\"></｜DSML｜invoke></｜DSML｜tool_calls>\n\nmore", WHOLE,
           "call f args {};C(more)");
    expect(&v4, V4(DSML_CALL("f", DSML_JSON("a", "True") DSML_JSON("b", "") DSML_STRING("c", ""))), WHOLE,
           "call f args {\"a\": \"True\", \"b\": \"\", \"c\": \"\"};");
    expect(&v32, "x\n\n<｜DSML｜function_calls>\n" DSML_CALL("f", DSML_STRING("a", "b")) "</｜DSML｜function_calls>", WHOLE,
           "C(x)call f args {\"a\": \"b\"};");
    expect(&loud, "I write" V4(DSML_CALL("f", "")) "</think>ok", WHOLE,
           "R(I write" V4(DSML_CALL("f", "")) ")C(ok)");
    expect(&off, "x" V4(DSML_CALL("f", "")), WHOLE, "C(x" V4(DSML_CALL("f", "")) ")");
    /* two blocks; closing marks missing at the very end */
    expect(&v4, "a" V4(DSML_CALL("f", "")) V4(DSML_CALL("g", "")), WHOLE, "C(a)call f args {};call g args {};");
    expect(&v4, "\n\n<｜DSML｜tool_calls>\n" DSML_CALL("f", ""), WHOLE, "call f args {};");
}

static void objects_come_out_as_they_are(void **state)
{
    (void)state;
    const struct talk v3 = {CHAT_DEEPSEEK_V3, true, false, false}, v31 = {CHAT_DEEPSEEK_V31, true, false, false};
    const struct talk qwen = {CHAT_QWEN25, true, false, false};
    expect(&v3, "Well.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": \"```<｜tool▁call▁end｜>\"}\n```"
                "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
           WHOLE, "C(Well.)call f args {\"a\": \"```<｜tool▁call▁end｜>\"};call g args {};");
    expect(&v3, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n\n```<｜tool▁call▁end｜>", WHOLE,
           "call f args {};");
    expect(&v3, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n{\"a\":1}<｜tool▁call▁end｜>", WHOLE,
           "call f args {\"a\":1};");
    expect(&v31, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": {\"b\": [\"}\\\"\"]}}<｜tool▁call▁end｜>"
                 "<｜tool▁call▁begin｜>g<｜tool▁sep｜><｜tool▁call▁end｜><｜tool▁calls▁end｜>",
           WHOLE, "call f args {\"a\": {\"b\": [\"}\\\"\"]}};call g args {};");
    expect(&qwen, "Hm.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"</tool_call>\"}}\n</tool_call>\n<tool_call>\n"
                  "{\"name\":\"g\\u00fc\",\"arguments\":{}}</tool_call>\nBye",
           WHOLE, "C(Hm.)call f args {\"a\": \"</tool_call>\"};call gü args {};C(Bye)");
    expect(&qwen, "<tool_call>\n{\"arguments\": {\"a\": 1}, \"name\": \"f\"}\n</tool_call>", WHOLE,
           "call f args {\"a\": 1};");
    expect(&qwen, "<tool_call>{\"name\": \"f\"}", WHOLE, "call f args {};");
}

/* Arguments are text to whoever asked: all that is JSON goes on, as it was written. */
static void arguments_may_be_any_json(void **state)
{
    (void)state;
    const struct talk v4 = {CHAT_DEEPSEEK_V4, true, false, false}, qwen = {CHAT_QWEN25, true, false, false};
    static const char *const arguments[] = {"{\"\":\"\",\"\":\"\"}", "{\"a\":{\"b\":1,\"b\":2}}", "{\"a\":\"\\u0000\"}",
                                            "{\"\\u0000\":1,\"\\u0000a\":2}", "{\"id\":12345678901234567890}"};
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        char text[200], wanted[200];
        snprintf(text, sizeof text, "<tool_call>\n{\"name\": \"f\", \"arguments\": %s}\n</tool_call>", arguments[i]);
        snprintf(wanted, sizeof wanted, "call f args %s;", arguments[i]);
        expect(&qwen, text, WHOLE, wanted);
    }
    expect(&qwen, "<tool_call>{\"arguments\":{\"id\":12345678901234567890,\"a\":0.12345678901234567890123}, \"name\":\"f\"}</tool_call>",
           WHOLE, "call f args {\"id\": 12345678901234567890, \"a\": 0.12345678901234568};");
    expect(&v4, "x" V4(DSML_CALL("f", DSML_STRING("a", "1") DSML_STRING("a", "2"))), WHOLE,
           "C(x)call f args {\"a\": \"1\", \"a\": \"2\"};");
}

static void a_broken_call_is_content_and_nothing_is_lost(void **state)
{
    (void)state;
    const struct talk v4 = {CHAT_DEEPSEEK_V4, true, false, false}, qwen = {CHAT_CHATML, true, false, false};
    const struct talk v3 = {CHAT_DEEPSEEK_R1, true, false, false}, v31 = {CHAT_DEEPSEEK_V31, true, false, false};
    expect(&v4, "a\n\n<｜DSML｜tool_calls>\nno call\n", BROKEN, "C(a\n\n<｜DSML｜tool_calls>\nno call\n)");
    expect(&v4, "```\n\n<｜DSML｜tool_calls>\n...\n```\nis how", BROKEN, "C(```\n\n<｜DSML｜tool_calls>\n...\n```\nis how)");
    expect(&v4, "\n\n<｜DSML｜tool_calls>\n</｜DSML｜tool_calls>", BROKEN, "C(<｜DSML｜tool_calls>\n</｜DSML｜tool_calls>)");
    expect(&v4, "x" V4(DSML_CALL("f", "") "<｜DSML｜invoke name=\"\">\n"), BROKEN,
           "C(x)call f args {};C(\n<｜DSML｜invoke name=\"\">\n</｜DSML｜tool_calls>)");
    expect(&v4, "x" V4(DSML_CALL("f", "junk")), BROKEN, "C(x)call f args {!C(" V4(DSML_CALL("f", "junk")) ")");
    expect(&v4, "x\n\n<｜DSML｜tool_calls>\n" DSML_CALL("f", "") "</｜DSML｜tool", BROKEN,
           "C(x)call f args {};C(\n</｜DSML｜tool)");
    expect(&v3, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": nope}\n```<｜tool▁call▁end｜>", BROKEN,
           "call f args {\"a\": nope}!C(<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": nope}\n```"
           "<｜tool▁call▁end｜>)");
    expect(&v31, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>[1]<｜tool▁call▁end｜>", BROKEN,
           "call f!C(<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>[1]<｜tool▁call▁end｜>)");
    expect(&qwen, "like\n<tool_call>{...}</tool_call> here", BROKEN, "C(like\n<tool_call>{...}</tool_call> here)");
    expect(&qwen, "<tool_call>\n{\"name\": \"f\", \"arguments\": {}, \"x\": 1}\n</tool_call>", BROKEN,
           "call f args {}!C(<tool_call>\n{\"name\": \"f\", \"arguments\": {}, \"x\": 1}\n</tool_call>)");
    expect(&qwen, "<tool_call>\n{\"name\": 3, \"arguments\": {}}\n</tool_call>", BROKEN,
           "C(<tool_call>\n{\"name\": 3, \"arguments\": {}}\n</tool_call>)");
}

static void an_answer_cut_short_says_so(void **state)
{
    (void)state;
    const struct talk v4 = {CHAT_DEEPSEEK_V4, true, false, true}, qwen = {CHAT_QWEN25, true, false, true};
    expect(&v4, "x\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"k\" string=\"true\">va</｜DS", CUT,
           "C(x)call f args {\"k\": \"va");
    expect(&v4, "x\n\n<｜DSML｜tool_ca", CUT, "C(x)"); /* a mark that was cut in two is no text; */
    expect(&v4, "x <", WHOLE, "C(x <)");             /* what only looks like one is */
    expect(&v4, "<｜DSML｜tool_calls_", WHOLE, "C(<｜DSML｜tool_calls_)");
    expect(&qwen, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, 2", CUT, "call f args {\"a\": [1, 2");
    expect(&qwen, "x", WHOLE, "C(x)");
}

/* ---- what is encoded is read back ---- */

static const char *const nasty[] = {
    "{}",
    "{\"q\": \"say \\\"hi\\\"\\n\\tand \\\\ go\"}",
    "{\"html\": \"<b>a</b> </ </｜DSML｜param <tool_call> </tool_call> </think> ```\\n```\"}",
    "{\"city\": \"Zürich 北京 👩\u200d👧\", \"ключ\": \"значение\"}",
    "{\"empty\": \"\", \"null\": null, \"no\": false, \"list\": [], \"object\": {}}",
    "{\"n\": -0.5, \"big\": 123456789012345678901234567890, \"e\": 1e+30, \"nested\": [[1, 2], {\"a\": {\"b\": [\"]\", \"}\"]}}]}",
    "{\"looks\": \"{\\\"a\\\": 1}\", \"true\": \"true\", \"nul\": \"\\u0001\\u001f\"}",
    "{\"marks\": \"<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>｜DSML｜\"}",
};

/* The assistant's turn as a model would say it: what stands between the prompt before it and the end of its turn. */
static void answer_of(const struct tokenizer *t, enum chat_format f, const struct chat_call *calls, size_t n,
                      struct strbuf *out)
{
    const struct chat_message m[] = {
        {.role = CHAT_USER, .content = "q"},
        {.role = CHAT_ASSISTANT, .content = "Let me look.", .calls = calls, .n_calls = n},
        {.role = CHAT_TOOL, .content = "r", .call_id = "0"},
    };
    struct tokenizer_ids prompt = {0}, whole = {0};
    struct errinfo info = {0};
    if (chat_encode(t, f, m, 1, false, &prompt, &info) != ERR_OK || chat_encode(t, f, m, 3, false, &whole, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    /* ChatML lets the model begin behind "assistant\n"; R1 begins to think, which is not repeated */
    size_t from = prompt.len - (f == CHAT_DEEPSEEK_R1 ? 2 : 0);
    assert_memory_equal(prompt.data, whole.data, from * sizeof *whole.data);
    int32_t stop[CHAT_STOP_MAX];
    size_t n_stop = chat_stop_ids(t, f, stop), end = from;
    while (whole.data[end] != stop[0] && (n_stop < 2 || whole.data[end] != stop[1])) {
        end++;
    }
    struct tokenizer_ids said_ids = {whole.data + from, end - from, 0};
    markvocabulary_read(t, &said_ids, out);
    tokenizer_ids_deinit(&prompt);
    tokenizer_ids_deinit(&whole);
}

static void what_is_encoded_is_read_back(void **state)
{
    (void)state;
    static const enum chat_format formats[] = {CHAT_DEEPSEEK_V3,  CHAT_DEEPSEEK_R1, CHAT_DEEPSEEK_V31, CHAT_DEEPSEEK_V32,
                                               CHAT_DEEPSEEK_V4, CHAT_CHATML, CHAT_QWEN25};
    enum { N = sizeof nasty / sizeof nasty[0] };
    struct tokenizer *t = markvocabulary_new();
    struct chat_call calls[N];
    for (size_t i = 0; i < N; i++) {
        calls[i] = (struct chat_call){.id = "0", .name = i % 2 ? "get_weather" : "f-1", .arguments = nasty[i]};
    }
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct strbuf text = {0}, wanted = {0};
        answer_of(t, formats[i], calls, N, &text);
        assert_int_equal(strbuf_puts(&wanted, "C(Let me look.)"), ERR_OK);
        for (size_t k = 0; k < N; k++) {
            assert_int_equal(strbuf_printf(&wanted, "call %s args %s;", calls[k].name, nasty[k]), ERR_OK);
        }
        const struct talk talk = {formats[i], true, false, false};
        expect(&talk, text.data, WHOLE, wanted.data);
        strbuf_deinit(&text);
        strbuf_deinit(&wanted);
    }
    tokenizer_free(t);
}

static void huge_arguments_come_through_byte_by_byte(void **state)
{
    (void)state;
    enum { SIZE = 1 << 18 };
    static const enum chat_format formats[] = {CHAT_DEEPSEEK_V31, CHAT_DEEPSEEK_V4, CHAT_QWEN25};
    struct tokenizer *t = markvocabulary_new();
    char *huge = malloc(2 * SIZE + 64);
    size_t n = (size_t)sprintf(huge, "{\"text\": \"");
    memset(huge + n, '<', SIZE);
    n += SIZE;
    n += (size_t)sprintf(huge + n, "\", \"list\": [\"");
    memset(huge + n, 'y', SIZE);
    n += SIZE;
    sprintf(huge + n, "\"]}");
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        const struct chat_call call = {.name = "f", .arguments = huge};
        const struct talk talk = {formats[i], true, false, false};
        struct strbuf text = {0};
        struct heard h = {0};
        answer_of(t, formats[i], &call, 1, &text);
        assert_int_equal(parse(&talk, text.data, text.len, 1, 0, &h), ANSWERPARSER_COMPLETE);
        size_t before = strlen("C(Let me look.)call f args ");
        assert_int_equal(h.text.len, before + strlen(huge) + 1);
        assert_memory_equal(h.text.data + before, huge, strlen(huge));
        strbuf_deinit(&text);
        strbuf_deinit(&h.text);
    }
    free(huge);
    tokenizer_free(t);
}

/* Marks and their halves, thrown together: whatever comes of it, comes of it wherever it is cut; calls that end have
 * arguments that are an object. */
static void any_text_comes_apart_the_same_wherever_it_is_cut(void **state)
{
    (void)state;
    static const char *const scraps[] = {
        "<think>", "</think>", "\n", "\n\n", "a", "<", "</", "｜DSML｜", "<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>",
        "<｜DSML｜invoke name=\"f\">", "</｜DSML｜invoke>", "<｜DSML｜parameter name=\"k\" string=\"true\">",
        "<｜DSML｜parameter name=\"j\" string=\"false\">", "</｜DSML｜parameter>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",
        "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "function", "```json\n", "\n```", "{", "}", "[1]", "\"",
        "<tool_call>", "</tool_call>", "{\"name\": \"f\", \"arguments\": ", "{\"a\": \"b\"}", "\\", ",", ":"};
    static const enum chat_format formats[] = {CHAT_DEEPSEEK_V3, CHAT_DEEPSEEK_V31, CHAT_DEEPSEEK_V4, CHAT_QWEN25};
    struct rng r;
    rng_seed(&r, 7);
    for (size_t round = 0; round < 1500; round++) {
        const struct talk talk = {formats[round % 4], true, rng_u64(&r) % 4 == 0, rng_u64(&r) % 4 == 0};
        struct strbuf text = {0};
        struct heard whole = {0};
        for (size_t k = 0, n = 1 + (size_t)(rng_u64(&r) % 12); k < n; k++) {
            assert_int_equal(strbuf_puts(&text, scraps[rng_u64(&r) % (sizeof scraps / sizeof scraps[0])]), ERR_OK);
        }
        enum answerparser_ending ending = parse(&talk, text.data, text.len, 0, 0, &whole);
        expect(&talk, text.data, ending, said(&whole));
        strbuf_deinit(&text);
        strbuf_deinit(&whole.text);
    }
}

static void a_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "x" V4(DSML_CALL("f", DSML_STRING("a", "b\n") DSML_JSON("c", "[1]") DSML_JSON("d", "bad"))),
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"f\"}</tool_call>"};
    for (size_t i = 0; i < 2; i++) {
        size_t alive = mem_alive();
        bool done = false;
        for (size_t k = 1; !done; k++) {
            struct answerparser *p = NULL;
            struct heard h = {0};
            enum answerparser_ending ending;
            assert_int_equal(strbuf_append(&h.text, texts[i], 0), ERR_OK);
            h.text.data = mem_resize(h.text.data, 4096, 1);
            h.text.cap = 4096; /* the listener never asks for memory */
            mem_fault(k, 0);
            err e = answerparser_new(i ? CHAT_QWEN25 : CHAT_DEEPSEEK_V4, true, false, hear, &h, &p);
            e = e == ERR_OK ? answerparser_push(p, texts[i], strlen(texts[i])) : e;
            e = e == ERR_OK ? answerparser_finish(p, false, &ending) : e;
            mem_fault(0, 0);
            done = e == ERR_OK;
            assert_true(done || e == ERR_NOMEM);
            assert_true(!done || ending == ANSWERPARSER_COMPLETE);
            answerparser_free(p);
            strbuf_deinit(&h.text);
            assert_int_equal(mem_alive(), alive);
            assert_true(k < 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_part_the_answer),
        cmocka_unit_test(what_only_looks_like_a_tag_is_text),
        cmocka_unit_test(text_is_never_held_back_for_long),
        cmocka_unit_test(dsml_becomes_json),
        cmocka_unit_test(objects_come_out_as_they_are),
        cmocka_unit_test(arguments_may_be_any_json),
        cmocka_unit_test(a_broken_call_is_content_and_nothing_is_lost),
        cmocka_unit_test(an_answer_cut_short_says_so),
        cmocka_unit_test(what_is_encoded_is_read_back),
        cmocka_unit_test(huge_arguments_come_through_byte_by_byte),
        cmocka_unit_test(any_text_comes_apart_the_same_wherever_it_is_cut),
        cmocka_unit_test(a_failed_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

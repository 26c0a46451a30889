/* Calls of tools as grammars: whatever goes through the mask is read back as calls of these tools with arguments their
 * schemas accept, and what chat_encode writes of a call goes through it. */
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
#include "text/grammarmask.h"
#include "text/markvocabulary.h"
#include "text/toolgrammar.h"

#define DSML_REST "/｜DSML｜parameter>" /* of a parameter's end */

static const struct chat_tool tools[] = {
    {"get_weather", NULL,
     "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"unit\":{\"type\":\"string\",\"enum\":[\"c\","
     "\"f\"]},\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":7}},\"required\":[\"city\"],"
     "\"additionalProperties\":false}"},
    {"plan", NULL,
     "{\"$defs\":{\"step\":{\"type\":\"object\",\"properties\":{\"title\":{\"type\":\"string\"},\"done\":{\"type\":"
     "\"boolean\"}},\"required\":[\"title\",\"done\"]}},\"type\":\"object\",\"properties\":{\"steps\":{\"type\":\"array\","
     "\"items\":{\"$ref\":\"#/$defs/step\"},\"minItems\":1,\"maxItems\":3},\"note\":{\"anyOf\":[{\"type\":\"string\"},"
     "{\"type\":\"null\"}]}},\"required\":[\"steps\",\"note\"]}"},
    {"now", NULL, NULL},
    {"book", NULL,
     "{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{3}$\"},\"on\":{\"type\":"
     "\"string\",\"format\":\"date\"},\"size\":{\"enum\":[\"small\",2,null]}},\"required\":[\"code\",\"on\",\"size\"]}"},
};
enum { N_TOOLS = sizeof tools / sizeof tools[0] };

static const enum chat_format formats[] = {CHAT_DEEPSEEK_V3, CHAT_DEEPSEEK_R1, CHAT_DEEPSEEK_V31, CHAT_DEEPSEEK_V32,
                                           CHAT_DEEPSEEK_V4, CHAT_CHATML, CHAT_QWEN25};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

/* Turns marked, but nothing of calls: their marks are letters. */
static struct tokenizer *bare_new(void)
{
    static const char *const marks[] = {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
                                        "<think>", "</think>", "<|im_start|>", "<|im_end|>"};
    return markvocabulary_of(marks, sizeof marks / sizeof marks[0]);
}

/* ---- what was heard ---- */

struct heard {
    struct strbuf content, name, arguments;
    size_t calls;
    bool broken, reasoned;
    const char *only;
};

static bool is_text_of(const json_t *o, const char *key)
{
    return json_is_string(json_object_get(o, key));
}

static bool weather_is_right(const json_t *o)
{
    const json_t *unit = json_object_get(o, "unit"), *days = json_object_get(o, "days");
    size_t n = 1;
    if (unit) {
        n++;
        if (!json_is_string(unit) || (strcmp(json_string_value(unit), "c") && strcmp(json_string_value(unit), "f"))) {
            return false;
        }
    }
    if (days) {
        n++;
        if (!json_is_integer(days) || json_integer_value(days) < 1 || json_integer_value(days) > 7) {
            return false;
        }
    }
    return is_text_of(o, "city") && json_object_size(o) == n;
}

static bool plan_is_right(const json_t *o)
{
    const json_t *steps = json_object_get(o, "steps"), *note = json_object_get(o, "note");
    bool right = json_is_array(steps) && json_array_size(steps) >= 1 && json_array_size(steps) <= 3 &&
                 (json_is_string(note) || json_is_null(note)) && json_object_size(o) == 2;
    for (size_t i = 0; right && i < json_array_size(steps); i++) {
        const json_t *s = json_array_get(steps, i);
        right = is_text_of(s, "title") && json_is_boolean(json_object_get(s, "done")) && json_object_size(s) == 2;
    }
    return right;
}

static bool book_is_right(const json_t *o)
{
    const char *code = json_string_value(json_object_get(o, "code")), *on = json_string_value(json_object_get(o, "on"));
    const json_t *size = json_object_get(o, "size");
    bool right = code && on && strlen(code) == 3 && strlen(on) == 10 && on[4] == '-' && on[7] == '-' &&
                 json_object_size(o) == 3;
    for (int i = 0; right && i < 3; i++) {
        right = code[i] >= 'A' && code[i] <= 'Z';
    }
    return right && (json_is_null(size) || json_integer_value(size) == 2 ||
                     (json_is_string(size) && strcmp(json_string_value(size), "small") == 0));
}

static bool is_right(const char *name, const json_t *o)
{
    return strcmp(name, "get_weather") == 0 ? weather_is_right(o)
           : strcmp(name, "plan") == 0      ? plan_is_right(o)
           : strcmp(name, "book") == 0      ? book_is_right(o)
           : strcmp(name, "now") == 0       ? json_is_object(o) && json_object_size(o) == 0
                                            : false;
}

static void end_call(struct heard *h)
{
    json_t *o = NULL;
    struct errinfo info = {0};
    if (json_parse(h->arguments.data, h->arguments.len, "arguments", &o, &info) != ERR_OK) {
        fail_msg("%s: %s", h->arguments.data, info.message);
    }
    if (!is_right(h->name.data, o) || (h->only && strcmp(h->only, h->name.data) != 0)) {
        fail_msg("%s of %s", h->arguments.data, h->name.data);
    }
    json_decref(o);
    h->calls++;
}

static void hear(void *user, const struct answerparser_event *e)
{
    struct heard *h = user;
    struct strbuf *to = e->kind == ANSWERPARSER_CONTENT     ? &h->content
                        : e->kind == ANSWERPARSER_CALL      ? &h->name
                        : e->kind == ANSWERPARSER_ARGUMENTS ? &h->arguments
                                                            : NULL;
    if (e->kind == ANSWERPARSER_CALL) {
        strbuf_clear(&h->name);
        strbuf_clear(&h->arguments);
    }
    if (to) {
        assert_int_equal(strbuf_append(to, e->text, e->len), ERR_OK);
    } else if (e->kind == ANSWERPARSER_CALL_END) {
        end_call(h);
    }
    h->broken = h->broken || e->kind == ANSWERPARSER_CALL_BROKEN;
}

/* ---- walks ---- */

struct fixture {
    struct tokenizer *t;
    struct grammar *g;
    struct tokentrie *v;
    struct grammarmask *m;
};

static void must(err e, const struct errinfo *info)
{
    if (e != ERR_OK) {
        fail_msg("%s", info->message);
    }
}

static struct fixture fixture_open(struct tokenizer *t, enum chat_format f, const struct toolgrammar_request *r)
{
    struct fixture x = {.t = t};
    struct errinfo info = {0};
    must(toolgrammar_new(t, f, r, &x.g, &info), &info);
    must(tokentrie_new(t, &x.v, &info), &info);
    must(grammarmask_new(x.g, x.v, &x.m, &info), &info);
    return x;
}

static void fixture_close(struct fixture *x)
{
    grammarmask_free(x->m);
    tokentrie_free(x->v);
    grammar_free(x->g);
}

static bool may_come(const uint64_t *bits, int32_t id)
{
    return id >= 0 && bits[id / 64] >> id % 64 & 1;
}

/* Inside a value that stands as it is. (JSON that holds the mark of its end is beyond the grammar.) */
static bool in_raw(const struct strbuf *text)
{
    static const char opens[] = " string=\"";
    const char *value = NULL, *at = text->data;
    while (at && (at = strstr(at, opens))) {
        at += strlen(opens);
        value = at;
    }
    return value && strncmp(value, "true", 4) == 0;
}

/* Any token that may come; what closes and what marks something more often than chance would have it. */
static int32_t choose(const struct fixture *x, const uint64_t *bits, const struct strbuf *text, struct rng *r,
                      const char **aim)
{
    int32_t fits[512];
    size_t n = 0, size = tokenizer_size(x->t);
    for (int32_t i = 256; (size_t)i < size; i++) {
        if (may_come(bits, i) && rng_u64(r) % 2) {
            *aim = "";
            return i;
        }
    }
    if (**aim && may_come(bits, (uint8_t)**aim)) {
        return (uint8_t) * (*aim)++;
    }
    *aim = "";
    if (may_come(bits, '<') && in_raw(text) && rng_u64(r) % 8 == 0) {
        *aim = DSML_REST;
        return '<';
    }
    if (may_come(bits, '"') && rng_u64(r) % 8 == 0) {
        return '"';
    }
    for (int32_t i = 0; (size_t)i < size; i++) {
        if (may_come(bits, i)) {
            fits[n++] = i;
        }
    }
    assert_true(n > 0);
    return fits[rng_u64(r) % n];
}

static void walk(struct fixture *x, struct rng *r, struct strbuf *text)
{
    struct errinfo info = {0};
    const char *aim = "";
    grammarmask_begin(x->m, -1);
    for (size_t i = 0; !grammarmask_may_end(x->m) || (i < 100 && rng_u64(r) % 4); i++) {
        const uint64_t *bits;
        must(grammarmask_next(x->m, &bits, &info), &info);
        bool any = false;
        for (size_t k = 0; k < (tokenizer_size(x->t) + 63) / 64; k++) {
            any = any || bits[k];
        }
        if (!any) {
            assert_true(grammarmask_may_end(x->m));
            return;
        }
        int32_t id = choose(x, bits, text, r, &aim);
        must(grammarmask_accept(x->m, id, &info), &info);
        struct tokenizer_piece p = tokenizer_bytes(x->t, id);
        assert_int_equal(strbuf_append(text, p.data, p.len), ERR_OK);
        if (i == 20000) {
            fail_msg("no end to %s", text->data);
        }
    }
}

static size_t read_back(enum chat_format f, const struct strbuf *text, const struct toolgrammar_request *r)
{
    struct heard h = {.only = r->only};
    struct answerparser *p;
    enum answerparser_ending ending;
    assert_int_equal(answerparser_new(f, true, false, hear, &h, &p), ERR_OK);
    assert_int_equal(answerparser_push(p, text->data ? text->data : "", text->len), ERR_OK);
    assert_int_equal(answerparser_finish(p, false, &ending), ERR_OK);
    answerparser_free(p);
    if (ending != ANSWERPARSER_COMPLETE || h.broken || (!r->may_answer && (h.calls == 0 || h.content.len > 0)) ||
        (r->one && h.calls > 1)) {
        fail_msg("%s, %zu calls, content \"%s\", ending %d, of\n%s", chat_format_name(f), h.calls,
                 h.content.data ? h.content.data : "", ending, text->data);
    }
    strbuf_deinit(&h.content);
    strbuf_deinit(&h.name);
    strbuf_deinit(&h.arguments);
    return h.calls;
}

static void what_goes_through_the_mask_are_calls_of_these_tools(void **state)
{
    (void)state;
    static const struct toolgrammar_request requests[] = {
        {.tools = tools, .n_tools = N_TOOLS},
        {.tools = tools, .n_tools = N_TOOLS, .one = true},
        {.tools = tools, .n_tools = N_TOOLS, .only = "plan", .one = true},
        {.tools = tools, .n_tools = N_TOOLS, .may_answer = true},
    };
    struct rng r;
    size_t calls[2] = {0};
    rng_seed(&r, 11);
    for (size_t i = 0; i < N_FORMATS * 2; i++) {
        struct tokenizer *t = i % 2 ? bare_new() : markvocabulary_new();
        enum chat_format f = formats[i / 2];
        if (i % 2 && !(f == CHAT_DEEPSEEK_V32 || f >= CHAT_CHATML)) {
            tokenizer_free(t); /* these never come without their tokens */
            continue;
        }
        for (size_t q = 0; q < 4; q++) {
            struct fixture x = fixture_open(t, f, &requests[q]);
            for (int k = 0; k < 12; k++) {
                struct strbuf text = {0};
                walk(&x, &r, &text);
                calls[requests[q].may_answer] += read_back(f, &text, &requests[q]);
                strbuf_deinit(&text);
            }
            fixture_close(&x);
        }
        tokenizer_free(t);
    }
    print_message("%zu calls, %zu beside text\n", calls[0], calls[1]);
    assert_true(calls[0] > 400 && calls[1] > 20);
}

static void marks_are_wanted_as_tokens_and_nowhere_else(void **state)
{
    (void)state;
    const struct toolgrammar_request r = {.tools = tools, .n_tools = 1};
    struct errinfo info = {0};
    struct tokenizer *t = markvocabulary_new();
    struct fixture x = fixture_open(t, CHAT_DEEPSEEK_V31, &r);
    const uint64_t *bits;
    int32_t begin = tokenizer_special(t, "<｜tool▁calls▁begin｜>"), call = tokenizer_special(t, "<｜tool▁call▁begin｜>");
    must(grammarmask_next(x.m, &bits, &info), &info);
    for (int32_t i = 0; (size_t)i < tokenizer_size(t); i++) {
        assert_int_equal(may_come(bits, i), i == begin);
    }
    assert_int_equal(grammarmask_accept(x.m, '<', &info), ERR_ARGUMENT);
    must(grammarmask_accept(x.m, begin, &info), &info);
    must(grammarmask_accept(x.m, call, &info), &info);
    for (const char *p = "get_weather"; *p; p++) {
        must(grammarmask_accept(x.m, *p, &info), &info);
    }
    must(grammarmask_accept(x.m, tokenizer_special(t, "<｜tool▁sep｜>"), &info), &info);
    for (const char *p = "{\"city\":\"a"; *p; p++) {
        must(grammarmask_accept(x.m, *p, &info), &info);
    }
    must(grammarmask_next(x.m, &bits, &info), &info);
    for (int32_t i = 256; (size_t)i < tokenizer_size(t); i++) {
        assert_false(may_come(bits, i)); /* inside a string no token but text */
    }
    fixture_close(&x);
    tokenizer_free(t);
}

/* ---- what chat_encode writes ---- */

static const struct chat_call written[] = {
    {"1", "get_weather", "{\"city\": \"Sankt <b>\\n\\\"P\\\" ü\", \"days\": 3}"},
    {"2", "plan", "{\"steps\": [{\"title\": \"a\", \"done\": true}], \"note\": null}"},
    {"3", "now", "{}"},
};

static void what_is_written_of_a_call_goes_through_the_mask(void **state)
{
    (void)state;
    const struct chat_message m[] = {{.role = CHAT_USER, .content = "q"},
                                     {.role = CHAT_ASSISTANT, .calls = written, .n_calls = 3},
                                     {.role = CHAT_TOOL, .content = "r", .call_id = "1"}};
    const struct toolgrammar_request any = {.tools = tools, .n_tools = N_TOOLS};
    for (size_t i = 0; i < N_FORMATS; i++) {
        struct tokenizer *t = markvocabulary_new();
        struct fixture x = fixture_open(t, formats[i], &any);
        struct tokenizer_ids prompt = {0}, all = {0};
        struct errinfo info = {0};
        int32_t stops[CHAT_STOP_MAX];
        size_t n_stops = chat_stop_ids(t, formats[i], stops), at;
        must(chat_encode(t, formats[i], m, 1, CHAT_NO_THINKING, &prompt, &info), &info);
        must(chat_encode(t, formats[i], m, 3, CHAT_NO_THINKING, &all, &info), &info);
        at = prompt.len - (formats[i] == CHAT_DEEPSEEK_R1 ? strlen("<\n") : 0); /* its history has no <think> */
        for (bool stop = false; !stop; at++) {
            for (size_t k = 0; k < n_stops; k++) {
                stop = stop || all.data[at] == stops[k];
            }
            err e = stop ? ERR_OK : grammarmask_accept(x.m, all.data[at], &info);
            if (e != ERR_OK) {
                fail_msg("%s, token %zu: %s", chat_format_name(formats[i]), at - prompt.len, info.message);
            }
        }
        assert_true(grammarmask_may_end(x.m));
        tokenizer_ids_deinit(&prompt);
        tokenizer_ids_deinit(&all);
        fixture_close(&x);
        tokenizer_free(t);
    }
}

/* ---- refusals ---- */

static void what_cannot_be_held_to_is_refused_by_name(void **state)
{
    (void)state;
    static const struct chat_tool odd[] = {
        {"a b", NULL, NULL},
        {"broken", NULL, "{"},
        {"listed", NULL, "{\"type\":\"array\"}"},
        {"either", NULL, "{\"anyOf\":[{\"type\":\"object\"}]}"},
        {"unique", NULL, "{\"properties\":{\"x\":{\"uniqueItems\":true}}}"},
        {"loop", NULL, "{\"properties\":{\"x\":{\"$ref\":\"#/properties/x\"}}}"},
        {"quoted", NULL, "{\"properties\":{\"a\\\"b\":{}}}"},
    };
    static const struct {
        enum chat_format format;
        struct toolgrammar_request is;
        err code;
        const char *says;
    } rows[] = {
        {CHAT_LLAMA3, {.tools = tools, .n_tools = 1}, ERR_UNSUPPORTED, "llama3"},
        {CHAT_QWEN25, {.n_tools = 0}, ERR_ARGUMENT, "no tools"},
        {CHAT_QWEN25, {.tools = tools, .n_tools = N_TOOLS, .only = "fly"}, ERR_ARGUMENT, "fly"},
        {CHAT_DEEPSEEK_V4, {.tools = &odd[0], .n_tools = 1}, ERR_ARGUMENT, "a b"},
        {CHAT_DEEPSEEK_V4, {.tools = &odd[1], .n_tools = 1}, ERR_CORRUPT, "broken"},
        {CHAT_DEEPSEEK_V3, {.tools = &odd[2], .n_tools = 1}, ERR_ARGUMENT, "listed"},
        {CHAT_DEEPSEEK_V4, {.tools = &odd[3], .n_tools = 1}, ERR_UNSUPPORTED, "anyOf"},
        {CHAT_DEEPSEEK_V31, {.tools = &odd[4], .n_tools = 1}, ERR_UNSUPPORTED, "uniqueItems"},
        {CHAT_DEEPSEEK_V32, {.tools = &odd[5], .n_tools = 1}, ERR_LIMIT, "loop"},
        {CHAT_DEEPSEEK_V4, {.tools = &odd[6], .n_tools = 1}, ERR_UNSUPPORTED, "quote"},
    };
    struct tokenizer *t = markvocabulary_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct grammar *g = NULL;
        struct errinfo info = {0};
        err e = toolgrammar_new(t, rows[i].format, &rows[i].is, &g, &info);
        if (e != rows[i].code || !strstr(info.message, rows[i].says)) {
            grammar_free(e == ERR_OK ? g : NULL);
            fail_msg("row %zu: %s: %s", i, err_name(e), info.message);
        }
    }
    tokenizer_free(t);
}

static void a_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    static const enum chat_format some[] = {CHAT_DEEPSEEK_V4, CHAT_QWEN25};
    const struct toolgrammar_request r = {.tools = tools + 1, .n_tools = 2, .may_answer = true};
    struct tokenizer *t = markvocabulary_new();
    for (size_t i = 0; i < 2; i++) {
        size_t alive = mem_alive();
        bool done = false;
        for (size_t k = 1; !done; k += k < 200 ? 1 : 37) {
            char *text = NULL;
            struct errinfo info = {0};
            mem_fault(k, 0);
            err e = toolgrammar_text(t, some[i], &r, &text, &info);
            mem_fault(0, 0);
            done = e == ERR_OK;
            assert_true(done || (e == ERR_NOMEM && info.message[0]));
            mem_free(text);
            assert_int_equal(mem_alive(), alive);
            assert_true(k < 100000);
        }
    }
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_through_the_mask_are_calls_of_these_tools),
        cmocka_unit_test(marks_are_wanted_as_tokens_and_nowhere_else),
        cmocka_unit_test(what_is_written_of_a_call_goes_through_the_mask),
        cmocka_unit_test(what_cannot_be_held_to_is_refused_by_name),
        cmocka_unit_test(a_failed_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

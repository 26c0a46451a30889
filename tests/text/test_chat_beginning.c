/* An answer whose beginning is given: every format lays it out so that the model goes on from there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "text/chat.h"
#include "text/markvocabulary.h"

#define BOS "<｜begin▁of▁sentence｜>"
#define U "<｜User｜>"
#define A "<｜Assistant｜>"
#define QWEN "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
#define ASKED "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"

static void expect(struct tokenizer *t, enum chat_format f, enum chat_thinking think, const struct chat_message *m,
                   size_t n, const char *wanted, bool opens)
{
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
    assert_int_equal(chat_opens_thinking(f, m, n, think), opens);
    strbuf_deinit(&text);
    tokenizer_ids_deinit(&ids);
}

static void a_given_beginning_stands_at_the_end_word_for_word(void **state)
{
    (void)state;
    static const struct {
        enum chat_format format;
        enum chat_thinking think;
        const char *reasoning, *content;
        const char *wanted;
        bool opens;
    } rows[] = {
        {CHAT_PLAIN, 0, NULL, " a\n", "q a\n", false},
        {CHAT_DEEPSEEK_V2, 0, NULL, "a ", BOS "User: q\n\nAssistant: a ", false},
        {CHAT_DEEPSEEK_V25, 0, NULL, "a ", BOS U "q" A "a ", false},
        {CHAT_DEEPSEEK_V3, 0, NULL, "```c\n", BOS U "q" A "```c\n", false},
        {CHAT_DEEPSEEK_V3, 0, "", NULL, BOS U "q" A, false},
        {CHAT_DEEPSEEK_R1, 1, "r", NULL, BOS U "q" A "<think>\nr", true},
        {CHAT_DEEPSEEK_R1, 0, "r", "a", BOS U "q" A "<think>\nr\n</think>\n\na", false},
        {CHAT_DEEPSEEK_R1, 1, NULL, "a", BOS U "q" A "<think>\n\n</think>\n\na", false},
        {CHAT_DEEPSEEK_V31, 0, NULL, "a", BOS U "q" A "</think>a", false},
        {CHAT_DEEPSEEK_V31, 1, NULL, "a", BOS U "q" A "</think>a", false},
        {CHAT_DEEPSEEK_V31, 1, "r", "", BOS U "q" A "<think>r", true},
        {CHAT_DEEPSEEK_V31, 1, "r", "a", BOS U "q" A "<think>r</think>a", false},
        {CHAT_DEEPSEEK_V31, 1, NULL, NULL, BOS U "q" A "<think>", true},
        {CHAT_FATHOM, 0, NULL, "a", BOS U "q" A "</think>a", false},
        {CHAT_DEEPSEEK_V32, 0, NULL, "a", BOS U "q" A "</think>a", false},
        {CHAT_DEEPSEEK_V32, 1, "r", "a", BOS U "q" A "<think>r</think>a", false},
        {CHAT_DEEPSEEK_V4, 0, NULL, "a", BOS U "q" A "</think>a", false},
        {CHAT_DEEPSEEK_V4, 1, "r", NULL, BOS U "q" A "<think>r", true},
        {CHAT_DEEPSEEK_V4, 1, "r", "a", BOS U "q" A "<think>r</think>a", false},
        {CHAT_DEEPSEEK_V4_0731, 2, NULL, "a", BOS U "q" A "<think></think>a", false},
        {CHAT_CHATML, 0, NULL, "a ", ASKED "a ", false},
        {CHAT_QWEN2, 0, NULL, "a ", QWEN ASKED "a ", false},
        {CHAT_LLAMA3, 0, NULL, " a ",
         "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n a ", false},
    };
    struct tokenizer *t = markvocabulary_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct chat_message m[] = {
            {.role = CHAT_USER, .content = "q"},
            {.role = CHAT_ASSISTANT, .reasoning = rows[i].reasoning, .content = rows[i].content, .open = true}};
        expect(t, rows[i].format, rows[i].think, m, 2, rows[i].wanted, rows[i].opens);
    }
    tokenizer_free(t);
}

static void every_format_can_be_continued(void **state)
{
    (void)state;
    const struct chat_message m[] = {{.role = CHAT_USER, .content = "q"},
                                     {.role = CHAT_ASSISTANT, .content = "a<｜User｜></think>", .open = true}};
    struct tokenizer *t = markvocabulary_new();
    for (unsigned f = 0; f < CHAT_FORMATS; f++) {
        for (int think = 0; think < 2; think++) {
            struct tokenizer_ids ids = {0};
            assert_int_equal(chat_encode(t, f, m, 2, think, &ids, NULL), ERR_OK);
            size_t n = strlen(m[1].content);
            assert_true(ids.len > n);
            for (size_t i = ids.len - n; i < ids.len; i++) { /* nothing behind it, and no token in it */
                assert_int_equal(tokenizer_bytes(t, ids.data[i]).len, 1);
                assert_int_equal(*tokenizer_bytes(t, ids.data[i]).data, m[1].content[i + n - ids.len]);
            }
            tokenizer_ids_deinit(&ids);
        }
    }
    tokenizer_free(t);
}

static void behind_a_result_the_answer_goes_on(void **state)
{
    (void)state;
    static const struct chat_call call = {"1", "f", "{}"};
    const struct chat_message m[] = {{.role = CHAT_USER, .content = "q"},
                                     {.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1},
                                     {.role = CHAT_TOOL, .content = "4", .call_id = "1"},
                                     {.role = CHAT_ASSISTANT, .content = "It is", .open = true}};
    struct tokenizer *t = markvocabulary_new();
    expect(t, CHAT_DEEPSEEK_V31, 0, m, 4,
           BOS U "q" A "</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
           "<｜tool▁calls▁end｜><｜end▁of▁sentence｜><｜tool▁output▁begin｜>4<｜tool▁output▁end｜>It is", false);
    tokenizer_free(t);
}

static void what_cannot_go_on_is_refused(void **state)
{
    (void)state;
    static const struct chat_call call = {"1", "f", "{}"};
    static const struct {
        enum chat_format format;
        enum chat_thinking think;
        struct chat_message m[3];
        size_t n;
        err code;
        const char *says;
    } rows[] = {
        {CHAT_DEEPSEEK_V3, 0, {{.content = "q", .role = CHAT_USER, .open = true}}, 1, ERR_ARGUMENT, "only the last"},
        {CHAT_DEEPSEEK_V3, 0,
         {{.role = CHAT_USER}, {.role = CHAT_ASSISTANT, .open = true}, {.role = CHAT_USER}}, 3, ERR_ARGUMENT,
         "message 2"},
        {CHAT_DEEPSEEK_V3, 0, {{.role = CHAT_ASSISTANT, .content = "a", .open = true}}, 1, ERR_ARGUMENT, "empty"},
        {CHAT_DEEPSEEK_V3, 0,
         {{.role = CHAT_USER}, {.role = CHAT_ASSISTANT}, {.role = CHAT_ASSISTANT, .content = "a", .open = true}}, 3,
         ERR_ARGUMENT, "the assistant's"},
        {CHAT_DEEPSEEK_V3, 1, {{.role = CHAT_USER}, {.role = CHAT_ASSISTANT, .reasoning = "r", .open = true}}, 2,
         ERR_UNSUPPORTED, "does not think"},
        {CHAT_DEEPSEEK_V4, 0, {{.role = CHAT_USER}, {.role = CHAT_ASSISTANT, .reasoning = "r", .open = true}}, 2,
         ERR_UNSUPPORTED, "thinking is off"},
        {CHAT_DEEPSEEK_V4, 1,
         {{.role = CHAT_USER}, {.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1, .open = true}}, 2,
         ERR_UNSUPPORTED, "tool calls"},
    };
    struct tokenizer *t = markvocabulary_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tokenizer_ids ids = {0};
        struct errinfo info = {0};
        err e = chat_encode(t, rows[i].format, rows[i].m, rows[i].n, rows[i].think, &ids, &info);
        if (e != rows[i].code || !strstr(info.message, rows[i].says) || ids.len != 0) {
            fail_msg("row %zu: %s: %s", i, err_name(e), info.message);
        }
        tokenizer_ids_deinit(&ids);
    }
    tokenizer_free(t);
}

static void a_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    const struct chat_message m[] = {{.role = CHAT_USER, .content = "q"},
                                     {.role = CHAT_ASSISTANT, .reasoning = "r", .content = "a", .open = true}};
    struct tokenizer *t = markvocabulary_new();
    size_t alive = mem_alive();
    bool done = false;
    for (size_t k = 1; !done; k++) {
        struct tokenizer_ids ids = {0};
        mem_fault(k, 0);
        err e = chat_encode(t, CHAT_DEEPSEEK_R1, m, 2, CHAT_THINKING, &ids, NULL);
        mem_fault(0, 0);
        done = e == ERR_OK;
        assert_true(done || (e == ERR_NOMEM && ids.len == 0));
        tokenizer_ids_deinit(&ids);
        assert_int_equal(mem_alive(), alive);
        assert_true(k < 200);
    }
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_given_beginning_stands_at_the_end_word_for_word),
        cmocka_unit_test(every_format_can_be_continued),
        cmocka_unit_test(behind_a_result_the_answer_goes_on),
        cmocka_unit_test(what_cannot_go_on_is_refused),
        cmocka_unit_test(a_failed_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Conversations to ids: equal to the models' templates (tools/golden/chat_cases.py), and text that spells
 * control tokens stays text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/chat.h"

enum { MESSAGES_MAX = 16 };

static struct tokenizer *open_small(const char *name)
{
    char dir[200];
    struct errinfo info = {0};
    struct tokenizer *t = NULL;
    snprintf(dir, sizeof dir, "tests/golden/tokenizer/%s", name);
    if (tokenizer_open(dir, &t, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return t;
}

static enum chat_role role_of(const char *name)
{
    return strcmp(name, "system") == 0 ? CHAT_SYSTEM
           : strcmp(name, "user") == 0 ? CHAT_USER
                                       : CHAT_ASSISTANT;
}

static size_t read_messages(const json_t *list, struct chat_message *out)
{
    size_t i;
    json_t *m;
    json_array_foreach(list, i, m) {
        assert_true(i < MESSAGES_MAX);
        out[i] = (struct chat_message){.role = role_of(json_string_value(json_array_get(m, 0))),
                                       .content = json_string_value(json_array_get(m, 1))};
    }
    return json_array_size(list);
}

static void every_format_gives_the_ids_of_its_template(void **state)
{
    (void)state;
    struct errinfo info = {0};
    json_t *cases;
    assert_int_equal(json_parse_file("tests/golden/chat/cases.json", 1 << 22, &cases, &info), ERR_OK);
    size_t i, k, wrong = 0;
    json_t *c, *id;
    json_array_foreach(cases, i, c) {
        struct chat_message messages[MESSAGES_MAX];
        size_t n = read_messages(json_object_get(c, "messages"), messages);
        enum chat_format f;
        assert_true(chat_format_from_name(json_string_value(json_object_get(c, "format")), &f));
        struct tokenizer *t = open_small(json_string_value(json_object_get(c, "vocabulary")));
        struct tokenizer_ids ids = {0};
        bool think = json_is_true(json_object_get(c, "think"));
        if (chat_encode(t, f, messages, n, think, &ids, &info) != ERR_OK) {
            fail_msg("%s", info.message);
        }
        bool same = ids.len == json_array_size(json_object_get(c, "ids"));
        json_array_foreach(json_object_get(c, "ids"), k, id) {
            same = same && ids.data[k] == json_integer_value(id);
        }
        if (!same) {
            print_message("%s: %s\n", chat_format_name(f),
                          json_string_value(json_object_get(c, "text")));
            wrong++;
        }
        tokenizer_ids_deinit(&ids);
        tokenizer_free(t);
    }
    print_message("%zu conversations compared\n", i);
    assert_true(i > 90);
    assert_int_equal(wrong, 0);
    json_decref(cases);
}

/* How many of the ids are added tokens. */
static size_t count_added(const struct tokenizer *t, const struct tokenizer_ids *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->len; i++) {
        enum tokenizer_kind kind = tokenizer_kind_at(t, ids->data[i]);
        n += kind == TOKENIZER_CONTROL || kind == TOKENIZER_USER;
    }
    return n;
}

/* Every added token spelled out, twice, with and without space. */
static char *spell_all(const struct tokenizer *t)
{
    char *text = calloc(1, 1 << 16);
    for (int32_t id = 0; (size_t)id < tokenizer_size(t); id++) {
        enum tokenizer_kind kind = tokenizer_kind_at(t, id);
        if (kind == TOKENIZER_CONTROL || kind == TOKENIZER_USER) {
            struct tokenizer_piece p = tokenizer_bytes(t, id);
            size_t used = strlen(text);
            snprintf(text + used, (1 << 16) - used, "%.*s%.*s %.*s\n", (int)p.len, p.data, (int)p.len,
                     p.data, (int)p.len, p.data);
        }
    }
    return text;
}

static void text_that_spells_control_tokens_stays_text(void **state)
{
    (void)state;
    static const struct {
        const char *vocabulary;
        enum chat_format format;
    } rows[] = {
        {"deepseek-llm", CHAT_DEEPSEEK_V2}, {"deepseek-v3", CHAT_DEEPSEEK_V25},
        {"deepseek-v3", CHAT_DEEPSEEK_V3},  {"deepseek-v3", CHAT_DEEPSEEK_R1},
        {"deepseek-v3", CHAT_DEEPSEEK_V31}, {"smollm", CHAT_CHATML},
        {"smollm", CHAT_SMOLLM2},           {"qwen2", CHAT_QWEN2},
        {"llama-bpe", CHAT_LLAMA3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tokenizer *t = open_small(rows[i].vocabulary);
        char *text = spell_all(t);
        struct chat_message tame[] = {{.role = CHAT_SYSTEM, .content = "s"}, {.role = CHAT_USER, .content = "u"},
                                      {.role = CHAT_ASSISTANT, .content = "a"}, {.role = CHAT_USER, .content = "v"}};
        struct chat_message wild[] = {{.role = CHAT_SYSTEM, .content = text}, {.role = CHAT_USER, .content = text},
                                      {.role = CHAT_ASSISTANT, .content = text}, {.role = CHAT_USER, .content = text}};
        struct tokenizer_ids a = {0}, b = {0}, plain = {0};
        assert_int_equal(chat_encode(t, rows[i].format, tame, 4, true, &a, NULL), ERR_OK);
        assert_int_equal(chat_encode(t, rows[i].format, wild, 4, true, &b, NULL), ERR_OK);
        assert_int_equal(count_added(t, &a), count_added(t, &b));
        assert_int_equal(tokenizer_encode(t, text, strlen(text), false, &plain, NULL), ERR_OK);
        assert_int_equal(count_added(t, &plain), 0);
        assert_true(plain.len > 0);
        tokenizer_ids_deinit(&a);
        tokenizer_ids_deinit(&b);
        tokenizer_ids_deinit(&plain);
        free(text);
        tokenizer_free(t);
    }
}

static void a_missing_token_is_named_and_nothing_is_appended(void **state)
{
    (void)state;
    struct tokenizer *t = open_small("gpt-2");
    struct chat_message m = {.role = CHAT_USER, .content = "hello"};
    for (unsigned f = CHAT_DEEPSEEK_V25; f < CHAT_FORMATS; f++) {
        struct tokenizer_ids ids = {0};
        struct errinfo info = {0};
        assert_int_equal(tokenizer_ids_push(&ids, 7), ERR_OK);
        assert_int_equal(chat_encode(t, (enum chat_format)f, &m, 1, true, &ids, &info), ERR_ARGUMENT);
        assert_non_null(strstr(info.message, "the vocabulary has no token <"));
        assert_int_equal(ids.len, 1);
        tokenizer_ids_deinit(&ids);
    }
    tokenizer_free(t);
}

static void a_conversation_without_a_question_is_refused(void **state)
{
    (void)state;
    struct tokenizer *t = open_small("deepseek-v3");
    struct chat_message m[] = {{.role = CHAT_USER, .content = "q"}, {.role = CHAT_ASSISTANT, .content = "a"}};
    struct tokenizer_ids ids = {0};
    assert_int_equal(chat_encode(t, CHAT_DEEPSEEK_V3, m, 0, false, &ids, NULL), ERR_ARGUMENT);
    assert_int_equal(chat_encode(t, CHAT_DEEPSEEK_V3, m, 2, false, &ids, NULL), ERR_ARGUMENT);
    assert_int_equal(ids.len, 0);
    tokenizer_free(t);
}

static void formats_are_detected(void **state)
{
    (void)state;
    const struct {
        const char *vocabulary, *text;
        enum chat_format format;
        bool sure;
    } rows[] = {
        {"gpt-2", NULL, CHAT_PLAIN, true},
        {"gpt-2", "{{ '<|im_start|>' }}", CHAT_PLAIN, false},
        /* V2 and its base models; V2.5 by its markers, which this small vocabulary lacks */
        {"deepseek-llm", NULL, CHAT_PLAIN, true},
        {"deepseek-llm", "{{ 'User: ' + m }}{{ 'Assistant:' }}", CHAT_DEEPSEEK_V2, true},
        /* V3, R1 as first and as now published, V3.1; one vocabulary */
        {"deepseek-v3", NULL, CHAT_DEEPSEEK_R1, false},
        {"deepseek-v3", "{{ '<｜User｜>' }}", CHAT_DEEPSEEK_V3, true},
        {"deepseek-v3", "{{ '<｜User｜>' }}content.split('</think>')[-1]", CHAT_DEEPSEEK_R1, false},
        {"deepseek-v3", "{{ '<｜User｜>' }}{{ '<｜Assistant｜><think>\\n' }}", CHAT_DEEPSEEK_R1, true},
        {"deepseek-v3", "<｜User｜>{% if not thinking %}</think>", CHAT_DEEPSEEK_V31, true},
        {"deepseek-v3", "<｜User｜>{% if not thinking %}<｜DSML｜function_calls>", CHAT_DEEPSEEK_V32, true},
        {"deepseek-v3", "<｜User｜>{% if not thinking %}<｜DSML｜tool_calls>", CHAT_DEEPSEEK_V4, true},
        {"deepseek-v3", "{{ 'User: ' + m }}", CHAT_DEEPSEEK_V2, true},
        {"deepseek-v3", chat_template_text(), CHAT_FATHOM, true},
        {"deepseek-v3", "no marker", CHAT_PLAIN, false},
        /* ChatML */
        {"smollm", NULL, CHAT_SMOLLM2, false},
        {"smollm", "<|im_start|>", CHAT_CHATML, true},
        {"qwen2", NULL, CHAT_CHATML, false},
        {"qwen2", "<|im_start|>system\nYou are a helpful assistant.<|im_end|>", CHAT_QWEN2, true},
        {"qwen2", "<|im_start|> You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
         CHAT_QWEN25, true},
        /* Llama 3 and its base models, whose vocabulary has the same tokens */
        {"llama-bpe", NULL, CHAT_LLAMA3, false},
        {"llama-bpe", "<|start_header_id|>", CHAT_LLAMA3, true},
        {"llama-bpe", "no marker", CHAT_PLAIN, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tokenizer *t = open_small(rows[i].vocabulary);
        size_t len = rows[i].text ? strlen(rows[i].text) : 0;
        struct chat_guess guess = chat_detect(t, rows[i].text, len);
        assert_string_equal(chat_format_name(guess.format), chat_format_name(rows[i].format));
        if ((guess.doubt == NULL) != rows[i].sure) {
            fail_msg("row %zu: %s", i, guess.doubt ? guess.doubt : "no doubt");
        }
        tokenizer_free(t);
    }
    char *text = NULL;
    size_t len;
    struct tokenizer *t = open_small("smollm");
    assert_int_equal(file_read("tests/golden/chat/smollm2.jinja", 1 << 16, &text, &len, NULL), ERR_OK);
    assert_int_equal(chat_detect(t, text, len).format, CHAT_SMOLLM2);
    mem_free(text);
    tokenizer_free(t);
}

static void stop_ids_are_the_ends_of_a_turn(void **state)
{
    (void)state;
    int32_t ids[CHAT_STOP_MAX];
    struct tokenizer *t = open_small("smollm");
    assert_int_equal(chat_stop_ids(t, CHAT_SMOLLM2, ids), 2);
    assert_int_equal(ids[0], tokenizer_special(t, "<|im_end|>"));
    assert_int_equal(ids[1], tokenizer_special(t, "<|endoftext|>"));
    tokenizer_free(t);
    t = open_small("deepseek-v3");
    assert_int_equal(chat_stop_ids(t, CHAT_DEEPSEEK_R1, ids), 1);
    assert_int_equal(ids[0], tokenizer_special(t, "<｜end▁of▁sentence｜>"));
    tokenizer_free(t);
    t = open_small("llama-bpe");
    assert_int_equal(chat_stop_ids(t, CHAT_LLAMA3, ids), 2);
    tokenizer_free(t);
}

static void thinking_is_ended_as_the_model_does_it(void **state)
{
    (void)state;
    static const struct {
        enum chat_format format;
        size_t least;
    } rows[] = {{CHAT_DEEPSEEK_V31, 1}, {CHAT_DEEPSEEK_V4, 1}, {CHAT_DEEPSEEK_R1, 2}, {CHAT_DEEPSEEK_V3, 0}};
    struct tokenizer *t = open_small("deepseek-v3");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tokenizer_ids ids = {0};
        assert_int_equal(chat_think_end(t, rows[i].format, &ids, NULL), ERR_OK);
        assert_true(rows[i].least < 2 ? ids.len == rows[i].least : ids.len >= 2);
        assert_true(ids.len == 0 || ids.data[0] == tokenizer_special(t, "</think>"));
        tokenizer_ids_deinit(&ids);
    }
    tokenizer_free(t);
}

static void a_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    struct tokenizer *t = open_small("deepseek-v3");
    struct chat_message m[] = {{.role = CHAT_SYSTEM, .content = "some words ﬁ 你好你好"},
                               {.role = CHAT_USER, .content = "a rather long question without spaces: "
                                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}};
    size_t alive = mem_alive();
    bool done = false;
    for (size_t k = 1; !done; k++) {
        for (int later = 0; later < 2; later++) {
            struct tokenizer_ids ids = {0};
            struct errinfo info = {0};
            mem_fault(k, later);
            err e = chat_encode(t, CHAT_DEEPSEEK_V31, m, 2, true, &ids, &info);
            mem_fault(0, 0);
            done = e == ERR_OK;
            assert_true(done || (e == ERR_NOMEM && ids.len == 0 && info.message[0]));
            tokenizer_ids_deinit(&ids);
            assert_int_equal(mem_alive(), alive);
        }
        assert_true(k < 1000);
    }
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_gives_the_ids_of_its_template),
        cmocka_unit_test(text_that_spells_control_tokens_stays_text),
        cmocka_unit_test(a_missing_token_is_named_and_nothing_is_appended),
        cmocka_unit_test(a_conversation_without_a_question_is_refused),
        cmocka_unit_test(formats_are_detected),
        cmocka_unit_test(stop_ids_are_the_ends_of_a_turn),
        cmocka_unit_test(thinking_is_ended_as_the_model_does_it),
        cmocka_unit_test(a_failed_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

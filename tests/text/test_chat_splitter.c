/* Reasoning and content come out the same wherever the stream is cut, and no tag leaks into content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "text/chat.h"

struct parts {
    char text[2][512];
    size_t len[2];
};

static void collect(void *user, enum chat_part part, const char *text, size_t len)
{
    struct parts *p = user;
    assert_true(len > 0 && p->len[part] + len < sizeof p->text[part]);
    memcpy(p->text[part] + p->len[part], text, len);
    p->len[part] += len;
}

static void expect(bool thinking, const char *stream, const char *reasoning, const char *content)
{
    size_t n = strlen(stream);
    struct rng r;
    rng_seed(&r, n);
    for (size_t round = 0; round < 40; round++) { /* whole, byte by byte, then random cuts */
        struct parts p = {0};
        struct chat_splitter s;
        chat_splitter_init(&s, thinking);
        for (size_t pos = 0; pos < n;) {
            size_t step = round == 0 ? n : round == 1 ? 1 : 1 + (size_t)(rng_u64(&r) % 7);
            step = step < n - pos ? step : n - pos;
            chat_splitter_push(&s, stream + pos, step, collect, &p);
            pos += step;
        }
        chat_splitter_finish(&s, collect, &p);
        assert_string_equal(p.text[CHAT_REASONING], reasoning);
        assert_string_equal(p.text[CHAT_CONTENT], content);
    }
}

static void tags_part_the_answer_wherever_it_is_cut(void **state)
{
    (void)state;
    expect(true, "because\n</think>\n\nyes", "because\n", "yes");
    expect(true, "<think>\nbecause</think>yes", "because", "yes");
    expect(false, "<think>\nbecause</think>\n\nyes", "because", "yes");
    expect(false, "\n\n<think>why</think>yes", "why", "yes");
    expect(false, "yes", "", "yes");
    expect(true, "never ends", "never ends", "");
    expect(true, "</think>x", "", "x");
    expect(false, "", "", "");
    expect(true, "\n\r\n", "", "");
}

static void what_only_looks_like_a_tag_is_text(void **state)
{
    (void)state;
    expect(false, "the tag <think> and </think>", "", "the tag <think> and </think>");
    expect(true, "a < b </thin </think", "a < b </thin </think", "");
    expect(true, "<<</think>x", "<<", "x");
    expect(true, "<</</think</think>x<think>", "<</</think", "x<think>");
    expect(false, "<thin", "", "<thin");
    expect(false, "<thinking>", "", "<thinking>");
    expect(true, "x<think>y</think>z", "x<think>y", "z");
    expect(true, "a</think>b</think>c", "a", "b</think>c");
    expect(false, " <think>", "", " <think>");
}

static void text_outside_tags_is_never_held_back_for_long(void **state)
{
    (void)state;
    struct parts p = {0};
    struct chat_splitter s;
    chat_splitter_init(&s, true);
    chat_splitter_push(&s, "abc</th", 7, collect, &p);
    assert_string_equal(p.text[CHAT_REASONING], "abc");
    chat_splitter_push(&s, "x", 1, collect, &p);
    assert_string_equal(p.text[CHAT_REASONING], "abc</thx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_part_the_answer_wherever_it_is_cut),
        cmocka_unit_test(what_only_looks_like_a_tag_is_text),
        cmocka_unit_test(text_outside_tags_is_never_held_back_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

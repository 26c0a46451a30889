/* Names of the model: its own, aliases with what they mean, and files of aliases that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/modelnames.h"

extern const unsigned char aliases_text[]; /* models/aliases.txt */

static struct modelnames *names(const char *text)
{
    struct modelnames *m = NULL;
    struct errinfo info = {0};
    if (modelnames_new("tiny", text, "aliases.txt", &m, &info) != ERR_OK) {
        fail_msg("%s", info.message);
    }
    return m;
}

static void test_names_and_what_they_mean(void **state)
{
    static const char text[] = "# comment\n\n  \t\nfast think=off # why\ndeep\tthink=max\r\nthinker   think=on\nany\nclaude-*\n*-x\n"
                               "gpt-* think=off";
    static const struct {
        const char *name;
        bool known;
        enum chat_thinking think; /* of a request that begins with CHAT_THINKING_LOW */
    } rows[] = {{"tiny", true, CHAT_THINKING_LOW},     {"", true, CHAT_THINKING_LOW},
                {"default", true, CHAT_THINKING_LOW},  {"fast", true, CHAT_NO_THINKING},
                {"deep", true, CHAT_THINKING_MAX},     {"thinker", true, CHAT_THINKING},
                {"any", true, CHAT_THINKING_LOW},      {"claude-", true, CHAT_THINKING_LOW},
                {"claude-3", true, CHAT_THINKING_LOW}, {"gpt-4o", true, CHAT_NO_THINKING},
                {"claude", false, CHAT_THINKING_LOW},  {"TINY", false, CHAT_THINKING_LOW},
                {"tiny2", false, CHAT_THINKING_LOW},   {"fas", false, CHAT_THINKING_LOW},
                {"a-x", false, CHAT_THINKING_LOW},     {"*-x", true, CHAT_THINKING_LOW}};
    struct modelnames *m = names(text);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum chat_thinking think = CHAT_THINKING_LOW;
        if (modelnames_match(m, rows[i].name, &think) != rows[i].known || think != rows[i].think) {
            fail_msg("\"%s\" → %d", rows[i].name, think);
        }
    }
    static const char *const listed[] = {"fast", "deep", "thinker", "any", "*-x", NULL};
    for (size_t i = 0; i < 6; i++) {
        const char *alias = modelnames_alias(m, i);
        assert_true(alias ? listed[i] && strcmp(alias, listed[i]) == 0 : !listed[i]);
    }
    assert_string_equal(modelnames_own(m), "tiny");
    modelnames_free(m);
}

static void test_the_built_in_names(void **state)
{
    struct modelnames *m = names((const char *)aliases_text);
    static const char *const known[] = {"deepseek-chat", "deepseek-v4-pro", "claude-opus-4", "gpt-4o-mini"};
    enum chat_thinking think = CHAT_THINKING;
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_true(modelnames_match(m, known[i], &think));
    }
    assert_true(modelnames_match(m, "deepseek-reasoner", &think));
    assert_int_equal(think, CHAT_THINKING);
    assert_true(modelnames_match(m, "deepseek-chat", &think));
    assert_int_equal(think, CHAT_NO_THINKING);
    assert_false(modelnames_match(m, "llama-3", &think));
    modelnames_free(m);
}

static void test_files_that_are_none_name_the_line(void **state)
{
    char big[20000], longer[200];
    size_t n = 0;
    (void)state;
    for (int i = 0; i < 1100; i++) {
        n += (size_t)sprintf(big + n, "a%d\n", i);
    }
    memset(longer, 'a', sizeof longer);
    longer[128] = '\0';
    const struct {
        const char *text, *says;
    } rows[] = {{"a think=often", "line 1"}, {"a\nb think = on", "line 2"}, {longer, "1 to 127"},
                {" a", "line 1"},            {big, "line 1025"},            {"a think=on think=off", "line 1"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct modelnames *m = NULL;
        struct errinfo info = {0};
        size_t alive = mem_alive();
        assert_int_equal(modelnames_new("tiny", rows[i].text, "my.txt", &m, &info), ERR_ARGUMENT);
        if (!strstr(info.message, rows[i].says) || !strstr(info.message, "my.txt")) {
            fail_msg("%s", info.message);
        }
        assert_int_equal(mem_alive(), alive);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_what_they_mean),
        cmocka_unit_test(test_the_built_in_names),
        cmocka_unit_test(test_files_that_are_none_name_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

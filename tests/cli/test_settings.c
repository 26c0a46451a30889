/* The shared options: the choices that must follow enums elsewhere, and the formats a model may be given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/settings.h"

static void test_every_chat_format_can_be_asked_for(void **state)
{
    (void)state;
    struct settings s;
    struct options_row rows[SETTINGS_ENGINE_ROWS];
    size_t n = 0, found = 0;
    settings_init(&s);
    settings_engine_rows(&s, rows, &n);
    assert_int_equal(n, SETTINGS_ENGINE_ROWS);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, "chat-format") != 0) {
            continue;
        }
        const char *const *names = rows[i].in.choices;
        assert_string_equal(names[0], "auto");
        for (int f = 0; f < CHAT_FORMATS; f++) {
            assert_string_equal(names[1 + f], chat_format_name((enum chat_format)f));
            assert_non_null(strstr(rows[i].help, names[1 + f]));
        }
        assert_null(names[1 + CHAT_FORMATS]);
        found++;
    }
    assert_int_equal(found, 1);
}

static void test_the_format_asked_for_comes_before_the_models_own(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct engine *e;
    struct settings s;
    char text[SETTINGS_DOUBT_TEXT];
    settings_init(&s);
    assert_int_equal(engine_open("tests/golden/chatmodel", &(struct engine_options){0}, &e, &info), ERR_OK);
    assert_int_equal(settings_chat_format(&s, e), CHAT_CHATML);
    assert_null(settings_chat_doubt(&s, e, text));
    s.chat_format = 1 + CHAT_PLAIN;
    assert_int_equal(settings_chat_format(&s, e), CHAT_PLAIN);
    engine_close(e);
}

static void test_ways_to_guess_ahead_are_those_of_the_engine(void **state)
{
    (void)state;
    static const char *const names[] = {[SESSION_SPECULATE_AUTO] = "auto",
                                        [SESSION_SPECULATE_OFF] = "off",
                                        [SESSION_SPECULATE_LOOKUP] = "lookup",
                                        [SESSION_SPECULATE_MTP] = "mtp"};
    struct settings s;
    struct options_row rows[SETTINGS_ALONE_ROWS];
    size_t n = 0, found = 0;
    settings_init(&s);
    settings_alone_rows(&s, rows, &n);
    assert_int_equal(n, SETTINGS_ALONE_ROWS);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, "speculate") == 0) {
            found++;
            for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
                assert_string_equal(rows[i].in.choices[k], names[k]);
            }
            assert_null(rows[i].in.choices[sizeof names / sizeof *names]);
        }
    }
    assert_int_equal(found, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_chat_format_can_be_asked_for),
        cmocka_unit_test(test_the_format_asked_for_comes_before_the_models_own),
        cmocka_unit_test(test_ways_to_guess_ahead_are_those_of_the_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

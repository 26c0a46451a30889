/* What a model made, on a terminal: words stay whole at the edge, control characters do nothing, and what is no
 * terminal gets the bytes as they are. A little terminal of the test shows what a person would see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/terminaltext.h"

enum { COLUMNS = 10, ROWS = 12 };

/* Shows bytes as a terminal of COLUMNS does: wraps by itself, knows ESC[nD and ESC[K; no wide characters. */
static char *show(const char *bytes, char out[ROWS * (COLUMNS + 1) + 1])
{
    char screen[ROWS][COLUMNS + 1] = {{0}};
    size_t row = 0, column = 0;
    for (const char *p = bytes; *p && row < ROWS; p++) {
        if (*p == '\n') {
            row++;
            column = 0;
        } else if (*p == '\033') {
            char *end;
            long n = strtol(p + 2, &end, 10);
            if (*end == 'D') {
                assert_true(n > 0 && (size_t)n <= column && column < COLUMNS);
                column -= (size_t)n;
            } else {
                assert_int_equal(*end, 'K');
                memset(screen[row] + column, 0, COLUMNS - column);
            }
            p = end;
        } else {
            if (column == COLUMNS) {
                row++;
                column = 0;
            }
            screen[row][column++] = *p;
        }
    }
    out[0] = '\0';
    for (size_t r = 0; r <= row && r < ROWS; r++) {
        strcat(strcat(out, r ? "|" : ""), screen[r]);
    }
    return out;
}

/* `pieces` are printed one after another. */
static char *printed(struct terminaltext t, const char *const *pieces)
{
    char *out = NULL;
    size_t n;
    t.to = open_memstream(&out, &n);
    assert_non_null(t.to);
    for (; *pieces; pieces++) {
        terminaltext_print(&t, *pieces, strlen(*pieces));
    }
    assert_int_equal(fclose(t.to), 0);
    return out;
}

static const struct terminaltext TEN = {.terminal = true, .columns = COLUMNS};

static void words_stay_whole(void **state)
{
    static const struct {
        const char *text, *shown;
    } rows[] = {{"one two three four", "one two |three |four"},
                {"one two tw", "one two |tw"},
                {"exactly 9 yes", "exactly 9|yes"},
                {"a\n\nbc", "a||bc"},
                {"hello world", "hello |world"},
                {"  indented words", "  |indented |words"},
                {"a verylongwordindeed b", "a |verylongwo|rdindeed |b"},
                {"\033[31mred", "\xef\xbf\xbd[31mred"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char shown[ROWS * (COLUMNS + 1) + 1];
        char *whole = printed(TEN, (const char *const[]){rows[i].text, NULL});
        assert_string_equal(show(whole, shown), rows[i].shown);
        free(whole);
    }
}

static void pieces_say_what_the_whole_says(void **state)
{
    static const char text[] = "The quick brown fox \xc3\xa9t\xc3\xa9 jumped\tover the lazydogs, "
                               "extraordinarily so.\nEnd";
    char *whole = printed(TEN, (const char *const[]){text, NULL});
    (void)state;
    for (size_t n = 1; n < 5; n++) {
        char pieces[sizeof text][8] = {{0}};
        const char *list[sizeof text] = {0};
        size_t k = 0;
        for (const char *p = text; *p; k++) {
            for (size_t i = 0; *p && (i < n || (*p & 0xc0) == 0x80); i++) { /* never through a character */
                pieces[k][i] = *p++;
            }
            list[k] = pieces[k];
        }
        char *joined = printed(TEN, list);
        assert_string_equal(joined, whole);
        free(joined);
    }
    free(whole);
}

static void wide_characters_are_words_of_their_own(void **state)
{
    (void)state;
    char *out = printed(TEN, (const char *const[]){"你好你好你", NULL});
    assert_string_equal(out, "你好你好\n你");
    free(out);
}

static void a_pipe_gets_the_bytes(void **state)
{
    static const char text[] = "\033[2J one two three four five six\xc2\x9b";
    (void)state;
    char *out = printed((struct terminaltext){.columns = COLUMNS}, (const char *const[]){text, NULL});
    assert_string_equal(out, text);
    free(out);
    const struct terminaltext unknown = {.terminal = true}; /* how wide it is */
    out = printed(unknown, (const char *const[]){text, NULL});
    assert_string_equal(out, "\xef\xbf\xbd[2J one two three four five six\xef\xbf\xbd");
    free(out);
}

static void long_words_do_not_overrun(void **state)
{
    static char text[4 * TERMINALTEXT_WORD];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    struct terminaltext wide = {.terminal = true, .columns = 3 * TERMINALTEXT_WORD};
    char *out = printed(wide, (const char *const[]){"ab ", text, " c", NULL});
    assert_int_equal(strlen(out), 3 + sizeof text - 1 + 2);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_stay_whole),
        cmocka_unit_test(pieces_say_what_the_whole_says),
        cmocka_unit_test(wide_characters_are_words_of_their_own),
        cmocka_unit_test(a_pipe_gets_the_bytes),
        cmocka_unit_test(long_words_do_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

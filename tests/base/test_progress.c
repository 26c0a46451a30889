/* tests/base/test_progress.c: silent without a terminal, one line that goes away on one. */
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/progress.h"

static void the_clock_only_goes_forward(void **state)
{
    (void)state;
    double last = progress_clock();
    for (int i = 0; i < 1000; i++) {
        double now = progress_clock();
        assert_true(now >= last);
        last = now;
    }
}

/* What progress prints on stderr when it is `fd`, for work that began `age` seconds ago. */
static void painted(int fd, int out, enum progress_unit unit, uint64_t total, uint64_t done,
                    double age, char *text, size_t size)
{
    int kept = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    struct progress p;
    progress_init(&p, "loading", unit, total);
    p.started -= age;
    p.painted -= age;
    progress_update(&p, done);
    progress_update(&p, done); /* at once again: not painted twice */
    progress_finish(&p);
    progress_finish(&p);
    dup2(kept, STDERR_FILENO);
    close(kept);
    size_t n = 0;
    text[0] = '\0';
    for (ssize_t got = write(fd, "|", 1); got > 0 && !strchr(text, '|'); n += (size_t)got) {
        got = read(out, text + n, size - 1 - n);
        text[n + (got > 0 ? (size_t)got : 0)] = '\0';
    }
}

static void nothing_is_printed_without_a_terminal(void **state)
{
    (void)state;
    int ends[2];
    char text[256];
    assert_int_equal(pipe(ends), 0);
    painted(ends[1], ends[0], PROGRESS_BYTES, 100, 50, 10, text, sizeof text);
    assert_string_equal(text, "|");
    close(ends[0]);
    close(ends[1]);
}

static void a_terminal_gets_label_share_rate_and_time_left_on_one_line(void **state)
{
    (void)state;
    int ours, theirs;
    char text[512];
    if (openpty(&ours, &theirs, NULL, NULL, NULL) != 0) {
        skip(); /* no pseudo-terminals here */
    }
    painted(theirs, ours, PROGRESS_BYTES, 4000000000u, 1000000000u, 10, text, sizeof text);
    assert_non_null(strstr(text, "loading   25%  1.00 GB  "));
    assert_non_null(strstr(text, "/s  0:"));
    assert_null(strstr(strstr(text, "loading") + 1, "loading")); /* painted once */
    assert_null(strchr(text, '\n'));
    assert_string_equal(text + strlen(text) - 5, "\r\033[K|");
    painted(theirs, ours, PROGRESS_TOKENS, 0, 500, 10, text, sizeof text);
    assert_non_null(strstr(text, "500 tokens"));
    assert_null(strstr(text, "left"));
    painted(theirs, ours, PROGRESS_ITEMS, 10, 20, 10, text, sizeof text); /* more than promised */
    assert_non_null(strstr(text, "0:00 left"));
    painted(theirs, ours, PROGRESS_ITEMS, 10, 5, 0, text, sizeof text); /* short work */
    assert_string_equal(text, "|");
    close(ours);
    close(theirs);
}

int main(void)
{
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_only_goes_forward),
        cmocka_unit_test(nothing_is_printed_without_a_terminal),
        cmocka_unit_test(a_terminal_gets_label_share_rate_and_time_left_on_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

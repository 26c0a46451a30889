/* Which streams may be given escape sequences. */
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/terminal.h"

static void only_terminals_that_want_escapes_get_them(void **state)
{
    (void)state;
    int ours, theirs;
    if (openpty(&ours, &theirs, NULL, NULL, NULL) != 0) {
        skip(); /* no pseudo-terminals here */
    }
    FILE *tty = fdopen(theirs, "w"), *null = fopen("/dev/null", "w");
    assert_true(tty && null);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    assert_true(terminal_styled(tty));
    assert_false(terminal_styled(null));
    setenv("TERM", "dumb", 1);
    assert_false(terminal_styled(tty));
    setenv("TERM", "xterm", 1);
    setenv("NO_COLOR", "", 1);
    assert_true(terminal_styled(tty));
    setenv("NO_COLOR", "1", 1);
    assert_false(terminal_styled(tty));
    fclose(tty);
    fclose(null);
    close(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_terminals_that_want_escapes_get_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

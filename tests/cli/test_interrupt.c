/* Ctrl-C on a real (pseudo-)terminal: asked for, not shown, and the terminal is as before afterwards. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/interrupt.h"

static bool echoes(void)
{
    struct termios t;
    return tcgetattr(STDIN_FILENO, &t) == 0 && (t.c_lflag & ECHO);
}

static bool comes(void)
{
    for (int i = 0; i < 500 && !interrupt_pending(); i++) {
        poll(NULL, 0, 10);
    }
    return interrupt_pending();
}

/* What the child does with the pty as its controlling terminal; the exit code is the step that failed. */
static int watch(const char *name, int to_parent)
{
    int tty;
    if (setsid() < 0 || (tty = open(name, O_RDWR)) < 0 || dup2(tty, STDIN_FILENO) < 0) {
        return 1;
    }
    interrupt_watch_quietly();
    if (echoes() || interrupt_pending() || write(to_parent, "r", 1) != 1) {
        return 2;
    }
    if (!comes()) {
        return 3;
    }
    interrupt_restore();
    return echoes() ? 0 : 4;
}

static void test_ctrl_c_is_heard_and_not_shown(void **state)
{
    (void)state;
    int ready[2], status, master = posix_openpt(O_RDWR | O_NOCTTY);
    char byte, shown[64];
    const char *name = master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 ? ptsname(master) : NULL;
    if (!name || access(name, R_OK | W_OK) != 0) {
        skip(); /* no pseudo-terminals here */
    }
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(watch(name, ready[1]));
    }
    assert_true(child > 0);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(write(master, "x\003", 2), 2);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    struct pollfd p = {.fd = master, .events = POLLIN};
    assert_true(poll(&p, 1, 0) == 0 || !(p.revents & POLLIN) || read(master, shown, sizeof shown) <= 0);
    close(ready[0]);
    close(master);
}

static void test_without_a_terminal_it_only_watches(void **state)
{
    (void)state;
    int null = open("/dev/null", O_RDONLY), kept = dup(STDIN_FILENO);
    assert_true(null >= 0 && dup2(null, STDIN_FILENO) >= 0);
    interrupt_watch_quietly();
    assert_false(interrupt_pending());
    raise(SIGINT);
    assert_true(interrupt_pending());
    interrupt_clear();
    assert_false(interrupt_pending());
    interrupt_restore();
    if (kept >= 0) {
        dup2(kept, STDIN_FILENO);
        close(kept);
    }
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ctrl_c_is_heard_and_not_shown),
        cmocka_unit_test(test_without_a_terminal_it_only_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The verb table, walked: every verb is findable, summarised and has a manual; mistakes exit with 2. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/verbs.h"

/* Runs `fathom WORDS…` with stdout and stderr in one string. */
static int run(char *text, size_t cap, int argc, char **argv)
{
    fflush(stdout);
    fflush(stderr);
    char name[] = "/tmp/fathom-test-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    int out = dup(STDOUT_FILENO);
    int errs = dup(STDERR_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    int status = verbs_main(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(out, STDOUT_FILENO);
    dup2(errs, STDERR_FILENO);
    close(out);
    close(errs);
    ssize_t n = pread(fd, text, cap - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
    return status;
}

static char fathom[] = "fathom";

static void every_verb_has_a_manual_and_refuses_nonsense(void **state)
{
    (void)state;
    static char text[1 << 16];
    assert_true(verbs_count() > 0);
    for (size_t i = 0; i < verbs_count(); i++) {
        const struct verbs_row *verb = verbs_at(i);
        char name[64], usage[128];
        snprintf(name, sizeof name, "%s", verb->name);
        snprintf(usage, sizeof usage, "usage: fathom %s", verb->name);
        assert_ptr_equal(verbs_find(verb->name), verb);
        char help[] = "--help";
        assert_int_equal(run(text, sizeof text, 3, (char *[]){fathom, name, help, NULL}), 0);
        if (!strstr(text, usage) || !strstr(text, "--help")) {
            fail_msg("fathom %s --help printed:\n%s", verb->name, text);
        }
        char bogus[] = "--no-such-option";
        assert_int_equal(run(text, sizeof text, 3, (char *[]){fathom, name, bogus, NULL}), 2);
        assert_non_null(strstr(text, "unknown option --no-such-option"));
    }
}

/* Beside other answers nothing is guessed ahead and no loop is stopped: serve has no options that say so. */
static void serve_has_no_option_without_effect(void **state)
{
    (void)state;
    static char text[1 << 16];
    char serve[] = "serve", names[][16] = {"--speculate", "--draft", "--allow-loops"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(run(text, sizeof text, 3, (char *[]){fathom, serve, names[i], NULL}), 2);
        assert_non_null(strstr(text, "unknown option --"));
    }
}

static void the_program_explains_itself(void **state)
{
    (void)state;
    static char text[1 << 16];
    char help[] = "--help", version[] = "--version", wrong[] = "hlep", unlike[] = "zzzzzzzz";
    assert_int_equal(run(text, sizeof text, 2, (char *[]){fathom, help, NULL}), 0);
    for (size_t i = 0; i < verbs_count(); i++) {
        assert_non_null(strstr(text, verbs_at(i)->summary));
    }
    assert_int_equal(run(text, sizeof text, 2, (char *[]){fathom, version, NULL}), 0);
    assert_memory_equal(text, "fathom ", 7);
    assert_int_equal(run(text, sizeof text, 1, (char *[]){fathom, NULL}), 2);
    assert_int_equal(run(text, sizeof text, 2, (char *[]){fathom, wrong, NULL}), 2);
    assert_non_null(strstr(text, "did you mean \"help\"?"));
    assert_int_equal(run(text, sizeof text, 2, (char *[]){fathom, unlike, NULL}), 2);
    assert_null(strstr(text, "did you mean"));
}

static void help_of_a_verb_is_the_verbs_manual(void **state)
{
    (void)state;
    static char text[1 << 16];
    char help[] = "help", wrong[] = "hlep";
    assert_int_equal(run(text, sizeof text, 3, (char *[]){fathom, help, help, NULL}), 0);
    assert_non_null(strstr(text, "usage: fathom help"));
    assert_int_equal(run(text, sizeof text, 3, (char *[]){fathom, help, wrong, NULL}), 2);
    assert_int_equal(run(text, sizeof text, 2, (char *[]){fathom, help, NULL}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_verb_has_a_manual_and_refuses_nonsense),
        cmocka_unit_test(serve_has_no_option_without_effect),
        cmocka_unit_test(the_program_explains_itself),
        cmocka_unit_test(help_of_a_verb_is_the_verbs_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Programs run beside this one: what they say is heard in lines, how they end is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "cli/subprocess.h"

static struct subprocess *shell(const char *script)
{
    struct subprocess *p;
    const char *argv[] = {"sh", "-c", script, NULL};
    assert_int_equal(subprocess_start(argv, &p, NULL), ERR_OK);
    return p;
}

static void a_talk_goes_to_and_fro(void **state)
{
    (void)state;
    const char *line;
    size_t alive = mem_alive();
    struct subprocess *p = shell("echo first; echo second; while read -r x; do echo \"got $x\"; done");
    assert_int_equal(subprocess_hear(p, &line, NULL), ERR_OK);
    assert_string_equal(line, "first");
    assert_int_equal(subprocess_say(p, "one", NULL), ERR_OK);
    assert_int_equal(subprocess_hear(p, &line, NULL), ERR_OK);
    assert_string_equal(line, "second");
    assert_int_equal(subprocess_hear(p, &line, NULL), ERR_OK);
    assert_string_equal(line, "got one");
    subprocess_close(p);
    assert_int_equal(mem_alive(), alive);
}

static void an_early_end_is_told_with_its_last_words(void **state)
{
    (void)state;
    const char *line;
    struct errinfo info = {0};
    struct subprocess *p = shell("echo 'no such library' >&2; exit 3");
    assert_int_equal(subprocess_hear(p, &line, &info), ERR_IO);
    assert_non_null(strstr(info.message, "sh ended too early: no such library"));
    subprocess_close(p);
}

static void writing_to_one_that_has_ended_is_an_error_and_no_signal(void **state)
{
    (void)state;
    struct errinfo info = {0};
    const char *line;
    struct subprocess *p = shell("exit 0");
    assert_int_equal(subprocess_hear(p, &line, &info), ERR_IO); /* it has ended now */
    assert_int_equal(subprocess_say(p, "hello", &info), ERR_IO);
    subprocess_close(p);
}

static void the_whole_output_and_the_exit_code_count(void **state)
{
    (void)state;
    struct strbuf out = {0};
    struct errinfo info = {0};
    struct subprocess *p = shell("cat; printf 'a\\nb'");
    assert_int_equal(subprocess_finish(p, &out, &info), ERR_OK);
    assert_string_equal(out.data, "a\nb");
    subprocess_close(p);
    strbuf_deinit(&out);
    p = shell("echo half; echo 'broken pipe' >&2; exit 1");
    assert_int_equal(subprocess_finish(p, &out, &info), ERR_IO);
    assert_non_null(strstr(info.message, "sh failed: broken pipe"));
    subprocess_close(p);
    strbuf_deinit(&out);
}

static void a_program_that_is_not_there_is_not_found(void **state)
{
    (void)state;
    struct errinfo info = {0};
    struct subprocess *p = NULL;
    size_t alive = mem_alive();
    const char *argv[] = {"fathom-no-such-program", NULL};
    assert_int_equal(subprocess_start(argv, &p, &info), ERR_NOTFOUND);
    assert_non_null(strstr(info.message, "fathom-no-such-program"));
    assert_null(p);
    assert_int_equal(mem_alive(), alive);
}

static double seconds_to_close(struct subprocess *p)
{
    double start = progress_clock();
    subprocess_close(p);
    return progress_clock() - start;
}

static void one_that_lives_on_is_ended(void **state)
{
    (void)state;
    const char *line;
    struct errinfo info = {0};
    struct subprocess *p = shell("echo hello; exec sleep 300");
    assert_int_equal(subprocess_hear(p, &line, NULL), ERR_OK);
    assert_true(seconds_to_close(p) < 10);
    p = shell("trap '' TERM; echo hello; while :; do sleep 0.01; done");
    assert_int_equal(subprocess_hear(p, &line, NULL), ERR_OK);
    assert_true(seconds_to_close(p) < 10);
    p = shell("echo 'no more from here' >&2; exec >&- <&-; exec sleep 300");
    assert_int_equal(subprocess_hear(p, &line, &info), ERR_IO);
    assert_non_null(strstr(info.message, "no more from here"));
    assert_int_equal(subprocess_say(p, "hello", &info), ERR_IO);
    assert_int_equal(subprocess_hear(p, &line, &info), ERR_IO);
    subprocess_close(p);
}

static void a_wait_has_a_limit_where_one_was_named(void **state)
{
    (void)state;
    struct strbuf out = {0};
    struct errinfo info = {0};
    static const char *const scripts[] = {"exec sleep 300", "while :; do echo more; sleep 0.01; done"};
    for (size_t i = 0; i < 2; i++) {
        struct subprocess *p = shell(scripts[i]);
        subprocess_patience(p, 0, 0.2);
        assert_int_equal(subprocess_finish(p, &out, &info), ERR_IO);
        assert_non_null(strstr(info.message, "sh did not answer within 0.2 seconds"));
        subprocess_close(p);
    }
}

/* stderr of the moment is a file while `p` is heard. */
static void a_long_wait_is_told(void **state)
{
    (void)state;
    char told[200] = "";
    const char *line;
    FILE *file = tmpfile();
    assert_non_null(file);
    struct subprocess *p = shell("sleep 1; echo hello; exec sleep 300");
    subprocess_patience(p, 0.1, 0);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    err e = subprocess_hear(p, &line, NULL);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    assert_int_equal(e, ERR_OK);
    assert_non_null(fgets(told, sizeof told, file));
    assert_non_null(strstr(told, "still waiting for sh"));
    assert_null(fgets(told, sizeof told, file)); /* once */
    fclose(file);
    subprocess_close(p);
}

static void ctrl_c_ends_a_wait(void **state)
{
    (void)state;
    const char *line;
    struct errinfo info = {0};
    interrupt_watch();
    struct subprocess *p = shell("kill -INT $PPID; exec sleep 300");
    assert_int_equal(subprocess_hear(p, &line, &info), ERR_CANCELLED);
    subprocess_close(p);
    interrupt_restore();
    interrupt_clear();
}

/* A process of ours that starts one and is killed: that one ends, too. */
static void it_does_not_outlive_us(void **state)
{
    (void)state;
    int ends[2];
    char line[32] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct subprocess *p;
        char script[64];
        snprintf(script, sizeof script, "echo $$ >&%d; exec sleep 300", ends[1]);
        const char *argv[] = {"sh", "-c", script, NULL};
        if (subprocess_start(argv, &p, NULL) == ERR_OK) {
            pause();
        }
        _exit(1);
    }
    close(ends[1]);
    assert_true(read(ends[0], line, sizeof line - 1) > 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(read(ends[0], line, 1), 0); /* the last writer is gone: it ended */
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_talk_goes_to_and_fro),
        cmocka_unit_test(an_early_end_is_told_with_its_last_words),
        cmocka_unit_test(writing_to_one_that_has_ended_is_an_error_and_no_signal),
        cmocka_unit_test(the_whole_output_and_the_exit_code_count),
        cmocka_unit_test(a_program_that_is_not_there_is_not_found),
        cmocka_unit_test(one_that_lives_on_is_ended),
        cmocka_unit_test(a_wait_has_a_limit_where_one_was_named),
        cmocka_unit_test(a_long_wait_is_told),
        cmocka_unit_test(ctrl_c_ends_a_wait),
        cmocka_unit_test(it_does_not_outlive_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Programs run beside this one: what they say is heard in lines, how they end is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_talk_goes_to_and_fro),
        cmocka_unit_test(an_early_end_is_told_with_its_last_words),
        cmocka_unit_test(writing_to_one_that_has_ended_is_an_error_and_no_signal),
        cmocka_unit_test(the_whole_output_and_the_exit_code_count),
        cmocka_unit_test(a_program_that_is_not_there_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

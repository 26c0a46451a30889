/* What `fathom doctor --no-egress` prints. */
#include "server/sandboxfixture.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/egress.h"

/* Nothing is said where there is no memory to say it. */
static void test_memory(void **state)
{
    struct errinfo info = {0};
    bool held;
    (void)state;
    mem_fault(1, 0);
    err e = egress_print(false, &held, &info);
    mem_fault(0, 0);
    assert_int_equal(e, ERR_NOMEM);
}

/* What was printed on stdout; owned by the caller. */
static char *printed(bool json, bool *held)
{
    struct errinfo info = {0};
    struct tempdir dir;
    char *text = NULL;
    size_t size = 0;
    tempdir_make(&dir);
    fflush(stdout);
    int out = dup(STDOUT_FILENO), file = open(tempdir_file(&dir, "out"), O_RDWR | O_CREAT, 0600);
    dup2(file, STDOUT_FILENO);
    err e = egress_print(json, held, &info);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    close(file);
    assert_int_equal(e, ERR_OK);
    assert_int_equal(file_read(dir.file, 1 << 20, &text, &size, &info), ERR_OK);
    tempdir_remove(&dir);
    return text;
}

static void test_printed(void **state)
{
    bool held = false;
    struct errinfo info = {0};
    json_t *all = NULL;
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    char *text = printed(false, &held);
    static const char last[] = "\nno connection can leave this program once it serves\n";
    assert_true(held);
    assert_string_equal(text + strlen(text) - strlen(last), last);
    mem_free(text);
    text = printed(true, &held);
    assert_int_equal(json_parse(text, strlen(text), "report", &all, &info), ERR_OK);
    assert_true(json_is_true(json_object_get(all, "no_egress")));
    assert_true(json_is_true(json_object_get(all, "seccomp")));
    assert_true(json_array_size(json_object_get(all, "tries")) > 10);
    json_decref(all);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_printed), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

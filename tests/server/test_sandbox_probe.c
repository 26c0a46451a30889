/* The sandbox tried out: it holds here, and where a lock is missing the tries notice. */
#include "server/sandboxfixture.h"

#include "server/sandbox_probe.h"

static const struct sandbox_probe_try *find(const struct sandbox_probe *p, const char *what)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strstr(p->tries[i].what, what)) {
            return &p->tries[i];
        }
    }
    fail_msg("nothing tries %s", what);
    return NULL;
}

static void test_holds(void **state)
{
    static struct sandbox_probe p;
    struct errinfo info = {0};
    struct tempdir dir;
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    tempdir_make(&dir);
    setenv("TMPDIR", dir.path, 1);
    assert_int_equal(sandbox_probe(0, false, &p, &info), ERR_OK);
    assert_int_equal(p.n, SANDBOX_PROBE_TRIES);
    for (size_t i = 0; i < p.n; i++) {
        if (!p.tries[i].held) {
            fail_msg("%s: %d %s", p.tries[i].what, p.tries[i].outcome, p.tries[i].detail);
        }
    }
    assert_true(p.held && p.report.seccomp);
    assert_int_equal(tempdir_count(&dir), 0);
    unsetenv("TMPDIR");
    tempdir_remove(&dir);
}

static void test_notices_what_is_open(void **state)
{
    static struct sandbox_probe p;
    struct errinfo info = {0};
    (void)state;
    if (!sandboxfixture_possible()) {
        skip();
    }
    assert_int_equal(sandbox_probe(1, false, &p, &info), ERR_UNSUPPORTED);
    assert_non_null(strstr(info.message, "Landlock"));
    assert_int_equal(sandbox_probe(1, true, &p, &info), ERR_OK);
    assert_false(p.held);
    assert_int_equal(find(&p, "/etc/passwd")->outcome, SANDBOX_PROBE_WORKED);
    assert_false(find(&p, "/etc/passwd")->held);
    assert_false(find(&p, "writing outside")->held);
    assert_true(find(&p, "TCP to 192.0.2.1")->held && find(&p, "starting")->held);
    assert_int_equal(p.report.landlock, SANDBOX_LANDLOCK_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_notices_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

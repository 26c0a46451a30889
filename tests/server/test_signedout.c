/* Sessions that were ended: for good, over restarts, until they would have been over anyway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/signedout.h"
#include "server/storefixture.h"

#define NAME(c) c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c

static void what_is_ended_stays_so(void **state)
{
    struct storefixture f;
    struct signedout *s;
    (void)state;
    struct storefixture_commits commits;
    storefixture_make(&f);
    assert_int_equal(signedout_open(f.database, 1000, &s, &f.info), ERR_OK);
    storefixture_watch(&f, &commits);
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(signedout_add(s, NAME("ab"), 5000, &f.info), ERR_OK);
    }
    assert_int_equal(signedout_add(s, NAME("cd"), 9000, &f.info), ERR_OK);
    assert_true(signedout_has(s, NAME("ab")) && signedout_has(s, NAME("cd")));
    assert_false(signedout_has(s, NAME("ef")));
    assert_true(commits.all == 3 && commits.spared == 3); /* a full disk keeps nobody signed in */
    signedout_close(s);
    storefixture_reopen(&f);
    assert_int_equal(signedout_open(f.database, 6000, &s, &f.info), ERR_OK);
    assert_false(signedout_has(s, NAME("ab"))); /* over by itself */
    assert_true(signedout_has(s, NAME("cd")));
    signedout_close(s);
    storefixture_remove(&f);
}

static void a_disk_that_takes_nothing_is_told(void **state)
{
    struct storefixture f;
    struct signedout *s;
    (void)state;
    storefixture_make(&f);
    assert_int_equal(signedout_open(f.database, 1000, &s, &f.info), ERR_OK);
    sqlite3_exec(database_handle(f.database), "PRAGMA query_only=1", NULL, NULL, NULL);
    assert_int_not_equal(signedout_add(s, NAME("ab"), 5000, &f.info), ERR_OK);
    assert_true(signedout_has(s, NAME("ab"))); /* as long as the server runs */
    signedout_close(s);
    storefixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_ended_stays_so),
        cmocka_unit_test(a_disk_that_takes_nothing_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

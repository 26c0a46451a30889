/* Sessions that were ended: for good, over restarts, until they would have been over anyway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/signedout.h"
#include "server/storefixture.h"

#define ANNA "0123456789abcdef0123456789abcdef"
#define BEN "fedcba9876543210fedcba9876543210"

/* A session of that owner's: the i-th. */
static struct signedout_session session(const char *owner, int i, int64_t until)
{
    struct signedout_session one = {.until = until};
    snprintf(one.owner, sizeof one.owner, "%s", owner);
    snprintf(one.name, sizeof one.name, "%064d", i);
    return one;
}

static bool has(struct signedout *s, const char *owner, int i, int64_t until)
{
    struct signedout_session one = session(owner, i, until);
    return signedout_has(s, &one);
}

static err add(struct signedout *s, const char *owner, int i, int64_t until, int64_t now, struct errinfo *info)
{
    struct signedout_session one = session(owner, i, until);
    return signedout_add(s, &one, now, info);
}

static size_t rows(struct storefixture *f)
{
    sqlite3_stmt *st;
    bool row = false;
    assert_int_equal(database_begin(f->database, &f->info), ERR_OK);
    assert_int_equal(database_query(f->database, &st, &f->info,
                                    "SELECT count(*) FROM meta WHERE name GLOB 'signed out *'", ""), ERR_OK);
    assert_int_equal(database_next(f->database, st, &row, &f->info), ERR_OK);
    size_t n = (size_t)sqlite3_column_int64(st, 0);
    assert_int_equal(database_end(f->database, ERR_OK, &f->info), ERR_OK);
    return n;
}

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
        assert_int_equal(add(s, ANNA, 1, 5000, 1000, &f.info), ERR_OK);
    }
    assert_int_equal(add(s, ANNA, 2, 9000, 1000, &f.info), ERR_OK);
    assert_true(has(s, ANNA, 1, 5000) && has(s, ANNA, 2, 9000));
    assert_false(has(s, ANNA, 3, 5000) || has(s, BEN, 1, 5000));
    assert_true(commits.all == 3 && commits.spared == 3); /* a full disk keeps nobody signed in */
    signedout_close(s);
    storefixture_reopen(&f);
    assert_int_equal(signedout_open(f.database, 6000, &s, &f.info), ERR_OK);
    assert_false(has(s, ANNA, 1, 5000)); /* over by itself */
    assert_true(has(s, ANNA, 2, 9000));
    signedout_close(s);
    storefixture_remove(&f);
}

/* Who signs in and out for ever fills neither memory nor disk, and ends nobody else's sessions. */
static void an_owner_has_so_many(void **state)
{
    enum { EACH = SIGNEDOUT_EACH };
    struct storefixture f;
    struct signedout *s;
    (void)state;
    storefixture_make(&f);
    assert_int_equal(signedout_open(f.database, 0, &s, &f.info), ERR_OK);
    assert_int_equal(add(s, BEN, 1, 5000, 0, &f.info), ERR_OK);
    for (int i = 0; i < EACH; i++) {
        assert_int_equal(add(s, ANNA, (i * 37) % EACH, 1000 + i, 0, &f.info), ERR_OK);
    }
    assert_int_equal(rows(&f), EACH + 1);
    assert_true(has(s, ANNA, 36, 1000) && has(s, ANNA, EACH - 1, 1000));
    assert_false(has(s, ANNA, EACH, 1000));
    assert_int_equal(add(s, ANNA, EACH, 9000, 1004, &f.info), ERR_OK); /* four are over: there is room */
    assert_int_equal(rows(&f), EACH + 1 - 3);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(add(s, ANNA, 1000 + i, 9100 + i, 1004, &f.info), ERR_OK);
    }
    for (int again = 0; again < 2; again++) {
        assert_int_equal(rows(&f), 2); /* all that she began before, and Ben's one */
        assert_true(has(s, ANNA, 5000, 9103) && has(s, ANNA, 1003, 9103));
        assert_false(has(s, ANNA, 5000, 9104));
        assert_true(has(s, BEN, 1, 5000) && !has(s, BEN, 2, 5000));
        signedout_close(s);
        storefixture_reopen(&f);
        assert_int_equal(signedout_open(f.database, 1004, &s, &f.info), ERR_OK);
    }
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
    assert_int_not_equal(add(s, ANNA, 1, 5000, 1000, &f.info), ERR_OK);
    assert_true(has(s, ANNA, 1, 5000)); /* as long as the server runs */
    signedout_close(s);
    storefixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_ended_stays_so),
        cmocka_unit_test(an_owner_has_so_many),
        cmocka_unit_test(a_disk_that_takes_nothing_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

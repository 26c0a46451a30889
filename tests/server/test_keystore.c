/* API keys: made, checked, changed, revoked; what of them is in the files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "server/keystore.h"
#include "server/storefixture.h"

static struct storefixture f;
static struct keystore *keys;
static struct keystore_key key;
static char secret[KEYSTORE_SECRET + 1];

static int set_up(void **state)
{
    (void)state;
    storefixture_make(&f);
    return keystore_open(f.database, &keys, &f.info) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keystore_close(keys);
    storefixture_remove(&f);
    return 0;
}

static err create(const char *fields, int64_t now)
{
    json_t *in = storefixture_json(fields);
    err e = keystore_create(keys, in, now, &key, secret, &f.info);
    json_decref(in);
    return e;
}

static err patch(const char *fields)
{
    json_t *in = storefixture_json(fields);
    err e = keystore_patch(keys, key.id, in, &key, &f.info);
    json_decref(in);
    return e;
}

struct look {
    pthread_t thread;
    atomic_bool over;
};

static void *look_up(void *user)
{
    struct look *l = user;
    struct keystore_key found;
    struct errinfo info;
    assert_int_equal(keystore_check(keys, secret, 5000, &found, &info), ERR_OK);
    assert_int_equal(keystore_get(keys, key.id, &found, &info), ERR_OK);
    l->over = true;
    return NULL;
}

/* Who writes for long keeps no key waiting; when it was used is stored later. */
static void a_key_is_checked_while_others_write(void **state)
{
    (void)state;
    struct look l = {0};
    struct keystore_key found;
    assert_int_equal(create("{'name':'quick'}", 1000), ERR_OK);
    assert_int_equal(database_begin(f.database, &f.info), ERR_OK);
    assert_int_equal(pthread_create(&l.thread, NULL, look_up, &l), 0);
    for (int i = 0; i < 500 && !l.over; i++) {
        usleep(10000);
    }
    bool over = l.over;
    assert_int_equal(database_end(f.database, ERR_OK, &f.info), ERR_OK);
    pthread_join(l.thread, NULL);
    assert_true(over);
    assert_int_equal(keystore_get(keys, key.id, &found, &f.info), ERR_OK);
    assert_int_equal(found.last_used, 0);
    assert_int_equal(keystore_write(keys, &f.info), ERR_OK);
    assert_int_equal(keystore_get(keys, key.id, &found, &f.info), ERR_OK);
    assert_int_equal(found.last_used, 5000);
}

static void a_key_is_known_by_its_secret_alone(void **state)
{
    (void)state;
    struct keystore_key found;
    assert_int_equal(create("{'name':'laptop'}", 1000), ERR_OK);
    assert_int_equal(strlen(secret), KEYSTORE_SECRET);
    assert_memory_equal(secret, "fathom-", 7);
    assert_int_equal(strspn(secret + 7, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
    assert_int_equal(keystore_check(keys, secret, 2000, &found, &f.info), ERR_OK);
    assert_string_equal(found.id, key.id);
    assert_string_equal(found.name, "laptop");
    assert_int_equal(found.scopes, CALLER_CHAT);
    assert_int_equal(found.last_used, 2000);
    assert_false(found.limited);
    for (size_t i = 0; i < KEYSTORE_SECRET; i++) { /* any other character anywhere */
        char wrong[KEYSTORE_SECRET + 1];
        memcpy(wrong, secret, sizeof wrong);
        wrong[i] = wrong[i] == 'A' ? 'B' : 'A';
        assert_int_equal(keystore_check(keys, wrong, 2000, &found, &f.info), ERR_NOTFOUND);
        memcpy(wrong, secret, sizeof wrong);
        wrong[i] = '\0';
        assert_int_equal(keystore_check(keys, wrong, 2000, &found, &f.info), ERR_NOTFOUND);
    }
    char longer[KEYSTORE_SECRET + 2];
    snprintf(longer, sizeof longer, "%sA", secret);
    assert_int_equal(keystore_check(keys, longer, 2000, &found, &f.info), ERR_NOTFOUND);
    assert_int_equal(keystore_check(keys, "", 2000, &found, &f.info), ERR_NOTFOUND);
    assert_int_equal(keystore_check(keys, key.id, 2000, &found, &f.info), ERR_NOTFOUND);
}

static void two_keys_are_two(void **state)
{
    (void)state;
    char first[KEYSTORE_SECRET + 1];
    struct keystore_key found, *list = NULL;
    size_t n = 0;
    assert_int_equal(create("{'name':'same'}", 1), ERR_OK);
    memcpy(first, secret, sizeof first);
    assert_int_equal(create("{'name':'same'}", 2), ERR_OK);
    assert_string_not_equal(first, secret);
    assert_int_equal(keystore_check(keys, first, 3, &found, &f.info), ERR_OK);
    assert_string_not_equal(found.id, key.id);
    assert_int_equal(keystore_list(keys, &list, &n, &f.info), ERR_OK);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].id, found.id);
    mem_free(list);
}

static void a_revoked_or_expired_key_opens_nothing(void **state)
{
    (void)state;
    struct keystore_key found;
    assert_int_equal(create("{'name':'short','expires':5000}", 1), ERR_OK);
    assert_int_equal(keystore_check(keys, secret, 4999, &found, &f.info), ERR_OK);
    assert_int_equal(keystore_check(keys, secret, 5000, &found, &f.info), ERR_NOTFOUND);
    assert_non_null(strstr(f.info.message, "expired"));
    assert_int_equal(patch("{'expires':null}"), ERR_OK);
    assert_int_equal(keystore_check(keys, secret, 5000, &found, &f.info), ERR_OK);

    struct database *other = NULL; /* as `fathom keys revoke` beside a server */
    struct keystore *others = NULL;
    assert_int_equal(database_open(f.dir.path, NULL, &other, &f.info), ERR_OK);
    assert_int_equal(keystore_open(other, &others, &f.info), ERR_OK);
    assert_int_equal(keystore_revoke(others, key.id, 6000, &f.info), ERR_OK);
    keystore_close(others);
    database_close(other);

    assert_int_equal(keystore_check(keys, secret, 6000, &found, &f.info), ERR_NOTFOUND);
    assert_non_null(strstr(f.info.message, "revoked"));
    assert_int_equal(keystore_revoke(keys, key.id, 7000, &f.info), ERR_OK);
    assert_int_equal(keystore_get(keys, key.id, &found, &f.info), ERR_OK);
    assert_int_equal(found.revoked, 6000);
    assert_int_equal(keystore_revoke(keys, "00000000000000000000000000000000", 1, &f.info), ERR_NOTFOUND);
}

static void a_renewed_key_has_its_owner_and_another_secret(void **state)
{
    (void)state;
    struct keystore_key found, before;
    char old[KEYSTORE_SECRET + 1];
    assert_int_equal(create("{'name':'n','scopes':['admin'],'balance':'5','expires':5000}", 1), ERR_OK);
    memcpy(old, secret, sizeof old);
    before = key;
    assert_int_equal(keystore_get(keys, before.id, &found, &f.info), ERR_OK);
    assert_memory_equal(found.mark, before.mark, KEYSTORE_MARK);
    static struct storefixture_commits commits; /* closing commits, too */
    storefixture_watch(&f, &commits);
    assert_int_equal(keystore_renew(keys, before.id, 2000, &key, secret, &f.info), ERR_OK);
    assert_true(commits.all == 1 && commits.spared == 1); /* what was stolen ends on a full disk, too */
    assert_string_equal(key.id, before.id);
    assert_string_not_equal(secret, old);
    assert_memory_not_equal(key.mark, before.mark, KEYSTORE_MARK);
    assert_int_equal(keystore_check(keys, old, 2000, &found, &f.info), ERR_NOTFOUND);
    assert_int_equal(keystore_check(keys, secret, 2000, &found, &f.info), ERR_OK);
    assert_string_equal(found.id, before.id);
    assert_int_equal(found.scopes, CALLER_ADMIN);
    assert_int_equal(found.expires, 5000); /* not yet */
    assert_int_equal(found.balance, before.balance);
    assert_int_equal(keystore_revoke(keys, before.id, 3000, &f.info), ERR_OK);
    assert_int_equal(keystore_renew(keys, before.id, 6000, &key, secret, &f.info), ERR_OK);
    assert_int_equal(key.expires, 0);
    assert_int_equal(key.revoked, 0);
    assert_int_equal(keystore_check(keys, secret, 6000, &found, &f.info), ERR_OK);
    assert_int_equal(keystore_renew(keys, "00000000000000000000000000000000", 1, &key, secret, &f.info), ERR_NOTFOUND);
}

static void a_name_will_do_where_it_is_the_only_one(void **state)
{
    (void)state;
    struct keystore_key found;
    char id[VAULT_ID + 1];
    assert_int_equal(create("{'name':'Anna'}", 1), ERR_OK);
    memcpy(id, key.id, sizeof id);
    assert_int_equal(keystore_named(keys, "Anna", 10, &found, &f.info), ERR_OK);
    assert_string_equal(found.id, id);
    assert_int_equal(keystore_named(keys, id, 10, &found, &f.info), ERR_OK);
    assert_string_equal(found.name, "Anna");
    assert_int_equal(keystore_named(keys, "anna", 10, &found, &f.info), ERR_NOTFOUND);
    assert_int_equal(keystore_named(keys, "", 10, &found, &f.info), ERR_NOTFOUND);
    char begins[VAULT_ID + 1];
    memcpy(begins, id, sizeof begins);
    begins[8] = '\0'; /* as the page shows it */
    assert_int_equal(keystore_named(keys, begins, 10, &found, &f.info), ERR_OK);
    assert_string_equal(found.id, id);
    begins[7] = '\0';
    assert_int_equal(keystore_named(keys, begins, 10, &found, &f.info), ERR_NOTFOUND);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(create("{'name':'Anna'}", 2 + i), ERR_OK);
        assert_int_equal(keystore_named(keys, "Anna", 10, &found, &f.info), ERR_ARGUMENT);
        assert_non_null(strstr(f.info.message, id));
    }
    assert_non_null(strstr(f.info.message, "6 keys"));
}

static void a_name_is_that_of_the_key_that_is_good(void **state)
{
    (void)state;
    struct keystore_key found;
    char good[VAULT_ID + 1], revoked[VAULT_ID + 1];
    assert_int_equal(create("{'name':'Anna'}", 1), ERR_OK);
    memcpy(revoked, key.id, sizeof revoked);
    assert_int_equal(keystore_revoke(keys, revoked, 2, &f.info), ERR_OK);
    assert_int_equal(keystore_named(keys, "Anna", 10, &found, &f.info), ERR_OK); /* who else? */
    assert_string_equal(found.id, revoked);
    assert_int_equal(create("{'name':'Anna','expires':50}", 3), ERR_OK);
    memcpy(good, key.id, sizeof good);
    assert_int_equal(keystore_named(keys, "Anna", 10, &found, &f.info), ERR_OK);
    assert_string_equal(found.id, good);
    assert_int_equal(keystore_named(keys, revoked, 10, &found, &f.info), ERR_OK);
    assert_string_equal(found.id, revoked);
    assert_int_equal(keystore_named(keys, "Anna", 50, &found, &f.info), ERR_ARGUMENT); /* neither is good */
    assert_non_null(strstr(f.info.message, "2 keys"));
}

static void every_field_is_kept(void **state)
{
    (void)state;
    char text[600], *is;
    assert_int_equal(create("{'name':'n','scopes':['metrics','admin','admin'],'limits':{'requests_per_minute':1,"
                            "'tokens_per_day':9007199254740992,'concurrent':3},'balance':'12.50','expires':77}", 5),
                     ERR_OK);
    storefixture_close(&f);
    keystore_close(keys);
    storefixture_open(&f);
    assert_int_equal(keystore_open(f.database, &keys, &f.info), ERR_OK);
    assert_int_equal(keystore_get(keys, key.id, &key, &f.info), ERR_OK);
    snprintf(text, sizeof text, "{\"balance\":\"12.5\",\"created\":5,\"damaged\":false,\"expires\":77,\"id\":\"%s\",\"last_used\":null,"
             "\"limits\":{\"concurrent\":3,\"requests_per_minute\":1,\"tokens_per_day\":9007199254740992},"
             "\"name\":\"n\",\"revoked\":null,\"scopes\":[\"admin\",\"metrics\"]}", key.id);
    json_t *doc = keystore_json(&key);
    is = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(is, text);
    mem_free(is);
    json_decref(doc);
    assert_int_equal(patch("{'balance':null,'name':'m'}"), ERR_OK);
    assert_int_equal(keystore_get(keys, key.id, &key, &f.info), ERR_OK);
    assert_false(key.limited);
    assert_string_equal(key.name, "m");
    assert_int_equal(key.limits.concurrent, 3);
}

static void wrong_fields_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *says;
    } bad[] = {
        {"{}", "\"name\""}, {"{'name':''}", "\"name\""}, {"{'name':5}", "\"name\""}, {"[]", "object"},
        {"{'name':'n','scopes':[]}", "\"scopes\""}, {"{'name':'n','scopes':['root']}", "\"scopes\""},
        {"{'name':'n','scopes':'chat'}", "\"scopes\""}, {"{'name':'n','scopes':[1]}", "\"scopes\""},
        {"{'name':'n','limits':{'rpm':1}}", "\"rpm\""}, {"{'name':'n','limits':[]}", "\"limits\""},
        {"{'name':'n','limits':{'concurrent':-1}}", "\"concurrent\""},
        {"{'name':'n','limits':{'concurrent':4294967296}}", "\"concurrent\""},
        {"{'name':'n','limits':{'requests_per_minute':1.5}}", "\"requests_per_minute\""},
        {"{'name':'n','balance':12}", "\"balance\""}, {"{'name':'n','balance':'1e3'}", "\"balance\""},
        {"{'name':'n','balance':'-5'}", "\"balance\""},
        {"{'name':'n','expires':-5}", "\"expires\""}, {"{'name':'n','expires':'soon'}", "\"expires\""},
        {"{'name':'n','expires':8640000000000001}", "\"expires\""},
        {"{'name':'n','expires':9007199254740993}", "\"expires\""},
        {"{'name':'n\\nboss  admin'}", "\"name\""}, {"{'name':'n\\u001b[2J'}", "\"name\""},
        {"{'name':'\\u007f'}", "\"name\""}, {"{'name':'a\\u009b2J'}", "\"name\""},
        {"{'name':'a\\u2028b'}", "\"name\""}, {"{'name':'\\tn'}", "\"name\""},
        {"{'name':'n','owner':'me'}", "\"owner\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(create(bad[i].fields, 1), ERR_ARGUMENT);
        if (!strstr(f.info.message, bad[i].says)) {
            fail_msg("%s: %s", bad[i].fields, f.info.message);
        }
    }
    assert_int_equal(create("{'name':'n'}", 1), ERR_OK);
    assert_int_equal(patch("{'scopes':[]}"), ERR_ARGUMENT);
    assert_int_equal(patch("{'name':''}"), ERR_ARGUMENT);
    assert_int_equal(patch("{'name':'a\\nb'}"), ERR_ARGUMENT);
    assert_int_equal(patch("{'expires':8640000000000001}"), ERR_ARGUMENT);
    assert_int_equal(create("{'name':'\xc3\x84nn\xc3\xa4 \xf0\x9f\x90\xb3','expires':8640000000000000}", 1), ERR_OK);
}

static void neither_key_nor_name_is_in_any_file(void **state)
{
    (void)state;
    assert_int_equal(create("{'name':'canaryBird'}", 1), ERR_OK);
    assert_false(storefixture_grep(&f, "canaryBird", 10));
    assert_false(storefixture_grep(&f, secret, KEYSTORE_SECRET));
    assert_false(storefixture_grep(&f, secret + 7, 20));
    assert_true(storefixture_grep(&f, key.id, VAULT_ID));
}

/* Who writes in the file without the master key gives no key more than it has, and takes no other's place. */
static void a_row_that_others_change_opens_nothing(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "scopes = 7", "requests_per_minute = 0", "tokens_per_day = 0", "concurrent = 0", "created = 2", "expires = NULL",
        "revoked = NULL", "hash = zeroblob(32)", "name = (SELECT name FROM api_key WHERE scopes = 4)",
        "hash = (SELECT hash FROM api_key WHERE scopes = 4) || x'00'"};
    struct keystore_key found, admin;
    char sql[300];
    assert_int_equal(create("{'name':'boss','scopes':['admin']}", 1), ERR_OK);
    admin = key;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        assert_int_equal(create("{'name':'n','limits':{'requests_per_minute':1,'tokens_per_day':2,'concurrent':3},"
                                "'expires':900}", 1), ERR_OK);
        assert_int_equal(keystore_revoke(keys, key.id, 500, &f.info), ERR_OK);
        assert_int_equal(keystore_get(keys, key.id, &found, &f.info), ERR_OK);
        snprintf(sql, sizeof sql, "UPDATE api_key SET %s WHERE id = '%s'", changes[i], key.id);
        assert_int_equal(sqlite3_exec(database_handle(f.database), sql, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(keystore_get(keys, key.id, &found, &f.info), ERR_CORRUPT);
        assert_int_not_equal(keystore_check(keys, secret, 100, &found, &f.info), ERR_OK);
        assert_int_equal(patch("{'name':'m'}"), ERR_CORRUPT);
        assert_int_equal(keystore_renew(keys, key.id, 1, &found, secret, &f.info), ERR_CORRUPT);
    }
    assert_int_equal(keystore_get(keys, admin.id, &found, &f.info), ERR_OK);
    assert_int_equal(found.scopes, CALLER_ADMIN);
}

/* What is damaged hides no other key; it is listed, can be named by its id, and revoked. */
static void a_damaged_key_is_listed_and_revoked(void **state)
{
    (void)state;
    struct keystore_key found, *list = NULL;
    size_t n = 0;
    char id[VAULT_ID + 1], begins[KEYSTORE_ID_SHORT + 1], sql[300];
    assert_int_equal(create("{'name':'bad','scopes':['admin']}", 1), ERR_OK);
    memcpy(id, key.id, sizeof id);
    assert_int_equal(create("{'name':'good'}", 2), ERR_OK);
    snprintf(sql, sizeof sql, "UPDATE api_key SET scopes = 7, created = 1e18 WHERE id = '%s'", id);
    assert_int_equal(sqlite3_exec(database_handle(f.database), sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(keystore_list(keys, &list, &n, &f.info), ERR_OK);
    assert_int_equal(n, 2);
    assert_false(list[0].damaged);
    assert_string_equal(list[0].name, "good");
    assert_true(list[1].damaged);
    assert_string_equal(list[1].id, id);
    assert_int_equal(list[1].scopes, 0);
    assert_int_equal(list[1].created, 0);
    assert_false(keystore_good(&list[1], 1));
    mem_free(list);
    snprintf(begins, sizeof begins, "%s", id);
    assert_int_equal(keystore_named(keys, id, 10, &found, &f.info), ERR_OK);
    assert_true(found.damaged);
    assert_int_equal(keystore_named(keys, begins, 10, &found, &f.info), ERR_OK);
    assert_int_equal(keystore_named(keys, "good", 10, &found, &f.info), ERR_OK);
    assert_int_equal(keystore_named(keys, "", 10, &found, &f.info), ERR_NOTFOUND);
    assert_int_equal(keystore_revoke(keys, id, 70, &f.info), ERR_OK);
    assert_int_equal(keystore_get(keys, id, &found, &f.info), ERR_OK);
    assert_false(found.damaged);
    assert_int_equal(found.revoked, 70);
    assert_int_equal(found.scopes, 0);
    assert_string_equal(found.name, "damaged");
    assert_int_equal(keystore_renew(keys, id, 80, &found, secret, &f.info), ERR_OK);
    assert_int_equal(keystore_check(keys, secret, 90, &found, &f.info), ERR_OK);
    assert_int_equal(found.scopes, 0);
}

/* When it was last used is written where there is room; the key is good without. */
static void a_disk_that_takes_nothing_refuses_no_key(void **state)
{
    (void)state;
    struct keystore_key found;
    assert_int_equal(create("{'name':'laptop'}", 1000), ERR_OK);
    static const char full[] = "CREATE TEMP TRIGGER full BEFORE UPDATE ON api_key BEGIN SELECT RAISE(ABORT, 'full'); END";
    assert_int_equal(sqlite3_exec(database_handle(f.database), full, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(keystore_check(keys, secret, 9000000, &found, &f.info), ERR_OK);
    assert_string_equal(found.id, key.id);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_is_known_by_its_secret_alone), TEST(a_key_is_checked_while_others_write),
        TEST(two_keys_are_two),
        TEST(a_disk_that_takes_nothing_refuses_no_key),
        TEST(a_revoked_or_expired_key_opens_nothing), TEST(a_row_that_others_change_opens_nothing),
        TEST(a_damaged_key_is_listed_and_revoked),
        TEST(a_renewed_key_has_its_owner_and_another_secret), TEST(a_name_will_do_where_it_is_the_only_one),
        TEST(a_name_is_that_of_the_key_that_is_good),
        TEST(every_field_is_kept),
        TEST(wrong_fields_are_refused_by_name), TEST(neither_key_nor_name_is_in_any_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What was used: sums by day, key and model; balances that fall with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/keystore.h"
#include "server/storefixture.h"
#include "server/usagestore.h"

static const int64_t DAY = 86400000;
static const char PRICES[] = "currency EUR\nbig | 0.1 | 1 | 2\n* | 0 | 0 | 0\n";

static struct storefixture f;
static struct pricetable prices;
static struct usagestore *usage;
static struct keystore *keys;

static int set_up(void **state)
{
    (void)state;
    storefixture_make(&f);
    return pricetable_parse(PRICES, strlen(PRICES), &prices, &f.info) == ERR_OK &&
                   usagestore_open(f.database, &prices, &usage, &f.info) == ERR_OK &&
                   keystore_open(f.database, &keys, &f.info) == ERR_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    usagestore_close(usage);
    keystore_close(keys);
    storefixture_remove(&f);
    return 0;
}

static void add(const char *key, const char *model, uint64_t prompt, uint64_t cached, uint64_t completion, int64_t now)
{
    const struct pricetable_tokens t = {prompt, cached, completion};
    if (usagestore_add(usage, key, model, &t, now, NULL, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
}

static void report(const char *key, int64_t first, int64_t last, const char *expected)
{
    json_t *out = NULL, *want = storefixture_json(expected);
    const struct usagestore_query q = {key, first, last};
    assert_int_equal(usagestore_report(usage, &q, &out, &f.info), ERR_OK);
    if (!json_equal(out, want)) {
        fail_msg("found %s", json_dumps(out, 0));
    }
    json_decref(out);
    json_decref(want);
}

static void sums_are_by_day_and_key_and_by_model(void **state)
{
    (void)state;
    uint64_t tokens = 0;
    add("local", "big", 1000000, 0, 0, 20780 * DAY);
    add("local", "big", 1000000, 1000000, 500000, 20780 * DAY + 5);
    add("local", "other", 7, 0, 3, 20781 * DAY - 1);
    add("someone", "big", 1, 0, 0, 20781 * DAY);
    report(NULL, 0, 30000,
           "{'currency':'EUR','days':["
           "{'day':'2026-11-23','key':'local','requests':3,'prompt_tokens':2000007,'cached_tokens':1000000,"
           "'completion_tokens':500003,'cost':'2.1'},"
           "{'day':'2026-11-24','key':'someone','requests':1,'prompt_tokens':1,'cached_tokens':0,"
           "'completion_tokens':0,'cost':'0.000001'}],"
           "'models':[{'model':'big','requests':3,'prompt_tokens':2000001,'cached_tokens':1000000,"
           "'completion_tokens':500000,'cost':'2.100001'},{'model':'other','requests':1,'prompt_tokens':7,"
           "'cached_tokens':0,'completion_tokens':3,'cost':'0'}],"
           "'totals':{'requests':4,'prompt_tokens':2000008,'cached_tokens':1000000,'completion_tokens':500003,"
           "'cost':'2.100001'}}");
    report("someone", 20780, 20780,
           "{'currency':'EUR','days':[],'models':[],'totals':{'requests':0,'prompt_tokens':0,'cached_tokens':0,"
           "'completion_tokens':0,'cost':'0'}}");
    assert_int_equal(usagestore_today(usage, "local", 20780 * DAY + 77, &tokens, NULL, &f.info), ERR_OK);
    assert_int_equal(tokens, 2500010);
    assert_int_equal(usagestore_today(usage, "local", 20781 * DAY, &tokens, NULL, &f.info), ERR_OK);
    assert_int_equal(tokens, 0);
}

static void a_balance_falls_with_use(void **state)
{
    (void)state;
    struct keystore_key k, none;
    char secret[KEYSTORE_SECRET + 1];
    json_t *fields = storefixture_json("{'name':'a','balance':'1'}"), *free_of = storefixture_json("{'name':'b'}");
    assert_int_equal(keystore_create(keys, fields, 1, &k, secret, &f.info), ERR_OK);
    assert_int_equal(keystore_create(keys, free_of, 1, &none, secret, &f.info), ERR_OK);
    add(k.id, "big", 300000, 0, 0, 5);
    assert_int_equal(usagestore_write(usage, &f.info), ERR_OK);
    assert_int_equal(keystore_get(keys, k.id, &k, &f.info), ERR_OK);
    assert_int_equal(k.balance, 700000000);
    add(k.id, "big", 0, 0, 1000000, 5);
    add(none.id, "big", 0, 0, 1000000, 5);
    assert_int_equal(usagestore_write(usage, &f.info), ERR_OK);
    assert_int_equal(keystore_get(keys, k.id, &k, &f.info), ERR_OK);
    assert_int_equal(k.balance, -1300000000); /* the last one may go below */
    assert_int_equal(keystore_get(keys, none.id, &none, &f.info), ERR_OK);
    assert_false(none.limited);
    json_decref(fields);
    json_decref(free_of);
}

/* What is not written yet counts as well, and is owed; a disk that takes nothing loses nothing. */
static void what_is_not_written_counts(void **state)
{
    (void)state;
    uint64_t tokens = 0;
    int64_t owed = 0;
    struct errinfo info;
    add("k", "big", 1000, 0, 500, 3 * DAY);
    add("k", "big", 10, 0, 5, 3 * DAY + 1);
    add("k", "big", 7, 0, 0, 4 * DAY);
    assert_int_equal(usagestore_today(usage, "k", 3 * DAY, &tokens, &owed, &f.info), ERR_OK);
    assert_int_equal(tokens, 1515);
    assert_true(owed > 0);
    int64_t all = owed;
    sqlite3_exec(database_handle(f.database), "PRAGMA query_only=ON", NULL, NULL, NULL); /* refuses every write */
    assert_int_not_equal(usagestore_write(usage, &info), ERR_OK);
    sqlite3_exec(database_handle(f.database), "PRAGMA query_only=OFF", NULL, NULL, NULL);
    assert_int_equal(usagestore_today(usage, "k", 3 * DAY, &tokens, &owed, &f.info), ERR_OK);
    assert_int_equal(tokens, 1515);
    assert_true(owed == all);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(usagestore_write(usage, &f.info), ERR_OK);
        assert_int_equal(usagestore_today(usage, "k", 3 * DAY, &tokens, &owed, &f.info), ERR_OK);
        assert_int_equal(tokens, 1515);
        assert_true(owed == 0);
    }
    add("k", "big", 1, 0, 1, 3 * DAY);
    usagestore_close(usage); /* writes what is left */
    assert_int_equal(usagestore_open(f.database, &prices, &usage, &f.info), ERR_OK);
    assert_int_equal(usagestore_today(usage, "k", 3 * DAY, &tokens, &owed, &f.info), ERR_OK);
    assert_int_equal(tokens, 1517);
}

/* What is used is of the day on which it is added, whenever it is written; what it costs is owed on any day. */
static void a_day_begins_at_midnight(void **state)
{
    (void)state;
    const int64_t midnight = 20781 * DAY;
    uint64_t tokens = 0;
    int64_t owed = 0;
    add("k", "big", 1000, 0, 500, midnight - 1);
    for (int written = 0; written < 2; written++) {
        assert_int_equal(usagestore_today(usage, "k", midnight - 1, &tokens, &owed, &f.info), ERR_OK);
        assert_int_equal(tokens, 1500);
        assert_int_equal(usagestore_today(usage, "k", midnight, &tokens, &owed, &f.info), ERR_OK);
        assert_int_equal(tokens, 7 * written);
        assert_true(owed == (written ? 7000 : 2000000));
        assert_int_equal(usagestore_write(usage, &f.info), ERR_OK);
        if (!written) {
            add("k", "big", 7, 0, 0, midnight);
        }
    }
    assert_int_equal(usagestore_today(usage, "k", midnight + DAY - 1, &tokens, &owed, &f.info), ERR_OK);
    assert_int_equal(tokens, 7);
    assert_true(owed == 0);
}

/* A report is of all that is known, whether the disk has taken it or not, each use once. */
static void a_full_disk_hides_nothing(void **state)
{
    static const char both[] =
        "{'currency':'EUR','days':["
        "{'day':'1970-01-04','key':'k','requests':3,'prompt_tokens':1110,'cached_tokens':0,"
        "'completion_tokens':5,'cost':'0.00112'},"
        "{'day':'1970-01-05','key':'k','requests':1,'prompt_tokens':7,'cached_tokens':0,"
        "'completion_tokens':0,'cost':'0'}],"
        "'models':[{'model':'big','requests':3,'prompt_tokens':1110,'cached_tokens':0,"
        "'completion_tokens':5,'cost':'0.00112'},{'model':'other','requests':1,'prompt_tokens':7,"
        "'cached_tokens':0,'completion_tokens':0,'cost':'0'}],"
        "'totals':{'requests':4,'prompt_tokens':1117,'cached_tokens':0,'completion_tokens':5,'cost':'0.00112'}}";
    static const char full[] = "CREATE TEMP TRIGGER full BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'full'); END";
    (void)state;
    add("k", "big", 1000, 0, 0, 3 * DAY);
    assert_int_equal(usagestore_write(usage, &f.info), ERR_OK);
    assert_int_equal(sqlite3_exec(database_handle(f.database), full, NULL, NULL, NULL), SQLITE_OK);
    add("k", "big", 100, 0, 0, 3 * DAY);
    add("k", "big", 10, 0, 5, 3 * DAY);
    add("k", "other", 7, 0, 0, 4 * DAY);
    assert_int_not_equal(usagestore_write(usage, &f.info), ERR_OK);
    report("k", 0, 100, both);
    report(NULL, 0, 100, both);
    assert_int_equal(sqlite3_exec(database_handle(f.database), "DROP TRIGGER full", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(usagestore_write(usage, &f.info), ERR_OK);
    report("k", 0, 100, both);
}

static void impossible_counts_are_refused(void **state)
{
    (void)state;
    static const struct pricetable_tokens bad[] = {{1, 2, 0}, {UINT64_MAX, 0, 0}, {0, 0, UINT64_MAX}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(usagestore_add(usage, "local", "big", &bad[i], 1, NULL, &f.info), ERR_ARGUMENT);
    }
    for (int i = 0; i < 3; i++) { /* and sums of the largest do not wrap */
        add("local", "big", 1ull << 40, 0, 1ull << 40, 1);
    }
}

static void days_are_read_and_written(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "2026-11-3", "2026-02-30", "2026-13-01", "20261123", "2026-11-23 ", "2026/11/23"};
    char text[USAGESTORE_DAY_TEXT];
    int64_t day = 0;
    for (int64_t d = -1000; d < 40000; d += 13) {
        assert_true(usagestore_parse_day(usagestore_day_text(d, text), &day));
        assert_int_equal(day, d);
        assert_int_equal(usagestore_day(d * DAY), d);
        assert_int_equal(usagestore_day(d * DAY + DAY - 1), d);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(usagestore_parse_day(bad[i], &day));
    }
}

static void names_of_models_are_in_no_file(void **state)
{
    (void)state;
    add("local", "canaryBird", 1, 0, 1, 1);
    assert_int_equal(usagestore_write(usage, &f.info), ERR_OK);
    assert_false(storefixture_grep(&f, "canaryBird", 10));
    assert_int_equal(storefixture_grep(&f, "local", 5), true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sums_are_by_day_and_key_and_by_model), TEST(a_balance_falls_with_use), TEST(what_is_not_written_counts),
        TEST(a_day_begins_at_midnight), TEST(a_full_disk_hides_nothing),
        TEST(impossible_counts_are_refused),
        TEST(days_are_read_and_written), TEST(names_of_models_are_in_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Chats handed from one owner to another: with folders, presets, search; a damaged one does not hold up the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/chatowner.h"
#include "server/storefixture.h"

#define ANNA "0123456789abcdef0123456789abcdef"

static struct storefixture f;

static int set_up(void **state)
{
    (void)state;
    storefixture_make(&f);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    storefixture_remove(&f);
    return 0;
}

static size_t count(const char *owner, const char *folder, const char *search)
{
    const struct chatstore_query query = {.folder = folder, .search = search};
    json_t *list = NULL;
    assert_int_equal(chatstore_list(f.chats, owner, &query, &list, &f.info), ERR_OK);
    size_t n = json_array_size(json_object_get(list, "chats"));
    json_decref(list);
    return n;
}

static size_t change(const char *from, const char *to)
{
    size_t n = 0;
    if (chatowner_change(f.chats, from, to, &n, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    return n;
}

static void chats_and_their_folders_are_handed_on(void **state)
{
    (void)state;
    size_t n = 0;
    char *plain = storefixture_chat(&f, "local", "{'title':'a'}", 1);
    char *filed = storefixture_chat(&f, "local", "{'title':'b','folder':'drawer'}", 2);
    char *hers = storefixture_chat(&f, ANNA, "{'title':'c','folder':'drawer'}", 3);
    char *passing = storefixture_chat(&f, "local", "{'temporary':true}", 4);
    free(storefixture_talk(&f, "local", plain, NULL, "where do whales sleep", "at sea", 5));
    assert_int_equal(chatowner_count(f.chats, "local", &n, &f.info), ERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(change("local", ANNA), 2);
    assert_int_equal(change("local", ANNA), 0);
    for (int reopened = 0; reopened < 2; reopened++) {
        assert_int_equal(count("local", NULL, NULL), 0);
        assert_int_equal(count(ANNA, NULL, NULL), 3);
        assert_int_equal(count(ANNA, "drawer", NULL), 2);
        assert_int_equal(count(ANNA, NULL, "whales"), 1);
        storefixture_reopen(&f);
    }
    free(storefixture_talk(&f, ANNA, plain, NULL, "and then", "they wake", 6));
    assert_int_equal(chatowner_count(f.chats, "local", &n, &f.info), ERR_OK);
    assert_int_equal(n, 0);
    free(plain);
    free(filed);
    free(hers);
    free(passing);
}

static void put_presets(const char *owner, const char *presets)
{
    json_t *list = storefixture_json(presets);
    assert_int_equal(chatstore_put_presets(f.chats, owner, list, &f.info), ERR_OK);
    json_decref(list);
}

static void presets_are_joined(void **state)
{
    (void)state;
    json_t *out = NULL;
    put_presets("local", "[{'name':'same','system':'old','settings':{}},{'name':'more','system':'s','settings':{}}]");
    put_presets(ANNA, "[{'name':'same','system':'hers','settings':{}}]");
    assert_int_equal(change("local", ANNA), 0);
    assert_int_equal(chatstore_presets(f.chats, ANNA, &out, &f.info), ERR_OK);
    char *text = json_text_dup(out, JSON_COMPACT);
    assert_non_null(strstr(text, "hers"));
    assert_non_null(strstr(text, "more"));
    assert_null(strstr(text, "old"));
    mem_free(text);
    json_decref(out);
    assert_int_equal(chatstore_presets(f.chats, "local", &out, &f.info), ERR_OK);
    assert_int_equal(json_array_size(json_object_get(out, "presets")), 0);
    json_decref(out);
}

static void a_damaged_chat_goes_with_the_others(void **state)
{
    (void)state;
    char *bad = storefixture_chat(&f, "local", "{'title':'a','folder':'x'}", 1);
    char *good = storefixture_chat(&f, "local", "{'title':'b','folder':'x'}", 2);
    assert_int_equal(database_begin(f.database, &f.info), ERR_OK);
    assert_int_equal(database_run(f.database, &f.info, "UPDATE chat SET head = zeroblob(60) WHERE id = ?1", "t", bad), ERR_OK);
    assert_int_equal(database_end(f.database, ERR_OK, &f.info), ERR_OK);
    assert_int_equal(change("local", ANNA), 2);
    assert_int_equal(count(ANNA, NULL, NULL), 2);
    assert_int_equal(count(ANNA, "x", NULL), 1);
    assert_int_equal(chatstore_delete(f.chats, ANNA, bad, &f.info), ERR_OK);
    free(bad);
    free(good);
}

#define BEN "fedcba9876543210fedcba9876543210"

static void run(const char *sql)
{
    assert_int_equal(sqlite3_exec(database_handle(f.database), sql, NULL, NULL, NULL), SQLITE_OK);
}

/* Who writes in the file without the master key hands nothing on: the chat says so, and can be given back. */
static void a_row_that_others_change_is_nobodys(void **state)
{
    (void)state;
    json_t *tree = NULL;
    char *id = storefixture_chat(&f, ANNA, "{'title':'hers'}", 1);
    free(storefixture_talk(&f, ANNA, id, NULL, "where do whales sleep", "at sea", 5));
    run("UPDATE chat SET owner = '" BEN "'");
    for (int adopted = 0; adopted < 2; adopted++) {
        assert_int_equal(chatstore_get(f.chats, BEN, id, &tree, &f.info), ERR_CORRUPT);
        assert_int_equal(count(BEN, NULL, NULL), 1); /* "damaged" */
        storefixture_reopen(&f);
        assert_int_equal(count(BEN, NULL, "whales"), 0);
        assert_int_equal(change(BEN, "local"), 1); /* who has the key hands on what it is: damaged */
        assert_int_equal(chatstore_get(f.chats, "local", id, &tree, &f.info), ERR_CORRUPT);
        run("UPDATE chat SET owner = '" BEN "'");
    }
    run("UPDATE chat SET owner = '" ANNA "'");
    assert_int_equal(chatstore_get(f.chats, ANNA, id, &tree, &f.info), ERR_OK);
    json_decref(tree);
    free(id);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(chats_and_their_folders_are_handed_on),
        TEST(presets_are_joined),
        TEST(a_damaged_chat_goes_with_the_others),
        TEST(a_row_that_others_change_is_nobodys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

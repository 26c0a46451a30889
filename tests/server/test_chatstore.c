/* Chats: made, listed, changed, deleted, forgotten; whose they are; what of them is in the files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/storefixture.h"

static struct storefixture f;

static const int64_t DAY = 86400000;

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

static json_t *get(const char *owner, const char *id)
{
    json_t *out = NULL;
    if (chatstore_get(f.chats, owner, id, &out, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    return out;
}

/* Compares a document with JSON written with ' for ". */
static void same(const json_t *value, const char *text)
{
    json_t *expected = storefixture_json(text);
    if (!json_equal(value, expected)) {
        char *is = json_dumps(value, JSON_SORT_KEYS | JSON_ENCODE_ANY);
        fail_msg("found %s\nexpected %s", is, text);
    }
    json_decref(expected);
}

/* The titles of a page, one letter each. */
static const char *list(const char *owner, const char *folder, const char *before, size_t limit, bool *more)
{
    static char letters[64];
    json_t *out = NULL;
    struct chatstore_query q = {.folder = folder, .before = before, .limit = limit};
    if (chatstore_list(f.chats, owner, &q, &out, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    json_t *chats = json_object_get(out, "chats");
    size_t n = 0;
    for (; n < json_array_size(chats); n++) {
        letters[n] = json_string_value(json_object_get(json_array_get(chats, n), "title"))[0];
    }
    letters[n] = '\0';
    if (more) {
        *more = json_is_true(json_object_get(out, "more"));
    }
    json_decref(out);
    return letters;
}

static void patch(const char *owner, const char *id, const char *fields)
{
    json_t *in = storefixture_json(fields), *chat = NULL;
    if (chatstore_patch(f.chats, owner, id, in, &chat, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    json_decref(in);
    json_decref(chat);
}

static void a_chat_is_as_the_page_expects_it(void **state)
{
    (void)state;
    char text[1000];
    char *id = storefixture_chat(&f, "local", "{'title':'T','folder':'F','system':'S','settings':{'seed':1}}", 5);
    for (int i = 0; i < 2; i++) {
        json_t *doc = get("local", id);
        snprintf(text, sizeof text, "{'chat':{'id':'%s','title':'T','folder':'F','pinned':false,'temporary':false,"
                 "'created':5,'updated':5,'forget_after_days':null,'system':'S','settings':{'seed':1},'leaf':null},"
                 "'messages':[]}", id);
        same(doc, text);
        json_decref(doc);
        storefixture_reopen(&f);
    }
    patch("local", id, "{'pinned':true,'folder':null,'title':'U','forget_after_days':3}");
    json_t *doc = get("local", id);
    snprintf(text, sizeof text, "{'id':'%s','title':'U','folder':null,'pinned':true,'temporary':false,"
             "'created':5,'updated':5,'forget_after_days':3,'system':'S','settings':{'seed':1},'leaf':null}", id);
    same(json_object_get(doc, "chat"), text);
    json_decref(doc);
    free(id);
}

static void wrong_fields_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *says;
    } bad[] = {
        {"{'colour':1}", "\"colour\" is no field"}, {"{'title':1}", "\"title\": found an integer"},
        {"{'system':null}", "\"system\": found null"}, {"{'settings':[]}", "\"settings\": found an array"},
        {"{'folder':true}", "\"folder\": found true"}, {"{'forget_after_days':0}", "1 to 36500"},
        {"{'forget_after_days':1.5}", "1 to 36500"}, {"{'forget_after_days':40000}", "1 to 36500"},
        {"{'pinned':true}", "\"pinned\" is no field"}, {"{'temporary':'yes'}", "true or false"},
        {"[]", "found an array"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *in = storefixture_json(bad[i].fields), *chat = NULL;
        assert_int_equal(chatstore_create(f.chats, "local", in, 1, &chat, &f.info), ERR_ARGUMENT);
        if (!strstr(f.info.message, bad[i].says)) {
            fail_msg("%s: %s", bad[i].fields, f.info.message);
        }
        json_decref(in);
    }
    assert_string_equal(list("local", NULL, NULL, 0, NULL), "");
}

static void pinned_ones_come_first_then_the_latest_page_by_page(void **state)
{
    (void)state;
    char *ids[6];
    bool more;
    for (int i = 0; i < 6; i++) {
        char fields[60];
        snprintf(fields, sizeof fields, "{'title':'%c','folder':%s}", 'a' + i, i % 2 ? "'odd'" : "null");
        ids[i] = storefixture_chat(&f, "local", fields, 100 + i / 2); /* two of each time */
    }
    patch("local", ids[1], "{'pinned':true}");
    assert_string_equal(list("local", NULL, NULL, 0, &more), "bfedca");
    assert_false(more);
    assert_string_equal(list("local", NULL, NULL, 4, &more), "bfed");
    assert_true(more);
    assert_string_equal(list("local", NULL, ids[3], 4, &more), "ca");
    assert_false(more);
    assert_string_equal(list("local", NULL, ids[1], 2, &more), "fe");
    assert_true(more);
    assert_string_equal(list("local", "odd", NULL, 0, &more), "bfd");
    assert_string_equal(list("local", "even", NULL, 0, &more), "");
    assert_string_equal(list("other", "odd", NULL, 0, &more), "");
    json_t *out = NULL;
    assert_int_equal(chatstore_list(f.chats, "other", &(struct chatstore_query){.before = ids[2]}, &out, &f.info),
                     ERR_NOTFOUND);
    char *answer = storefixture_talk(&f, "local", ids[0], NULL, "hello", "hi", 500);
    assert_string_equal(list("local", NULL, NULL, 0, &more), "bafedc");
    free(answer);
    for (int i = 0; i < 6; i++) {
        free(ids[i]);
    }
}

/* Every call with another owner's ids: as if they did not exist. */
static void what_is_anothers_does_not_exist(void **state)
{
    (void)state;
    static const char *const fields[] = {"{'title':'mine'}", "{'title':'mine','temporary':true}"};
    json_t *none = NULL, *in = storefixture_json("{'title':'stolen'}");
    struct chattree_ending ending = {.state = CHATTREE_DONE, .content = "x", .reasoning = ""};
    for (int i = 0; i < 2; i++) {
        char *id = storefixture_chat(&f, "alice", fields[i], 1);
        char *answer = storefixture_talk(&f, "alice", id, NULL, "secret", "secret too", 2);
        json_t *doc = get("alice", id);
        const char *user = json_string_value(json_object_get(json_array_get(json_object_get(doc, "messages"), 0),
                                                             "id"));
        struct chattree_turn turn = {.parent = answer, .content = "x", .think = "off"};
        static const char *const others[] = {"bob", "local", "", "alic", "alice'--"};
        for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
            const char *who = others[o];
            assert_int_equal(chatstore_get(f.chats, who, id, &none, &f.info), ERR_NOTFOUND);
            assert_int_equal(chatstore_patch(f.chats, who, id, in, &none, &f.info), ERR_NOTFOUND);
            assert_int_equal(chatstore_delete(f.chats, who, id, &f.info), ERR_NOTFOUND);
            assert_int_equal(chattree_ask(f.chats, who, id, &turn, 3, &none, &f.info), ERR_NOTFOUND);
            assert_int_equal(chattree_answer(f.chats, who, id, user, "on", 3, &none, &f.info), ERR_NOTFOUND);
            assert_int_equal(chattree_write(f.chats, who, answer, "x", "", &f.info), ERR_NOTFOUND);
            assert_int_equal(chattree_end(f.chats, who, answer, &ending, 3, &none, &f.info), ERR_NOTFOUND);
            assert_int_equal(chattree_message(f.chats, who, answer, &none, NULL, &f.info), ERR_NOTFOUND);
            assert_int_equal(chattree_branch(f.chats, who, id, NULL, &none, &f.info), ERR_NOTFOUND);
            assert_int_equal(chatstore_delete_all(f.chats, who, &f.info), ERR_OK);
            assert_string_equal(list(who, NULL, NULL, 0, NULL), "");
        }
        json_t *after = get("alice", id);
        assert_true(json_equal(doc, after));
        json_decref(after);
        json_decref(doc);
        free(answer);
        free(id);
    }
    json_decref(in);
}

static void temporary_chats_are_in_memory_alone(void **state)
{
    (void)state;
    char *id = storefixture_chat(&f, "local", "{'title':'t','temporary':true}", 1), *oldest = strdup(id);
    free(storefixture_talk(&f, "local", id, NULL, "hello", "hi", 2));
    json_t *doc = get("local", id), *none = NULL;
    assert_true(json_is_true(json_object_get(json_object_get(doc, "chat"), "temporary")));
    assert_int_equal(json_array_size(json_object_get(doc, "messages")), 2);
    json_decref(doc);
    assert_string_equal(list("local", NULL, NULL, 0, NULL), "");
    for (int i = 0; i < CHATSTORE_TEMPORARY_MAX; i++) { /* the first one gives way */
        free(id);
        id = storefixture_chat(&f, "local", "{'temporary':true}", 10 + i);
    }
    assert_int_equal(chatstore_get(f.chats, "local", oldest, &none, &f.info), ERR_NOTFOUND);
    json_decref(get("local", id));
    storefixture_reopen(&f);
    assert_int_equal(chatstore_get(f.chats, "local", id, &none, &f.info), ERR_NOTFOUND);
    free(oldest);
    free(id);
}

static void forgetting_goes_by_the_stricter_rule(void **state)
{
    (void)state;
    size_t n = 0;
    free(storefixture_chat(&f, "local", "{'title':'a'}", 0));
    free(storefixture_chat(&f, "local", "{'title':'b','forget_after_days':2}", 0));
    free(storefixture_chat(&f, "local", "{'title':'c','forget_after_days':9}", 0));
    free(storefixture_chat(&f, "other", "{'title':'d'}", 3 * DAY));
    free(storefixture_chat(&f, "local", "{'title':'t','temporary':true}", 2 * DAY));
    assert_int_equal(chatstore_forget(f.chats, 0, 2 * DAY - 1, &n, &f.info), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(chatstore_forget(f.chats, 0, 2 * DAY, &n, &f.info), ERR_OK);
    assert_int_equal(n, 1);
    assert_string_equal(list("local", NULL, NULL, 0, NULL), "ca");
    assert_int_equal(chatstore_forget(f.chats, 0, 0, &n, &f.info), ERR_OK); /* the clock went back */
    assert_int_equal(n, 0);
    assert_int_equal(chatstore_forget(f.chats, 5, 5 * DAY, &n, &f.info), ERR_OK);
    assert_int_equal(n, 3); /* with the temporary one */
    assert_string_equal(list("local", NULL, NULL, 0, NULL), "");
    assert_string_equal(list("other", NULL, NULL, 0, NULL), "d");
    assert_int_equal(chatstore_forget(f.chats, SIZE_MAX, INT64_MAX, &n, &f.info), ERR_OK);
    assert_int_equal(n, 1);
}

static void all_of_an_owner_can_be_deleted(void **state)
{
    (void)state;
    json_t *none = NULL;
    for (int i = 0; i < 70; i++) { /* more than go in one step */
        free(storefixture_chat(&f, "local", "{'title':'a'}", i));
    }
    for (int i = 0; i < 5; i++) {
        free(storefixture_chat(&f, "other", "{'title':'b'}", i));
    }
    char *id = storefixture_chat(&f, "local", "{'temporary':true}", 9);
    assert_int_equal(chatstore_delete_all(f.chats, "local", &f.info), ERR_OK);
    assert_string_equal(list("local", NULL, NULL, 0, NULL), "");
    assert_string_equal(list("other", NULL, NULL, 0, NULL), "bbbbb");
    assert_int_equal(chatstore_get(f.chats, "local", id, &none, &f.info), ERR_NOTFOUND);
    free(id);
}

static void presets_are_kept_for_each_owner(void **state)
{
    (void)state;
    json_t *presets = storefixture_json("[{'name':'n','system':'s','settings':{'top_p':0.5}}]"), *out = NULL;
    assert_int_equal(chatstore_put_presets(f.chats, "local", presets, &f.info), ERR_OK);
    storefixture_reopen(&f);
    assert_int_equal(chatstore_presets(f.chats, "local", &out, &f.info), ERR_OK);
    same(out, "{'presets':[{'name':'n','system':'s','settings':{'top_p':0.5}}]}");
    json_decref(out);
    assert_int_equal(chatstore_presets(f.chats, "other", &out, &f.info), ERR_OK);
    same(out, "{'presets':[]}");
    json_decref(out);
    json_decref(presets);
    presets = storefixture_json("[{'name':'n'}]");
    assert_int_equal(chatstore_put_presets(f.chats, "local", presets, &f.info), ERR_ARGUMENT);
    json_decref(presets);
}

/* The key of a chat as it lies in the database. */
static void wrapped_key(const char *id, unsigned char wrapped[VAULT_WRAPPED])
{
    sqlite3_stmt *st;
    bool row = false;
    assert_int_equal(database_begin(f.database, &f.info), ERR_OK);
    assert_int_equal(database_query(f.database, &st, &f.info, "SELECT number FROM chat WHERE id = ?1", "t", id),
                     ERR_OK);
    assert_int_equal(database_next(f.database, st, &row, &f.info), ERR_OK);
    assert_true(row);
    assert_int_equal(database_key_get(f.database, sqlite3_column_int64(st, 0), wrapped, &f.info), ERR_OK);
    assert_int_equal(database_end(f.database, ERR_OK, &f.info), ERR_OK);
}

static const char CANARY[] = "canaryBird";

static void no_text_is_in_any_file(void **state)
{
    (void)state;
    json_t *attachments = storefixture_json("[{'name':'canaryBird.txt','text':'a canaryBird'}]"), *both = NULL;
    json_t *presets = storefixture_json("[{'name':'canaryBird','system':'canaryBird','settings':{}}]");
    struct chattree_turn turn = {.content = "the canaryBird sings", .attachments = attachments, .think = "off"};
    struct chattree_ending ending = {.state = CHATTREE_FAILED, .content = "canaryBird", .reasoning = "canaryBird?",
                                     .error = "canaryBird!"};
    char *id = storefixture_chat(&f, "local", "{'title':'canaryBird','folder':'canaryBird','system':'canaryBird',"
                                 "'settings':{'stop':['canaryBird']}}", 1);
    assert_int_equal(chattree_ask(f.chats, "local", id, &turn, 2, &both, &f.info), ERR_OK);
    const char *answer = json_string_value(json_object_get(json_object_get(both, "answer"), "id"));
    assert_int_equal(chattree_write(f.chats, "local", answer, "canaryBird", "", &f.info), ERR_OK);
    json_t *message = NULL, *found = NULL;
    assert_int_equal(chattree_end(f.chats, "local", answer, &ending, 3, &message, &f.info), ERR_OK);
    assert_int_equal(chatstore_put_presets(f.chats, "local", presets, &f.info), ERR_OK);
    struct chatstore_query q = {.search = "canarybird"};
    assert_int_equal(chatstore_list(f.chats, "local", &q, &found, &f.info), ERR_OK);
    assert_int_equal(json_array_size(json_object_get(found, "chats")), 1);
    assert_false(storefixture_grep(&f, CANARY, strlen(CANARY)));
    assert_false(storefixture_grep(&f, "canarybird", strlen(CANARY)));
    assert_true(storefixture_grep(&f, id, strlen(id))); /* ids lie open: the search above can find something */
    json_decref(found);
    json_decref(message);
    json_decref(both);
    json_decref(presets);
    json_decref(attachments);
    free(id);
}

/* Among many others that come, grow and go, so that rows move within the file. */
static void a_deleted_chat_leaves_nothing_in_the_files(void **state)
{
    (void)state;
    enum { CHATS = 160 };
    static unsigned char wrapped[CHATS][VAULT_WRAPPED];
    static char title[900];
    char *ids[CHATS];
    memset(title, 'x', sizeof title - 1);
    for (int i = 0; i < CHATS; i++) {
        ids[i] = storefixture_chat(&f, "local", "{'title':'short'}", i);
        wrapped_key(ids[i], wrapped[i]);
        assert_true(storefixture_grep(&f, wrapped[i], VAULT_WRAPPED));
        if (i % 3 == 0) {
            free(storefixture_talk(&f, "local", ids[i / 2], NULL, title, "answer", i));
        }
        char fields[1000];
        snprintf(fields, sizeof fields, "{'title':'%.*s'}", i * 5, title);
        patch("local", ids[i / 3], fields);
    }
    for (int i = 1; i < CHATS; i += 2) {
        assert_int_equal(chatstore_delete(f.chats, "local", ids[i], &f.info), ERR_OK);
        assert_false(storefixture_grep(&f, wrapped[i], VAULT_WRAPPED));
    }
    for (int i = 0; i < CHATS; i++) {
        assert_int_equal(storefixture_grep(&f, wrapped[i], VAULT_WRAPPED), i % 2 == 0);
        assert_int_equal(storefixture_grep(&f, wrapped[i] + 30, 20), i % 2 == 0);
        free(ids[i]);
    }
    assert_int_equal(database_check(f.database, &f.info), ERR_OK);
}

static void a_damaged_chat_is_shown_as_such_and_can_be_deleted(void **state)
{
    (void)state;
    char *id = storefixture_chat(&f, "local", "{'title':'a'}", 1);
    char *other = storefixture_chat(&f, "local", "{'title':'b'}", 2);
    json_t *out = NULL;
    assert_int_equal(database_begin(f.database, &f.info), ERR_OK); /* the head of another chat */
    assert_int_equal(database_run(f.database, &f.info, "UPDATE chat SET head = (SELECT head FROM chat WHERE id = ?2)"
                                  " WHERE id = ?1", "tt", id, other), ERR_OK);
    assert_int_equal(database_end(f.database, ERR_OK, &f.info), ERR_OK);
    assert_string_equal(list("local", NULL, NULL, 0, NULL), "b(");
    assert_int_equal(chatstore_get(f.chats, "local", id, &out, &f.info), ERR_CORRUPT);
    assert_non_null(strstr(f.info.message, "cannot be opened"));
    assert_int_equal(chatstore_list(f.chats, "local", &(struct chatstore_query){.search = "b"}, &out, &f.info), ERR_OK);
    assert_int_equal(json_array_size(json_object_get(out, "chats")), 1);
    json_decref(out);
    assert_int_equal(chatstore_delete(f.chats, "local", id, &f.info), ERR_OK);
    assert_string_equal(list("local", NULL, NULL, 0, NULL), "b");
    free(id);
    free(other);
}

static void two_servers_do_not_share_chats(void **state)
{
    (void)state;
    struct database *other = NULL;
    struct chatstore *none = NULL;
    assert_int_equal(database_open(f.dir.path, NULL, &other, &f.info), ERR_OK); /* as `fathom keys` does */
    assert_int_equal(chatstore_open(other, false, &none, &f.info), ERR_IO);
    assert_non_null(strstr(f.info.message, "another server"));
    database_close(other);
    storefixture_reopen(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* A list is short, whatever its chats hold, found or all, and in order though it was read in portions. */
static void a_list_has_no_long_texts(void **state)
{
    enum { CHATS = 16 };
    static const char *const searches[] = {NULL, "title"};
    char *system = calloc(1, CHATSTORE_SYSTEM_MAX);
    (void)state;
    memset(system, 's', CHATSTORE_SYSTEM_MAX - 1);
    for (int i = 0; i < CHATS; i++) {
        json_t *chat = NULL, *fields = json_pack("{s:s, s:s, s:{s:i}}", "title", "title", "system", system,
                                                 "settings", "seed", i);
        assert_int_equal(chatstore_create(f.chats, "local", fields, i + 1, &chat, &f.info), ERR_OK);
        json_decref(fields);
        json_decref(chat);
    }
    for (size_t i = 0; i < 2; i++) {
        json_t *out = NULL;
        const struct chatstore_query q = {.limit = CHATS, .search = searches[i]};
        assert_int_equal(chatstore_list(f.chats, "local", &q, &out, &f.info), ERR_OK);
        json_t *chats = json_object_get(out, "chats");
        assert_int_equal(json_array_size(chats), CHATS);
        assert_true(json_is_false(json_object_get(out, "more")));
        for (int n = 0; n < CHATS; n++) {
            json_t *row = json_array_get(chats, (size_t)n);
            assert_int_equal(json_integer_value(json_object_get(row, "created")), CHATS - n);
            assert_null(json_object_get(row, "system"));
            assert_null(json_object_get(row, "settings"));
        }
        char *text = json_text_dup(out, JSON_COMPACT);
        assert_true(strlen(text) < CHATS << 10);
        mem_free(text);
        json_decref(out);
    }
    free(system);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_chat_is_as_the_page_expects_it),
        TEST(wrong_fields_are_refused_by_name),
        TEST(pinned_ones_come_first_then_the_latest_page_by_page),
        TEST(a_list_has_no_long_texts),
        TEST(what_is_anothers_does_not_exist),
        TEST(temporary_chats_are_in_memory_alone),
        TEST(forgetting_goes_by_the_stricter_rule),
        TEST(all_of_an_owner_can_be_deleted),
        TEST(presets_are_kept_for_each_owner),
        TEST(no_text_is_in_any_file),
        TEST(a_deleted_chat_leaves_nothing_in_the_files),
        TEST(a_damaged_chat_is_shown_as_such_and_can_be_deleted),
        TEST(two_servers_do_not_share_chats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Messages of a chat: asked, answered, asked anew; what is refused; answers while they are written; many at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "server/chatimport.h"
#include "server/storefixture.h"

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

static const char *text_of(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));
    return text ? text : "(null)";
}

static char *ask(const char *chat, const char *parent, const char *content, char **user)
{
    json_t *both = NULL;
    const struct chattree_turn turn = {.parent = parent, .content = content, .think = "on"};
    if (chattree_ask(f.chats, "local", chat, &turn, 10, &both, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    char *answer = strdup(text_of(json_object_get(both, "answer"), "id"));
    if (user) {
        *user = strdup(text_of(json_object_get(both, "message"), "id"));
    }
    json_decref(both);
    return answer;
}

static void finish(const char *answer, enum chattree_state state, const char *content)
{
    json_t *message = NULL;
    const struct chattree_ending ending = {.state = state, .content = content, .reasoning = "because"};
    if (chattree_end(f.chats, "local", answer, &ending, 20, &message, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    json_decref(message);
}

/* The contents of the branch, joined. */
static const char *branch(const char *chat, const char *leaf)
{
    static char out[1000];
    json_t *messages = NULL;
    if (chattree_branch(f.chats, "local", chat, leaf, &messages, &f.info) != ERR_OK) {
        fail_msg("%s", f.info.message);
    }
    out[0] = '\0';
    for (size_t i = 0; i < json_array_size(messages); i++) {
        strcat(strcat(out, i ? " " : ""), text_of(json_array_get(messages, i), "content"));
    }
    json_decref(messages);
    return out;
}

static void a_turn_comes_with_its_answer(void **state)
{
    (void)state;
    json_t *attachments = storefixture_json("[{'name':'a','text':'b'}]"), *both = NULL;
    char *chat = storefixture_chat(&f, "local", "{}", 1), expected[800];
    const struct chattree_turn turn = {.content = "hello", .attachments = attachments, .think = "max"};
    assert_int_equal(chattree_ask(f.chats, "local", chat, &turn, 5, &both, &f.info), ERR_OK);
    const char *user = text_of(json_object_get(both, "message"), "id");
    const char *answer = text_of(json_object_get(both, "answer"), "id");
    snprintf(expected, sizeof expected,
             "{'message':{'id':'%s','parent':null,'role':'user','content':'hello','reasoning':'','attachments':"
             "[{'name':'a','text':'b'}],'state':'done','error':null,'think':'max','created':5,'stats':null},"
             "'answer':{'id':'%s','parent':'%s','role':'assistant','content':'','reasoning':'','attachments':[],"
             "'state':'writing','error':null,'think':'max','created':5,'stats':null}}", user, answer, user);
    json_t *want = storefixture_json(expected), *whole = NULL, *message = NULL;
    assert_true(json_equal(both, want));
    char in[VAULT_ID + 1];
    assert_int_equal(chattree_message(f.chats, "local", user, &message, in, &f.info), ERR_OK);
    assert_true(json_equal(message, json_object_get(both, "message")));
    assert_string_equal(in, chat);
    assert_int_equal(chatstore_get(f.chats, "local", chat, &whole, &f.info), ERR_OK);
    assert_string_equal(text_of(json_object_get(whole, "chat"), "leaf"), answer);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(whole, "chat"), "updated")), 5);
    json_decref(whole);
    json_decref(message);
    json_decref(want);
    json_decref(both);
    json_decref(attachments);
    free(chat);
}

static void a_tree_has_branches(void **state)
{
    (void)state;
    char *chat = storefixture_chat(&f, "local", "{}", 1), *user = NULL;
    char *first = ask(chat, NULL, "q1", &user);
    finish(first, CHATTREE_DONE, "a1");
    json_t *again = NULL;
    assert_int_equal(chattree_answer(f.chats, "local", chat, user, "off", 11, &again, &f.info), ERR_OK);
    char *second = strdup(text_of(json_object_get(again, "answer"), "id"));
    json_decref(again);
    finish(second, CHATTREE_LENGTH, "b1");
    assert_string_equal(branch(chat, NULL), "q1 b1");
    char *deeper = ask(chat, first, "q2", NULL);
    finish(deeper, CHATTREE_STOPPED, "a2");
    assert_string_equal(branch(chat, NULL), "q1 a1 q2 a2");
    assert_string_equal(branch(chat, second), "q1 b1");
    char *root = ask(chat, NULL, "other q1", NULL);
    assert_string_equal(branch(chat, NULL), "other q1 ");
    finish(root, CHATTREE_DONE, "c1");
    json_t *fields = json_pack("{s:s}", "leaf", deeper), *out = NULL;
    assert_int_equal(chatstore_patch(f.chats, "local", chat, fields, &out, &f.info), ERR_OK);
    assert_string_equal(branch(chat, NULL), "q1 a1 q2 a2");
    json_decref(out);
    json_decref(fields);
    free(user), free(first), free(second), free(deeper), free(root), free(chat);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    char *chat = storefixture_chat(&f, "local", "{}", 1), *other = storefixture_chat(&f, "local", "{}", 1), *user = NULL;
    char *answer = ask(chat, NULL, "q", &user);
    json_t *out = NULL;
    struct chattree_turn turn = {.parent = answer, .content = "q2", .think = "on"};
    assert_int_equal(chattree_ask(f.chats, "local", chat, &turn, 1, &out, &f.info), ERR_ARGUMENT);
    assert_non_null(strstr(f.info.message, "still being written"));
    finish(answer, CHATTREE_DONE, "a");
    turn.parent = user;
    assert_int_equal(chattree_ask(f.chats, "local", chat, &turn, 1, &out, &f.info), ERR_ARGUMENT);
    assert_int_equal(chattree_answer(f.chats, "local", chat, answer, "on", 1, &out, &f.info), ERR_ARGUMENT);
    turn.parent = answer;
    assert_int_equal(chattree_ask(f.chats, "local", other, &turn, 1, &out, &f.info), ERR_NOTFOUND); /* another chat's */
    assert_int_equal(chattree_branch(f.chats, "local", other, answer, &out, &f.info), ERR_NOTFOUND);
    turn.think = "hard";
    assert_int_equal(chattree_ask(f.chats, "local", chat, &turn, 1, &out, &f.info), ERR_ARGUMENT);
    turn.think = "on";
    turn.content = "\xff";
    assert_int_equal(chattree_ask(f.chats, "local", chat, &turn, 1, &out, &f.info), ERR_ARGUMENT);
    assert_non_null(strstr(f.info.message, "UTF-8"));
    static const char *const bad[] = {"5", "[5]", "[{'name':'a'}]", "[{'name':'a','text':5}]", "[{'name':'a','text':'b','x':1}]"};
    turn.content = "q";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *attachments = storefixture_json(bad[i]);
        turn.attachments = attachments;
        assert_int_equal(chattree_ask(f.chats, "local", chat, &turn, 1, &out, &f.info), ERR_ARGUMENT);
        json_decref(attachments);
    }
    json_t *fields = json_pack("{s:s}", "leaf", "00000000000000000000000000000000");
    assert_int_equal(chatstore_patch(f.chats, "local", chat, fields, &out, &f.info), ERR_NOTFOUND);
    json_decref(fields);
    assert_string_equal(branch(chat, NULL), "q a");
    free(user);
    free(answer);
    free(chat);
    free(other);
}

/* Letters that JSON writes as six: within the limit of a turn, and more than a row holds. */
static void what_could_not_be_deleted_is_not_stored(void **state)
{
    enum { LETTERS = DATABASE_ROW / 6 + 1 };
    (void)state;
    char *chat = storefixture_chat(&f, "local", "{}", 1), *text = malloc(LETTERS + 1);
    json_t *both = NULL;
    const struct chattree_turn turn = {.content = text, .think = "off"};
    memset(text, 1, LETTERS);
    text[LETTERS] = '\0';
    assert_int_equal(chattree_ask(f.chats, "local", chat, &turn, 10, &both, &f.info), ERR_ARGUMENT);
    assert_non_null(strstr(f.info.message, "at most 17825792 are stored"));
    text[LETTERS - 1000] = '\0';
    assert_int_equal(chattree_ask(f.chats, "local", chat, &turn, 10, &both, &f.info), ERR_OK);
    json_decref(both);
    free(text);
    free(chat);
}

static void an_answer_grows_and_ends_once(void **state)
{
    (void)state;
    char *chat = storefixture_chat(&f, "local", "{}", 1), *answer = ask(chat, NULL, "q", NULL);
    json_t *message = NULL, *stats = storefixture_json("{'decode_tps':12.5}");
    assert_int_equal(chattree_write(f.chats, "local", answer, "On", "hm", &f.info), ERR_OK);
    assert_int_equal(chattree_write(f.chats, "local", answer, "One", "hm", &f.info), ERR_OK);
    assert_string_equal(branch(chat, NULL), "q One");
    const struct chattree_ending ending = {.state = CHATTREE_FAILED, .content = "One.", .reasoning = "hmm",
                                           .error = "out of memory", .stats = stats};
    assert_int_equal(chattree_end(f.chats, "local", answer, &ending, 9, &message, &f.info), ERR_OK);
    assert_string_equal(text_of(message, "state"), "failed");
    assert_string_equal(text_of(message, "error"), "out of memory");
    assert_string_equal(text_of(message, "reasoning"), "hmm");
    assert_true(json_equal(json_object_get(message, "stats"), stats));
    json_decref(message);
    assert_int_equal(chattree_end(f.chats, "local", answer, &ending, 9, &message, &f.info), ERR_ARGUMENT);
    assert_int_equal(chattree_write(f.chats, "local", answer, "Two", "", &f.info), ERR_ARGUMENT);
    assert_non_null(strstr(f.info.message, "not being written"));
    assert_int_equal(chatstore_delete(f.chats, "local", chat, &f.info), ERR_OK);
    assert_int_equal(chattree_write(f.chats, "local", answer, "Two", "", &f.info), ERR_NOTFOUND);
    json_decref(stats);
    free(answer);
    free(chat);
}

static void an_answer_cut_off_is_interrupted(void **state)
{
    (void)state;
    char *chat = storefixture_chat(&f, "local", "{}", 1), *answer = ask(chat, NULL, "q", NULL);
    json_t *message = NULL;
    assert_int_equal(chattree_write(f.chats, "local", answer, "half", "hm", &f.info), ERR_OK);
    storefixture_reopen(&f);
    assert_int_equal(chattree_message(f.chats, "local", answer, &message, NULL, &f.info), ERR_OK);
    assert_string_equal(text_of(message, "state"), "interrupted");
    assert_string_equal(text_of(message, "content"), "half");
    json_decref(message);
    free(ask(chat, answer, "go on", NULL));
    free(answer);
    free(chat);
}

#define DAMAGED "(damaged: cannot be read)"

/* Sealed text that was moved to another row, or changed, is not shown as if it were there. */
static void messages_cannot_be_swapped(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "UPDATE message SET body = (SELECT body FROM message WHERE role = 1) WHERE role = 0",
        "UPDATE message SET role = 1 - role", "UPDATE message SET created = created + 1", "UPDATE message SET parent = NULL",
        "UPDATE message SET body = substr(body, 1, length(body) - 1)", "UPDATE message SET body = zeroblob(5)",
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char *chat = storefixture_chat(&f, "local", "{}", 1);
        json_t *out = NULL;
        size_t damaged = 0;
        free(storefixture_talk(&f, "local", chat, NULL, "q", "a", 2));
        assert_int_equal(sqlite3_exec(database_handle(f.database), changes[i], NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(chatstore_get(f.chats, "local", chat, &out, &f.info), ERR_OK);
        for (size_t k = 0; k < 2; k++) {
            const char *text = text_of(json_array_get(json_object_get(out, "messages"), k), "content");
            bool told = strcmp(text, DAMAGED) == 0;
            assert_true(told || strcmp(text, k == 0 ? "q" : "a") == 0);
            damaged += told;
        }
        assert_true(damaged > 0);
        json_decref(out);
        assert_int_equal(chatstore_delete(f.chats, "local", chat, &f.info), ERR_OK);
        free(chat);
    }
}

/* The others can be read and found, and it goes on. */
static void a_damaged_message_costs_no_other(void **state)
{
    (void)state;
    char *chat = storefixture_chat(&f, "local", "{'title':'t'}", 1);
    char *first = storefixture_talk(&f, "local", chat, NULL, "whale", "narwhal", 2);
    char *second = storefixture_talk(&f, "local", chat, first, "dolphin", "porpoise", 3);
    json_t *out = NULL;
    storefixture_close(&f);
    storefixture_open(&f); /* its index is empty */
    assert_int_equal(sqlite3_exec(database_handle(f.database),
                                  "UPDATE message SET body = zeroblob(60) WHERE number = 2", NULL, NULL, NULL), SQLITE_OK);
    assert_string_equal(branch(chat, NULL), "whale " DAMAGED " dolphin porpoise");
    free(storefixture_talk(&f, "local", chat, second, "more", "yes", 4));
    free(storefixture_talk(&f, "local", chat, first, "beside", "no", 4));
    static const char *const words[] = {"dolphin", "narwhal"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(chatstore_list(f.chats, "local", &(struct chatstore_query){.search = words[i]}, &out, &f.info), ERR_OK);
        assert_int_equal(json_array_size(json_object_get(out, "chats")), i == 0);
        json_decref(out);
    }
    assert_int_equal(chatstore_delete(f.chats, "local", chat, &f.info), ERR_OK);
    free(first), free(second), free(chat);
}

/* Damaged rows may name any parent. */
static void a_circle_is_no_branch(void **state)
{
    (void)state;
    char *chat = storefixture_chat(&f, "local", "{}", 1), *answer = storefixture_talk(&f, "local", chat, NULL, "q", "a", 2);
    json_t *out = NULL;
    assert_int_equal(sqlite3_exec(database_handle(f.database),
                                  "UPDATE message SET parent = (SELECT id FROM message WHERE number = 2) WHERE number = 1",
                                  NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(chattree_branch(f.chats, "local", chat, answer, &out, &f.info), ERR_CORRUPT);
    assert_non_null(strstr(f.info.message, "before its parent"));
    free(answer), free(chat);
}

/* ---- Many at once. ---- */

/* Others get their turn while a long chat is read, and what is read is all of it. */
static void a_long_chat_is_read_in_portions(void **state)
{
    (void)state;
    enum { MESSAGES = 3000 };
    struct storefixture_commits commits;
    struct chatimport_count counted;
    json_t *document = storefixture_json("{'format':'fathom-chats','version':1,'chats':[{'chat':{},'messages':[]}]}"), *out = NULL;
    json_t *messages = json_object_get(json_array_get(json_object_get(document, "chats"), 0), "messages");
    for (int i = 0; i < MESSAGES; i++) {
        char id[20], parent[20];
        snprintf(id, sizeof id, "%d", i);
        snprintf(parent, sizeof parent, "%d", i - 1);
        json_array_append_new(messages, json_pack("{s:s, s:s?, s:s, s:s}", "id", id, "parent", i ? parent : NULL, "role",
                                                  i % 2 ? "assistant" : "user", "content", id));
    }
    assert_int_equal(chatimport_read(f.chats, "local", document, 1, &counted, &f.info), ERR_OK);
    json_decref(document);
    assert_int_equal(chatstore_list(f.chats, "local", &(struct chatstore_query){.limit = 1}, &out, &f.info), ERR_OK);
    char *chat = strdup(text_of(json_array_get(json_object_get(out, "chats"), 0), "id"));
    json_decref(out);
    storefixture_watch(&f, &commits);
    for (int whole = 0; whole < 2; whole++) {
        commits.all = 0;
        err e = whole ? chatstore_get(f.chats, "local", chat, &out, &f.info)
                      : chattree_branch(f.chats, "local", chat, NULL, &out, &f.info);
        assert_int_equal(e, ERR_OK);
        assert_true(commits.all > 1);
        messages = whole ? json_object_get(out, "messages") : out;
        assert_int_equal(json_array_size(messages), MESSAGES);
        for (int i = 0; i < MESSAGES; i++) {
            assert_int_equal(atoi(text_of(json_array_get(messages, (size_t)i), "content")), i);
        }
        json_decref(out);
    }
    bool large = false;
    assert_int_equal(chatstore_large(f.chats, "local", chat, &large, &f.info), ERR_OK);
    assert_true(large);
    assert_int_equal(chatstore_large(f.chats, "other", chat, &large, &f.info), ERR_OK);
    assert_false(large);
    free(chat);
}

enum { THREADS = 4, TURNS = 12 };

static void *talker(void *of)
{
    struct errinfo info = {0};
    json_t *fields = json_object(), *chat = NULL, *list = NULL, *both = NULL, *message = NULL;
    err e = chatstore_create(f.chats, of, fields, 1, &chat, &info);
    const char *id = text_of(chat, "id");
    for (int i = 0; i < TURNS && e == ERR_OK; i++) {
        const struct chattree_turn turn = {.content = "the same words for all", .think = "off"};
        const struct chattree_ending ending = {.content = "and the same answer", .reasoning = ""};
        e = chattree_ask(f.chats, of, id, &turn, i, &both, &info);
        const char *answer = text_of(json_object_get(both, "answer"), "id");
        e = e == ERR_OK ? chattree_end(f.chats, of, answer, &ending, i, &message, &info) : e;
        e = e == ERR_OK ? chatstore_list(f.chats, of, &(struct chatstore_query){.search = "answer"}, &list, &info) : e;
        if (e == ERR_OK && json_array_size(json_object_get(list, "chats")) != 1) {
            e = err_set(&info, ERR_CORRUPT, "not found");
        }
        json_decref(list);
        json_decref(message);
        json_decref(both);
        list = message = both = NULL;
    }
    json_decref(chat);
    json_decref(fields);
    return e == ERR_OK ? NULL : of;
}

static void threads_talk_while_the_index_is_filled(void **state)
{
    (void)state;
    static char owners[THREADS][8] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    for (int i = 0; i < 200; i++) {
        free(storefixture_chat(&f, "z", "{'title':'old answer'}", 1));
    }
    chatstore_close(f.chats);
    f.chats = NULL;
    assert_int_equal(chatstore_open(f.database, true, &f.chats, &f.info), ERR_OK); /* a thread fills it now */
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, talker, owners[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    json_t *list = NULL;
    assert_int_equal(chatstore_list(f.chats, "z", &(struct chatstore_query){.search = "answer", .limit = 300}, &list, &f.info), ERR_OK);
    assert_int_equal(json_array_size(json_object_get(list, "chats")), 200);
    json_decref(list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_turn_comes_with_its_answer), TEST(a_tree_has_branches), TEST(what_cannot_be_is_refused),
        TEST(what_could_not_be_deleted_is_not_stored),
        TEST(an_answer_grows_and_ends_once), TEST(an_answer_cut_off_is_interrupted), TEST(messages_cannot_be_swapped),
        TEST(a_damaged_message_costs_no_other), TEST(a_circle_is_no_branch),
        TEST(a_long_chat_is_read_in_portions), TEST(threads_talk_while_the_index_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

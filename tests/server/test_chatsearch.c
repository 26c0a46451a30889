/* The search: what is found and what not, in which languages, after which changes, how fast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "server/chatimport.h"
#include "server/searchwords.h"
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

static json_t *search_page(const char *owner, const char *words, const char *folder, const char *before, size_t limit)
{
    json_t *out = NULL;
    const struct chatstore_query q = {.search = words, .folder = folder, .before = before, .limit = limit};
    if (chatstore_list(f.chats, owner, &q, &out, &f.info) != ERR_OK) {
        fail_msg("%s: %s", words, f.info.message);
    }
    return out;
}

/* The first letters of the titles found. */
static const char *found(const char *owner, const char *words)
{
    static char letters[64];
    json_t *out = search_page(owner, words, NULL, NULL, 0), *chats = json_object_get(out, "chats");
    size_t n = 0;
    for (; n < json_array_size(chats); n++) {
        letters[n] = json_string_value(json_object_get(json_array_get(chats, n), "title"))[0];
    }
    letters[n] = '\0';
    json_decref(out);
    return letters;
}

static const char *snippet(const char *words)
{
    static char text[2000];
    json_t *out = search_page("local", words, NULL, NULL, 1);
    json_t *chat = json_array_get(json_object_get(out, "chats"), 0);
    snprintf(text, sizeof text, "%s", json_string_value(json_object_get(chat, "snippet")));
    json_decref(out);
    return text;
}

static char *talk(const char *title, const char *says, const char *answers, int64_t now)
{
    char fields[200];
    snprintf(fields, sizeof fields, "{'title':'%s'}", title);
    char *id = storefixture_chat(&f, "local", fields, now);
    free(storefixture_talk(&f, "local", id, NULL, says, answers, now));
    return id;
}

static void words_are_found_whatever_their_case_and_accents(void **state)
{
    (void)state;
    free(talk("a", "How do I brew coffee in Zürich?", "With hot water, ÉLÉPHANT-style.", 1));
    free(talk("b coffee table", "nothing", "of note", 2));
    for (int i = 0; i < 2; i++) {
        assert_string_equal(found("local", "coffee"), "ba");
        assert_string_equal(found("local", "COFFEE brew"), "a"); /* all words, in one message */
        assert_string_equal(found("local", "coffee water"), "");
        assert_string_equal(found("local", "zurich"), "a");
        assert_string_equal(found("local", "éléphant"), "a");
        assert_string_equal(found("local", "elephant"), "a");
        assert_string_equal(found("local", "cof"), "ba"); /* the beginning of the last word */
        assert_string_equal(found("local", "cof brew"), "");
        assert_string_equal(found("local", "offee"), "");
        assert_string_equal(found("local", "co"), "ba");
        assert_string_equal(found("local", "c"), ""); /* from two letters on */
        assert_string_equal(found("other", "coffee"), "");
        storefixture_reopen(&f); /* and again from an index that is filled anew */
    }
}

static void scripts_without_blanks_are_found_by_any_stretch(void **state)
{
    (void)state;
    free(talk("a", "今天北京的天气怎么样？", "北京今天晴，最高气温二十五度。", 1));
    free(talk("b", "量子计算机是什么", "用 Python 写的 quantum 例子", 2));
    free(talk("c", "東京タワーの高さは", "333メートルです", 3));
    free(talk("d", "สวัสดีครับ", "안녕하세요 여러분", 4));
    assert_string_equal(found("local", "天气"), "a");
    assert_string_equal(found("local", "气"), "a");
    assert_string_equal(found("local", "气天"), ""); /* side by side, in this order */
    assert_string_equal(found("local", "气 天"), "a");
    assert_string_equal(found("local", "京"), "ca");
    assert_string_equal(found("local", "北京今天晴"), "a");
    assert_string_equal(found("local", "python例子"), "b");
    assert_string_equal(found("local", "计算机"), "b");
    assert_string_equal(found("local", "タワー"), "c");
    assert_string_equal(found("local", "ﾀﾜｰ"), "c");
    assert_string_equal(found("local", "สวัส"), "d");
    assert_string_equal(found("local", "안녕"), "d");
    assert_string_equal(found("local", "333"), "c");
}

static void what_is_typed_is_never_syntax(void **state)
{
    (void)state;
    static const char *const typed[] = {
        "\"", "'", "*", "(", ")", "AND", "a AND", "NOT a", "NEAR(a b)", "text:a", "^a", "a*b", "\"a", "a\"b", "{a b}:c", "-a",
        "+", "a + b", "::", "\\", "%", "_", ";", "'; DROP TABLE chat; --", "\x01\x02\x03", "\xff\xfe", "\xe4\xbd", "😀", "́",
        "a OR b", "\"\"\"\"", "rowid:1", "words MATCH 'a'", "  ", "AND OR NOT",
    };
    free(talk("t", "AND OR NOT near a b c", "x", 1));
    for (size_t i = 0; i < sizeof typed / sizeof *typed; i++) {
        json_decref(search_page("local", typed[i], NULL, NULL, 0));
    }
    assert_string_equal(found("local", "a AND b"), "t");
    assert_string_equal(found("local", "a OR z"), "");
    assert_string_equal(found("local", "NOT"), "t");
    char *longest = malloc(100001);
    memset(longest, 'a', 100000);
    longest[100000] = '\0';
    assert_string_equal(found("local", longest), "");
    for (int i = 1; i < 100000; i += 2) {
        longest[i] = ' ';
    }
    assert_string_equal(found("local", longest), "t");
    free(longest);
}

static void snippets_mark_the_hits(void **state)
{
    (void)state;
    char lots[3000] = "";
    for (int i = 0; i < 200; i++) {
        strcat(lots, "filler ");
    }
    strcat(lots, "the golden\nneedle is\there\x02, and a Needle more ");
    for (int i = 0; i < 150; i++) {
        strcat(lots, "after ");
    }
    free(talk("a", lots, "我喜欢北京烤鸭和北京的胡同", 1));
    const char *s = snippet("needle");
    assert_non_null(strstr(s, "golden \x02needle\x03 is here , and a \x02Needle\x03 more"));
    assert_memory_equal(s, "…filler", strlen("…filler"));
    assert_true(strlen(s) < 300);
    assert_string_equal(snippet("北京"), "我喜欢\x02北京\x03烤鸭和\x02北京\x03的胡同");
    free(talk("the golden title", "x", "y", 2));
    json_t *out = search_page("local", "golden", NULL, NULL, 0), *chats = json_object_get(out, "chats");
    assert_string_equal(json_string_value(json_object_get(json_array_get(chats, 0), "snippet")), "the \x02golden\x03 title");
    assert_true(json_is_null(json_object_get(json_array_get(chats, 0), "message")));
    assert_int_equal(json_string_length(json_object_get(json_array_get(chats, 1), "message")), VAULT_ID);
    json_decref(out);
}

/* Cut anywhere, marked anywhere: a snippet is UTF-8. */
static void snippets_of_anything_are_text(void **state)
{
    (void)state;
    static const char *const parts[] = {"天", "a", " ", "é", "😀", "\n", "needle", "\x02", "\xff", "ก", ".", "zz"};
    struct searchwords_query q;
    struct rng r;
    rng_seed(&r, 3);
    searchwords_parse("天a needle zz天", &q);
    for (int i = 0; i < 3000; i++) {
        char text[4000] = "";
        struct strbuf out = {0};
        for (size_t n = rng_u64(&r) % 300; n > 0; n--) {
            strcat(text, parts[rng_u64(&r) % 12]);
        }
        assert_int_equal(searchwords_snippet(&q, text, &out), ERR_OK);
        if (!memchr(text, 0xff, strlen(text))) {
            json_t *valid = json_stringn(out.data, out.len);
            assert_non_null(valid);
            json_decref(valid);
        }
        strbuf_deinit(&out);
    }
}

static void changes_are_followed(void **state)
{
    (void)state;
    for (int reopened = 0; reopened < 2; reopened++) {
        char *id = talk("a first", "apple", "banana", 1);
        if (reopened) {
            storefixture_reopen(&f);
            assert_string_equal(found("local", "apple"), "a");
        }
        json_t *fields = storefixture_json("{'title':'b second'}"), *chat = NULL;
        assert_int_equal(chatstore_patch(f.chats, "local", id, fields, &chat, &f.info), ERR_OK);
        json_decref(chat);
        assert_string_equal(found("local", "first"), "");
        assert_string_equal(found("local", "second"), "b");
        free(storefixture_talk(&f, "local", id, NULL, "cherry", "durian", 2));
        assert_string_equal(found("local", "durian"), "b");
        assert_int_equal(chatstore_delete(f.chats, "local", id, &f.info), ERR_OK);
        assert_string_equal(found("local", "second"), "");
        assert_string_equal(found("local", "apple"), "");
        char *other = talk("c", "elder", "fig", 3);
        assert_string_equal(found("local", "durian"), "");
        assert_string_equal(found("local", "fig"), "c");
        assert_int_equal(chatstore_delete_all(f.chats, "local", &f.info), ERR_OK);
        assert_string_equal(found("local", "fig"), "");
        json_decref(fields);
        free(other);
        free(id);
    }
}

/* ---- While a large chat comes into the index. ---- */

static int refuse_the_third(void *user)
{
    int *commits = user;
    return ++*commits == 3;
}

/* A chat of many messages, whose id is the caller's (free), of which two portions are in the index. */
static char *half_filled(void)
{
    enum { MESSAGES = 5000 };
    struct chatimport_count n;
    json_t *messages = json_array(), *out = NULL;
    for (int i = 0; i < MESSAGES; i++) {
        char id[20], text[40];
        snprintf(id, sizeof id, "%d", i);
        snprintf(text, sizeof text, "common words number%d", i);
        json_array_append_new(messages, json_pack("{s:s, s:s, s:s}", "id", id, "role", "assistant", "content", text));
    }
    json_t *document = json_pack("{s:s, s:[{s:{s:s}, s:o}]}", "format", "fathom-chats", "chats", "chat", "title", "large",
                                 "messages", messages);
    assert_int_equal(chatimport_read(f.chats, "local", document, 1, &n, &f.info), ERR_OK);
    json_decref(document);
    assert_int_equal(chatstore_list(f.chats, "local", &(struct chatstore_query){.limit = 1}, &out, &f.info), ERR_OK);
    char *chat = strdup(json_string_value(json_object_get(json_array_get(json_object_get(out, "chats"), 0), "id")));
    json_decref(out);
    int commits = 0;
    storefixture_reopen(&f);
    sqlite3_commit_hook(database_handle(f.database), refuse_the_third, &commits);
    assert_int_equal(chatstore_list(f.chats, "local", &(struct chatstore_query){.search = "x"}, &out, &f.info), ERR_IO);
    sqlite3_commit_hook(database_handle(f.database), NULL, NULL);
    return chat;
}

static void no_row(const char *sql)
{
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(database_handle(f.database), sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_DONE);
    sqlite3_finalize(st);
}

static void what_is_half_in_the_index_may_change(void **state)
{
    (void)state;
    char *id = half_filled();
    json_t *fields = storefixture_json("{'title':'a renamed one'}"), *chat = NULL;
    assert_int_equal(chatstore_patch(f.chats, "local", id, fields, &chat, &f.info), ERR_OK);
    json_decref(chat);
    json_decref(fields);
    free(storefixture_talk(&f, "local", id, NULL, "a question", "cherry", 2));
    assert_string_equal(found("local", "number4999"), "a");
    assert_string_equal(found("local", "number0"), "a");
    assert_string_equal(found("local", "cherry"), "a");
    assert_string_equal(found("local", "renamed"), "a");
    assert_string_equal(found("local", "large"), "");
    assert_int_equal(chatstore_delete(f.chats, "local", id, &f.info), ERR_OK);
    no_row("SELECT 1 FROM scratch.words WHERE words MATCH 'common OR renamed OR cherry'");
    free(id);
}

static void what_is_half_in_the_index_may_go(void **state)
{
    (void)state;
    char *id = half_filled();
    assert_int_equal(chatstore_delete(f.chats, "local", id, &f.info), ERR_OK);
    assert_string_equal(found("local", "common"), "");
    no_row("SELECT 1 FROM scratch.words WHERE words MATCH 'common'");
    no_row("SELECT 1 FROM scratch.filled");
    free(id);
}

static void an_answer_is_found_when_it_has_ended(void **state)
{
    (void)state;
    char *id = storefixture_chat(&f, "local", "{'title':'a'}", 1);
    json_t *both = NULL;
    struct chattree_turn turn = {.content = "question", .think = "off"};
    assert_int_equal(chattree_ask(f.chats, "local", id, &turn, 1, &both, &f.info), ERR_OK);
    const char *answer = json_string_value(json_object_get(json_object_get(both, "answer"), "id"));
    assert_int_equal(chattree_write(f.chats, "local", answer, "half an answer", "", &f.info), ERR_OK);
    assert_string_equal(found("local", "question"), "a");
    assert_string_equal(found("local", "half"), "");
    storefixture_reopen(&f); /* it is interrupted now */
    assert_string_equal(found("local", "half"), "a");
    json_decref(both);
    free(id);
}

static void pages_and_folders_hold_for_searches(void **state)
{
    (void)state;
    char *ids[6];
    for (int i = 0; i < 6; i++) {
        char fields[80];
        snprintf(fields, sizeof fields, "{'title':'%c','folder':%s}", 'a' + i, i % 2 ? "'odd'" : "null");
        ids[i] = storefixture_chat(&f, "local", fields, i);
        free(storefixture_talk(&f, "local", ids[i], NULL, "same words", "here", i));
    }
    json_t *out = search_page("local", "words", NULL, NULL, 4);
    assert_int_equal(json_array_size(json_object_get(out, "chats")), 4);
    assert_true(json_is_true(json_object_get(out, "more")));
    json_decref(out);
    out = search_page("local", "words", NULL, ids[2], 4);
    assert_int_equal(json_array_size(json_object_get(out, "chats")), 2);
    assert_false(json_is_true(json_object_get(out, "more")));
    json_decref(out);
    out = search_page("local", "words", "odd", NULL, 4);
    assert_int_equal(json_array_size(json_object_get(out, "chats")), 3);
    json_decref(out);
    for (int i = 0; i < 6; i++) {
        free(ids[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_are_found_whatever_their_case_and_accents), TEST(scripts_without_blanks_are_found_by_any_stretch),
        TEST(what_is_typed_is_never_syntax), TEST(snippets_mark_the_hits), TEST(snippets_of_anything_are_text),
        TEST(changes_are_followed), TEST(what_is_half_in_the_index_may_change), TEST(what_is_half_in_the_index_may_go),
        TEST(an_answer_is_found_when_it_has_ended), TEST(pages_and_folders_hold_for_searches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

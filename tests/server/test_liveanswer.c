/* Answers that the server owns: how they end where the store has no room for a while, or their chat goes. */
#include "server/pagefixture.h"

static struct servicefixture chat;

static int open_model(void **state)
{
    const struct service_options o = {.format = CHAT_CHATML};
    (void)state;
    servicefixture_open(&chat, ENGINEFIXTURE_CHAT, &o);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    servicefixture_close(&chat);
    return 0;
}

/* ---- A disk that is full: changes to messages fail, as often as is said. ---- */

static void on_change(sqlite3_context *c, int n, sqlite3_value **values)
{
    int *left = sqlite3_user_data(c);
    (void)n;
    (void)values;
    if (*left > 0) {
        --*left;
        sqlite3_result_error_code(c, SQLITE_FULL);
    }
}

/* Of the changes that end an answer the next *left fail; NULL: none. */
static void fill_disk(int *left)
{
    struct errinfo info = {0};
    struct database *d = chat.service->database;
    must(database_begin(d, &info), &info);
    sqlite3_create_function(database_handle(d), "disk_is_full", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, left, on_change,
                            NULL, NULL);
    int rc = sqlite3_exec(database_handle(d),
                          left ? "CREATE TEMP TRIGGER full BEFORE UPDATE ON message WHEN NEW.state <> 1 BEGIN"
                                 " SELECT disk_is_full(); END"
                               : "DROP TRIGGER full",
                          NULL, NULL, NULL);
    assert_int_equal(rc, SQLITE_OK);
    must(database_end(d, ERR_OK, &info), &info);
}

/* It ends when there is room again, whole, and the branch goes on. */
static void an_end_that_finds_no_room_is_stored_later(void **state)
{
    char *id = pagefixture_chat(&chat, "", "{}"), turn[200];
    int left = 2;
    (void)state;
    fill_disk(&left);
    char *answer = pagefixture_say(&chat, "", id, "{'content':'hello','settings':{'temperature':0}}", NULL);
    json_t *end = pagefixture_end(&chat, "", answer);
    assert_int_equal(left, 0);
    servicefixture_says(end, "state", "done");
    servicefixture_says(end, "content", "Hello! \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x90\xb3");
    assert_true(json_integer_value(servicefixture_at(end, "stats.completion_tokens")) > 0);
    json_decref(end);
    fill_disk(NULL);
    snprintf(turn, sizeof turn, "{'parent':'%s','content':'more','settings':{'max_tokens':2}}", answer);
    char *more = pagefixture_say(&chat, "", id, turn, NULL);
    json_decref(pagefixture_end(&chat, "", more));
    free(more);
    free(answer);
    free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_finds_no_room_is_stored_later),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

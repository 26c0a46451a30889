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

static void on_used(void *user, const struct answering_usage *usage, bool whole)
{
    (void)usage;
    (void)whole;
    __atomic_fetch_add((int *)user, 1, __ATOMIC_SEQ_CST);
}

/* Its chat was deleted, and all forgotten, between the turn and the answer's beginning. */
static void an_answer_of_a_chat_that_goes_is_read_by_nobody(void **state)
{
    struct errinfo info = {0};
    struct service *s = chat.service;
    char *id = pagefixture_chat(&chat, "", "{}");
    json_t *both = NULL;
    struct apierror e = {0};
    const struct chattree_turn turn = {.content = "secret", .think = "off"};
    static const char asked[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"secret\"}]}";
    int used = 0;
    (void)state;
    must(chattree_ask(s->chats, "local", id, &turn, 1, &both, &info), &info);
    char *answer = pagefixture_take(both, "answer.id");
    must(chatstore_delete(s->chats, "local", id, &info), &info);
    liveanswer_forget(s->live, "local", id);
    struct question *q = question_new(&s->is.sampling, s->model.format);
    assert_true(q && question_parse(q, asked, strlen(asked), &e));
    q->messages = question_alloc(q, 1, sizeof *q->messages, &e);
    q->messages[q->n_messages++] = (struct chat_message){.role = CHAT_USER, .content = "secret"};
    const struct liveanswer_options o = {
        .owner = "local", .id = answer, .chat = id, .drawer = 1, .used = on_used, .user = &used};
    assert_false(liveanswer_begin(s->live, q, &o));
    assert_false(liveanswer_stream(s->live, "local", answer, 0, NULL));
    for (int i = 0; i < 500 && __atomic_load_n(&used, __ATOMIC_SEQ_CST) == 0; i++) {
        usleep(10000);
    }
    assert_int_equal(__atomic_load_n(&used, __ATOMIC_SEQ_CST), 1); /* and ends */
    free(answer);
    free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_finds_no_room_is_stored_later),
        cmocka_unit_test(an_answer_of_a_chat_that_goes_is_read_by_nobody),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

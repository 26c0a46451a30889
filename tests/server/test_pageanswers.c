/* Answers of the page: turns and their streams, for readers that come late, leave and come back; stopped, made
 * again, asked anew, told to answer now. */
#include "server/pagefixture.h"

#define HELLO "Hello! \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x90\xb3"
/* A longer one. */
#define LONG                                                                                                   \
    "{'content':'hello','settings':{'temperature':1,'seed':4,'max_tokens':300,'repetition_penalty':10}}"

static struct servicefixture chat, think;

static int open_models(void **state)
{
    const struct service_options chatml = {.format = CHAT_CHATML};
    const struct service_options v31 = {.format = CHAT_DEEPSEEK_V31};
    (void)state;
    servicefixture_open(&chat, ENGINEFIXTURE_CHAT, &chatml);
    servicefixture_open(&think, SERVICEFIXTURE_THINK, &v31);
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    servicefixture_close(&chat);
    servicefixture_close(&think);
    return 0;
}

static void test_a_turn_is_answered(void **state)
{
    char path[200], *id = pagefixture_chat(&chat, "", "{}"), *said;
    (void)state;
    char *answer = pagefixture_say(&chat, "", id, "{'content':'hello','settings':{'temperature':0}}", &said);
    struct pagefixture_stream s = pagefixture_stream(&chat, "", answer, "");
    assert_string_equal(s.content, HELLO);
    servicefixture_says(s.end, "content", HELLO);
    servicefixture_says(s.end, "state", "done");
    servicefixture_says(s.end, "parent", said);
    assert_true(json_integer_value(servicefixture_at(s.end, "stats.prompt_tokens")) > 0);
    assert_true(json_integer_value(servicefixture_at(s.end, "stats.completion_tokens")) > 0);
    json_t *d = pagefixture_ask(&chat, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    assert_true(json_equal(servicefixture_at(d, "messages.1.stats"), servicefixture_at(s.end, "stats"))); /* digit by digit */
    json_decref(s.end);
    servicefixture_says(d, "chat.title", "hello"); /* its first words */
    servicefixture_says(d, "chat.leaf", answer);
    servicefixture_says(d, "messages.0.content", "hello");
    servicefixture_says(d, "messages.1.content", HELLO);
    json_decref(d);
    free(answer);
    free(said);
    free(id);
}

/* A chat is named after its first turn: whole words of it, letters where there is no end of a word in sight. */
static void test_names_of_chats(void **state)
{
    static const struct {
        const char *said, *title;
    } rows[] = {{"\n  one line\nanother", "one line"},
                {"a name that has exactly as many letters as a name may have it", "a name that has exactly as many letters as a name may have…"},
                {"a name that has exactly as many letters as a name may have.", "a name that has exactly as many letters as a name may have."},
                {"https://example.org/a/path/that/has/no/space/and/goes/on/and/on", "https://example.org/a/path/that/has/no/space/and/goes/on/and…"},
                {"鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸", "鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼鲸鱼…"}};
    char path[200];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *id = pagefixture_chat(&chat, "", "{}");
        json_t *turn = json_pack("{s:s, s:{s:i}}", "content", rows[i].said, "settings", "max_tokens", 1);
        char *text = json_text_dup(turn, JSON_COMPACT), *answer = pagefixture_say(&chat, "", id, text, NULL);
        json_decref(pagefixture_end(&chat, "", answer));
        json_t *d = pagefixture_ask(&chat, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
        servicefixture_says(d, "chat.title", rows[i].title);
        json_decref(d);
        json_decref(turn);
        mem_free(text);
        free(answer);
        free(id);
    }
}

/* Whose limit an answer reached: the key's, which had no more tokens for the day, or its own. */
static void test_an_answer_ends_with_the_day(void **state)
{
    static const char *const keys[] = {"{'name':'few','limits':{'tokens_per_day':30}}", "{'name':'many'}"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct pagefixture_key key;
        pagefixture_key(&chat, keys[i], &key);
        char *id = pagefixture_chat(&chat, key.headers, "{}");
        char *answer = pagefixture_say(&chat, key.headers, id, i == 0 ? LONG
            : "{'content':'hello','settings':{'max_tokens':2}}", NULL);
        struct pagefixture_stream s = pagefixture_stream(&chat, key.headers, answer, "");
        servicefixture_says(s.end, "state", "length");
        if (i == 0) {
            servicefixture_says(s.end, "error", "insufficient_quota");
        } else {
            assert_true(json_is_null(servicefixture_at(s.end, "error")));
        }
        json_decref(s.end);
        free(answer);
        free(id);
    }
}

/* Late, or from the middle on, by query or header: the rest of the same text, and the same end. */
static void test_late_readers(void **state)
{
    char *id = pagefixture_chat(&chat, "", "{}");
    (void)state;
    char *answer = pagefixture_say(&chat, "", id, "{'content':'hello','settings':{'temperature':0}}", NULL);
    struct pagefixture_stream whole = pagefixture_stream(&chat, "", answer, "");
    struct pagefixture_stream late = pagefixture_stream(&chat, "", answer, "?from=0");
    assert_string_equal(late.content, whole.content);
    assert_true(late.events <= 3); /* joined */
    assert_true(json_equal(late.end, whole.end));
    assert_int_equal(late.last, whole.last);
    for (unsigned long long n = 1; n < whole.last; n++) {
        char query[40], header[60];
        snprintf(query, sizeof query, "?from=%llu", n);
        snprintf(header, sizeof header, "Last-Event-ID: %llu\r\n", n);
        struct pagefixture_stream by_query = pagefixture_stream(&chat, "", answer, query);
        struct pagefixture_stream by_header = pagefixture_stream(&chat, header, answer, "");
        size_t rest = strlen(by_query.content);
        assert_true(rest <= strlen(whole.content) && by_query.first > n);
        assert_string_equal(by_query.content, whole.content + strlen(whole.content) - rest);
        assert_string_equal(by_header.content, by_query.content);
        assert_true(json_equal(by_query.end, whole.end) && json_equal(by_header.end, whole.end));
        json_decref(by_query.end);
        json_decref(by_header.end);
    }
    static const char *const wrong[] = {"?from=abc", "?from=-1", "?from=1x", "?from=99999999999999999999"};
    for (int i = 0; i < 4; i++) {
        char path[200];
        snprintf(path, sizeof path, "/api/answers/%s/stream%s", answer, wrong[i]);
        pagefixture_do(&chat, "", 400, "GET", path, "");
    }
    struct pagefixture_stream beyond = pagefixture_stream(&chat, "", answer, "?from=999999999999");
    assert_int_equal(beyond.events, 1); /* its end, at least */
    json_decref(beyond.end);
    json_decref(late.end);
    json_decref(whole.end);
    free(answer);
    free(id);
}

/* A reader that goes ends nothing: when it is back it has missed nothing. */
static void test_leaving_and_coming_back(void **state)
{
    char path[200], header[60], *id = pagefixture_chat(&chat, "", "{}");
    (void)state;
    char *answer = pagefixture_say(&chat, "", id, LONG, NULL);
    struct rawclient c = rawclient_open(chat.port);
    servicefixture_begin(&c, "GET", pagefixture_path(path, "answers", answer, "/stream"), "", "");
    assert_true(rawclient_until(&c, "event: ", RAWCLIENT_PATIENCE_MS));
    rawclient_close(&c);
    struct pagefixture_stream back = pagefixture_stream(&chat, "", answer, "");
    servicefixture_says(back.end, "content", back.content);
    assert_true(strlen(back.content) > 0);
    snprintf(header, sizeof header, "Last-Event-ID: %llu\r\n", back.last - 1);
    struct pagefixture_stream rest = pagefixture_stream(&chat, header, answer, "");
    assert_int_equal(rest.events, 1);
    assert_true(json_equal(rest.end, back.end));
    json_t *d = pagefixture_ask(&chat, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    servicefixture_says(d, "messages.1.content", back.content);
    json_decref(d);
    json_decref(rest.end);
    json_decref(back.end);
    free(answer);
    free(id);
}

/* What it said is gone with its chat, for late readers, too. */
static void test_answers_of_deleted_chats(void **state)
{
    static const char *const deletions[] = {"", NULL}; /* of that chat; of all */
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char path[200], *id = pagefixture_chat(&chat, "", "{}");
        char *over = pagefixture_say(&chat, "", id, "{'content':'hello','settings':{'temperature':0}}", NULL);
        json_decref(pagefixture_stream(&chat, "", over, "").end);
        char *running = pagefixture_say(&chat, "", id, LONG, NULL);
        pagefixture_do(&chat, "", 204, "DELETE",
                       deletions[i] ? pagefixture_path(path, "chats", id, "") : "/api/chats?all=yes", "");
        pagefixture_do(&chat, "", 404, "GET", pagefixture_path(path, "answers", over, "/stream"), "");
        pagefixture_do(&chat, "", 404, "GET", pagefixture_path(path, "answers", running, "/stream"), "");
        free(running);
        free(over);
        free(id);
    }
}

/* Stopping keeps the text; what is over is stopped without a mistake. */
static void test_stopping(void **state)
{
    char path[200], *id = pagefixture_chat(&chat, "", "{}");
    (void)state;
    char *answer = pagefixture_say(&chat, "", id, LONG, NULL);
    pagefixture_do(&chat, "", 204, "POST", pagefixture_path(path, "answers", answer, "/stop"), "{}");
    struct pagefixture_stream s = pagefixture_stream(&chat, "", answer, "");
    servicefixture_says(s.end, "content", s.content);
    assert_string_not_equal(servicefixture_text(s.end, "state"), "writing");
    json_decref(s.end);
    pagefixture_do(&chat, "", 204, "POST", pagefixture_path(path, "answers", answer, "/stop"), "{}");
    pagefixture_do(&chat, "", 404, "POST", "/api/answers/00000000000000000000000000000000/stop", "{}");
    free(answer);
    free(id);
}

/* What was stopped has cost something, too. */
static void test_a_stopped_answer_has_its_numbers(void **state)
{
    static const char *const numbers[] = {"prompt_tokens", "cached_tokens", "completion_tokens", "prefill_tps",
                                          "decode_tps"};
    char path[200], turn[600];
    bool stopped = false;
    (void)state;
    snprintf(turn, sizeof turn, "{'content':'%0*d','settings':{'temperature':2,'max_tokens':7000}}", 200, 0);
    for (int tries = 0; tries < 10 && !stopped; tries++) {
        char *id = pagefixture_chat(&chat, "", "{}"), *answer = pagefixture_say(&chat, "", id, turn, NULL);
        struct rawclient c = rawclient_open(chat.port);
        servicefixture_begin(&c, "GET", pagefixture_path(path, "answers", answer, "/stream"), "", "");
        assert_true(rawclient_until(&c, "event: content", 5000));
        pagefixture_do(&chat, "", 204, "POST", pagefixture_path(path, "answers", answer, "/stop"), "{}");
        rawclient_close(&c);
        struct pagefixture_stream s = pagefixture_stream(&chat, "", answer, "");
        stopped =
            tries > 0 && strcmp(servicefixture_text(s.end, "state"), "stopped") == 0; /* then it is cached */
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers && stopped; i++) {
            if (json_number_value(json_object_get(json_object_get(s.end, "stats"), numbers[i])) <= 0) {
                fail_msg("%s: %s", numbers[i], json_text_dup(s.end, 0));
            }
        }
        json_decref(s.end);
        free(answer);
        free(id);
    }
    assert_true(stopped);
}

static void test_branches(void **state)
{
    char path[200], body[300], *id = pagefixture_chat(&chat, "", "{'settings':{'temperature':0}}"), *said,
                               *edited;
    (void)state;
    char *answer = pagefixture_say(&chat, "", id, "{'content':'hello'}", &said);
    json_decref(pagefixture_end(&chat, "", answer));
    snprintf(body, sizeof body, "{'parent':'%s','think':'off'}", said);
    char *again = pagefixture_take(
        pagefixture_ask(&chat, "", 201, "POST", pagefixture_path(path, "chats", id, "/answers"), body),
        "answer.id");
    json_t *end = pagefixture_end(&chat, "", again);
    servicefixture_says(end, "parent", said); /* a sibling */
    assert_string_not_equal(again, answer);
    json_decref(end);
    snprintf(body, sizeof body, "{'parent':'%s','content':'more'}", again);
    char *more = pagefixture_say(&chat, "", id, body, NULL);
    json_decref(pagefixture_end(&chat, "", more));
    char *other =
        pagefixture_say(&chat, "", id, "{'parent':null,'content':'hallo'}", &edited); /* another root */
    json_decref(pagefixture_end(&chat, "", other));
    json_t *d = pagefixture_ask(&chat, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), 7);
    servicefixture_says(d, "chat.leaf", other);
    assert_true(json_is_null(servicefixture_at(d, "messages.5.parent")));
    json_decref(d);
    snprintf(body, sizeof body, "{'leaf':'%s'}", more);
    json_decref(pagefixture_ask(&chat, "", 200, "PATCH", pagefixture_path(path, "chats", id, ""), body));
    static const char *const wrong[][2] = {
        {"{'parent':'%s','content':'a'}", "400"}, /* a turn cannot follow a turn */
        {"{'content':5}", "400"},
        {"{}", "400"},
        {"{'content':'a','think':'much'}", "422"},
        {"{'content':'a','attachments':[{'name':'b'}]}", "400"},
        {"{'content':'a','settings':{'temperature':3}}", "422"},
        {"{'content':'a','settings':{'temperatur':1}}", ""},
        {"{'parent':'00000000000000000000000000000000','content':'a'}", "404"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(body, sizeof body, i == 0 ? "{'parent':'%s','content':'a'}" : wrong[i][0], said);
        if (*wrong[i][1]) {
            pagefixture_do(&chat, "", atoi(wrong[i][1]), "POST",
                           pagefixture_path(path, "chats", id, "/messages"), body);
        }
    }
    pagefixture_do(&chat, "", 400, "POST", pagefixture_path(path, "chats", id, "/answers"), "{}");
    d = pagefixture_ask(&chat, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), 7); /* of all that nothing was stored */
    json_decref(d);
    free(other);
    free(edited);
    free(more);
    free(again);
    free(answer);
    free(said);
    free(id);
}

/* The likeliest answer is known by then: another one is drawn. */
static void test_another_answer_is_another(void **state)
{
    char path[200], body[300], *said;
    char *id = pagefixture_chat(
        &chat, "", "{'settings':{'temperature':0,'seed':1,'repetition_penalty':10,'max_tokens':60}}");
    (void)state;
    char *answer = pagefixture_say(&chat, "", id, "{'content':'hello'}", &said);
    char *first = pagefixture_take(pagefixture_end(&chat, "", answer), "content");
    snprintf(body, sizeof body, "{'parent':'%s'}", said);
    char *again = pagefixture_take(
        pagefixture_ask(&chat, "", 201, "POST", pagefixture_path(path, "chats", id, "/answers"), body),
        "answer.id");
    char *second = pagefixture_take(pagefixture_end(&chat, "", again), "content");
    assert_string_not_equal(first, second);
    free(second);
    free(again);
    free(first);
    free(answer);
    free(said);
    free(id);
}

/* A turn of so many letters is refused before anything of it is stored: `why` is in the message. */
static void is_too_long(const struct servicefixture *f, int letters, const char *why)
{
    char path[200], *id = pagefixture_chat(f, "", "{}"), *body = malloc((size_t)letters + 100);
    int n = sprintf(body, "{'content':'");
    for (int i = 0; i < letters; i++) {
        body[n++] = "abcdefgh "[i * i % 9];
    }
    strcpy(body + n, "'}");
    json_t *d = pagefixture_ask(f, "", 400, "POST", pagefixture_path(path, "chats", id, "/messages"), body);
    servicefixture_says(d, "error.code", "context_length_exceeded");
    assert_non_null(strstr(servicefixture_text(d, "error.message"), why));
    json_decref(d);
    d = pagefixture_ask(f, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), 0);
    json_decref(d);
    free(body);
    free(id);
}

static void test_what_is_too_long_is_not_stored(void **state)
{
    (void)state;
    is_too_long(&chat, 40000, "context of 8192");
}

/* Four pages of 64 tokens are all the memory: far from the context, and as final. */
static void test_what_memory_does_not_hold_is_not_stored(void **state)
{
    const struct service_options few = {.format = CHAT_CHATML,
                                        .batcher.memory = 4 * 64 * engine_cache_bytes_per_token(chat.engine),
                                        .max_tokens = 50, .forget_days = 30};
    struct servicefixture small;
    (void)state;
    servicefixture_open(&small, ENGINEFIXTURE_CHAT, &few);
    is_too_long(&small, 2000, " holds 256, ");
    json_t *d = pagefixture_ask(&small, "", 200, "POST", "/api/count", "{'content':'hello'}"); /* said before */
    assert_int_equal(json_integer_value(json_object_get(d, "context")), 256);
    json_decref(d);
    d = pagefixture_ask(&small, "", 200, "GET", "/api/session", "");
    assert_int_equal(json_integer_value(servicefixture_at(d, "limits.context")), 256);
    assert_true(json_real_value(servicefixture_at(d, "sampling.top_p")) > 0); /* what a chat's settings leave open */
    assert_int_equal(json_integer_value(servicefixture_at(d, "sampling.max_tokens")), 50);
    assert_int_equal(json_integer_value(servicefixture_at(d, "limits.forget_days")), 30);
    assert_int_equal(json_integer_value(servicefixture_at(d, "models.0.context")), 8192);
    json_decref(d);
    servicefixture_close(&small);
}

/* One runs, one waits, all of this owner's: the next one finds no place, and is not stored. */
/* Takes the one place to run at and the one to wait at for as long as a small model fills its context. */
static void fill(struct enginethread *t, const struct enginethread_request *r,
                 struct enginethread_stream *busy[2])
{
    struct errinfo info = {0};
    for (int i = 0; i < 2; i++) {
        must(enginethread_ask(t, r, &busy[i], &info), &info);
        while (i == 0 && enginethread_counts(t).waiting > 0) { /* the second would find no place to wait at */
            usleep(100);
        }
    }
}

static void test_a_full_queue_stores_nothing(void **state)
{
    const struct service_options one = {.format = CHAT_CHATML, .batcher = {.running = 1, .waiting = 1}};
    struct servicefixture narrow;
    int32_t ids[8] = {0};
    struct enginethread_stream *busy[2];
    char path[200], value[1024], *id = NULL;
    int status = 0;
    (void)state;
    servicefixture_open(&narrow, ENGINEFIXTURE_CHAT, &one);
    struct enginethread *t = narrow.service->model.thread;
    const struct caller local = {.owner = "local"};
    const struct enginethread_request long_one = {
        .tokens = ids, .n_tokens = 8, .owner = caller_number(&local, narrow.service->secret)};
    for (int i = 0; i < 100 && status != 429; i++) { /* who came too late, when both were over, comes again */
        free(id);
        id = pagefixture_chat(&narrow, "", "{}");
        fill(t, &long_one, busy);
        struct rawclient_reply r = servicefixture_raw(
            &narrow, "POST", pagefixture_path(path, "chats", id, "/messages"), "", "{\"content\":\"hello\"}");
        status = r.status;
        if (status == 429) {
            assert_non_null(strstr(r.body, "overloaded"));
            assert_in_range(strtoul(rawclient_header(&r, "Retry-After", value), NULL, 10), 1, 60);
        }
        rawclient_free(&r);
        for (int j = 0; j < 2; j++) {
            enginethread_close(busy[j]);
        }
        while (enginethread_counts(t).running + enginethread_counts(t).waiting > 0) {
            usleep(1000);
        }
    }
    assert_int_equal(status, 429);
    json_t *d = pagefixture_ask(&narrow, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), 0);
    json_decref(d);
    char *answer =
        pagefixture_say(&narrow, "", id, "{'content':'hello'}", NULL); /* they are gone: there is room */
    d = pagefixture_end(&narrow, "", answer);
    assert_true(json_is_null(json_object_get(d, "error")));
    json_decref(d);
    free(answer);
    free(id);
    servicefixture_close(&narrow);
}

/* What an answer under way has said is stored once a second: no prompt is made of it that would not be the
 * stored branch. So that comes before anything that is found out about the prompt. */
static void test_an_answer_under_way_is_not_gone_on_from(void **state)
{
    char path[200], *id = pagefixture_chat(&chat, "", "{}"), *body = malloc(40200);
    const struct chattree_turn turn = {.content = "hello", .think = "off"};
    struct errinfo info = {0};
    json_t *stored = NULL;
    (void)state;
    must(chattree_ask(chat.service->chats, "local", id, &turn, 1, &stored, &info),
         &info); /* and nobody writes it */
    char *end = body + sprintf(body, "{'parent':'%s','content':'", servicefixture_text(stored, "answer.id"));
    memset(end, 'a', 40000);
    strcpy(end + 40000, "'}");
    json_t *d = pagefixture_ask(&chat, "", 400, "POST", pagefixture_path(path, "chats", id, "/messages"), body);
    assert_non_null(strstr(servicefixture_text(d, "error.message"), "still being written"));
    json_decref(d);
    json_decref(stored);
    free(body);
    free(id);
}

/* Refused, not passed over, and nothing is stored. */
static void test_what_cannot_think_is_not_asked_to(void **state)
{
    static const char *const thinks[] = {"on", "max"};
    char path[200], body[100], *id = pagefixture_chat(&chat, "", "{}"), *said;
    (void)state;
    char *answer =
        pagefixture_say(&chat, "", id, "{'content':'hello','think':'off','settings':{'temperature':0}}", &said);
    json_decref(pagefixture_end(&chat, "", answer));
    for (size_t i = 0; i < 2; i++) {
        snprintf(body, sizeof body, "{'parent':'%s','content':'more','think':'%s'}", answer, thinks[i]);
        json_t *d =
            pagefixture_ask(&chat, "", 400, "POST", pagefixture_path(path, "chats", id, "/messages"), body);
        servicefixture_says(d, "error.param", "think");
        servicefixture_says(d, "error.code", "unsupported");
        json_decref(d);
        snprintf(body, sizeof body, "{'parent':'%s','think':'%s'}", said, thinks[i]);
        pagefixture_do(&chat, "", 400, "POST", pagefixture_path(path, "chats", id, "/answers"), body);
    }
    json_t *d = pagefixture_ask(&chat, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), 2);
    json_decref(d);
    free(answer);
    free(said);
    free(id);
}

/* Nor is one that always thinks told not to; who says nothing about it gets thoughts. The API goes by the same.
 */
static void test_what_always_thinks_is_not_told_not_to(void **state)
{
    const struct service_options r1 = {.format = CHAT_DEEPSEEK_R1};
    struct servicefixture always;
    char path[200];
    int status;
    (void)state;
    servicefixture_open(&always, SERVICEFIXTURE_THINK, &r1);
    char *id = pagefixture_chat(&always, "", "{}");
    json_t *d = pagefixture_ask(&always, "", 400, "POST", pagefixture_path(path, "chats", id, "/messages"),
                                "{'content':'sum','think':'off'}");
    servicefixture_says(d, "error.param", "think");
    servicefixture_says(d, "error.message", "think is \"off\"; this model always thinks: say \"on\"");
    json_decref(d);
    d = pagefixture_ask(&always, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), 0);
    json_decref(d);
    char *answer =
        pagefixture_say(&always, "", id, "{'content':'sum','settings':{'temperature':0,'max_tokens':3}}", NULL);
    d = pagefixture_end(&always, "", answer);
    servicefixture_says(d, "think", "on");
    json_decref(d);
    d = servicefixture_post(&always, "/v1/chat/completions",
                            "{\"model\":\"deepseek-chat\",\"max_tokens\":1,"
                            "\"messages\":[{\"role\":\"user\",\"content\":\"sum\"}]}",
                            &status);
    assert_int_equal(status, 200); /* that name means not to think, and is no choice */
    json_decref(d);
    free(answer);
    free(id);
    servicefixture_close(&always);
}

static void test_files_are_part_of_the_turn(void **state)
{
    char *id = pagefixture_chat(&chat, "", "{}"), body[300], path[200];
    (void)state;
    char *answer = pagefixture_say(&chat, "", id,
                                   "{'content':'hello','attachments':[{'name':'a.txt','text':'words of the "
                                   "file'}],'settings':{'max_tokens':2}}",
                                   NULL);
    json_t *end = pagefixture_end(&chat, "", answer);
    json_int_t with = json_integer_value(servicefixture_at(end, "stats.prompt_tokens"));
    json_decref(end);
    json_t *d = pagefixture_ask(&chat, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    servicefixture_says(d, "messages.0.attachments.0.text", "words of the file");
    json_decref(d);
    d = pagefixture_ask(&chat, "", 200, "POST", "/api/count",
                        "{'content':'hello','attachments':[{'name':'a.txt','text':'words of the file'}]}");
    assert_int_equal(json_integer_value(json_object_get(d, "tokens")), with); /* what was said before */
    json_decref(d);
    snprintf(body, sizeof body, "{'chat':'%s','leaf':'%s','content':'more'}", id, answer);
    d = pagefixture_ask(&chat, "", 200, "POST", "/api/count", body);
    assert_true(json_integer_value(json_object_get(d, "tokens")) > with);
    assert_int_equal(json_integer_value(json_object_get(d, "context")), 8192);
    json_decref(d);
    free(answer);
    free(id);
}

static void test_thinking_is_cut_short(void **state)
{
    char path[200], *id = pagefixture_chat(&think, "", "{}");
    (void)state;
    char *answer =
        pagefixture_say(&think, "", id, "{'content':'sum','think':'on','settings':{'temperature':0}}", NULL);
    struct pagefixture_stream s = pagefixture_stream(&think, "", answer, "");
    assert_string_equal(s.reasoning, "Two and three.\nThat makes 5.");
    assert_string_equal(s.content, "It is 5.");
    servicefixture_says(s.end, "reasoning", s.reasoning);
    json_decref(s.end);
    free(answer);
    char *off =
        pagefixture_say(&think, "", id, "{'content':'sum','think':'off','settings':{'temperature':0}}", NULL);
    s = pagefixture_stream(&think, "", off, "");
    assert_string_equal(s.reasoning, "");
    json_decref(s.end);
    free(off);
    char *now = pagefixture_say(
        &think, "", id, "{'content':'a','think':'on','settings':{'temperature':2,'seed':3,'max_tokens':4000}}",
        NULL);
    pagefixture_do(&think, "", 204, "POST", pagefixture_path(path, "answers", now, "/answer-now"), "{}");
    pagefixture_do(&think, "", 204, "POST", pagefixture_path(path, "answers", now, "/stop"), "{}");
    json_decref(pagefixture_end(&think, "", now));
    free(now);
    free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_is_answered),
        cmocka_unit_test(test_names_of_chats),
        cmocka_unit_test(test_an_answer_ends_with_the_day), cmocka_unit_test(test_late_readers),
        cmocka_unit_test(test_leaving_and_coming_back),
        cmocka_unit_test(test_answers_of_deleted_chats),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_a_stopped_answer_has_its_numbers),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_another_answer_is_another),
        cmocka_unit_test(test_what_is_too_long_is_not_stored),
        cmocka_unit_test(test_what_memory_does_not_hold_is_not_stored),
        cmocka_unit_test(test_a_full_queue_stores_nothing),
        cmocka_unit_test(test_an_answer_under_way_is_not_gone_on_from),
        cmocka_unit_test(test_what_cannot_think_is_not_asked_to),
        cmocka_unit_test(test_what_always_thinks_is_not_told_not_to),
        cmocka_unit_test(test_files_are_part_of_the_turn),
        cmocka_unit_test(test_thinking_is_cut_short),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}

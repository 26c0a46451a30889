/* Chats on the page: made, listed, searched, changed, deleted, taken away and brought back; presets; many bodies at
 * once, replies that are not read. */
#include "server/pagefixture.h"

static struct servicefixture f;

static int open_service(void **state)
{
    const struct service_options o = {.format = CHAT_CHATML};
    (void)state;
    servicefixture_open(&f, ENGINEFIXTURE_CHAT, &o);
    return 0;
}

static int close_service(void **state)
{
    (void)state;
    servicefixture_close(&f);
    return 0;
}

static int forget_all(void **state)
{
    (void)state;
    pagefixture_do(&f, "", 204, "DELETE", "/api/chats?all=yes", "");
    return 0;
}

static size_t listed(const char *query)
{
    char path[200];
    snprintf(path, sizeof path, "/api/chats%s", query);
    json_t *d = pagefixture_ask(&f, "", 200, "GET", path, "");
    size_t n = json_array_size(json_object_get(d, "chats"));
    json_decref(d);
    return n;
}

static void test_a_life(void **state)
{
    char path[200], *id = pagefixture_chat(&f, "", "{'title':'whales','folder':'sea','system':'be brief','settings':{'seed':1},'forget_after_days':3}");
    char *hidden = pagefixture_chat(&f, "", "{'temporary':true}"), *other = pagefixture_chat(&f, "", "{'title':'cats'}");
    (void)state;
    assert_int_equal(listed(""), 2); /* temporary ones are not */
    assert_int_equal(listed("?folder=sea"), 1);
    assert_int_equal(listed("?search=WHALES"), 1);
    assert_int_equal(listed("?search=dogs"), 0);
    assert_int_equal(listed("?limit=1"), 1);
    json_t *d = pagefixture_ask(&f, "", 200, "GET", "/api/chats", "");
    servicefixture_says(d, "chats.0.id", other); /* the latest first */
    json_decref(d);
    d = pagefixture_ask(&f, "", 200, "PATCH", pagefixture_path(path, "chats", id, ""), "{'pinned':true,'title':'narwhals','folder':null}");
    servicefixture_says(d, "title", "narwhals");
    servicefixture_says(d, "system", "be brief");
    assert_true(json_is_null(json_object_get(d, "folder")));
    json_decref(d);
    d = pagefixture_ask(&f, "", 200, "GET", "/api/chats?limit=1", "");
    servicefixture_says(d, "chats.0.id", id); /* pinned */
    assert_true(json_is_true(json_object_get(d, "more")));
    json_decref(d);
    pagefixture_do(&f, "", 400, "PATCH", path, "{'colour':'red'}");
    json_t *wrong = pagefixture_ask(&f, "", 400, "POST", "/api/chats", "{'title':5}");
    servicefixture_says(wrong, "error.param", "title");
    json_decref(wrong);
    pagefixture_do(&f, "", 400, "POST", "/api/chats", "[");
    static const char *const limits[] = {"501", "0", "-1", "1e3", "", "99999999999999999999"};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char query[100];
        snprintf(query, sizeof query, "/api/chats?limit=%s", limits[i]);
        pagefixture_do(&f, "", 400, "GET", query, "");
    }
    pagefixture_do(&f, "", 400, "DELETE", "/api/chats", "");
    pagefixture_do(&f, "", 204, "DELETE", path, "");
    pagefixture_do(&f, "", 404, "GET", path, "");
    pagefixture_do(&f, "", 404, "DELETE", path, "");
    pagefixture_do(&f, "", 200, "GET", pagefixture_path(path, "chats", hidden, ""), "");
    free(id);
    free(hidden);
    free(other);
}

static void test_there_and_back(void **state)
{
    char path[200], *id = pagefixture_chat(&f, "", "{'title':'whales'}");
    (void)state;
    char *answer = pagefixture_say(&f, "", id, "{'content':'hello','settings':{'temperature':0}}", NULL);
    json_decref(pagefixture_end(&f, "", answer));
    json_t *away = pagefixture_ask(&f, "", 200, "GET", "/api/export?format=json", "");
    char *text = json_text_dup(away, JSON_COMPACT);
    pagefixture_do(&f, "", 204, "DELETE", "/api/chats?all=yes", "");
    json_t *d = servicefixture_parse(text, strlen(text));
    struct rawclient_reply r = servicefixture_raw(&f, "POST", "/api/import", "", text);
    assert_int_equal(r.status, 201);
    assert_string_equal(r.body, "{\"chats\":1,\"already_here\":0,\"settings_left_out\":0}");
    rawclient_free(&r);
    json_t *back = pagefixture_ask(&f, "", 200, "GET", "/api/export", "");
    static const char *const same[] = {"title", "system", "settings", "pinned", "folder"};
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "chats.0.chat.%s", same[i]);
        assert_true(json_equal(servicefixture_at(d, path), servicefixture_at(back, path)));
    }
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "chats.0.messages.%zu.content", i);
        assert_true(json_equal(servicefixture_at(d, path), servicefixture_at(back, path)));
    }
    r = servicefixture_raw(&f, "GET", pagefixture_path(path, "chats", servicefixture_text(back, "chats.0.chat.id"), "/export?format=markdown"), "", "");
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "whales"));
    assert_non_null(strstr(r.body, "hello"));
    rawclient_free(&r);
    pagefixture_do(&f, "", 400, "GET", "/api/export?format=markdown", "");
    pagefixture_do(&f, "", 400, "GET", "/api/export?format=xml", "");
    pagefixture_do(&f, "", 400, "POST", "/api/import", "{'chats':[{}]}");
    pagefixture_do(&f, "", 400, "POST", "/api/import", "{}");
    json_t *wrong = pagefixture_ask(&f, "", 400, "POST", "/api/import", "{'format':'fathom-chats','chats':[{'chat':{'title':5},'messages':[]}]}");
    assert_true(json_is_null(servicefixture_at(wrong, "error.param"))); /* the request has no such field */
    json_decref(wrong);
    assert_int_equal(listed(""), 1); /* all or nothing */
    json_decref(back);
    json_decref(away);
    json_decref(d);
    mem_free(text);
    free(answer);
    free(id);
}

/* A file of chats may be larger than any other request, so that what was exported can be imported; not without end. */
static void test_a_file_of_chats_may_be_large(void **state)
{
    enum { ATTACHED = 6 << 20, CHATS = 3 };
    char *attached = calloc(1, ATTACHED + 1), head[300];
    (void)state;
    memset(attached, 'a', ATTACHED);
    json_t *chats = json_array();
    for (int i = 0; i < CHATS; i++) {
        json_array_append_new(chats, json_pack("{s:{s:s}, s:[{s:s, s:s, s:s, s:[{s:s, s:s}]}]}", "chat", "title", "much",
                                               "messages", "id", "1", "role", "user", "content", "see", "attachments",
                                               "name", "a", "text", attached));
    }
    json_t *d = json_pack("{s:s, s:i, s:o}", "format", "fathom-chats", "version", 1, "chats", chats);
    char *text = json_text_dup(d, JSON_COMPACT);
    assert_true(strlen(text) > HTTPSERVER_BODY_MAX);
    pagefixture_do(&f, "", 413, "POST", "/api/chats", text);
    json_decref(d);
    d = pagefixture_ask(&f, "", 201, "POST", "/api/import", text);
    assert_int_equal(json_integer_value(servicefixture_at(d, "chats")), CHATS);
    json_decref(d);
    d = pagefixture_ask(&f, "", 200, "GET", "/api/session", "");
    snprintf(head, sizeof head,
             "POST /api/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %lld\r\n\r\n",
             (long long)json_integer_value(servicefixture_at(d, "limits.import_bytes")) + 1);
    struct rawclient_reply r = rawclient_ask(f.port, head);
    assert_int_equal(r.status, 413);
    rawclient_free(&r);
    json_decref(d);
    mem_free(text);
    free(attached);
}

/* What is large is handled as what takes its time, and is as any other. */
static void test_a_large_chat(void **state)
{
    enum { MESSAGES = 1100 };
    struct strbuf text = {0};
    char path[200], *body = NULL;
    (void)state;
    assert_int_equal(strbuf_puts(&text, "{'format':'fathom-chats','version':1,'chats':[{'chat':{},'messages':["), ERR_OK);
    for (int i = 0; i < MESSAGES; i++) {
        assert_int_equal(strbuf_printf(&text, "%s{'id':'%d','parent':'%d','role':'%s','content':'m'}", i ? "," : "", i,
                                       i - 1, i % 2 ? "assistant" : "user"), ERR_OK);
    }
    assert_int_equal(strbuf_puts(&text, "]}]}"), ERR_OK);
    assert_int_equal(strbuf_take(&text, &body), ERR_OK);
    pagefixture_do(&f, "", 201, "POST", "/api/import", body);
    mem_free(body);
    char *id = pagefixture_take(pagefixture_ask(&f, "", 200, "GET", "/api/chats", ""), "chats.0.id");
    char *leaf = pagefixture_take(pagefixture_ask(&f, "", 200, "GET", "/api/chats", ""), "chats.0.leaf"), turn[200];
    json_t *d = pagefixture_ask(&f, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), MESSAGES);
    char *early = pagefixture_take(d, "messages.1.id");
    snprintf(turn, sizeof turn, "{'chat':'%s','leaf':'%s','content':'more'}", id, leaf);
    d = pagefixture_ask(&f, "", 200, "POST", "/api/count", turn);
    assert_true(json_integer_value(json_object_get(d, "tokens")) > MESSAGES);
    json_decref(d);
    snprintf(turn, sizeof turn, "{'parent':'%s','content':'more'}", leaf); /* too long */
    pagefixture_do(&f, "", 400, "POST", pagefixture_path(path, "chats", id, "/messages"), turn);
    snprintf(turn, sizeof turn, "{'parent':'%s','content':'more','settings':{'max_tokens':1}}", early);
    char *answer = pagefixture_say(&f, "", id, turn, NULL);
    json_decref(pagefixture_end(&f, "", answer));
    pagefixture_do(&f, "", 204, "DELETE", pagefixture_path(path, "chats", id, ""), "");
    pagefixture_do(&f, "", 404, "GET", path, "");
    free(answer);
    free(early);
    free(leaf);
    free(id);
}

static void test_presets(void **state)
{
    (void)state;
    pagefixture_do(&f, "", 204, "PUT", "/api/presets", "{'presets':[{'name':'b','system':'','settings':{}},{'name':'a','system':'s','settings':{'seed':1}}]}");
    json_t *d = pagefixture_ask(&f, "", 200, "GET", "/api/presets", "");
    servicefixture_says(d, "presets.0.name", "b"); /* in the order they were put */
    servicefixture_says(d, "presets.1.system", "s");
    json_decref(d);
    pagefixture_do(&f, "", 400, "PUT", "/api/presets", "{'presets':[{'name':'c'}]}");
    pagefixture_do(&f, "", 400, "PUT", "/api/presets", "{}");
    pagefixture_do(&f, "", 204, "PUT", "/api/presets", "{'presets':[]}");
}

static const char *param(const struct rawclient_reply *r, char out[80])
{
    json_t *d = servicefixture_parse(r->body, r->len);
    snprintf(out, 80, "%s", servicefixture_text(d, "error.param"));
    json_decref(d);
    return out;
}

/* What a turn would be refused for is refused when it is to be stored, with the same words. */
static void test_settings_are_looked_at_when_they_are_stored(void **state)
{
    static const struct {
        const char *settings, *wrong;
        int status;
    } rows[] = {
        {"{\"temperature\":9}", "temperature", 422}, {"{\"top_p\":-0.1}", "top_p", 422}, {"{\"min_p\":\"a\"}", "min_p", 400},
        {"{\"max_tokens\":0}", "max_tokens", 422}, {"{\"colour\":1}", "colour", 400}, {"{\"stop\":[\"a\",\"\"]}", "stop[1]", 400},
        {"{\"seed\":1e300}", "seed", 400}, {"5", "", 400}};
    char path[200], at[80], expected[80], body[200], *id = pagefixture_chat(&f, "", "{'settings':{'temperature':1}}");
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct {
            const char *method, *path, *body, *where;
        } asks[] = {
            {"POST", pagefixture_path(path, "chats", id, "/messages"), "{\"content\":\"a\",\"settings\":%s}", "settings"},
            {"POST", "/api/chats", "{\"settings\":%s}", "settings"},
            {"PUT", "/api/presets", "{\"presets\":[{\"name\":\"b\",\"system\":\"\",\"settings\":{}},"
             "{\"name\":\"c\",\"system\":\"\",\"settings\":%s}]}", "presets[1].settings"}};
        for (size_t k = 0; k < 3; k++) {
            snprintf(body, sizeof body, asks[k].body, rows[i].settings);
            struct rawclient_reply r = servicefixture_raw(&f, asks[k].method, asks[k].path, "", body);
            snprintf(expected, sizeof expected, "%s%s%s", asks[k].where, *rows[i].wrong ? "." : "", rows[i].wrong);
            assert_int_equal(r.status, rows[i].status);
            assert_string_equal(param(&r, at), expected);
            rawclient_free(&r);
        }
        snprintf(body, sizeof body, "{\"title\":\"other\",\"settings\":%s}", rows[i].settings);
        pagefixture_do(&f, "", rows[i].status, "PATCH", pagefixture_path(path, "chats", id, ""), body);
    }
    json_t *d = pagefixture_ask(&f, "", 200, "GET", pagefixture_path(path, "chats", id, ""), "");
    servicefixture_says(d, "chat.title", ""); /* nothing of it was stored */
    assert_int_equal(json_integer_value(servicefixture_at(d, "chat.settings.temperature")), 1);
    json_decref(d);
    assert_int_equal(listed(""), 1);
    free(id);
}

/* Bodies that wait for their ends: together they may not be over the cap; what was taken up is given back. */
static void test_all_bodies_together(void **state)
{
    enum { CLIENTS = 4, SIZE = 1 << 20 };
    static char piece[SIZE];
    struct httpserver_options o = {.handle = service_handle, .user = f.service, .bodies_max = 3 * SIZE};
    struct httpserver *small;
    struct errinfo info = {0};
    struct rawclient c[CLIENTS];
    unsigned port;
    char head[200], value[1024];
    (void)state;
    must(listener_tcp("127.0.0.1", 0, &o.listener, &port, &info), &info);
    must(httpserver_start(&o, &small, &info), &info);
    memset(piece, ' ', sizeof piece);
    snprintf(head, sizeof head, "POST /api/chats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", SIZE + 2);
    int refused = 0;
    for (int round = 0; refused == 0; round++) { /* a server that is quick enough has taken some before others come */
        assert_true(round < 20);
        for (int i = 0; i < CLIENTS; i++) { /* one of four finds no room, however the pieces come */
            c[i] = rawclient_open(port);
            rawclient_say(&c[i], head);
            rawclient_send(&c[i], piece, SIZE);
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        for (int i = 0; i < CLIENTS; i++) {
            rawclient_say(&c[i], "{}");
        }
        for (int i = 0; i < CLIENTS; i++) {
            struct rawclient_reply r = rawclient_reply(&c[i]);
            refused += r.status == 503;
            assert_true(r.status == 201 || r.status == 503);
            assert_true(r.status == 201 || rawclient_header(&r, "Retry-After", value));
            rawclient_free(&r);
            rawclient_close(&c[i]);
        }
    }
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* a body goes just behind its reply */
    for (int i = 0, tries = 0; i < 8; tries++) { /* one after another all fit */
        struct rawclient one = rawclient_open(port);
        rawclient_say(&one, head);
        rawclient_send(&one, piece, SIZE);
        rawclient_say(&one, "{}");
        struct rawclient_reply r = rawclient_reply(&one);
        i += r.status == 201;
        assert_in_range(tries, 0, 100);
        rawclient_free(&r);
        rawclient_close(&one);
        nanosleep(&(struct timespec){.tv_nsec = r.status == 201 ? 0 : 50000000}, NULL);
    }
    httpserver_stop(small);
}

/* Who asks for much and reads nothing of it gets no more, until it is closed for that. */
static void test_replies_that_nobody_reads(void **state)
{
    enum { MUCH = 8 << 20 };
    struct httpserver_options o = {.handle = service_handle, .user = f.service, .replies_each = 1 << 20,
                                   .deadlines = {.idle = 1}};
    struct servicefixture small = f;
    struct rawclient c[2];
    struct errinfo info = {0};
    char *much = calloc(1, MUCH + 1), path[200], value[1024];
    char *id = pagefixture_chat(&f, "", "{'title':'much'}");
    json_t *both = NULL;
    (void)state;
    memset(much, 'm', MUCH);
    const struct chattree_turn turn = {.content = much, .think = "off"};
    must(chattree_ask(f.service->chats, "local", id, &turn, service_now(), &both, &info), &info);
    must(listener_tcp("127.0.0.1", 0, &o.listener, &small.port, &info), &info);
    must(httpserver_start(&o, &small.http, &info), &info);
    for (int i = 0; i < 2; i++) {
        c[i] = rawclient_open(small.port);
        servicefixture_begin(&c[i], "GET", i == 0 ? "/api/export" : pagefixture_path(path, "chats", id, ""), "", "");
        assert_true(rawclient_until(&c[i], "\r\n\r\n", RAWCLIENT_PATIENCE_MS));
    }
    assert_memory_equal(c[0].in, "HTTP/1.1 200", 12);
    assert_memory_equal(c[1].in, "HTTP/1.1 429", 12);
    struct rawclient_reply r = servicefixture_raw(&small, "GET", "/api/chats", "", "");
    assert_int_equal(r.status, 429);
    assert_string_equal(rawclient_header(&r, "Retry-After", value), "5");
    rawclient_free(&r);
    const double until = progress_clock() + 10;
    int status = 429;
    while (status == 429 && progress_clock() < until) { /* the one that is not read is closed */
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        r = servicefixture_raw(&small, "GET", "/api/chats", "", "");
        status = r.status;
        rawclient_free(&r);
    }
    assert_int_equal(status, 200);
    rawclient_close(&c[0]);
    rawclient_close(&c[1]);
    httpserver_stop(small.http);
    json_decref(both);
    free(much);
    free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_life, forget_all),
        cmocka_unit_test_teardown(test_there_and_back, forget_all),
        cmocka_unit_test_teardown(test_a_file_of_chats_may_be_large, forget_all),
        cmocka_unit_test_teardown(test_a_large_chat, forget_all),
        cmocka_unit_test(test_presets),
        cmocka_unit_test_teardown(test_settings_are_looked_at_when_they_are_stored, forget_all),
        cmocka_unit_test_teardown(test_all_bodies_together, forget_all),
        cmocka_unit_test_teardown(test_replies_that_nobody_reads, forget_all),
    };
    return cmocka_run_group_tests(tests, open_service, close_service);
}

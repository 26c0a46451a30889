/* Who may what on the page: two keys that see nothing of each other, on any route; keys, usage and quotas; what becomes
 * of answers whose key is revoked; and that nobody learns from the cache what another asked. */
#include "server/pagefixture.h"

#define NOBODYS "00000000000000000000000000000000" /* an id */
#define ENDLESS "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"logit_bias\":{\"258\":-100},\"temperature\":1,\"max_tokens\":8000,\"n\":8"

static struct servicefixture f;
static struct pagefixture_key a, b, admin;

static int open_service(void **state)
{
    const struct service_options o = {.format = CHAT_CHATML, .guard = {.key_required = true}};
    (void)state;
    servicefixture_open(&f, ENGINEFIXTURE_CHAT, &o);
    pagefixture_key(&f, "{'name':'a'}", &a);
    pagefixture_key(&f, "{'name':'b'}", &b);
    pagefixture_key(&f, "{'name':'boss','scopes':['admin','chat']}", &admin);
    return 0;
}

static int close_service(void **state)
{
    (void)state;
    servicefixture_close(&f);
    return 0;
}

static char *everything(const struct pagefixture_key *k)
{
    struct rawclient_reply r = servicefixture_raw(&f, "GET", "/api/export", k->headers, "");
    assert_int_equal(r.status, 200);
    return r.body;
}

/* Every route that names an object, with one of another: it does not exist, and stays as it is. */
static void test_what_is_anothers_does_not_exist(void **state)
{
    static const struct {
        const char *method, *what, *rest, *body;
        bool answer; /* the id of one; else of a chat */
    } routes[] = {
        {"GET", "chats", "", "", false},
        {"PATCH", "chats", "", "{'title':'mine'}", false},
        {"DELETE", "chats", "", "", false},
        {"GET", "chats", "/export", "", false},
        {"GET", "chats", "/export?format=markdown", "", false},
        {"POST", "chats", "/messages", "{'content':'mine'}", false},
        {"POST", "chats", "/messages", "{'content':'mine','parent':'%s'}", false},
        {"POST", "chats", "/answers", "{'parent':'%s'}", false},
        {"GET", "answers", "/stream", "", true},
        {"GET", "answers", "/stream?from=3", "", true},
        {"POST", "answers", "/stop", "{}", true},
        {"POST", "answers", "/answer-now", "{}", true},
    };
    char path[200], body[300], *said, *chat = pagefixture_chat(&f, a.headers, "{'title':'secret','folder':'drawer'}");
    char *own = pagefixture_chat(&f, b.headers, "{}");
    (void)state;
    char *answer = pagefixture_say(&f, a.headers, chat, "{'content':'hello','settings':{'temperature':0}}", &said);
    json_decref(pagefixture_end(&f, a.headers, answer));
    pagefixture_do(&f, a.headers, 204, "PUT", "/api/presets", "{'presets':[{'name':'p','system':'s','settings':{}}]}");
    char *before = everything(&a);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const char *id = routes[i].answer ? answer : chat;
        snprintf(body, sizeof body, "%s", routes[i].body);
        char *at = strstr(body, "%s");
        if (at) {
            snprintf(at, sizeof body - (size_t)(at - body), "%s'}", said);
        }
        pagefixture_path(path, routes[i].what, id, routes[i].rest);
        json_t *d = pagefixture_ask(&f, b.headers, 404, routes[i].method, path, body);
        pagefixture_path(path, routes[i].what, NOBODYS, routes[i].rest);
        json_t *none = pagefixture_ask(&f, b.headers, 404, routes[i].method, path, body);
        servicefixture_says(d, "error.code", servicefixture_text(none, "error.code")); /* as if it were not there */
        assert_int_equal(strlen(servicefixture_text(d, "error.message")), strlen(servicefixture_text(none, "error.message")));
        json_decref(none);
        json_decref(d);
    }
    /* Names of another's objects inside of what is one's own. */
    snprintf(body, sizeof body, "{'content':'x','parent':'%s'}", answer);
    pagefixture_do(&f, b.headers, 404, "POST", pagefixture_path(path, "chats", own, "/messages"), body);
    snprintf(body, sizeof body, "{'parent':'%s'}", said);
    pagefixture_do(&f, b.headers, 404, "POST", pagefixture_path(path, "chats", own, "/answers"), body);
    snprintf(body, sizeof body, "{'chat':'%s','leaf':'%s'}", chat, answer);
    pagefixture_do(&f, b.headers, 404, "POST", "/api/count", body);
    snprintf(body, sizeof body, "{'leaf':'%s'}", answer);
    pagefixture_path(path, "chats", own, "");
    struct rawclient_reply r = servicefixture_raw(&f, "PATCH", path, b.headers, "{\"leaf\":\"" NOBODYS "\"}");
    pagefixture_do(&f, b.headers, r.status, "PATCH", path, body);
    assert_true(r.status == 400 || r.status == 404);
    rawclient_free(&r);
    /* Lists. */
    static const char *const lists[] = {"/api/chats", "/api/chats?search=hello", "/api/chats?folder=drawer", "/api/chats?search=secret"};
    for (size_t i = 0; i < 4; i++) {
        json_t *d = pagefixture_ask(&f, b.headers, 200, "GET", lists[i], "");
        assert_int_equal(json_array_size(json_object_get(d, "chats")), i == 0);
        json_decref(d);
    }
    json_t *d = pagefixture_ask(&f, b.headers, 200, "GET", "/api/presets", "");
    assert_int_equal(json_array_size(json_object_get(d, "presets")), 0);
    json_decref(d);
    pagefixture_do(&f, b.headers, 204, "PUT", "/api/presets", "{'presets':[]}");
    pagefixture_do(&f, b.headers, 204, "DELETE", "/api/chats?all=yes", "");
    pagefixture_do(&f, admin.headers, 404, "GET", pagefixture_path(path, "chats", chat, ""), ""); /* not even they */
    char *after = everything(&a);
    assert_string_equal(after, before);
    d = pagefixture_ask(&f, a.headers, 200, "GET", "/api/presets", "");
    servicefixture_says(d, "presets.0.name", "p");
    json_decref(d);
    free(after);
    free(before);
    free(answer);
    free(said);
    free(own);
    free(chat);
}

/* The same while the answer is being made. */
static void test_an_answer_under_way_is_its_owners(void **state)
{
    char path[200], *chat = pagefixture_chat(&f, a.headers, "{}"), *said;
    (void)state;
    char *answer = pagefixture_say(&f, a.headers, chat, "{'content':'hello','settings':{'temperature':0}}", &said);
    pagefixture_do(&f, b.headers, 404, "GET", pagefixture_path(path, "answers", answer, "/stream"), "");
    pagefixture_do(&f, b.headers, 404, "POST", pagefixture_path(path, "answers", answer, "/stop"), "{}");
    pagefixture_do(&f, b.headers, 404, "POST", pagefixture_path(path, "answers", answer, "/answer-now"), "{}");
    json_t *end = pagefixture_end(&f, a.headers, answer);
    servicefixture_says(end, "state", "done");
    json_decref(end);
    free(answer);
    free(said);
    free(chat);
}

/* The key of a session that is open: its owner has another one now, and the session is over. */
static void test_renewed(const char *cookie)
{
    char path[200];
    pagefixture_do(&f, a.headers, 403, "POST", pagefixture_path(path, "keys", a.id, "/renew"), "{}");
    json_t *d = pagefixture_ask(&f, admin.headers, 200, "POST", path, "{}");
    servicefixture_says(d, "id", a.id);
    pagefixture_do(&f, a.headers, 401, "GET", "/api/chats", "");
    pagefixture_do(&f, cookie, 401, "GET", "/api/chats", "");
    snprintf(a.secret, sizeof a.secret, "%s", servicefixture_text(d, "key"));
    snprintf(a.headers, sizeof a.headers, "Authorization: Bearer %s\r\n", a.secret);
    pagefixture_do(&f, a.headers, 200, "GET", "/api/chats", "");
    pagefixture_do(&f, admin.headers, 404, "POST", "/api/keys/" NOBODYS "/renew", "{}");
    json_decref(d);
}

static void test_signing_in_and_out(void **state)
{
    char body[200], value[1024], cookie[PAGEFIXTURE_HEADERS];
    (void)state;
    json_t *d = pagefixture_ask(&f, "", 200, "GET", "/api/session", "");
    assert_true(json_is_true(json_object_get(d, "key_required")) && json_is_false(json_object_get(d, "signed_in")));
    assert_null(json_object_get(d, "owner"));
    assert_null(json_object_get(d, "models"));
    json_decref(d);
    pagefixture_do(&f, "", 401, "POST", "/api/login", "{'key':'fathom-wrong'}");
    pagefixture_do(&f, "", 400, "POST", "/api/login", "{}");
    snprintf(body, sizeof body, "{\"key\":\"%s\"}", a.secret);
    struct rawclient_reply r = servicefixture_raw(&f, "POST", "/api/login", "", body);
    assert_int_equal(r.status, 204);
    assert_non_null(rawclient_header(&r, "Set-Cookie", value));
    snprintf(cookie, sizeof cookie, "Cookie: %.*s\r\n", (int)strcspn(value, ";"), value);
    assert_null(strstr(value, a.secret));
    rawclient_free(&r);
    d = pagefixture_ask(&f, cookie, 200, "GET", "/api/session", "");
    servicefixture_says(d, "owner.name", "a");
    servicefixture_says(d, "owner.id", a.id);
    servicefixture_says(d, "models.0.id", "tiny");
    assert_int_equal(json_integer_value(servicefixture_at(d, "limits.context")), 8192);
    assert_int_equal(json_integer_value(servicefixture_at(d, "limits.pdf_bytes")), 0);
    json_decref(d);
    pagefixture_do(&f, cookie, 415, "POST", "/api/extract", "{}");
    test_renewed(cookie);
    r = servicefixture_raw(&f, "POST", "/api/logout", cookie, "");
    assert_int_equal(r.status, 204);
    assert_non_null(rawclient_header(&r, "Set-Cookie", value));
    assert_non_null(strstr(value, "fathom_session=;"));
    assert_non_null(strstr(value, "Max-Age=0"));
    rawclient_free(&r);
    pagefixture_do(&f, cookie, 401, "GET", "/api/chats", ""); /* the cookie is no good to who kept it */
    pagefixture_do(&f, cookie, 204, "POST", "/api/logout", "");
}

/* Who may not chat is somebody all the same, and sees what the scopes are for. */
static void test_keys_without_chats(void **state)
{
    static const struct {
        const char *fields;
        bool admin;
        int keys, usage;
    } kinds[] = {{"{'name':'Anna','scopes':['admin']}", true, 200, 200}, {"{'name':'Graf','scopes':['metrics']}", false, 403, 403}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pagefixture_key k;
        pagefixture_key(&f, kinds[i].fields, &k);
        json_t *d = pagefixture_ask(&f, k.headers, 200, "GET", "/api/session", "");
        servicefixture_says(d, "models.0.id", "tiny");
        assert_string_not_equal(servicefixture_text(d, "owner.name"), "(none)");
        assert_int_equal(json_is_true(servicefixture_at(d, "owner.admin")), kinds[i].admin);
        assert_true(json_is_false(servicefixture_at(d, "owner.chat")));
        json_decref(d);
        pagefixture_do(&f, k.headers, kinds[i].keys, "GET", "/api/keys", "");
        pagefixture_do(&f, k.headers, kinds[i].usage, "GET", "/api/usage", "");
        d = pagefixture_ask(&f, k.headers, 403, "GET", "/api/chats", "");
        servicefixture_says(d, "error.message", "this key may not do that: it lacks the scope chat");
        json_decref(d);
    }
}

/* What is wrong is named for programs, too. */
static void test_wrong_fields_are_named(void **state)
{
    static const struct {
        const char *fields, *param;
    } wrong[] = {
        {"{}", "name"}, {"{'name':5}", "name"}, {"{'name':'n','scopes':['root']}", "scopes"},
        {"{'name':'n','limits':{'rpm':1}}", "limits.rpm"}, {"{'name':'n','limits':{'concurrent':-1}}", "limits.concurrent"},
        {"{'name':'n','limits':1}", "limits"}, {"{'name':'n','balance':'x'}", "balance"},
        {"{'name':'n','balance':'-5'}", "balance"}, {"{'name':'n','expires':'soon'}", "expires"},
        {"{'name':'n','colour':1}", "colour"}};
    char path[200];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *d = pagefixture_ask(&f, admin.headers, 400, "POST", "/api/keys", wrong[i].fields);
        servicefixture_says(d, "error.param", wrong[i].param);
        json_decref(d);
    }
    json_t *d = pagefixture_ask(&f, admin.headers, 400, "PATCH", pagefixture_path(path, "keys", a.id, ""), "{'expires':-1}");
    servicefixture_says(d, "error.param", "expires");
    json_decref(d);
}

/* One key that something else changed hides none of the others. */
static void test_a_damaged_key(void **state)
{
    struct pagefixture_key k;
    char path[200], sql[200];
    size_t i;
    json_t *one, *list;
    (void)state;
    pagefixture_key(&f, "{'name':'worn'}", &k);
    snprintf(sql, sizeof sql, "UPDATE api_key SET scopes = 7 WHERE id = '%s'", k.id);
    assert_int_equal(sqlite3_exec(database_handle(f.service->database), sql, NULL, NULL, NULL), SQLITE_OK);
    pagefixture_do(&f, k.headers, 500, "GET", "/v1/models", "");
    for (int revoked = 0; revoked < 2; revoked++) {
        bool found = false;
        list = pagefixture_ask(&f, admin.headers, 200, "GET", "/api/keys", "");
        assert_true(json_array_size(json_object_get(list, "keys")) > 3);
        json_array_foreach(json_object_get(list, "keys"), i, one)
        {
            bool it = strcmp(servicefixture_text(one, "id"), k.id) == 0;
            found = found || it;
            assert_int_equal(json_is_true(json_object_get(one, "damaged")), it && !revoked);
        }
        assert_true(found);
        json_decref(list);
        pagefixture_do(&f, admin.headers, 204, "DELETE", pagefixture_path(path, "keys", k.id, ""), "");
    }
    pagefixture_do(&f, k.headers, 401, "GET", "/v1/models", "");
}

static void test_keys_and_usage(void **state)
{
    char path[200], *id;
    (void)state;
    json_t *made = pagefixture_ask(&f, admin.headers, 201, "POST", "/api/keys", "{'name':'new','scopes':['chat'],'limits':{'requests_per_minute':5}}");
    assert_int_equal(json_string_length(json_object_get(made, "key")), KEYSTORE_SECRET);
    id = strdup(servicefixture_text(made, "id"));
    json_t *list = pagefixture_ask(&f, admin.headers, 200, "GET", "/api/keys", "");
    char *text = json_text_dup(list, JSON_COMPACT);
    assert_null(strstr(text, servicefixture_text(made, "key"))); /* never again */
    assert_non_null(strstr(text, id));
    servicefixture_says(list, "currency", "USD");
    mem_free(text);
    json_decref(list);
    json_decref(made);
    json_t *d = pagefixture_ask(&f, admin.headers, 200, "PATCH", pagefixture_path(path, "keys", id, ""), "{'name':'newer'}");
    servicefixture_says(d, "name", "newer");
    json_decref(d);
    pagefixture_do(&f, admin.headers, 400, "PATCH", path, "{'colour':'red'}");
    d = pagefixture_ask(&f, a.headers, 403, "GET", "/api/keys", "");
    servicefixture_says(d, "error.code", "missing_scope");
    assert_non_null(strstr(servicefixture_text(d, "error.message"), "scope admin"));
    json_decref(d);
    pagefixture_do(&f, a.headers, 403, "POST", "/api/keys", "{'name':'mine','scopes':['admin']}");
    pagefixture_do(&f, a.headers, 403, "PATCH", pagefixture_path(path, "keys", a.id, ""), "{'scopes':['admin']}");
    pagefixture_do(&f, a.headers, 403, "DELETE", pagefixture_path(path, "keys", b.id, ""), "");
    pagefixture_do(&f, admin.headers, 204, "DELETE", pagefixture_path(path, "keys", id, ""), "");
    pagefixture_do(&f, admin.headers, 404, "DELETE", "/api/keys/" NOBODYS, "");
    pagefixture_do(&f, a.headers, 200, "POST", "/v1/chat/completions", "{'messages':[{'role':'user','content':'hello'}],'max_tokens':2}");
    static const struct {
        const struct pagefixture_key *who;
        bool all;
    } askers[] = {{&a, false}, {&b, false}, {&admin, true}};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/api/usage?key=%s", a.id); /* for who is no admin: their own */
        d = pagefixture_ask(&f, askers[i].who->headers, 200, "GET", path, "");
        size_t k;
        json_t *day;
        assert_int_equal(json_integer_value(servicefixture_at(d, "totals.requests")) > 0, i != 1);
        servicefixture_says(d, "own.name", ((const char *[]){"a", "b", "boss"})[i]); /* what is left of one's own */
        assert_int_equal(json_integer_value(servicefixture_at(d, "own.tokens_today")) > 0, i == 0);
        assert_true(json_is_integer(servicefixture_at(d, "own.limits.tokens_per_day")));
        json_array_foreach(json_object_get(d, "days"), k, day)
        {
            servicefixture_says(day, "key", a.id);
        }
        json_decref(d);
    }
    pagefixture_do(&f, a.headers, 400, "GET", "/api/usage?from=yesterday", "");
    free(id);
}

/* A request of that key is refused with that code; Anthropic's clients know the kind by its type. */
static void refused(const struct pagefixture_key *k, int status, const char *code, const char *type, bool again)
{
    static const char ask[] = "{\"model\":\"default\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"max_tokens\":2}";
    for (int anthropic = 0; anthropic < 2; anthropic++) {
        char value[1024];
        struct rawclient_reply r = servicefixture_raw(&f, "POST", anthropic ? "/v1/messages" : "/v1/chat/completions", k->headers, ask);
        assert_int_equal(r.status, status);
        assert_int_equal(rawclient_header(&r, "x-should-retry", value) == NULL, again);
        json_t *d = servicefixture_parse(r.body, r.len);
        servicefixture_says(d, anthropic ? "error.type" : "error.code", anthropic ? type : code);
        json_decref(d);
        rawclient_free(&r);
    }
}

/* Tokens of the prompt that all ask here. */
static long long prompt_of(const struct pagefixture_key *k)
{
    json_t *d = pagefixture_ask(&f, k->headers, 200, "POST", "/v1/chat/completions",
                                "{'messages':[{'role':'user','content':'hello'}],'max_tokens':2}");
    long long n = json_integer_value(servicefixture_at(d, "usage.prompt_tokens"));
    json_decref(d);
    return n;
}

/* However many ask at once: together they use what there is, and no token more. */
static void test_all_together_keep_to_the_quota(void **state)
{
    enum { CLIENTS = 6, ANSWER = 50 };
    static const char ask[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"logit_bias\":{\"258\":-100},"
                              "\"temperature\":1,\"seed\":1,\"max_tokens\":8000}";
    struct pagefixture_key k;
    struct rawclient c[CLIENTS];
    long long used = 0, limit = 2 * prompt_of(&a) + ANSWER;
    char fields[100], path[200];
    int answered = 0;
    (void)state;
    snprintf(fields, sizeof fields, "{'name':'many','limits':{'tokens_per_day':%lld}}", limit);
    pagefixture_key(&f, fields, &k);
    for (int i = 0; i < CLIENTS; i++) {
        c[i] = rawclient_open(f.port);
        servicefixture_begin(&c[i], "POST", "/v1/chat/completions", k.headers, ask);
    }
    for (int i = 0; i < CLIENTS; i++) {
        struct rawclient_reply r = rawclient_reply(&c[i]);
        json_t *d = servicefixture_parse(r.body, r.len);
        assert_true(r.status == 200 || r.status == 429);
        if (r.status == 200) {
            answered++;
            used += json_integer_value(servicefixture_at(d, "usage.total_tokens"));
            servicefixture_says(d, "choices.0.finish_reason", "length"); /* at what was left */
        }
        json_decref(d);
        rawclient_free(&r);
        rawclient_close(&c[i]);
    }
    assert_true(answered >= 1);
    assert_int_equal(used, limit);
    char *chat = pagefixture_chat(&f, k.headers, "{}");
    json_t *d = pagefixture_ask(&f, k.headers, 429, "POST", pagefixture_path(path, "chats", chat, "/messages"), "{'content':'hello'}");
    servicefixture_says(d, "error.code", "insufficient_quota");
    json_decref(d);
    d = pagefixture_ask(&f, k.headers, 200, "GET", pagefixture_path(path, "chats", chat, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), 0);
    json_decref(d);
    free(chat);
}

static void test_quotas(void **state)
{
    static const char ask[] = "{'messages':[{'role':'user','content':'hello'}],'max_tokens':2}";
    struct pagefixture_key k;
    char value[1024];
    (void)state;
    pagefixture_key(&f, "{'name':'slow','limits':{'requests_per_minute':2}}", &k);
    pagefixture_do(&f, k.headers, 200, "POST", "/v1/chat/completions", ask);
    char *chat = pagefixture_chat(&f, k.headers, "{}"), path[200]; /* costs nothing */
    char *answer = pagefixture_say(&f, k.headers, chat, "{'content':'a'}", NULL);
    struct rawclient_reply r = servicefixture_raw(&f, "POST", "/v1/chat/completions", k.headers, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
    assert_int_equal(r.status, 429);
    assert_in_range(strtoul(rawclient_header(&r, "Retry-After", value), NULL, 10), 1, 30);
    rawclient_free(&r);
    json_t *d = pagefixture_ask(&f, k.headers, 429, "POST", pagefixture_path(path, "chats", chat, "/messages"), "{'content':'b'}");
    servicefixture_says(d, "error.code", "rate_limit_exceeded");
    json_decref(d);
    json_decref(pagefixture_end(&f, k.headers, answer));
    d = pagefixture_ask(&f, k.headers, 200, "GET", pagefixture_path(path, "chats", chat, ""), "");
    assert_int_equal(json_array_size(json_object_get(d, "messages")), 2); /* what was refused was not stored */
    json_decref(d);
    free(answer);
    free(chat);
    char few[100];
    snprintf(few, sizeof few, "{'name':'few','limits':{'tokens_per_day':%lld}}", prompt_of(&a) + 2);
    pagefixture_key(&f, few, &k);
    pagefixture_do(&f, k.headers, 200, "POST", "/v1/chat/completions", ask);
    refused(&k, 429, "insufficient_quota", "rate_limit_error", service_now() % 86400000 > 86400000 - 60000);
    pagefixture_key(&f, "{'name':'poor','balance':'0'}", &k);
    refused(&k, 402, "insufficient_balance", "billing_error", true);
    pagefixture_key(&f, "{'name':'eight','limits':{'concurrent':8}}", &k); /* every choice counts */
    struct rawclient c = rawclient_open(f.port);
    servicefixture_begin(&c, "POST", "/v1/chat/completions", k.headers, "{" ENDLESS ",\"stream\":true}");
    assert_true(rawclient_until(&c, "data: ", RAWCLIENT_PATIENCE_MS));
    refused(&k, 429, "rate_limit_exceeded", "rate_limit_error", true);
    rawclient_close(&c);
    int status = 429;
    for (int i = 0; i < 100 && status == 429; i++) { /* until the server has seen that */
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        r = servicefixture_raw(&f, "POST", "/v1/chat/completions", k.headers, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":1}");
        status = r.status;
        rawclient_free(&r);
    }
    assert_int_equal(status, 200);
}

/* Counting tokens is a request; it costs nothing, and takes no more at once than it can chew. */
static void test_counting_has_limits(void **state)
{
    static const char *const asks[][2] = {
        {"/tokenize", "{'content':'hello'}"}, {"/v1/detokenize", "{'tokens':[1,2]}"},
        {"/v1/messages/count_tokens", "{'model':'default','messages':[{'role':'user','content':'hello'}]}"}};
    struct pagefixture_key k;
    (void)state;
    pagefixture_key(&f, "{'name':'counts','limits':{'requests_per_minute':3,'concurrent':1}}", &k);
    for (int i = 0; i < 6; i++) {
        pagefixture_do(&f, k.headers, i < 3 ? 200 : 429, "POST", asks[i % 3][0], asks[i % 3][1]);
    }
    pagefixture_key(&f, "{'name':'long'}", &k);
    enum { LONG = 5 << 20 };
    char *text = malloc(LONG + 100), *end = text + sprintf(text, "{\"content\":\"");
    memset(end, 'a', LONG);
    strcpy(end + LONG, "\"}");
    struct rawclient_reply r = servicefixture_raw(&f, "POST", "/tokenize", k.headers, text);
    assert_int_equal(r.status, 413);
    assert_non_null(strstr(r.body, "4194304"));
    rawclient_free(&r);
    end = text + sprintf(text, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    memset(end, 'a', LONG);
    strcpy(end + LONG, "\"}]}");
    r = servicefixture_raw(&f, "POST", "/v1/chat/completions", k.headers, text);
    assert_int_equal(r.status, 400);
    assert_non_null(strstr(r.body, "context_length_exceeded"));
    assert_non_null(strstr(r.body, "at least")); /* before any token was counted */
    rawclient_free(&r);
    free(text);
}

/* The page counts what is being typed: no quota falls by it, but it has one of its own, and what cannot fit, or is
 * too much, is not counted. */
static void test_counting_while_typing_has_limits(void **state)
{
    enum { LONG = 5 << 20 };
    struct pagefixture_key k;
    char *text = malloc(LONG + 100), value[1024];
    (void)state;
    pagefixture_key(&f, "{'name':'types','limits':{'requests_per_minute':1,'concurrent':1}}", &k);
    for (int blank = 0; blank < 2; blank++) { /* blanks are cut away, so of them nothing is known at once */
        char *end = text + sprintf(text, "{'content':'b");
        memset(end, blank ? ' ' : 'a', LONG);
        strcpy(end + LONG, "'}");
        json_t *d = pagefixture_ask(&f, k.headers, blank ? 413 : 200, "POST", "/api/count", text);
        if (blank) {
            servicefixture_says(d, "error.code", "too_large");
        } else {
            assert_true(json_is_true(json_object_get(d, "at_least")));
            assert_true(json_integer_value(json_object_get(d, "tokens")) > 8192);
        }
        json_decref(d);
    }
    for (int i = 2; i < SERVICE_COUNTS; i++) {
        json_t *d = pagefixture_ask(&f, k.headers, 200, "POST", "/api/count", "{'content':'hello'}");
        assert_true(json_is_false(json_object_get(d, "at_least")));
        json_decref(d);
    }
    int refused_at = 0; /* some more flow in meanwhile */
    for (; refused_at < SERVICE_COUNTS; refused_at++) {
        struct rawclient_reply r = servicefixture_raw(&f, "POST", "/api/count", k.headers, "{\"content\":\"hello\"}");
        bool full = r.status == 429;
        if (full) {
            assert_in_range(strtoul(rawclient_header(&r, "Retry-After", value), NULL, 10), 1, 2);
        }
        rawclient_free(&r);
        if (full) {
            break;
        }
    }
    assert_true(refused_at < SERVICE_COUNTS);
    pagefixture_do(&f, k.headers, 200, "POST", "/v1/chat/completions",
                   "{'messages':[{'role':'user','content':'hello'}],'max_tokens':2}"); /* its one */
    free(text);
}

/* A key that is revoked while its answers run ends them, streams, documents and those of the page. */
static void test_a_revoked_key_ends_its_answers(void **state)
{
    struct pagefixture_key k;
    struct errinfo info = {0};
    (void)state;
    pagefixture_key(&f, "{'name':'going'}", &k);
    struct rawclient stream = rawclient_open(f.port), whole = rawclient_open(f.port), others = rawclient_open(f.port);
    servicefixture_begin(&others, "POST", "/v1/chat/completions", a.headers, "{" ENDLESS ",\"stream\":true}");
    servicefixture_begin(&stream, "POST", "/v1/chat/completions", k.headers, "{" ENDLESS ",\"stream\":true}");
    servicefixture_begin(&whole, "POST", "/v1/chat/completions", k.headers, "{" ENDLESS "}");
    assert_true(rawclient_until(&stream, "data: ", RAWCLIENT_PATIENCE_MS));
    char *chat = pagefixture_chat(&f, k.headers, "{}");
    char *answer = pagefixture_say(&f, k.headers, chat, "{'content':'hello','settings':{'temperature':2,'max_tokens':8000,'repetition_penalty':10}}", NULL);
    must(keystore_revoke(f.service->keys, k.id, service_now(), &info), &info);
    double from = progress_clock();
    struct rawclient_reply r = rawclient_reply(&stream);
    assert_false(r.whole); /* a half, and it looks like one */
    assert_null(strstr(r.body, "[DONE]"));
    rawclient_free(&r);
    r = rawclient_reply(&whole);
    /* 401: it came after; 200, cut: a keep-alive had been sent */
    if (r.status != 0 && r.status != 503 && r.status != 401 && (r.status != 200 || r.whole)) {
        fail_msg("%d %d after %.1f s: %.200s", r.status, r.whole, progress_clock() - from, r.body);
    }
    rawclient_free(&r);
    json_t *message = NULL;
    for (int i = 0; i < 100; i++) {
        json_decref(message);
        must(chattree_message(f.service->chats, k.id, answer, &message, NULL, &info), &info);
        if (strcmp(servicefixture_text(message, "state"), "writing") != 0) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    servicefixture_says(message, "state", "interrupted"); /* nobody stopped it */
    assert_true(progress_clock() - from < 8); /* one second, on a machine that has time */
    json_decref(message);
    pagefixture_do(&f, k.headers, 401, "GET", "/v1/models", "");
    size_t before = others.len;
    assert_true(rawclient_more(&others, RAWCLIENT_PATIENCE_MS) && others.len > before); /* another's goes on */
    rawclient_close(&others);
    rawclient_close(&stream);
    rawclient_close(&whole);
    free(answer);
    free(chat);
}

/* Seconds that a question of the many words of `probe` takes; how many of its tokens were found. */
static double asked(const struct pagefixture_key *key, const char *user, int probe, json_int_t *found)
{
    enum { WORDS = 1500 };
    static char body[WORDS + 200];
    int n = snprintf(body, sizeof body, "{\"user\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"%d ", user, probe);
    for (int i = 0; i < WORDS; i++) {
        body[n++] = "abcdefgh "[(i * i + probe) % 9];
    }
    strcpy(body + n, "\"}],\"max_tokens\":1}");
    double from = progress_clock();
    json_t *d = pagefixture_ask(&f, key->headers, 200, "POST", "/v1/chat/completions", body);
    double seconds = progress_clock() - from;
    *found = json_integer_value(servicefixture_at(d, "usage.prompt_tokens_details.cached_tokens"));
    json_decref(d);
    return seconds;
}

/* The same long prompt of another key, or another user of the same: nothing of it is found in the cache, and it takes as long
 * as when it was new. */
static void test_nobody_learns_what_another_asked(void **state)
{
    enum { PROBES = 9 };
    const struct {
        const struct pagefixture_key *key;
        const char *user;
    } others[] = {{&b, "anna"}, {&a, "ben"}};
    int faster[2] = {0};
    json_int_t found;
    (void)state;
    for (int p = 0; p < PROBES; p++) {
        double first = asked(&a, "anna", p, &found);
        for (size_t i = 0; i < 2; i++) {
            faster[i] += asked(others[i].key, others[i].user, p, &found) < 0.5 * first;
            assert_in_range(found, 0, 63);
        }
        asked(&a, "anna", p, &found);
        assert_true(found >= 1024); /* its own it finds */
    }
    assert_true(faster[0] < PROBES - 1 && faster[1] < PROBES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_anothers_does_not_exist),
        cmocka_unit_test(test_an_answer_under_way_is_its_owners),
        cmocka_unit_test(test_signing_in_and_out),
        cmocka_unit_test(test_keys_without_chats),
        cmocka_unit_test(test_keys_and_usage),
        cmocka_unit_test(test_wrong_fields_are_named),
        cmocka_unit_test(test_a_damaged_key),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_all_together_keep_to_the_quota), cmocka_unit_test(test_counting_has_limits),
        cmocka_unit_test(test_counting_while_typing_has_limits),
        cmocka_unit_test(test_a_revoked_key_ends_its_answers),
        cmocka_unit_test(test_nobody_learns_what_another_asked),
    };
    return cmocka_run_group_tests(tests, open_service, close_service);
}

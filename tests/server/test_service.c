/* The service: every route of every table against every credential, with real keys; the wrong ways to ask; models,
 * tokens and metrics. */
#include "server/servicefixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "server/api.h"

static struct servicefixture f, kept; /* kept: on the disk */

static int open_service(void **state)
{
    const struct service_options o = {.format = CHAT_CHATML, .guard = {.key_required = true}};
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

static void make_key(const char *scopes, char secret[KEYSTORE_SECRET + 1])
{
    struct keystore_key key;
    struct errinfo info = {0};
    char text[200];
    snprintf(text, sizeof text, "{\"name\":\"k\",\"scopes\":[%s]}", scopes);
    json_t *fields = servicefixture_parse(text, strlen(text));
    must(keystore_create(f.service->keys, fields, service_now(), &key, secret, &info), &info);
    json_decref(fields);
}

static int ask(const char *method, const char *path, const char *headers, const char *type, char code[64])
{
    struct rawclient c = rawclient_open(f.port);
    char request[2000];
    bool body = strcmp(method, "GET") != 0;
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s%s%s%s\r\n%s", method, path, headers,
             body ? "Content-Type: " : "", body ? type : "", body ? "\r\nContent-Length: 2\r\n" : "", body ? "{}" : "");
    rawclient_say(&c, request);
    struct rawclient_reply r = rawclient_reply(&c);
    json_t *d = r.len && (r.body[0] == '{' || r.body[0] == '[') ? servicefixture_parse(r.body, r.len) : NULL;
    snprintf(code, 64, "%s", servicefixture_text(d, "error.code"));
    int status = r.status;
    json_decref(d);
    rawclient_free(&r);
    rawclient_close(&c);
    return status;
}

/* What signing in with a key gives: "fathom_session=…". */
static void sign_in(const char *secret, char cookie[300])
{
    char body[200], value[1024];
    snprintf(body, sizeof body, "{\"key\":\"%s\"}", secret);
    struct rawclient_reply r = servicefixture_raw(&f, "POST", "/api/login", "", body);
    assert_int_equal(r.status, 204);
    assert_non_null(rawclient_header(&r, "Set-Cookie", value));
    assert_non_null(strstr(value, "HttpOnly; SameSite=Strict"));
    snprintf(cookie, 300, "%.*s", (int)strcspn(value, ";"), value);
    rawclient_free(&r);
}

enum { NO_KEY, WRONG_KEY, NO_SCOPE, RIGHT_KEY, CREDENTIALS };
enum { BEARER, X_API_KEY, COOKIE, WAYS };

static void header(char out[400], int credential, int way, const char *secret, const char *cookie)
{
    static const char *const wrong = "fathom-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const char *key = credential == WRONG_KEY ? wrong : secret;
    if (credential == NO_KEY) {
        out[0] = '\0';
    } else if (way == COOKIE) {
        char spoilt[300];
        snprintf(spoilt, sizeof spoilt, "%s", cookie);
        if (credential == WRONG_KEY) { /* of another key's hash */
            char *last = spoilt + strlen(spoilt) - 1;
            *last = *last == '0' ? '1' : '0';
        }
        snprintf(out, 400, "Cookie: %s\r\n", spoilt);
    } else {
        snprintf(out, 400, way == BEARER ? "Authorization: Bearer %s\r\n" : "x-api-key: %s\r\n", key);
    }
}

static void test_every_route_against_every_credential(void **state)
{
    static const struct {
        unsigned scope;
        const char *has, *lacks;
    } scopes[] = {{CALLER_CHAT, "\"chat\"", "\"metrics\",\"admin\""},
                  {CALLER_METRICS, "\"metrics\"", "\"chat\",\"admin\""},
                  {CALLER_ADMIN, "\"admin\"", "\"chat\",\"metrics\""},
                  {CALLER_CHAT | CALLER_ADMIN, "\"admin\"", "\"metrics\""}}; /* one of them is enough */
    static const char *const prefixes[] = {"", "/v1", "/beta", "/anthropic", "/anthropic/v1"};
    size_t n, asked = 0;
    const struct route_table *const *tables = api_tables(&n);
    char right[4][KEYSTORE_SECRET + 1], less[4][KEYSTORE_SECRET + 1], right_cookie[4][300], less_cookie[4][300];
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        make_key(scopes[k].has, right[k]);
        make_key(scopes[k].lacks, less[k]);
        sign_in(right[k], right_cookie[k]);
        sign_in(less[k], less_cookie[k]);
    }
    for (size_t i = 0; i < n * 5; i++) {
        const struct route_table *t = tables[i / 5];
        for (size_t r = 0; r < t->n; r++) {
            const struct route_row *row = &t->rows[r];
            const char *prefix = prefixes[i % 5], *star = strchr(row->path, '*');
            bool there = !*prefix || (i % 5 < 3 ? row->api : row->anthropic);
            size_t k = 0;
            while (row->need.scope != CALLER_NOTHING && k < 4 && scopes[k].scope != row->need.scope) {
                k++;
            }
            assert_true(k < 4); /* a new scope needs a row above */
            char path[200], lines[400], code[64];
            snprintf(path, sizeof path, "%s%.*s%s%s", prefix, star ? (int)(star - row->path) : 100, row->path,
                     star ? "x" : "", star ? star + 1 : "");
            for (int c = 0; there && c < CREDENTIALS; c++) {
                for (int w = 0; w < WAYS; w++) {
                    header(lines, c, w, c == NO_SCOPE ? less[k] : right[k], c == NO_SCOPE ? less_cookie[k] : right_cookie[k]);
                    int status = ask(row->method, path, lines, row->need.type ? row->need.type : "application/json", code);
                    bool anybody = row->need.scope == CALLER_NOTHING, lacks = strcmp(code, "missing_scope") == 0,
                         stopped = status == 401 || lacks;
                    int expected = c == RIGHT_KEY || (anybody && !(c == WRONG_KEY && w != COOKIE)) ? 0
                                   : c == NO_SCOPE                                                 ? 403
                                                                                                   : 401;
                    bool good = expected == 0 ? !stopped || strcmp(row->path, "/api/login") == 0
                                              : status == expected && (expected == 401 || lacks || row->anthropic);
                    if (!good) {
                        fail_msg("%s %s with credential %d by way %d: %d %s, expected %d", row->method, path, c, w, status, code, expected);
                    }
                    asked++;
                    if (w == COOKIE && c >= NO_SCOPE && strcmp(row->path, "/api/logout") == 0) { /* in again */
                        sign_in(c == NO_SCOPE ? less[k] : right[k], c == NO_SCOPE ? less_cookie[k] : right_cookie[k]);
                    }
                }
            }
        }
    }
    assert_true(asked > 300);
}

static void test_a_revoked_key_and_its_cookie_open_nothing(void **state)
{
    struct keystore_key key;
    struct errinfo info = {0};
    char secret[KEYSTORE_SECRET + 1], cookie[300], lines[400], code[64];
    (void)state;
    make_key("\"chat\"", secret);
    sign_in(secret, cookie);
    snprintf(lines, sizeof lines, "Cookie: %s\r\n", cookie);
    assert_int_equal(ask("GET", "/v1/models", lines, "", code), 200);
    must(keystore_check(f.service->keys, secret, service_now(), &key, &info), &info);
    must(keystore_revoke(f.service->keys, key.id, service_now(), &info), &info);
    assert_int_equal(ask("GET", "/v1/models", lines, "", code), 401);
    snprintf(lines, sizeof lines, "Authorization: Bearer %s\r\n", secret);
    assert_int_equal(ask("GET", "/v1/models", lines, "", code), 401);
}

/* A refusal says what it is in the format of the route, and what methods there are. */
static void test_refusals(void **state)
{
    char value[1024];
    (void)state;
    struct rawclient_reply r = servicefixture_raw(&f, "PUT", "/v1/chat/completions", "", "{}");
    assert_int_equal(r.status, 405);
    assert_string_equal(rawclient_header(&r, "Allow", value), "POST");
    rawclient_free(&r);
    r = servicefixture_raw(&f, "POST", "/v1/nothing", "", "{}");
    assert_int_equal(r.status, 404);
    json_t *d = servicefixture_parse(r.body, r.len);
    servicefixture_says(d, "error.type", "not_found_error");
    json_decref(d);
    rawclient_free(&r);
    r = servicefixture_raw(&f, "GET", "/nowhere", "Accept: text/html,*/*\r\n", ""); /* a person's browser */
    assert_int_equal(r.status, 404);
    assert_memory_equal(rawclient_header(&r, "Content-Type", value), "text/html", 9);
    assert_non_null(rawclient_header(&r, "Content-Security-Policy", value));
    rawclient_free(&r);
    r = servicefixture_raw(&f, "POST", "/v1/messages", "", "{}");
    assert_int_equal(r.status, 401);
    assert_string_equal(rawclient_header(&r, "WWW-Authenticate", value), "Bearer");
    d = servicefixture_parse(r.body, r.len);
    servicefixture_says(d, "type", "error");
    servicefixture_says(d, "error.type", "authentication_error");
    json_decref(d);
    rawclient_free(&r);
}

static json_t *get(const char *method, const char *path, const char *body, int status)
{
    static char secret[KEYSTORE_SECRET + 1];
    char lines[400];
    if (!*secret) {
        make_key("\"chat\",\"metrics\"", secret);
    }
    snprintf(lines, sizeof lines, "Authorization: Bearer %s\r\n", secret);
    struct rawclient_reply r = servicefixture_raw(&f, method, path, lines, body);
    if (r.status != status) {
        fail_msg("%s → %d %s", path, r.status, r.body);
    }
    json_t *d = servicefixture_parse(r.body, r.len);
    rawclient_free(&r);
    return d;
}

static void test_models(void **state)
{
    (void)state;
    json_t *d = get("GET", "/v1/models", "", 200), *one;
    size_t i;
    servicefixture_says(d, "object", "list");
    servicefixture_says(d, "data.0.id", "tiny");
    servicefixture_says(d, "first_id", "tiny");
    assert_true(json_is_false(json_object_get(d, "has_more")));
    json_array_foreach(json_object_get(d, "data"), i, one)
    {
        char path[200];
        servicefixture_says(one, "object", "model");
        assert_true(json_is_integer(json_object_get(one, "created")));
        servicefixture_says(one, "type", "model"); /* and as Anthropic's clients read it */
        servicefixture_says(one, "display_name", servicefixture_text(one, "id"));
        const char *at = servicefixture_text(one, "created_at");
        assert_true(strlen(at) == 20 && at[10] == 'T' && at[19] == 'Z');
        snprintf(path, sizeof path, "/v1/models/%s", servicefixture_text(one, "id"));
        json_t *again = get("GET", path, "", 200);
        assert_true(json_equal(one, again));
        json_decref(again);
    }
    json_decref(d);
    d = get("GET", "/models/llama", "", 404);
    servicefixture_says(d, "error.code", "model_not_found");
    json_decref(d);
}

static void test_tokens_there_and_back(void **state)
{
    static const char *const texts[] = {"hello", "\xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x90\xb3", "<|im_end|>", ""};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (int parse = 0; parse < 2; parse++) {
            json_t *in = json_pack("{s:s, s:b}", "content", texts[i], "parse_special", parse);
            char *body = json_text_dup(in, JSON_COMPACT);
            json_t *d = get("POST", "/v1/tokenize", body, 200), *back;
            assert_int_equal(json_array_size(json_object_get(d, "tokens")), parse && i == 2 ? 1 : strlen(texts[i]));
            mem_free(body);
            body = json_text_dup(d, JSON_COMPACT);
            json_object_del(d, "count");
            json_object_del(d, "max_model_len");
            mem_free(body);
            body = json_text_dup(d, JSON_COMPACT);
            back = get("POST", "/v1/detokenize", body, 200);
            servicefixture_says(back, "content", texts[i]);
            mem_free(body);
            json_decref(back);
            json_decref(d);
            json_decref(in);
        }
    }
    static const struct {
        const char *path, *body;
        int status;
    } bad[] = {{"/tokenize", "{}", 400},
               {"/tokenize", "{\"content\":5}", 400},
               {"/tokenize", "{\"content\":\"a\",\"with_pieces\":true}", 400},
               {"/tokenize", "{\"content\":\"a\",\"model\":\"nonsense\"}", 404},
               {"/detokenize", "{\"tokens\":[1],\"model\":\"nonsense\"}", 404},
               {"/detokenize", "{\"tokens\":[1],\"model\":\"default\"}", 200},
               {"/detokenize", "{\"tokens\":\"a\"}", 400},
               {"/detokenize", "{\"tokens\":[259]}", 422},
               {"/detokenize", "{\"tokens\":[-1]}", 422},
               {"/detokenize", "{\"tokens\":[1.5]}", 422},
               {"/detokenize", "{}", 400}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_decref(get("POST", bad[i].path, bad[i].body, bad[i].status));
    }
}

/* What counts tokens lists what had no effect, as answers do. */
static void test_counting_tells_what_it_ignores(void **state)
{
    static const char *const asks[][3] = {
        {"/tokenize", "{\"content\":\"a\",\"made_up\":1}", "made_up"},
        {"/detokenize", "{\"tokens\":[97],\"made_up\":1}", "made_up"},
        {"/v1/messages/count_tokens",
         "{\"model\":\"default\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"zzz\":1}]}]}",
         "messages[0].content[0].zzz"},
        {"/tokenize", "{\"content\":\"a\"}", NULL}};
    char secret[KEYSTORE_SECRET + 1], lines[400], value[1024];
    (void)state;
    make_key("\"chat\"", secret);
    snprintf(lines, sizeof lines, "x-api-key: %s\r\n", secret);
    for (size_t i = 0; i < 4; i++) {
        struct rawclient_reply r = servicefixture_raw(&f, "POST", asks[i][0], lines, asks[i][1]);
        assert_int_equal(r.status, 200);
        const char *found = rawclient_header(&r, "X-Fathom-Ignored", value);
        if (asks[i][2]) {
            assert_non_null(found);
            assert_string_equal(found, asks[i][2]);
        } else {
            assert_null(found);
        }
        rawclient_free(&r);
    }
}

/* Every line of the metrics is a comment, or a name of ours with a number. */
static void test_metrics_are_numbers(void **state)
{
    char secret[KEYSTORE_SECRET + 1], lines[400], name[128];
    (void)state;
    make_key("\"metrics\"", secret);
    snprintf(lines, sizeof lines, "x-api-key: %s\r\n", secret);
    struct rawclient_reply r = servicefixture_raw(&f, "GET", "/metrics", lines, "");
    assert_int_equal(r.status, 200);
    size_t n = 0;
    for (char *line = strtok(r.body, "\n"); line; line = strtok(NULL, "\n")) {
        double value;
        if (*line != '#' && (sscanf(line, "fathom_%127s %lf", name, &value) != 2 || value < 0)) {
            fail_msg("%s", line);
        }
        n++;
    }
    assert_true(n > 30);
    rawclient_free(&r);
}

static size_t pages_on_disk(void)
{
    return enginethread_counts(kept.service->model.thread).on_disk;
}

static void open_kept(const struct service_options *o, const char *secret, const char *headers)
{
    char prompt[400], body[500];
    servicefixture_open(&kept, ENGINEFIXTURE_CHAT, o);
    if (secret) {
        memset(prompt, 'a', sizeof prompt - 1);
        prompt[sizeof prompt - 1] = '\0';
        snprintf(body, sizeof body, "{\"prompt\":\"%s\",\"max_tokens\":1}", prompt);
        struct rawclient_reply r = servicefixture_raw(&kept, "POST", "/v1/completions", headers, body);
        assert_int_equal(r.status, 200);
        rawclient_free(&r);
    }
}

/* Used last 31 days ago. */
static int age(const char *path, const struct stat *st, int type, struct FTW *at)
{
    const struct timespec then = {.tv_sec = time(NULL) - 31 * 86400};
    (void)at;
    (void)st;
    return type == FTW_F ? utimensat(AT_FDCWD, path, (const struct timespec[2]){then, then}, 0) : 0;
}

/* What a key asked of the API goes when the key is revoked, by another program, too; and what nobody used for so many
 * days. */
static void test_what_the_api_was_asked_is_forgotten(void **state)
{
    struct tempdir dir;
    struct keystore_key keys[2];
    struct errinfo info = {0};
    char secret[2][KEYSTORE_SECRET + 1], lines[2][400], folder[600];
    (void)state;
    tempdir_make(&dir);
    struct service_options o = {.format = CHAT_CHATML, .data = dir.path, .disk = 1 << 26, .guard = {.key_required = true}};
    open_kept(&o, NULL, NULL);
    for (size_t i = 0; i < 2; i++) {
        json_t *fields = json_pack("{s:s}", "name", "k");
        must(keystore_create(kept.service->keys, fields, service_now(), &keys[i], secret[i], &info), &info);
        json_decref(fields);
        snprintf(lines[i], sizeof lines[i], "x-api-key: %s\r\n", secret[i]);
    }
    servicefixture_close(&kept);
    open_kept(&o, secret[0], lines[0]);
    servicefixture_close(&kept);
    open_kept(&o, secret[1], lines[1]);
    servicefixture_close(&kept);
    open_kept(&o, NULL, NULL);
    size_t both = pages_on_disk();
    must(keystore_revoke(kept.service->keys, keys[0].id, service_now(), &info), &info);
    servicefixture_close(&kept);
    open_kept(&o, NULL, NULL);
    size_t one = pages_on_disk();
    assert_true(one > 0 && both == 2 * one);
    servicefixture_close(&kept);
    snprintf(folder, sizeof folder, "%s/" SERVICE_PREFIXES, dir.path);
    assert_int_equal(nftw(folder, age, 8, FTW_PHYS), 0);
    open_kept(&o, NULL, NULL);
    assert_int_equal(pages_on_disk(), one);
    servicefixture_close(&kept);
    o.forget_days = 30;
    open_kept(&o, NULL, NULL);
    for (int i = 0; i < 1000 && pages_on_disk() > 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_int_equal(pages_on_disk(), 0);
    servicefixture_close(&kept);
    tempdir_remove_all(dir.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_against_every_credential),
        cmocka_unit_test(test_a_revoked_key_and_its_cookie_open_nothing),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_tokens_there_and_back),
        cmocka_unit_test(test_counting_tells_what_it_ignores),
        cmocka_unit_test(test_metrics_are_numbers),
        cmocka_unit_test(test_what_the_api_was_asked_is_forgotten),
    };
    return cmocka_run_group_tests(tests, open_service, close_service);
}

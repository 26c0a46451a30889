/* What clients asked once (tests/e2e/recorded, written by openai.sh and agents.sh of tests/e2e with --record), asked again:
 * status, shape of the document or of the stream's events, and reasons are as the client found them good. */
#include "server/servicefixture.h"

#include <dirent.h>

#define RECORDED "tests/e2e/recorded"

static struct servicefixture chat, think, tools;

static int open_models(void **state)
{
    const struct service_options chatml = {.name = "chatmodel", .format = CHAT_CHATML, .max_tokens = 8192};
    const struct service_options v31 = {.name = "thinkmodel", .format = CHAT_DEEPSEEK_V31, .max_tokens = 8192};
    const struct service_options random = {.name = "toolmodel", .format = CHAT_DEEPSEEK_V31, .max_tokens = 8192};
    (void)state;
    servicefixture_open(&chat, ENGINEFIXTURE_CHAT, &chatml);
    servicefixture_open(&think, SERVICEFIXTURE_THINK, &v31);
    servicefixture_open(&tools, SERVICEFIXTURE_TOOLS, &random);
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    servicefixture_close(&chat);
    servicefixture_close(&think);
    servicefixture_close(&tools);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void shape(const json_t *value, const char *key, struct strbuf *out);

static void put(struct strbuf *out, const char *text)
{
    assert_int_equal(strbuf_puts(out, text), ERR_OK);
}

/* Each shape once, in the order of the alphabet: {keys}, [what is in it]. */
static void shape_parts(const json_t *value, struct strbuf *out)
{
    enum { MOST = 4096 };
    char *mine[MOST];
    size_t n = 0, i;
    const char *key;
    json_t *child;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)value, key, child)
        {
            struct strbuf one = {0};
            put(&one, key);
            put(&one, ":");
            shape(child, key, &one);
            mine[n++] = one.data;
        }
    } else {
        json_array_foreach((json_t *)value, i, child)
        {
            struct strbuf one = {0};
            shape(child, "", &one);
            mine[n++] = one.data;
            assert_true(n < MOST);
        }
    }
    qsort(mine, n, sizeof *mine, by_text);
    for (i = 0; i < n; i++) {
        if (i == 0 || strcmp(mine[i], mine[i - 1]) != 0) {
            put(out, mine[i]);
            put(out, " ");
        }
    }
    for (i = 0; i < n; i++) {
        mem_free(mine[i]);
    }
}

/* The type, and what is in it; some words as they are. Tokens of an answer that was drawn are not the same in number on
 * every machine, so a list of them counts as one whether it is empty or not. */
static void shape(const json_t *value, const char *key, struct strbuf *out)
{
    static const char *const exact[] = {"object", "role", "type", "code", "param"};
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        if (strcmp(key, exact[i]) == 0 && json_is_string(value)) {
            put(out, json_string_value(value));
            return;
        }
    }
    if ((strcmp(key, "finish_reason") == 0 || strcmp(key, "stop_reason") == 0) && json_is_string(value)) {
        put(out, strncmp(json_string_value(value), "tool_", 5) == 0 ? "calls" : "end"); /* where it ends is drawn, too */
    } else if (strcmp(key, "bytes") == 0 || strcmp(key, "top_logprobs") == 0) {
        put(out, json_is_array(value) ? "list" : "no list");
    } else if (json_is_object(value) || json_is_array(value)) {
        put(out, json_is_object(value) ? "{" : "[");
        shape_parts(value, out);
        put(out, json_is_object(value) ? "}" : "]");
    } else {
        put(out, json_is_string(value)    ? "string"
                 : json_is_integer(value) ? "whole"
                 : json_is_real(value)    ? "number"
                 : json_is_boolean(value) ? "boolean"
                                          : "null");
    }
}

/* The types of the events in their order, and each event's shape. Where events have names these are their types; where
 * they have none, [DONE] ends them. */
static void shape_events(const char *text, struct strbuf *out)
{
    json_t *events = json_array();
    char last[100] = "", name[100];
    bool done = false;
    for (const char *end; (end = strstr(text, "\n\n")); text = end + 2) {
        const char *data = strstr(text, "data: "), *type;
        if (*text == ':') {
            continue;
        }
        assert_false(done);
        assert_true(data && data < end);
        done = strncmp(data, "data: [DONE]\n", 13) == 0;
        json_t *d = done ? json_object() : servicefixture_parse(data + 6, (size_t)(end - data) - 6);
        snprintf(name, sizeof name, "event: %s\n", type = servicefixture_text(d, "type"));
        assert_true(text == data || strncmp(text, name, strlen(name)) == 0);
        if (text != data && strcmp(last, type) != 0) {
            snprintf(last, sizeof last, "%s", type);
            put(out, type);
            put(out, " ");
        }
        json_array_append_new(events, d);
    }
    assert_true(done == (last[0] == '\0') && *text == '\0');
    shape(events, "", out);
    json_decref(events);
}

/* Of a reply as its client got it. */
static char *shape_of(const char *type, const char *text)
{
    struct strbuf out = {0};
    if (strncmp(type, "text/event-stream", 17) == 0) {
        shape_events(text, &out);
    } else {
        json_t *d = servicefixture_parse(text, strlen(text));
        shape(d, "", &out);
        json_decref(d);
    }
    return out.data;
}

static void replay(const char *path)
{
    json_t *d = NULL, *value;
    struct errinfo info = {0};
    char headers[4000] = "", type[1024] = "";
    const char *name;
    must(json_parse_file(path, 1 << 20, &d, &info), &info);
    json_object_foreach(json_object_get(d, "headers"), name, value)
    {
        if (strcmp(name, "content-type") != 0) {
            size_t n = strlen(headers);
            snprintf(headers + n, sizeof headers - n, "%s: %s\r\n", name, json_string_value(value));
        }
    }
    const char *server = servicefixture_text(d, "server");
    const struct servicefixture *f = strcmp(server, "think") == 0 ? &think : strcmp(server, "tools") == 0 ? &tools : &chat;
    struct rawclient_reply r =
        servicefixture_raw(f, servicefixture_text(d, "method"), servicefixture_text(d, "path"), headers, servicefixture_text(d, "body"));
    rawclient_header(&r, "Content-Type", type);
    char *before = shape_of(servicefixture_text(d, "type"), servicefixture_text(d, "reply"));
    char *now = r.status ? shape_of(type, r.body) : NULL;
    if (r.status != json_integer_value(json_object_get(d, "status")) || strcmp(type, servicefixture_text(d, "type")) != 0 ||
        strcmp(before, now) != 0) {
        fail_msg("%s: %d %s\nbefore %s\nnow    %s\n%s", path, r.status, type, before, now, r.body);
    }
    mem_free(before);
    mem_free(now);
    rawclient_free(&r);
    json_decref(d);
}

static void test_what_clients_asked_is_answered_as_it_was(void **state)
{
    static const char *const clients[] = {"anthropic-", "openai-", "responses-"};
    DIR *folder = opendir(RECORDED);
    size_t n[3] = {0};
    (void)state;
    assert_non_null(folder);
    for (struct dirent *e; (e = readdir(folder));) {
        char path[400];
        snprintf(path, sizeof path, RECORDED "/%s", e->d_name);
        if (strstr(e->d_name, ".json")) {
            replay(path);
            for (size_t i = 0; i < 3; i++) {
                n[i] += strncmp(e->d_name, clients[i], strlen(clients[i])) == 0;
            }
        }
    }
    closedir(folder);
    assert_true(n[0] >= 40 && n[1] >= 60 && n[2] >= 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_clients_asked_is_answered_as_it_was)};
    return cmocka_run_group_tests(tests, open_models, close_models);
}

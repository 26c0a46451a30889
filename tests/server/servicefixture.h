/* tests/server/servicefixture.h: a whole server in the test: a tiny model of tests/golden, its service and the HTTP
 * server on a port of this machine; requests and their replies as JSON. Test programs only. */
#ifndef TESTS_SERVER_SERVICEFIXTURE_H
#define TESTS_SERVER_SERVICEFIXTURE_H

#include "server/rawclient.h"

#include <signal.h>
#include <time.h>

#include "base/file.h"
#include "base/progress.h"
#include "engine/enginefixture.h"
#include "formats/tempdir.h"
#include "server/listener.h"
#include "server/service.h"

#define SERVICEFIXTURE_THINK "tests/golden/thinkmodel"
#define SERVICEFIXTURE_TOOLS "tests/golden/toolmodel"

struct servicefixture {
    struct engine *engine;
    struct service *service;
    struct httpserver *http;
    unsigned port;
    double keepalive; /* seconds; set before it is opened; 0: the server's own */
    struct tempdir copy; /* of the model, with a longer context */
};

/* The models have 512 positions; a copy says that they have 8192, which is too many to answer well in, and enough
 * to answer. */
static inline void servicefixture_copy(struct tempdir *to, const char *model)
{
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"};
    tempdir_make(to);
    for (size_t i = 0; i < 4; i++) {
        char path[300], *data = NULL;
        size_t len;
        struct errinfo info = {0};
        snprintf(path, sizeof path, "%s/%s", model, names[i]);
        must(file_read(path, 1 << 24, &data, &len, &info), &info);
        char *limit = i == 0 ? strstr(data, "512,") : NULL;
        if (limit) {
            tempdir_text(to, "config.json", "");
            FILE *f = fopen(tempdir_file(to, "config.json"), "wb");
            assert_non_null(f);
            fprintf(f, "%.*s8192,%s", (int)(limit - data), data, limit + 4);
            fclose(f);
        } else {
            tempdir_put(to, names[i], data, len);
        }
        mem_free(data);
    }
}

static inline void servicefixture_open(struct servicefixture *f, const char *model,
                                       const struct service_options *as)
{
    struct errinfo info = {0};
    struct httpserver_options http = {.handle = service_handle, .deadlines = {.keepalive = f->keepalive}};
    struct service_options o = *as;
    signal(SIGPIPE, SIG_IGN);
    servicefixture_copy(&f->copy, model);
    o.engine = f->engine = enginefixture_open(f->copy.path, 1, true, 0);
    o.name = o.name ? o.name : "tiny";
    o.max_tokens = o.max_tokens ? o.max_tokens : 64;
    o.batcher.memory = o.batcher.memory ? o.batcher.memory : 64 << 20;
    must(service_new(&o, &f->service, &info), &info);
    must(listener_tcp("127.0.0.1", 0, &http.listener, &f->port, &info), &info);
    http.user = f->service;
    must(httpserver_start(&http, &f->http, &info), &info);
    f->service->http = f->http;
}

static inline void servicefixture_close(struct servicefixture *f)
{
    httpserver_stop(f->http);
    service_free(f->service);
    engine_close(f->engine);
    tempdir_remove(&f->copy);
}

/* ---- Requests. ---- */

/* Begins a request; the reply is read with rawclient_reply. `headers` end in \r\n each. */
static inline void servicefixture_begin(struct rawclient *c, const char *method, const char *path, const char *headers,
                                        const char *body)
{
    size_t n = strlen(body) + strlen(headers) + strlen(path) + 300;
    char *text = malloc(n), length[80] = "";
    if (*body) {
        snprintf(length, sizeof length, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    }
    snprintf(text, n, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n%s", method, path, headers, length, body);
    rawclient_say(c, text);
    free(text);
}

static inline struct rawclient_reply servicefixture_raw(const struct servicefixture *f, const char *method,
                                                        const char *path, const char *headers, const char *body)
{
    struct rawclient c = rawclient_open(f->port);
    servicefixture_begin(&c, method, path, headers, body);
    struct rawclient_reply r = rawclient_reply(&c);
    rawclient_close(&c);
    return r;
}

static inline json_t *servicefixture_parse(const char *text, size_t len)
{
    json_t *d = NULL;
    struct errinfo info = {0};
    if (json_parse(text, len, "reply", &d, &info) != ERR_OK) {
        fail_msg("%s: %s", info.message, text);
    }
    return d;
}

/* The reply's document; json_decref. */
static inline json_t *servicefixture_post(const struct servicefixture *f, const char *path, const char *body,
                                          int *status)
{
    struct rawclient_reply r = servicefixture_raw(f, "POST", path, "", body);
    json_t *d = servicefixture_parse(r.body, r.len);
    assert_true(r.whole);
    *status = r.status;
    rawclient_free(&r);
    return d;
}

/* The events of a stream as a list of documents, without its [DONE], which must be the last. */
static inline json_t *servicefixture_events(const char *text)
{
    json_t *list = json_array();
    bool done = false;
    for (const char *line = text, *end; (end = strstr(line, "\n\n")); line = end + 2) {
        assert_false(done);
        if (*line == ':') {
            continue;
        }
        assert_memory_equal(line, "data: ", 6);
        done = strncmp(line, "data: [DONE]\n", 13) == 0;
        if (!done) {
            json_array_append_new(list, servicefixture_parse(line + 6, (size_t)(end - line) - 6));
        }
    }
    assert_true(done);
    return list;
}

/* ---- Documents. ---- */

/* "choices.0.message.content" of a document; NULL: there is none. */
static inline json_t *servicefixture_at(const json_t *d, const char *path)
{
    char part[64];
    while (d && *path) {
        size_t n = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        d = json_is_array(d) ? json_array_get(d, strtoul(part, NULL, 10)) : json_object_get(d, part);
        path += n + (path[n] == '.');
    }
    return (json_t *)d;
}

static inline const char *servicefixture_text(const json_t *d, const char *path)
{
    const char *text = json_string_value(servicefixture_at(d, path));
    return text ? text : "(none)";
}

static inline void servicefixture_says(const json_t *d, const char *path, const char *text)
{
    const char *found = servicefixture_text(d, path);
    if (strcmp(found, text) != 0) {
        char *all = json_text_dup(d, JSON_INDENT(1));
        fail_msg("%s is \"%s\", expected \"%s\" in %s", path, found, text, all);
    }
}

#endif

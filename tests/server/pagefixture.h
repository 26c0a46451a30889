/* tests/server/pagefixture.h: the page's interface as a browser would ask it, with a key or none. Test programs only. */
#ifndef TESTS_SERVER_PAGEFIXTURE_H
#define TESTS_SERVER_PAGEFIXTURE_H

#include "server/servicefixture.h"

enum { PAGEFIXTURE_HEADERS = 400 };

struct pagefixture_key {
    char id[VAULT_ID + 1], secret[KEYSTORE_SECRET + 1];
    char headers[PAGEFIXTURE_HEADERS]; /* that show it */
};

/* `fields`: of keystore_create, with ' for ". */
static inline void pagefixture_key(const struct servicefixture *f, const char *fields, struct pagefixture_key *out)
{
    struct keystore_key key;
    struct errinfo info = {0};
    char text[400];
    snprintf(text, sizeof text, "%s", fields);
    for (char *p = text; *p; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    json_t *d = servicefixture_parse(text, strlen(text));
    must(keystore_create(f->service->keys, d, service_now(), &key, out->secret, &info), &info);
    json_decref(d);
    memcpy(out->id, key.id, sizeof out->id);
    snprintf(out->headers, sizeof out->headers, "Authorization: Bearer %s\r\n", out->secret);
}

/* A request with ' for " in its body; the reply must have that status. Its document (json_decref), NULL without. */
static inline json_t *pagefixture_ask(const struct servicefixture *f, const char *headers, int status,
                                      const char *method, const char *path, const char *body)
{
    char *text = strdup(body);
    for (char *p = text; *p; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    struct rawclient_reply r = servicefixture_raw(f, method, path, headers, text);
    if (r.status != status || !r.whole) {
        fail_msg("%s %s %s: %d instead of %d: %s", method, path, text, r.status, status, r.body);
    }
    char first = r.body[strspn(r.body, " \n")]; /* a document that took long begins with blanks */
    json_t *d = first == '{' || first == '[' ? servicefixture_parse(r.body, r.len) : NULL;
    rawclient_free(&r);
    free(text);
    return d;
}

static inline void pagefixture_do(const struct servicefixture *f, const char *headers, int status, const char *method,
                                  const char *path, const char *body)
{
    json_decref(pagefixture_ask(f, headers, status, method, path, body));
}

/* Takes the string at `path` out of a document, which goes; to be freed with free. */
static inline char *pagefixture_take(json_t *d, const char *path)
{
    char *text = strdup(servicefixture_text(d, path));
    json_decref(d);
    return text;
}

/* "/api/WHAT/ID/REST" in a buffer of the caller. */
static inline const char *pagefixture_path(char out[200], const char *what, const char *id, const char *rest)
{
    snprintf(out, 200, "/api/%s/%s%s", what, id, rest);
    return out;
}

/* A new chat; its id, to be freed with free. */
static inline char *pagefixture_chat(const struct servicefixture *f, const char *headers, const char *fields)
{
    return pagefixture_take(pagefixture_ask(f, headers, 201, "POST", "/api/chats", fields), "id");
}

/* A turn in it; the ids of message and answer, to be freed with free. `message` may be NULL. */
static inline char *pagefixture_say(const struct servicefixture *f, const char *headers, const char *chat,
                                    const char *body, char **message)
{
    char path[200];
    json_t *d = pagefixture_ask(f, headers, 201, "POST", pagefixture_path(path, "chats", chat, "/messages"), body);
    servicefixture_says(d, "answer.state", "writing");
    if (message) {
        *message = strdup(servicefixture_text(d, "message.id"));
    }
    return pagefixture_take(d, "answer.id");
}

/* ---- Streams. ---- */

struct pagefixture_stream {
    char reasoning[4096], content[4096]; /* what its events said */
    size_t events;
    unsigned long long first, last; /* their numbers */
    json_t *end;                    /* the MESSAGE; NULL: it did not come */
};

static inline void pagefixture_event(struct pagefixture_stream *s, const char *event)
{
    const char *name = strstr(event, "event: "), *data = strstr(event, "data: "), *id = strstr(event, "id: ");
    if (!name || !data || strncmp(name, "event: prefill", 14) == 0) {
        return; /* a comment, or how far it is */
    }
    assert_ptr_equal(id, event);
    json_t *d = servicefixture_parse(data + 6, strcspn(data + 6, "\n"));
    unsigned long long number = strtoull(id + 4, NULL, 10);
    assert_true(number > s->last); /* each says which it is */
    s->first = s->events == 0 ? number : s->first;
    s->last = number;
    s->events++;
    assert_null(s->end);
    if (strncmp(name, "event: end", 10) == 0) {
        s->end = d;
        return;
    }
    char *text = strncmp(name, "event: reasoning", 16) == 0 ? s->reasoning : s->content;
    assert_true(strlen(text) + json_string_length(json_object_get(d, "text")) < sizeof s->content);
    strcat(text, servicefixture_text(d, "text"));
    json_decref(d);
}

/* The answer's events to the end of the stream. `headers` may have Last-Event-ID. */
static inline struct pagefixture_stream pagefixture_stream(const struct servicefixture *f, const char *headers,
                                                           const char *answer, const char *query)
{
    struct pagefixture_stream s = {.events = 0};
    char path[200], rest[100], type[1024];
    snprintf(rest, sizeof rest, "/stream%s", query);
    struct rawclient_reply r =
        servicefixture_raw(f, "GET", pagefixture_path(path, "answers", answer, rest), headers, "");
    assert_int_equal(r.status, 200);
    assert_string_equal(rawclient_header(&r, "Content-Type", type), "text/event-stream");
    char *event = r.body;
    for (char *end; (end = strstr(event, "\n\n")); event = end + 2) {
        *end = '\0';
        pagefixture_event(&s, event);
    }
    rawclient_free(&r);
    return s;
}

/* Waits for the answer's end; how it ended (json_decref). */
static inline json_t *pagefixture_end(const struct servicefixture *f, const char *headers, const char *answer)
{
    struct pagefixture_stream s = pagefixture_stream(f, headers, answer, "");
    assert_non_null(s.end);
    return s.end;
}

#endif

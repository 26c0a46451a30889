/* A little HTTP server on 127.0.0.1 for the tests of downloads: one thread, one request per connection;
 * the test's own function answers, and may misbehave as it likes. */
#ifndef TESTS_CLI_LOOPBACK_H
#define TESTS_CLI_LOOPBACK_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct loopback_request {
    char method[8], path[512];
    bool has_range;
    size_t from;
    char if_range[256];
};

struct loopback {
    int listener;
    pthread_t thread;
    char base[64];       /* http://127.0.0.1:PORT */
    atomic_int hits;     /* requests answered */
    atomic_size_t from;  /* where the last range began */
    void (*answer)(struct loopback *, const struct loopback_request *, int fd);
};

static void loopback_send(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        if (put <= 0) {
            return;
        }
        p += put;
        n -= (size_t)put;
    }
}

static void loopback_text(int fd, const char *text)
{
    loopback_send(fd, text, strlen(text));
}

/* A whole answer; `headers` are further lines, each ending in \r\n. */
static void loopback_reply(int fd, const char *status, const char *headers, const void *body, size_t n)
{
    char head[2048];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n",
             status, headers, n);
    loopback_text(fd, head);
    loopback_send(fd, body, n);
}

/* What an honest server with ranges does; `tag` is its ETag with quotes. */
__attribute__((unused)) static void loopback_serve(int fd, const struct loopback_request *q,
                                                   const char *tag, const char *body, size_t n)
{
    char headers[512];
    bool range = q->has_range && q->from < n && (!q->if_range[0] || strcmp(q->if_range, tag) == 0);
    size_t from = range ? q->from : 0;
    int used = snprintf(headers, sizeof headers, "ETag: %s\r\n", tag);
    if (range) {
        snprintf(headers + used, sizeof headers - (size_t)used, "Content-Range: bytes %zu-%zu/%zu\r\n",
                 from, n - 1, n);
    }
    bool head = strcmp(q->method, "HEAD") == 0;
    if (head) {
        char text[1024];
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n", headers, n);
        loopback_text(fd, text);
        return;
    }
    loopback_reply(fd, range ? "206 Partial Content" : "200 OK", headers, body + from, n - from);
}

static void loopback_parse(char *text, struct loopback_request *q)
{
    char *rest = text;
    char *line = strsep(&rest, "\n");
    sscanf(line, "%7s %511s", q->method, q->path);
    while ((line = strsep(&rest, "\n"))) {
        line[strcspn(line, "\r")] = '\0';
        if (strncasecmp(line, "Range: bytes=", 13) == 0) {
            q->has_range = true;
            q->from = strtoul(line + 13, NULL, 10);
        } else if (strncasecmp(line, "If-Range: ", 10) == 0) {
            snprintf(q->if_range, sizeof q->if_range, "%s", line + 10);
        }
    }
}

static void *loopback_run(void *user)
{
    struct loopback *s = user;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        char text[8192];
        size_t n = 0;
        ssize_t got = 1;
        while (n < sizeof text - 1 && got > 0) {
            got = recv(fd, text + n, sizeof text - 1 - n, 0);
            n += got > 0 ? (size_t)got : 0;
            text[n] = '\0';
            if (strstr(text, "\r\n\r\n")) {
                break;
            }
        }
        struct loopback_request q = {0};
        loopback_parse(text, &q);
        atomic_fetch_add(&s->hits, 1);
        atomic_store(&s->from, q.from);
        s->answer(s, &q, fd);
        shutdown(fd, SHUT_WR);
        while (recv(fd, text, sizeof text, 0) > 0) {
        }
        close(fd);
    }
}

static bool loopback_start(struct loopback *s,
                           void (*answer)(struct loopback *, const struct loopback_request *, int))
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    s->answer = answer;
    atomic_store(&s->hits, 0);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&a, n) != 0 ||
        listen(s->listener, 16) != 0 || getsockname(s->listener, (struct sockaddr *)&a, &n) != 0) {
        return false;
    }
    snprintf(s->base, sizeof s->base, "http://127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
    return pthread_create(&s->thread, NULL, loopback_run, s) == 0;
}

static void loopback_stop(struct loopback *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}

#endif

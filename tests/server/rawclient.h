/* tests/server/rawclient.h: one connection to a server of the test, byte for byte: sends what it is given, however
 * wrong, and reads replies one after the other. Test programs only. */
#ifndef TESTS_SERVER_RAWCLIENT_H
#define TESTS_SERVER_RAWCLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { RAWCLIENT_MAX = 8 << 20, RAWCLIENT_PATIENCE_MS = 20000 };

struct rawclient {
    int fd;
    char *in; /* [RAWCLIENT_MAX + 1], NUL-terminated: what came and belongs to no reply yet */
    size_t len;
};

struct rawclient_reply {
    int status;      /* 0: the connection ended before one came */
    char head[8192]; /* with its last empty line */
    char *body;      /* NUL-terminated, chunks joined; mem of the reply */
    size_t len;
    bool whole;      /* it ended as HTTP says, not with the connection */
};

static inline struct rawclient rawclient_take(int fd)
{
    struct rawclient c = {.fd = fd, .in = malloc(RAWCLIENT_MAX + 1)};
    assert_true(c.fd >= 0 && c.in);
    c.in[0] = '\0';
    return c;
}

static inline struct rawclient rawclient_open(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return rawclient_take(fd);
}

static inline void rawclient_close(struct rawclient *c)
{
    close(c->fd);
    free(c->in);
}

/* False: the server has closed the connection. */
static inline bool rawclient_send(struct rawclient *c, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t put = send(c->fd, p, n, MSG_NOSIGNAL);
        if (put <= 0) {
            return false;
        }
        p += put;
        n -= (size_t)put;
    }
    return true;
}

static inline bool rawclient_say(struct rawclient *c, const char *text)
{
    return rawclient_send(c, text, strlen(text));
}

/* More bytes; false: the end, or nothing in `ms`. */
static inline bool rawclient_more(struct rawclient *c, int ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (c->len == RAWCLIENT_MAX || poll(&p, 1, ms) <= 0) {
        return false;
    }
    ssize_t n = recv(c->fd, c->in + c->len, RAWCLIENT_MAX - c->len, 0);
    c->len += n > 0 ? (size_t)n : 0;
    c->in[c->len] = '\0';
    return n > 0;
}

static inline void rawclient_drop(struct rawclient *c, size_t n)
{
    memmove(c->in, c->in + n, c->len - n + 1);
    c->len -= n;
}

static inline bool rawclient_until(struct rawclient *c, const char *text, int ms)
{
    while (!strstr(c->in, text)) {
        if (!rawclient_more(c, ms)) {
            return false;
        }
    }
    return true;
}

/* The value of a header of the reply, in `out`; NULL: it has none. */
static inline const char *rawclient_header(const struct rawclient_reply *r, const char *name, char out[1024])
{
    size_t n = strlen(name);
    for (const char *line = strstr(r->head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *value = line + 3 + n + strspn(line + 3 + n, " ");
            snprintf(out, 1024, "%.*s", (int)strcspn(value, "\r"), value);
            return out;
        }
    }
    return NULL;
}

static inline bool rawclient_chunks(struct rawclient *c, struct rawclient_reply *r)
{
    r->body = calloc(1, RAWCLIENT_MAX + 1);
    for (;;) {
        if (!rawclient_until(c, "\r\n", RAWCLIENT_PATIENCE_MS)) {
            return false;
        }
        size_t n = strtoul(c->in, NULL, 16);
        rawclient_drop(c, (size_t)(strstr(c->in, "\r\n") - c->in) + 2);
        while (c->len < n + 2) {
            if (!rawclient_more(c, RAWCLIENT_PATIENCE_MS)) {
                return false;
            }
        }
        memcpy(r->body + r->len, c->in, n);
        r->len += n;
        rawclient_drop(c, n + 2);
        if (n == 0) {
            return true;
        }
    }
}

/* The next reply, without the interim ones; `bare`: it has no body (HEAD). */
static inline struct rawclient_reply rawclient_reply_to(struct rawclient *c, bool bare)
{
    struct rawclient_reply r = {0};
    char value[1024];
    do {
        if (!rawclient_until(c, "\r\n\r\n", RAWCLIENT_PATIENCE_MS)) {
            r.body = calloc(1, 1);
            return r;
        }
        size_t n = (size_t)(strstr(c->in, "\r\n\r\n") - c->in) + 4;
        assert_true(n < sizeof r.head);
        memcpy(r.head, c->in, n);
        r.head[n] = '\0';
        rawclient_drop(c, n);
        r.status = atoi(r.head + strlen("HTTP/1.1 "));
    } while (r.status == 100);
    if (!bare && rawclient_header(&r, "Transfer-Encoding", value)) {
        r.whole = rawclient_chunks(c, &r);
        return r;
    }
    size_t n = !bare && rawclient_header(&r, "Content-Length", value) ? strtoul(value, NULL, 10) : 0;
    while (c->len < n && rawclient_more(c, RAWCLIENT_PATIENCE_MS)) {
    }
    r.whole = c->len >= n;
    r.len = r.whole ? n : c->len;
    r.body = calloc(1, r.len + 1);
    memcpy(r.body, c->in, r.len);
    rawclient_drop(c, r.len);
    return r;
}

static inline struct rawclient_reply rawclient_reply(struct rawclient *c)
{
    return rawclient_reply_to(c, false);
}

static inline void rawclient_free(struct rawclient_reply *r)
{
    free(r->body);
    r->body = NULL;
}

/* Has the server ended the connection? */
static inline bool rawclient_ended(struct rawclient *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* Does it, within `ms`, without another byte? */
static inline bool rawclient_ends(struct rawclient *c, int ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return c->len == 0 && poll(&p, 1, ms) > 0 && rawclient_ended(c);
}

/* One request on a connection of its own; the caller frees the reply. */
static inline struct rawclient_reply rawclient_ask(unsigned port, const char *request)
{
    struct rawclient c = rawclient_open(port);
    rawclient_say(&c, request);
    struct rawclient_reply r = rawclient_reply(&c);
    rawclient_close(&c);
    return r;
}

#endif

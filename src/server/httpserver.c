/* server/httpserver.c: see httpserver.h.
 *
 * MHD's threads call httpserver_on_request for every part of a request, and again after each wake.
 * A source with nothing to say suspends its connection; MHD then neither reads it nor sees it end,
 * so a thread of ours looks after those connections, and after the ones that take too long to ask.
 * A request that was deferred is handled by a worker; its connection is suspended meanwhile, too.
 */
#include "server/httpserver.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/progress.h"
#include "server/apierror.h"
#include "server/exchange_data.h"

enum { HTTPSERVER_LOOK_MS = 250, HTTPSERVER_BLOCK = 16 << 10 };
static const double httpserver_patience_s = 0.4; /* with a reader that has gone and does not notice */

struct httpserver_peer { /* a connection */
    struct httpserver_peer *next, **link;
    int fd;
    double since;    /* waits for a request since; 0: one is being answered */
    bool body, shut; /* its headers are there */
};

struct httpserver {
    struct MHD_Daemon *daemon;
    struct httpserver_options is;
    char *cert, *key;
    struct worker *worker;
    pthread_t watcher;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* somebody came, or it is time to stop */
    struct exchange *waiting; /* with a source */
    struct httpserver_peer *peers;
    size_t n_peers, bodies; /* bytes of bodies */
    bool stopping;
};

/* ---- Exchanges. ---- */

static void httpserver_close_source(struct exchange *x)
{
    if (x->has_source && !x->closed) {
        x->closed = true;
        x->source.close(x->source.user);
    }
}

static void httpserver_forget(struct exchange *x)
{
    pthread_mutex_lock(&x->server->lock);
    x->server->bodies -= x->counted;
    if (x->link) {
        *x->link = x->next;
        if (x->next) {
            x->next->link = x->link;
        }
    }
    pthread_mutex_unlock(&x->server->lock);
    httpserver_close_source(x);
    for (struct exchange_field *f = x->fields, *next; f; f = next) {
        next = f->next;
        mem_free(f->name);
        mem_free(f);
    }
    if (x->response) {
        MHD_destroy_response(x->response);
    }
    mem_free(x->caller);
    strbuf_deinit(&x->body);
    strbuf_deinit(&x->out);
    pthread_mutex_destroy(&x->lock);
    mem_free(x->path);
    mem_free(x);
}

static struct exchange *httpserver_exchange(struct httpserver *s, struct MHD_Connection *c,
                                            const char *method, const char *path)
{
    struct exchange *x = mem_calloc(1, sizeof *x);
    char *copy = mem_dup(path, strlen(path));
    if (!x || !copy) {
        mem_free(x);
        mem_free(copy);
        return NULL;
    }
    x->server = s;
    x->connection = c;
    x->method = method;
    x->path = copy;
    pthread_mutex_init(&x->lock, NULL);
    return x;
}

/* What the connection of an exchange does: for the watcher. */
static struct httpserver_peer *httpserver_peer_of(const struct exchange *x)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i ? i->socket_context : NULL;
}

static void httpserver_phase(const struct exchange *x, double since, bool body)
{
    struct httpserver_peer *p = httpserver_peer_of(x);
    if (p) {
        pthread_mutex_lock(&x->server->lock);
        p->since = since;
        p->body = body;
        pthread_mutex_unlock(&x->server->lock);
    }
}

/* ---- Sources. ---- */

/* Enough to go on with: once the head has gone any bytes; before it, a document must be whole. */
static bool httpserver_enough(const struct exchange *x)
{
    return x->ended || (x->taken < x->out.len && (x->streaming || !x->source.whole));
}

static void httpserver_sent(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->last = progress_clock();
    pthread_mutex_unlock(&x->lock);
}

/* Nothing has come for a while. False: it is not time yet. */
static bool httpserver_overdue(struct exchange *x)
{
    double now = progress_clock(), keepalive = x->server->is.deadlines.keepalive;
    pthread_mutex_lock(&x->lock);
    bool ask = x->ask;
    x->ask = false;
    pthread_mutex_unlock(&x->lock);
    if (!x->streaming) {
        return ask || now - x->since >= keepalive;
    }
    if (!ask && now - x->last < keepalive) {
        return false;
    }
    httpserver_sent(x);
    x->ended = strbuf_puts(&x->out, x->source.keepalive) != ERR_OK;
    return true;
}

/* Makes x->out hold enough. False: there is nothing yet, and the connection was suspended. */
static bool httpserver_pull(struct exchange *x)
{
    while (!httpserver_enough(x)) {
        pthread_mutex_lock(&x->lock);
        x->woken = false;
        x->cut = x->gone > 0;
        pthread_mutex_unlock(&x->lock);
        size_t before = x->out.len;
        x->ended = x->cut || x->source.pull(x->source.user, x, &x->out) == EXCHANGE_END;
        if (x->out.len > before) {
            httpserver_sent(x);
            continue;
        }
        if (x->ended || httpserver_overdue(x)) {
            break;
        }
        pthread_mutex_lock(&x->lock);
        bool wait = !x->woken && x->gone == 0;
        if (wait) {
            x->suspended = true;
            MHD_suspend_connection(x->connection);
        }
        pthread_mutex_unlock(&x->lock);
        if (wait) {
            return false;
        }
    }
    return true;
}

static ssize_t httpserver_on_read(void *user, uint64_t pos, char *buffer, size_t max)
{
    struct exchange *x = user;
    (void)pos;
    if (!httpserver_pull(x)) {
        return 0;
    }
    size_t n = x->out.len - x->taken < max ? x->out.len - x->taken : max;
    if (n == 0) {
        return x->cut ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    }
    memcpy(buffer, x->out.data + x->taken, n);
    x->taken += n;
    if (x->taken == x->out.len) {
        strbuf_clear(&x->out);
        x->taken = 0;
    }
    return (ssize_t)n;
}

static void httpserver_watch(struct exchange *x)
{
    struct httpserver *s = x->server;
    x->since = x->last = progress_clock();
    x->watched = true;
    pthread_mutex_lock(&s->lock);
    x->gone = s->stopping ? x->since : 0;
    x->next = s->waiting;
    x->link = &s->waiting;
    if (x->next) {
        x->next->link = &x->next;
    }
    s->waiting = x;
    pthread_mutex_unlock(&s->lock);
}

/* ---- Requests. ---- */

static enum MHD_Result httpserver_queue(struct exchange *x, struct MHD_Response *r)
{
    for (struct exchange_field *f = x->fields; f; f = f->next) {
        if (MHD_add_response_header(r, f->name, f->value) != MHD_YES) {
            x->broken = true;
        }
    }
    return MHD_queue_response(x->connection, x->broken ? MHD_HTTP_INTERNAL_SERVER_ERROR : x->status,
                              r);
}

static enum MHD_Result httpserver_send_whole(struct exchange *x)
{
    const char *type = x->source.type;
    httpserver_close_source(x);
    exchange_reply(x, x->status, type, &x->out);
    return x->response ? httpserver_queue(x, x->response) : MHD_NO;
}

static enum MHD_Result httpserver_send_stream(struct exchange *x)
{
    x->streaming = true;
    exchange_add_header(x, MHD_HTTP_HEADER_CONTENT_TYPE, x->source.type);
    x->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HTTPSERVER_BLOCK,
                                                    httpserver_on_read, x, NULL);
    return x->response ? httpserver_queue(x, x->response) : MHD_NO;
}

/* Sends what the handler gave, or as soon as the source has given it. */
static enum MHD_Result httpserver_send(struct exchange *x)
{
    if (!x->has_source) {
        return x->response ? httpserver_queue(x, x->response) : MHD_NO;
    }
    if (!httpserver_pull(x)) {
        return MHD_YES; /* called again after the wake */
    }
    if (x->cut) { /* a half must not look like a whole */
        strbuf_clear(&x->out);
        exchange_fail(x, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
        return httpserver_send_whole(x);
    }
    return x->ended ? httpserver_send_whole(x) : httpserver_send_stream(x);
}

/* The message has nothing in it that JSON would escape. */
static void httpserver_refuse(struct exchange *x, unsigned status, const char *code, const char *message)
{
    struct strbuf body = {0};
    err e = strbuf_printf(&body,
                          "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}",
                          message, apierror_type(status), code);
    (void)e; /* an empty one then */
    exchange_reply(x, status, "application/json", &body);
}

static void httpserver_over(struct exchange *x, unsigned status, const char *code, const char *what,
                            size_t limit)
{
    char message[160];
    snprintf(message, sizeof message, "%s over this server's limit of %zu bytes", what, limit);
    httpserver_refuse(x, status, code, message);
}

static void httpserver_too_large(struct exchange *x)
{
    httpserver_over(x, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", "the request's body is",
                    x->server->is.body_max);
}

static void httpserver_too_many(struct exchange *x)
{
    exchange_add_header(x, MHD_HTTP_HEADER_RETRY_AFTER, "5");
    httpserver_over(x, MHD_HTTP_SERVICE_UNAVAILABLE, "too_many", "the bodies of all requests are",
                    x->server->is.bodies_max);
}

/* Counts further bytes of a body, or (`n` 0) none of it any more. False: all bodies are too much together. */
static bool httpserver_count(struct exchange *x, size_t n)
{
    struct httpserver *s = x->server;
    pthread_mutex_lock(&s->lock);
    bool fits = n <= s->is.bodies_max - s->bodies;
    size_t counted = n > 0 ? x->counted + (fits ? n : 0) : 0;
    s->bodies += counted - x->counted;
    x->counted = counted;
    pthread_mutex_unlock(&s->lock);
    return fits;
}

static err httpserver_take_body(struct exchange *x, const char *data, size_t n)
{
    if (x->replied) {
        return ERR_OK;
    }
    if (n > x->server->is.body_max - x->body.len) {
        httpserver_too_large(x);
    } else if (!httpserver_count(x, n)) {
        httpserver_too_many(x);
    } else {
        return strbuf_append(&x->body, data, n);
    }
    strbuf_deinit(&x->body); /* what is refused is not kept */
    httpserver_count(x, 0);
    return ERR_OK;
}

static enum MHD_Result httpserver_on_header(void *user, enum MHD_ValueKind kind, const char *name,
                                            const char *value)
{
    bool *good = user;
    (void)kind;
    *good = *good && *name && !strpbrk(name, " \t\"(),/:;<=>?@[\\]{}") && (!value || !strpbrk(value, "\r\n"));
    return MHD_YES;
}

/* Is it clear where the body ends? What a proxy in front reads differently than we do is an attack, as is a
 * header of a name that is none ("Content-Length :"), which MHD lets pass, or chunks in HTTP/1.0. */
static bool httpserver_framed(const struct exchange *x, const char *version)
{
    const char *coding = exchange_header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    bool good = true;
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, httpserver_on_header, &good);
    return good &&
           exchange_header_count(x, MHD_HTTP_HEADER_CONTENT_LENGTH) +
                   exchange_header_count(x, MHD_HTTP_HEADER_TRANSFER_ENCODING) <= 1 &&
           (!coding || (strcasecmp(coding, "chunked") == 0 && strcmp(version, MHD_HTTP_VERSION_1_0) != 0));
}

/* What is no good in a request whose headers have come; it is refused then. */
static bool httpserver_wrong(struct exchange *x, const char *version, bool odd)
{
    const char *expect = exchange_header(x, MHD_HTTP_HEADER_EXPECT);
    if (!httpserver_framed(x, version)) {
        httpserver_refuse(x, MHD_HTTP_BAD_REQUEST, "bad_framing",
                          "it is not clear where this request ends: one Content-Length, or chunks in HTTP/1.1");
    } else if (odd) {
        httpserver_refuse(x, MHD_HTTP_BAD_REQUEST, "bad_path",
                          "a path with %00 or %2F in it is none of this server");
    } else if (expect && strcasecmp(expect, "100-continue") != 0) {
        httpserver_refuse(x, MHD_HTTP_EXPECTATION_FAILED, "expectation_failed",
                          "this server meets no expectation but 100-continue");
    }
    return x->replied;
}

static enum MHD_Result httpserver_first(struct exchange *x, const char *version, bool odd)
{
    const char *length = exchange_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    bool wrong = httpserver_wrong(x, version, odd);
    httpserver_phase(x, progress_clock(), true);
    if (wrong) {
        exchange_add_header(x, MHD_HTTP_HEADER_CONNECTION, "close");
    } else if (length && strtoull(length, NULL, 10) > x->server->is.body_max) {
        httpserver_too_large(x);
    } else {
        x->server->is.handle(x->server->is.user, x, false);
    }
    /* A reply that is sent now ends the connection: what follows is a body that nobody reads, or might be
     * taken for a request. Without a body it goes on when MHD calls again. */
    bool body = exchange_header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING) || (length && strcmp(length, "0") != 0);
    return x->replied && (body || wrong) ? httpserver_send(x) : MHD_YES;
}

/* On a worker. */
static void httpserver_work(void *user)
{
    struct exchange *x = user;
    struct httpserver *s = x->server;
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    if (stopping) {
        exchange_reply(x, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, NULL);
    } else {
        s->is.handle(s->is.user, x, true);
    }
    MHD_resume_connection(x->connection);
}

/* MHD calls again when it has been done. */
static enum MHD_Result httpserver_hand_over(struct exchange *x)
{
    x->job.heavy = x->job.heavy || x->body.len > EXCHANGE_LIGHT;
    x->job.work = httpserver_work;
    x->job.user = x;
    MHD_suspend_connection(x->connection);
    if (!worker_give(x->server->worker, &x->job)) {
        httpserver_work(x); /* to say that it is too late */
    }
    return MHD_YES;
}

/* The state of a request, before it has any, whose path MHD would decode to another one than it seems to be. */
static const char httpserver_odd;

static void *httpserver_on_uri(void *user, const char *uri, struct MHD_Connection *c)
{
    (void)user;
    (void)c;
    for (const char *p = uri; *p && *p != '?'; p++) {
        if (strncmp(p, "%00", 3) == 0 || strncasecmp(p, "%2f", 3) == 0) {
            return (void *)&httpserver_odd;
        }
    }
    return NULL;
}

static enum MHD_Result httpserver_on_request(void *user, struct MHD_Connection *c, const char *path,
                                             const char *method, const char *version,
                                             const char *data, size_t *n, void **state)
{
    struct httpserver *s = user;
    struct exchange *x = *state;
    if (!x || *state == &httpserver_odd) {
        bool odd = x;
        *state = x = httpserver_exchange(s, c, method, path);
        return x ? httpserver_first(x, version, odd) : MHD_NO;
    }
    if (*n > 0) {
        err e = httpserver_take_body(x, data, *n);
        *n = 0;
        return e == ERR_OK ? MHD_YES : MHD_NO;
    }
    httpserver_phase(x, 0, false);
    if (!x->replied && x->deferred) {
        return httpserver_hand_over(x);
    }
    if (!x->replied) {
        s->is.handle(s->is.user, x, true);
    }
    if (x->has_source && !x->watched) {
        httpserver_watch(x);
    }
    return httpserver_send(x);
}

static void httpserver_on_completed(void *user, struct MHD_Connection *c, void **state,
                                    enum MHD_RequestTerminationCode why)
{
    struct exchange *x = *state;
    (void)user;
    (void)c;
    (void)why;
    if (x && *state != &httpserver_odd) {
        httpserver_phase(x, progress_clock(), false);
        httpserver_forget(x);
        *state = NULL;
    }
}

/* ---- Connections. ---- */

/* With the lock, when somebody comes: nearly full, the one goes that has said nothing for longest. */
static void httpserver_make_room(struct httpserver *s)
{
    struct httpserver_peer *oldest = NULL;
    if (s->n_peers <= s->is.connections - s->is.connections / 8) {
        return;
    }
    for (struct httpserver_peer *p = s->peers; p; p = p->next) {
        if (p->since > 0 && !p->body && !p->shut && (!oldest || p->since < oldest->since)) {
            oldest = p;
        }
    }
    if (oldest) {
        oldest->shut = true;
        shutdown(oldest->fd, SHUT_RDWR);
    }
}

static void httpserver_on_connection(void *user, struct MHD_Connection *c, void **context,
                                     enum MHD_ConnectionNotificationCode what)
{
    struct httpserver *s = user;
    struct httpserver_peer *p = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *i =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        p = i ? mem_calloc(1, sizeof *p) : NULL;
        if (p) { /* without: no deadline, but MHD's own for idle ones */
            p->fd = i->connect_fd;
            p->since = progress_clock();
            pthread_mutex_lock(&s->lock);
            p->next = s->peers;
            p->link = &s->peers;
            if (p->next) {
                p->next->link = &p->next;
            }
            s->peers = p;
            s->n_peers++;
            httpserver_make_room(s);
            pthread_cond_signal(&s->changed);
            pthread_mutex_unlock(&s->lock);
        }
        *context = p;
    } else if (p) {
        pthread_mutex_lock(&s->lock);
        *p->link = p->next;
        if (p->next) {
            p->next->link = p->link;
        }
        s->n_peers--;
        pthread_mutex_unlock(&s->lock);
        mem_free(p);
        *context = NULL;
    }
}

/* With the lock. Has the client closed its end, or does it take too long? */
static void httpserver_look_at_peers(struct httpserver *s)
{
    double now = progress_clock();
    for (struct httpserver_peer *p = s->peers; p; p = p->next) {
        if (p->since > 0 && !p->shut &&
            now - p->since > (p->body ? s->is.deadlines.body : s->is.deadlines.headers)) {
            p->shut = true;
            shutdown(p->fd, SHUT_RDWR);
        }
    }
}

/* With the lock. */
static void httpserver_look_at_source(struct httpserver *s, struct exchange *x, double now)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = {.fd = i ? i->connect_fd : -1, .events = POLLRDHUP};
    bool gone = poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
    pthread_mutex_lock(&x->lock);
    if (x->gone == 0 && (gone || s->stopping)) {
        x->gone = now;
    } else if (x->gone > 0 && now - x->gone > httpserver_patience_s) {
        shutdown(p.fd, SHUT_RDWR); /* MHD waits for it to take what is ready, and it never will */
    }
    x->ask = x->ask || ((p.revents & POLLRDHUP) && !x->silent);
    x->silent = x->silent || (p.revents & POLLRDHUP);
    bool due = x->suspended && (x->gone > 0 || x->ask || now - x->last >= s->is.deadlines.keepalive);
    pthread_mutex_unlock(&x->lock);
    if (due) {
        exchange_wake(x);
    }
}

static void httpserver_sleep(struct httpserver *s)
{
    struct timespec until;
    if (!s->stopping && !s->peers && !s->waiting) {
        pthread_cond_wait(&s->changed, &s->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += HTTPSERVER_LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&s->changed, &s->lock, &until);
}

static void *httpserver_watcher(void *user)
{
    struct httpserver *s = user;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping || s->waiting) {
        httpserver_sleep(s);
        httpserver_look_at_peers(s);
        double now = progress_clock();
        for (struct exchange *x = s->waiting; x; x = x->next) {
            httpserver_look_at_source(s, x, now);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- Beginning and end. ---- */

static err httpserver_daemon(struct httpserver *s, struct errinfo *info)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, s->cert},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, s->key},
                                   {MHD_OPTION_END, 0, NULL}};
    if (s->cert) {
        flags |= MHD_USE_TLS;
    } else {
        tls[0] = tls[2];
    }
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, httpserver_on_request, s, MHD_OPTION_LISTEN_SOCKET, s->is.listener,
        MHD_OPTION_NOTIFY_COMPLETED, httpserver_on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
        httpserver_on_connection, s, MHD_OPTION_URI_LOG_CALLBACK, httpserver_on_uri, NULL,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTPSERVER_THREADS,
        MHD_OPTION_CONNECTION_LIMIT, s->is.connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->is.per_address, MHD_OPTION_CONNECTION_TIMEOUT,
        s->is.deadlines.idle, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTPSERVER_HEADERS_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    if (!s->daemon) {
        return err_set(
            info, s->cert ? ERR_ARGUMENT : ERR_IO,
            s->cert
                ? "the HTTP server did not start: are certificate and key PEM files that belong "
                  "together?"
                : "the HTTP server did not start: the system refused threads or memory");
    }
    return ERR_OK;
}

static void httpserver_free(struct httpserver *s)
{
    worker_free(s->worker);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->cert);
    mem_free(s->key);
    mem_free(s);
}

static err httpserver_make(const struct httpserver_options *options, struct httpserver **out,
                           struct errinfo *info)
{
    struct httpserver *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return err_set(info, ERR_NOMEM, "out of memory for the HTTP server");
    }
    s->is = *options;
    s->is.body_max = options->body_max ? options->body_max : HTTPSERVER_BODY_MAX;
    s->is.bodies_max = options->bodies_max ? options->bodies_max : HTTPSERVER_BODIES_MAX;
    s->is.connections = options->connections ? options->connections : HTTPSERVER_CONNECTIONS;
    struct httpserver_deadlines *d = &s->is.deadlines;
    d->headers = d->headers > 0 ? d->headers : HTTPSERVER_HEADERS_S;
    d->body = d->body > 0 ? d->body : HTTPSERVER_BODY_S;
    d->keepalive = d->keepalive > 0 ? d->keepalive : EXCHANGE_KEEPALIVE_S;
    d->idle = d->idle ? d->idle : HTTPSERVER_IDLE_S;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &clock);
    pthread_condattr_destroy(&clock);
    if (options->tls_cert) {
        s->cert = mem_dup(options->tls_cert, strlen(options->tls_cert));
        s->key = mem_dup(options->tls_key, strlen(options->tls_key));
    }
    err e = options->tls_cert && (!s->cert || !s->key)
                ? err_set(info, ERR_NOMEM, "out of memory for the HTTP server")
                : worker_start(&s->worker, info);
    e = e == ERR_OK ? httpserver_daemon(s, info) : e;
    if (e == ERR_OK && pthread_create(&s->watcher, NULL, httpserver_watcher, s) != 0) {
        MHD_stop_daemon(s->daemon);
        e = err_set(info, ERR_IO, "the system refused a thread for the HTTP server");
    }
    if (e != ERR_OK) {
        if (s->worker) {
            worker_stop(s->worker);
        }
        httpserver_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

err httpserver_start(const struct httpserver_options *options, struct httpserver **out,
                     struct errinfo *info)
{
    err e = httpserver_make(options, out, info);
    if (e != ERR_OK) {
        close(options->listener);
    }
    return e;
}

void httpserver_stop(struct httpserver *s)
{
    if (!s) {
        return;
    }
    MHD_socket listener = MHD_quiesce_daemon(s->daemon); /* nobody new */
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    worker_stop(s->worker); /* finishes what it is at; what waits is refused */
    pthread_join(s->watcher, NULL); /* returns when no source is left */
    MHD_stop_daemon(s->daemon);
    if (listener != MHD_INVALID_SOCKET) {
        close(listener);
    }
    httpserver_free(s);
}

size_t httpserver_connections(const struct httpserver *s)
{
    const union MHD_DaemonInfo *i =
        MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return i ? i->num_connections : 0;
}

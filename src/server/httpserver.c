/* server/httpserver.c: see httpserver.h.
 *
 * MHD's threads call httpserver_on_request for every part of a request, and again after each wake.
 * A source with nothing to say suspends its connection; MHD then neither reads it nor sees it end,
 * so a thread of ours looks after those connections, and after the ones that take too long to ask.
 * A request that was deferred is handled by a worker; its connection is suspended meanwhile, too.
 */
#include "server/httpserver.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/clientlist.h"
#include "server/exchange_data.h"
#include "server/replyroom.h"
#include "server/replystream.h"
#include "server/requestbody.h"
#include "server/requesthead.h"
#include "server/tlsport.h"

enum {
    HTTPSERVER_LOOK_MS = 250,
    /* Of a connection, for MHD: the longest head, what is kept beside it, the reply's head. What does not fit
     * MHD refuses without our words. */
    HTTPSERVER_MEMORY = 2 * REQUESTHEAD_MAX,
};

struct httpserver_connection {
    struct client client;
    struct tlsport port;
};

struct httpserver {
    struct MHD_Daemon *daemon;
    struct httpserver_options is;
    char *cert, *key;
    struct worker *worker;
    pthread_t watcher;
    struct clientlist clients;
    struct requestbody_limits bodies;
    struct replyroom replies;
    struct replystream_list streams;
    atomic_bool stopping; /* what waits for a worker is refused */
};

/* ---- Replies. ---- */

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
    replystream_close_source(x);
    exchange_reply(x, x->status, type, &x->out);
    return x->response ? httpserver_queue(x, x->response) : MHD_NO;
}

static enum MHD_Result httpserver_send_stream(struct exchange *x)
{
    exchange_add_header(x, MHD_HTTP_HEADER_CONTENT_TYPE, x->source.type);
    x->response = replystream_response(x);
    return x->response ? httpserver_queue(x, x->response) : MHD_NO;
}

static enum MHD_Result httpserver_send_head(struct exchange *x)
{
    replystream_close_source(x);
    exchange_add_header(x, MHD_HTTP_HEADER_CONTENT_TYPE, x->source.type);
    exchange_add_header(x, MHD_HTTP_HEADER_CONNECTION, "close");
    x->response = replystream_head();
    return x->response ? httpserver_queue(x, x->response) : MHD_NO;
}

/* Sends what the handler gave, or as soon as the source has given it. */
static enum MHD_Result httpserver_send(struct exchange *x)
{
    if (!x->has_source) {
        return x->response ? httpserver_queue(x, x->response) : MHD_NO;
    }
    if (!replystream_pull(x)) {
        return MHD_YES; /* called again after the wake */
    }
    if (x->cut) { /* a half must not look like a whole */
        strbuf_clear(&x->out);
        exchange_fail(x, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
        return httpserver_send_whole(x);
    }
    return x->ended ? httpserver_send_whole(x) : httpserver_send_stream(x);
}

/* ---- Requests. ---- */

static void httpserver_phase(const struct exchange *x, enum clientlist_phase phase)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct httpserver_connection *c = i ? i->socket_context : NULL;
    if (c) {
        clientlist_set(&x->server->clients, &c->client, phase);
    }
}

static void *httpserver_on_target(void *user, const char *target, struct MHD_Connection *c)
{
    struct httpserver *s = user;
    struct exchange *x = exchange_new(s, &s->replies, c);
    if (x) {
        requesthead_target(x, target);
    }
    return x;
}

static enum MHD_Result httpserver_first(struct exchange *x, const char *target, const char *version)
{
    struct httpserver *s = x->server;
    bool wrong = requesthead_refused(x, target, version);
    httpserver_phase(x, CLIENTLIST_SENDING);
    if (wrong || exchange_header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
        /* MHD takes chunks whose lines end in LF alone, where a proxy may see other chunks; so that nothing
         * behind them is taken for a request, they are the last of their connection. */
        exchange_add_header(x, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    if (!wrong) {
        s->is.handle(s->is.user, x, false);
    }
    bool refused = x->replied || requestbody_announces_too_much(&s->bodies, x);
    /* A reply that is sent now ends the connection: what follows is a body that nobody reads, or might be
     * taken for a request. Without a body it goes on when MHD calls again. */
    return refused && (wrong || requesthead_has_body(x)) ? httpserver_send(x) : MHD_YES;
}

/* On a worker. */
static void httpserver_work(void *user)
{
    struct exchange *x = user;
    struct httpserver *s = x->server;
    if (s->stopping) {
        exchange_reply(x, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, NULL);
    } else {
        x->deferred = false;
        if (replyroom_admits(x)) {
            s->is.handle(s->is.user, x, true);
        }
    }
    if (x->deferred && !x->replied) {
        if (worker_give(s->worker, &x->job)) {
            return;
        }
        exchange_reply(x, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, NULL);
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

static enum MHD_Result httpserver_whole(struct exchange *x)
{
    struct httpserver *s = x->server;
    httpserver_phase(x, CLIENTLIST_ANSWERED);
    if (!x->replied && x->deferred) {
        return httpserver_hand_over(x);
    }
    if (!x->replied) {
        s->is.handle(s->is.user, x, true);
    }
    if (x->has_source && strcmp(x->method, MHD_HTTP_METHOD_HEAD) == 0) {
        return httpserver_send_head(x);
    }
    if (x->has_source && !x->among) {
        replystream_watch(&s->streams, x);
    }
    return httpserver_send(x);
}

static enum MHD_Result httpserver_on_request(void *user, struct MHD_Connection *c, const char *path,
                                             const char *method, const char *version,
                                             const char *data, size_t *n, void **state)
{
    struct httpserver *s = user;
    struct exchange *x = *state;
    (void)c;
    if (!x) {
        return MHD_NO; /* there was no memory for it */
    }
    if (!x->method) {
        return exchange_begin(x, method, path) ? httpserver_first(x, path, version) : MHD_NO;
    }
    if (*n > 0) {
        err e = requestbody_take(&s->bodies, x, data, *n);
        *n = 0;
        return e == ERR_OK ? MHD_YES : MHD_NO;
    }
    return httpserver_whole(x);
}

static void httpserver_on_completed(void *user, struct MHD_Connection *c, void **state,
                                    enum MHD_RequestTerminationCode why)
{
    struct httpserver *s = user;
    struct exchange *x = *state;
    (void)c;
    (void)why;
    if (x) {
        httpserver_phase(x, CLIENTLIST_SILENT);
        requestbody_drop(&s->bodies, x);
        replystream_forget(&s->streams, x);
        replyroom_set(x, 0);
        exchange_free(x);
        *state = NULL;
    }
}

/* ---- Connections. ---- */

static struct httpserver_connection *httpserver_connected(struct httpserver *s, struct MHD_Connection *c)
{
    int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const union MHD_ConnectionInfo *tls = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    struct httpserver_connection *n = mem_calloc(1, sizeof *n);
    if (!n) { /* nobody would look after it */
        shutdown(fd, SHUT_RDWR);
        return NULL;
    }
    clientlist_add(&s->clients, &n->client, fd);
    if (tls && tls->tls_session) {
        tlsport_listen(&n->port, tls->tls_session, fd);
    }
    return n;
}

static void httpserver_on_connection(void *user, struct MHD_Connection *c, void **context,
                                     enum MHD_ConnectionNotificationCode what)
{
    struct httpserver *s = user;
    struct httpserver_connection *n = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = httpserver_connected(s, c);
    } else if (n) {
        clientlist_remove(&s->clients, &n->client);
        mem_free(n);
        *context = NULL;
    }
}

static void *httpserver_watcher(void *user)
{
    struct httpserver *s = user;
    bool on;
    do {
        on = clientlist_wait(&s->clients, HTTPSERVER_LOOK_MS);
        clientlist_look(&s->clients);
        replystream_look(&s->streams);
    } while (on || replystream_any(&s->streams));
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
        httpserver_on_connection, s, MHD_OPTION_URI_LOG_CALLBACK, httpserver_on_target, s,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTPSERVER_THREADS,
        MHD_OPTION_CONNECTION_LIMIT, s->is.connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->is.per_address, MHD_OPTION_CONNECTION_TIMEOUT,
        s->is.deadlines.idle, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTPSERVER_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls,
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
    clientlist_deinit(&s->clients);
    requestbody_limits_deinit(&s->bodies);
    replyroom_deinit(&s->replies);
    replystream_list_deinit(&s->streams);
    mem_free(s->cert);
    mem_free(s->key);
    mem_free(s);
}

static void httpserver_init(struct httpserver *s, const struct httpserver_options *options)
{
    s->is = *options;
    s->is.connections = options->connections ? options->connections : HTTPSERVER_CONNECTIONS;
    struct httpserver_deadlines *d = &s->is.deadlines;
    d->idle = d->idle ? d->idle : HTTPSERVER_IDLE_S;
    clientlist_init(&s->clients, s->is.connections, d->headers > 0 ? d->headers : HTTPSERVER_HEADERS_S,
                    d->body > 0 ? d->body : HTTPSERVER_BODY_S);
    requestbody_limits_init(&s->bodies, options->body_max ? options->body_max : HTTPSERVER_BODY_MAX,
                            options->bodies_max ? options->bodies_max : HTTPSERVER_BODIES_MAX);
    replyroom_init(&s->replies, options->replies_each ? options->replies_each : HTTPSERVER_REPLIES_EACH,
                   options->replies_max ? options->replies_max : HTTPSERVER_REPLIES_MAX);
    replystream_list_init(&s->streams, d->keepalive > 0 ? d->keepalive : EXCHANGE_KEEPALIVE_S);
}

static err httpserver_make(const struct httpserver_options *options, struct httpserver **out,
                           struct errinfo *info)
{
    struct httpserver *s = mem_calloc(1, sizeof *s);
    if (!s) {
        return err_set(info, ERR_NOMEM, "out of memory for the HTTP server");
    }
    httpserver_init(s, options);
    if (options->tls_cert) {
        s->cert = mem_dup(options->tls_cert, strlen(options->tls_cert));
        s->key = mem_dup(options->tls_key, strlen(options->tls_key));
    }
    static const struct worker_limits limits = {.threads = 4, .heavy = 2, .owner_heavy = 1, .owner_light = 2};
    err e = options->tls_cert && (!s->cert || !s->key)
                ? err_set(info, ERR_NOMEM, "out of memory for the HTTP server")
                : worker_start(&limits, &s->worker, info);
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
    s->stopping = true;
    replystream_stop(&s->streams);
    clientlist_stop(&s->clients);
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

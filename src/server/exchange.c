/* server/exchange.c: see exchange.h. */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/progress.h"
#include "server/exchange_data.h"
#include "server/replyroom.h"

struct exchange *exchange_new(struct httpserver *server, struct replyroom *room,
                              struct MHD_Connection *connection)
{
    struct exchange *x = mem_calloc(1, sizeof *x);
    if (x) {
        x->server = server;
        x->room = room;
        x->connection = connection;
        pthread_mutex_init(&x->lock, NULL);
    }
    return x;
}

void exchange_free(struct exchange *x)
{
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

/* ---- The request. ---- */

bool exchange_begin(struct exchange *x, const char *method, const char *path)
{
    x->method = method;
    x->path = mem_dup(path, strlen(path));
    return x->path;
}

const char *exchange_method(const struct exchange *x)
{
    return x->method;
}

const char *exchange_path(const struct exchange *x)
{
    return x->path;
}

const char *exchange_query(const struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *exchange_header(const struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *exchange_cookie(const struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_COOKIE_KIND, name);
}

struct exchange_tally {
    const char *name;
    size_t n;
};

static enum MHD_Result exchange_on_header(void *user, enum MHD_ValueKind kind, const char *name,
                                          const char *value)
{
    struct exchange_tally *t = user;
    (void)kind;
    (void)value;
    t->n += strcasecmp(name, t->name) == 0;
    return MHD_YES;
}

size_t exchange_header_count(const struct exchange *x, const char *name)
{
    struct exchange_tally t = {name, 0};
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, exchange_on_header, &t);
    return t.n;
}

const char *exchange_body(const struct exchange *x, size_t *len)
{
    *len = x->body.len;
    return x->body.data ? x->body.data : "";
}

void exchange_take_body(struct exchange *x, struct strbuf *out)
{
    *out = x->body;
    x->body = (struct strbuf){0};
}

void exchange_defer(struct exchange *x, const char *owner, bool heavy)
{
    x->job.owner = owner;
    x->job.heavy = heavy;
    x->deferred = true;
}

void exchange_allow_body(struct exchange *x, size_t most)
{
    x->body_max = most;
}

bool exchange_heavy(const struct exchange *x)
{
    return x->job.heavy;
}

/* ---- The reply. ---- */

void exchange_add_header(struct exchange *x, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);
    struct exchange_field *f = mem_alloc(sizeof *f);
    char *text = mem_alloc(n + v + 2);
    if (!f || !text || strpbrk(value, "\r\n")) {
        mem_free(f);
        mem_free(text);
        x->broken = true;
        return;
    }
    memcpy(text, name, n + 1);
    memcpy(text + n + 1, value, v + 1);
    *f = (struct exchange_field){.next = x->fields, .name = text, .value = text + n + 1};
    x->fields = f;
}

static void exchange_set_response(struct exchange *x, unsigned status, const char *type,
                                  struct MHD_Response *response)
{
    if (x->response) {
        MHD_destroy_response(x->response);
    }
    x->response = response;
    x->status = status;
    x->replied = true;
    if (type) {
        exchange_add_header(x, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    }
}

void exchange_reply(struct exchange *x, unsigned status, const char *type, struct strbuf *body)
{
    char *bytes = NULL;
    size_t len = body ? body->len : 0;
    if (body && strbuf_take(body, &bytes) != ERR_OK) {
        len = 0;
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    struct MHD_Response *r =
        MHD_create_response_from_buffer_with_free_callback(len, bytes, mem_free);
    if (!r) {
        mem_free(bytes);
    }
    replyroom_set(x, r ? len : 0);
    exchange_set_response(x, status, type, r);
}

void exchange_reply_static(struct exchange *x, unsigned status, const char *type, const void *body,
                           size_t len)
{
    exchange_set_response(
        x, status, type,
        MHD_create_response_from_buffer(len, (void *)body, MHD_RESPMEM_PERSISTENT));
}

void exchange_stream(struct exchange *x, const struct exchange_source *source)
{
    x->source = *source;
    x->has_source = true;
    x->status = MHD_HTTP_OK;
    x->replied = true;
}

bool exchange_fail(struct exchange *x, unsigned status, const char *type)
{
    if (!x->streaming) {
        x->status = status;
        x->source.type = type;
    }
    return !x->streaming;
}

void exchange_wake(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->woken = true;
    if (x->suspended) {
        x->suspended = false;
        MHD_resume_connection(x->connection);
    }
    pthread_mutex_unlock(&x->lock);
}

void exchange_cut(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->gone = x->gone > 0 ? x->gone : progress_clock();
    pthread_mutex_unlock(&x->lock);
    exchange_wake(x);
}

/* ---- Who asks. ---- */

const struct caller *exchange_caller(const struct exchange *x)
{
    return x->caller;
}

void exchange_set_caller(struct exchange *x, struct caller *caller)
{
    mem_free(x->caller);
    x->caller = caller;
}

/* server/replystream.c: see replystream.h.
 *
 * MHD neither reads a suspended connection nor sees it end: so those are looked at here.
 */
#include "server/replystream.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/progress.h"
#include "server/exchange_data.h"
#include "server/replyroom.h"

enum { REPLYSTREAM_BLOCK = 16 << 10 };
static const double replystream_patience_s = 0.4; /* with a reader that has gone and does not notice */

void replystream_list_init(struct replystream_list *l, double keepalive)
{
    *l = (struct replystream_list){.keepalive = keepalive};
    pthread_mutex_init(&l->lock, NULL);
}

void replystream_list_deinit(struct replystream_list *l)
{
    pthread_mutex_destroy(&l->lock);
}

void replystream_close_source(struct exchange *x)
{
    if (x->has_source && !x->closed) {
        x->closed = true;
        x->source.close(x->source.user);
    }
}

void replystream_watch(struct replystream_list *l, struct exchange *x)
{
    x->since = x->last = progress_clock();
    x->among = l;
    pthread_mutex_lock(&l->lock);
    x->gone = l->stopping ? x->since : 0;
    x->next = l->first;
    x->link = &l->first;
    if (x->next) {
        x->next->link = &x->next;
    }
    l->first = x;
    pthread_mutex_unlock(&l->lock);
}

void replystream_forget(struct replystream_list *l, struct exchange *x)
{
    pthread_mutex_lock(&l->lock);
    if (x->link) {
        *x->link = x->next;
        if (x->next) {
            x->next->link = x->link;
        }
        x->link = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    replystream_close_source(x);
}

/* ---- What is sent. ---- */

/* Enough to go on with: once the head has gone any bytes; before it, a document must be whole. */
static bool replystream_enough(const struct exchange *x)
{
    return x->ended || (x->taken < x->out.len && (x->streaming || !x->source.whole));
}

static void replystream_sent(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->last = progress_clock();
    pthread_mutex_unlock(&x->lock);
}

/* Nothing has come for a while. False: it is not time yet. */
static bool replystream_overdue(struct exchange *x)
{
    double now = progress_clock(), keepalive = x->among->keepalive;
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
    replystream_sent(x);
    x->ended = strbuf_puts(&x->out, x->source.keepalive) != ERR_OK;
    return true;
}

bool replystream_pull(struct exchange *x)
{
    while (!replystream_enough(x)) {
        pthread_mutex_lock(&x->lock);
        x->woken = false;
        x->cut = x->gone > 0;
        pthread_mutex_unlock(&x->lock);
        size_t before = x->out.len;
        x->ended = x->cut || x->source.pull(x->source.user, x, &x->out) == EXCHANGE_END;
        if (x->out.len > before) {
            replystream_sent(x);
            replyroom_set(x, x->out.len);
            continue;
        }
        if (x->ended || replystream_overdue(x)) {
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

static ssize_t replystream_on_read(void *user, uint64_t pos, char *buffer, size_t max)
{
    struct exchange *x = user;
    (void)pos;
    if (!replystream_pull(x)) {
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
        replyroom_set(x, 0);
        x->taken = 0;
    }
    return (ssize_t)n;
}

static ssize_t replystream_on_nothing(void *user, uint64_t pos, char *buffer, size_t max)
{
    (void)user;
    (void)pos;
    (void)buffer;
    (void)max;
    return MHD_CONTENT_READER_END_OF_STREAM;
}

struct MHD_Response *replystream_head(void)
{
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1, replystream_on_nothing, NULL, NULL);
    if (r && MHD_set_response_options(r, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END) != MHD_YES) {
        MHD_destroy_response(r);
        return NULL;
    }
    return r;
}

struct MHD_Response *replystream_response(struct exchange *x)
{
    x->streaming = true;
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, REPLYSTREAM_BLOCK, replystream_on_read, x,
                                             NULL);
}

/* ---- What is looked at. ---- */

/* With the list's lock. */
static void replystream_look_at(const struct replystream_list *l, struct exchange *x, double now)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = {.fd = i ? i->connect_fd : -1, .events = POLLRDHUP};
    bool gone = poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
    pthread_mutex_lock(&x->lock);
    if (x->gone == 0 && (gone || l->stopping)) {
        x->gone = now;
    } else if (x->gone > 0 && now - x->gone > replystream_patience_s) {
        shutdown(p.fd, SHUT_RDWR); /* MHD waits for it to take what is ready, and it never will */
    }
    x->ask = x->ask || ((p.revents & POLLRDHUP) && !x->silent);
    x->silent = x->silent || (p.revents & POLLRDHUP);
    bool due = x->suspended && (x->gone > 0 || x->ask || now - x->last >= l->keepalive);
    pthread_mutex_unlock(&x->lock);
    if (due) {
        exchange_wake(x);
    }
}

void replystream_look(struct replystream_list *l)
{
    double now = progress_clock();
    pthread_mutex_lock(&l->lock);
    for (struct exchange *x = l->first; x; x = x->next) {
        replystream_look_at(l, x, now);
    }
    pthread_mutex_unlock(&l->lock);
}

bool replystream_any(struct replystream_list *l)
{
    pthread_mutex_lock(&l->lock);
    bool any = l->first;
    pthread_mutex_unlock(&l->lock);
    return any;
}

void replystream_stop(struct replystream_list *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_mutex_unlock(&l->lock);
}

/* server/clientlist.c: see clientlist.h. */
#include "server/clientlist.h"

#include <sys/socket.h>

#include "base/condition.h"
#include "base/progress.h"

void clientlist_init(struct clientlist *l, size_t places, double headers_s, double body_s)
{
    *l = (struct clientlist){.places = places, .headers_s = headers_s, .body_s = body_s};
    pthread_mutex_init(&l->lock, NULL);
    condition_init(&l->changed);
}

void clientlist_deinit(struct clientlist *l)
{
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
}

/* With the lock. Whoever reads and writes it finds its end, and removes it. */
static void clientlist_shut(struct client *c)
{
    c->shut = true;
    shutdown(c->fd, SHUT_RDWR);
}

/* With the lock. Does `a` go before `b` does? */
static bool clientlist_before(const struct client *a, const struct client *b)
{
    return !b || a->phase < b->phase || (a->phase == b->phase && a->since < b->since);
}

/* With the lock. */
static void clientlist_make_room(struct clientlist *l)
{
    struct client *goes = NULL;
    if (l->n < l->places - l->places / 8) {
        return;
    }
    for (struct client *c = l->first; c; c = c->next) {
        if (c->phase != CLIENTLIST_ANSWERED && !c->shut && clientlist_before(c, goes)) {
            goes = c;
        }
    }
    if (goes) {
        clientlist_shut(goes);
    }
}

void clientlist_add(struct clientlist *l, struct client *c, int fd)
{
    *c = (struct client){.fd = fd, .since = progress_clock(), .link = &l->first};
    pthread_mutex_lock(&l->lock);
    clientlist_make_room(l);
    c->next = l->first;
    if (c->next) {
        c->next->link = &c->next;
    }
    l->first = c;
    l->n++;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

void clientlist_remove(struct clientlist *l, struct client *c)
{
    pthread_mutex_lock(&l->lock);
    *c->link = c->next;
    if (c->next) {
        c->next->link = c->link;
    }
    l->n--;
    pthread_mutex_unlock(&l->lock);
}

void clientlist_set(struct clientlist *l, struct client *c, enum clientlist_phase phase)
{
    pthread_mutex_lock(&l->lock);
    c->phase = phase;
    c->since = progress_clock();
    pthread_mutex_unlock(&l->lock);
}

void clientlist_look(struct clientlist *l)
{
    double now = progress_clock();
    pthread_mutex_lock(&l->lock);
    for (struct client *c = l->first; c; c = c->next) {
        double patience = c->phase == CLIENTLIST_SENDING ? l->body_s : l->headers_s;
        if (c->phase != CLIENTLIST_ANSWERED && !c->shut && now - c->since > patience) {
            clientlist_shut(c);
        }
    }
    pthread_mutex_unlock(&l->lock);
}

bool clientlist_wait(struct clientlist *l, unsigned ms)
{
    pthread_mutex_lock(&l->lock);
    if (!l->stopping && !l->first) {
        pthread_cond_wait(&l->changed, &l->lock);
    } else {
        condition_wait(&l->changed, &l->lock, progress_clock() + ms / 1000.0);
    }
    bool on = !l->stopping;
    pthread_mutex_unlock(&l->lock);
    return on;
}

void clientlist_stop(struct clientlist *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

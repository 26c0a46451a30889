/* server/replyroom.c: see replyroom.h. */
#include "server/replyroom.h"

#include <string.h>

#include "server/apierror.h"
#include "server/exchange_data.h"

enum { REPLYROOM_RETRY_S = 5 };

void replyroom_init(struct replyroom *r, size_t each, size_t all)
{
    *r = (struct replyroom){.each = each, .all = all};
    pthread_mutex_init(&r->lock, NULL);
}

void replyroom_deinit(struct replyroom *r)
{
    pthread_mutex_destroy(&r->lock);
}

/* With the lock. */
static size_t replyroom_of(const struct replyroom *r, const char *owner)
{
    size_t bytes = 0;
    for (const struct exchange *x = r->first; x; x = x->unread_next) {
        bytes += x->job.owner && strcmp(x->job.owner, owner) == 0 ? x->unread : 0;
    }
    return bytes;
}

bool replyroom_admits(struct exchange *x)
{
    struct replyroom *r = x->room;
    pthread_mutex_lock(&r->lock);
    size_t own = replyroom_of(r, x->job.owner);
    bool admits = own <= EXCHANGE_LIGHT || (own < r->each && r->kept < r->all);
    pthread_mutex_unlock(&r->lock);
    if (!admits) {
        struct apierror e;
        apierror_set(&e, MHD_HTTP_TOO_MANY_REQUESTS, "overloaded", NULL,
                     "%zu bytes of replies to you wait to be read; read them, or close their connections", own);
        e.retry_after = REPLYROOM_RETRY_S;
        apierror_reply(x, &e, false);
    }
    return admits;
}

/* With the lock. */
static void replyroom_link(struct replyroom *r, struct exchange *x)
{
    x->unread_next = r->first;
    x->unread_link = &r->first;
    if (x->unread_next) {
        x->unread_next->unread_link = &x->unread_next;
    }
    r->first = x;
}

/* With the lock. */
static void replyroom_unlink(struct exchange *x)
{
    *x->unread_link = x->unread_next;
    if (x->unread_next) {
        x->unread_next->unread_link = x->unread_link;
    }
}

void replyroom_set(struct exchange *x, size_t bytes)
{
    struct replyroom *r = x->room;
    pthread_mutex_lock(&r->lock);
    if (bytes > 0 && x->unread == 0) {
        replyroom_link(r, x);
    } else if (bytes == 0 && x->unread > 0) {
        replyroom_unlink(x);
    }
    r->kept += bytes - x->unread;
    x->unread = bytes;
    pthread_mutex_unlock(&r->lock);
}

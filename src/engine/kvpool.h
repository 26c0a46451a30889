/* engine/kvpool.h: pages of keys and values that sequences take as they grow and may share. A page has the
 * positions of struct model_cache's pages, in all layers. What came back is kept for the next one.
 *
 *     free → held → idle (a keeper has it, and nobody else) → held again, or given up: free
 *
 * Idle pages stand in a line, the one that was held last at its end; so who gives up the first of them never
 * has to search (prefixtree.h).
 * Thread rule: one thread at a time. */
#ifndef ENGINE_KVPOOL_H
#define ENGINE_KVPOOL_H

#include "model/model.h"

struct kvpool;

struct kvpage {
    char *data;
    size_t holders;               /* sequences that want it */
    void *keeper;                 /* who has it as long as nobody needs its memory; NULL: nobody */
    struct kvpage *made, *free;   /* the pool's own lists */
    struct kvpage *older, *newer; /* idle ones beside it */
    int64_t used;                 /* when it became idle (kvpool_now) */
};

/* Pages for at most `bytes` bytes. ERR_NOMEM. */
ERR_MUST_USE err kvpool_new(const struct model_cache_shape *shape, size_t bytes, struct kvpool **out,
                            struct errinfo *info);
void kvpool_free(struct kvpool *p); /* every page must be free again; NULL is fine */

/* A page with one holder, its bytes undefined. ERR_LIMIT when none is free, ERR_NOMEM. */
ERR_MUST_USE err kvpool_take(struct kvpool *p, struct kvpage **out, struct errinfo *info);
void kvpool_hold(struct kvpool *p, struct kvpage *page);
void kvpool_drop(struct kvpool *p, struct kvpage *page);

/* A held page has a keeper from now on; with its last holder gone it becomes idle, not free. */
void kvpool_keep(struct kvpage *page, void *keeper);
/* It has none any more: free, unless it is held. */
void kvpool_give_up(struct kvpool *p, struct kvpage *page);
/* The first in the line of idle pages; ->newer: the next. NULL: there is none. */
struct kvpage *kvpool_oldest(const struct kvpool *p);

int64_t kvpool_now(void); /* nanoseconds since 1970 */

size_t kvpool_pages(const struct kvpool *p); /* in all */
size_t kvpool_held(const struct kvpool *p);  /* with holders */
size_t kvpool_idle(const struct kvpool *p);
size_t kvpool_page_bytes(const struct kvpool *p);

#endif

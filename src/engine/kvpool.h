/* engine/kvpool.h: pages of keys and values that sequences take as they grow and may share. A page has the
 * positions of struct model_cache's pages, in all layers. What came back is kept for the next one.
 * Thread rule: one thread at a time. */
#ifndef ENGINE_KVPOOL_H
#define ENGINE_KVPOOL_H

#include "model/model.h"

struct kvpool;

struct kvpage {
    char *data;
    size_t holders;             /* sequences and others that want it; 0: free */
    struct kvpage *made, *free; /* the pool's own lists */
};

/* Pages for at most `bytes` bytes. ERR_NOMEM. */
ERR_MUST_USE err kvpool_new(const struct model_cache_shape *shape, size_t bytes, struct kvpool **out,
                            struct errinfo *info);
void kvpool_free(struct kvpool *p); /* every page must be free again; NULL is fine */

/* A page with one holder, its bytes undefined. ERR_LIMIT when all are held, ERR_NOMEM. */
ERR_MUST_USE err kvpool_take(struct kvpool *p, struct kvpage **out, struct errinfo *info);
void kvpool_hold(struct kvpage *page);
void kvpool_drop(struct kvpool *p, struct kvpage *page);

size_t kvpool_pages(const struct kvpool *p);      /* in all */
size_t kvpool_held(const struct kvpool *p);       /* with holders */
size_t kvpool_page_bytes(const struct kvpool *p);

#endif

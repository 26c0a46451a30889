/* engine/kvcache.h: the key/value memory of one sequence, in pages (struct model_cache): carved from one block
 * that is reserved at once and touched as the sequence grows, so an unused part of the context costs no memory;
 * or taken from a pool as it grows, where sequences that begin alike share pages.
 * Thread rule: belongs to the session that owns it. */
#ifndef ENGINE_KVCACHE_H
#define ENGINE_KVCACHE_H

#include "engine/kvpool.h"
#include "model/model.h"

struct kvcache {
    struct model_cache cache; /* what model_forward sees */
    struct model_cache_shape shape;
    void *block; /* owned; NULL: from the pool */
    size_t bytes;
    struct kvpool *pool;
    struct kvpage **held; /* [n_held] the pool's, those of the first positions */
    size_t n_held;
};

struct model_cache_shape kvcache_shape_of(const struct model *m, enum dtype dtype);
/* The same before there is a model. */
struct model_cache_shape kvcache_shape_planned(const struct config *c, enum dtype dtype);
size_t kvcache_bytes_per_token(const struct model_cache_shape *s);
/* Bytes of the whole block; false when that does not fit size_t. */
bool kvcache_bytes(const struct model_cache_shape *s, size_t capacity, size_t *out);

/* Reserves `capacity` positions (at least 1). ERR_NOMEM naming what is needed and what is available,
 * before anything is allocated, when the block is larger than `available` bytes. */
ERR_MUST_USE err kvcache_init(struct kvcache *kv, const struct model_cache_shape *s, size_t capacity,
                              size_t available, struct errinfo *info);
/* For `capacity` positions (at least 1), none of them there yet. ERR_NOMEM. */
ERR_MUST_USE err kvcache_init_pooled(struct kvcache *kv, const struct model_cache_shape *s, size_t capacity,
                                     struct kvpool *pool, struct errinfo *info);
/* Of a pooled cache that is empty: n filled pages to begin with, whose hold passes on. */
void kvcache_take_filled(struct kvcache *kv, struct kvpage *const *pages, size_t n);
/* Of a pooled cache: held[] names other pages with the same rows now. */
void kvcache_swapped(struct kvcache *kv);
/* Of a pooled cache: pages for the first n positions (at most capacity). What kvpool_take says; those it got
 * stay. */
ERR_MUST_USE err kvcache_grow(struct kvcache *kv, size_t n, struct errinfo *info);
/* Of a pooled cache: lets go of all pages. */
void kvcache_empty(struct kvcache *kv);
void kvcache_deinit(struct kvcache *kv); /* a zeroed struct is fine */

/* The filled rows of one layer's keys, then of its values, in the order of positions and in pieces: calls with
 * piece = 0, 1, … until NULL; *bytes: the piece's. */
char *kvcache_piece(const struct kvcache *kv, size_t layer, size_t piece, size_t *bytes);

#endif

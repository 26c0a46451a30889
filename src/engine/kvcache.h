/* engine/kvcache.h: the key/value memory of one sequence: one block, carved into pages (struct
 * model_cache). Reserved at once and touched as the sequence grows, so an unused part of the context costs
 * no memory.
 * Thread rule: belongs to the session that owns it. */
#ifndef ENGINE_KVCACHE_H
#define ENGINE_KVCACHE_H

#include "model/model.h"

struct kvcache {
    struct model_cache cache; /* what model_forward sees */
    struct model_cache_shape shape;
    void *block; /* owned */
    size_t bytes;
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
void kvcache_deinit(struct kvcache *kv); /* a zeroed struct is fine */

/* The filled rows of one layer's keys, then of its values, in the order of positions and in pieces: calls with
 * piece = 0, 1, … until NULL; *bytes: the piece's. */
char *kvcache_piece(const struct kvcache *kv, size_t layer, size_t piece, size_t *bytes);

#endif

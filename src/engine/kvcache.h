/* engine/kvcache.h: the key/value memory of one sequence: one block, carved into a K and a V area per
 * layer, in the layout model_forward appends to (struct model_cache). Reserved at once and touched as
 * the sequence grows, so an unused part of the context costs no memory.
 * Thread rule: belongs to the session that owns it. */
#ifndef ENGINE_KVCACHE_H
#define ENGINE_KVCACHE_H

#include "model/model.h"

struct kvcache_shape {
    size_t n_layers;
    size_t k_width, v_width; /* elements per position; v_width 0: MLA, no V area */
    enum dtype dtype;        /* F32, F16 or BF16 */
};

struct kvcache {
    struct model_cache cache; /* what model_forward sees */
    struct kvcache_shape shape;
    void *block; /* owned */
    size_t bytes;
};

struct kvcache_shape kvcache_shape_of(const struct model *m, enum dtype dtype);
/* The same before there is a model. */
struct kvcache_shape kvcache_shape_planned(const struct config *c, enum dtype dtype);
size_t kvcache_bytes_per_token(const struct kvcache_shape *s);
/* Bytes of the whole block; false when that does not fit size_t. */
bool kvcache_bytes(const struct kvcache_shape *s, size_t capacity, size_t *out);

/* Reserves `capacity` positions (at least 1). ERR_NOMEM naming what is needed and what is available,
 * before anything is allocated, when the block is larger than `available` bytes. */
ERR_MUST_USE err kvcache_init(struct kvcache *kv, const struct kvcache_shape *s, size_t capacity,
                              size_t available, struct errinfo *info);
void kvcache_deinit(struct kvcache *kv); /* a zeroed struct is fine */

/* Bytes of the filled part of one layer's K or V area (they start at cache.k[i], cache.v[i]). */
size_t kvcache_k_filled(const struct kvcache *kv);
size_t kvcache_v_filled(const struct kvcache *kv);

#endif

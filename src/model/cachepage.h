/* model/cachepage.h: rows of keys and values in the pages of a cache (struct model_cache, model.h), for the
 * blocks that attend. */
#ifndef MODEL_CACHEPAGE_H
#define MODEL_CACHEPAGE_H

#include "model/config.h"
#include "model/model.h"
#include "tensor/ops.h"

/* A layer's rows, as attention takes them; they borrow the cache's table of pages. For MLA the k rows are
 * both, and there is no v. */
struct attention_rows cachepage_k(const struct config *c, const struct model_cache *cache, size_t layer);
struct attention_rows cachepage_v(const struct config *c, const struct model_cache *cache, size_t layer);

/* src [n, stride] to positions len … len + n - 1, which must fit. */
void cachepage_store(struct compute *c, const struct model_cache *cache, const struct attention_rows *to,
                     const float *src, size_t n);
/* Positions 0 … n - 1 to dst [n, stride]. */
void cachepage_load(struct compute *c, const struct model_cache *cache, const struct attention_rows *from,
                    float *dst, size_t n);

#endif

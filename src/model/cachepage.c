/* model/cachepage.c: see cachepage.h. */
#include "model/cachepage.h"

static struct attention_rows cachepage_rows(const struct model_cache *cache, size_t offset, size_t width,
                                            size_t head_dim)
{
    return (struct attention_rows){.pages = (const char *const *)cache->pages,
                                   .offset = offset,
                                   .stride = width,
                                   .head_stride = head_dim,
                                   .shift = MODEL_CACHE_SHIFT};
}

static struct model_cache_shape cachepage_shape(const struct config *c, const struct model_cache *cache)
{
    return (struct model_cache_shape){.k_width = config_cache_k_width(c),
                                      .v_width = config_cache_v_width(c),
                                      .dtype = cache->dtype};
}

struct attention_rows cachepage_k(const struct config *c, const struct model_cache *cache, size_t layer)
{
    struct model_cache_shape s = cachepage_shape(c, cache);
    return cachepage_rows(cache, model_cache_k_offset(&s, layer), s.k_width, c->head_dim);
}

struct attention_rows cachepage_v(const struct config *c, const struct model_cache *cache, size_t layer)
{
    struct model_cache_shape s = cachepage_shape(c, cache);
    return cachepage_rows(cache, model_cache_v_offset(&s, layer), s.v_width, c->head_dim);
}

/* Where position pos is, and how many of the next n are beside it. */
static char *cachepage_at(const struct model_cache *cache, const struct attention_rows *r, size_t pos,
                          size_t *n)
{
    size_t in_page = pos % MODEL_CACHE_PAGE, left = MODEL_CACHE_PAGE - in_page;
    *n = *n < left ? *n : left;
    return cache->pages[pos / MODEL_CACHE_PAGE] + r->offset +
           in_page * r->stride * dtype_info(cache->dtype)->block_bytes;
}

void cachepage_store(struct compute *c, const struct model_cache *cache, const struct attention_rows *to,
                     const float *src, size_t n)
{
    for (size_t done = 0; done < n;) {
        size_t piece = n - done;
        char *dst = cachepage_at(cache, to, cache->len + done, &piece);
        ops_store(c, dst, cache->dtype, to->stride, src + done * to->stride, to->stride, piece, to->stride);
        done += piece;
    }
}

void cachepage_load(struct compute *c, const struct model_cache *cache, const struct attention_rows *from,
                    float *dst, size_t n)
{
    for (size_t done = 0; done < n;) {
        size_t piece = n - done;
        const char *src = cachepage_at(cache, from, done, &piece);
        ops_load(c, dst + done * from->stride, from->stride, src, cache->dtype, from->stride, piece,
                 from->stride);
        done += piece;
    }
}

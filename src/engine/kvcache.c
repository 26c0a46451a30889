/* engine/kvcache.c: see kvcache.h. */
#include "engine/kvcache.h"

#include "base/checked.h"
#include "base/mem.h"
#include "base/meminfo.h"

struct model_cache_shape kvcache_shape_of(const struct model *m, enum dtype dtype)
{
    return kvcache_shape_planned(model_config(m), dtype);
}

struct model_cache_shape kvcache_shape_planned(const struct config *c, enum dtype dtype)
{
    return (struct model_cache_shape){.n_layers = c->num_hidden_layers,
                                  .k_width = config_cache_k_width(c),
                                  .v_width = config_cache_v_width(c),
                                  .dtype = dtype};
}

size_t kvcache_bytes_per_token(const struct model_cache_shape *s)
{
    return model_cache_k_offset(s, s->n_layers) / MODEL_CACHE_PAGE;
}

static size_t kvcache_pages(size_t capacity)
{
    return (capacity - 1) / MODEL_CACHE_PAGE + 1;
}

bool kvcache_bytes(const struct model_cache_shape *s, size_t capacity, size_t *out)
{
    return checked_mul(kvcache_pages(capacity), model_cache_k_offset(s, s->n_layers), out);
}

err kvcache_init(struct kvcache *kv, const struct model_cache_shape *s, size_t capacity,
                 size_t available, struct errinfo *info)
{
    size_t bytes;
    char need[MEMINFO_TEXT], have[MEMINFO_TEXT];
    if (capacity == 0 || !kvcache_bytes(s, capacity, &bytes)) {
        return err_set(info, ERR_CONTEXT, "a context of %zu positions cannot be addressed", capacity);
    }
    if (bytes > available) {
        return err_set(info, ERR_NOMEM,
                       "a context of %zu positions needs %s of memory for its key/value cache, and %s "
                       "is available; ask for at most %zu positions (--context)",
                       capacity, meminfo_text(bytes, need), meminfo_text(available, have),
                       available / model_cache_k_offset(s, s->n_layers) * MODEL_CACHE_PAGE);
    }
    struct kvcache n = {.shape = *s, .bytes = bytes};
    size_t n_pages = kvcache_pages(capacity);
    n.cache.dtype = s->dtype;
    n.cache.capacity = capacity;
    n.cache.pages = mem_calloc(n_pages, sizeof *n.cache.pages);
    n.block = mem_alloc_aligned(bytes);
    if (!n.cache.pages || !n.block) {
        kvcache_deinit(&n);
        return err_set(info, ERR_NOMEM, "the system refused %s for a key/value cache of %zu positions",
                       meminfo_text(bytes, need), capacity);
    }
    for (size_t i = 0; i < n_pages; i++) {
        n.cache.pages[i] = (char *)n.block + i * (bytes / n_pages);
    }
    *kv = n;
    return ERR_OK;
}

err kvcache_init_pooled(struct kvcache *kv, const struct model_cache_shape *s, size_t capacity,
                        struct kvpool *pool, struct errinfo *info)
{
    size_t n_pages = kvcache_pages(capacity);
    struct kvcache n = {.shape = *s, .pool = pool};
    n.cache.dtype = s->dtype;
    n.cache.capacity = capacity;
    n.cache.pages = mem_calloc(n_pages, sizeof *n.cache.pages);
    n.held = mem_calloc(n_pages, sizeof *n.held);
    if (!n.cache.pages || !n.held) {
        kvcache_deinit(&n);
        return err_set(info, ERR_NOMEM, "out of memory for a table of %zu pages", n_pages);
    }
    *kv = n;
    return ERR_OK;
}

static void kvcache_push(struct kvcache *kv, struct kvpage *page)
{
    kv->cache.pages[kv->n_held] = page->data;
    kv->held[kv->n_held++] = page;
}

void kvcache_take_filled(struct kvcache *kv, struct kvpage *const *pages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kvcache_push(kv, pages[i]);
    }
    kv->cache.len = n * MODEL_CACHE_PAGE;
}

void kvcache_swapped(struct kvcache *kv)
{
    for (size_t i = 0; i < kv->n_held; i++) {
        kv->cache.pages[i] = kv->held[i]->data;
    }
}

err kvcache_grow(struct kvcache *kv, size_t n, struct errinfo *info)
{
    while (kv->n_held * MODEL_CACHE_PAGE < n) {
        struct kvpage *page;
        TRY(kvpool_take(kv->pool, &page, info));
        kvcache_push(kv, page);
    }
    return ERR_OK;
}

void kvcache_empty(struct kvcache *kv)
{
    while (kv->n_held > 0) {
        kvpool_drop(kv->pool, kv->held[--kv->n_held]); /* the last one first: what is kept of it goes before
                                                          what it stands on (prefixtree.h) */
    }
    kv->cache.len = 0;
}

void kvcache_deinit(struct kvcache *kv)
{
    kvcache_empty(kv);
    mem_free(kv->held);
    mem_free(kv->cache.pages);
    mem_free_aligned(kv->block);
    *kv = (struct kvcache){0};
}

char *kvcache_piece(const struct kvcache *kv, size_t layer, size_t piece, size_t *bytes)
{
    const struct model_cache_shape *s = &kv->shape;
    size_t n_pages = kv->cache.len ? kvcache_pages(kv->cache.len) : 0;
    bool values = piece >= n_pages;
    size_t page = piece - (values ? n_pages : 0), width = values ? s->v_width : s->k_width;
    if (page >= n_pages || width == 0) {
        return NULL;
    }
    size_t left = kv->cache.len - page * MODEL_CACHE_PAGE;
    *bytes = (left < MODEL_CACHE_PAGE ? left : MODEL_CACHE_PAGE) * width * dtype_info(s->dtype)->block_bytes;
    return kv->cache.pages[page] + (values ? model_cache_v_offset(s, layer) : model_cache_k_offset(s, layer));
}

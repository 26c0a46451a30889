/* engine/kvcache.c: see kvcache.h. */
#include "engine/kvcache.h"

#include "base/checked.h"
#include "base/mem.h"
#include "base/meminfo.h"

enum { KVCACHE_ALIGN = 64 };

struct kvcache_shape kvcache_shape_of(const struct model *m, enum dtype dtype)
{
    return kvcache_shape_planned(model_config(m), dtype);
}

struct kvcache_shape kvcache_shape_planned(const struct config *c, enum dtype dtype)
{
    return (struct kvcache_shape){.n_layers = c->num_hidden_layers,
                                  .k_width = config_cache_k_width(c),
                                  .v_width = config_cache_v_width(c),
                                  .dtype = dtype};
}

static size_t kvcache_elem(const struct kvcache_shape *s)
{
    return dtype_info(s->dtype)->block_bytes;
}

size_t kvcache_bytes_per_token(const struct kvcache_shape *s)
{
    return s->n_layers * (s->k_width + s->v_width) * kvcache_elem(s);
}

/* One layer's area of `width` elements per position, rounded up so that the next one is aligned. */
static bool kvcache_area(const struct kvcache_shape *s, size_t width, size_t capacity, size_t *out)
{
    return checked_mul(width, kvcache_elem(s), out) && checked_mul(*out, capacity, out) &&
           checked_align(*out, KVCACHE_ALIGN, out);
}

bool kvcache_bytes(const struct kvcache_shape *s, size_t capacity, size_t *out)
{
    size_t k, v, layer, all;
    if (!kvcache_area(s, s->k_width, capacity, &k) || !kvcache_area(s, s->v_width, capacity, &v) ||
        !checked_add(k, v, &layer) || !checked_mul(layer, s->n_layers, &all)) {
        return false;
    }
    *out = all;
    return true;
}

err kvcache_init(struct kvcache *kv, const struct kvcache_shape *s, size_t capacity,
                 size_t available, struct errinfo *info)
{
    size_t bytes, k_area, v_area;
    char need[MEMINFO_TEXT], have[MEMINFO_TEXT];
    if (capacity == 0 || !kvcache_bytes(s, capacity, &bytes)) {
        return err_set(info, ERR_CONTEXT, "a context of %zu positions cannot be addressed", capacity);
    }
    if (bytes > available) {
        return err_set(info, ERR_NOMEM,
                       "a context of %zu positions needs %s of memory for its key/value cache, and %s "
                       "is available; ask for at most %zu positions (--context)",
                       capacity, meminfo_text(bytes, need), meminfo_text(available, have),
                       available / kvcache_bytes_per_token(s));
    }
    struct kvcache n = {.shape = *s, .bytes = bytes};
    n.cache.dtype = s->dtype;
    n.cache.capacity = capacity;
    n.cache.k = mem_calloc(s->n_layers, sizeof *n.cache.k);
    n.cache.v = mem_calloc(s->n_layers, sizeof *n.cache.v);
    n.block = mem_alloc_aligned(bytes);
    if (!n.cache.k || !n.cache.v || !n.block) {
        kvcache_deinit(&n);
        return err_set(info, ERR_NOMEM, "the system refused %s for a key/value cache of %zu positions",
                       meminfo_text(bytes, need), capacity);
    }
    if (!kvcache_area(s, s->k_width, capacity, &k_area) ||
        !kvcache_area(s, s->v_width, capacity, &v_area)) {
        kvcache_deinit(&n);
        return err_set(info, ERR_CONTEXT, "a context of %zu positions cannot be addressed", capacity);
    }
    char *p = n.block;
    for (size_t i = 0; i < s->n_layers; i++) {
        n.cache.k[i] = p;
        n.cache.v[i] = s->v_width ? p + k_area : NULL;
        p += k_area + v_area;
    }
    *kv = n;
    return ERR_OK;
}

void kvcache_deinit(struct kvcache *kv)
{
    mem_free(kv->cache.k);
    mem_free(kv->cache.v);
    mem_free_aligned(kv->block);
    *kv = (struct kvcache){0};
}

size_t kvcache_k_filled(const struct kvcache *kv)
{
    return kv->cache.len * kv->shape.k_width * kvcache_elem(&kv->shape);
}

size_t kvcache_v_filled(const struct kvcache *kv)
{
    return kv->cache.len * kv->shape.v_width * kvcache_elem(&kv->shape);
}

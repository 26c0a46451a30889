/* engine/batcherpages.c: see batcherpages.h. */
#include "engine/batcherpages.h"

#include "base/mem.h"
#include "base/progress.h"

#define BATCHERPAGES_DISK_S 0.02 /* seconds that a step beside answers reads pages from disk */

void batcherpages_keep(struct batcher *b, const struct batcher_job *j)
{
    if (j->session && !j->forgotten) {
        struct kvcache *kv = &j->session->kv;
        prefixtree_add(b->prefixes, j->is.partition, j->is.drawer, j->session->tokens, kv->held,
                       kv->cache.len / MODEL_CACHE_PAGE);
        kvcache_swapped(kv);
    }
}

void batcherpages_find(struct batcher *b, struct batcher_job *j)
{
    struct session *s = j->session;
    struct kvpage **pages = mem_calloc(s->n_tokens / MODEL_CACHE_PAGE + 1, sizeof *pages);
    if (pages) {
        size_t n = prefixtree_find(b->prefixes, j->is.partition, s->tokens, s->n_tokens - 1, pages, &j->name);
        kvcache_take_filled(&s->kv, pages, n);
        j->cached = j->paused ? j->cached : n * MODEL_CACHE_PAGE;
        j->restoring = b->disk != NULL;
        mem_free(pages);
    }
}

static void batcherpages_to_disk(void *user, uint64_t drawer, const struct prefixname *name,
                                 const struct kvpage *page)
{
    const struct batcher *b = user;
    if (!(drawer & BATCHER_IN_MEMORY)) {
        prefixdisk_write(b->disk, drawer, name, page->data, page->used, false);
    }
}

/* When there is time. */
static void batcherpages_to_disk_whole(void *user, uint64_t drawer, const struct prefixname *name,
                                       const struct kvpage *page)
{
    const struct batcher *b = user;
    if (!(drawer & BATCHER_IN_MEMORY)) {
        prefixdisk_write(b->disk, drawer, name, page->data, page->used, true);
    }
}

err batcherpages_grow(struct batcher *b, struct batcher_job *j, size_t n, struct errinfo *info)
{
    struct kvcache *kv = &j->session->kv;
    err e;
    do {
        e = kvcache_grow(kv, kv->cache.len + n, info);
    } while (e != ERR_OK && prefixtree_evict(b->prefixes, b->disk ? batcherpages_to_disk : NULL, b));
    return e;
}

/* The next page of its text from disk, if it is there; the last token is read in any case. */
static void batcherpages_restore_page(struct batcher *b, struct batcher_job *j)
{
    const struct session *s = j->session;
    struct model_cache *cache = &j->session->kv.cache;
    size_t at = cache->len;
    j->restoring = false;
    if (at + MODEL_CACHE_PAGE >= s->n_tokens) {
        return;
    }
    struct prefixname name = prefixname_next(&b->root, &j->name, s->tokens + at);
    if (prefixdisk_has(b->disk, &name) && batcherpages_grow(b, j, MODEL_CACHE_PAGE, NULL) == ERR_OK &&
        prefixdisk_read(b->disk, &name, cache->pages[at / MODEL_CACHE_PAGE])) {
        cache->len += MODEL_CACHE_PAGE;
        j->cached += j->paused ? 0 : MODEL_CACHE_PAGE;
        j->name = name;
        j->restoring = true;
    }
}

static bool batcherpages_answers(const struct batcher *b)
{
    for (size_t i = 0; i < b->n_running; i++) {
        if (b->running[i]->generation.made > 0) {
            return true;
        }
    }
    return false;
}

void batcherpages_restore(struct batcher *b)
{
    bool hurry = batcherpages_answers(b);
    double start = progress_clock();
    for (size_t i = 0; i < b->n_running; i++) {
        struct batcher_job *j = b->running[i];
        while (j->restoring && (!hurry || progress_clock() - start < BATCHERPAGES_DISK_S)) {
            batcherpages_restore_page(b, j);
        }
    }
}

/* The longest unused comes first: by the time that pages take so far, what will not be done is left out. */
void batcherpages_write_out(struct batcher *b)
{
    bool some = b->disk != NULL;
    double start = progress_clock(), took = 0;
    for (size_t written = 0; some;) {
        size_t pages = prefixtree_pages(b->prefixes);
        bool late = took + (written ? took / (double)written : 0) * (double)pages > b->write_out_s;
        bool stays = pages <= prefixdisk_holds(b->disk) && !late;
        some = prefixtree_evict(b->prefixes, stays ? batcherpages_to_disk_whole : NULL, b);
        took = progress_clock() - start;
        written += stays;
    }
}

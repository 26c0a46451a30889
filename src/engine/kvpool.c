/* engine/kvpool.c: see kvpool.h. */
#include "engine/kvpool.h"

#include <time.h>

#include "base/mem.h"
#include "base/meminfo.h"

struct kvpool {
    size_t page_bytes, most, n_made, n_held, n_idle;
    struct kvpage *made, *free;
    struct kvpage *oldest, *newest; /* idle */
};

err kvpool_new(const struct model_cache_shape *shape, size_t bytes, struct kvpool **out, struct errinfo *info)
{
    struct kvpool *p = mem_calloc(1, sizeof *p);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for a pool of keys and values");
    }
    p->page_bytes = model_cache_k_offset(shape, shape->n_layers);
    p->most = bytes / p->page_bytes;
    *out = p;
    return ERR_OK;
}

void kvpool_free(struct kvpool *p)
{
    if (!p) {
        return;
    }
    for (struct kvpage *page = p->made, *next; page; page = next) {
        next = page->made;
        mem_free_aligned(page->data);
        mem_free(page);
    }
    mem_free(p);
}

static err kvpool_make(struct kvpool *p, struct kvpage **out, struct errinfo *info)
{
    char need[MEMINFO_TEXT];
    struct kvpage *page = mem_calloc(1, sizeof *page);
    char *data = page ? mem_alloc_aligned(p->page_bytes) : NULL;
    if (!data) {
        mem_free(page);
        return err_set(info, ERR_NOMEM, "the system refused %s for a page of keys and values",
                       meminfo_text(p->page_bytes, need));
    }
    page->data = data;
    page->made = p->made;
    p->made = page;
    p->n_made++;
    *out = page;
    return ERR_OK;
}

err kvpool_take(struct kvpool *p, struct kvpage **out, struct errinfo *info)
{
    struct kvpage *page = p->free;
    if (page) {
        p->free = page->free;
    } else if (p->n_made == p->most) {
        return err_set(info, ERR_LIMIT, "all %zu pages of keys and values are in use", p->most);
    } else {
        TRY(kvpool_make(p, &page, info));
    }
    page->holders = 1;
    p->n_held++;
    *out = page;
    return ERR_OK;
}

/* ---- Idle pages. ---- */

int64_t kvpool_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void kvpool_line_up(struct kvpool *p, struct kvpage *page)
{
    page->used = kvpool_now();
    page->older = p->newest;
    page->newer = NULL;
    *(p->newest ? &p->newest->newer : &p->oldest) = page;
    p->newest = page;
    p->n_idle++;
}

static void kvpool_leave(struct kvpool *p, struct kvpage *page)
{
    *(page->older ? &page->older->newer : &p->oldest) = page->newer;
    *(page->newer ? &page->newer->older : &p->newest) = page->older;
    p->n_idle--;
}

static void kvpool_free_page(struct kvpool *p, struct kvpage *page)
{
    page->free = p->free;
    p->free = page;
}

void kvpool_hold(struct kvpool *p, struct kvpage *page)
{
    if (page->holders++ == 0) {
        kvpool_leave(p, page);
        p->n_held++;
    }
}

void kvpool_drop(struct kvpool *p, struct kvpage *page)
{
    if (--page->holders > 0) {
        return;
    }
    p->n_held--;
    if (page->keeper) {
        kvpool_line_up(p, page);
    } else {
        kvpool_free_page(p, page);
    }
}

void kvpool_keep(struct kvpage *page, void *keeper)
{
    page->keeper = keeper;
}

void kvpool_give_up(struct kvpool *p, struct kvpage *page)
{
    page->keeper = NULL;
    if (page->holders == 0) {
        kvpool_leave(p, page);
        kvpool_free_page(p, page);
    }
}

struct kvpage *kvpool_oldest(const struct kvpool *p)
{
    return p->oldest;
}

size_t kvpool_pages(const struct kvpool *p)
{
    return p->most;
}

size_t kvpool_held(const struct kvpool *p)
{
    return p->n_held;
}

size_t kvpool_idle(const struct kvpool *p)
{
    return p->n_idle;
}

size_t kvpool_page_bytes(const struct kvpool *p)
{
    return p->page_bytes;
}

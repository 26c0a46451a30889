/* engine/prefixtree.c: see prefixtree.h. All nodes of all partitions in one hash table, found by name. */
#include "engine/prefixtree.h"

#include <string.h>

#include "base/mem.h"

enum { PREFIXTREE_FIRST = 256 }; /* buckets; always a power of two */

struct prefixtree_node {
    struct prefixtree_node *parent; /* NULL: the text begins here */
    struct prefixtree_node *next;   /* in the bucket */
    struct prefixname name;
    uint64_t drawer;
    size_t n_children;
    struct kvpage *page;
};

struct prefixtree {
    struct kvpool *pool;
    struct prefixname root;
    struct prefixtree_node **buckets;
    size_t n_buckets, n_nodes, looks;
};

err prefixtree_new(struct kvpool *pool, const struct prefixname *root, struct prefixtree **out,
                   struct errinfo *info)
{
    struct prefixtree *t = mem_calloc(1, sizeof *t);
    struct prefixtree_node **buckets = mem_calloc(PREFIXTREE_FIRST, sizeof *buckets);
    if (!t || !buckets) {
        mem_free(t);
        mem_free(buckets);
        return err_set(info, ERR_NOMEM, "out of memory for a tree of prefixes");
    }
    *t = (struct prefixtree){.pool = pool, .root = *root, .buckets = buckets, .n_buckets = PREFIXTREE_FIRST};
    *out = t;
    return ERR_OK;
}

void prefixtree_free(struct prefixtree *t)
{
    if (!t) {
        return;
    }
    for (size_t i = 0; i < t->n_buckets; i++) {
        for (struct prefixtree_node *n = t->buckets[i], *next; n; n = next) {
            next = n->next;
            kvpool_give_up(t->pool, n->page);
            mem_free(n);
        }
    }
    mem_free(t->buckets);
    mem_free(t);
}

static struct prefixtree_node **prefixtree_bucket(const struct prefixtree *t, const struct prefixname *name)
{
    uint64_t h;
    memcpy(&h, name->bytes, sizeof h);
    return &t->buckets[h & (t->n_buckets - 1)];
}

/* Where the node of that name hangs; *: NULL: there is none. */
static struct prefixtree_node **prefixtree_place(struct prefixtree *t, const struct prefixname *name)
{
    struct prefixtree_node **n = prefixtree_bucket(t, name);
    for (t->looks++; *n && memcmp(&(*n)->name, name, sizeof *name) != 0; t->looks++) {
        n = &(*n)->next;
    }
    return n;
}

size_t prefixtree_find(struct prefixtree *t, uint64_t partition, const int32_t *tokens, size_t n,
                       struct kvpage **pages, struct prefixname *name)
{
    struct prefixname at = prefixname_begin(&t->root, partition);
    size_t found = 0;
    while ((found + 1) * MODEL_CACHE_PAGE <= n) {
        struct prefixname next = prefixname_next(&t->root, &at, tokens + found * MODEL_CACHE_PAGE);
        struct prefixtree_node *node = *prefixtree_place(t, &next);
        if (!node) {
            break;
        }
        kvpool_hold(t->pool, node->page);
        pages[found++] = node->page;
        at = next;
    }
    if (name) {
        *name = at;
    }
    return found;
}

/* Twice the buckets; without memory chains become longer. */
static void prefixtree_widen(struct prefixtree *t)
{
    size_t n_old = t->n_buckets;
    struct prefixtree_node **old = t->buckets, **buckets = mem_calloc(2 * n_old, sizeof *buckets);
    if (!buckets) {
        return;
    }
    t->buckets = buckets;
    t->n_buckets = 2 * n_old;
    for (size_t i = 0; i < n_old; i++) {
        for (struct prefixtree_node *n = old[i], *next; n; n = next) {
            next = n->next;
            struct prefixtree_node **to = prefixtree_bucket(t, &n->name);
            n->next = *to;
            *to = n;
        }
    }
    mem_free(old);
}

static struct prefixtree_node *prefixtree_put(struct prefixtree *t, struct prefixtree_node *parent,
                                              uint64_t drawer, const struct prefixname *name,
                                              struct kvpage *page)
{
    struct prefixtree_node *n = mem_calloc(1, sizeof *n);
    if (!n) {
        return NULL;
    }
    if (t->n_nodes == t->n_buckets) {
        prefixtree_widen(t);
    }
    struct prefixtree_node **bucket = prefixtree_bucket(t, name);
    *n = (struct prefixtree_node){
        .parent = parent, .drawer = drawer, .name = *name, .page = page, .next = *bucket};
    *bucket = n;
    t->n_nodes++;
    if (parent) {
        parent->n_children++;
    }
    kvpool_keep(page, n);
    return n;
}

void prefixtree_add(struct prefixtree *t, uint64_t partition, uint64_t drawer, const int32_t *tokens,
                    struct kvpage **pages, size_t n_pages)
{
    struct prefixtree_node *at = NULL;
    struct prefixname name = prefixname_begin(&t->root, partition);
    for (size_t i = 0; i < n_pages; i++, tokens += MODEL_CACHE_PAGE) {
        name = prefixname_next(&t->root, &name, tokens);
        struct prefixtree_node *n = *prefixtree_place(t, &name);
        n = n ? n : prefixtree_put(t, at, drawer, &name, pages[i]);
        if (!n) {
            return;
        }
        if (n->page != pages[i]) {
            kvpool_hold(t->pool, n->page);
            kvpool_drop(t->pool, pages[i]);
            pages[i] = n->page;
        }
        at = n;
    }
}

static void prefixtree_remove(struct prefixtree *t, struct prefixtree_node **at)
{
    struct prefixtree_node *n = *at;
    *at = n->next;
    kvpool_give_up(t->pool, n->page);
    t->n_nodes--;
    mem_free(n);
}

/* Whoever held a page held all before it and let go of them later, so the first in the pool's line has no
 * children; only of sequences that let go in another order one may still have some. NULL: there is none. */
static struct prefixtree_node *prefixtree_first(struct prefixtree *t)
{
    const struct kvpage *page = kvpool_oldest(t->pool);
    for (t->looks++; page && ((struct prefixtree_node *)page->keeper)->n_children > 0; t->looks++) {
        page = page->newer;
    }
    return page ? page->keeper : NULL;
}

/* One without children. */
static void prefixtree_give_up(struct prefixtree *t, struct prefixtree_node *n)
{
    if (n->parent) {
        n->parent->n_children--;
    }
    prefixtree_remove(t, prefixtree_place(t, &n->name));
}

bool prefixtree_evict(struct prefixtree *t, prefixtree_sink sink, void *user)
{
    struct prefixtree_node *n = prefixtree_first(t);
    if (n && sink) {
        sink(user, n->drawer, &n->name, n->page);
    }
    if (n) {
        prefixtree_give_up(t, n);
    }
    return n != NULL;
}

void prefixtree_forget_unused(struct prefixtree *t, int64_t before)
{
    for (struct prefixtree_node *n; (n = prefixtree_first(t)) && n->page->used < before;) {
        prefixtree_give_up(t, n);
    }
}

/* Parents go with their children: nobody looks at a parent on the way. */
void prefixtree_forget(struct prefixtree *t, uint64_t drawer)
{
    for (size_t i = 0; i < t->n_buckets; i++) {
        for (struct prefixtree_node **n = &t->buckets[i]; *n;) {
            if ((*n)->drawer == drawer) {
                prefixtree_remove(t, n);
            } else {
                n = &(*n)->next;
            }
        }
    }
}

size_t prefixtree_pages(const struct prefixtree *t)
{
    return t->n_nodes;
}

size_t prefixtree_looks(const struct prefixtree *t)
{
    return t->looks;
}

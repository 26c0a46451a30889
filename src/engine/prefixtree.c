/* engine/prefixtree.c: see prefixtree.h. All nodes of all partitions in one hash table, found by their parent
 * and their own tokens. */
#include "engine/prefixtree.h"

#include <string.h>

#include "base/mem.h"

enum { PREFIXTREE_FIRST = 256 }; /* buckets; always a power of two */

struct prefixtree_node {
    struct prefixtree_node *parent; /* NULL: the text begins here */
    struct prefixtree_node *next;   /* in the bucket */
    uint64_t partition, hash, used;
    size_t n_children;
    struct kvpage *page;
    int32_t tokens[MODEL_CACHE_PAGE];
};

struct prefixtree {
    struct kvpool *pool;
    struct prefixtree_node **buckets;
    size_t n_buckets, n_nodes;
    uint64_t clock; /* of uses */
};

err prefixtree_new(struct kvpool *pool, struct prefixtree **out, struct errinfo *info)
{
    struct prefixtree *t = mem_calloc(1, sizeof *t);
    struct prefixtree_node **buckets = mem_calloc(PREFIXTREE_FIRST, sizeof *buckets);
    if (!t || !buckets) {
        mem_free(t);
        mem_free(buckets);
        return err_set(info, ERR_NOMEM, "out of memory for a tree of prefixes");
    }
    *t = (struct prefixtree){.pool = pool, .buckets = buckets, .n_buckets = PREFIXTREE_FIRST};
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
            kvpool_drop(t->pool, n->page);
            mem_free(n);
        }
    }
    mem_free(t->buckets);
    mem_free(t);
}

static uint64_t prefixtree_mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u; /* 2^64 / the golden ratio */
    return h ^ h >> 29;
}

static uint64_t prefixtree_hash(const struct prefixtree_node *parent, uint64_t partition, const int32_t *tokens)
{
    uint64_t h = prefixtree_mix(parent ? parent->hash : 0, partition);
    for (size_t i = 0; i < MODEL_CACHE_PAGE; i++) {
        h = prefixtree_mix(h, (uint32_t)tokens[i]);
    }
    return h;
}

static struct prefixtree_node *prefixtree_child(const struct prefixtree *t,
                                                const struct prefixtree_node *parent, uint64_t partition,
                                                const int32_t *tokens, uint64_t hash)
{
    struct prefixtree_node *n = t->buckets[hash & (t->n_buckets - 1)];
    while (n && (n->hash != hash || n->parent != parent || n->partition != partition ||
                 memcmp(n->tokens, tokens, sizeof n->tokens) != 0)) {
        n = n->next;
    }
    return n;
}

size_t prefixtree_find(struct prefixtree *t, uint64_t partition, const int32_t *tokens, size_t n,
                       struct kvpage **pages)
{
    struct prefixtree_node *at = NULL;
    size_t found = 0;
    t->clock++;
    for (; (found + 1) * MODEL_CACHE_PAGE <= n; found++, tokens += MODEL_CACHE_PAGE) {
        at = prefixtree_child(t, at, partition, tokens, prefixtree_hash(at, partition, tokens));
        if (!at) {
            break;
        }
        at->used = t->clock;
        kvpool_hold(at->page);
        pages[found] = at->page;
    }
    return found;
}

/* Twice the buckets, when that can be had. */
static void prefixtree_widen(struct prefixtree *t)
{
    size_t n = 2 * t->n_buckets;
    struct prefixtree_node **wide = mem_calloc(n, sizeof *wide);
    for (size_t i = 0; wide && i < t->n_buckets; i++) {
        for (struct prefixtree_node *at = t->buckets[i], *next; at; at = next) {
            next = at->next;
            at->next = wide[at->hash & (n - 1)];
            wide[at->hash & (n - 1)] = at;
        }
    }
    if (wide) {
        mem_free(t->buckets);
        t->buckets = wide;
        t->n_buckets = n;
    }
}

static struct prefixtree_node *prefixtree_put(struct prefixtree *t, struct prefixtree_node *parent,
                                              uint64_t partition, const int32_t *tokens, uint64_t hash,
                                              struct kvpage *page)
{
    struct prefixtree_node *n = mem_calloc(1, sizeof *n);
    if (!n) {
        return NULL;
    }
    if (t->n_nodes == t->n_buckets) {
        prefixtree_widen(t);
    }
    *n = (struct prefixtree_node){.parent = parent, .partition = partition, .hash = hash, .page = page};
    memcpy(n->tokens, tokens, sizeof n->tokens);
    n->next = t->buckets[hash & (t->n_buckets - 1)];
    t->buckets[hash & (t->n_buckets - 1)] = n;
    t->n_nodes++;
    if (parent) {
        parent->n_children++;
    }
    kvpool_hold(page);
    return n;
}

void prefixtree_add(struct prefixtree *t, uint64_t partition, const int32_t *tokens, struct kvpage **pages,
                    size_t n_pages)
{
    struct prefixtree_node *at = NULL;
    t->clock++;
    for (size_t i = 0; i < n_pages; i++, tokens += MODEL_CACHE_PAGE) {
        uint64_t hash = prefixtree_hash(at, partition, tokens);
        struct prefixtree_node *n = prefixtree_child(t, at, partition, tokens, hash);
        n = n ? n : prefixtree_put(t, at, partition, tokens, hash, pages[i]);
        if (!n) {
            return;
        }
        if (n->page != pages[i]) {
            kvpool_hold(n->page);
            kvpool_drop(t->pool, pages[i]);
            pages[i] = n->page;
        }
        n->used = t->clock;
        at = n;
    }
}

static void prefixtree_remove(struct prefixtree *t, struct prefixtree_node *n)
{
    struct prefixtree_node **at = &t->buckets[n->hash & (t->n_buckets - 1)];
    while (*at != n) {
        at = &(*at)->next;
    }
    *at = n->next;
    if (n->parent) {
        n->parent->n_children--;
    }
    kvpool_drop(t->pool, n->page);
    t->n_nodes--;
    mem_free(n);
}

bool prefixtree_evict(struct prefixtree *t)
{
    struct prefixtree_node *oldest = NULL;
    for (size_t i = 0; i < t->n_buckets; i++) {
        for (struct prefixtree_node *n = t->buckets[i]; n; n = n->next) {
            if (n->n_children == 0 && n->page->holders == 1 && (!oldest || n->used < oldest->used)) {
                oldest = n;
            }
        }
    }
    if (oldest) {
        prefixtree_remove(t, oldest);
    }
    return oldest != NULL;
}

size_t prefixtree_pages(const struct prefixtree *t)
{
    return t->n_nodes;
}

/* text/bpe.c: see bpe.h. Short pieces, nearly all there are, are scanned for the best pair again and
 * again; long ones keep a linked list of symbols and a heap of candidate pairs. A candidate whose
 * symbols have changed since it was pushed is dropped when it comes up. */
#include "text/bpe.h"

#include "base/checked.h"
#include "base/mem.h"

enum { BPE_SHORT = 32 };

struct bpe_symbol {
    int32_t id;         /* -1 once merged into its left neighbour */
    int32_t prev, next; /* -1 at the ends */
};

/* A rule's rank is its own, so it says whether the pair is still the one that was pushed. */
struct bpe_candidate {
    int32_t rank;
    int32_t at; /* index of the left symbol */
};

err bpe_init(struct bpe *b, size_t n_rules, uint64_t seed)
{
    size_t wanted, slots = 16;
    if (!checked_mul(n_rules, 2, &wanted)) {
        return ERR_NOMEM;
    }
    while (slots < wanted) {
        slots *= 2;
    }
    struct bpe_rule *p = mem_resize(NULL, slots, sizeof *p);
    if (!p) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < slots; i++) {
        p[i].left = -1;
    }
    b->slots = p;
    b->mask = slots - 1;
    b->seed = seed;
    return ERR_OK;
}

void bpe_deinit(struct bpe *b)
{
    mem_free(b->slots);
    *b = (struct bpe){0};
}

/* The slot of a pair, or the empty one where it would go. */
static struct bpe_rule *bpe_slot(const struct bpe *b, int32_t left, int32_t right)
{
    uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ b->seed;
    key = (key ^ key >> 32) * UINT64_C(0xd6e8feb86659fd93);
    key = (key ^ key >> 32) * UINT64_C(0xd6e8feb86659fd93);
    size_t i = (size_t)(key ^ key >> 32) & b->mask;
    while (b->slots[i].left >= 0 && (b->slots[i].left != left || b->slots[i].right != right)) {
        i = (i + 1) & b->mask;
    }
    return &b->slots[i];
}

void bpe_add(struct bpe *b, int32_t left, int32_t right, int32_t rank, int32_t id)
{
    *bpe_slot(b, left, right) = (struct bpe_rule){left, right, rank, id};
}

static const struct bpe_rule *bpe_find(const struct bpe *b, int32_t left, int32_t right)
{
    const struct bpe_rule *r = bpe_slot(b, left, right);
    return r->left >= 0 ? r : NULL;
}

void bpe_work_deinit(struct bpe_work *w)
{
    mem_free(w->symbols);
    mem_free(w->heap);
    *w = (struct bpe_work){0};
}

/* ranks[i] is the rank of the pair (i, i + 1), INT32_MAX for none; merged[i] what it becomes. */
static void bpe_rank_pair(const struct bpe *b, const int32_t *ids, size_t i, int32_t *ranks,
                          int32_t *merged)
{
    const struct bpe_rule *r = bpe_find(b, ids[i], ids[i + 1]);
    ranks[i] = r ? r->rank : INT32_MAX;
    merged[i] = r ? r->id : -1;
}

static void bpe_merge_short(const struct bpe *b, int32_t *ids, size_t *n_ids)
{
    int32_t ranks[BPE_SHORT], merged[BPE_SHORT];
    size_t n = *n_ids;
    for (size_t i = 0; i + 1 < n; i++) {
        bpe_rank_pair(b, ids, i, ranks, merged);
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            best = ranks[i] < ranks[best] ? i : best;
        }
        if (ranks[best] == INT32_MAX) {
            break;
        }
        ids[best] = merged[best];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            ranks[i] = ranks[i + 1];
            merged[i] = merged[i + 1];
        }
        if (best + 1 < n) {
            bpe_rank_pair(b, ids, best, ranks, merged);
        }
        if (best > 0) {
            bpe_rank_pair(b, ids, best - 1, ranks, merged);
        }
    }
    *n_ids = n;
}

static bool bpe_before(const struct bpe_candidate *a, const struct bpe_candidate *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

/* The heap has room: one candidate per initial pair, and every merge takes one and adds two at most. */
static void bpe_push(struct bpe_work *w, struct bpe_candidate c)
{
    size_t i = w->n_heap++;
    while (i > 0 && bpe_before(&c, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = c;
}

static struct bpe_candidate bpe_pop(struct bpe_work *w)
{
    struct bpe_candidate top = w->heap[0];
    struct bpe_candidate moved = w->heap[--w->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->n_heap) {
            break;
        }
        if (child + 1 < w->n_heap && bpe_before(&w->heap[child + 1], &w->heap[child])) {
            child++;
        }
        if (!bpe_before(&w->heap[child], &moved)) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = moved;
    return top;
}

static void bpe_consider(const struct bpe *b, struct bpe_work *w, int32_t at)
{
    const struct bpe_symbol *s = &w->symbols[at];
    if (s->next < 0) {
        return;
    }
    const struct bpe_rule *r = bpe_find(b, s->id, w->symbols[s->next].id);
    if (r) {
        bpe_push(w, (struct bpe_candidate){r->rank, at});
    }
}

/* Room for n symbols and for 2n candidates. */
static err bpe_reserve(struct bpe_work *w, size_t n)
{
    size_t n_heap;
    if (!checked_mul(n, 2, &n_heap)) {
        return ERR_NOMEM;
    }
    if (w->cap_symbols < n) {
        struct bpe_symbol *p = mem_resize(w->symbols, n, sizeof *p);
        if (!p) {
            return ERR_NOMEM;
        }
        w->symbols = p;
        w->cap_symbols = n;
    }
    if (w->cap_heap < n_heap) {
        struct bpe_candidate *p = mem_resize(w->heap, n_heap, sizeof *p);
        if (!p) {
            return ERR_NOMEM;
        }
        w->heap = p;
        w->cap_heap = n_heap;
    }
    return ERR_OK;
}

static void bpe_apply(const struct bpe *b, struct bpe_work *w, const struct bpe_candidate *c)
{
    struct bpe_symbol *s = &w->symbols[c->at];
    if (s->id < 0 || s->next < 0) {
        return; /* merged into its left neighbour, or it has lost its right one */
    }
    struct bpe_symbol *gone = &w->symbols[s->next];
    const struct bpe_rule *r = bpe_find(b, s->id, gone->id);
    if (!r || r->rank != c->rank) {
        return; /* one of the two is another symbol now */
    }
    s->id = r->id;
    s->next = gone->next;
    gone->id = -1;
    if (s->next >= 0) {
        w->symbols[s->next].prev = c->at;
    }
    bpe_consider(b, w, c->at);
    if (s->prev >= 0) {
        bpe_consider(b, w, s->prev);
    }
}

err bpe_merge(const struct bpe *b, struct bpe_work *w, int32_t *ids, size_t *n)
{
    if (*n <= BPE_SHORT) {
        bpe_merge_short(b, ids, n);
        return ERR_OK;
    }
    TRY(bpe_reserve(w, *n));
    int32_t count = (int32_t)*n;
    for (int32_t i = 0; i < count; i++) {
        w->symbols[i] = (struct bpe_symbol){ids[i], i - 1, i + 1 < count ? i + 1 : -1};
    }
    w->n_heap = 0;
    for (int32_t i = 0; i < count; i++) {
        bpe_consider(b, w, i);
    }
    while (w->n_heap > 0) {
        struct bpe_candidate c = bpe_pop(w);
        bpe_apply(b, w, &c);
    }
    size_t kept = 0;
    for (int32_t i = 0; i >= 0; i = w->symbols[i].next) {
        ids[kept++] = w->symbols[i].id;
    }
    *n = kept;
    return ERR_OK;
}

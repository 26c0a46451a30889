/* text/bpe.c: see bpe.h. Short pieces, nearly all there are, are scanned for the best pair again and
 * again; long ones keep a linked list of symbols and a queue of candidate pairs. A candidate whose
 * symbols have changed since it was pushed is dropped when it comes up.
 *
 * The queue is a heap of runs: candidates of one rank, in the order of their places. A run at the top stays
 * there until it is used up, and what is pushed mostly goes on where the last run of its rank ends, so that a
 * word of millions of letters costs few steps in the heap and is walked through in the order of memory. */
#include "text/bpe.h"

#include "base/checked.h"
#include "base/mem.h"

enum { BPE_SHORT = 32 };

struct bpe_symbol {
    int32_t id;         /* -1 once merged into its left neighbour */
    int32_t prev, next; /* -1 at the ends */
};

struct bpe_candidate {
    int32_t at;   /* index of the left symbol */
    int32_t next; /* of its run, or of those that are free; -1 at the end */
};

/* A rule's rank is its own, so it says whether a pair is still the one that was pushed. */
struct bpe_run {
    int32_t rank;
    int32_t at, first; /* its first candidate: the place, and the index */
};

struct bpe_end { /* where the last run of a rank ends; some are forgotten for others */
    int32_t rank, candidate;
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
    mem_free(w->candidates);
    mem_free(w->heap);
    mem_free(w->ends);
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

/* ---- The queue. ---- */

static bool bpe_before(const struct bpe_run *a, const struct bpe_run *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static struct bpe_end *bpe_end_of(struct bpe_work *w, int32_t rank)
{
    return &w->ends[(size_t)rank & w->mask_ends];
}

static err bpe_push_run(struct bpe_work *w, struct bpe_run run)
{
    if (w->n_heap == w->cap_heap) {
        size_t cap = w->cap_heap ? w->cap_heap * 2 : 256;
        struct bpe_run *p = mem_resize(w->heap, cap, sizeof *p);
        if (!p) {
            return ERR_NOMEM;
        }
        w->heap = p;
        w->cap_heap = cap;
    }
    size_t i = w->n_heap++;
    while (i > 0 && bpe_before(&run, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = run;
    return ERR_OK;
}

/* There is a free candidate: one per initial pair, and every merge takes one and adds two at most. */
static err bpe_push(struct bpe_work *w, int32_t rank, int32_t at)
{
    struct bpe_end *end = bpe_end_of(w, rank);
    int32_t new = w->free;
    struct bpe_candidate *c = &w->candidates[new];
    w->free = c->next;
    *c = (struct bpe_candidate){at, -1};
    bool goes_on = end->rank == rank && w->candidates[end->candidate].at <= at;
    if (goes_on) {
        w->candidates[end->candidate].next = new;
    }
    *end = (struct bpe_end){rank, new};
    return goes_on ? ERR_OK : bpe_push_run(w, (struct bpe_run){rank, at, new});
}

/* The root of the heap has grown, or is another one. */
static void bpe_sink(struct bpe_work *w)
{
    struct bpe_run moved = w->heap[0];
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
}

/* Takes the first candidate of the first run, whose rank and place it has. */
static struct bpe_run bpe_pop(struct bpe_work *w)
{
    struct bpe_run *top = &w->heap[0], taken = *top;
    struct bpe_candidate *c = &w->candidates[taken.first];
    struct bpe_end *end = bpe_end_of(w, taken.rank);
    if (c->next >= 0) {
        top->first = c->next;
        top->at = w->candidates[c->next].at;
    } else {
        if (end->rank == taken.rank && end->candidate == taken.first) {
            end->rank = -1;
        }
        *top = w->heap[--w->n_heap];
    }
    c->next = w->free;
    w->free = taken.first;
    if (w->n_heap > 1) {
        bpe_sink(w);
    }
    return taken;
}

/* ---- Long pieces. ---- */

static err bpe_consider(const struct bpe *b, struct bpe_work *w, int32_t at)
{
    const struct bpe_symbol *s = &w->symbols[at];
    const struct bpe_rule *r = s->next >= 0 ? bpe_find(b, s->id, w->symbols[s->next].id) : NULL;
    return r ? bpe_push(w, r->rank, at) : ERR_OK;
}

/* An empty queue, for n symbols. */
static err bpe_reserve(struct bpe_work *w, size_t n)
{
    enum { BPE_ENDS_MAX = 1 << 16 };
    size_t n_candidates, n_ends = 16;
    if (!checked_mul(n, 2, &n_candidates)) {
        return ERR_NOMEM;
    }
    if (w->cap_symbols < n) {
        struct bpe_symbol *symbols = mem_resize(w->symbols, n, sizeof *symbols);
        w->symbols = symbols ? symbols : w->symbols;
        struct bpe_candidate *candidates = mem_resize(w->candidates, n_candidates, sizeof *candidates);
        w->candidates = candidates ? candidates : w->candidates;
        if (!symbols || !candidates) {
            return ERR_NOMEM;
        }
        w->cap_symbols = n;
    }
    while (n_ends < n && n_ends < BPE_ENDS_MAX) {
        n_ends *= 2;
    }
    if (w->cap_ends < n_ends) {
        struct bpe_end *ends = mem_resize(w->ends, n_ends, sizeof *ends);
        if (!ends) {
            return ERR_NOMEM;
        }
        w->ends = ends;
        w->cap_ends = n_ends;
    }
    for (size_t i = 0; i < n_ends; i++) {
        w->ends[i].rank = -1;
    }
    w->mask_ends = n_ends - 1;
    for (size_t i = 0; i < n_candidates; i++) {
        w->candidates[i].next = i + 1 < n_candidates ? (int32_t)(i + 1) : -1;
    }
    w->free = 0;
    w->n_heap = 0;
    return ERR_OK;
}

static err bpe_apply(const struct bpe *b, struct bpe_work *w, const struct bpe_run *c)
{
    struct bpe_symbol *s = &w->symbols[c->at];
    if (s->id < 0 || s->next < 0) {
        return ERR_OK; /* merged into its left neighbour, or it has lost its right one */
    }
    struct bpe_symbol *gone = &w->symbols[s->next];
    const struct bpe_rule *r = bpe_find(b, s->id, gone->id);
    if (!r || r->rank != c->rank) {
        return ERR_OK; /* one of the two is another symbol now */
    }
    s->id = r->id;
    s->next = gone->next;
    gone->id = -1;
    if (s->next >= 0) {
        w->symbols[s->next].prev = c->at;
    }
    if (s->prev >= 0) {
        TRY(bpe_consider(b, w, s->prev));
    }
    return bpe_consider(b, w, c->at);
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
    for (int32_t i = 0; i < count; i++) {
        TRY(bpe_consider(b, w, i));
    }
    while (w->n_heap > 0) {
        struct bpe_run c = bpe_pop(w);
        TRY(bpe_apply(b, w, &c));
    }
    size_t kept = 0;
    for (int32_t i = 0; i >= 0; i = w->symbols[i].next) {
        ids[kept++] = w->symbols[i].id;
    }
    *n = kept;
    return ERR_OK;
}

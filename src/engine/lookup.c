/* engine/lookup.c: see lookup.h. */
#include "engine/lookup.h"

#include "base/mem.h"

enum { LOOKUP_HEADS_MIN = 64, LOOKUP_HEADS_MAX = 1 << 20 };

err lookup_init(struct lookup *l, size_t capacity)
{
    struct lookup n = {.n_heads = LOOKUP_HEADS_MIN, .capacity = capacity};
    while (n.n_heads < capacity && n.n_heads < LOOKUP_HEADS_MAX) {
        n.n_heads *= 2;
    }
    n.head = mem_calloc(n.n_heads, sizeof *n.head);
    n.older = mem_calloc(capacity, sizeof *n.older);
    if (!n.head || !n.older) {
        lookup_deinit(&n);
        return ERR_NOMEM;
    }
    *l = n;
    return ERR_OK;
}

void lookup_deinit(struct lookup *l)
{
    mem_free(l->head);
    mem_free(l->older);
    *l = (struct lookup){0};
}

/* The chain of the gram that ends at position `end`. */
static uint32_t *lookup_head(const struct lookup *l, const int32_t *tokens, size_t end)
{
    uint64_t h = 0;
    for (size_t i = 0; i < LOOKUP_GRAM; i++) {
        h = (h ^ (uint32_t)tokens[end - i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return &l->head[h & (l->n_heads - 1)];
}

void lookup_extend(struct lookup *l, const int32_t *tokens, size_t n)
{
    for (; l->n < n; l->n++) {
        if (l->n + 1 >= LOOKUP_GRAM) {
            uint32_t *head = lookup_head(l, tokens, l->n);
            l->older[l->n] = *head;
            *head = (uint32_t)l->n + 1;
        }
    }
}

void lookup_truncate(struct lookup *l, const int32_t *tokens, size_t n)
{
    for (; l->n > n; l->n--) { /* the newest is always the head of its chain */
        if (l->n >= LOOKUP_GRAM) {
            *lookup_head(l, tokens, l->n - 1) = l->older[l->n - 1];
        }
    }
}

/* How many tokens up to position `end` are the same as the last ones of the sequence. */
static size_t lookup_match(const struct lookup *l, const int32_t *tokens, size_t end)
{
    size_t k = 0;
    while (k < LOOKUP_MATCH_MAX && k <= end && tokens[end - k] == tokens[l->n - 1 - k]) {
        k++;
    }
    return k;
}

size_t lookup_guess(const struct lookup *l, const int32_t *tokens, size_t max, int32_t *out,
                    size_t *matched)
{
    size_t best = 0, from = 0;
    *matched = 0;
    if (l->n <= LOOKUP_GRAM) {
        return 0;
    }
    uint32_t at = l->older[l->n - 1]; /* the head of the chain is the end itself */
    for (int i = 0; at && i < LOOKUP_CANDIDATES && best < LOOKUP_MATCH_MAX; i++) {
        size_t k = lookup_match(l, tokens, at - 1);
        if (k > best) {
            best = k;
            from = at; /* the token after the match */
        }
        at = l->older[at - 1];
    }
    if (best < LOOKUP_GRAM) {
        return 0;
    }
    for (size_t i = 0; i < max; i++) {
        out[i] = from + i < l->n ? tokens[from + i] : out[from + i - l->n];
    }
    *matched = best;
    return max;
}

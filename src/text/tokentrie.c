/* text/tokentrie.c: see tokentrie.h. Sorted tokens are the tree already: each adds the nodes behind what it has
 * in common with the one before. */
#include "text/tokentrie.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int tokentrie_compare(const void *a, const void *b, void *user)
{
    const struct tokenizer *t = user;
    int32_t i = *(const int32_t *)a, k = *(const int32_t *)b;
    struct tokenizer_piece x = tokenizer_bytes(t, i), y = tokenizer_bytes(t, k);
    int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
    if (order == 0) {
        order = (x.len > y.len) - (x.len < y.len);
    }
    return order ? order : (i > k) - (i < k);
}

bool tokentrie_takes(const struct tokenizer *t, int32_t id)
{
    enum tokenizer_kind kind = tokenizer_kind_at(t, id);
    struct tokenizer_piece p = tokenizer_bytes(t, id);
    bool text = (kind == TOKENIZER_NORMAL || kind == TOKENIZER_BYTE) && p.len > 0 &&
                p.len <= TOKENTRIE_DEPTH_MAX;
    for (size_t i = 0; i < p.len && text; i++) {
        text = (uint8_t)p.data[i] < 0xf8; /* what no character has; grammars have their own use for it */
    }
    return text;
}

static size_t tokentrie_common(struct tokenizer_piece a, struct tokenizer_piece b)
{
    size_t n = 0;
    while (n < a.len && n < b.len && a.data[n] == b.data[n]) {
        n++;
    }
    return n;
}

/* The nodes, or with NULL arrays only their number. */
static void tokentrie_fill(struct tokentrie *v, const struct tokenizer *t)
{
    struct tokenizer_piece before = {"", 0};
    uint32_t open[TOKENTRIE_DEPTH_MAX]; /* the last node of each depth */
    size_t n = 0;
    for (size_t i = 0; i < v->n_tokens; i++) {
        struct tokenizer_piece p = tokenizer_bytes(t, v->ids[i]);
        size_t from = tokentrie_common(before, p);
        for (size_t d = from; d < before.len && v->bytes; d++) {
            v->skips[open[d]] = (uint32_t)n;
        }
        for (size_t d = from; d < p.len; d++, n++) {
            open[d] = (uint32_t)n;
            if (v->bytes) {
                v->bytes[n] = (uint8_t)p.data[d];
                v->depths[n] = (uint8_t)d;
                v->firsts[n] = (uint32_t)i; /* a later token with the same bytes adds no node */
            }
        }
        before = p;
    }
    for (size_t d = 0; d < before.len && v->bytes; d++) {
        v->skips[open[d]] = (uint32_t)n;
    }
    if (v->bytes) {
        v->firsts[n] = (uint32_t)v->n_tokens;
    }
    v->n_nodes = n;
}

/* Where a path is in a character: bytes to come, and what the next may be. */
struct tokentrie_character {
    uint8_t left, low, high;
};

/* One byte further; false: no well-formed character, or one to escape. */
static bool tokentrie_character_next(struct tokentrie_character *c, uint8_t byte)
{
    struct tokentrie_character now = *c;
    *c = (struct tokentrie_character){0};
    if (now.left > 0) {
        *c = (struct tokentrie_character){(uint8_t)(now.left - 1), 0x80, 0xbf};
        return byte >= now.low && byte <= now.high;
    }
    if (byte < 0x80) {
        return byte >= 0x20 && byte != 0x7f && byte != '"' && byte != '\\';
    }
    if (byte < 0xc2 || byte > 0xf4) {
        return false;
    }
    c->left = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
    c->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    c->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return true;
}

/* `other`: [n_nodes + 1] */
static void tokentrie_fill_plain(struct tokentrie *v, uint32_t *other)
{
    struct tokentrie_character path[TOKENTRIE_DEPTH_MAX + 1] = {{0}};
    for (size_t i = 0; i < v->n_nodes; i++) { /* other[i]: nodes before i that are not plain themselves */
        struct tokentrie_character c = path[v->depths[i]];
        v->plain[i] = c.left == 0;
        other[i + 1] = other[i] + !tokentrie_character_next(&c, v->bytes[i]);
        path[v->depths[i] + 1] = c;
    }
    int deepest[TOKENTRIE_DEPTH_MAX + 1] = {0}; /* of each depth, what was seen behind the parent */
    for (size_t i = v->n_nodes; i-- > 0;) {
        int depth = v->depths[i], last = deepest[depth + 1] > depth ? deepest[depth + 1] : depth;
        bool plain = v->plain[i] && other[v->skips[i]] == other[i];
        deepest[depth + 1] = 0;
        deepest[depth] = last > deepest[depth] ? last : deepest[depth];
        v->plain[i] = (uint8_t)(plain ? last - depth + 1 : 0);
    }
}

static err tokentrie_build(struct tokentrie *v, const struct tokenizer *t)
{
    v->ids = mem_calloc(tokenizer_size(t), sizeof *v->ids);
    if (!v->ids) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < tokenizer_size(t); i++) {
        if (tokentrie_takes(t, (int32_t)i)) {
            v->ids[v->n_tokens++] = (int32_t)i;
        }
    }
    qsort_r(v->ids, v->n_tokens, sizeof *v->ids, tokentrie_compare, (void *)(uintptr_t)t);
    tokentrie_fill(v, t);
    v->depths = mem_calloc(v->n_nodes, 1);
    v->skips = mem_calloc(v->n_nodes, sizeof *v->skips);
    v->firsts = mem_calloc(v->n_nodes + 1, sizeof *v->firsts);
    v->bytes = v->depths && v->skips && v->firsts ? mem_calloc(v->n_nodes, 1) : NULL;
    if (!v->bytes) {
        return ERR_NOMEM;
    }
    tokentrie_fill(v, t);
    v->plain = mem_calloc(v->n_nodes, sizeof *v->plain);
    uint32_t *other = v->plain ? mem_calloc(v->n_nodes + 1, sizeof *other) : NULL;
    if (!other) {
        return ERR_NOMEM;
    }
    tokentrie_fill_plain(v, other);
    mem_free(other);
    return ERR_OK;
}

err tokentrie_new(const struct tokenizer *t, struct tokentrie **out, struct errinfo *info)
{
    struct tokentrie *v = mem_calloc(1, sizeof *v);
    err e = v ? tokentrie_build(v, t) : ERR_NOMEM;
    if (e != ERR_OK) {
        tokentrie_free(v);
        return err_set(info, e, "out of memory for the tree of a vocabulary of %zu tokens", tokenizer_size(t));
    }
    v->tokenizer = t;
    v->vocab_size = tokenizer_size(t);
    *out = v;
    return ERR_OK;
}

void tokentrie_free(struct tokentrie *v)
{
    if (v) {
        mem_free(v->bytes);
        mem_free(v->depths);
        mem_free(v->skips);
        mem_free(v->firsts);
        mem_free(v->ids);
        mem_free(v->plain);
        mem_free(v);
    }
}

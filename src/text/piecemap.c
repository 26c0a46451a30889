/* text/piecemap.c: see piecemap.h. Open addressing, at most half full. */
#include "text/piecemap.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

err piecemap_init(struct piecemap *m, size_t n, uint64_t seed, const char *block, const uint32_t *at)
{
    size_t wanted, slots = 16;
    if (!checked_mul(n, 2, &wanted)) {
        return ERR_NOMEM;
    }
    while (slots < wanted) {
        slots *= 2;
    }
    struct piecemap_slot *p = mem_resize(NULL, slots, sizeof *p);
    if (!p) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < slots; i++) {
        p[i].id = -1;
    }
    *m = (struct piecemap){p, slots - 1, seed, block, at};
    return ERR_OK;
}

void piecemap_deinit(struct piecemap *m)
{
    mem_free(m->slots);
    *m = (struct piecemap){0};
}

static uint64_t piecemap_mix(uint64_t h, uint64_t word)
{
    unsigned __int128 product = (unsigned __int128)(h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t piecemap_hash(const struct piecemap *m, const char *bytes, size_t len)
{
    uint64_t h = piecemap_mix(m->seed, len);
    uint64_t word;
    for (; len >= sizeof word; bytes += sizeof word, len -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        h = piecemap_mix(h, word);
    }
    word = 0;
    for (size_t i = 0; i < len; i++) {
        word = word << 8 | (unsigned char)bytes[i];
    }
    return piecemap_mix(piecemap_mix(h, word), m->seed);
}

/* The slot that holds the bytes, or the empty one where they would go. */
static struct piecemap_slot *piecemap_slot_of(const struct piecemap *m, const char *bytes, size_t len,
                                              uint32_t *hash)
{
    uint64_t h = piecemap_hash(m, bytes, len);
    *hash = (uint32_t)(h >> 32);
    size_t i = (size_t)h & m->mask;
    for (;; i = (i + 1) & m->mask) {
        struct piecemap_slot *s = &m->slots[i];
        if (s->id < 0) {
            return s;
        }
        uint32_t from = m->at[s->id];
        if (s->hash == *hash && m->at[s->id + 1] - from == len &&
            memcmp(m->block + from, bytes, len) == 0) {
            return s;
        }
    }
}

int32_t piecemap_add(struct piecemap *m, int32_t id)
{
    uint32_t hash;
    uint32_t from = m->at[id];
    struct piecemap_slot *s = piecemap_slot_of(m, m->block + from, m->at[id + 1] - from, &hash);
    if (s->id < 0) {
        *s = (struct piecemap_slot){hash, id};
    }
    return s->id;
}

int32_t piecemap_find(const struct piecemap *m, const char *bytes, size_t len)
{
    uint32_t hash;
    return piecemap_slot_of(m, bytes, len, &hash)->id;
}

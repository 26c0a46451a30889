/* text/wordcount.c: see wordcount.h. Open addressing. */
#include "text/wordcount.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

enum { WORDCOUNT_SLOTS = 1024, WORDCOUNT_BYTES = 16384 };

static uint64_t wordcount_hash(const char *word, size_t len)
{
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ len, part;
    for (; len >= sizeof part; word += sizeof part, len -= sizeof part) {
        memcpy(&part, word, sizeof part);
        h = (h ^ part) * UINT64_C(0xd6e8feb86659fd93);
        h ^= h >> 32;
    }
    part = 0;
    memcpy(&part, word, len);
    h = (h ^ part) * UINT64_C(0xd6e8feb86659fd93);
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

/* The slot of the word, or the empty one where it would go. */
static struct wordcount_word *wordcount_slot(const struct wordcount *w, uint64_t hash, const char *word,
                                             size_t len)
{
    for (size_t i = (size_t)hash;; i++) {
        struct wordcount_word *s = &w->slots[i & (w->n_slots - 1)];
        if (s->times == 0 ||
            (s->hash == hash && s->len == len && memcmp(w->bytes + s->at, word, len) == 0)) {
            return s;
        }
    }
}

static err wordcount_grow_slots(struct wordcount *w)
{
    struct wordcount old = *w;
    size_t n = old.n_slots ? old.n_slots : WORDCOUNT_SLOTS / 2;
    if (!checked_mul(n, 2, &n)) {
        return ERR_NOMEM;
    }
    struct wordcount_word *slots = mem_calloc(n, sizeof *slots);
    if (!slots) {
        return ERR_NOMEM;
    }
    w->slots = slots;
    w->n_slots = n;
    for (size_t i = 0; i < old.n_slots; i++) {
        size_t j = (size_t)old.slots[i].hash;
        if (old.slots[i].times) {
            while (slots[j & (n - 1)].times) {
                j++;
            }
            slots[j & (n - 1)] = old.slots[i];
        }
    }
    mem_free(old.slots);
    return ERR_OK;
}

static err wordcount_grow_bytes(struct wordcount *w, size_t more)
{
    size_t needed, cap = w->cap_bytes ? w->cap_bytes : WORDCOUNT_BYTES;
    if (!checked_add(w->n_bytes, more, &needed)) {
        return ERR_NOMEM;
    }
    while (cap < needed) {
        if (!checked_mul(cap, 2, &cap)) {
            return ERR_NOMEM;
        }
    }
    if (cap > w->cap_bytes) {
        char *bytes = mem_resize(w->bytes, cap, 1);
        if (!bytes) {
            return ERR_NOMEM;
        }
        w->bytes = bytes;
        w->cap_bytes = cap;
    }
    return ERR_OK;
}

err wordcount_add(struct wordcount *w, const char *word, size_t len, uint64_t times)
{
    if (w->n >= w->n_slots / 3 * 2) {
        TRY(wordcount_grow_slots(w));
    }
    uint64_t hash = wordcount_hash(word, len);
    struct wordcount_word *s = wordcount_slot(w, hash, word, len);
    if (s->times == 0) {
        TRY(wordcount_grow_bytes(w, len));
        memcpy(w->bytes + w->n_bytes, word, len);
        *s = (struct wordcount_word){.hash = hash, .at = w->n_bytes, .len = len};
        w->n_bytes += len;
        w->n++;
    }
    s->times += times;
    return ERR_OK;
}

err wordcount_merge(struct wordcount *to, const struct wordcount *from)
{
    for (size_t i = 0; i < from->n_slots; i++) {
        const struct wordcount_word *s = &from->slots[i];
        if (s->times) {
            TRY(wordcount_add(to, from->bytes + s->at, s->len, s->times));
        }
    }
    return ERR_OK;
}

uint64_t wordcount_times(const struct wordcount *w, const char *word, size_t len)
{
    return w->n_slots ? wordcount_slot(w, wordcount_hash(word, len), word, len)->times : 0;
}

void wordcount_deinit(struct wordcount *w)
{
    mem_free(w->slots);
    mem_free(w->bytes);
    *w = (struct wordcount){0};
}

/* text/piecemap.h: finds the id of a byte string. The strings stand back to back in one block; string i
 * is block[at[i] .. at[i + 1]). The map borrows block and offsets. Immutable once filled, then
 * thread-safe. */
#ifndef TEXT_PIECEMAP_H
#define TEXT_PIECEMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct piecemap_slot {
    uint32_t hash;
    int32_t id; /* -1: empty */
};
struct piecemap {
    struct piecemap_slot *slots; /* owned */
    size_t mask;
    uint64_t seed; /* makes collisions unpredictable for whoever wrote the file */
    const char *block;
    const uint32_t *at;
};

/* Room for n strings. */
ERR_MUST_USE err piecemap_init(struct piecemap *m, size_t n, uint64_t seed, const char *block,
                               const uint32_t *at);
void piecemap_deinit(struct piecemap *m); /* a zeroed struct is fine */
/* Adds string `id` unless an equal one is there; returns the id that is found from now on. At most n
 * different strings. */
int32_t piecemap_add(struct piecemap *m, int32_t id);
/* -1 when there is none. */
int32_t piecemap_find(const struct piecemap *m, const char *bytes, size_t len);

#endif

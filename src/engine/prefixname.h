/* engine/prefixname.h: names for the beginnings of texts, in steps of a page (MODEL_CACHE_PAGE tokens): keyed
 * BLAKE2b hashes, each of the one before and of the page's tokens. Equal names are equal texts, of the same
 * partition and of engines whose keys and values are the same; without the root a name says nothing of the
 * text. */
#ifndef ENGINE_PREFIXNAME_H
#define ENGINE_PREFIXNAME_H

#include "engine/engine.h"

enum { PREFIXNAME_BYTES = 32 };

struct prefixname {
    uint8_t bytes[PREFIXNAME_BYTES];
};

/* What all names of an engine are keyed with: `key` and everything that its keys and values depend on: the
 * model, their type, the kind of arithmetic. Reads what identity_of reads. */
struct prefixname prefixname_root(const struct engine *e, const uint8_t key[PREFIXNAME_BYTES]);

/* The empty text. */
struct prefixname prefixname_begin(const struct prefixname *root, uint64_t partition);
/* A page more: tokens [MODEL_CACHE_PAGE]. */
struct prefixname prefixname_next(const struct prefixname *root, const struct prefixname *before,
                                  const int32_t *tokens);

/* What a drawer (batcher.h) is called where only the key is known, whatever the engine. */
struct prefixname prefixname_folder(const uint8_t key[PREFIXNAME_BYTES], uint64_t drawer);
/* Tells whether rows are those of the page of this name. */
struct prefixname prefixname_sum(const struct prefixname *root, const struct prefixname *page, const void *rows,
                                 size_t bytes);

#endif

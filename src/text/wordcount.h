/* text/wordcount.h: how often each byte string occurs: what byte-pair merging is learned from.
 * A zeroed struct is an empty one. One thread per struct; counts of several are added up with
 * wordcount_merge. */
#ifndef TEXT_WORDCOUNT_H
#define TEXT_WORDCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct wordcount_word {
    uint64_t hash;
    uint64_t times; /* 0: an empty slot */
    size_t at, len; /* in `bytes` */
};
struct wordcount {
    struct wordcount_word *slots; /* owned; at most two thirds full */
    size_t n_slots;               /* 0 or a power of two */
    size_t n;                     /* different words */
    char *bytes;                  /* owned; all words back to back */
    size_t n_bytes, cap_bytes;
};

/* Counts `word` [len] another `times` (1 or more). ERR_NOMEM leaves everything as it was. */
ERR_MUST_USE err wordcount_add(struct wordcount *w, const char *word, size_t len, uint64_t times);

/* Adds all of `from` to `to`. After ERR_NOMEM some of it may have been added. */
ERR_MUST_USE err wordcount_merge(struct wordcount *to, const struct wordcount *from);

/* How often `word` was counted; 0 for never. */
uint64_t wordcount_times(const struct wordcount *w, const char *word, size_t len);

void wordcount_deinit(struct wordcount *w);

#endif

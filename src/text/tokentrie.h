/* text/tokentrie.h: the tokens of a vocabulary that may stand in text, as a tree of their bytes, so that tokens
 * that begin alike are looked at together. Immutable; thread-safe. */
#ifndef TEXT_TOKENTRIE_H
#define TEXT_TOKENTRIE_H

#include <stdbool.h>

#include "text/tokenizer.h"

enum { TOKENTRIE_DEPTH_MAX = 255 }; /* bytes; longer tokens are left out */

/* `tokenizer` must outlive it. Every node comes before the ones below it. Added tokens of any kind are left
 * out: what a grammar asks for is text, and text never becomes a control token (those that it names, <[id]>,
 * are no part of the tree). */
struct tokentrie {
    const struct tokenizer *tokenizer;
    size_t n_nodes, n_tokens, vocab_size;
    uint8_t *bytes;   /* [n_nodes] */
    uint8_t *depths;  /* [n_nodes] 0 for a token's first byte */
    uint32_t *skips;  /* [n_nodes] the first node after those below this one */
    uint32_t *firsts; /* [n_nodes + 1] the tokens that end at node i: ids[firsts[i] … firsts[i + 1]) */
    int32_t *ids;     /* [n_tokens] */
    /* [n_nodes] From here on and below there are only whole characters, or beginnings of one at the ends of
     * tokens, and none that JSON's strings must escape: ASCII without controls, " and \, and all others. Then
     * how many bytes the longest of these parts has, else 0. */
    uint8_t *plain;
};

ERR_MUST_USE err tokentrie_new(const struct tokenizer *t, struct tokentrie **out, struct errinfo *info);
/* Is this token among those of the tree? */
bool tokentrie_takes(const struct tokenizer *t, int32_t id);
void tokentrie_free(struct tokentrie *v); /* NULL is fine */

#endif

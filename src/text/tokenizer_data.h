/* text/tokenizer_data.h: the inside of a tokenizer, for the tokenizer*.c files alone. */
#ifndef TEXT_TOKENIZER_DATA_H
#define TEXT_TOKENIZER_DATA_H

#include "text/bpe.h"
#include "text/piecemap.h"
#include "text/tokenizer.h"

struct tokenizer {
    enum tokenizer_pre pre;
    int32_t bos, eos, pad;
    bool add_bos, ignore_merges, nfc;
    size_t n;
    uint8_t *kinds;        /* [n] */
    char *spellings;       /* all spellings back to back */
    uint32_t *spelling_at; /* [n + 1] */
    char *plain;           /* what the tokens stand for, back to back */
    uint32_t *plain_at;    /* [n + 1] */
    size_t n_merges;
    int32_t *merges;       /* [2 * n_merges] left, right */
    int32_t byte_ids[256]; /* the normal token of a single byte, -1 for none */
    int32_t *added;        /* ids of control and user tokens, sorted by text */
    size_t n_added;
    bool added_first[256]; /* some added token begins with this byte */
    /* Pieces that become one token as they are: with ignore_merges every normal token, else the ones
     * that merging their bytes gives back. */
    struct piecemap whole;
    size_t whole_max; /* longest of them */
    struct bpe bpe;
};

static inline bool tokenizer_is_added(const struct tokenizer *t, int32_t id)
{
    return t->kinds[id] == TOKENIZER_CONTROL || t->kinds[id] == TOKENIZER_USER;
}

#endif

/* text/bpetrainer.h: learns a byte-level BPE from word counts: the most frequent pair of neighbouring tokens
 * becomes a token, again and again (Sennrich et al. 2016, section 3.2; on bytes as in GPT-2). Of equally
 * frequent pairs the one with the lower left id comes first, then the lower right id, as in the `tokenizers`
 * library.
 *
 * Ids: the special tokens in their order, the 256 bytes in the order of how they are spelled
 * (bytealphabet.h), then what is learned. So no text is without tokens. */
#ifndef TEXT_BPETRAINER_H
#define TEXT_BPETRAINER_H

#include <stddef.h>
#include <stdint.h>

#include "text/tokenizer.h"
#include "text/wordcount.h"

struct bpetrainer_options {
    enum tokenizer_pre pre;      /* what cut the words */
    size_t vocab_size;           /* specials and bytes included; fewer where the text gives no more */
    uint64_t min_times;          /* pairs that are rarer are not merged; 1 or more */
    const char *const *specials; /* control tokens, NULL after the last; the first three are what begins a
                                  * text, what ends it, and what fills up */
    /* Called now and then with the number of tokens so far; false stops (ERR_CANCELLED). May be NULL. */
    bool (*go_on)(void *user, size_t n_tokens);
    void *user;
};

/* The tokenizer, new in *out: tokenizer_free. ERR_ARGUMENT when the options contradict themselves. Takes
 * memory of about 50 bytes for each byte of the different words. */
ERR_MUST_USE err bpetrainer_train(const struct wordcount *words, const struct bpetrainer_options *options,
                                  struct tokenizer **out, struct errinfo *info);

#endif

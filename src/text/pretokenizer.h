/* text/pretokenizer.h: cuts text into the pieces that byte-pair merging works on.
 *
 * Each pre-tokenizer is a short list of steps. A step finds matches from left to right; matches and
 * the gaps between them become pieces; the next step cuts every piece again and sees its end as the
 * end of the text. This is the meaning of the published regular expressions (stated in
 * pretokenizer.c), matched by hand: the classes are those of one Unicode version everywhere
 * (unicodeclass.h), the time is linear in the text, and no limit of a regex engine can be met. */
#ifndef TEXT_PRETOKENIZER_H
#define TEXT_PRETOKENIZER_H

#include <stddef.h>

#include "text/tokenizer.h"

/* Receives the pieces in order; together they are the text. An error ends the split. */
typedef err (*pretokenizer_sink)(void *user, const char *piece, size_t len);

/* `text` must be well-formed UTF-8. Returns what the sink returned. Thread-safe. */
ERR_MUST_USE err pretokenizer_split(enum tokenizer_pre pre, const char *text, size_t len,
                                    pretokenizer_sink sink, void *user);

/* The published expressions of a pre-tokenizer, one per step (PCRE2 / Oniguruma syntax, UTF mode),
 * NULL after the last. They recognise a tokenizer.json and are the judge in tests. */
const char *const *pretokenizer_patterns(enum tokenizer_pre pre);

#endif

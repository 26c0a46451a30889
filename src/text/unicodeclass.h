/* text/unicodeclass.h: the classes of characters that pre-tokenizers tell apart, as of Unicode 16.0:
 * the version of the regex engine behind the `tokenizers` library. A system regex library would bring
 * its own Unicode version and so cut text differently from what a model was trained with. */
#ifndef TEXT_UNICODECLASS_H
#define TEXT_UNICODECLASS_H

#include <stdint.h>

#include "text/unicodetable.h"

enum unicodeclass {
    UNICODECLASS_OTHER,  /* controls, formats, unassigned, private use */
    UNICODECLASS_LETTER, /* \p{L} */
    UNICODECLASS_MARK,   /* \p{M} */
    UNICODECLASS_NUMBER, /* \p{N} */
    UNICODECLASS_PUNCT,  /* \p{P} */
    UNICODECLASS_SYMBOL, /* \p{S} */
    UNICODECLASS_SPACE,  /* \s: the property White_Space */
};

/* Any code point, by a short search. */
enum unicodeclass unicodeclass_beyond_ascii(uint32_t point);

/* The class of a code point; OTHER above U+10FFFF. Pure. */
static inline enum unicodeclass unicodeclass_of(uint32_t point)
{
    return point < 128 ? (enum unicodeclass)unicodetable_ascii[point]
                       : unicodeclass_beyond_ascii(point);
}

#endif

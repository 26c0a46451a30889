/* text/normalizer.h: Unicode normalisation form C, which the Qwen2 tokenizer.json asks for. */
#ifndef TEXT_NORMALIZER_H
#define TEXT_NORMALIZER_H

#include <stddef.h>

#include "base/strbuf.h"

/* Appends the composed form of `text`, which must be well-formed UTF-8. Runs of more than 256
 * combining marks are composed in parts, which keeps the time linear. The tables are utf8proc's, which
 * know marks newer than Unicode 13; the `tokenizers` library leaves a run of those in the order given.
 * Thread-safe. */
ERR_MUST_USE err normalizer_nfc(const char *text, size_t len, struct strbuf *out);

#endif

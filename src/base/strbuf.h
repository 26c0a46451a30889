/* base/strbuf.h: a growing byte string. Always NUL-terminated after the first append; may hold NULs.
 * An append that runs out of memory leaves the string as it was. */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stddef.h>

#include "base/err.h"

struct strbuf {
    char *data; /* NULL until the first append; owned, freed by strbuf_deinit */
    size_t len;
    size_t cap;
};

ERR_MUST_USE err strbuf_append(struct strbuf *s, const char *bytes, size_t n);
ERR_MUST_USE err strbuf_puts(struct strbuf *s, const char *text);
ERR_MUST_USE err strbuf_printf(struct strbuf *s, const char *fmt, ...) ERR_PRINTF(2, 3);
void strbuf_clear(struct strbuf *s); /* keeps the memory */
void strbuf_deinit(struct strbuf *s);
/* Gives the bytes (never NULL on success, owned, mem_free) away and empties the strbuf. */
ERR_MUST_USE err strbuf_take(struct strbuf *s, char **out);

#endif

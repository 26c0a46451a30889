/* text/normalizer.c: see normalizer.h; the tables are utf8proc's. */
#include "text/normalizer.h"

#include <utf8proc.h>

#include "base/mem.h"
#include "text/unicodeclass.h"
#include "text/utf8.h"

enum { NORMALIZER_MARKS_MAX = 256 };

/* Where the part that begins at `pos` ends. */
static size_t normalizer_part(const char *text, size_t pos, size_t len)
{
    for (size_t marks = 0; pos < len && marks < NORMALIZER_MARKS_MAX;) {
        size_t n = utf8_step(text[pos]);
        marks = unicodeclass_of(utf8_point(text + pos, n)) == UNICODECLASS_MARK ? marks + 1 : 0;
        pos += n;
    }
    return pos;
}

static err normalizer_compose(const char *text, size_t len, struct strbuf *out)
{
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    utf8proc_option_t options = UTF8PROC_COMPOSE | UTF8PROC_STABLE;
    utf8proc_ssize_t points = utf8proc_decompose(bytes, (utf8proc_ssize_t)len, NULL, 0, options);
    if (points < 0) {
        return ERR_LIMIT;
    }
    utf8proc_int32_t *buffer = mem_resize(NULL, (size_t)points + 1, sizeof *buffer);
    if (!buffer) {
        return ERR_NOMEM;
    }
    points = utf8proc_decompose(bytes, (utf8proc_ssize_t)len, buffer, points, options);
    utf8proc_ssize_t n = points < 0 ? points : utf8proc_reencode(buffer, points, options);
    err e = n < 0 ? ERR_LIMIT : strbuf_append(out, (const char *)buffer, (size_t)n);
    mem_free(buffer);
    return e;
}

err normalizer_nfc(const char *text, size_t len, struct strbuf *out)
{
    for (size_t pos = 0; pos < len;) {
        size_t stop = normalizer_part(text, pos, len);
        TRY(normalizer_compose(text + pos, stop - pos, out));
        pos = stop;
    }
    return ERR_OK;
}

/* base/htmltext.c: see htmltext.h. */
#include "base/htmltext.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HTMLTEXT_PIECE = 1024 };

void htmltext_put(struct htmltext *h, const char *markup)
{
    if (h->failed == ERR_OK) {
        h->failed = strbuf_puts(&h->text, markup);
    }
}

void htmltext_printf(struct htmltext *h, const char *fmt, ...)
{
    char piece[HTMLTEXT_PIECE];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof piece) {
        h->failed = h->failed == ERR_OK ? ERR_LIMIT : h->failed;
        return;
    }
    htmltext_put(h, piece);
}

static const char *htmltext_entity(char c)
{
    switch (c) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    case '\n':
    case '\t': return NULL;
    default: return (unsigned char)c < 0x20 || c == 0x7f ? "\xef\xbf\xbd" : NULL;
    }
}

void htmltext_escaped(struct htmltext *h, const char *text)
{
    for (const char *p = text; *p && h->failed == ERR_OK; p++) {
        const char *entity = htmltext_entity(*p);
        h->failed = entity ? strbuf_puts(&h->text, entity) : strbuf_append(&h->text, p, 1);
    }
}

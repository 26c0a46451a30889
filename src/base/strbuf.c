/* base/strbuf.c: see strbuf.h. */
#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

/* Makes room for n more bytes and the NUL. */
static err strbuf_reserve(struct strbuf *s, size_t n)
{
    size_t need;
    if (!checked_add(s->len, n, &need) || !checked_add(need, 1, &need)) {
        return ERR_LIMIT;
    }
    if (need <= s->cap) {
        return ERR_OK;
    }
    size_t cap = s->cap ? s->cap : 64;
    while (cap < need) {
        if (!checked_mul(cap, 2, &cap)) {
            return ERR_LIMIT;
        }
    }
    char *p = mem_resize(s->data, cap, 1);
    if (!p) {
        return ERR_NOMEM;
    }
    s->data = p;
    s->cap = cap;
    return ERR_OK;
}

err strbuf_append(struct strbuf *s, const char *bytes, size_t n)
{
    TRY(strbuf_reserve(s, n));
    if (n > 0) {
        memcpy(s->data + s->len, bytes, n);
    }
    s->len += n;
    s->data[s->len] = '\0';
    return ERR_OK;
}

err strbuf_puts(struct strbuf *s, const char *text)
{
    return strbuf_append(s, text, strlen(text));
}

err strbuf_printf(struct strbuf *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        return ERR_ARGUMENT;
    }
    TRY(strbuf_reserve(s, (size_t)n));
    va_start(ap, fmt);
    vsnprintf(s->data + s->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    s->len += (size_t)n;
    return ERR_OK;
}

void strbuf_clear(struct strbuf *s)
{
    s->len = 0;
    if (s->data) {
        s->data[0] = '\0';
    }
}

void strbuf_deinit(struct strbuf *s)
{
    mem_free(s->data);
    *s = (struct strbuf){0};
}

err strbuf_take(struct strbuf *s, char **out)
{
    TRY(strbuf_reserve(s, 0));
    s->data[s->len] = '\0';
    *out = s->data;
    *s = (struct strbuf){0};
    return ERR_OK;
}

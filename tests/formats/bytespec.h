/* tests/formats/bytespec.h: small binary files written as text, so that each handcrafted file of a
 * test is one readable line. Tokens, separated by spaces: 'text'  these bytes           "text"  u64
 * length, then the bytes (a GGUF string) b7 h7 i7 l7  7 as u8, u16, u32, u64 (decimal, or 0x…) f0.5
 * d0.5  f32, f64 p32  zeros up to a multiple of 32      z32  32 zeros J{…}J  u64 length and the
 * bytes between, braces included (a safetensors header) */
#ifndef TESTS_BYTESPEC_H
#define TESTS_BYTESPEC_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

static inline err bytespec_le(struct strbuf *s, uint64_t v, size_t n)
{
    char b[8];
    for (size_t i = 0; i < n; i++) {
        b[i] = (char)(v >> (8 * i));
    }
    return strbuf_append(s, b, n);
}

static inline err bytespec_zeros(struct strbuf *s, size_t n)
{
    err e = ERR_OK;
    while (n-- > 0 && e == ERR_OK) {
        e = strbuf_append(s, "", 1);
    }
    return e;
}

/* One token at `p`; returns what follows it. */
static inline const char *bytespec_token(const char *p, struct strbuf *out, err *e)
{
    char kind = *p++;
    if (kind == '\'' || kind == '"') {
        const char *end = strchr(p, kind);
        if (kind == '"') {
            *e = bytespec_le(out, (uint64_t)(end - p), 8);
        }
        *e = *e == ERR_OK ? strbuf_append(out, p, (size_t)(end - p)) : *e;
        return end + 1;
    }
    if (kind == 'J') {
        const char *end = strstr(p, "}J") + 1;
        *e = bytespec_le(out, (uint64_t)(end - p), 8);
        *e = *e == ERR_OK ? strbuf_append(out, p, (size_t)(end - p)) : *e;
        return end + 1;
    }
    char *end;
    if (kind == 'f' || kind == 'd') {
        double d = strtod(p, &end);
        float f = (float)d;
        *e = strbuf_append(out, kind == 'f' ? (const char *)&f : (const char *)&d,
                           kind == 'f' ? 4 : 8);
        return end;
    }
    uint64_t v = strtoull(p, &end, 0);
    switch (kind) {
    case 'b': *e = bytespec_le(out, v, 1); break;
    case 'h': *e = bytespec_le(out, v, 2); break;
    case 'i': *e = bytespec_le(out, v, 4); break;
    case 'l': *e = bytespec_le(out, v, 8); break;
    case 'z': *e = bytespec_zeros(out, (size_t)v); break;
    case 'p': *e = bytespec_zeros(out, ((size_t)v - out->len % (size_t)v) % (size_t)v); break;
    default: *e = ERR_ARGUMENT; break;
    }
    return end;
}

/* Appends what `spec` describes. A mistake in a spec is ERR_ARGUMENT. */
ERR_MUST_USE static inline err bytespec(struct strbuf *out, const char *spec)
{
    err e = ERR_OK;
    for (const char *p = spec; e == ERR_OK && *p;) {
        p = *p == ' ' ? p + 1 : bytespec_token(p, out, &e);
    }
    return e;
}

/* Sets every byte of `s` in turn to every step-th value and lets `parse` see it; it may only answer with one
 * of the codes for a bad file, or none, and leave no memory behind. Returns the code that was none of them,
 * ERR_NOMEM for a leak, else ERR_OK. */
typedef err (*bytespec_parse)(const uint8_t *data, size_t n, struct errinfo *info);
static inline err bytespec_change_each(struct strbuf *s, unsigned step, bytespec_parse parse)
{
    size_t alive = mem_alive();
    for (size_t i = 0; i < s->len; i++) {
        for (unsigned v = 0; v < 256; v += step) {
            char kept = s->data[i];
            s->data[i] = (char)v;
            err e = parse((const uint8_t *)s->data, s->len, NULL);
            s->data[i] = kept;
            if (e != ERR_OK && e != ERR_CORRUPT && e != ERR_UNSUPPORTED && e != ERR_LIMIT) {
                return e;
            }
        }
    }
    return mem_alive() == alive ? ERR_OK : ERR_NOMEM;
}

#endif

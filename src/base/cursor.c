/* base/cursor.c: see cursor.h. */
#include "base/cursor.h"

err cursor_bytes(struct cursor *c, size_t n, const uint8_t **out)
{
    if (n > cursor_left(c)) {
        return ERR_CORRUPT;
    }
    *out = c->data + c->pos;
    c->pos += n;
    return ERR_OK;
}

err cursor_skip(struct cursor *c, size_t n)
{
    const uint8_t *ignored;
    return cursor_bytes(c, n, &ignored);
}

static err cursor_number(struct cursor *c, size_t n, uint64_t *out)
{
    const uint8_t *b;
    TRY(cursor_bytes(c, n, &b));
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v |= (uint64_t)b[i] << (8 * i);
    }
    *out = v;
    return ERR_OK;
}

err cursor_u8(struct cursor *c, uint8_t *out)
{
    uint64_t v;
    TRY(cursor_number(c, 1, &v));
    *out = (uint8_t)v;
    return ERR_OK;
}

err cursor_u16(struct cursor *c, uint16_t *out)
{
    uint64_t v;
    TRY(cursor_number(c, 2, &v));
    *out = (uint16_t)v;
    return ERR_OK;
}

err cursor_u32(struct cursor *c, uint32_t *out)
{
    uint64_t v;
    TRY(cursor_number(c, 4, &v));
    *out = (uint32_t)v;
    return ERR_OK;
}

err cursor_u64(struct cursor *c, uint64_t *out)
{
    return cursor_number(c, 8, out);
}

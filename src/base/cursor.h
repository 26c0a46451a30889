/* base/cursor.h: the only way hostile bytes are read. A cursor is a window over memory somebody
 * else owns; every read says no (ERR_CORRUPT, *out untouched, position unmoved) rather than look
 * past the end. Numbers are little-endian, as in GGUF and safetensors. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct cursor {
    const uint8_t *data;
    size_t size;
    size_t pos;
};

static inline size_t cursor_left(const struct cursor *c)
{
    return c->size - c->pos;
}

/* Points *out at the next n bytes (borrowed from the underlying memory) and steps over them. */
ERR_MUST_USE err cursor_bytes(struct cursor *c, size_t n, const uint8_t **out);
ERR_MUST_USE err cursor_skip(struct cursor *c, size_t n);
ERR_MUST_USE err cursor_u8(struct cursor *c, uint8_t *out);
ERR_MUST_USE err cursor_u16(struct cursor *c, uint16_t *out);
ERR_MUST_USE err cursor_u32(struct cursor *c, uint32_t *out);
ERR_MUST_USE err cursor_u64(struct cursor *c, uint64_t *out);

#endif

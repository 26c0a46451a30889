/* base/checked.h: size arithmetic that cannot wrap. Every product or sum of sizes that come from
 * a file, a request or a command line goes through here; false means "would not fit in size_t"
 * and leaves *out untouched. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>

static inline bool checked_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) {
        return false;
    }
    *out = r;
    return true;
}

static inline bool checked_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) {
        return false;
    }
    *out = r;
    return true;
}

/* Rounds a up to a multiple of `align` (a power of two). */
static inline bool checked_align(size_t a, size_t align, size_t *out)
{
    size_t r;
    if (!checked_add(a, align - 1, &r)) {
        return false;
    }
    *out = r & ~(align - 1);
    return true;
}

#endif

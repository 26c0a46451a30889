/* text/utf8.h: UTF-8 as the Unicode standard defines it: no overlong forms, no surrogates, nothing
 * above U+10FFFF. All functions are pure. */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length 1..4 of the well-formed character at the start of the `len` > 0 bytes, or 0. When 0,
 * *bad (may be NULL) is the length of the ill-formed part that one U+FFFD stands for: the longest
 * beginning of a character, at least 1; and *cut says that this part reaches the end of the bytes, so
 * that more bytes could still complete it. */
size_t utf8_length(const char *bytes, size_t len, size_t *bad, bool *cut);

/* Code point of a well-formed character of `n` bytes. */
static inline uint32_t utf8_point(const char *bytes, size_t n)
{
    const unsigned char *b = (const unsigned char *)bytes;
    switch (n) {
    case 1: return b[0];
    case 2: return (b[0] & 0x1fu) << 6 | (b[1] & 0x3fu);
    case 3: return (b[0] & 0x0fu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu);
    default:
        return (b[0] & 0x07u) << 18 | (b[1] & 0x3fu) << 12 | (b[2] & 0x3fu) << 6 | (b[3] & 0x3fu);
    }
}

/* Length of a character from its first byte, in text known to be well-formed. */
static inline size_t utf8_step(char first)
{
    unsigned char b = (unsigned char)first;
    return b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}

/* Bytes at the start that are well-formed. */
size_t utf8_valid_prefix(const char *bytes, size_t len);

/* Writes `point` (at most U+10FFFF) and returns its length 1..4. */
size_t utf8_write(uint32_t point, char out[4]);

#endif

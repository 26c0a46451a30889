/* text/utf8.c: see utf8.h. */
#include "text/utf8.h"

#include <string.h>

/* Length that a first byte announces, 0 for a byte that begins nothing; and the range its second byte
 * must lie in, which rules out overlong forms, surrogates and what is above U+10FFFF. */
static size_t utf8_announced(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    if (first < 0xe0) {
        return 2;
    }
    if (first < 0xf0) {
        *low = first == 0xe0 ? 0xa0 : 0x80;
        *high = first == 0xed ? 0x9f : 0xbf;
        return 3;
    }
    *low = first == 0xf0 ? 0x90 : 0x80;
    *high = first == 0xf4 ? 0x8f : 0xbf;
    return 4;
}

size_t utf8_length(const char *bytes, size_t len, size_t *bad, bool *cut)
{
    const unsigned char *b = (const unsigned char *)bytes;
    unsigned char low, high;
    size_t need = utf8_announced(b[0], &low, &high);
    size_t have = 1;
    while (have < need && have < len && b[have] >= low && b[have] <= high) {
        have++;
        low = 0x80;
        high = 0xbf;
    }
    if (need > 0 && have == need) {
        return need;
    }
    if (bad) {
        *bad = have;
    }
    if (cut) {
        *cut = need > 0 && have == len;
    }
    return 0;
}

size_t utf8_valid_prefix(const char *bytes, size_t len)
{
    size_t pos = 0;
    while (pos < len) {
        uint64_t eight;
        if (len - pos >= sizeof eight) {
            memcpy(&eight, bytes + pos, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                pos += sizeof eight;
                continue;
            }
        }
        size_t n = utf8_length(bytes + pos, len - pos, NULL, NULL);
        if (n == 0) {
            break;
        }
        pos += n;
    }
    return pos;
}

size_t utf8_write(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

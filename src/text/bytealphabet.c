/* text/bytealphabet.c: see bytealphabet.h. */
#include "text/bytealphabet.h"

#include "text/utf8.h"

/* The moved bytes are 00-20, 7F-A0 and AD. */
enum {
    BYTEALPHABET_MOVED = 0x100,
    BYTEALPHABET_LOW = 0x21,  /* first byte after the first group */
    BYTEALPHABET_HIGH = 0x7f, /* first byte of the second group */
    BYTEALPHABET_AFTER = 0xa1,
    BYTEALPHABET_SOFT = 0xad,
    BYTEALPHABET_N_LOW = BYTEALPHABET_LOW,
    BYTEALPHABET_N_HIGH = BYTEALPHABET_AFTER - BYTEALPHABET_HIGH
};

uint32_t bytealphabet_point(unsigned char byte)
{
    if (byte < BYTEALPHABET_LOW) {
        return BYTEALPHABET_MOVED + byte;
    }
    if (byte >= BYTEALPHABET_HIGH && byte < BYTEALPHABET_AFTER) {
        return BYTEALPHABET_MOVED + BYTEALPHABET_N_LOW + byte - BYTEALPHABET_HIGH;
    }
    if (byte == BYTEALPHABET_SOFT) {
        return BYTEALPHABET_MOVED + BYTEALPHABET_N_LOW + BYTEALPHABET_N_HIGH;
    }
    return byte;
}

static bool bytealphabet_byte(uint32_t point, unsigned char *byte)
{
    if (point < BYTEALPHABET_MOVED) {
        *byte = (unsigned char)point;
        return bytealphabet_point(*byte) == point;
    }
    uint32_t k = point - BYTEALPHABET_MOVED;
    if (k < BYTEALPHABET_N_LOW) {
        *byte = (unsigned char)k;
        return true;
    }
    k -= BYTEALPHABET_N_LOW;
    *byte = (unsigned char)(k < BYTEALPHABET_N_HIGH ? BYTEALPHABET_HIGH + k : BYTEALPHABET_SOFT);
    return k <= BYTEALPHABET_N_HIGH;
}

bool bytealphabet_decode(const char *spelling, size_t len, char *out, size_t *n)
{
    size_t done = 0;
    for (size_t pos = 0; pos < len;) {
        size_t step = utf8_length(spelling + pos, len - pos, NULL, NULL);
        unsigned char byte;
        if (step == 0 || !bytealphabet_byte(utf8_point(spelling + pos, step), &byte)) {
            return false;
        }
        out[done++] = (char)byte;
        pos += step;
    }
    *n = done;
    return true;
}

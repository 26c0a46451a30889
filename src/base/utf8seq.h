/* base/utf8seq.h: one question about bytes from outside: is this the start of a well-formed UTF-8
 * sequence (Unicode, table 3-7: no overlong forms, no surrogates, nothing over U+10FFFF)? */
#ifndef BASE_UTF8SEQ_H
#define BASE_UTF8SEQ_H

#include <stddef.h>
#include <string.h>

/* Length (1 to 4) of the sequence at s, of which `left` bytes may be read; 0 when it is not one. */
static inline size_t utf8seq_length(const unsigned char *s, size_t left)
{
    if (left == 0) {
        return 0;
    }
    unsigned char c = s[0];
    if (c < 0x80) {
        return 1;
    }
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || n > left) {
        return 0;
    }
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

/* Takes off the beginning of a sequence that ends the text `s` before its own end: what cutting at a
 * number of bytes leaves. */
static inline void utf8seq_trim(char *s)
{
    size_t n = strlen(s), back = 1;
    while (back <= 3 && back <= n && ((unsigned char)s[n - back] & 0xc0) == 0x80) {
        back++;
    }
    if (back <= 3 && back <= n) {
        unsigned char lead = (unsigned char)s[n - back];
        size_t whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
        if (whole > back) {
            s[n - back] = '\0';
        }
    }
}

#endif

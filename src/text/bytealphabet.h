/* text/bytealphabet.h: the printable alphabet in which byte-level vocabularies spell arbitrary bytes.
 * Bytes 21-7E, A1-AC and AE-FF stand for themselves as code points; the other 68, in increasing order,
 * are U+0100, U+0101 … (a space is U+0120). All functions are pure. */
#ifndef TEXT_BYTEALPHABET_H
#define TEXT_BYTEALPHABET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point that spells a byte. */
uint32_t bytealphabet_point(unsigned char byte);

/* Turns a spelling (UTF-8) into bytes; `out` has room for `len`, *n is what was written. False when
 * some character is not in the alphabet. */
bool bytealphabet_decode(const char *spelling, size_t len, char *out, size_t *n);

#endif

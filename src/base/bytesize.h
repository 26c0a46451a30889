/* base/bytesize.h: a number of bytes as people read it: "721 kB", "98.4 MB", "1.50 GB". Three digits, powers of
 * 1000. */
#ifndef BASE_BYTESIZE_H
#define BASE_BYTESIZE_H

#include <stdint.h>

enum { BYTESIZE_TEXT = 16 };

/* Writes to `out` and returns it. */
const char *bytesize_text(uint64_t n, char out[BYTESIZE_TEXT]);

#endif

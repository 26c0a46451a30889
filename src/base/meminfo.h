/* base/meminfo.h: how much memory this process may still take, so that a request which cannot fit is
 * refused with numbers before it is tried. Linux: /proc/meminfo (MemAvailable) and the limits of the
 * control groups above this process (version 2 and 1; page cache counts as free, it can be dropped). */
#ifndef BASE_MEMINFO_H
#define BASE_MEMINFO_H

#include <stddef.h>

/* Bytes; SIZE_MAX when the system does not say. Thread-safe. */
size_t meminfo_available(void);

/* The same with `root` in front of /proc and /sys; for tests. */
size_t meminfo_available_under(const char *root);

/* "1.5 GiB", "312 MiB", "17 bytes" into out[n]; returns out. For messages. */
enum { MEMINFO_TEXT = 32 };
const char *meminfo_text(size_t bytes, char out[MEMINFO_TEXT]);

#endif

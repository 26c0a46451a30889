/* base/bytesize.c: see bytesize.h. */
#include "base/bytesize.h"

#include <stdio.h>

const char *bytesize_text(uint64_t n, char out[BYTESIZE_TEXT])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)n;
    int unit = 0;
    while (v >= 999.5) { /* what would print as 1000 */
        v /= 1000;
        unit++;
    }
    int decimals = unit == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
    snprintf(out, BYTESIZE_TEXT, "%.*f %s", decimals, v, units[unit]);
    return out;
}

/* text/unicodeclass.c: see unicodeclass.h. A page of 256 code points names its first run; the few
 * runs of one page are searched by halves. */
#include "text/unicodeclass.h"

#include "text/unicodetable.h"

enum { UNICODECLASS_BITS = 3, UNICODECLASS_MASK = 7, UNICODECLASS_END = 0x110000 };

enum unicodeclass unicodeclass_beyond_ascii(uint32_t point)
{
    if (point >= UNICODECLASS_END) {
        return UNICODECLASS_OTHER;
    }
    uint32_t low = unicodetable_pages[point >> 8];
    uint32_t high = unicodetable_pages[(point >> 8) + 1]; /* its run may begin inside this page */
    while (low < high) {
        uint32_t middle = (low + high + 1) / 2;
        if (unicodetable_runs[middle] >> UNICODECLASS_BITS <= point) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return (enum unicodeclass)(unicodetable_runs[low] & UNICODECLASS_MASK);
}

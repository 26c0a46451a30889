/* text/unicodetable.h: the generated tables behind unicodeclass.h; nobody else includes it. */
#ifndef TEXT_UNICODETABLE_H
#define TEXT_UNICODETABLE_H

#include <stdint.h>

extern const uint32_t unicodetable_runs[2324];
extern const uint16_t unicodetable_pages[4353];
extern const uint8_t unicodetable_ascii[128]; /* class of each */

#endif

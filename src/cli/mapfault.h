/* cli/mapfault.h: when a mapped file loses its bytes. Model files are used where they are mapped; when
 * another program truncates one, or its disk fails, touching the lost bytes is a SIGBUS. From
 * mapfault_watch on the process then says which file it was and what happened to it, and ends with exit
 * code 1. Any other SIGBUS ends it as usual. Call once, before threads start. */
#ifndef CLI_MAPFAULT_H
#define CLI_MAPFAULT_H

void mapfault_watch(void);

#endif

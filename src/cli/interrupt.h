/* cli/interrupt.h: Ctrl-C as a question instead of a death. Between interrupt_watch and
 * interrupt_restore, SIGINT and SIGTERM only set a flag that long work looks at; a second Ctrl-C
 * before anybody looked kills the program as usual.
 * Signal handlers leave no other way than one static flag; it lives here. Main thread only. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

void interrupt_watch(void);
void interrupt_restore(void);
bool interrupt_pending(void); /* came since watch or the last clear */
void interrupt_clear(void);

#endif

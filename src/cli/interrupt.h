/* cli/interrupt.h: Ctrl-C as a question instead of a death. Between interrupt_watch and
 * interrupt_restore, SIGINT and SIGTERM only set a flag that long work looks at; a Ctrl-C after either, before
 * anybody looked, kills the program as usual. A second SIGTERM does not: timeout(1) sends two.
 * Signal handlers leave no other way than static state; it lives here. Main thread only. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

void interrupt_watch(void);
/* The same, and until interrupt_restore the terminal on stdin does not show what is typed (a "^C" in the
 * middle of an answer); what was typed is there for the next reader. */
void interrupt_watch_quietly(void);
void interrupt_restore(void);
bool interrupt_pending(void); /* came since watch or the last clear */
void interrupt_clear(void);

#endif

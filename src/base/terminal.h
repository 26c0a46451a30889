/* base/terminal.h: which streams may be given escape sequences. Thread-safe while nobody changes the
 * environment. */
#ifndef BASE_TERMINAL_H
#define BASE_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

/* True for a terminal, unless NO_COLOR is set and not empty (https://no-color.org) or TERM is "dumb". */
bool terminal_styled(FILE *to);

#endif

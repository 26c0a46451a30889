/* base/terminal.h: which streams may be given escape sequences, and how wide they are. Thread-safe while nobody
 * changes the environment. */
#ifndef BASE_TERMINAL_H
#define BASE_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* True for a terminal, unless NO_COLOR is set and not empty (https://no-color.org) or TERM is "dumb". */
bool terminal_styled(FILE *to);

/* Columns of the terminal that `to` is; 0 when it is none, or does not say. */
size_t terminal_columns(FILE *to);

#endif

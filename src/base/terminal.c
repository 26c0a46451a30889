/* base/terminal.c: see terminal.h. */
#include "base/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool terminal_styled(FILE *to)
{
    const char *plain = getenv("NO_COLOR"), *kind = getenv("TERM");
    return isatty(fileno(to)) && !(plain && plain[0]) && !(kind && strcmp(kind, "dumb") == 0);
}

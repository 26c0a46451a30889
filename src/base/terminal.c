/* base/terminal.c: see terminal.h. */
#include "base/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool terminal_styled(FILE *to)
{
    const char *plain = getenv("NO_COLOR"), *kind = getenv("TERM");
    return isatty(fileno(to)) && !(plain && plain[0]) && !(kind && strcmp(kind, "dumb") == 0);
}

size_t terminal_columns(FILE *to)
{
    struct winsize w;
    return ioctl(fileno(to), TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

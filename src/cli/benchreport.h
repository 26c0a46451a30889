/* cli/benchreport.h: the page of `fathom bench --report DIR`: machine, model, roofs, plots with a table
 * beside each, everything measured, the command that repeats it. One file that needs nothing else and no
 * script; the same numbers as JSON beside it. */
#ifndef CLI_BENCHREPORT_H
#define CLI_BENCHREPORT_H

#include "cli/benchtable.h"

#define BENCHREPORT_PAGE "index.html"
#define BENCHREPORT_DATA "bench.json"

/* Makes the folder when it is not there; each file appears complete or not at all, an older one is replaced. */
ERR_MUST_USE err benchreport_write(const struct benchtable *t, const char *dir, struct errinfo *info);

#endif

/* cli/egress.h: what `fathom doctor --no-egress` says: the server's sandbox tried out on this machine. */
#ifndef CLI_EGRESS_H
#define CLI_EGRESS_H

#include <stdbool.h>

#include "base/err.h"

/* Tries and prints, as a table or as one JSON document. *held: nothing that must not work did. Errors of
 * sandbox_probe (the sandbox is not to be had here), ERR_NOMEM. */
ERR_MUST_USE err egress_print(bool json, bool *held, struct errinfo *info);

#endif

/* cli/conversion.h: what `fathom convert` and `fathom quantize` share: run it, say what came out. */
#ifndef CLI_CONVERSION_H
#define CLI_CONVERSION_H

#include "cli/options.h"
#include "model/convert.h"

/* `in` is what MODEL means on the command line (modelref.h). Returns the exit code. */
int conversion_run(const struct options *spec, const char *in, const char *out,
                   const struct convert_options *options, bool json);

#endif

/* cli/modelref.h: what MODEL on the command line means.
 *
 *   absent                  the default model (modelref_default)
 *   has a / or ends .gguf   a path
 *   anything else           a name from `fathom list`, else a path that exists
 *
 * A folder stands for itself when it holds a config.json, else for the one .gguf in it (the first part
 * of a split one). */
#ifndef CLI_MODELREF_H
#define CLI_MODELREF_H

#include "base/err.h"

/* What an absent MODEL means: the word in $FATHOM_MODEL, else fathom-nano or smollm2 if it is here, else the
 * first complete model by name, else smollm2 all the same (which is then missed by name). *out is owned by the
 * caller. */
ERR_MUST_USE err modelref_default(char **out, struct errinfo *info);

/* *out is the path for model_open or engine_open; owned by the caller (mem_free). ERR_NOTFOUND says
 * which models are here, what was probably meant and how to get one. */
ERR_MUST_USE err modelref_resolve(const char *word, char **out, struct errinfo *info);

/* For verbs that also take a text, by `option` ("--prompt"), of which `text` was given (NULL: nothing): ERR_OK
 * when `word` (NULL: the default) means a model. Where it does not, the error says how to write it were it the
 * text, or the second word of one. */
ERR_MUST_USE err modelref_no_text(const char *word, const char *option, const char *text,
                                  struct errinfo *info);

#endif

/* text/tokenizer_open.h: the step of tokenizer_open after its files are parsed, for callers that have them
 * in memory. */
#ifndef TEXT_TOKENIZER_OPEN_H
#define TEXT_TOKENIZER_OPEN_H

#include "base/json.h"
#include "text/tokenizer.h"

/* `root` is a tokenizer.json, `path` its name in messages; `config` (tokenizer_config.json) and
 * `generation` (generation_config.json) may be NULL. Nothing of the JSON is kept. */
ERR_MUST_USE err tokenizer_open_json(const char *path, const json_t *root, const json_t *config,
                                     const json_t *generation, struct tokenizer **out,
                                     struct errinfo *info);

#endif

/* model/convertfolder.h: a GGUF file as a Hugging Face folder: config.json, generation_config.json,
 * safetensors (sharded with an index above options.shard_bytes), tokenizer.json and
 * tokenizer_config.json when the file has a tokenizer. For convert.c. */
#ifndef MODEL_CONVERTFOLDER_H
#define MODEL_CONVERTFOLDER_H

#include "formats/gguf.h"
#include "model/convert.h"

/* Everything is written into OUT.tmp-PID, which becomes OUT at the end. */
ERR_MUST_USE err convertfolder_write(const struct gguf *g, const char *out,
                                     const struct convert_options *options, int n_threads,
                                     struct convert_report *report, struct errinfo *info);

#endif

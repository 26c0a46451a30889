/* model/ggufkeys.h: a config as the keys of a GGUF file, the inverse of config_from_gguf.
 * Key names: llama.cpp's loaders of deepseek2, llama and qwen2. */
#ifndef MODEL_GGUFKEYS_H
#define MODEL_GGUFKEYS_H

#include "formats/gguf.h"
#include "model/config.h"

/* "deepseek2", "llama" or "qwen2". */
const char *ggufkeys_arch(const struct config *c);

/* general.architecture, general.name, general.file_type (llama.cpp's number) and every hyper-parameter.
 * Llama-3 rope scaling is no key: such files carry the tensor rope_freqs.weight. */
ERR_MUST_USE err ggufkeys_write(struct gguf_writer *w, const struct config *c, int ggml_ftype,
                                struct errinfo *info);

#endif

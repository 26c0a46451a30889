/* model/configgguf.h: GGUF keys (architectures deepseek2, llama, qwen2) to struct config, before
 * config_finish. Key names and their history: docs/models.md. */
#ifndef MODEL_CONFIGGGUF_H
#define MODEL_CONFIGGGUF_H

#include "model/config.h"

ERR_MUST_USE err configgguf_read(const struct gguf *g, struct config *c, struct errinfo *info);

#endif

/* model/hfconfig.h: a config as the config.json of a Hugging Face folder, the inverse of
 * config_from_json. Fields: those of transformers' DeepseekV2Config, DeepseekV3Config, LlamaConfig, Qwen2Config
 * and GPT2Config. */
#ifndef MODEL_HFCONFIG_H
#define MODEL_HFCONFIG_H

#include <jansson.h>

#include "model/config.h"

/* `type`: what the weights are stored in (f32, f16, bf16). bos, eos: -1 when there is none. *out is a
 * new reference. ERR_UNSUPPORTED when no field can say what the model does. */
ERR_MUST_USE err hfconfig_make(const struct config *c, enum dtype type, int bos, int eos,
                               json_t **out, struct errinfo *info);

/* v as the double with the fewest digits that still gives v: 1e-06 and not 9.99999997e-07. */
double hfconfig_decimal(float v);

#endif

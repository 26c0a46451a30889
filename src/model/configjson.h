/* model/configjson.h: config.json of Hugging Face folders to struct config, before config_finish. */
#ifndef MODEL_CONFIGJSON_H
#define MODEL_CONFIGJSON_H

#include "model/config.h"

ERR_MUST_USE err configjson_read(const json_t *json, struct config *c, struct errinfo *info);

#endif

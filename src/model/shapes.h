/* model/shapes.h: the published shapes of the DeepSeek family, so that speed and memory can be known
 * before anything is downloaded. Source: each model's config.json (docs/models.md lists them). */
#ifndef MODEL_SHAPES_H
#define MODEL_SHAPES_H

#include "model/config.h"

/* Fills *out (finished and checked) with the shape called `name` ("v2-lite", "v3", "distill-7b" …).
 * ERR_ARGUMENT lists the known names. */
ERR_MUST_USE err shapes_find(const char *name, struct config *out, struct errinfo *info);

/* For help texts and tests: NULL past the last. */
const char *shapes_name(size_t i);
const char *shapes_title(size_t i);

#endif

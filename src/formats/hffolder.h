/* formats/hffolder.h: a Hugging Face model folder: config.json, one or many safetensors files (with
 * model.safetensors.index.json), tokenizer files beside them. FP8 weights get their
 * `<name>_scale_inv` tensor attached as tensor.scale (converted to f32 when stored otherwise). */
#ifndef FORMATS_HFFOLDER_H
#define FORMATS_HFFOLDER_H

#include <jansson.h>

#include "formats/tensortable.h"

struct hffolder;

ERR_MUST_USE err hffolder_open(const char *path, struct hffolder **out, struct errinfo *info);
void hffolder_close(struct hffolder *h);

const json_t *hffolder_config(const struct hffolder *h); /* the parsed config.json, an object */
const struct tensortable *hffolder_tensors(const struct hffolder *h);
const char *hffolder_path(const struct hffolder *h);
size_t hffolder_file_count(const struct hffolder *h);
const char *hffolder_file_path(const struct hffolder *h, size_t i);
size_t hffolder_file_size(const struct hffolder *h, size_t i);

#endif

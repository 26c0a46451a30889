/* formats/hffolder.h: a Hugging Face model folder: config.json, one or many safetensors files (with
 * model.safetensors.index.json), tokenizer files beside them. FP8 weights get their
 * `<name>_scale_inv` tensor attached as tensor.scale (converted to f32 when stored otherwise); an
 * FP8 weight without one, or with one that does not have ceil(out/128) x ceil(in/128) values, is
 * refused, and so is every other quantization_config. model.safetensors is preferred when an index
 * lies beside it. Hostile: the index can only name .safetensors files of the folder itself. Thread
 * rule: read-only once open; may be shared. */
#ifndef FORMATS_HFFOLDER_H
#define FORMATS_HFFOLDER_H

#include <jansson.h>

#include "formats/tensortable.h"

struct hffolder;

ERR_MUST_USE err hffolder_open(const char *path, struct hffolder **out, struct errinfo *info);
/* The same for looking only: tensors as stored, whatever the quantisation; nothing is attached. */
ERR_MUST_USE err hffolder_open_listing(const char *path, struct hffolder **out,
                                       struct errinfo *info);
void hffolder_close(struct hffolder *h);

const json_t *hffolder_config(const struct hffolder *h); /* the parsed config.json, an object */
const struct tensortable *hffolder_tensors(const struct hffolder *h);
const char *hffolder_path(const struct hffolder *h);
size_t hffolder_file_count(const struct hffolder *h);
const char *hffolder_file_path(const struct hffolder *h, size_t i);
size_t hffolder_file_size(const struct hffolder *h, size_t i);

#endif

/* formats/tensortable.h: what every weight file becomes: a list of named, typed, shaped views into
 * mapped files, found by name. GGUF and safetensors both fill one; the model layer reads only this. */
#ifndef FORMATS_TENSORTABLE_H
#define FORMATS_TENSORTABLE_H

#include <stddef.h>

#include "base/err.h"
#include "tensor/tensor.h"

enum { TENSORTABLE_MAX = 1 << 20, TENSORTABLE_NAME_MAX = 255 };

struct tensortable_entry {
    const char *name; /* owned by the table */
    struct tensor tensor;
    size_t file;   /* index of the file it came from (split files, shards) */
    size_t offset; /* absolute byte offset in that file, for messages */
};

struct tensortable; /* ordered as added */

ERR_MUST_USE err tensortable_new(struct tensortable **out, struct errinfo *info);
void tensortable_free(struct tensortable *t);

/* Copies the name. ERR_CORRUPT for a duplicate, ERR_LIMIT over the caps. */
ERR_MUST_USE err tensortable_add(struct tensortable *t, const char *name, size_t name_len,
                                 const struct tensor *tensor, size_t file, size_t offset,
                                 struct errinfo *info);
size_t tensortable_count(const struct tensortable *t);
const struct tensortable_entry *tensortable_at(const struct tensortable *t, size_t i);
/* NULL when absent. The returned entry lives as long as the table and no more is added. */
const struct tensortable_entry *tensortable_find(const struct tensortable *t, const char *name);
/* For loaders that attach FP8 scales after all tensors are known. */
struct tensortable_entry *tensortable_find_mutable(struct tensortable *t, const char *name);

#endif

/* formats/tensortable.h: what every weight file becomes: a list of named, typed, shaped views into
 * mapped files, found by name. GGUF and safetensors both fill one; the model layer reads only this.
 *
 * Alignment: the ops read elements in place, so every entry's data is aligned to its element
 * (tensortable_alignment). A file may store a tensor at an odd address; then the table keeps an
 * aligned copy of those bytes itself, up to TENSORTABLE_COPY_MAX bytes in all. Thread rule: not
 * thread-safe while being filled; afterwards any number of readers. */
#ifndef FORMATS_TENSORTABLE_H
#define FORMATS_TENSORTABLE_H

#include <stddef.h>

#include "base/err.h"
#include "tensor/tensor.h"

enum { TENSORTABLE_MAX = 1 << 20, TENSORTABLE_NAME_MAX = 255, TENSORTABLE_COPY_MAX = 1 << 30 };

struct tensortable_entry {
    const char *name; /* owned by the table */
    struct tensor tensor;
    size_t file;   /* index of the file it came from (split files, shards) */
    size_t offset; /* absolute byte offset in that file, for messages */
};

struct tensortable; /* ordered as added */

ERR_MUST_USE err tensortable_new(struct tensortable **out, struct errinfo *info);
void tensortable_free(struct tensortable *t);

/* Copies the name, which must be 1 to TENSORTABLE_NAME_MAX printable ASCII characters. tensor->data
 * may be NULL (shape known, bytes not present); misaligned data is copied as said above.
 * ERR_CORRUPT for a duplicate or a bad name, ERR_LIMIT over the caps. The message names the tensor.
 */
ERR_MUST_USE err tensortable_add(struct tensortable *t, const char *name, size_t name_len,
                                 const struct tensor *tensor, size_t file, size_t offset,
                                 struct errinfo *info);
/* Memory that lives as long as the table (64-byte aligned), for tensors a loader converts. */
ERR_MUST_USE err tensortable_own(struct tensortable *t, size_t bytes, void **out,
                                 struct errinfo *info);
size_t tensortable_count(const struct tensortable *t);
const struct tensortable_entry *tensortable_at(const struct tensortable *t, size_t i);
/* NULL when absent. The returned entry lives as long as the table and no more is added. */
const struct tensortable_entry *tensortable_find(const struct tensortable *t, const char *name);
/* For loaders that attach FP8 scales after all tensors are known. */
struct tensortable_entry *tensortable_find_mutable(struct tensortable *t, const char *name);

/* Bytes the start of a tensor of this type must be a multiple of: 1, 2, 4 or 8. */
size_t tensortable_alignment(enum dtype dtype);

/* "[4096, 512]" for messages and listings. */
enum { TENSORTABLE_SHAPE_TEXT = 96 };
void tensortable_shape_text(const struct tensor *t, char out[TENSORTABLE_SHAPE_TEXT]);

#endif

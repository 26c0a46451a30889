/* formats/safetensors.h: one .safetensors file: u64 header length, JSON header, raw data.
 * Format: huggingface/safetensors README. Hostile: no gaps, no overlaps, offsets inside the file,
 * header at most 100 MB, shapes that match their byte ranges. A scalar (shape []) is read as [1].
 * Empty tensors, more than four dimensions and types that dtype.h lacks (F8_E5M2, U16 …) are
 * ERR_UNSUPPORTED. The format does not align its data: see tensortable.h for what happens to a
 * misaligned tensor. Thread rule: a writer belongs to one thread. */
#ifndef FORMATS_SAFETENSORS_H
#define FORMATS_SAFETENSORS_H

#include <stdint.h>

#include "formats/tensortable.h"

/* Adds every tensor of the file's bytes, in the order of the data, to `table` as file number
 * `file`. `data` must outlive it. On error the table may hold some of them and must be thrown away.
 */
ERR_MUST_USE err safetensors_parse(const uint8_t *data, size_t size, const char *name, size_t file,
                                   struct tensortable *table, struct errinfo *info);

/* "BF16" …; NULL for types the format has no name for. */
const char *safetensors_dtype_name(enum dtype dtype);

/* Writing: declare, then stream data in declared order; appears on commit. dtype F32, F16, BF16,
 * F8_E4M3, I64, I32, U8 … */
struct safetensors_writer;
ERR_MUST_USE err safetensors_writer_new(const char *path, struct safetensors_writer **out,
                                        struct errinfo *info);
/* From now on `see` gets every byte of the file, in order, as it is written: for hashes. */
void safetensors_writer_watch(struct safetensors_writer *w, void (*see)(void *user, const void *data, size_t n),
                              void *user);
ERR_MUST_USE err safetensors_writer_tensor(struct safetensors_writer *w, const char *name,
                                           const struct tensor *t, struct errinfo *info);
ERR_MUST_USE err safetensors_writer_begin_data(struct safetensors_writer *w, struct errinfo *info);
ERR_MUST_USE err safetensors_writer_data(struct safetensors_writer *w, const void *data, size_t n,
                                         struct errinfo *info);
ERR_MUST_USE err safetensors_writer_commit(struct safetensors_writer *w, struct errinfo *info);
void safetensors_writer_free(struct safetensors_writer *w);

#endif

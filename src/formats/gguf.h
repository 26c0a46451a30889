/* formats/gguf.h: GGUF v3 files (v2 has the same layout), read in place and written. Format: ggml
 * docs/gguf.md. The file is hostile: every length is checked against the bytes that are left before
 * anything is allocated, every count has a cap, tensors must lie inside the file and may not
 * overlap. A tensor type that dtype.h lacks is ERR_UNSUPPORTED with tensor and type named; types it
 * lists beyond DTYPE_COMPUTABLE are accepted here. Thread rule: an open gguf is read-only and may
 * be shared; a writer belongs to one thread. */
#ifndef FORMATS_GGUF_H
#define FORMATS_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "formats/tensortable.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES
};

/* A string inside the mapped file; not NUL-terminated. */
struct gguf_string {
    const char *data;
    size_t len;
};

struct gguf_kv {
    struct gguf_string key;
    enum gguf_type type;      /* of the value, or GGUF_ARRAY */
    enum gguf_type elem_type; /* of array elements */
    uint64_t count;           /* array length; 1 for scalars */
    const uint8_t *data; /* raw little-endian value(s) in the file; for strings the u64 length */
    size_t size;         /* bytes of the value */
};

/* "u32", "string" … */
const char *gguf_type_name(enum gguf_type type);

struct gguf; /* one model: one file, or all parts of a split one (pass part 1, or any part) */

/* A name that ends in -0000N-of-0000M.gguf opens all M parts beside it: keys come from part 1,
 * tensors from all. ERR_NOTFOUND names the missing part. */

ERR_MUST_USE err gguf_open(const char *path, struct gguf **out, struct errinfo *info);
void gguf_close(struct gguf *g);

/* The same parser over memory the caller keeps alive; for tests and fuzzing. No split files. */
ERR_MUST_USE err gguf_parse(const uint8_t *data, size_t size, const char *name, struct gguf **out,
                            struct errinfo *info);

const struct tensortable *gguf_tensors(const struct gguf *g);
size_t gguf_file_count(const struct gguf *g);
const char *gguf_file_path(const struct gguf *g, size_t i);
size_t gguf_file_size(const struct gguf *g, size_t i);

size_t gguf_kv_count(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL when absent */

/* Typed reads. Any integer type (and a whole-valued float) is accepted for integers, any number for
 * floats. ERR_NOTFOUND when the key is absent, ERR_CORRUPT for a wrong type or a negative count;
 * the message names key, what was found and what was expected. *out untouched on error. */
ERR_MUST_USE err gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out,
                              struct errinfo *info);
ERR_MUST_USE err gguf_get_f64(const struct gguf *g, const char *key, double *out,
                              struct errinfo *info);
ERR_MUST_USE err gguf_get_bool(const struct gguf *g, const char *key, bool *out,
                               struct errinfo *info);
ERR_MUST_USE err gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out,
                                 struct errinfo *info);
/* Element i of an array of numbers or booleans (or i = 0 of a scalar); ERR_CORRUPT for strings, or
 * past the end. */
ERR_MUST_USE err gguf_array_f64(const struct gguf_kv *kv, uint64_t i, double *out);
/* Walks an array of strings: *pos starts at 0 and is advanced past each string. */
ERR_MUST_USE err gguf_array_string(const struct gguf_kv *kv, size_t *pos, struct gguf_string *out);

/* Writing: declare all keys, then all tensors, then stream the tensor data in the declared order.
 * Data is aligned to 32 bytes. A failed call leaves the writer as it was or fit only for
 * gguf_writer_free (after a write error); the file at `path` stays what it was until commit. Calls
 * in the wrong order and impossible values are ERR_ARGUMENT. Key functions without an errinfo fail
 * only with ERR_NOMEM, or ERR_ARGUMENT after the data began; doubled or malformed keys are found,
 * and named, by begin_data. */
struct gguf_writer;
ERR_MUST_USE err gguf_writer_new(const char *path, struct gguf_writer **out, struct errinfo *info);
ERR_MUST_USE err gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t v);
ERR_MUST_USE err gguf_writer_f32(struct gguf_writer *w, const char *key, float v);
ERR_MUST_USE err gguf_writer_bool(struct gguf_writer *w, const char *key, bool v);
ERR_MUST_USE err gguf_writer_string(struct gguf_writer *w, const char *key, const char *s,
                                    size_t n);
ERR_MUST_USE err gguf_writer_strings(struct gguf_writer *w, const char *key,
                                     const struct gguf_string *v, size_t n);
ERR_MUST_USE err gguf_writer_i32s(struct gguf_writer *w, const char *key, const int32_t *v,
                                  size_t n);
ERR_MUST_USE err gguf_writer_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n);
/* As it stands in another file; general.alignment and split.* are left out, because this writer
 * writes one file and aligns by 32. */
ERR_MUST_USE err gguf_writer_copy_kv(struct gguf_writer *w, const struct gguf_kv *kv);
/* `t.data` is ignored here; shape is outermost first and is turned into GGUF's order.
 * ERR_UNSUPPORTED for a dtype GGUF lacks (F8_E4M3 …), ERR_LIMIT for a name over 63 bytes,
 * ERR_CORRUPT for one used twice. */
ERR_MUST_USE err gguf_writer_tensor(struct gguf_writer *w, const char *name, const struct tensor *t,
                                    struct errinfo *info);
ERR_MUST_USE err gguf_writer_begin_data(struct gguf_writer *w, struct errinfo *info);
/* Bytes of the current tensor, in pieces of any size; padding is added between tensors. */
ERR_MUST_USE err gguf_writer_data(struct gguf_writer *w, const void *data, size_t n,
                                  struct errinfo *info);
/* Fails when the data written is not exactly what was declared. The file appears only now. */
ERR_MUST_USE err gguf_writer_commit(struct gguf_writer *w, struct errinfo *info);
void gguf_writer_free(struct gguf_writer *w); /* without commit nothing is left behind */

#endif

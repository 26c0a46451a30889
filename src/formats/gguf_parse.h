/* formats/gguf_parse.h: the bytes of one GGUF file into keys and tensors; private to gguf.c.
 * The only code that reads GGUF structure; everything after it trusts what it let through:
 * keys are unique, non-empty printable ASCII; every value lies inside the file, array elements
 * included; booleans are 0 or 1; tensors have a known type, rank 1..4, whole blocks, and lie inside
 * the file without overlapping. */
#ifndef FORMATS_GGUF_PARSE_H
#define FORMATS_GGUF_PARSE_H

#include "formats/gguf.h"

enum {
    GGUF_PARSE_KEYS_MAX = 1 << 16,
    GGUF_PARSE_KEY_BYTES_MAX = 65535, /* the format's own limit */
    GGUF_PARSE_ALIGN_DEFAULT = 32,
    GGUF_PARSE_ALIGN_MAX = 4096
};

struct gguf_parse_keys {
    struct gguf_kv *kv;            /* in file order */
    const struct gguf_kv **sorted; /* by key, for the search */
    size_t count;
};

/* Parses `size` bytes at `data` (which stay where they are while keys and tensors are used), adds
 * the tensors to `table` as file number `file`. On error *keys holds nothing; the table may hold
 * some of the tensors and must be thrown away. Memory: a small multiple of the bytes parsed. */
ERR_MUST_USE err gguf_parse_bytes(const uint8_t *data, size_t size, const char *name, size_t file,
                                  struct gguf_parse_keys *keys, struct tensortable *table,
                                  struct errinfo *info);
void gguf_parse_keys_free(struct gguf_parse_keys *keys);

/* NULL when absent. */
const struct gguf_kv *gguf_parse_find(const struct gguf_parse_keys *keys, const char *key);

/* An integer scalar of any width, or a whole-valued float, not negative. False otherwise. */
bool gguf_parse_as_u64(const struct gguf_kv *kv, uint64_t *out);

/* Number `i` of a scalar (i = 0) or array of numbers or booleans; false for strings or past the
 * end. */
bool gguf_parse_number(const struct gguf_kv *kv, uint64_t i, double *out);

/* Bytes of one value of a fixed-size type, 0 for strings and arrays; "u32", "string" … */
size_t gguf_parse_type_size(enum gguf_type type);

#endif

/* formats/safetensors.c: the reader, see safetensors.h; the writer is safetensors_writer.c. */
#include "formats/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cursor.h"
#include "base/json.h"
#include "base/mem.h"

enum { SAFETENSORS_HEADER_MAX = 100000000 };

struct safetensors_tensor {
    const char *name; /* owned by the header */
    struct tensor tensor;
    size_t begin, end; /* from the start of the data */
};

struct safetensors {
    const char *name; /* of the file */
    const uint8_t *data;
    size_t start, size; /* of the data: all after the header */
    struct errinfo *info;
};

const char *safetensors_dtype_name(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_F64: return "F64";
    case DTYPE_F32: return "F32";
    case DTYPE_F16: return "F16";
    case DTYPE_BF16: return "BF16";
    case DTYPE_F8_E4M3: return "F8_E4M3";
    case DTYPE_F8_E8M0: return "F8_E8M0";
    case DTYPE_I64: return "I64";
    case DTYPE_I32: return "I32";
    case DTYPE_I16: return "I16";
    case DTYPE_I8: return "I8";
    case DTYPE_U8: return "U8";
    case DTYPE_BOOL: return "BOOL";
    default: return NULL;
    }
}

static bool safetensors_dtype(const char *name, enum dtype *out)
{
    for (int t = 0; t < DTYPE_COUNT; t++) {
        const char *known = safetensors_dtype_name((enum dtype)t);
        if (known && strcmp(known, name) == 0) {
            *out = (enum dtype)t;
            return true;
        }
    }
    return false;
}

/* Length and JSON of the header; on success s->start and s->size are set. */
static err safetensors_header(struct safetensors *s, size_t size, json_t **out)
{
    struct cursor c = {.data = s->data, .size = size};
    uint64_t n = 0;
    const uint8_t *text = NULL;
    if (cursor_u64(&c, &n) != ERR_OK) {
        return err_set(s->info, ERR_CORRUPT,
                       "%s has %zu bytes; a safetensors file begins with 8 bytes of header length",
                       s->name, size);
    }
    if (n > cursor_left(&c)) {
        return err_set(s->info, ERR_CORRUPT,
                       "%s: claims a header of %" PRIu64 " bytes, but the file has %zu more; it is "
                       "incomplete or not a safetensors file",
                       s->name, n, cursor_left(&c));
    }
    if (n > SAFETENSORS_HEADER_MAX) {
        return err_set(s->info, ERR_LIMIT,
                       "%s: a header of %" PRIu64 " bytes; at most %d are accepted", s->name, n,
                       SAFETENSORS_HEADER_MAX);
    }
    TRY(cursor_bytes(&c, (size_t)n, &text));
    if (n == 0 || text[0] != '{') {
        return err_set(s->info, ERR_CORRUPT,
                       "%s: the header does not begin with '{': not a safetensors file", s->name);
    }
    json_t *header = NULL;
    TRY(json_parse((const char *)text, (size_t)n, s->name, &header, s->info));
    s->start = c.pos;
    s->size = cursor_left(&c);
    *out = header;
    return ERR_OK;
}

/* A scalar's empty shape becomes [1]. */
static err safetensors_shape(struct safetensors *s, const json_t *shape, const char *label,
                             size_t *dims, uint32_t *rank)
{
    size_t n = json_array_size(shape);
    if (n > TENSOR_RANK_MAX) {
        return err_set(s->info, ERR_UNSUPPORTED,
                       "%s: tensor %s has %zu dimensions; at most %d are read", s->name, label, n,
                       TENSOR_RANK_MAX);
    }
    dims[0] = 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t d = 0;
        if (!json_as_u64(json_array_get(shape, i), &d) || d > SIZE_MAX) {
            return err_set(s->info, ERR_CORRUPT,
                           "%s: tensor %s: dimension %zu of its shape is no size", s->name, label,
                           i);
        }
        if (d == 0) {
            return err_set(s->info, ERR_UNSUPPORTED, "%s: tensor %s is empty (dimension %zu is 0)",
                           s->name, label, i);
        }
        dims[i] = (size_t)d;
    }
    *rank = n == 0 ? 1 : (uint32_t)n;
    return ERR_OK;
}

/* begin and end of the tensor's bytes, inside the data. */
static err safetensors_offsets(struct safetensors *s, const json_t *offsets,
                               struct safetensors_tensor *t)
{
    uint64_t begin = 0, end = 0;
    if (json_array_size(offsets) != 2 || !json_as_u64(json_array_get(offsets, 0), &begin) ||
        !json_as_u64(json_array_get(offsets, 1), &end)) {
        return err_set(s->info, ERR_CORRUPT, "%s: tensor %s: data_offsets must be two sizes",
                       s->name, t->name);
    }
    if (begin > end || end > s->size) {
        return err_set(s->info, ERR_CORRUPT,
                       "%s: tensor %s: data_offsets %" PRIu64 " to %" PRIu64
                       " do not lie in the %zu bytes of data; the file is incomplete or damaged",
                       s->name, t->name, begin, end, s->size);
    }
    t->begin = (size_t)begin;
    t->end = (size_t)end;
    return ERR_OK;
}

static err safetensors_entry(struct safetensors *s, const char *name, const json_t *value,
                             struct safetensors_tensor *out)
{
    if (strlen(name) > TENSORTABLE_NAME_MAX) {
        return err_set(s->info, ERR_LIMIT,
                       "%s: tensor name %.40s… has %zu bytes; at most %d are accepted", s->name,
                       name, strlen(name), TENSORTABLE_NAME_MAX);
    }
    struct safetensors_tensor t = {.name = name};
    char where[TENSORTABLE_NAME_MAX + 300];
    snprintf(where, sizeof where, "%.255s: tensor %.255s", s->name, name);
    const char *type_name = NULL;
    const json_t *shape = NULL, *offsets = NULL;
    err e = json_get_string(value, where, "dtype", &type_name, s->info);
    if (e == ERR_OK) {
        e = json_get_array(value, where, "shape", &shape, s->info);
    }
    if (e == ERR_OK) {
        e = json_get_array(value, where, "data_offsets", &offsets, s->info);
    }
    if (e != ERR_OK) {
        return err_prefix(s->info, ERR_CORRUPT, "bad header: ");
    }
    enum dtype dtype;
    if (!safetensors_dtype(type_name, &dtype)) {
        return err_set(s->info, ERR_UNSUPPORTED, "%s: tensor %s has dtype %.40s, which is not read",
                       s->name, name, type_name);
    }
    size_t dims[TENSOR_RANK_MAX];
    uint32_t rank = 0;
    TRY(safetensors_shape(s, shape, name, dims, &rank));
    TRY(safetensors_offsets(s, offsets, &t));
    if (tensor_init(&t.tensor, dtype, rank, dims, s->data + s->start + t.begin) != ERR_OK) {
        return err_set(s->info, ERR_CORRUPT, "%s: tensor %s: its shape overflows", s->name, name);
    }
    if (tensor_bytes(&t.tensor) != t.end - t.begin) {
        char text[TENSORTABLE_SHAPE_TEXT];
        tensortable_shape_text(&t.tensor, text);
        return err_set(s->info, ERR_CORRUPT,
                       "%s: tensor %s: %s %s needs %zu bytes, data_offsets give %zu", s->name, name,
                       type_name, text, tensor_bytes(&t.tensor), t.end - t.begin);
    }
    *out = t;
    return ERR_OK;
}

static int safetensors_by_begin(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* The tensors, in order of their bytes, must tile the data: no gap, no overlap, nothing after them.
 */
static err safetensors_tiling(struct safetensors *s, const struct safetensors_tensor *t, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (t[i].begin != at) {
            return err_set(
                s->info, ERR_CORRUPT, "%s: tensor %s starts at byte %zu of the data, %s %zu",
                s->name, t[i].name, t[i].begin,
                t[i].begin > at ? "which leaves a gap after" : "inside the one that ends at", at);
        }
        at = t[i].end;
    }
    if (at != s->size) {
        return err_set(s->info, ERR_CORRUPT, "%s: %zu bytes after the last tensor belong to none",
                       s->name, s->size - at);
    }
    return ERR_OK;
}

static err safetensors_metadata(struct safetensors *s, json_t *value)
{
    bool good = json_is_object(value);
    const char *key;
    json_t *member;
    json_object_foreach(value, key, member)
    {
        good = good && json_is_string(member);
    }
    return good ? ERR_OK
                : err_set(s->info, ERR_CORRUPT, "%s: __metadata__ must map strings to strings",
                          s->name);
}

static err safetensors_collect(struct safetensors *s, json_t *header, struct safetensors_tensor *t,
                               size_t *count)
{
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            TRY(safetensors_metadata(s, value));
        } else {
            TRY(safetensors_entry(s, name, value, &t[n++]));
        }
    }
    qsort(t, n, sizeof *t, safetensors_by_begin);
    *count = n;
    return safetensors_tiling(s, t, n);
}

static err safetensors_add_all(struct safetensors *s, json_t *header, size_t file,
                               struct tensortable *table)
{
    struct safetensors_tensor *t = mem_calloc(json_object_size(header), sizeof *t);
    if (!t) {
        return err_set(s->info, ERR_NOMEM, "%s: out of memory for %zu tensors", s->name,
                       json_object_size(header));
    }
    size_t n = 0;
    err e = safetensors_collect(s, header, t, &n);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = tensortable_add(table, t[i].name, strlen(t[i].name), &t[i].tensor, file,
                            s->start + t[i].begin, s->info);
        if (e != ERR_OK) {
            e = err_prefix(s->info, e, "%s: ", s->name);
        }
    }
    mem_free(t);
    return e;
}

err safetensors_parse(const uint8_t *data, size_t size, const char *name, size_t file,
                      struct tensortable *table, struct errinfo *info)
{
    struct safetensors s = {.name = name, .data = data, .info = info};
    json_t *header = NULL;
    TRY(safetensors_header(&s, size, &header));
    err e = safetensors_add_all(&s, header, file, table);
    json_decref(header);
    return e;
}

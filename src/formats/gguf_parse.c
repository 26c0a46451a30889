/* formats/gguf_parse.c: see gguf_parse.h. Layout of the file (all little-endian):
 *   "GGUF" u32 version u64 n_tensors u64 n_keys
 *   n_keys    x { string key; u32 type; value }            string = u64 length, bytes
 *   n_tensors x { string name; u32 rank; u64 ne[rank], fastest first; u32 type; u64 offset }
 *   zeros up to general.alignment, then the data each offset counts from. */
#include "formats/gguf_parse.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cursor.h"
#include "base/mem.h"

/* The least bytes a key and a tensor can take: what bounds a claimed count. */
enum { GGUF_PARSE_KEY_MIN = 8 + 1 + 4 + 1, GGUF_PARSE_TENSOR_MIN = 8 + 1 + 4 + 8 + 4 + 8 };

struct gguf_parse {
    struct cursor c;
    const char *name; /* of the file, for messages */
    struct errinfo *info;
};

/* A tensor as declared, before the start of the data is known. */
struct gguf_parse_tensor {
    struct gguf_string name;
    struct tensor tensor;
    uint64_t offset;   /* from the start of the data */
    size_t begin, end; /* bytes in the file */
};

size_t gguf_parse_type_size(enum gguf_type type)
{
    static const uint8_t sizes[GGUF_TYPES] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return sizes[type];
}

static err gguf_parse_ends(struct gguf_parse *p, const char *what)
{
    return err_set(p->info, ERR_CORRUPT,
                   "%s: the file ends at byte %zu, inside %s; it is incomplete or damaged", p->name,
                   p->c.size, what);
}

static err gguf_parse_u32(struct gguf_parse *p, const char *what, uint32_t *out)
{
    return cursor_u32(&p->c, out) == ERR_OK ? ERR_OK : gguf_parse_ends(p, what);
}

static err gguf_parse_u64(struct gguf_parse *p, const char *what, uint64_t *out)
{
    return cursor_u64(&p->c, out) == ERR_OK ? ERR_OK : gguf_parse_ends(p, what);
}

static err gguf_parse_string(struct gguf_parse *p, const char *what, struct gguf_string *out)
{
    size_t at = p->c.pos;
    uint64_t len = 0;
    TRY(gguf_parse_u64(p, what, &len));
    const uint8_t *bytes = NULL;
    if (len > cursor_left(&p->c) || cursor_bytes(&p->c, (size_t)len, &bytes) != ERR_OK) {
        return err_set(p->info, ERR_CORRUPT,
                       "%s: byte %zu: %s claims %" PRIu64 " bytes, but the file has %zu more",
                       p->name, at, what, len, cursor_left(&p->c));
    }
    out->data = (const char *)bytes;
    out->len = (size_t)len;
    return ERR_OK;
}

/* Magic, version, counts. */
static err gguf_parse_header(struct gguf_parse *p, uint64_t *n_tensors, uint64_t *n_keys)
{
    const uint8_t *magic = NULL;
    if (cursor_bytes(&p->c, 4, &magic) != ERR_OK || memcmp(magic, "GGUF", 4) != 0) {
        return err_set(p->info, ERR_CORRUPT,
                       "%s is not a GGUF file: it does not begin with \"GGUF\"", p->name);
    }
    uint32_t version = 0;
    TRY(gguf_parse_u32(p, "the version", &version));
    if (version != 0 && (version & 0xffff) == 0) {
        return err_set(
            p->info, ERR_UNSUPPORTED,
            "%s: version 0x%08x: this is a big-endian GGUF file; only little-endian is read",
            p->name, version);
    }
    if (version != 2 && version != 3) {
        return err_set(p->info, ERR_UNSUPPORTED, "%s: GGUF version %u; versions 2 and 3 are read%s",
                       p->name, version,
                       version == 1 ? " (version 1 was replaced in 2023: get a newer file)" : "");
    }
    TRY(gguf_parse_u64(p, "the tensor count", n_tensors));
    TRY(gguf_parse_u64(p, "the key count", n_keys));
    size_t left = cursor_left(&p->c);
    if (*n_keys > GGUF_PARSE_KEYS_MAX) {
        return err_set(p->info, ERR_LIMIT, "%s: claims %" PRIu64 " keys; at most %d are accepted",
                       p->name, *n_keys, GGUF_PARSE_KEYS_MAX);
    }
    if (*n_tensors > TENSORTABLE_MAX) {
        return err_set(p->info, ERR_LIMIT,
                       "%s: claims %" PRIu64 " tensors; at most %d are accepted", p->name,
                       *n_tensors, TENSORTABLE_MAX);
    }
    if (*n_keys * GGUF_PARSE_KEY_MIN + *n_tensors * GGUF_PARSE_TENSOR_MIN > left) {
        return err_set(p->info, ERR_CORRUPT,
                       "%s: claims %" PRIu64 " keys and %" PRIu64
                       " tensors, which do not fit in %zu bytes",
                       p->name, *n_keys, *n_tensors, left);
    }
    return ERR_OK;
}

static err gguf_parse_key_name(struct gguf_parse *p, struct gguf_string *key)
{
    size_t at = p->c.pos;
    TRY(gguf_parse_string(p, "a key", key));
    if (key->len == 0 || key->len > GGUF_PARSE_KEY_BYTES_MAX) {
        return err_set(p->info, ERR_CORRUPT, "%s: byte %zu: a key of %zu bytes; expected 1 to %d",
                       p->name, at, key->len, GGUF_PARSE_KEY_BYTES_MAX);
    }
    for (size_t i = 0; i < key->len; i++) {
        if (key->data[i] < 0x20 || key->data[i] > 0x7e) {
            return err_set(p->info, ERR_CORRUPT, "%s: byte %zu: a key that is not printable ASCII",
                           p->name, at);
        }
    }
    return ERR_OK;
}

static int gguf_parse_width(const struct gguf_kv *kv) /* for %.*s */
{
    return kv->key.len > 200 ? 200 : (int)kv->key.len;
}

static err gguf_parse_type(struct gguf_parse *p, const struct gguf_kv *kv, enum gguf_type *out)
{
    uint32_t type = 0;
    TRY(gguf_parse_u32(p, "the type of a key", &type));
    if (type >= GGUF_TYPES) {
        return err_set(p->info, ERR_CORRUPT, "%s: key %.*s has value type %u; types are 0 to %d",
                       p->name, gguf_parse_width(kv), kv->key.data, type, GGUF_TYPES - 1);
    }
    *out = (enum gguf_type)type;
    return ERR_OK;
}

/* Steps over `kv->count` values of type `kv->elem_type`, checking each. */
static err gguf_parse_values(struct gguf_parse *p, struct gguf_kv *kv)
{
    size_t begin = p->c.pos;
    kv->data = p->c.data + begin;
    size_t each = gguf_parse_type_size(kv->elem_type);
    size_t least = each ? each : 8;
    if (kv->count > cursor_left(&p->c) / least) {
        return err_set(
            p->info, ERR_CORRUPT,
            "%s: byte %zu: key %.*s claims %" PRIu64 " values, but the file has %zu more bytes",
            p->name, begin, gguf_parse_width(kv), kv->key.data, kv->count, cursor_left(&p->c));
    }
    if (each == 0) {
        for (uint64_t i = 0; i < kv->count; i++) {
            struct gguf_string s;
            TRY(gguf_parse_string(p, "a string", &s));
        }
    } else if (cursor_skip(&p->c, (size_t)kv->count * each) != ERR_OK) {
        return gguf_parse_ends(p, "a value");
    }
    kv->size = p->c.pos - begin;
    for (uint64_t i = 0; kv->elem_type == GGUF_BOOL && i < kv->count; i++) {
        if (kv->data[i] > 1) {
            return err_set(p->info, ERR_CORRUPT,
                           "%s: key %.*s holds the byte %u as a bool; expected 0 or 1", p->name,
                           gguf_parse_width(kv), kv->key.data, kv->data[i]);
        }
    }
    return ERR_OK;
}

static err gguf_parse_kv(struct gguf_parse *p, struct gguf_kv *out)
{
    struct gguf_kv kv = {.count = 1};
    TRY(gguf_parse_key_name(p, &kv.key));
    TRY(gguf_parse_type(p, &kv, &kv.type));
    kv.elem_type = kv.type;
    if (kv.type == GGUF_ARRAY) {
        TRY(gguf_parse_type(p, &kv, &kv.elem_type));
        if (kv.elem_type == GGUF_ARRAY) {
            return err_set(p->info, ERR_UNSUPPORTED,
                           "%s: key %.*s is an array of arrays; no model needs one", p->name,
                           gguf_parse_width(&kv), kv.key.data);
        }
        TRY(gguf_parse_u64(p, "the length of an array", &kv.count));
    }
    TRY(gguf_parse_values(p, &kv));
    *out = kv;
    return ERR_OK;
}

static int gguf_parse_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int c = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

static int gguf_parse_by_key(const void *a, const void *b)
{
    const struct gguf_kv *x = *(const struct gguf_kv *const *)a;
    const struct gguf_kv *y = *(const struct gguf_kv *const *)b;
    return gguf_parse_compare(x->key.data, x->key.len, y->key.data, y->key.len);
}

static err gguf_parse_all_keys(struct gguf_parse *p, size_t n, struct gguf_parse_keys *keys)
{
    keys->kv = mem_calloc(n, sizeof *keys->kv);
    keys->sorted = mem_calloc(n, sizeof *keys->sorted);
    if (!keys->kv || !keys->sorted) {
        return err_set(p->info, ERR_NOMEM, "%s: out of memory for %zu keys", p->name, n);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(gguf_parse_kv(p, &keys->kv[i]));
        keys->sorted[i] = &keys->kv[i];
    }
    keys->count = n;
    qsort(keys->sorted, n, sizeof *keys->sorted, gguf_parse_by_key);
    for (size_t i = 1; i < n; i++) {
        if (gguf_parse_by_key(&keys->sorted[i - 1], &keys->sorted[i]) == 0) {
            return err_set(p->info, ERR_CORRUPT, "%s: key %.*s appears twice", p->name,
                           gguf_parse_width(keys->sorted[i]), keys->sorted[i]->key.data);
        }
    }
    return ERR_OK;
}

static err gguf_parse_alignment(struct gguf_parse *p, const struct gguf_parse_keys *keys,
                                size_t *out)
{
    const struct gguf_kv *kv = gguf_parse_find(keys, "general.alignment");
    uint64_t v = GGUF_PARSE_ALIGN_DEFAULT;
    if (kv && !gguf_parse_as_u64(kv, &v)) {
        return err_set(p->info, ERR_CORRUPT, "%s: general.alignment is not a whole number",
                       p->name);
    }
    if (v == 0 || v > GGUF_PARSE_ALIGN_MAX || (v & (v - 1)) != 0) {
        return err_set(p->info, ERR_CORRUPT,
                       "%s: general.alignment is %" PRIu64 "; expected a power of two, 1 to %d",
                       p->name, v, GGUF_PARSE_ALIGN_MAX);
    }
    *out = (size_t)v;
    return ERR_OK;
}

/* Rank and dimensions; GGUF's fastest dimension comes first, ours last. */
static err gguf_parse_shape(struct gguf_parse *p, const char *label, size_t *shape, uint32_t *rank)
{
    uint64_t ne[TENSOR_RANK_MAX];
    TRY(gguf_parse_u32(p, "the rank of a tensor", rank));
    if (*rank == 0 || *rank > TENSOR_RANK_MAX) {
        return err_set(p->info, ERR_CORRUPT, "%s: %s has %u dimensions; expected 1 to %d", p->name,
                       label, *rank, TENSOR_RANK_MAX);
    }
    for (uint32_t i = 0; i < *rank; i++) {
        TRY(gguf_parse_u64(p, "the shape of a tensor", &ne[i]));
        if (ne[i] == 0 || ne[i] > SIZE_MAX) {
            return err_set(p->info, ERR_CORRUPT, "%s: %s has a dimension of %" PRIu64, p->name,
                           label, ne[i]);
        }
    }
    for (uint32_t i = 0; i < *rank; i++) {
        shape[i] = (size_t)ne[*rank - 1 - i];
    }
    return ERR_OK;
}

static err gguf_parse_tensor(struct gguf_parse *p, struct gguf_parse_tensor *out)
{
    struct gguf_parse_tensor t = {0};
    TRY(gguf_parse_string(p, "the name of a tensor", &t.name));
    if (t.name.len > TENSORTABLE_NAME_MAX) {
        return err_set(p->info, ERR_LIMIT,
                       "%s: tensor name %.40s… has %zu bytes; at most %d are accepted", p->name,
                       t.name.data, t.name.len, TENSORTABLE_NAME_MAX);
    }
    char label[TENSORTABLE_NAME_MAX + 16];
    snprintf(label, sizeof label, "tensor %.*s", (int)t.name.len, t.name.data);
    size_t shape[TENSOR_RANK_MAX];
    uint32_t rank = 0, id = 0;
    TRY(gguf_parse_shape(p, label, shape, &rank));
    TRY(gguf_parse_u32(p, "the type of a tensor", &id));
    TRY(gguf_parse_u64(p, "the offset of a tensor", &t.offset));
    enum dtype dtype;
    if (!dtype_from_ggml(id, &dtype)) {
        return err_set(p->info, ERR_UNSUPPORTED,
                       "%s: %s has ggml type %u, which this program does not know", p->name, label,
                       id);
    }
    err e = tensor_init(&t.tensor, dtype, rank, shape, NULL);
    if (e != ERR_OK && shape[rank - 1] % dtype_info(dtype)->block_elems != 0) {
        return err_set(p->info, e,
                       "%s: %s of type %s has rows of %zu values; expected a multiple of %u",
                       p->name, label, dtype_info(dtype)->name, shape[rank - 1],
                       dtype_info(dtype)->block_elems);
    }
    if (e != ERR_OK) {
        return err_set(p->info, ERR_CORRUPT, "%s: the shape of %s overflows", p->name, label);
    }
    *out = t;
    return ERR_OK;
}

/* Finds the bytes of each tensor in the file. */
static err gguf_parse_place(struct gguf_parse *p, struct gguf_parse_tensor *t, size_t n,
                            size_t align)
{
    size_t start;
    if (!checked_align(p->c.pos, align, &start)) {
        return gguf_parse_ends(p, "the padding before the tensor data");
    }
    for (size_t i = 0; i < n; i++) {
        int width = (int)t[i].name.len;
        if (t[i].offset % align != 0) {
            return err_set(p->info, ERR_CORRUPT,
                           "%s: tensor %.*s has offset %" PRIu64
                           ", not a multiple of the alignment %zu",
                           p->name, width, t[i].name.data, t[i].offset, align);
        }
        if (t[i].offset > SIZE_MAX || !checked_add(start, (size_t)t[i].offset, &t[i].begin) ||
            !checked_add(t[i].begin, tensor_bytes(&t[i].tensor), &t[i].end) ||
            t[i].end > p->c.size) {
            return err_set(
                p->info, ERR_CORRUPT,
                "%s: tensor %.*s needs %zu bytes at offset %" PRIu64
                " of the data, which starts at byte %zu; the file ends at byte %zu: it is "
                "incomplete or damaged",
                p->name, width, t[i].name.data, tensor_bytes(&t[i].tensor), t[i].offset, start,
                p->c.size);
        }
        t[i].tensor.data = p->c.data + t[i].begin;
    }
    return ERR_OK;
}

static int gguf_parse_by_begin(const void *a, const void *b)
{
    const struct gguf_parse_tensor *x = *(const struct gguf_parse_tensor *const *)a;
    const struct gguf_parse_tensor *y = *(const struct gguf_parse_tensor *const *)b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static err gguf_parse_overlaps(struct gguf_parse *p, const struct gguf_parse_tensor *t, size_t n)
{
    const struct gguf_parse_tensor **sorted = mem_calloc(n, sizeof *sorted);
    if (!sorted) {
        return err_set(p->info, ERR_NOMEM, "%s: out of memory for %zu tensors", p->name, n);
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = &t[i];
    }
    qsort(sorted, n, sizeof *sorted, gguf_parse_by_begin);
    err e = ERR_OK;
    for (size_t i = 1; i < n && e == ERR_OK; i++) {
        const struct gguf_parse_tensor *x = sorted[i - 1], *y = sorted[i];
        if (x->end > y->begin) {
            e = err_set(p->info, ERR_CORRUPT, "%s: tensors %.*s and %.*s overlap at byte %zu",
                        p->name, (int)x->name.len, x->name.data, (int)y->name.len, y->name.data,
                        y->begin);
        }
    }
    mem_free(sorted);
    return e;
}

static err gguf_parse_tensors_into(struct gguf_parse *p, struct gguf_parse_tensor *t, size_t n,
                                   size_t align, size_t file, struct tensortable *table)
{
    for (size_t i = 0; i < n; i++) {
        TRY(gguf_parse_tensor(p, &t[i]));
    }
    TRY(gguf_parse_place(p, t, n, align));
    TRY(gguf_parse_overlaps(p, t, n));
    for (size_t i = 0; i < n; i++) {
        err e = tensortable_add(table, t[i].name.data, t[i].name.len, &t[i].tensor, file,
                                t[i].begin, p->info);
        if (e != ERR_OK) {
            return err_prefix(p->info, e, "%s: ", p->name);
        }
    }
    return ERR_OK;
}

static err gguf_parse_all(struct gguf_parse *p, size_t file, struct gguf_parse_keys *keys,
                          struct tensortable *table)
{
    uint64_t n_tensors = 0, n_keys = 0;
    size_t align = 0;
    TRY(gguf_parse_header(p, &n_tensors, &n_keys));
    TRY(gguf_parse_all_keys(p, (size_t)n_keys, keys));
    TRY(gguf_parse_alignment(p, keys, &align));
    struct gguf_parse_tensor *t = mem_calloc((size_t)n_tensors, sizeof *t);
    if (!t) {
        return err_set(p->info, ERR_NOMEM, "%s: out of memory for %" PRIu64 " tensors", p->name,
                       n_tensors);
    }
    err e = gguf_parse_tensors_into(p, t, (size_t)n_tensors, align, file, table);
    mem_free(t);
    return e;
}

err gguf_parse_bytes(const uint8_t *data, size_t size, const char *name, size_t file,
                     struct gguf_parse_keys *keys, struct tensortable *table, struct errinfo *info)
{
    struct gguf_parse p = {.c = {.data = data, .size = size}, .name = name, .info = info};
    struct gguf_parse_keys k = {0};
    err e = gguf_parse_all(&p, file, &k, table);
    if (e != ERR_OK) {
        gguf_parse_keys_free(&k);
        return e;
    }
    *keys = k;
    return ERR_OK;
}

void gguf_parse_keys_free(struct gguf_parse_keys *keys)
{
    mem_free(keys->kv);
    mem_free(keys->sorted);
    *keys = (struct gguf_parse_keys){0};
}

const struct gguf_kv *gguf_parse_find(const struct gguf_parse_keys *keys, const char *key)
{
    size_t len = strlen(key), low = 0, high = keys->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct gguf_kv *kv = keys->sorted[mid];
        int c = gguf_parse_compare(key, len, kv->key.data, kv->key.len);
        if (c == 0) {
            return kv;
        }
        if (c < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return NULL;
}

/* The `n` low bytes at `b`, little-endian. */
static uint64_t gguf_parse_le(const uint8_t *b, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v |= (uint64_t)b[i] << (8 * i);
    }
    return v;
}

bool gguf_parse_number(const struct gguf_kv *kv, uint64_t i, double *out)
{
    size_t size = gguf_parse_type_size(kv->elem_type);
    if (size == 0 || i >= kv->count) {
        return false;
    }
    uint64_t bits = gguf_parse_le(kv->data + (size_t)i * size, size);
    float f;
    uint32_t low = (uint32_t)bits;
    switch (kv->elem_type) {
    case GGUF_I8: *out = (int8_t)bits; break;
    case GGUF_I16: *out = (int16_t)bits; break;
    case GGUF_I32: *out = (int32_t)bits; break;
    case GGUF_I64: *out = (double)(int64_t)bits; break;
    case GGUF_F32:
        memcpy(&f, &low, sizeof f);
        *out = (double)f;
        break;
    case GGUF_F64: memcpy(out, &bits, sizeof *out); break;
    default: *out = (double)bits; break;
    }
    return true;
}

bool gguf_parse_as_u64(const struct gguf_kv *kv, uint64_t *out)
{
    double d;
    if (kv->type == GGUF_ARRAY || kv->type == GGUF_BOOL || !gguf_parse_number(kv, 0, &d)) {
        return false;
    }
    if (kv->type == GGUF_U64) {
        *out = gguf_parse_le(kv->data, 8);
        return true;
    }
    if (kv->type == GGUF_I64) {
        uint64_t v = gguf_parse_le(kv->data, 8);
        if (v > INT64_MAX) {
            return false;
        }
        *out = v;
        return true;
    }
    if (!(d >= 0 && d < 0x1p53) || d != floor(d)) {
        return false;
    }
    *out = (uint64_t)d;
    return true;
}

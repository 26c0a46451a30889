/* formats/tensortable.c: see tensortable.h. Entries lie in one growing array in the order they
 * came; a table of slots (index + 1, open addressing) finds them by name. The hash is keyed with
 * random bytes, so a file full of chosen names cannot make it slow. */
#include "formats/tensortable.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct tensortable {
    struct tensortable_entry *entries;
    size_t count, cap;
    uint32_t *slots; /* power of two, at most half full */
    size_t n_slots;
    void **owned;
    size_t n_owned, cap_owned;
    size_t copied; /* bytes of misaligned tensors copied so far */
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
};

err tensortable_new(struct tensortable **out, struct errinfo *info)
{
    struct tensortable *t = mem_calloc(1, sizeof *t);
    if (!t) {
        return err_set(info, ERR_NOMEM, "out of memory for the table of tensors");
    }
    randombytes_buf(t->hash_key, sizeof t->hash_key);
    *out = t;
    return ERR_OK;
}

void tensortable_free(struct tensortable *t)
{
    if (!t) {
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        mem_free((void *)(uintptr_t)t->entries[i].name);
    }
    for (size_t i = 0; i < t->n_owned; i++) {
        mem_free_aligned(t->owned[i]);
    }
    mem_free(t->owned);
    mem_free(t->entries);
    mem_free(t->slots);
    mem_free(t);
}

/* The slot that holds `name`, or the empty one where it belongs. Needs n_slots > 0. */
static uint32_t *tensortable_slot(const struct tensortable *t, const char *name, size_t len)
{
    uint64_t h;
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)name, len, t->hash_key);
    for (size_t i = (size_t)h & (t->n_slots - 1);; i = (i + 1) & (t->n_slots - 1)) {
        if (t->slots[i] == 0) {
            return &t->slots[i];
        }
        const char *other = t->entries[t->slots[i] - 1].name;
        if (strlen(other) == len && memcmp(other, name, len) == 0) {
            return &t->slots[i];
        }
    }
}

/* Room for one more entry and its slot. On failure the table is as it was. */
static err tensortable_grow(struct tensortable *t, struct errinfo *info)
{
    if (t->count < t->cap) {
        return ERR_OK;
    }
    size_t cap = t->cap ? 2 * t->cap : 64;
    struct tensortable_entry *entries = mem_resize(t->entries, cap, sizeof *entries);
    if (!entries) {
        return err_set(info, ERR_NOMEM, "out of memory for a table of %zu tensors", cap);
    }
    t->entries = entries;
    uint32_t *slots = mem_calloc(2 * cap, sizeof *slots);
    if (!slots) {
        return err_set(info, ERR_NOMEM, "out of memory for a table of %zu tensors", cap);
    }
    mem_free(t->slots);
    t->slots = slots;
    t->n_slots = 2 * cap;
    t->cap = cap;
    for (size_t i = 0; i < t->count; i++) {
        *tensortable_slot(t, entries[i].name, strlen(entries[i].name)) = (uint32_t)i + 1;
    }
    return ERR_OK;
}

err tensortable_own(struct tensortable *t, size_t bytes, void **out, struct errinfo *info)
{
    void **owned = mem_grow(t->owned, t->n_owned, &t->cap_owned, sizeof *owned);
    if (!owned) {
        return err_set(info, ERR_NOMEM, "out of memory for %zu bytes of tensors", bytes);
    }
    t->owned = owned;
    void *p = mem_alloc_aligned(bytes);
    if (!p) {
        return err_set(info, ERR_NOMEM, "out of memory for %zu bytes of tensors", bytes);
    }
    t->owned[t->n_owned++] = p;
    *out = p;
    return ERR_OK;
}

size_t tensortable_alignment(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_F64:
    case DTYPE_I64: return 8;
    case DTYPE_F32:
    case DTYPE_I32: return 4;
    case DTYPE_F8_E4M3:
    case DTYPE_F8_E8M0:
    case DTYPE_MXFP4:
    case DTYPE_NVFP4:
    case DTYPE_I8:
    case DTYPE_U8:
    case DTYPE_BOOL: return 1;
    default: return 2; /* halves, and blocks whose widest field is a half */
    }
}

/* Points *data at an aligned copy when the file's bytes are not aligned. */
static err tensortable_align(struct tensortable *t, const char *name, const struct tensor *tensor,
                             const void **data, struct errinfo *info)
{
    *data = tensor->data;
    size_t align = tensortable_alignment(tensor->dtype);
    if ((uintptr_t)tensor->data % align == 0) {
        return ERR_OK;
    }
    size_t bytes = tensor_bytes(tensor);
    if (bytes > TENSORTABLE_COPY_MAX - t->copied) {
        return err_set(
            info, ERR_LIMIT,
            "tensor %s (%zu bytes) is not aligned to %zu bytes in its file, and over %d MiB of "
            "such tensors are not copied; write the file anew with `fathom convert`",
            name, bytes, align, TENSORTABLE_COPY_MAX >> 20);
    }
    void *copy = NULL;
    TRY(tensortable_own(t, bytes, &copy, info));
    memcpy(copy, tensor->data, bytes);
    t->copied += bytes;
    *data = copy;
    return ERR_OK;
}

static err tensortable_check_name(const char *name, size_t len, struct errinfo *info)
{
    if (len == 0) {
        return err_set(info, ERR_CORRUPT, "a tensor has an empty name");
    }
    if (len > TENSORTABLE_NAME_MAX) {
        return err_set(info, ERR_LIMIT, "tensor name %.40s… has %zu bytes; at most %d are accepted",
                       name, len, TENSORTABLE_NAME_MAX);
    }
    for (size_t i = 0; i < len; i++) {
        if (name[i] < 0x20 || name[i] > 0x7e) {
            return err_set(info, ERR_CORRUPT,
                           "tensor name %.*s holds the byte 0x%02x; names are printable ASCII",
                           (int)len, name, (unsigned char)name[i]);
        }
    }
    return ERR_OK;
}

err tensortable_add(struct tensortable *t, const char *name, size_t name_len,
                    const struct tensor *tensor, size_t file, size_t offset, struct errinfo *info)
{
    TRY(tensortable_check_name(name, name_len, info));
    if (t->count == TENSORTABLE_MAX) {
        return err_set(info, ERR_LIMIT, "more than %d tensors", TENSORTABLE_MAX);
    }
    TRY(tensortable_grow(t, info));
    uint32_t *slot = tensortable_slot(t, name, name_len);
    if (*slot != 0) {
        return err_set(info, ERR_CORRUPT, "tensor %.*s appears twice", (int)name_len, name);
    }
    char *copy = mem_dup(name, name_len);
    if (!copy) {
        return err_set(info, ERR_NOMEM, "out of memory for the table of tensors");
    }
    struct tensortable_entry e = {.name = copy, .tensor = *tensor, .file = file, .offset = offset};
    err code = tensortable_align(t, copy, tensor, &e.tensor.data, info);
    if (code != ERR_OK) {
        mem_free(copy);
        return code;
    }
    t->entries[t->count++] = e;
    *slot = (uint32_t)t->count;
    return ERR_OK;
}

size_t tensortable_count(const struct tensortable *t)
{
    return t->count;
}

const struct tensortable_entry *tensortable_at(const struct tensortable *t, size_t i)
{
    return i < t->count ? &t->entries[i] : NULL;
}

struct tensortable_entry *tensortable_find_mutable(struct tensortable *t, const char *name)
{
    if (t->n_slots == 0) {
        return NULL;
    }
    uint32_t i = *tensortable_slot(t, name, strlen(name));
    return i == 0 ? NULL : &t->entries[i - 1];
}

const struct tensortable_entry *tensortable_find(const struct tensortable *t, const char *name)
{
    if (t->n_slots == 0) {
        return NULL;
    }
    uint32_t i = *tensortable_slot(t, name, strlen(name));
    return i == 0 ? NULL : &t->entries[i - 1];
}

void tensortable_shape_text(const struct tensor *t, char out[TENSORTABLE_SHAPE_TEXT])
{
    size_t used = (size_t)snprintf(out, TENSORTABLE_SHAPE_TEXT, "[");
    for (uint32_t i = 0; i < t->rank && i < TENSOR_RANK_MAX; i++) {
        used += (size_t)snprintf(out + used, TENSORTABLE_SHAPE_TEXT - used, i ? ", %zu" : "%zu",
                                 t->shape[i]);
    }
    snprintf(out + used, TENSORTABLE_SHAPE_TEXT - used, "]");
}

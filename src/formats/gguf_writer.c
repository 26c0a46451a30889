/* formats/gguf_writer.c: new GGUF files; see gguf.h. Keys and tensor infos gather in two byte
 * strings; gguf_writer_begin_data puts header, keys, infos and padding into the file; the data
 * streams after. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "formats/gguf.h"

/* Names over 63 bytes are not read by ggml. */
enum { GGUF_WRITER_ALIGN = 32, GGUF_WRITER_NAME_MAX = 63, GGUF_WRITER_VERSION = 3 };

struct gguf_writer {
    struct file_writer *file;
    char *path;
    struct strbuf keys, infos;
    uint64_t n_keys;
    size_t data_size;             /* of the declared tensors, padding included */
    struct tensortable *tensors;  /* declared; entry.offset counts from the start of the data */
    size_t current, current_done; /* tensor being written, bytes of it so far */
    bool in_data;
};

err gguf_writer_new(const char *path, struct gguf_writer **out, struct errinfo *info)
{
    struct gguf_writer *w = mem_calloc(1, sizeof *w);
    if (!w) {
        return err_set(info, ERR_NOMEM, "out of memory writing %s", path);
    }
    w->path = mem_dup(path, strlen(path));
    err e = w->path ? tensortable_new(&w->tensors, info)
                    : err_set(info, ERR_NOMEM, "out of memory writing %s", path);
    if (e == ERR_OK) {
        e = file_writer_open(path, &w->file, info);
    }
    if (e != ERR_OK) {
        gguf_writer_free(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

void gguf_writer_free(struct gguf_writer *w)
{
    if (!w) {
        return;
    }
    file_writer_close(w->file);
    tensortable_free(w->tensors);
    strbuf_deinit(&w->keys);
    strbuf_deinit(&w->infos);
    mem_free(w->path);
    mem_free(w);
}

/* The n low bytes of v, little-endian. */
static err gguf_writer_le(struct strbuf *s, uint64_t v, size_t n)
{
    char b[8];
    for (size_t i = 0; i < n; i++) {
        b[i] = (char)(v >> (8 * i));
    }
    return strbuf_append(s, b, n);
}

static err gguf_writer_text(struct strbuf *s, const char *text, size_t n)
{
    TRY(gguf_writer_le(s, n, 8));
    return strbuf_append(s, text, n);
}

static uint32_t gguf_writer_bits(float f)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    return v.u;
}

/* Key and type, then `elem` and `count` for an array; the value follows. */
static err gguf_writer_key(struct gguf_writer *w, struct gguf_string key, enum gguf_type type,
                           enum gguf_type elem, uint64_t count)
{
    if (w->in_data) {
        return ERR_ARGUMENT;
    }
    TRY(gguf_writer_text(&w->keys, key.data, key.len));
    TRY(gguf_writer_le(&w->keys, type, 4));
    if (type == GGUF_ARRAY) {
        TRY(gguf_writer_le(&w->keys, elem, 4));
        TRY(gguf_writer_le(&w->keys, count, 8));
    }
    return ERR_OK;
}

/* Counts the key that began at `mark`, or takes back what was written of it. */
static err gguf_writer_key_end(struct gguf_writer *w, size_t mark, err e)
{
    if (e != ERR_OK) {
        w->keys.len = mark;
        return e;
    }
    w->n_keys++;
    return ERR_OK;
}

static struct gguf_string gguf_writer_name(const char *key)
{
    return (struct gguf_string){.data = key, .len = strlen(key)};
}

static err gguf_writer_scalar(struct gguf_writer *w, const char *key, enum gguf_type type,
                              uint64_t bits, size_t size)
{
    size_t mark = w->keys.len;
    err e = gguf_writer_key(w, gguf_writer_name(key), type, type, 1);
    if (e == ERR_OK) {
        e = gguf_writer_le(&w->keys, bits, size);
    }
    return gguf_writer_key_end(w, mark, e);
}

err gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    return gguf_writer_scalar(w, key, GGUF_U32, v, 4);
}

err gguf_writer_f32(struct gguf_writer *w, const char *key, float v)
{
    return gguf_writer_scalar(w, key, GGUF_F32, gguf_writer_bits(v), 4);
}

err gguf_writer_bool(struct gguf_writer *w, const char *key, bool v)
{
    return gguf_writer_scalar(w, key, GGUF_BOOL, v, 1);
}

err gguf_writer_string(struct gguf_writer *w, const char *key, const char *s, size_t n)
{
    size_t mark = w->keys.len;
    err e = gguf_writer_key(w, gguf_writer_name(key), GGUF_STRING, GGUF_STRING, 1);
    if (e == ERR_OK) {
        e = gguf_writer_text(&w->keys, s, n);
    }
    return gguf_writer_key_end(w, mark, e);
}

err gguf_writer_strings(struct gguf_writer *w, const char *key, const struct gguf_string *v,
                        size_t n)
{
    size_t mark = w->keys.len;
    err e = gguf_writer_key(w, gguf_writer_name(key), GGUF_ARRAY, GGUF_STRING, n);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = gguf_writer_text(&w->keys, v[i].data, v[i].len);
    }
    return gguf_writer_key_end(w, mark, e);
}

err gguf_writer_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n)
{
    size_t mark = w->keys.len;
    err e = gguf_writer_key(w, gguf_writer_name(key), GGUF_ARRAY, GGUF_I32, n);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = gguf_writer_le(&w->keys, (uint32_t)v[i], 4);
    }
    return gguf_writer_key_end(w, mark, e);
}

err gguf_writer_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n)
{
    size_t mark = w->keys.len;
    err e = gguf_writer_key(w, gguf_writer_name(key), GGUF_ARRAY, GGUF_F32, n);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = gguf_writer_le(&w->keys, gguf_writer_bits(v[i]), 4);
    }
    return gguf_writer_key_end(w, mark, e);
}

static bool gguf_writer_key_is(const struct gguf_kv *kv, const char *start, bool whole)
{
    size_t n = strlen(start);
    return kv->key.len >= n && memcmp(kv->key.data, start, n) == 0 && (!whole || kv->key.len == n);
}

err gguf_writer_copy_kv(struct gguf_writer *w, const struct gguf_kv *kv)
{
    if (gguf_writer_key_is(kv, "general.alignment", true) ||
        gguf_writer_key_is(kv, "split.", false)) {
        return ERR_OK;
    }
    size_t mark = w->keys.len;
    err e = gguf_writer_key(w, kv->key, kv->type, kv->elem_type, kv->count);
    if (e == ERR_OK) {
        e = strbuf_append(&w->keys, (const char *)kv->data, kv->size);
    }
    return gguf_writer_key_end(w, mark, e);
}

/* Name, rank, dimensions (fastest first), type, offset. */
static err gguf_writer_info(struct gguf_writer *w, const char *name, const struct tensor *t,
                            uint32_t ggml_id)
{
    TRY(gguf_writer_text(&w->infos, name, strlen(name)));
    TRY(gguf_writer_le(&w->infos, t->rank, 4));
    for (uint32_t i = t->rank; i-- > 0;) {
        TRY(gguf_writer_le(&w->infos, t->shape[i], 8));
    }
    TRY(gguf_writer_le(&w->infos, ggml_id, 4));
    return gguf_writer_le(&w->infos, w->data_size, 8);
}

err gguf_writer_tensor(struct gguf_writer *w, const char *name, const struct tensor *t,
                       struct errinfo *info)
{
    if (w->in_data) {
        return err_set(info, ERR_ARGUMENT, "%s: tensor %s declared after the data began", w->path,
                       name);
    }
    if (strlen(name) > GGUF_WRITER_NAME_MAX) {
        return err_set(info, ERR_LIMIT,
                       "%s: tensor name %s is longer than GGUF readers take (%d bytes)", w->path,
                       name, GGUF_WRITER_NAME_MAX);
    }
    int id = dtype_info(t->dtype)->ggml_id;
    if (id < 0) {
        return err_set(info, ERR_UNSUPPORTED,
                       "%s: tensor %s: GGUF has no type %s; convert it first", w->path, name,
                       dtype_info(t->dtype)->name);
    }
    struct tensor declared;
    err e = tensor_init(&declared, t->dtype, t->rank, t->shape, NULL);
    size_t end = 0;
    if (e != ERR_OK || !checked_add(w->data_size, tensor_bytes(&declared), &end) ||
        !checked_align(end, GGUF_WRITER_ALIGN, &end)) {
        return err_set(info, ERR_ARGUMENT, "%s: tensor %s has an impossible shape", w->path, name);
    }
    size_t mark = w->infos.len;
    if (gguf_writer_info(w, name, &declared, (uint32_t)id) != ERR_OK) {
        w->infos.len = mark;
        return err_set(info, ERR_NOMEM, "out of memory writing %s", w->path);
    }
    e = tensortable_add(w->tensors, name, strlen(name), &declared, 0, w->data_size, info);
    if (e != ERR_OK) {
        w->infos.len = mark;
        return err_prefix(info, e, "%s: ", w->path);
    }
    w->data_size = end;
    return ERR_OK;
}

static err gguf_writer_head(struct strbuf *s, const struct gguf_writer *w, size_t n_tensors)
{
    TRY(strbuf_append(s, "GGUF", 4));
    TRY(gguf_writer_le(s, GGUF_WRITER_VERSION, 4));
    TRY(gguf_writer_le(s, n_tensors, 8));
    TRY(gguf_writer_le(s, w->n_keys, 8));
    return strbuf_append(s, w->keys.data, w->keys.len);
}

/* The reader judges the keys (duplicates, names) before a byte reaches the file. */
static err gguf_writer_check_keys(const struct gguf_writer *w, struct errinfo *info)
{
    struct strbuf s = {0};
    struct gguf *g = NULL;
    err e = gguf_writer_head(&s, w, 0);
    if (e != ERR_OK) {
        e = err_set(info, e, "out of memory writing %s", w->path);
    } else {
        e = gguf_parse((const uint8_t *)s.data, s.len, w->path, &g, info);
    }
    gguf_close(g);
    strbuf_deinit(&s);
    return e == ERR_CORRUPT ? err_prefix(info, ERR_ARGUMENT, "refused to write keys: ") : e;
}

/* Zeros up to the alignment. */
static err gguf_writer_pad(struct gguf_writer *w, struct errinfo *info)
{
    static const char zeros[GGUF_WRITER_ALIGN];
    size_t over = file_writer_offset(w->file) % GGUF_WRITER_ALIGN;
    return over == 0 ? ERR_OK : file_writer_write(w->file, zeros, GGUF_WRITER_ALIGN - over, info);
}

err gguf_writer_begin_data(struct gguf_writer *w, struct errinfo *info)
{
    if (w->in_data) {
        return err_set(info, ERR_ARGUMENT, "%s: the data began already", w->path);
    }
    TRY(gguf_writer_check_keys(w, info));
    struct strbuf s = {0};
    err e = gguf_writer_head(&s, w, tensortable_count(w->tensors));
    if (e == ERR_OK) {
        e = strbuf_append(&s, w->infos.data, w->infos.len);
    }
    if (e != ERR_OK) {
        e = err_set(info, e, "out of memory writing %s", w->path);
    } else {
        e = file_writer_write(w->file, s.data, s.len, info);
    }
    strbuf_deinit(&s);
    if (e == ERR_OK) {
        e = gguf_writer_pad(w, info);
    }
    w->in_data = e == ERR_OK;
    return e;
}

err gguf_writer_data(struct gguf_writer *w, const void *data, size_t n, struct errinfo *info)
{
    if (!w->in_data) {
        return err_set(info, ERR_ARGUMENT, "%s: data before gguf_writer_begin_data", w->path);
    }
    const char *p = data;
    while (n > 0) {
        const struct tensortable_entry *e = tensortable_at(w->tensors, w->current);
        if (!e) {
            return err_set(info, ERR_ARGUMENT, "%s: %zu bytes more than the declared tensors hold",
                           w->path, n);
        }
        size_t left = tensor_bytes(&e->tensor) - w->current_done;
        size_t now = n < left ? n : left;
        TRY(file_writer_write(w->file, p, now, info));
        w->current_done += now;
        p += now;
        n -= now;
        if (now == left) {
            TRY(gguf_writer_pad(w, info));
            w->current++;
            w->current_done = 0;
        }
    }
    return ERR_OK;
}

err gguf_writer_commit(struct gguf_writer *w, struct errinfo *info)
{
    const struct tensortable_entry *e = tensortable_at(w->tensors, w->current);
    if (!w->in_data) {
        return err_set(info, ERR_ARGUMENT, "%s: commit before gguf_writer_begin_data", w->path);
    }
    if (e) {
        return err_set(info, ERR_ARGUMENT, "%s: tensor %s got %zu of its %zu bytes", w->path,
                       e->name, w->current_done, tensor_bytes(&e->tensor));
    }
    return file_writer_commit(w->file, info);
}

/* formats/safetensors_writer.c: new safetensors files; see safetensors.h. */
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "formats/safetensors.h"

struct safetensors_writer {
    struct file_writer *file;
    char *path;
    struct tensortable *tensors; /* declared; entry.offset counts from the start of the data */
    size_t data_size;
    size_t written;
    bool in_data;
    void (*see)(void *user, const void *data, size_t n); /* NULL: nobody watches */
    void *user;
};

static err safetensors_writer_nomem(const char *path, struct errinfo *info)
{
    return err_set(info, ERR_NOMEM, "out of memory writing %s", path);
}

err safetensors_writer_new(const char *path, struct safetensors_writer **out, struct errinfo *info)
{
    struct safetensors_writer *w = mem_calloc(1, sizeof *w);
    if (!w) {
        return safetensors_writer_nomem(path, info);
    }
    w->path = mem_dup(path, strlen(path));
    err e = w->path ? tensortable_new(&w->tensors, info) : safetensors_writer_nomem(path, info);
    if (e == ERR_OK) {
        e = file_writer_open(path, &w->file, info);
    }
    if (e != ERR_OK) {
        safetensors_writer_free(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

void safetensors_writer_free(struct safetensors_writer *w)
{
    if (!w) {
        return;
    }
    file_writer_close(w->file);
    tensortable_free(w->tensors);
    mem_free(w->path);
    mem_free(w);
}

void safetensors_writer_watch(struct safetensors_writer *w, void (*see)(void *user, const void *data, size_t n),
                              void *user)
{
    w->see = see;
    w->user = user;
}

static err safetensors_writer_put(struct safetensors_writer *w, const void *data, size_t n,
                                  struct errinfo *info)
{
    if (w->see) {
        w->see(w->user, data, n);
    }
    return file_writer_write(w->file, data, n, info);
}

err safetensors_writer_tensor(struct safetensors_writer *w, const char *name,
                              const struct tensor *t, struct errinfo *info)
{
    if (w->in_data) {
        return err_set(info, ERR_ARGUMENT, "%s: tensor %s declared after the data began", w->path,
                       name);
    }
    if (strcmp(name, "__metadata__") == 0) {
        return err_set(info, ERR_ARGUMENT, "%s: no tensor can be named __metadata__", w->path);
    }
    if (!safetensors_dtype_name(t->dtype)) {
        return err_set(info, ERR_UNSUPPORTED,
                       "%s: tensor %s: safetensors has no type %s; convert it first", w->path, name,
                       dtype_info(t->dtype)->name);
    }
    struct tensor declared;
    size_t end = 0;
    if (tensor_init(&declared, t->dtype, t->rank, t->shape, NULL) != ERR_OK ||
        !checked_add(w->data_size, tensor_bytes(&declared), &end)) {
        return err_set(info, ERR_ARGUMENT, "%s: tensor %s has an impossible shape", w->path, name);
    }
    err e = tensortable_add(w->tensors, name, strlen(name), &declared, 0, w->data_size, info);
    if (e != ERR_OK) {
        return err_prefix(info, e, "%s: ", w->path);
    }
    w->data_size = end;
    return ERR_OK;
}

/* {"dtype":…,"shape":[…],"data_offsets":[…]}, a new reference; NULL when memory is short. */
static json_t *safetensors_writer_entry(const struct tensortable_entry *e)
{
    json_t *shape = json_array();
    bool good = shape != NULL;
    for (uint32_t i = 0; i < e->tensor.rank && good; i++) {
        good = json_array_append_new(shape, json_integer((json_int_t)e->tensor.shape[i])) == 0;
    }
    if (!good) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", safetensors_dtype_name(e->tensor.dtype),
                     "shape", shape, "data_offsets", (json_int_t)e->offset,
                     (json_int_t)(e->offset + tensor_bytes(&e->tensor)));
}

/* The whole header as text (mem_free). Fails only for want of memory. */
static err safetensors_writer_header(const struct safetensors_writer *w, char **text)
{
    /* transformers refuses files that do not say which framework they are for. */
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    bool good = header != NULL;
    for (size_t i = 0; i < tensortable_count(w->tensors) && good; i++) {
        const struct tensortable_entry *e = tensortable_at(w->tensors, i);
        good = json_object_set_new(header, e->name, safetensors_writer_entry(e)) == 0;
    }
    err e = good ? json_text(header, JSON_COMPACT, text) : ERR_NOMEM;
    json_decref(header);
    return e;
}

static err safetensors_writer_put_header(struct safetensors_writer *w, const char *text,
                                         struct errinfo *info)
{
    static const char spaces[8] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
    size_t n = strlen(text), padded = (n + 7) / 8 * 8;
    uint8_t length[8];
    for (size_t i = 0; i < 8; i++) {
        length[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    }
    TRY(safetensors_writer_put(w, length, sizeof length, info));
    TRY(safetensors_writer_put(w, text, n, info));
    return safetensors_writer_put(w, spaces, padded - n, info);
}

err safetensors_writer_begin_data(struct safetensors_writer *w, struct errinfo *info)
{
    if (w->in_data) {
        return err_set(info, ERR_ARGUMENT, "%s: the data began already", w->path);
    }
    char *text = NULL;
    if (safetensors_writer_header(w, &text) != ERR_OK) {
        return safetensors_writer_nomem(w->path, info);
    }
    err e = safetensors_writer_put_header(w, text, info);
    mem_free(text);
    w->in_data = e == ERR_OK;
    return e;
}

err safetensors_writer_data(struct safetensors_writer *w, const void *data, size_t n,
                            struct errinfo *info)
{
    if (!w->in_data) {
        return err_set(info, ERR_ARGUMENT, "%s: data before safetensors_writer_begin_data",
                       w->path);
    }
    if (n > w->data_size - w->written) {
        return err_set(info, ERR_ARGUMENT, "%s: %zu bytes more than the declared tensors hold",
                       w->path, n - (w->data_size - w->written));
    }
    TRY(safetensors_writer_put(w, data, n, info));
    w->written += n;
    return ERR_OK;
}

err safetensors_writer_commit(struct safetensors_writer *w, struct errinfo *info)
{
    if (!w->in_data) {
        return err_set(info, ERR_ARGUMENT, "%s: commit before safetensors_writer_begin_data",
                       w->path);
    }
    if (w->written != w->data_size) {
        return err_set(info, ERR_ARGUMENT, "%s: got %zu of the declared %zu bytes", w->path,
                       w->written, w->data_size);
    }
    return file_writer_commit(w->file, info);
}

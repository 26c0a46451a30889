/* model/imatrix.c: see imatrix.h. */
#include "model/imatrix.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "formats/gguf.h"

static const char imatrix_sums[] = ".in_sum2";
static const char imatrix_counts[] = ".counts";

struct imatrix {
    struct gguf *file;
    struct tensortable *means; /* NAME → f32 [n, inputs] */
};

void imatrix_close(struct imatrix *m)
{
    if (m) {
        tensortable_free(m->means);
        gguf_close(m->file);
        mem_free(m);
    }
}

size_t imatrix_count(const struct imatrix *m)
{
    return tensortable_count(m->means);
}

static bool imatrix_is_gguf(const char *path, struct errinfo *info, err *e)
{
    struct file_map map;
    *e = file_map_open(path, &map, info);
    bool yes = *e == ERR_OK && map.size >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    if (*e == ERR_OK) {
        file_map_close(&map);
    }
    return yes;
}

/* Row i of the means: sums over counts. Rows without counts, or with sums that are no numbers, are ones. */
static void imatrix_mean(const float *sums, float count, size_t n, float *out)
{
    bool usable = count > 0 && isfinite(count);
    for (size_t i = 0; i < n; i++) {
        usable = usable && isfinite(sums[i]) && sums[i] >= 0;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = usable ? sums[i] / count : 1.0f;
    }
}

static err imatrix_add(struct imatrix *m, const struct tensortable_entry *sums, struct errinfo *info)
{
    size_t stem = strlen(sums->name) - (sizeof imatrix_sums - 1);
    char name[TENSORTABLE_NAME_MAX + 1 + sizeof imatrix_counts];
    snprintf(name, sizeof name, "%.*s%s", (int)stem, sums->name, imatrix_counts);
    const struct tensortable_entry *counts = tensortable_find(gguf_tensors(m->file), name);
    const struct tensor *s = &sums->tensor;
    size_t rows = tensor_rows(s);
    if (!counts || s->dtype != DTYPE_F32 || counts->tensor.dtype != DTYPE_F32 ||
        tensor_elems(&counts->tensor) != rows) {
        return err_set(info, ERR_CORRUPT,
                       "importance matrix: %s (%s, %zu rows) needs %s of type f32 with as many values",
                       sums->name, dtype_info(s->dtype)->name, rows, name);
    }
    void *memory;
    TRY(tensortable_own(m->means, tensor_bytes(s), &memory, info));
    float *means = memory;
    size_t cols = tensor_cols(s);
    for (size_t i = 0; i < rows; i++) {
        imatrix_mean((const float *)s->data + i * cols, ((const float *)counts->tensor.data)[i], cols,
                     means + i * cols);
    }
    struct tensor t = *s;
    t.data = means;
    return tensortable_add(m->means, sums->name, stem, &t, 0, 0, info);
}

static err imatrix_read(struct imatrix *m, const char *path, struct errinfo *info)
{
    TRY(gguf_open(path, &m->file, info));
    TRY(tensortable_new(&m->means, info));
    const struct tensortable *all = gguf_tensors(m->file);
    for (size_t i = 0; i < tensortable_count(all); i++) {
        const struct tensortable_entry *e = tensortable_at(all, i);
        size_t len = strlen(e->name);
        if (len >= sizeof imatrix_sums &&
            strcmp(e->name + len - (sizeof imatrix_sums - 1), imatrix_sums) == 0) {
            TRY(imatrix_add(m, e, info));
        }
    }
    if (imatrix_count(m) == 0) {
        return err_set(info, ERR_CORRUPT, "%s is no importance matrix: no tensor is named *%s", path,
                       imatrix_sums);
    }
    return ERR_OK;
}

err imatrix_open(const char *path, struct imatrix **out, struct errinfo *info)
{
    err e;
    if (!imatrix_is_gguf(path, info, &e)) {
        return e != ERR_OK ? e
                           : err_set(info, ERR_UNSUPPORTED,
                                     "%s is not a GGUF file; an importance matrix in the older .dat format "
                                     "becomes one by: llama-imatrix --in-file OLD.dat -o NEW.gguf",
                                     path);
    }
    struct imatrix *m = mem_calloc(1, sizeof *m);
    if (!m) {
        return err_set(info, ERR_NOMEM, "out of memory opening %s", path);
    }
    e = imatrix_read(m, path, info);
    if (e != ERR_OK) {
        imatrix_close(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

err imatrix_find(const struct imatrix *m, const char *name, const struct tensor *w,
                 const float **values, size_t *n, struct errinfo *info)
{
    const struct tensortable_entry *e = tensortable_find(m->means, name);
    if (!e) {
        *values = NULL;
        *n = 0;
        return ERR_OK;
    }
    size_t rows = tensor_rows(&e->tensor);
    if (tensor_cols(&e->tensor) != tensor_cols(w) || (rows != 1 && rows != w->shape[0])) {
        return err_set(info, ERR_CORRUPT,
                       "importance matrix: %s has %zu inputs (%zu rows), but the model's has %zu; is it of "
                       "another model?",
                       name, tensor_cols(&e->tensor), rows, tensor_cols(w));
    }
    *values = e->tensor.data;
    *n = rows;
    return ERR_OK;
}

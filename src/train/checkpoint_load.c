/* train/checkpoint_load.c: reading a checkpoint; see checkpoint.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "formats/safetensors.h"
#include "train/checkpoint_array.h"
#include "train/checkpoint_manifest.h"

struct checkpoint_load {
    const char *folder;
    struct checkpoint_manifest manifest;
    struct file_map maps[CHECKPOINT_MANIFEST_ARRAYS + 1];
};

/* Maps file i and compares it with the manifest. */
static err checkpoint_verify(struct checkpoint_load *l, size_t i, struct errinfo *info)
{
    const struct checkpoint_file *f = &l->manifest.files[i];
    char name[CHECKPOINT_MANIFEST_NAME], found[CHECKPOINT_MANIFEST_HASH], *path;
    checkpoint_manifest_file(&l->manifest, i, name);
    TRY(checkpoint_manifest_join(l->folder, name, &path, info));
    err e = file_map_open(path, &l->maps[i], info);
    if (e == ERR_OK) {
        checkpoint_manifest_hash(l->maps[i].data, l->maps[i].size, found);
        if (l->maps[i].size != f->bytes || strcmp(found, f->hash) != 0) {
            e = err_set(info, ERR_CORRUPT,
                        "%s is not what was saved: its BLAKE2b is %s, its manifest says %s; put "
                        "the file back, or remove the folder, and the run goes on from the "
                        "checkpoint before",
                        path, found, f->hash);
        }
    }
    mem_free(path);
    return e;
}

static err checkpoint_verify_all(struct checkpoint_load *l, struct errinfo *info)
{
    err failed = ERR_OK;
#pragma omp parallel for schedule(dynamic, 1) if (l->manifest.n_arrays > 1)
    for (size_t i = 0; i <= l->manifest.n_arrays; i++) {
        struct errinfo own = {0};
        err e = checkpoint_verify(l, i, &own);
        if (e != ERR_OK) {
#pragma omp critical
            if (failed == ERR_OK) {
                failed = e;
                err_set(info, e, "%s", own.message);
            }
        }
    }
    return failed;
}

/* What an array of the trainer's is in the file. */
static err checkpoint_match(const struct checkpoint_load *l, const struct tensortable *table,
                            const struct checkpoint_array *a, struct errinfo *info)
{
    struct tensor want;
    TRY(checkpoint_array_tensor(a, &want, info));
    const struct tensortable_entry *e = tensortable_find(table, a->name);
    if (!e) {
        return err_set(info, ERR_CORRUPT,
                       "%s has no array %s: it is of another model or another optimiser", l->folder,
                       a->name);
    }
    if (e->tensor.dtype != want.dtype || e->tensor.rank != 2 ||
        e->tensor.shape[0] != want.shape[0] || e->tensor.shape[1] != want.shape[1]) {
        char found[TENSORTABLE_SHAPE_TEXT], expected[TENSORTABLE_SHAPE_TEXT];
        tensortable_shape_text(&e->tensor, found);
        tensortable_shape_text(&want, expected);
        return err_set(info, ERR_CORRUPT,
                       "%s: the array %s is %s %s, this run needs %s %s: it is of another model",
                       l->folder, a->name, dtype_info(e->tensor.dtype)->name, found,
                       dtype_info(want.dtype)->name, expected);
    }
    return ERR_OK;
}

static int checkpoint_by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The checkpoint has more arrays than the trainer: names one. */
static err checkpoint_left_over(const struct checkpoint_load *l, const struct tensortable *table,
                                const struct checkpoint_array *arrays, size_t n,
                                struct errinfo *info)
{
    const char **names = mem_alloc((n + 1) * sizeof *names), *left = "";
    if (!names) {
        return err_set(info, ERR_NOMEM, "out of memory reading %s", l->folder);
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = arrays[i].name;
    }
    qsort(names, n, sizeof *names, checkpoint_by_name);
    for (size_t i = 0; i < tensortable_count(table); i++) {
        const char *name = tensortable_at(table, i)->name;
        if (!bsearch(&name, names, n, sizeof *names, checkpoint_by_name)) {
            left = name;
        }
    }
    err e = err_set(info, ERR_CORRUPT,
                    "%s has %zu arrays, this run needs %zu: it does not know %s; the checkpoint is "
                    "of another model or another optimiser",
                    l->folder, tensortable_count(table), n, left);
    mem_free(names);
    return e;
}

/* All arrays of all files, compared with those of the trainer. */
static err checkpoint_compare(const struct checkpoint_load *l, struct tensortable *table,
                              const struct checkpoint_array *arrays, size_t n, struct errinfo *info)
{
    size_t bytes;
    for (size_t f = 0; f < l->manifest.n_arrays; f++) {
        char name[CHECKPOINT_MANIFEST_NAME];
        checkpoint_manifest_file(&l->manifest, f, name);
        err e = safetensors_parse(l->maps[f].data, l->maps[f].size, name, f, table, info);
        if (e != ERR_OK) {
            return err_prefix(info, e, "%s: ", l->folder);
        }
    }
    TRY(checkpoint_array_check(arrays, n, &bytes, info));
    for (size_t i = 0; i < n; i++) {
        TRY(checkpoint_match(l, table, &arrays[i], info));
    }
    return tensortable_count(table) == n ? ERR_OK : checkpoint_left_over(l, table, arrays, n, info);
}

static err checkpoint_open(struct checkpoint_load *l, uint64_t step, struct errinfo *info)
{
    if (sodium_init() < 0) {
        return err_set(info, ERR_UNSUPPORTED,
                       "libsodium does not work here: nothing to check checkpoints with");
    }
    if (!file_is_dir(l->folder)) {
        return err_set(info, ERR_NOTFOUND,
                       "there is no checkpoint of step %" PRIu64 ": %s is no folder", step,
                       l->folder);
    }
    return checkpoint_manifest_fits(l->folder, step, &l->manifest, info);
}

static void checkpoint_close(struct checkpoint_load *l)
{
    for (size_t i = 0; i <= l->manifest.n_arrays; i++) {
        file_map_close(&l->maps[i]);
    }
}

static err checkpoint_parse(const struct checkpoint_load *l, json_t **state, struct errinfo *info)
{
    const struct file_map *text = &l->maps[l->manifest.n_arrays];
    return json_parse((const char *)text->data, text->size, CHECKPOINT_MANIFEST_STATE, state, info);
}

static err checkpoint_take(const struct checkpoint_load *l, const struct checkpoint_array *arrays,
                           size_t n, json_t **state, struct errinfo *info)
{
    struct tensortable *table;
    json_t *read = NULL;
    TRY(tensortable_new(&table, info));
    err e = checkpoint_compare(l, table, arrays, n, info);
    e = e == ERR_OK ? checkpoint_parse(l, &read, info) : e;
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        const struct tensor *t = &tensortable_find(table, arrays[i].name)->tensor;
        memcpy(arrays[i].mat.data, t->data, tensor_bytes(t));
    }
    tensortable_free(table);
    if (e == ERR_OK) {
        *state = read;
    }
    return e;
}

err checkpoint_load(const char *dir, uint64_t step, const struct checkpoint_array *arrays, size_t n,
                    json_t **state, struct errinfo *info)
{
    char name[CHECKPOINT_MANIFEST_NAME], *folder;
    struct checkpoint_load l = {0};
    checkpoint_manifest_folder(step, name);
    TRY(checkpoint_manifest_join(dir, name, &folder, info));
    l.folder = folder;
    err e = checkpoint_open(&l, step, info);
    e = e == ERR_OK ? checkpoint_verify_all(&l, info) : e;
    e = e == ERR_OK ? checkpoint_take(&l, arrays, n, state, info) : e;
    checkpoint_close(&l);
    mem_free(folder);
    return e;
}

err checkpoint_load_state(const char *dir, uint64_t step, json_t **state, struct errinfo *info)
{
    char name[CHECKPOINT_MANIFEST_NAME], *folder;
    struct checkpoint_load l = {0};
    checkpoint_manifest_folder(step, name);
    TRY(checkpoint_manifest_join(dir, name, &folder, info));
    l.folder = folder;
    err e = checkpoint_open(&l, step, info);
    e = e == ERR_OK ? checkpoint_verify(&l, l.manifest.n_arrays, info) : e;
    e = e == ERR_OK ? checkpoint_parse(&l, state, info) : e;
    checkpoint_close(&l);
    mem_free(folder);
    return e;
}

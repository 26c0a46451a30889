/* train/checkpoint_save.c: writing a checkpoint; see checkpoint.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/mem.h"
#include "formats/safetensors.h"
#include "train/checkpoint_array.h"
#include "train/checkpoint_manifest.h"

enum {
    CHECKPOINT_SAVE_BYTES = 16 << 20, /* a file is full when it has as many, or its share of all */
    CHECKPOINT_SAVE_CHUNK =
        1 << 18, /* bytes hashed and then written, still in the processor's cache */
};

struct checkpoint_save {
    const char *folder; /* being made */
    const struct checkpoint_array *arrays;
    size_t first[CHECKPOINT_MANIFEST_ARRAYS + 1]; /* file f has arrays first[f] to first[f + 1] */
    struct checkpoint_manifest manifest;
};

/* Which arrays go into which file; the same for any number of threads. */
static void checkpoint_plan(struct checkpoint_save *s, size_t n, size_t bytes)
{
    size_t most = bytes / (CHECKPOINT_MANIFEST_ARRAYS - 1) + 1, used = 0, files = 0;
    most = most > CHECKPOINT_SAVE_BYTES ? most : CHECKPOINT_SAVE_BYTES;
    s->first[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct mat *m = &s->arrays[i].mat;
        used += m->rows * m->cols * mat_type_bytes(m->type);
        if (used >= most || i + 1 == n) {
            s->first[++files] = i + 1;
            used = 0;
        }
    }
    s->manifest.n_arrays = files;
}

static void checkpoint_see(void *user, const void *data, size_t n)
{
    crypto_generichash_update(user, data, n);
}

static err checkpoint_declare(struct safetensors_writer *w, const struct checkpoint_array *a,
                              struct errinfo *info)
{
    struct tensor t;
    TRY(checkpoint_array_tensor(a, &t, info));
    return safetensors_writer_tensor(w, a->name, &t, info);
}

static err checkpoint_data(struct safetensors_writer *w, const struct checkpoint_array *a,
                           struct errinfo *info)
{
    const char *data = a->mat.data;
    size_t n = a->mat.rows * a->mat.cols * mat_type_bytes(a->mat.type);
    for (size_t at = 0; at < n; at += CHECKPOINT_SAVE_CHUNK) {
        TRY(safetensors_writer_data(
            w, data + at, n - at < CHECKPOINT_SAVE_CHUNK ? n - at : CHECKPOINT_SAVE_CHUNK, info));
    }
    return ERR_OK;
}

/* File f, its arrays in the order of their types: a reader then finds every element aligned. */
static err checkpoint_write_tensors(const struct checkpoint_save *s, size_t f,
                                    struct safetensors_writer *w, struct errinfo *info)
{
    for (int data = 0; data < 2; data++) {
        for (int type = MAT_F64; type <= MAT_BF16; type++) {
            for (size_t i = s->first[f]; i < s->first[f + 1]; i++) {
                if ((int)s->arrays[i].mat.type == type) {
                    TRY((data ? checkpoint_data : checkpoint_declare)(w, &s->arrays[i], info));
                }
            }
        }
        if (!data) {
            TRY(safetensors_writer_begin_data(w, info));
        }
    }
    return safetensors_writer_commit(w, info);
}

static err checkpoint_write_arrays(struct checkpoint_save *s, size_t f, struct errinfo *info)
{
    char name[CHECKPOINT_MANIFEST_NAME], *path;
    struct safetensors_writer *w = NULL;
    struct stat st;
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, crypto_generichash_BYTES);
    checkpoint_manifest_file(&s->manifest, f, name);
    TRY(checkpoint_manifest_join(s->folder, name, &path, info));
    err e = safetensors_writer_new(path, &w, info);
    if (e == ERR_OK) {
        safetensors_writer_watch(w, checkpoint_see, &hash);
        e = checkpoint_write_tensors(s, f, w, info);
    }
    safetensors_writer_free(w);
    if (e == ERR_OK && stat(path, &st) != 0) {
        e = err_set(info, ERR_IO, "%s is away again: something else works in its folder", path);
    }
    if (e == ERR_OK) {
        s->manifest.files[f].bytes = (size_t)st.st_size;
        checkpoint_manifest_hex(&hash, s->manifest.files[f].hash);
    }
    mem_free(path);
    return e;
}

/* All files of arrays, each by one thread; the first error that happens is the one told. */
static err checkpoint_write_all(struct checkpoint_save *s, struct errinfo *info)
{
    err failed = ERR_OK;
#pragma omp parallel for schedule(dynamic, 1) if (s->manifest.n_arrays > 1)
    for (size_t f = 0; f < s->manifest.n_arrays; f++) {
        struct errinfo own = {0};
        err before;
#pragma omp atomic read
        before = failed;
        err e = before == ERR_OK ? checkpoint_write_arrays(s, f, &own) : ERR_OK;
        if (e != ERR_OK) {
#pragma omp critical
            if (failed == ERR_OK) {
#pragma omp atomic write
                failed = e;
                err_set(info, e, "%s", own.message);
            }
        }
    }
    return failed;
}

static err checkpoint_write_text(const char *folder, const char *name, const char *text,
                                 struct errinfo *info)
{
    char *path;
    TRY(checkpoint_manifest_join(folder, name, &path, info));
    err e = file_write(path, text, strlen(text), info);
    mem_free(path);
    return e;
}

static err checkpoint_write_state(struct checkpoint_save *s, const json_t *state,
                                  struct errinfo *info)
{
    struct checkpoint_file *f = &s->manifest.files[s->manifest.n_arrays];
    char *text;
    err e = json_text(state, JSON_INDENT(1) | JSON_ENCODE_ANY, &text);
    if (e != ERR_OK) {
        return err_set(info, e,
                       e == ERR_NOMEM ? "out of memory for the state of step %" PRIu64
                                      : "the state of step %" PRIu64
                                        " has no text: no value, or a number "
                                        "that is not finite",
                       s->manifest.step);
    }
    f->bytes = strlen(text);
    checkpoint_manifest_hash(text, f->bytes, f->hash);
    e = checkpoint_write_text(s->folder, CHECKPOINT_MANIFEST_STATE, text, info);
    mem_free(text);
    return e;
}

static err checkpoint_fill(struct checkpoint_save *s, const json_t *state, struct errinfo *info)
{
    char *text;
    TRY(file_make_dirs(s->folder, info));
    TRY(checkpoint_write_all(s, info));
    TRY(checkpoint_write_state(s, state, info));
    TRY(checkpoint_manifest_text(&s->manifest, &text, info));
    err e = checkpoint_write_text(s->folder, CHECKPOINT_MANIFEST_FILE, text, info);
    mem_free(text);
    return e;
}

err checkpoint_save(const char *dir, uint64_t step, const struct checkpoint_array *arrays, size_t n,
                    const json_t *state, struct errinfo *info)
{
    char name[CHECKPOINT_MANIFEST_NAME], unfinished[CHECKPOINT_MANIFEST_NAME + 16], *path = NULL,
                                                                                    *made = NULL;
    struct checkpoint_save s = {.arrays = arrays, .manifest.step = step};
    size_t bytes;
    if (step > CHECKPOINT_STEP_MAX) {
        return err_set(info, ERR_ARGUMENT, "step %" PRIu64 ": checkpoints count to %" PRIu64, step,
                       CHECKPOINT_STEP_MAX);
    }
    if (sodium_init() < 0) {
        return err_set(info, ERR_UNSUPPORTED,
                       "libsodium does not work here: nothing to hash checkpoints with");
    }
    TRY(checkpoint_array_check(arrays, n, &bytes, info));
    checkpoint_plan(&s, n, bytes);
    checkpoint_manifest_folder(step, name);
    snprintf(unfinished, sizeof unfinished, CHECKPOINT_MANIFEST_UNFINISHED "%s", name);
    err e = checkpoint_manifest_join(dir, name, &path, info);
    e = e == ERR_OK ? checkpoint_manifest_join(dir, unfinished, &made, info) : e;
    s.folder = made;
    e = e == ERR_OK ? folder_remove(made, info) : e; /* left by a kill */
    if (e == ERR_OK) {
        e = checkpoint_fill(&s, state, info);
        e = e == ERR_OK ? folder_publish(made, path, info) : e;
        if (e != ERR_OK && folder_remove(made, NULL) != ERR_OK) {
            e = err_prefix(info, e, "%s is left over (remove it): ", made);
        }
    }
    mem_free(made);
    mem_free(path);
    return e == ERR_OK
               ? e
               : err_prefix(info, e,
                            "the checkpoint of step %" PRIu64 " was not saved, those before it are "
                            "untouched: ",
                            step);
}

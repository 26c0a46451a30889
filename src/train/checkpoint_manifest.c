/* train/checkpoint_manifest.c: see checkpoint_manifest.h. */
#include "train/checkpoint_manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { CHECKPOINT_MANIFEST_MAX = 1 << 16 }; /* bytes */

#define CHECKPOINT_MANIFEST_FORMAT "fathom-checkpoint"

void checkpoint_manifest_folder(uint64_t step, char out[CHECKPOINT_MANIFEST_NAME])
{
    snprintf(out, CHECKPOINT_MANIFEST_NAME, "step-%010" PRIu64, step);
}

/* The name of file i of the manifest. */
void checkpoint_manifest_file(const struct checkpoint_manifest *m, size_t i,
                              char out[CHECKPOINT_MANIFEST_NAME])
{
    if (i < m->n_arrays) {
        snprintf(out, CHECKPOINT_MANIFEST_NAME, "arrays-%05zu.safetensors", i + 1);
    } else {
        strcpy(out, CHECKPOINT_MANIFEST_STATE);
    }
}

err checkpoint_manifest_join(const char *dir, const char *name, char **out, struct errinfo *info)
{
    *out = file_join(dir, name);
    return *out ? ERR_OK
                : err_set(info, ERR_NOMEM, "out of memory for the path of %s/%s", dir, name);
}

void checkpoint_manifest_hex(crypto_generichash_state *hash, char out[CHECKPOINT_MANIFEST_HASH])
{
    unsigned char digest[crypto_generichash_BYTES];
    crypto_generichash_final(hash, digest, sizeof digest);
    sodium_bin2hex(out, CHECKPOINT_MANIFEST_HASH, digest, sizeof digest);
}

void checkpoint_manifest_hash(const void *data, size_t n, char out[CHECKPOINT_MANIFEST_HASH])
{
    unsigned char digest[crypto_generichash_BYTES];
    crypto_generichash(digest, sizeof digest, data, n, NULL, 0);
    sodium_bin2hex(out, CHECKPOINT_MANIFEST_HASH, digest, sizeof digest);
}

/* ---- The manifest. Its text follows from its numbers alone, byte for byte, so that a reader can
 * tell that nothing in it was changed. ---- */

err checkpoint_manifest_text(const struct checkpoint_manifest *m, char **out, struct errinfo *info)
{
    json_t *files = json_array();
    for (size_t i = 0; i <= m->n_arrays && files; i++) {
        char name[CHECKPOINT_MANIFEST_NAME];
        checkpoint_manifest_file(m, i, name);
        json_t *file = json_pack("{s:s, s:I, s:s}", "name", name, "bytes",
                                 (json_int_t)m->files[i].bytes, "blake2b", m->files[i].hash);
        if (json_array_append_new(files, file) != 0) {
            json_decref(files);
            files = NULL;
        }
    }
    json_t *all = json_pack("{s:s, s:i, s:I, s:o}", "format", CHECKPOINT_MANIFEST_FORMAT, "version",
                            1, "step", (json_int_t)m->step, "files", files);
    *out = json_text_dup(all, JSON_INDENT(1));
    json_decref(all);
    return *out ? ERR_OK
                : err_set(info, ERR_NOMEM, "out of memory for the manifest of step %" PRIu64,
                          m->step);
}

static err checkpoint_manifest_read_file(const json_t *o, const char *path,
                                         struct checkpoint_file *f, struct errinfo *info)
{
    const char *hash;
    TRY(json_get_size(o, path, "bytes", &f->bytes, info));
    TRY(json_get_string(o, path, "blake2b", &hash, info));
    snprintf(f->hash, sizeof f->hash, "%s", hash);
    return ERR_OK;
}

static err checkpoint_manifest_read_json(const json_t *o, const char *path,
                                         struct checkpoint_manifest *m, struct errinfo *info)
{
    const json_t *files;
    const char *format;
    size_t version;
    TRY(json_get_string(o, path, "format", &format, info));
    TRY(json_get_size(o, path, "version", &version, info));
    if (strcmp(format, CHECKPOINT_MANIFEST_FORMAT) != 0) {
        return err_set(info, ERR_CORRUPT,
                       "%s: the format is \"%.40s\", not \"" CHECKPOINT_MANIFEST_FORMAT
                       "\": this is no "
                       "checkpoint of a training run",
                       path, format);
    }
    if (version != 1) {
        return err_set(info, ERR_UNSUPPORTED,
                       "%s: version %zu of the format; this program knows version 1: use "
                       "the program that wrote it",
                       path, version);
    }
    TRY(json_get_u64(o, path, "step", &m->step, info));
    TRY(json_get_array(o, path, "files", &files, info));
    size_t n = json_array_size(files);
    if (n < 1 || n > CHECKPOINT_MANIFEST_ARRAYS + 1) {
        return err_set(info, ERR_CORRUPT, "%s: %zu files; a checkpoint has 1 to %d", path, n,
                       CHECKPOINT_MANIFEST_ARRAYS + 1);
    }
    m->n_arrays = n - 1;
    for (size_t i = 0; i < n; i++) {
        TRY(checkpoint_manifest_read_file(json_array_get(files, i), path, &m->files[i], info));
    }
    return ERR_OK;
}

/* The manifest at `path`, of this step. */
static err checkpoint_manifest_read(const char *path, uint64_t step, struct checkpoint_manifest *m,
                                    struct errinfo *info)
{
    char *text = NULL, *again = NULL;
    size_t n;
    json_t *document = NULL;
    if (!file_exists(path)) {
        return err_set(info, ERR_CORRUPT,
                       "%s is not there: its folder is no checkpoint, or no longer whole; the run "
                       "can go on from the one before",
                       path);
    }
    err e = file_read(path, CHECKPOINT_MANIFEST_MAX, &text, &n, info);
    e = e == ERR_OK ? json_parse(text, n, path, &document, info) : e;
    e = e == ERR_OK ? checkpoint_manifest_read_json(document, path, m, info) : e;
    if (e == ERR_OK && m->step != step) {
        e = err_set(info, ERR_CORRUPT,
                    "%s is of step %" PRIu64 ", but its folder says %" PRIu64 ": give the folder "
                    "its name back",
                    path, m->step, step);
    }
    e = e == ERR_OK ? checkpoint_manifest_text(m, &again, info) : e;
    if (e == ERR_OK && (strlen(again) != n || memcmp(again, text, n) != 0)) {
        e = err_set(info, ERR_CORRUPT,
                    "%s was changed after it was written: remove the folder, and the run goes on "
                    "from the checkpoint before",
                    path);
    }
    json_decref(document);
    mem_free(again);
    mem_free(text);
    return e == ERR_NOTFOUND || e == ERR_LIMIT
               ? err_prefix(info, ERR_CORRUPT, "this is no manifest: ")
               : e;
}

/* The manifest in a folder, and that every file has its size. */
err checkpoint_manifest_fits(const char *folder, uint64_t step, struct checkpoint_manifest *m,
                             struct errinfo *info)
{
    char *path;
    TRY(checkpoint_manifest_join(folder, CHECKPOINT_MANIFEST_FILE, &path, info));
    err e = checkpoint_manifest_read(path, step, m, info);
    mem_free(path);
    TRY(e);
    for (size_t i = 0; i <= m->n_arrays; i++) {
        char name[CHECKPOINT_MANIFEST_NAME];
        struct stat st;
        checkpoint_manifest_file(m, i, name);
        TRY(checkpoint_manifest_join(folder, name, &path, info));
        bool there = stat(path, &st) == 0;
        if (!there || (size_t)st.st_size != m->files[i].bytes) {
            e = err_set(
                info, ERR_CORRUPT,
                "%s has %lld bytes, its manifest says %zu: it was cut or replaced; put the "
                "file back, or remove the folder, and the run goes on from the checkpoint before",
                path, there ? (long long)st.st_size : 0LL, m->files[i].bytes);
        }
        mem_free(path);
        TRY(e);
    }
    return ERR_OK;
}

/* cli/acquire.c: see acquire.h. */
#include "cli/acquire.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/strbuf.h"
#include "cli/download.h"
#include "formats/gguf.h"
#include "formats/hffolder.h"

enum { ACQUIRE_COPY = 1 << 20 };

struct acquire_run {
    const struct acquire *a;
    struct registry_model model;   /* what is written as we go */
    struct registry_model earlier; /* the journal of an interrupted run; zeroed when there is none */
    struct progress progress;
    uint64_t done; /* bytes of finished files */
};

static uint64_t acquire_size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

/* Bytes of one planned file that are on the disk, finished or as a part. */
static err acquire_have(const struct registry_model *m, const struct pullplan_file *f, uint64_t *out,
                        struct errinfo *info)
{
    char *path = file_join(m->folder, f->name);
    struct strbuf part = {0};
    if (!path || strbuf_printf(&part, "%s.part", path) != ERR_OK) {
        mem_free(path);
        return err_set(info, ERR_NOMEM, "out of memory looking at %s", m->folder);
    }
    uint64_t have = acquire_size_of(path);
    if (have == 0 || (f->size && have != f->size)) {
        have = acquire_size_of(part.data);
    }
    *out = f->size && have > f->size ? 0 : have;
    strbuf_deinit(&part);
    mem_free(path);
    return ERR_OK;
}

err acquire_measure(const struct acquire *a, struct acquire_need *out, struct errinfo *info)
{
    struct registry_model m;
    struct acquire_need need = {0};
    TRY(registry_model_init(a->name, &m, info));
    err e = ERR_OK;
    for (size_t i = 0; i < a->plan->n_files && e == ERR_OK; i++) {
        const struct pullplan_file *f = &a->plan->files[i];
        uint64_t have = 0;
        e = acquire_have(&m, f, &have, info);
        need.unknown = need.unknown || !f->size;
        if (__builtin_add_overflow(need.total, f->size, &need.total)) {
            e = err_set(info, ERR_CORRUPT, "%s: impossible file sizes", a->plan->source);
        }
        need.missing += f->size > have ? f->size - have : 0;
    }
    registry_model_deinit(&m);
    if (e == ERR_OK) {
        *out = need;
    }
    return e;
}

/* A local file, through the same gate: hashed on the way, named only when right. */
static err acquire_copy(struct acquire_run *run, const struct pullplan_file *f, const char *path,
                        char sha256[65], struct errinfo *info)
{
    struct file_map map;
    struct file_writer *w;
    TRY(file_map_open(f->url + 5, &map, info));
    err e = file_writer_open(path, &w, info);
    if (e != ERR_OK) {
        file_map_close(&map);
        return e;
    }
    crypto_hash_sha256_state hash;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&hash);
    for (size_t at = 0; at < map.size && e == ERR_OK;) {
        size_t n = map.size - at < ACQUIRE_COPY ? map.size - at : ACQUIRE_COPY;
        e = file_writer_write(w, map.data + at, n, info);
        crypto_hash_sha256_update(&hash, map.data + at, n);
        at += n;
        progress_update(&run->progress, run->done + at);
        if (e == ERR_OK && run->a->cancelled && run->a->cancelled()) {
            e = err_set(info, ERR_CANCELLED, "stopped");
        }
    }
    crypto_hash_sha256_final(&hash, digest);
    sodium_bin2hex(sha256, 65, digest, sizeof digest);
    if (e == ERR_OK && f->sha256[0] && strcmp(sha256, f->sha256) != 0) {
        e = err_set(info, ERR_CORRUPT, "%s: wrong content: its SHA-256 is %s, expected %s", f->url,
                    sha256, f->sha256);
    }
    if (e == ERR_OK) {
        e = file_writer_commit(w, info);
    }
    file_writer_close(w);
    file_map_close(&map);
    return e;
}

static err acquire_fetch(struct acquire_run *run, const struct pullplan_file *f, const char *path,
                         char sha256[65], struct errinfo *info)
{
    const struct download d = {
        .url = f->url,
        .path = path,
        .sha256 = f->sha256[0] ? f->sha256 : NULL,
        .size = f->size,
        .retries = run->a->retries,
        .retry_seconds = run->a->retry_seconds,
        .cancelled = run->a->cancelled,
        .progress = &run->progress,
        .progress_base = run->done,
    };
    struct download_result result;
    TRY(download_file(&d, &result, info));
    memcpy(sha256, result.sha256, sizeof result.sha256);
    return ERR_OK;
}

/* Is the file there from an earlier run, and what is its hash? The journal's word is enough; without
 * one the file is read. */
static err acquire_find(struct acquire_run *run, const struct pullplan_file *f, const char *path,
                        char sha256[65], bool *found, struct errinfo *info)
{
    *found = false;
    uint64_t size = acquire_size_of(path);
    if (size == 0 || (f->size && size != f->size)) {
        return ERR_OK;
    }
    const struct registry_file *old = registry_find_file(&run->earlier, f->name);
    bool same_place = run->earlier.source && strcmp(run->earlier.source, run->model.source) == 0;
    if (old && old->size == size && (f->sha256[0] || same_place)) {
        memcpy(sha256, old->sha256, sizeof old->sha256);
    } else if (f->sha256[0]) {
        TRY(download_hash_file(path, sha256, info));
    } else {
        return ERR_OK;
    }
    *found = !f->sha256[0] || strcmp(sha256, f->sha256) == 0;
    return ERR_OK;
}

static err acquire_make_folder(const char *path, struct errinfo *info)
{
    const char *slash = strrchr(path, '/');
    char *folder = mem_dup(path, (size_t)(slash - path));
    if (!folder) {
        return err_set(info, ERR_NOMEM, "out of memory writing %s", path);
    }
    err e = file_make_dirs(folder, info);
    mem_free(folder);
    return e;
}

static err acquire_one(struct acquire_run *run, size_t i, struct errinfo *info)
{
    const struct pullplan *plan = run->a->plan;
    const struct pullplan_file *f = &plan->files[i];
    char sha256[65] = "";
    bool found;
    char *path = file_join(run->model.folder, f->name);
    if (!path) {
        return err_set(info, ERR_NOMEM, "out of memory fetching %s", f->name);
    }
    run->progress.label = f->name;
    err e = acquire_make_folder(path, info);
    if (e == ERR_OK) {
        e = acquire_find(run, f, path, sha256, &found, info);
    }
    if (e == ERR_OK && !found) {
        e = strncmp(f->url, "file:", 5) == 0 ? acquire_copy(run, f, path, sha256, info)
                                             : acquire_fetch(run, f, path, sha256, info);
    }
    if (e == ERR_OK) {
        uint64_t size = acquire_size_of(path);
        run->done += size;
        e = registry_add_file(&run->model, f->name, size, sha256, info);
        progress_finish(&run->progress);
        if (e == ERR_OK && !run->a->quiet) {
            fprintf(stderr, "%s [%zu/%zu] %s  %.2f MB  sha256 %s\n", found ? "have" : "got ", i + 1,
                    plan->n_files, f->name, (double)size / 1e6, sha256);
        }
    }
    mem_free(path);
    return e == ERR_OK ? registry_write(&run->model, false, info) : e;
}

/* Looks whether what came is a model file at all (a login page is not). What is well-formed but not
 * runnable by us stays welcome: it can be inspected. */
static err acquire_check(const struct registry_model *m, struct errinfo *info)
{
    err e;
    if (strcmp(m->open, ".") == 0) {
        struct hffolder *h = NULL;
        e = hffolder_open(m->path, &h, info);
        hffolder_close(h);
    } else {
        struct gguf *g = NULL;
        e = gguf_open(m->path, &g, info);
        gguf_close(g);
    }
    return e == ERR_CORRUPT || e == ERR_NOMEM || e == ERR_NOTFOUND ? e : ERR_OK;
}

/* Nothing that came without a hash from its source may stay and be taken for the real thing by the next
 * attempt (a login page in place of a file). What has the promised hash stays: it would come again the
 * same. Returns how many files stay. */
static size_t acquire_discard(struct acquire_run *run)
{
    size_t stay = 0;
    for (size_t i = 0; i < run->a->plan->n_files; i++) {
        const struct pullplan_file *f = &run->a->plan->files[i];
        char *path = f->sha256[0] ? NULL : file_join(run->model.folder, f->name);
        stay += f->sha256[0] != '\0';
        if (path) {
            unlink(path);
        }
        mem_free(path);
    }
    char *journal = stay ? NULL : file_join(run->model.folder, "manifest.part");
    if (journal) {
        unlink(journal);
        rmdir(run->model.folder); /* stays when something else is in it */
    }
    mem_free(journal);
    return stay;
}

/* The last word on files that turned out to be no model. */
static err acquire_refuse(struct acquire_run *run, err e, struct errinfo *info)
{
    if (e == ERR_NOMEM) {
        return e;
    }
    const char *source = run->a->source ? run->a->source : run->a->plan->source;
    char why[sizeof info->message];
    snprintf(why, sizeof why, "%s", info ? info->message : err_name(e));
    if (acquire_discard(run) > 0) {
        return err_set(info, e, "what %s holds is no model: %s. The files are what their source promises "
                       "and stay in %s; remove that folder if they are of no use", source, why,
                       run->model.folder);
    }
    return err_set(info, e, "what came from %s is no model and was removed again: %s", source, why);
}

/* All files, then the check, then the manifest that makes it count. */
static err acquire_all(struct acquire_run *run, struct errinfo *info)
{
    const struct acquire *a = run->a;
    struct acquire_need need;
    TRY(acquire_measure(a, &need, info));
    TRY(download_check_space(run->model.folder, need.missing, info));
    progress_init(&run->progress, "", PROGRESS_BYTES, need.unknown ? 0 : need.total);
    progress_resume(&run->progress, need.total - need.missing);
    for (size_t i = 0; i < a->plan->n_files; i++) {
        err e = acquire_one(run, i, info);
        progress_finish(&run->progress);
        TRY(e);
    }
    err e = acquire_check(&run->model, info);
    if (e != ERR_OK) {
        return acquire_refuse(run, e, info);
    }
    return registry_write(&run->model, true, info);
}

/* After a failure: folders in which nothing came to lie go again, so that `fathom list` shows no model
 * that was never begun. */
static void acquire_tidy(const struct acquire_run *run)
{
    size_t root = strlen(run->model.folder);
    for (size_t i = 0; i < run->a->plan->n_files; i++) {
        char *path = file_join(run->model.folder, run->a->plan->files[i].name);
        char *slash;
        while (path && (slash = strrchr(path, '/')) && (size_t)(slash - path) >= root) {
            *slash = '\0';
            rmdir(path); /* stays when something is in it */
        }
        mem_free(path);
    }
}

err acquire_run(const struct acquire *a, struct registry_model *out, struct errinfo *info)
{
    const struct pullplan *plan = a->plan;
    const char *licence = a->licence ? a->licence : plan->licence;
    struct acquire_run run = {.a = a};
    TRY(registry_model_init(a->name, &run.model, info));
    err e = registry_describe(&run.model, a->source ? a->source : plan->source,
                              licence ? licence : "not stated", plan->open, info);
    if (e == ERR_OK) {
        e = registry_read(a->name, true, &run.earlier, info);
        e = e == ERR_NOMEM ? e : ERR_OK; /* no journal, or an unreadable one: start without */
    }
    if (e == ERR_OK) {
        e = acquire_all(&run, info);
    }
    registry_model_deinit(&run.earlier);
    if (e != ERR_OK) {
        acquire_tidy(&run);
        registry_model_deinit(&run.model);
        return e;
    }
    run.model.complete = true;
    *out = run.model;
    return ERR_OK;
}

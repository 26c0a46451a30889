/* train/runlog.c: writing and cutting; see runlog.h. Reading is runlog_read.c. */
#include "train/runlog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { RUNLOG_DIGITS = 10 }; /* of a number: a float's, and more than a measurement has */

struct runlog {
    int fd;
    size_t size; /* of the file: whole lines */
    char *path;
};

json_t *runlog_number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static err runlog_error(struct errinfo *info, const char *verb, const char *path)
{
    return err_set(info, ERR_IO, "cannot %s %s: %s", verb, path, strerror(errno));
}

/* Bytes up to and with the last line's end. */
static err runlog_whole(const char *path, size_t *size, struct errinfo *info)
{
    struct file_map map;
    TRY(file_map_open(path, &map, info));
    const char *end = map.size > 0 ? memrchr(map.data, '\n', map.size) : NULL;
    *size = end ? (size_t)(end - (const char *)map.data) + 1 : 0;
    file_map_close(&map);
    return ERR_OK;
}

static err runlog_start(struct runlog *l, struct errinfo *info)
{
    l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (l->fd < 0) {
        return runlog_error(info, "open", l->path);
    }
    TRY(runlog_whole(l->path, &l->size, info));
    return ftruncate(l->fd, (off_t)l->size) == 0 ? ERR_OK : runlog_error(info, "cut", l->path);
}

err runlog_open(const char *dir, struct runlog **out, struct errinfo *info)
{
    TRY(file_make_dirs(dir, info));
    struct runlog *l = mem_calloc(1, sizeof *l);
    char *path = file_join(dir, RUNLOG_FILE);
    if (!l || !path) {
        mem_free(l);
        mem_free(path);
        return err_set(info, ERR_NOMEM, "out of memory opening %s/" RUNLOG_FILE, dir);
    }
    *l = (struct runlog){.fd = -1, .path = path};
    err e = runlog_start(l, info);
    if (e != ERR_OK) {
        runlog_close(l);
        return e;
    }
    *out = l;
    return ERR_OK;
}

void runlog_close(struct runlog *l)
{
    if (l) {
        if (l->fd >= 0) {
            close(l->fd);
        }
        mem_free(l->path);
        mem_free(l);
    }
}

/* One line, whole or not at all. */
static err runlog_write(struct runlog *l, const char *line, size_t n, struct errinfo *info)
{
    ssize_t put;
    do {
        put = file_refused() ? -1 : write(l->fd, line, n);
    } while (put < 0 && errno == EINTR);
    if (put == (ssize_t)n) {
        l->size += n;
        return ERR_OK;
    }
    errno = put < 0 ? errno : ENOSPC; /* what a write that stops half way means for a file */
    err e = runlog_error(info, "write", l->path);
    if (put > 0 && ftruncate(l->fd, (off_t)l->size) != 0) {
        return err_prefix(info, e, "half a line stays at the end: ");
    }
    return e;
}

err runlog_append(struct runlog *l, const json_t *record, struct errinfo *info)
{
    const char *kind;
    uint64_t step;
    char *text;
    if (json_get_string(record, l->path, "kind", &kind, info) != ERR_OK ||
        json_get_u64(record, l->path, "step", &step, info) != ERR_OK) {
        return err_prefix(info, ERR_ARGUMENT, "this is no record: ");
    }
    err e = json_text(record, JSON_COMPACT | JSON_REAL_PRECISION(RUNLOG_DIGITS), &text);
    if (e != ERR_OK) {
        return err_set(
            info, e, "%s: a %s of step %" PRIu64 " cannot be written: %s", l->path, kind, step,
            e == ERR_NOMEM ? "out of memory" : "it has a number that is not finite, write null");
    }
    size_t n = strlen(text);
    text[n] = '\n'; /* in the place of the NUL: nobody reads it as a string any more */
    e = runlog_write(l, text, n + 1, info);
    mem_free(text);
    return e;
}

err runlog_sync(struct runlog *l, struct errinfo *info)
{
    if (file_refused() || fsync(l->fd) != 0) {
        return runlog_error(info, "sync", l->path);
    }
    return file_sync_parent(l->path, info);
}

/* ---- Cutting. ---- */

/* Copies the lines of steps up to `step`. */
static err runlog_keep(const struct file_map *map, const char *path, uint64_t step,
                       struct file_writer *w, struct errinfo *info)
{
    const char *at = (const char *)map->data, *end = at + map->size;
    for (size_t line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) {
            break; /* left by a crash */
        }
        json_t *record;
        uint64_t found;
        char name[300];
        snprintf(name, sizeof name, "%.250s, line %zu", path, line);
        record = NULL;
        err e = json_parse_line(at, (size_t)(stop - at), name, &record, info);
        e = e == ERR_OK ? json_get_u64(record, name, "step", &found, info) : e;
        json_decref(record);
        if (e != ERR_OK) {
            return err_prefix(info, e == ERR_NOMEM ? e : ERR_CORRUPT, "this is no record (without that line, "
                              "or with the file moved away, the run can go on): ");
        }
        if (found <= step) {
            TRY(file_writer_write(w, at, (size_t)(stop - at) + 1, info));
        }
        at = stop + 1;
    }
    return ERR_OK;
}

static err runlog_cut_file(const char *path, uint64_t step, struct errinfo *info)
{
    struct file_map map = {0};
    struct file_writer *w = NULL;
    TRY(file_map_open(path, &map, info));
    err e = file_writer_open(path, &w, info);
    e = e == ERR_OK ? runlog_keep(&map, path, step, w, info) : e;
    e = e == ERR_OK ? file_writer_commit(w, info) : e;
    file_writer_close(w);
    file_map_close(&map);
    return e;
}

err runlog_cut(const char *dir, uint64_t step, struct errinfo *info)
{
    char *path = file_join(dir, RUNLOG_FILE);
    if (!path) {
        return err_set(info, ERR_NOMEM, "out of memory cutting %s/" RUNLOG_FILE, dir);
    }
    err e = file_exists(path) ? runlog_cut_file(path, step, info) : ERR_OK;
    mem_free(path);
    return e;
}

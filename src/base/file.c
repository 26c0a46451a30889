/* base/file.c: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static atomic_size_t file_fault_left;
static atomic_int file_fault_errno;

void file_fault(size_t k, int error_number)
{
    atomic_store(&file_fault_left, k);
    atomic_store(&file_fault_errno, error_number);
}

bool file_refused(void)
{
    if (atomic_load(&file_fault_left) == 0 || atomic_fetch_sub(&file_fault_left, 1) != 1) {
        return false;
    }
    errno = atomic_load(&file_fault_errno);
    return true;
}

static err file_error(struct errinfo *info, const char *verb, const char *path)
{
    err code = errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    return err_set(info, code, "cannot %s %s: %s", verb, path, strerror(errno));
}

/* Opens a regular file for reading and learns its size. */
static err file_open_regular(const char *path, int *fd, size_t *size, struct errinfo *info)
{
    int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not keep us waiting */
    if (f < 0) {
        return file_error(info, "open", path);
    }
    struct stat st;
    if (fstat(f, &st) != 0) {
        err e = file_error(info, "stat", path);
        close(f);
        return e;
    }
    if (!S_ISREG(st.st_mode)) {
        close(f);
        return err_set(info, ERR_ARGUMENT, "%s is not a regular file", path);
    }
    *fd = f;
    *size = (size_t)st.st_size;
    return ERR_OK;
}

err file_map_open(const char *path, struct file_map *out, struct errinfo *info)
{
    int fd;
    size_t size;
    TRY(file_open_regular(path, &fd, &size, info));
    void *data = NULL;
    if (size > 0) {
        data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (data == MAP_FAILED) {
        err e = file_error(info, "map", path);
        close(fd);
        return e;
    }
    close(fd);
    out->data = data;
    out->size = size;
    return ERR_OK;
}

void file_map_close(struct file_map *m)
{
    if (m->data) {
        munmap((void *)(uintptr_t)m->data, m->size);
    }
    m->data = NULL;
    m->size = 0;
}

err file_read(const char *path, size_t cap, char **data, size_t *size, struct errinfo *info)
{
    int fd;
    size_t n;
    TRY(file_open_regular(path, &fd, &n, info));
    if (n > cap) {
        close(fd);
        return err_set(info, ERR_LIMIT, "%s has %zu bytes; at most %zu are accepted here", path, n,
                       cap);
    }
    char *buf = mem_alloc(n + 1);
    if (!buf) {
        close(fd);
        return err_set(info, ERR_NOMEM, "out of memory reading %s (%zu bytes)", path, n);
    }
    size_t done = 0;
    while (done < n) {
        ssize_t got = read(fd, buf + done, n - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            err e = got < 0 ? file_error(info, "read", path)
                            : err_set(info, ERR_IO, "%s shrank while it was read", path);
            close(fd);
            mem_free(buf);
            return e;
        }
        done += (size_t)got;
    }
    close(fd);
    buf[n] = '\0';
    *data = buf;
    *size = n;
    return ERR_OK;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

err file_make_dirs(const char *path, struct errinfo *info)
{
    char *copy = mem_dup(path, strlen(path));
    if (!copy) {
        return err_set(info, ERR_NOMEM, "out of memory making folder %s", path);
    }
    err e = ERR_OK;
    for (char *p = copy + 1; e == ERR_OK; p++) {
        if (*p != '/' && *p != '\0') {
            continue;
        }
        char kept = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0) {
            int why = errno == EEXIST && !file_is_dir(copy) ? ENOTDIR : errno;
            errno = why;
            e = why == EEXIST ? ERR_OK : file_error(info, "make folder", copy);
        }
        *p = kept;
        if (kept == '\0') {
            break;
        }
    }
    mem_free(copy);
    return e;
}

char *file_join(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = mem_alloc(n);
    if (path) {
        snprintf(path, n, "%s/%s", dir, name);
    }
    return path;
}

enum { FILE_BUFFER = 1 << 20 };

struct file_writer {
    int fd;
    size_t offset; /* bytes accepted, buffered ones included */
    size_t held;   /* bytes waiting in buffer */
    bool resumable; /* the temporary file outlives the writer */
    bool broken;    /* a write failed: bytes beyond offset - held are not to be trusted */
    char *path;
    char *tmp;
    char buffer[FILE_BUFFER];
};

/* A writer whose temporary file is called path + suffix; nothing is opened yet. */
static err file_writer_new(const char *path, const char *suffix, struct file_writer **out,
                           struct errinfo *info)
{
    struct file_writer *w = mem_alloc(sizeof *w);
    if (!w) {
        return err_set(info, ERR_NOMEM, "out of memory writing %s", path);
    }
    w->fd = -1;
    w->offset = w->held = 0;
    w->resumable = w->broken = false;
    size_t n = strlen(path) + strlen(suffix) + 1;
    w->path = mem_dup(path, strlen(path));
    w->tmp = mem_alloc(n);
    if (!w->path || !w->tmp) {
        file_writer_close(w);
        return err_set(info, ERR_NOMEM, "out of memory writing %s", path);
    }
    snprintf(w->tmp, n, "%s%s", path, suffix);
    *out = w;
    return ERR_OK;
}

static err file_writer_create(const char *path, mode_t mode, struct file_writer **out, struct errinfo *info)
{
    char suffix[32];
    snprintf(suffix, sizeof suffix, ".tmp-%ld", (long)getpid());
    struct file_writer *w;
    TRY(file_writer_new(path, suffix, &w, info));
    w->fd = open(w->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (w->fd < 0) {
        err e = file_error(info, "create", w->path);
        file_writer_close(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

err file_writer_open(const char *path, struct file_writer **out, struct errinfo *info)
{
    return file_writer_create(path, 0666, out, info);
}

err file_writer_resume(const char *path, struct file_writer **out, struct errinfo *info)
{
    struct file_writer *w;
    TRY(file_writer_new(path, ".part", &w, info));
    w->resumable = true;
    err e = ERR_OK;
    off_t end = 0;
    w->fd = open(w->tmp, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (w->fd < 0) {
        e = file_error(info, "create", w->tmp);
    } else if (flock(w->fd, LOCK_EX | LOCK_NB) != 0) {
        e = err_set(info, ERR_IO, "%s is being written by another process", w->tmp);
    } else if ((end = lseek(w->fd, 0, SEEK_END)) < 0) {
        e = file_error(info, "seek in", w->tmp);
    }
    if (e != ERR_OK) {
        file_writer_close(w);
        return e;
    }
    w->offset = (size_t)end;
    *out = w;
    return ERR_OK;
}

err file_writer_rewind(struct file_writer *w, struct errinfo *info)
{
    w->held = 0;
    w->offset = 0;
    if (ftruncate(w->fd, 0) != 0 || lseek(w->fd, 0, SEEK_SET) < 0) {
        return file_error(info, "empty", w->tmp);
    }
    return ERR_OK;
}

static err file_write_all(struct file_writer *w, const char *p, size_t n, struct errinfo *info)
{
    while (n > 0) {
        ssize_t put = file_refused() ? -1 : write(w->fd, p, n);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            w->broken = true;
            return file_error(info, "write", w->tmp);
        }
        p += put;
        n -= (size_t)put;
    }
    return ERR_OK;
}

static err file_flush(struct file_writer *w, struct errinfo *info)
{
    TRY(file_write_all(w, w->buffer, w->held, info));
    w->held = 0;
    return ERR_OK;
}

err file_writer_write(struct file_writer *w, const void *data, size_t n, struct errinfo *info)
{
    if (n > FILE_BUFFER - w->held) {
        TRY(file_flush(w, info));
    }
    if (n > FILE_BUFFER) {
        TRY(file_write_all(w, data, n, info));
    } else {
        memcpy(w->buffer + w->held, data, n);
        w->held += n;
    }
    w->offset += n;
    return ERR_OK;
}

size_t file_writer_offset(const struct file_writer *w)
{
    return w->offset;
}

err file_lock_folder(const char *dir, int *lock, struct errinfo *info)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return file_error(info, "open", dir);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return err_set(info, ERR_IO, "%s is in use by another process", dir);
    }
    *lock = fd;
    return ERR_OK;
}

void file_unlock(int lock)
{
    if (lock >= 0) {
        close(lock);
    }
}

err file_sync_folder(const char *dir, struct errinfo *info)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    err e = ERR_OK;
    if (fd < 0 || file_refused() || fsync(fd) != 0) {
        e = file_error(info, "sync folder", dir);
    }
    if (fd >= 0) {
        close(fd);
    }
    return e;
}

err file_sync_parent(const char *path, struct errinfo *info)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mem_dup(path, (size_t)(slash - path) + 1) : mem_dup(".", 1);
    if (!dir) {
        return err_set(info, ERR_NOMEM, "out of memory writing %s", path);
    }
    err e = file_sync_folder(dir, info);
    mem_free(dir);
    return e;
}

err file_writer_place(struct file_writer *w, struct errinfo *info)
{
    TRY(file_flush(w, info));
    if (file_refused() || rename(w->tmp, w->path) != 0) {
        return file_error(info, "rename into place", w->path);
    }
    w->tmp[0] = '\0';
    return ERR_OK;
}

err file_writer_commit(struct file_writer *w, struct errinfo *info)
{
    TRY(file_flush(w, info));
    if (file_refused() || fsync(w->fd) != 0) {
        return file_error(info, "sync", w->tmp);
    }
    TRY(file_writer_place(w, info));
    return file_sync_parent(w->path, info);
}

/* Leaves in the .part only bytes that are where they belong; what is lost is fetched again. */
static void file_keep_part(struct file_writer *w)
{
    off_t sound = (off_t)(w->offset - w->held);
    if (w->broken || file_flush(w, NULL) != ERR_OK) {
        if (ftruncate(w->fd, sound) != 0) {
            unlink(w->tmp);
        }
    }
}

void file_writer_close(struct file_writer *w)
{
    if (!w) {
        return;
    }
    if (w->fd >= 0) {
        if (w->resumable && w->tmp[0]) {
            file_keep_part(w);
        }
        close(w->fd);
        if (w->tmp[0] && !w->resumable) {
            unlink(w->tmp);
        }
    }
    mem_free(w->path);
    mem_free(w->tmp);
    mem_free(w);
}

err file_write(const char *path, const void *data, size_t n, struct errinfo *info)
{
    struct file_writer *w = NULL;
    TRY(file_writer_open(path, &w, info));
    err e = file_writer_write(w, data, n, info);
    e = e == ERR_OK ? file_writer_commit(w, info) : e;
    file_writer_close(w);
    return e;
}

err file_write_private(const char *path, const void *data, size_t n, struct errinfo *info)
{
    struct file_writer *w = NULL;
    TRY(file_writer_create(path, 0600, &w, info));
    err e = file_writer_write(w, data, n, info);
    e = e == ERR_OK ? file_writer_commit(w, info) : e;
    explicit_bzero(w->buffer, n < FILE_BUFFER ? n : FILE_BUFFER);
    file_writer_close(w);
    return e;
}

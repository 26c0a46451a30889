/* engine/prefixdisk.c: see prefixdisk.h. One lock for the index and the queue of what is to be written; nobody
 * holds it while pages are read or written. */
#include "engine/prefixdisk.h"

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "engine/kvpool.h"

enum {
    PREFIXDISK_QUEUE = 16, /* pages that wait to be written */
    PREFIXDISK_HEX = 2 * PREFIXNAME_BYTES,
    PREFIXDISK_FOLDER_MAX = 3800,
    PREFIXDISK_PATH_MAX = PREFIXDISK_FOLDER_MAX + 2 * (PREFIXDISK_HEX + 1) + 1,
};

struct prefixdisk_head {
    char magic[8];
    uint64_t sealed; /* bytes behind the head */
};
static const char PREFIXDISK_MAGIC[8] = "FATHPFX1";
#define PREFIXDISK_SALT ".salt"

struct prefixdisk_item { /* to be written */
    struct prefixdisk_item *next;
    struct prefixname folder, name;
    int64_t used;
    uint8_t plain[]; /* sum, rows */
};

struct prefixdisk {
    struct prefixdisk_options is; /* folder: its own */
    struct prefixname root;
    size_t page_bytes, plain_bytes, sealed_bytes;
    int lock_of_folder;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, wrote;
    struct prefixindex index;
    struct prefixdisk_item *first, **last, *writing; /* writing: in no list */
    size_t n_waiting;
    bool started, stopping;
    bool forgetting; /* somebody removes files: nothing is written meanwhile */
};

/* ---- paths ---- */

static void prefixdisk_folder_path(const struct prefixdisk *d, const struct prefixname *folder, char *out)
{
    char hex[PREFIXDISK_HEX + 1];
    sodium_bin2hex(hex, sizeof hex, folder->bytes, sizeof folder->bytes);
    snprintf(out, PREFIXDISK_PATH_MAX, "%s/%s", d->is.folder, hex);
}

static void prefixdisk_path(const struct prefixdisk *d, const struct prefixname *folder,
                            const struct prefixname *name, char *out)
{
    char hex[PREFIXDISK_HEX + 1];
    prefixdisk_folder_path(d, folder, out);
    size_t used = strlen(out);
    sodium_bin2hex(hex, sizeof hex, name->bytes, sizeof name->bytes);
    snprintf(out + used, PREFIXDISK_PATH_MAX - used, "/%s", hex);
}

/* The name that text begins with; *rest: what follows it. */
static bool prefixdisk_name(const char *text, struct prefixname *out, const char **rest)
{
    size_t n;
    return strlen(text) >= PREFIXDISK_HEX &&
           sodium_hex2bin(out->bytes, sizeof out->bytes, text, PREFIXDISK_HEX, NULL, &n, NULL) == 0 &&
           n == sizeof out->bytes && (*rest = text + PREFIXDISK_HEX) != NULL;
}

/* ---- folders ---- */

/* The salt of the folder at that path goes, on the disk, too. */
static void prefixdisk_forget_salt(const char *path)
{
    static const uint8_t none[PREFIXINDEX_SALT];
    char salt[PREFIXDISK_PATH_MAX + sizeof PREFIXDISK_SALT];
    snprintf(salt, sizeof salt, "%s/" PREFIXDISK_SALT, path);
    int fd = open(salt, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        bool gone = write(fd, none, sizeof none) == sizeof none && fsync(fd) == 0;
        (void)gone; /* it is removed in any case */
        close(fd);
    }
    unlink(salt);
}

/* With the lock. */
static void prefixdisk_drop_folder(struct prefixdisk *d, struct prefixindex_folder *folder)
{
    char path[PREFIXDISK_PATH_MAX];
    prefixdisk_folder_path(d, &folder->name, path);
    prefixdisk_forget_salt(path);
    rmdir(path);
    prefixindex_remove_folder(&d->index, folder);
}

/* With the lock. The folder of that name, made if missing; NULL: it cannot be. */
static struct prefixindex_folder *prefixdisk_folder(struct prefixdisk *d, const struct prefixname *name)
{
    struct prefixindex_folder *folder = prefixindex_find_folder(&d->index, name);
    char path[PREFIXDISK_PATH_MAX + sizeof PREFIXDISK_SALT];
    uint8_t salt[PREFIXINDEX_SALT];
    struct file_writer *w;
    if (folder) {
        return folder;
    }
    randombytes_buf(salt, sizeof salt);
    prefixdisk_folder_path(d, name, path);
    mkdir(path, 0700);
    strcat(path, "/" PREFIXDISK_SALT);
    if (file_writer_open(path, &w, NULL) != ERR_OK) {
        return NULL;
    }
    err e = file_writer_write(w, salt, sizeof salt, NULL);
    e = e == ERR_OK ? file_writer_place(w, NULL) : e;
    file_writer_close(w);
    folder = e == ERR_OK ? prefixindex_add_folder(&d->index, name, salt) : NULL;
    sodium_memzero(salt, sizeof salt);
    return folder;
}

/* With the lock. The file goes, and its folder if it was the last one in it. */
static void prefixdisk_drop(struct prefixdisk *d, struct prefixindex_file *f)
{
    char path[PREFIXDISK_PATH_MAX];
    struct prefixindex_folder *folder = f->folder;
    prefixdisk_path(d, &folder->name, &f->name, path);
    unlink(path);
    prefixindex_remove(&d->index, f);
    if (folder->n_files == 0) {
        prefixdisk_drop_folder(d, folder);
    }
}

/* With the lock. */
static void prefixdisk_trim(struct prefixdisk *d)
{
    while (d->index.bytes > d->is.bytes) {
        prefixdisk_drop(d, d->index.oldest);
    }
}

/* ---- what is there already ---- */

/* A file in a partition's folder: a page, what a killed process left of one, or somebody else's. */
static err prefixdisk_scan_file(struct prefixdisk *d, struct prefixindex_folder *folder, const char *name)
{
    char path[PREFIXDISK_PATH_MAX + 64];
    struct prefixname page;
    const char *rest;
    struct stat st;
    prefixdisk_folder_path(d, &folder->name, path);
    size_t used = strlen(path);
    if (!prefixdisk_name(name, &page, &rest) || strlen(rest) > 60) {
        return ERR_OK;
    }
    snprintf(path + used, sizeof path - used, "/%s", name);
    if (strncmp(rest, ".tmp-", 5) == 0) {
        unlink(path);
    }
    if (*rest || lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
        return ERR_OK;
    }
    return prefixindex_add(&d->index, folder, &page, (size_t)st.st_size,
                           (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

/* Its salt; false: without one nothing in it can be opened. */
static bool prefixdisk_scan_salt(const char *folder, uint8_t out[PREFIXINDEX_SALT])
{
    char path[PREFIXDISK_PATH_MAX + sizeof PREFIXDISK_SALT], *salt = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/" PREFIXDISK_SALT, folder);
    if (file_read(path, PREFIXINDEX_SALT, &salt, &n, NULL) != ERR_OK) {
        return false;
    }
    if (n == PREFIXINDEX_SALT) {
        memcpy(out, salt, n);
    }
    sodium_memzero(salt, n);
    mem_free(salt);
    return n == PREFIXINDEX_SALT;
}

static err prefixdisk_scan_files(struct prefixdisk *d, const char *path, struct prefixindex_folder *folder,
                                 struct errinfo *info)
{
    struct folder_names files = {0};
    TRY(folder_list(path, &files, info));
    err e = ERR_OK;
    for (size_t i = 0; i < files.n && e == ERR_OK; i++) {
        e = prefixdisk_scan_file(d, folder, files.names[i]);
    }
    folder_names_deinit(&files);
    if (e == ERR_OK && folder->n_files == 0) {
        prefixdisk_drop_folder(d, folder);
    }
    return e;
}

static err prefixdisk_scan_folder(struct prefixdisk *d, const char *name, struct errinfo *info)
{
    char path[PREFIXDISK_PATH_MAX];
    struct prefixname folder;
    uint8_t salt[PREFIXINDEX_SALT];
    const char *rest;
    if (!prefixdisk_name(name, &folder, &rest) || *rest) {
        return ERR_OK;
    }
    prefixdisk_folder_path(d, &folder, path);
    if (!file_is_dir(path)) {
        return ERR_OK;
    }
    if (!prefixdisk_scan_salt(path, salt)) {
        err e = folder_remove(path, NULL);
        (void)e; /* there is something of others in it */
        return ERR_OK;
    }
    struct prefixindex_folder *f = prefixindex_add_folder(&d->index, &folder, salt);
    return f ? prefixdisk_scan_files(d, path, f, info) : ERR_NOMEM;
}

static err prefixdisk_scan(struct prefixdisk *d, struct errinfo *info)
{
    struct folder_names folders = {0};
    TRY(folder_list(d->is.folder, &folders, info));
    err e = ERR_OK;
    for (size_t i = 0; i < folders.n && e == ERR_OK; i++) {
        e = prefixdisk_scan_folder(d, folders.names[i], info);
    }
    folder_names_deinit(&folders);
    e = e == ERR_OK ? prefixindex_sort(&d->index) : e;
    if (e == ERR_OK) {
        prefixdisk_trim(d);
    }
    return e == ERR_NOMEM ? err_set(info, e, "out of memory for the list of pages in %s", d->is.folder) : e;
}

/* ---- writing ---- */

/* When a file was used last: its time, also for the next process. */
static void prefixdisk_date(const char *path, int64_t used)
{
    const struct timespec t = {.tv_sec = (time_t)(used / 1000000000), .tv_nsec = (long)(used % 1000000000)};
    utimensat(AT_FDCWD, path, (const struct timespec[2]){t, t}, 0);
}

static err prefixdisk_put(const struct prefixdisk *d, const char *path, const uint8_t *sealed)
{
    struct prefixdisk_head head = {.sealed = d->sealed_bytes};
    struct file_writer *w;
    memcpy(head.magic, PREFIXDISK_MAGIC, sizeof head.magic);
    TRY(file_writer_open(path, &w, NULL));
    err e = file_writer_write(w, &head, sizeof head, NULL);
    e = e == ERR_OK ? file_writer_write(w, sealed, d->sealed_bytes, NULL) : e;
    e = e == ERR_OK ? file_writer_place(w, NULL) : e;
    file_writer_close(w);
    return e;
}

static err prefixdisk_store(const struct prefixdisk *d, const struct prefixindex_folder *folder,
                            struct prefixdisk_item *i)
{
    char path[PREFIXDISK_PATH_MAX];
    struct prefixname sum = prefixname_sum(&d->root, &i->name, i->plain + sizeof sum, d->page_bytes);
    uint8_t *sealed = d->is.codec.seal ? mem_alloc(d->sealed_bytes) : i->plain;
    if (!sealed) {
        return ERR_NOMEM;
    }
    memcpy(i->plain, &sum, sizeof sum);
    if (d->is.codec.seal) {
        d->is.codec.seal(d->is.codec.user, folder->salt, i->plain, d->plain_bytes, sealed);
    }
    prefixdisk_path(d, &i->folder, &i->name, path);
    err e = prefixdisk_put(d, path, sealed);
    prefixdisk_date(path, i->used);
    if (sealed != i->plain) {
        mem_free(sealed);
    }
    return e;
}

/* With the lock. What cannot be listed is not kept. */
static void prefixdisk_list(struct prefixdisk *d, struct prefixindex_folder *folder,
                            const struct prefixdisk_item *i)
{
    char path[PREFIXDISK_PATH_MAX];
    size_t bytes = sizeof(struct prefixdisk_head) + d->sealed_bytes;
    if (prefixindex_add(&d->index, folder, &i->name, bytes, i->used) != ERR_OK) {
        prefixdisk_path(d, &folder->name, &i->name, path);
        unlink(path);
    }
    prefixdisk_trim(d);
}

/* With the lock, which it lets go of while it writes. */
static void prefixdisk_write_item(struct prefixdisk *d, struct prefixdisk_item *i)
{
    struct prefixindex_folder *folder = prefixdisk_folder(d, &i->folder);
    if (!folder) {
        return;
    }
    folder->n_files++; /* it stays */
    d->writing = i;
    pthread_mutex_unlock(&d->lock);
    err e = prefixdisk_store(d, folder, i);
    pthread_mutex_lock(&d->lock);
    if (e == ERR_OK) {
        prefixdisk_list(d, folder, i);
    }
    d->writing = NULL;
    if (--folder->n_files == 0) {
        prefixdisk_drop_folder(d, folder);
    }
}

static void *prefixdisk_run(void *user)
{
    struct prefixdisk *d = user;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while ((!d->first || d->forgetting) && !d->stopping) {
            pthread_cond_wait(&d->work, &d->lock);
        }
        struct prefixdisk_item *i = d->first;
        if (!i) {
            break;
        }
        d->first = i->next;
        d->last = d->first ? d->last : &d->first;
        d->n_waiting--;
        prefixdisk_write_item(d, i);
        mem_free(i);
        pthread_cond_broadcast(&d->wrote);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* Where a page is, and what it is opened with. */
struct prefixdisk_place {
    char path[PREFIXDISK_PATH_MAX];
    uint8_t salt[PREFIXINDEX_SALT];
};

/* With the lock. Marks a page as used. */
static bool prefixdisk_use(struct prefixdisk *d, const struct prefixname *name, int64_t used,
                           struct prefixdisk_place *out)
{
    struct prefixindex_file *f = prefixindex_find(&d->index, name);
    if (f) {
        prefixindex_use(&d->index, f, used);
        prefixdisk_path(d, &f->folder->name, name, out->path);
        memcpy(out->salt, f->folder->salt, sizeof out->salt);
    }
    return f != NULL;
}

void prefixdisk_write(struct prefixdisk *d, uint64_t drawer, const struct prefixname *name, const char *rows,
                      int64_t used, bool wait)
{
    struct prefixdisk_place at;
    pthread_mutex_lock(&d->lock);
    while (wait && d->n_waiting >= PREFIXDISK_QUEUE) {
        pthread_cond_wait(&d->wrote, &d->lock);
    }
    bool there = prefixdisk_use(d, name, used, &at);
    bool room = d->n_waiting < PREFIXDISK_QUEUE &&
                sizeof(struct prefixdisk_head) + d->sealed_bytes <= d->is.bytes;
    struct prefixdisk_item *i = there || !room ? NULL : mem_alloc(sizeof *i + d->plain_bytes);
    if (i) {
        i->next = NULL;
        i->folder = prefixname_folder(d->is.key, drawer);
        i->name = *name;
        i->used = used;
        memcpy(i->plain + sizeof(struct prefixname), rows, d->page_bytes);
        *d->last = i;
        d->last = &i->next;
        d->n_waiting++;
        pthread_cond_signal(&d->work);
    }
    pthread_mutex_unlock(&d->lock);
    if (there) {
        prefixdisk_date(at.path, used);
    }
}

/* ---- reading ---- */

bool prefixdisk_has(struct prefixdisk *d, const struct prefixname *name)
{
    pthread_mutex_lock(&d->lock);
    bool there = prefixindex_find(&d->index, name) != NULL;
    pthread_mutex_unlock(&d->lock);
    return there;
}

/* The rows out of what the head is followed by. */
static err prefixdisk_unseal(const struct prefixdisk *d, const struct prefixname *name, const uint8_t *salt,
                             const uint8_t *sealed, char *rows)
{
    const struct prefixdisk_codec *codec = &d->is.codec;
    uint8_t *own = codec->open ? mem_alloc(d->plain_bytes) : NULL;
    const uint8_t *plain = own ? own : sealed;
    if (codec->open && !own) {
        return ERR_NOMEM;
    }
    bool good = !own || codec->open(codec->user, salt, sealed, d->sealed_bytes, own);
    if (good) {
        struct prefixname sum = prefixname_sum(&d->root, name, plain + sizeof sum, d->page_bytes);
        good = sodium_memcmp(&sum, plain, sizeof sum) == 0;
        memcpy(rows, plain + sizeof sum, d->page_bytes);
    }
    mem_free(own);
    return good ? ERR_OK : ERR_CORRUPT;
}

static err prefixdisk_load(const struct prefixdisk *d, const struct prefixdisk_place *at,
                           const struct prefixname *name, char *rows)
{
    struct prefixdisk_head head;
    char *file = NULL;
    size_t n = 0;
    TRY(file_read(at->path, sizeof head + d->sealed_bytes, &file, &n, NULL));
    bool whole = n == sizeof head + d->sealed_bytes;
    if (whole) {
        memcpy(&head, file, sizeof head);
        whole = memcmp(head.magic, PREFIXDISK_MAGIC, sizeof head.magic) == 0 &&
                head.sealed == d->sealed_bytes;
    }
    err e = whole ? prefixdisk_unseal(d, name, at->salt, (const uint8_t *)file + sizeof head, rows)
                  : ERR_CORRUPT;
    mem_free(file);
    return e;
}

bool prefixdisk_read(struct prefixdisk *d, const struct prefixname *name, char *rows)
{
    struct prefixdisk_place at;
    int64_t now = kvpool_now();
    pthread_mutex_lock(&d->lock);
    bool there = prefixdisk_use(d, name, now, &at);
    pthread_mutex_unlock(&d->lock);
    if (!there) {
        return false;
    }
    err e = prefixdisk_load(d, &at, name, rows);
    if (e == ERR_OK) {
        prefixdisk_date(at.path, now);
        return true;
    }
    pthread_mutex_lock(&d->lock);
    struct prefixindex_file *f = prefixindex_find(&d->index, name);
    if (f && e != ERR_NOMEM) {
        prefixdisk_drop(d, f);
    }
    pthread_mutex_unlock(&d->lock);
    return false;
}

/* ---- forgetting ---- */

/* With the lock. What is not yet written never will be. */
static void prefixdisk_forget_queue(struct prefixdisk *d, const struct prefixname *folder)
{
    for (struct prefixdisk_item **i = &d->first; *i;) {
        struct prefixdisk_item *item = *i;
        if (memcmp(&item->folder, folder, sizeof *folder) == 0) {
            *i = item->next;
            d->n_waiting--;
            mem_free(item);
        } else {
            i = &item->next;
        }
    }
    d->last = &d->first;
    while (*d->last) {
        d->last = &(*d->last)->next;
    }
    while (d->writing && memcmp(&d->writing->folder, folder, sizeof *folder) == 0) {
        pthread_cond_wait(&d->wrote, &d->lock);
    }
}

err prefixdisk_forget(struct prefixdisk *d, uint64_t drawer, struct errinfo *info)
{
    char path[PREFIXDISK_PATH_MAX];
    const struct prefixname name = prefixname_folder(d->is.key, drawer);
    pthread_mutex_lock(&d->lock);
    while (d->forgetting) {
        pthread_cond_wait(&d->wrote, &d->lock);
    }
    d->forgetting = true;
    prefixdisk_forget_queue(d, &name);
    struct prefixindex_folder *folder = prefixindex_find_folder(&d->index, &name);
    for (struct prefixindex_file *f = folder ? d->index.oldest : NULL, *newer; f; f = newer) {
        newer = f->newer;
        if (f->folder == folder) {
            prefixindex_remove(&d->index, f);
        }
    }
    if (folder) {
        prefixindex_remove_folder(&d->index, folder);
    }
    pthread_mutex_unlock(&d->lock);
    prefixdisk_folder_path(d, &name, path);
    prefixdisk_forget_salt(path);
    err e = folder_remove(path, info);
    e = e == ERR_OK ? file_sync_folder(d->is.folder, info) : e;
    pthread_mutex_lock(&d->lock);
    d->forgetting = false;
    pthread_cond_broadcast(&d->wrote);
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
    return e;
}

/* Those among the files, the oldest first, at most so many that nobody waits long for the lock. False: there
 * may be more. */
static bool prefixdisk_forget_some(struct prefixdisk *d, int64_t before)
{
    enum { PREFIXDISK_SOME = 64 };
    size_t n = 0;
    pthread_mutex_lock(&d->lock);
    for (struct prefixindex_file *f = d->index.oldest, *newer; f && n < PREFIXDISK_SOME; f = newer) {
        newer = f->newer;
        if (f->used < before) {
            prefixdisk_drop(d, f);
            n++;
        }
    }
    pthread_mutex_unlock(&d->lock);
    return n < PREFIXDISK_SOME;
}

void prefixdisk_forget_unused(struct prefixdisk *d, int64_t before)
{
    while (!prefixdisk_forget_some(d, before)) {}
}

/* What is in the folder and named like a drawer's folder. */
static err prefixdisk_erase_all(const char *folder, struct errinfo *info)
{
    struct folder_names names = {0};
    TRY(folder_list(folder, &names, info));
    err e = ERR_OK;
    for (size_t i = 0; i < names.n && e == ERR_OK; i++) {
        struct prefixname name;
        const char *rest;
        if (prefixdisk_name(names.names[i], &name, &rest) && !*rest) {
            char *path = file_join(folder, names.names[i]);
            if (path) {
                prefixdisk_forget_salt(path);
            }
            e = path ? folder_remove(path, info) : err_set(info, ERR_NOMEM, "out of memory for a path");
            mem_free(path);
        }
    }
    folder_names_deinit(&names);
    return e == ERR_OK ? file_sync_folder(folder, info) : e;
}

err prefixdisk_erase(const char *folder, struct errinfo *info)
{
    int lock;
    if (!file_is_dir(folder)) {
        return ERR_OK;
    }
    TRY(file_lock_folder(folder, &lock, info));
    err e = prefixdisk_erase_all(folder, info);
    file_unlock(lock);
    return e;
}

size_t prefixdisk_holds(const struct prefixdisk *d)
{
    return d->is.bytes / (sizeof(struct prefixdisk_head) + d->sealed_bytes);
}

size_t prefixdisk_bytes(struct prefixdisk *d)
{
    pthread_mutex_lock(&d->lock);
    size_t n = d->index.bytes;
    pthread_mutex_unlock(&d->lock);
    return n;
}

/* ---- life ---- */

static err prefixdisk_start(struct prefixdisk *d, struct errinfo *info)
{
    TRY(file_make_dirs(d->is.folder, info));
    if (chmod(d->is.folder, 0700) != 0) {
        return err_set(info, ERR_IO, "%s is not this user's folder: it cannot be closed to others",
                       d->is.folder);
    }
    TRY(file_lock_folder(d->is.folder, &d->lock_of_folder, info));
    TRY(prefixdisk_scan(d, info));
    d->started = pthread_create(&d->thread, NULL, prefixdisk_run, d) == 0;
    return d->started ? ERR_OK : err_set(info, ERR_IO, "the system refused a thread for pages on disk");
}

err prefixdisk_open(const struct prefixdisk_options *options, const struct prefixname *root, size_t page_bytes,
                    struct prefixdisk **out, struct errinfo *info)
{
    if (strlen(options->folder) > PREFIXDISK_FOLDER_MAX) {
        return err_set(info, ERR_LIMIT, "the path of the folder for pages is over %d bytes",
                       PREFIXDISK_FOLDER_MAX);
    }
    struct prefixdisk *d = mem_calloc(1, sizeof *d);
    char *folder = mem_dup(options->folder, strlen(options->folder));
    if (!d || !folder) {
        mem_free(d);
        mem_free(folder);
        return err_set(info, ERR_NOMEM, "out of memory for pages on disk");
    }
    d->is = *options;
    d->is.folder = folder;
    d->root = *root;
    d->page_bytes = page_bytes;
    d->plain_bytes = sizeof(struct prefixname) + page_bytes;
    d->sealed_bytes = d->plain_bytes + options->codec.overhead;
    d->lock_of_folder = -1;
    d->last = &d->first;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->work, NULL);
    pthread_cond_init(&d->wrote, NULL);
    err e = prefixdisk_start(d, info);
    if (e != ERR_OK) {
        prefixdisk_close(d);
        return e;
    }
    *out = d;
    return ERR_OK;
}

void prefixdisk_close(struct prefixdisk *d)
{
    if (!d) {
        return;
    }
    if (d->started) {
        pthread_mutex_lock(&d->lock);
        d->stopping = true;
        pthread_cond_signal(&d->work);
        pthread_mutex_unlock(&d->lock);
        pthread_join(d->thread, NULL);
    }
    file_unlock(d->lock_of_folder);
    prefixindex_deinit(&d->index);
    pthread_cond_destroy(&d->wrote);
    pthread_cond_destroy(&d->work);
    pthread_mutex_destroy(&d->lock);
    sodium_memzero(&d->is.key, sizeof d->is.key);
    mem_free((void *)d->is.folder);
    mem_free(d);
}

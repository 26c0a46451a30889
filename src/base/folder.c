/* base/folder.c: see folder.h. */
#include "base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static err folder_error(struct errinfo *info, const char *verb, const char *path)
{
    err code = errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    return err_set(info, code, "cannot %s %s: %s", verb, path, strerror(errno));
}

/* ---- Listing. ---- */

static int folder_by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static err folder_add(struct folder_names *l, size_t *room, const char *name)
{
    if (l->n == *room) {
        size_t more = *room ? 2 * *room : 32;
        char **grown = mem_resize(l->names, more, sizeof *grown);
        if (!grown) {
            return ERR_NOMEM;
        }
        l->names = grown;
        *room = more;
    }
    l->names[l->n] = mem_dup(name, strlen(name));
    if (!l->names[l->n]) {
        return ERR_NOMEM;
    }
    l->n++;
    return ERR_OK;
}

static const char *folder_next(DIR *d)
{
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            return e->d_name;
        }
    }
    return NULL;
}

err folder_list(const char *path, struct folder_names *out, struct errinfo *info)
{
    struct folder_names l = {0};
    size_t room = 0;
    DIR *d = opendir(path);
    if (!d) {
        return folder_error(info, "list", path);
    }
    err e = ERR_OK;
    for (const char *name; e == ERR_OK && (name = folder_next(d)) != NULL;) {
        e = folder_add(&l, &room, name);
    }
    closedir(d);
    if (e != ERR_OK) {
        folder_names_deinit(&l);
        return err_set(info, e, "out of memory listing %s", path);
    }
    if (l.n > 0) {
        qsort(l.names, l.n, sizeof *l.names, folder_by_bytes);
    }
    *out = l;
    return ERR_OK;
}

void folder_names_deinit(struct folder_names *l)
{
    for (size_t i = 0; i < l->n; i++) {
        mem_free(l->names[i]);
    }
    mem_free(l->names);
    *l = (struct folder_names){0};
}

/* ---- Removing. ---- */

err folder_remove(const char *path, struct errinfo *info)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? ERR_OK : folder_error(info, "open folder", path);
    }
    DIR *d = fdopendir(fd);
    if (!d) {
        err e = folder_error(info, "open folder", path);
        close(fd);
        return e;
    }
    err e = ERR_OK;
    for (const char *name; e == ERR_OK && (name = folder_next(d)) != NULL;) {
        if (unlinkat(fd, name, 0) != 0 && errno != ENOENT) {
            e = err_set(info, ERR_IO, "cannot remove %s/%s: %s", path, name, strerror(errno));
        }
    }
    closedir(d);
    if (e == ERR_OK && rmdir(path) != 0 && errno != ENOENT) {
        e = folder_error(info, "remove folder", path);
    }
    return e;
}

/* ---- Publishing. ---- */

/* Both names exist afterwards, each with what the other had; errno on failure. */
static bool folder_swap(const char *made, const char *path)
{
    return !file_refused() && renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE) == 0;
}

/* For file systems that cannot swap: the old folder gets another name first. */
static err folder_replace(const char *made, const char *path, struct errinfo *info)
{
    size_t n = strlen(made) + sizeof "-old";
    char *aside = mem_alloc(n);
    if (!aside) {
        return err_set(info, ERR_NOMEM, "out of memory replacing %s", path);
    }
    snprintf(aside, n, "%s-old", made);
    err e = ERR_OK;
    if (file_refused() || rename(path, aside) != 0) {
        e = folder_error(info, "rename", path);
    } else if (file_refused() || rename(made, path) != 0) {
        e = folder_error(info, "rename into place", path);
        if (rename(aside, path) != 0) {
            e = err_prefix(info, e, "what was there is now called %s: ", aside);
        }
    } else {
        e = folder_remove(aside, info);
    }
    mem_free(aside);
    return e;
}

err folder_publish(const char *made, const char *path, struct errinfo *info)
{
    TRY(file_sync_folder(made, info));
    if (file_refused() || rename(made, path) != 0) {
        if (errno != EEXIST && errno != ENOTEMPTY) {
            return folder_error(info, "rename into place", path);
        }
        if (folder_swap(made, path)) {
            TRY(folder_remove(made, info));
        } else if (errno == EINVAL || errno == ENOSYS) {
            TRY(folder_replace(made, path, info));
        } else {
            return folder_error(info, "rename into place", path);
        }
    }
    return file_sync_parent(path, info);
}

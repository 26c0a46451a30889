/* train/checkpoint.c: finding and pruning; see checkpoint.h. Saving is checkpoint_save.c, loading
 * checkpoint_load.c. */
#include "train/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "train/checkpoint_manifest.h"

/* Whether a folder's name is that of a checkpoint. */
static bool checkpoint_is_name(const char *name, uint64_t *step)
{
    char again[CHECKPOINT_MANIFEST_NAME];
    if (strncmp(name, "step-", 5) != 0) {
        return false;
    }
    *step = strtoull(name + 5, NULL, 10);
    checkpoint_manifest_folder(*step, again);
    return *step <= CHECKPOINT_STEP_MAX && strcmp(name, again) == 0;
}

/* Whether DIR/NAME is a whole checkpoint, else *why it is not; only a lack of memory is an error. */
static err checkpoint_whole(const char *dir, const char *name, uint64_t step, bool *whole,
                            struct errinfo *why)
{
    struct checkpoint_manifest m;
    char *folder;
    TRY(checkpoint_manifest_join(dir, name, &folder, why));
    err e = checkpoint_manifest_fits(folder, step, &m, why);
    mem_free(folder);
    *whole = e == ERR_OK;
    return e == ERR_NOMEM ? e : ERR_OK;
}

static err checkpoint_is_link(const char *dir, const char *name, bool *link, struct errinfo *info)
{
    struct stat st;
    char *path;
    TRY(checkpoint_manifest_join(dir, name, &path, info));
    *link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    mem_free(path);
    return ERR_OK;
}

/* Of one name in DIR, see checkpoint_find. */
static err checkpoint_try(const char *dir, const char *name, uint64_t step, bool *whole,
                          struct errinfo *passed, struct errinfo *info)
{
    struct errinfo why = {0};
    bool link;
    TRY(checkpoint_is_link(dir, name, &link, info));
    if (link) {
        return err_set(info, ERR_CORRUPT, "%s/%s is a symbolic link: put the folder itself in its place, "
                       "or remove the link, and the run goes on from the checkpoint before", dir, name);
    }
    err e = checkpoint_whole(dir, name, step, whole, &why);
    if (e == ERR_OK && !*whole && passed->code == ERR_OK) {
        *passed = why;
    }
    return e == ERR_OK ? e : err_set(info, e, "%s", why.message);
}

err checkpoint_find(const char *dir, uint64_t *step, bool *found, struct errinfo *passed,
                    struct errinfo *info)
{
    struct folder_names l = {0};
    uint64_t at = 0;
    bool whole = false;
    *passed = (struct errinfo){0};
    err e = folder_list(dir, &l, info);
    if (e != ERR_OK) {
        *found = false;
        return e == ERR_NOTFOUND ? ERR_OK : e;
    }
    /* Names have the order of their steps. */
    for (size_t i = l.n; i-- > 0 && e == ERR_OK && !whole;) {
        if (checkpoint_is_name(l.names[i], &at)) {
            e = checkpoint_try(dir, l.names[i], at, &whole, passed, info);
        }
    }
    folder_names_deinit(&l);
    TRY(e);
    if (passed->code != ERR_OK && !whole) {
        return err_set(info, ERR_CORRUPT, "%s", passed->message);
    }
    *found = whole;
    if (whole) {
        *step = at;
    }
    return ERR_OK;
}

/* It vanishes in one step; what a kill leaves is then no checkpoint but rubbish. */
static err checkpoint_remove(const char *dir, const char *name, struct errinfo *info)
{
    char aside[CHECKPOINT_MANIFEST_NAME + 16], *from, *to = NULL;
    snprintf(aside, sizeof aside, CHECKPOINT_MANIFEST_UNFINISHED "old-%.40s", name);
    TRY(checkpoint_manifest_join(dir, name, &from, info));
    err e = checkpoint_manifest_join(dir, aside, &to, info);
    e = e == ERR_OK ? folder_remove(to, info) : e;
    if (e == ERR_OK && (file_refused() || rename(from, to) != 0)) {
        e = err_set(info, ERR_IO, "cannot remove the old checkpoint %s: %s", from, strerror(errno));
    }
    e = e == ERR_OK ? folder_remove(to, info) : e;
    mem_free(to);
    mem_free(from);
    return e;
}

static err checkpoint_has_manifest(const char *dir, const char *name, bool *has,
                                   struct errinfo *info)
{
    char file[CHECKPOINT_MANIFEST_NAME + 32], *path;
    snprintf(file, sizeof file, "%.40s/" CHECKPOINT_MANIFEST_FILE, name);
    TRY(checkpoint_manifest_join(dir, file, &path, info));
    *has = file_exists(path);
    mem_free(path);
    return ERR_OK;
}

/* One name in DIR, the newest first; *kept whole ones were left so far. */
static err checkpoint_prune_name(const char *dir, const char *name, size_t keep, size_t *kept,
                                 struct errinfo *info)
{
    uint64_t step;
    bool whole = false, ours = false, link;
    if (strncmp(name, CHECKPOINT_MANIFEST_UNFINISHED, strlen(CHECKPOINT_MANIFEST_UNFINISHED)) ==
        0) {
        char *path;
        TRY(checkpoint_manifest_join(dir, name, &path, info));
        err e = file_is_dir(path) ? folder_remove(path, info) : ERR_OK;
        mem_free(path);
        return e;
    }
    TRY(checkpoint_is_link(dir, name, &link, info));
    if (!checkpoint_is_name(name, &step) || link) {
        return ERR_OK;
    }
    if (*kept < keep) {
        TRY(checkpoint_whole(dir, name, step, &whole, info));
        *kept += whole;
        return ERR_OK;
    }
    TRY(checkpoint_has_manifest(dir, name, &ours, info));
    return ours ? checkpoint_remove(dir, name, info) : ERR_OK;
}

err checkpoint_prune(const char *dir, size_t keep, struct errinfo *info)
{
    struct folder_names l;
    size_t kept = 0;
    if (keep == 0) {
        return err_set(info, ERR_ARGUMENT,
                       "keeping 0 checkpoints would remove the run; keep 1 or more");
    }
    TRY(folder_list(dir, &l, info));
    err e = ERR_OK;
    for (size_t i = l.n; i-- > 0 && e == ERR_OK;) {
        e = checkpoint_prune_name(dir, l.names[i], keep, &kept, info);
    }
    folder_names_deinit(&l);
    return e;
}

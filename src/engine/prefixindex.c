/* engine/prefixindex.c: see prefixindex.h. */
#include "engine/prefixindex.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { PREFIXINDEX_FIRST = 256 }; /* buckets; always a power of two */

void prefixindex_deinit(struct prefixindex *x)
{
    for (struct prefixindex_file *f = x->oldest, *newer; f; f = newer) {
        newer = f->newer;
        mem_free(f);
    }
    while (x->folders) {
        struct prefixindex_folder *folder = x->folders;
        x->folders = folder->next;
        mem_free(folder);
    }
    mem_free(x->buckets);
    *x = (struct prefixindex){0};
}

static struct prefixindex_file **prefixindex_bucket(const struct prefixindex *x, const struct prefixname *name)
{
    uint64_t h;
    memcpy(&h, name->bytes, sizeof h);
    return &x->buckets[h & (x->n_buckets - 1)];
}

struct prefixindex_file *prefixindex_find(const struct prefixindex *x, const struct prefixname *name)
{
    struct prefixindex_file *f = x->n_buckets ? *prefixindex_bucket(x, name) : NULL;
    while (f && memcmp(&f->name, name, sizeof *name) != 0) {
        f = f->next;
    }
    return f;
}

static err prefixindex_widen(struct prefixindex *x)
{
    size_t n = x->n_buckets ? 2 * x->n_buckets : PREFIXINDEX_FIRST;
    struct prefixindex_file **buckets = mem_calloc(n, sizeof *buckets);
    if (!buckets) {
        return ERR_NOMEM;
    }
    mem_free(x->buckets);
    x->buckets = buckets;
    x->n_buckets = n;
    for (struct prefixindex_file *f = x->oldest; f; f = f->newer) {
        struct prefixindex_file **to = prefixindex_bucket(x, &f->name);
        f->next = *to;
        *to = f;
    }
    return ERR_OK;
}

static void prefixindex_link(struct prefixindex *x, struct prefixindex_file *f)
{
    f->older = x->newest;
    f->newer = NULL;
    *(x->newest ? &x->newest->newer : &x->oldest) = f;
    x->newest = f;
}

static void prefixindex_unlink(struct prefixindex *x, struct prefixindex_file *f)
{
    *(f->older ? &f->older->newer : &x->oldest) = f->newer;
    *(f->newer ? &f->newer->older : &x->newest) = f->older;
}

err prefixindex_add(struct prefixindex *x, struct prefixindex_folder *folder, const struct prefixname *name,
                    size_t bytes, int64_t used)
{
    struct prefixindex_file *f = prefixindex_find(x, name);
    if (!f) {
        TRY(x->n_files == x->n_buckets ? prefixindex_widen(x) : ERR_OK);
        f = mem_calloc(1, sizeof *f);
        if (!f) {
            return ERR_NOMEM;
        }
        struct prefixindex_file **to = prefixindex_bucket(x, name);
        *f = (struct prefixindex_file){.next = *to, .folder = folder, .name = *name};
        *to = f;
        x->n_files++;
        folder->n_files++;
        prefixindex_link(x, f);
    }
    x->bytes += bytes - f->bytes;
    f->bytes = bytes;
    prefixindex_use(x, f, used);
    return ERR_OK;
}

void prefixindex_use(struct prefixindex *x, struct prefixindex_file *f, int64_t used)
{
    f->used = used;
    prefixindex_unlink(x, f);
    prefixindex_link(x, f);
}

void prefixindex_remove(struct prefixindex *x, struct prefixindex_file *f)
{
    struct prefixindex_file **at = prefixindex_bucket(x, &f->name);
    while (*at != f) {
        at = &(*at)->next;
    }
    *at = f->next;
    prefixindex_unlink(x, f);
    x->bytes -= f->bytes;
    x->n_files--;
    f->folder->n_files--;
    mem_free(f);
}

struct prefixindex_folder *prefixindex_find_folder(const struct prefixindex *x, const struct prefixname *name)
{
    struct prefixindex_folder *f = x->folders;
    while (f && memcmp(&f->name, name, sizeof *name) != 0) {
        f = f->next;
    }
    return f;
}

struct prefixindex_folder *prefixindex_add_folder(struct prefixindex *x, const struct prefixname *name,
                                                  const uint8_t salt[PREFIXINDEX_SALT])
{
    struct prefixindex_folder *f = mem_calloc(1, sizeof *f);
    if (f) {
        *f = (struct prefixindex_folder){.next = x->folders, .name = *name};
        memcpy(f->salt, salt, sizeof f->salt);
        x->folders = f;
    }
    return f;
}

void prefixindex_remove_folder(struct prefixindex *x, struct prefixindex_folder *folder)
{
    struct prefixindex_folder **at = &x->folders;
    while (*at != folder) {
        at = &(*at)->next;
    }
    *at = folder->next;
    mem_free(folder);
}

static int prefixindex_compare(const void *a, const void *b)
{
    int64_t x = (*(struct prefixindex_file *const *)a)->used, y = (*(struct prefixindex_file *const *)b)->used;
    return (x > y) - (x < y);
}

err prefixindex_sort(struct prefixindex *x)
{
    if (x->n_files == 0) {
        return ERR_OK;
    }
    struct prefixindex_file **all = mem_calloc(x->n_files, sizeof *all);
    if (!all) {
        return ERR_NOMEM;
    }
    size_t n = 0;
    for (struct prefixindex_file *f = x->oldest; f; f = f->newer) {
        all[n++] = f;
    }
    qsort(all, n, sizeof *all, prefixindex_compare);
    x->oldest = x->newest = NULL;
    for (size_t i = 0; i < n; i++) {
        prefixindex_link(x, all[i]);
    }
    mem_free(all);
    return ERR_OK;
}

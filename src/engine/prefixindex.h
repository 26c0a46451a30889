/* engine/prefixindex.h: which pages are on disk, in which folders, for prefixdisk.c: found by name, and in the
 * order of their last use. Thread rule: one thread at a time. */
#ifndef ENGINE_PREFIXINDEX_H
#define ENGINE_PREFIXINDEX_H

#include "engine/prefixname.h"

enum { PREFIXINDEX_SALT = 32 };

struct prefixindex_folder {
    struct prefixindex_folder *next;
    struct prefixname name;
    uint8_t salt[PREFIXINDEX_SALT];
    size_t n_files; /* and who else wants it to stay */
};

struct prefixindex_file {
    struct prefixindex_file *next;          /* in the bucket */
    struct prefixindex_file *older, *newer; /* by last use */
    struct prefixindex_folder *folder;
    struct prefixname name;
    size_t bytes;
    int64_t used; /* nanoseconds since 1970 */
};

struct prefixindex {
    struct prefixindex_file **buckets;
    size_t n_buckets, n_files, bytes;
    struct prefixindex_file *oldest, *newest;
    struct prefixindex_folder *folders;
};

void prefixindex_deinit(struct prefixindex *x); /* a zeroed struct is an empty index */

struct prefixindex_file *prefixindex_find(const struct prefixindex *x, const struct prefixname *name);
/* As the newest. A name that is there already takes the new length. ERR_NOMEM, without a message. */
ERR_MUST_USE err prefixindex_add(struct prefixindex *x, struct prefixindex_folder *folder,
                                 const struct prefixname *name, size_t bytes, int64_t used);
/* Becomes the newest. */
void prefixindex_use(struct prefixindex *x, struct prefixindex_file *f, int64_t used);
void prefixindex_remove(struct prefixindex *x, struct prefixindex_file *f);

struct prefixindex_folder *prefixindex_find_folder(const struct prefixindex *x, const struct prefixname *name);
/* One that is not there yet. NULL: out of memory. */
struct prefixindex_folder *prefixindex_add_folder(struct prefixindex *x, const struct prefixname *name,
                                                  const uint8_t salt[PREFIXINDEX_SALT]);
/* One without files. */
void prefixindex_remove_folder(struct prefixindex *x, struct prefixindex_folder *folder);

/* Orders all files by their last use. ERR_NOMEM, without a message. */
ERR_MUST_USE err prefixindex_sort(struct prefixindex *x);

#endif

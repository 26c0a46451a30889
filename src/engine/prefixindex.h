/* engine/prefixindex.h: which pages are on disk, for prefixdisk.c: found by name, and in the order of their
 * last use. Thread rule: one thread at a time. */
#ifndef ENGINE_PREFIXINDEX_H
#define ENGINE_PREFIXINDEX_H

#include "engine/prefixname.h"

struct prefixindex_file {
    struct prefixindex_file *next;          /* in the bucket */
    struct prefixindex_file *older, *newer; /* by last use */
    struct prefixname folder, name;
    size_t bytes;
    int64_t time; /* of the last use, when the index is made */
};

struct prefixindex {
    struct prefixindex_file **buckets;
    size_t n_buckets, n_files, bytes;
    struct prefixindex_file *oldest, *newest;
};

void prefixindex_deinit(struct prefixindex *x); /* a zeroed struct is an empty index */

struct prefixindex_file *prefixindex_find(const struct prefixindex *x, const struct prefixname *name);
/* As the newest. A name that is there already takes the new length. ERR_NOMEM, without a message. */
ERR_MUST_USE err prefixindex_add(struct prefixindex *x, const struct prefixname *folder,
                                 const struct prefixname *name, size_t bytes, int64_t time);
void prefixindex_use(struct prefixindex *x, struct prefixindex_file *f); /* becomes the newest */
void prefixindex_remove(struct prefixindex *x, struct prefixindex_file *f);
/* Orders all files by their times. ERR_NOMEM, without a message. */
ERR_MUST_USE err prefixindex_sort(struct prefixindex *x);

#endif

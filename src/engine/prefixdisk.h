/* engine/prefixdisk.h: pages of keys and values on disk: what fell out of memory, found again later, also by
 * another process. A file for each page in a folder for each drawer (batcher.h); of what is longest unused as
 * much is removed as the cap wants. Nothing is trusted: a file that is damaged, cut, or not what its name says
 * is removed and counts as not there. What is said on disk of a text is its length in pages.
 *
 *     <folder>/<drawer, hashed>/<prefixname>: magic, length, sealed(sum of name and rows, rows)
 *     <folder>/<drawer, hashed>/.salt: random bytes, without which nothing in the folder can be opened
 *
 * A salt is overwritten before it is removed, since removed files stay in blocks of the disk.
 *
 * No page is waited for until the disk has it: one that the power took is damaged.
 *
 * Writing happens in a thread of its own; what comes faster than the disk takes it is left out.
 * Thread rule: one thread at a time, but for prefixdisk_forget and _forget_unused, which may be called from any
 * beside it and keep it waiting for nothing; the codec's `seal` is called from the writing thread. */
#ifndef ENGINE_PREFIXDISK_H
#define ENGINE_PREFIXDISK_H

#include "engine/prefixindex.h"

/* Encryption with authentication, or whatever its owner makes of it. All NULL: pages are stored as they are
 * (and still checked). */
struct prefixdisk_codec {
    size_t overhead; /* bytes that sealing adds */
    /* out: [n + overhead]. What depends on the salt cannot be opened without it. */
    void (*seal)(void *user, const uint8_t salt[PREFIXINDEX_SALT], const uint8_t *plain, size_t n,
                 uint8_t *out);
    /* out: [n - overhead]; false: not what `seal` made. */
    bool (*open)(void *user, const uint8_t salt[PREFIXINDEX_SALT], const uint8_t *sealed, size_t n,
                 uint8_t *out);
    void *user;
};

struct prefixdisk_options {
    const char *folder;            /* made when it is not there; one process at a time */
    size_t bytes;                  /* of all files */
    uint8_t key[PREFIXNAME_BYTES]; /* secret: names are made with it */
    struct prefixdisk_codec codec;
};

struct prefixdisk;

/* `options` is copied (the codec's user borrowed); `root`: of the names; page_bytes: rows of a page. ERR_IO
 * naming the folder, also when another process has it; ERR_NOMEM; ERR_LIMIT for too long a path. */
ERR_MUST_USE err prefixdisk_open(const struct prefixdisk_options *options, const struct prefixname *root,
                                 size_t page_bytes, struct prefixdisk **out, struct errinfo *info);
/* Once what was given to write is written. NULL is fine. */
void prefixdisk_close(struct prefixdisk *d);

bool prefixdisk_has(struct prefixdisk *d, const struct prefixname *name);
/* The rows of a page [page_bytes]; false: it is not there (any more), and `rows` may hold anything. */
bool prefixdisk_read(struct prefixdisk *d, const struct prefixname *name, char *rows);
/* Takes a copy to be written, unless it is there already, or too much waits: then `wait` waits. `used`: when it
 * was used last, in nanoseconds since 1970. */
void prefixdisk_write(struct prefixdisk *d, uint64_t drawer, const struct prefixname *name, const char *rows,
                      int64_t used, bool wait);

/* Removes all of a drawer, whatever model or engine it was of. ERR_IO: something could not be removed. */
ERR_MUST_USE err prefixdisk_forget(struct prefixdisk *d, uint64_t drawer, struct errinfo *info);
/* Removes what nobody used since `before`, in nanoseconds since 1970. */
void prefixdisk_forget_unused(struct prefixdisk *d, int64_t before);

size_t prefixdisk_holds(const struct prefixdisk *d); /* so many pages, at most */
size_t prefixdisk_bytes(struct prefixdisk *d);       /* of all files */

/* Removes the pages of all drawers in a folder that nobody has open; nothing when there is no such folder.
 * ERR_IO, also when a process has it. ERR_NOMEM. */
ERR_MUST_USE err prefixdisk_erase(const char *folder, struct errinfo *info);

#endif

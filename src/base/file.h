/* base/file.h: files as Fathom needs them: whole files mapped read-only, small files read, and new
 * files that either appear complete or not at all (tmp → fsync → rename → fsync of the folder).
 * All system calls that move data go through one hook (file_fault) so that tests can fail the k-th. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A file mapped read-only. `data` is NULL for an empty file. */
struct file_map {
    const uint8_t *data;
    size_t size;
};

ERR_MUST_USE err file_map_open(const char *path, struct file_map *out, struct errinfo *info);
void file_map_close(struct file_map *m); /* a zeroed struct is fine */

/* Reads a whole file of at most `cap` bytes; *data is owned by the caller (mem_free) and has a NUL
 * after its *size bytes. */
ERR_MUST_USE err file_read(const char *path, size_t cap, char **data, size_t *size,
                           struct errinfo *info);

bool file_exists(const char *path);
bool file_is_dir(const char *path);

/* mkdir -p. */
ERR_MUST_USE err file_make_dirs(const char *path, struct errinfo *info);

/* "dir/name", owned by the caller; NULL when memory is short. */
char *file_join(const char *dir, const char *name) __attribute__((warn_unused_result));

/* A file being written. Bytes go to "<path>.tmp-<pid>"; only file_writer_commit makes `path`
 * appear (or replaces it). Closing without commit removes the temporary file. */
struct file_writer;
ERR_MUST_USE err file_writer_open(const char *path, struct file_writer **out, struct errinfo *info);
ERR_MUST_USE err file_writer_write(struct file_writer *w, const void *data, size_t n,
                                   struct errinfo *info);
/* The same for downloads that continue: bytes go to "<path>.part", which is kept when the writer is
 * closed without commit and found again by the next file_writer_resume: writing goes on after the
 * bytes that are there (file_writer_offset). One writer at a time: ERR_IO while another has it. */
ERR_MUST_USE err file_writer_resume(const char *path, struct file_writer **out,
                                    struct errinfo *info);
/* Forgets everything written so far. */
ERR_MUST_USE err file_writer_rewind(struct file_writer *w, struct errinfo *info);
size_t file_writer_offset(const struct file_writer *w);
ERR_MUST_USE err file_writer_commit(struct file_writer *w, struct errinfo *info);
/* The same without waiting for the disk: for what is checked when it is read and may be lost, since when the
 * machine's power goes the file may be there with other bytes. */
ERR_MUST_USE err file_writer_place(struct file_writer *w, struct errinfo *info);
void file_writer_close(struct file_writer *w); /* NULL is fine */

/* All of a file, by such a writer. */
ERR_MUST_USE err file_write(const char *path, const void *data, size_t n, struct errinfo *info);
/* The same for secrets: nobody else may read the file (mode 0600), and no copy stays in memory. */
ERR_MUST_USE err file_write_private(const char *path, const void *data, size_t n, struct errinfo *info);

/* The folder is this process's alone among those that ask: *lock until file_unlock, or the process's end.
 * ERR_IO while another has it. */
ERR_MUST_USE err file_lock_folder(const char *dir, int *lock, struct errinfo *info);
void file_unlock(int lock); /* below 0: nothing */

/* What a folder holds reaches the disk: the names, not what is in the files. */
ERR_MUST_USE err file_sync_folder(const char *dir, struct errinfo *info);
ERR_MUST_USE err file_sync_parent(const char *path, struct errinfo *info); /* the folder `path` is in */

/* Tests only: the k-th write, fsync or rename from now fails with `error_number` (ENOSPC …);
 * 0 switches it off. */
void file_fault(size_t k, int error_number);
/* Asked before each such call: true, with errno set, when it is the one that must fail. */
bool file_refused(void);

#endif

/* base/folder.h: folders as wholes: listed, emptied, and put in place so that nobody ever sees half
 * of one. Writing calls go through the hook of file.h (file_fault). */
#ifndef BASE_FOLDER_H
#define BASE_FOLDER_H

#include <stddef.h>

#include "base/err.h"

struct folder_names {
    char **names; /* owned, in the order of their bytes, without "." and ".." */
    size_t n;
};

/* ERR_NOTFOUND when there is no such folder. Release with folder_names_deinit. */
ERR_MUST_USE err folder_list(const char *path, struct folder_names *out, struct errinfo *info);
void folder_names_deinit(struct folder_names *l); /* a zeroed struct is fine */

/* Removes a folder with the files in it, or nothing when there is none. A folder inside it is
 * somebody else's: ERR_IO, and it stays. Allocates nothing, so that it also cleans up when memory
 * is short. */
ERR_MUST_USE err folder_remove(const char *path, struct errinfo *info);

/* `made`, whose files are written and synced, becomes `path`, beside it, in one step, and is on the
 * disk when this returns; a folder that was there is swapped out and removed. Where a file system
 * cannot swap (some network ones), a folder that was there is away for a moment. On error `made`
 * may still be there. */
ERR_MUST_USE err folder_publish(const char *made, const char *path, struct errinfo *info);

#endif

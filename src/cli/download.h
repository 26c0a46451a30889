/* cli/download.h: one file from the network to the disk, over libcurl, so that it is either complete
 * and checked under its name or not there.
 *
 * Bytes go to PATH.part (with the server's version tag in PATH.part-tag); a later call continues there
 * with a Range request guarded by If-Range. The file gets its name only after size and SHA-256 agree.
 * Addresses: https with certificate checks; plain http only to this machine itself (loopback). Every
 * redirect is checked by the same rule and there are at most DOWNLOAD_REDIRECTS of them.
 * Needs curl_global_init (main.c). One thread at a time. */
#ifndef CLI_DOWNLOAD_H
#define CLI_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/progress.h"

enum { DOWNLOAD_REDIRECTS = 5, DOWNLOAD_URL_MAX = 4096 };

struct download {
    const char *url;
    const char *path;
    const char *sha256; /* expected, lower-case hex; NULL when unknown: the server's is used if it says */
    uint64_t size;      /* expected; 0 when unknown */
    unsigned retries;   /* after a transient failure, counted anew whenever bytes arrived */
    double retry_seconds; /* the first wait; doubled each time up to 30 s */
    bool (*cancelled)(void); /* polled; NULL for never */
    struct progress *progress; /* may be NULL; gets progress_base + bytes of this file */
    uint64_t progress_base;
};

struct download_result {
    char sha256[65];
    uint64_t size;
    uint64_t resumed; /* bytes that were there before */
};

/* ERR_ARGUMENT: a forbidden address. ERR_NOTFOUND: 404. ERR_CORRUPT: wrong size or hash (the bytes are
 * thrown away). ERR_LIMIT: not enough disk space, with both numbers. ERR_CANCELLED: the part is kept.
 * ERR_IO: anything else the network or the disk did; the part is kept. */
ERR_MUST_USE err download_file(const struct download *d, struct download_result *out,
                               struct errinfo *info);

/* A small document (`cap` bytes at most) into memory; *data owned, NUL-terminated. */
ERR_MUST_USE err download_text(const char *url, size_t cap, char **data, size_t *size,
                               struct errinfo *info);

/* What the server says about a file without sending it. Unknown parts are 0 and "". */
struct download_about {
    uint64_t size;
    char sha256[65];
};
ERR_MUST_USE err download_ask(const char *url, struct download_about *out, struct errinfo *info);

/* May this address be fetched? (The rule above; ERR_ARGUMENT says why not.) */
ERR_MUST_USE err download_check_url(const char *url, struct errinfo *info);

/* SHA-256 of a file, lower-case hex. */
ERR_MUST_USE err download_hash_file(const char *path, char hex[65], struct errinfo *info);

/* ERR_LIMIT with both numbers when the disk of `path` (a file or folder to be; its nearest existing
 * parent is asked) has less than `need` bytes and a small reserve free. */
ERR_MUST_USE err download_check_space(const char *path, uint64_t need, struct errinfo *info);

#endif

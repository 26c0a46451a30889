/* cli/request.h: one HTTP GET or HEAD over libcurl with its redirects, for download.c. */
#ifndef CLI_REQUEST_H
#define CLI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { REQUEST_TAG_MAX = 256 };

/* What the answer's head said; of the last answer, except the linked_ fields, which hubs send with the
 * redirect. */
struct request_head {
    long status;
    int64_t length;        /* Content-Length, -1 when absent */
    bool has_range;        /* a well-formed Content-Range: bytes first-last/total */
    uint64_t range_first, range_total;
    char tag[REQUEST_TAG_MAX]; /* strong ETag with its quotes, or Last-Modified; "" */
    char linked_sha256[65];    /* X-Linked-ETag when it is a SHA-256; "" */
    uint64_t linked_size;      /* X-Linked-Size, 0 when absent */
    bool encoded;              /* the body is compressed */
};

struct request {
    const char *url;
    bool head_only;
    uint64_t from;   /* > 0: Range: bytes=from- */
    const char *tag; /* If-Range with it; NULL or "" for none */
    /* Called once before the first byte of the final answer's body, and before returning when there is
     * no body; then body for every piece. An error stops the request and is returned. */
    err (*head)(void *user, const struct request_head *head, struct errinfo *info);
    err (*body)(void *user, const char *data, size_t n, struct errinfo *info);
    void *user;
    bool (*cancelled)(void);
};

/* Runs it. *transient is true when the same request may work later. HTTP statuses are not errors here:
 * `head` decides. */
ERR_MUST_USE err request_run(const struct request *r, bool *transient, struct errinfo *info);

#endif

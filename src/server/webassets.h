/* The files of the page, which the program carries inside itself: web/assets.list names them, the build packs
 * them. Constant data: any thread may read it. */
#ifndef FATHOM_SERVER_WEBASSETS_H
#define FATHOM_SERVER_WEBASSETS_H

#include <stddef.h>

struct webasset {
    const char *path;            /* as a browser asks for it: "/", "/js/main.js" */
    const char *type;            /* value of Content-Type */
    const char *etag;            /* value of ETag, with its quotation marks; changes with the bytes */
    const unsigned char *bytes;
    size_t size;
    const unsigned char *packed; /* the same, compressed by gzip; NULL where that gains nothing */
    size_t packed_size;
};

/* Every file, in no order that matters. */
extern const struct webasset webassets_table[];
extern const size_t webassets_table_size;

/* The file at `path` (without a query), or NULL. */
const struct webasset *webassets_find(const char *path);

#endif

/* cli/catalogue.h: the models that can be fetched by name. The text is models/catalogue.txt, carried
 * inside the program. */
#ifndef CLI_CATALOGUE_H
#define CLI_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/chat.h"

enum { CATALOGUE_MAX = 256 };

struct catalogue_entry { /* strings are owned by the catalogue */
    const char *name;
    const char *source;
    uint64_t bytes;
    bool estimated; /* bytes are computed, not read from the source */
    const char *licence;
    enum chat_format format; /* what it can do with tools and thinking: text/chat.h */
    const char *note;
};

struct catalogue {
    char *text;
    struct catalogue_entry entries[CATALOGUE_MAX];
    size_t n;
};

/* Parses `text`: ERR_CORRUPT names the line that is wrong. */
ERR_MUST_USE err catalogue_parse(const char *text, size_t n, struct catalogue *out,
                                 struct errinfo *info);
/* The built-in one; *out is owned by the caller. */
ERR_MUST_USE err catalogue_open(struct catalogue **out, struct errinfo *info);
void catalogue_close(struct catalogue *c); /* NULL is fine */
void catalogue_deinit(struct catalogue *c);

/* NULL when the name is not in it. */
const struct catalogue_entry *catalogue_find(const struct catalogue *c, const char *name);

#endif

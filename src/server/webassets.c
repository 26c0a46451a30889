/* Finds the page's files by path. The table itself is made by the build (tools/embed_web.sh). */
#include "server/webassets.h"

#include <string.h>

const struct webasset *webassets_find(const char *path)
{
    for (size_t i = 0; i < webassets_table_size; i++) {
        if (strcmp(webassets_table[i].path, path) == 0) {
            return &webassets_table[i];
        }
    }
    return NULL;
}

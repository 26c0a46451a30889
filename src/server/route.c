/* server/route.c: see route.h. */
#include "server/route.h"

#include <stdio.h>
#include <string.h>

/* Is `path` one of the pattern's? Parts under stars go to m. */
static bool route_is(const char *pattern, const char *path, struct route_match *m)
{
    size_t n_parts = 0;
    while (*pattern && *path) {
        if (*pattern != '*') {
            if (*pattern++ != *path++) {
                return false;
            }
            continue;
        }
        size_t n = strcspn(path, "/");
        if (n == 0 || n >= ROUTE_PART_MAX || n_parts == ROUTE_PARTS) {
            return false;
        }
        memcpy(m->parts[n_parts], path, n);
        m->parts[n_parts++][n] = '\0';
        path += n;
        pattern++;
    }
    return *pattern == *path;
}

static const char *route_below(const char *path, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(path, prefix, n) == 0 && path[n] == '/' ? path + n : NULL;
}

static bool route_row_is(const struct route_row *row, const char *path, struct route_match *m)
{
    const char *rest;
    m->row = row;
    m->beta = false;
    if (route_is(row->path, path, m)) {
        return true;
    }
    if (row->api && (rest = route_below(path, "/v1")) && route_is(row->path, rest, m)) {
        return true;
    }
    if (row->api && (rest = route_below(path, "/beta"))) {
        m->beta = true;
        const char *one = route_below(rest, "/v1");
        return route_is(row->path, one ? one : rest, m);
    }
    if (row->anthropic && (rest = route_below(path, "/anthropic"))) {
        const char *one = route_below(rest, "/v1");
        return route_is(row->path, one ? one : rest, m);
    }
    return false;
}

/* The longest path of the API that `path` ends in: its client's base URL has too much. NULL: none. */
static const char *route_meant(const struct route_table *const *tables, size_t n_tables, const char *path)
{
    const char *meant = NULL;
    for (size_t t = 0; t < n_tables; t++) {
        for (size_t i = 0; i < tables[t]->n; i++) {
            const struct route_row *row = &tables[t]->rows[i];
            size_t n = strlen(path), tail = strlen(row->path);
            if (row->api && n > tail && strcmp(path + n - tail, row->path) == 0 &&
                (!meant || tail > strlen(meant))) {
                meant = row->path;
            }
        }
    }
    return meant;
}

bool route_find(const struct route_table *const *tables, size_t n_tables, const char *method,
                const char *path, struct route_match *out, char allowed[64], struct apierror *e)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    allowed[0] = '\0';
    for (size_t t = 0; t < n_tables; t++) {
        for (size_t i = 0; i < tables[t]->n; i++) {
            const struct route_row *row = &tables[t]->rows[i];
            if (!route_row_is(row, path, out)) {
                continue;
            }
            if (strcmp(row->method, wanted) == 0) {
                return true;
            }
            size_t n = strlen(allowed);
            snprintf(allowed + n, 64 - n, "%s%s", n ? ", " : "", row->method);
        }
    }
    if (allowed[0]) {
        return apierror_set(e, 405, "method_not_allowed", NULL, "%.60s takes %s, not %.20s", path,
                            allowed, method);
    }
    const char *meant = route_meant(tables, n_tables, path);
    return meant ? apierror_set(e, 404, "not_found", NULL,
                                "there is nothing at %.100s, but at /v1%s: the client adds a part of "
                                "the path itself; leave that out of its base URL",
                                path, meant)
                 : apierror_set(e, 404, "not_found", NULL, "there is nothing at %.100s", path);
}

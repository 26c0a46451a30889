/* tests/base/procself.h: what the system says of the test's own process. */
#ifndef TESTS_PROCSELF_H
#define TESTS_PROCSELF_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number behind "name:" in /proc/self/`file`: "status", "io" … */
static inline size_t procself_number(const char *file, const char *name)
{
    char path[64], line[256];
    size_t n = 0, len = strlen(name);
    snprintf(path, sizeof path, "/proc/self/%s", file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        n = strncmp(line, name, len) == 0 && line[len] == ':' ? strtoul(line + len + 1, NULL, 10) : n;
    }
    fclose(f);
    return n;
}

#endif

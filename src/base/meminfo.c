/* base/meminfo.c: see meminfo.h. Formats: proc(5), the kernel's cgroup-v2.rst and memcg_test.rst. */
#include "base/meminfo.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The two generations of control groups: where they are mounted, how their files are called. */
struct meminfo_cgroup {
    const char *mount, *max, *current, *inactive, *active;
};

static const struct meminfo_cgroup meminfo_v2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                                 "inactive_file", "active_file"};
static const struct meminfo_cgroup meminfo_v1 = {
    "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
    "total_inactive_file", "total_active_file"};

/* The number after `key` at the start of a line of a small text file (key "" = the first line). */
static bool meminfo_number(const char *path, const char *key, uint64_t *out)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        return false;
    }
    char line[256];
    size_t n = strlen(key);
    bool found = false;
    while (!found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n) == 0 && (n == 0 || line[n] == ' ' || line[n] == ':')) {
            char *end;
            const char *digits = line + n + (n > 0);
            unsigned long long v = strtoull(digits, &end, 10);
            found = end != digits;
            *out = v;
        }
    }
    fclose(f);
    return found;
}

/* Room left in one group; UINT64_MAX when it sets no limit ("max" is not a number). */
static uint64_t meminfo_group_room(const struct meminfo_cgroup *g, const char *dir)
{
    char path[PATH_MAX + 64];
    uint64_t max, current, part, cached = 0;
    snprintf(path, sizeof path, "%s/%s", dir, g->max);
    if (!meminfo_number(path, "", &max)) {
        return UINT64_MAX;
    }
    snprintf(path, sizeof path, "%s/%s", dir, g->current);
    if (!meminfo_number(path, "", &current)) {
        return UINT64_MAX;
    }
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    if (meminfo_number(path, g->inactive, &part)) {
        cached += part;
    }
    if (meminfo_number(path, g->active, &part)) {
        cached += part;
    }
    uint64_t used = current > cached ? current - cached : 0;
    return max > used ? max - used : 0;
}

/* The smallest room from the group at `path` up to the mount point. */
static uint64_t meminfo_cgroup_room(const struct meminfo_cgroup *g, const char *root,
                                    const char *path)
{
    char dir[PATH_MAX];
    int base = snprintf(dir, sizeof dir, "%s%s", root, g->mount);
    if (strstr(path, "..")) { /* outside of our namespace: only the mount point is visible */
        path = "";
    }
    int n = snprintf(dir, sizeof dir, "%s%s%s", root, g->mount, path);
    if (n < 0 || (size_t)n >= sizeof dir) {
        return UINT64_MAX;
    }
    uint64_t least = UINT64_MAX;
    for (;;) {
        uint64_t room = meminfo_group_room(g, dir);
        least = room < least ? room : least;
        char *slash = strrchr(dir + base, '/');
        if (!slash) {
            return least;
        }
        *slash = '\0';
    }
}

size_t meminfo_available_under(const char *root)
{
    uint64_t least = UINT64_MAX, kib;
    char line[PATH_MAX], path[PATH_MAX];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (meminfo_number(path, "MemAvailable", &kib) && kib < UINT64_MAX / 1024) {
        least = kib * 1024;
    }
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) {
            continue;
        }
        uint64_t room = UINT64_MAX;
        if (strncmp(line, "0::", 3) == 0) {
            room = meminfo_cgroup_room(&meminfo_v2, root, group + 1);
        } else if (strstr(controllers, "memory")) {
            room = meminfo_cgroup_room(&meminfo_v1, root, group + 1);
        }
        least = room < least ? room : least;
    }
    if (f) {
        fclose(f);
    }
    return least > SIZE_MAX ? SIZE_MAX : (size_t)least;
}

size_t meminfo_available(void)
{
    return meminfo_available_under("");
}

const char *meminfo_text(size_t bytes, char out[MEMINFO_TEXT])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(out, MEMINFO_TEXT, "%zu bytes", bytes);
        return out;
    }
    double v = (double)bytes / 1024;
    size_t u = 0;
    while (v >= 1023.5 && u + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        u++;
    }
    snprintf(out, MEMINFO_TEXT, v < 10 ? "%.2f %s" : v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
    return out;
}

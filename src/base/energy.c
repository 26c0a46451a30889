/* base/energy.c: see energy.h. */
#include "base/energy.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool energy_number(const char *path, uint64_t *out)
{
    FILE *f = fopen(path, "r");
    bool read = f && fscanf(f, "%" SCNu64, out) == 1;
    if (f) {
        fclose(f);
    }
    return read;
}

/* "package-0", or "dram" anywhere. */
static bool energy_counts(const char *root, const char *zone)
{
    char path[ENERGY_PATH], name[32] = "";
    snprintf(path, sizeof path, "%s/%.31s/name", root, zone);
    FILE *f = fopen(path, "r");
    bool read = f && fscanf(f, "%31s", name) == 1;
    if (f) {
        fclose(f);
    }
    return read && (strncmp(name, "package-", 8) == 0 || strcmp(name, "dram") == 0);
}

static void energy_add(struct energy *e, const char *root, const char *zone)
{
    struct energy_zone z;
    char range[ENERGY_PATH];
    snprintf(z.path, sizeof z.path, "%s/%.31s/energy_uj", root, zone);
    snprintf(range, sizeof range, "%s/%.31s/max_energy_range_uj", root, zone);
    if (e->n < ENERGY_ZONES_MAX && energy_number(z.path, &z.last) && energy_number(range, &z.range)) {
        e->zones[e->n++] = z;
    }
}

void energy_begin(struct energy *e, const char *root)
{
    *e = (struct energy){.n = 0};
    DIR *d = opendir(root);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (strncmp(entry->d_name, "intel-rapl:", 11) == 0 && strlen(entry->d_name) < 32 &&
            energy_counts(root, entry->d_name)) {
            energy_add(e, root, entry->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
}

double energy_joules(struct energy *e)
{
    for (size_t i = 0; i < e->n; i++) {
        struct energy_zone *z = &e->zones[i];
        uint64_t now;
        if (!energy_number(z->path, &now)) {
            return NAN;
        }
        e->joules += 1e-6 * (double)(now >= z->last ? now - z->last : now + (z->range - z->last));
        z->last = now;
    }
    return e->n ? e->joules : NAN;
}

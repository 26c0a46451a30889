/* base/energy.h: the energy that this machine's processors took, as the kernel counts it: Linux's powercap
 * zones "intel-rapl:N" (Intel and AMD; Documentation/power/powercap/powercap.rst), whole packages, which hold
 * their cores and caches, and memory where it is a zone of its own ("dram"). Everything that runs counts, not
 * this program alone. Often only root may read them, and virtual machines have none: then it is not known. */
#ifndef BASE_ENERGY_H
#define BASE_ENERGY_H

#include <stddef.h>
#include <stdint.h>

#define ENERGY_ROOT "/sys/class/powercap"
enum { ENERGY_ZONES_MAX = 32, ENERGY_PATH = 192 };

struct energy_zone {
    char path[ENERGY_PATH]; /* of its counter */
    uint64_t last, range;   /* microjoules; the counter begins again at 0 after `range` */
};

struct energy {
    struct energy_zone zones[ENERGY_ZONES_MAX];
    size_t n; /* 0: not known */
    double joules;
};

/* Counts from now on. `root`: ENERGY_ROOT, tests have their own. */
void energy_begin(struct energy *e, const char *root);
/* Joules since then; NAN when not known. To be asked more often than counters begin again (minutes). */
double energy_joules(struct energy *e);

#endif

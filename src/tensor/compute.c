/* tensor/compute.c: see compute.h. */
#include "tensor/compute.h"

#include <stdlib.h>

#include "base/mem.h"
#include "tensor/ops.h"

/* OpenMP's threads wait for each other in a busy loop first, then asleep. libgomp's own default keeps
 * them busy for 300,000 pauses, some 17 ms on current processors, at every barrier: a machine that also
 * does something else then slows down tenfold and more (docs/measurements.md), and an idle one burns a
 * core after each token. 1,000 pauses (about 60 us) cover the gap between two ops. The libraries read
 * their settings once: libgomp, linked statically, in a constructor of default priority, libomp at the
 * first parallel region; this one runs before both. What the environment says already is left alone. */
__attribute__((constructor(101))) static void compute_wait_policy(void)
{
    setenv("GOMP_SPINCOUNT", "1000", 0);
    setenv("KMP_BLOCKTIME", "0", 0);
}

err compute_new(enum cpuinfo_level level, int n_threads, bool deterministic, struct compute **out,
                struct errinfo *info)
{
    const struct ops_table *ops = ops_for_level(level);
    if (!ops) {
        return err_set(info, ERR_UNSUPPORTED, "this build has no kernels for CPU level %s",
                       cpuinfo_level_name(level));
    }
    if (level > cpuinfo_best()) { /* asking also obtains the kernel's leave to use AMX tiles */
        return err_set(info, ERR_UNSUPPORTED, "this machine has no %s; its best level is %s",
                       cpuinfo_level_name(level), cpuinfo_level_name(cpuinfo_best()));
    }
    if (n_threads < 0 || n_threads > 1024) {
        return err_set(info, ERR_ARGUMENT, "%d threads asked for; use 1 to 1024, or 0 for all cores",
                       n_threads);
    }
    struct compute *c = mem_calloc(1, sizeof *c);
    if (!c) {
        return err_set(info, ERR_NOMEM, "out of memory for the compute context");
    }
    c->ops = ops;
    c->level = level;
    c->n_threads = n_threads ? n_threads : cpuinfo_cores();
    c->deterministic = deterministic;
    *out = c;
    return ERR_OK;
}

void compute_free(struct compute *c)
{
    if (c) {
        mem_free_aligned(c->scratch);
        mem_free(c);
    }
}

void *compute_scratch(struct compute *c, size_t n)
{
    if (n > c->scratch_size) {
        void *p = mem_alloc_aligned(n);
        if (!p) {
            return NULL;
        }
        mem_free_aligned(c->scratch);
        c->scratch = p;
        c->scratch_size = n;
    }
    return c->scratch;
}

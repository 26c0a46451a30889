/* tensor/compute.c: see compute.h. */
#include "tensor/compute.h"

#include "base/mem.h"
#include "tensor/ops.h"

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

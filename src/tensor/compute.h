/* tensor/compute.h: where ops run: a backend (CPU at one level), its threads and its scratch memory.
 * One compute belongs to one thread at a time; the ops inside it use all of its threads. */
#ifndef TENSOR_COMPUTE_H
#define TENSOR_COMPUTE_H

#include <stddef.h>

#include "base/cpuinfo.h"
#include "base/err.h"

struct ops_table;

struct compute {
    const struct ops_table *ops;
    enum cpuinfo_level level;
    int n_threads;
    bool deterministic; /* kernels by weight type only: results do not depend on the number of rows,
                           threads or chunks (design §4); the fast mode may choose by shape */
    void *scratch;      /* grown by compute_scratch, reused by every op */
    size_t scratch_size;
};

/* n_threads 0 = every core this process may use. Free with compute_free. */
ERR_MUST_USE err compute_new(enum cpuinfo_level level, int n_threads, bool deterministic,
                             struct compute **out, struct errinfo *info);
void compute_free(struct compute *c); /* NULL is fine */

/* At least n bytes, 64-byte aligned, contents undefined, valid until the next call on this compute.
 * NULL when memory is short. For the inside of ops. */
void *compute_scratch(struct compute *c, size_t n);

#endif

/* tests/fault/faultsweep.h: fails the k-th allocation of a piece of work, for every k until the work no
 * longer makes that many. Whatever k: the work ends with ERR_NOMEM and a message, and nothing of it stays
 * allocated. Test programs only. */
#ifndef TESTS_FAULTSWEEP_H
#define TESTS_FAULTSWEEP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"

struct faultsweep {
    const char *name;
    /* Does the work and gives back all it took, whether it failed or not. */
    err (*work)(struct errinfo *info);
    size_t least;        /* allocations it makes at least: proof that the work was reached */
    size_t stride;       /* above 1: of the allocations between the first and the last 64, every
                            stride-th fails, for works that make thousands alike */
};

/* Once with allocation k refused; `later`: and every one after it. True when there was no k-th. */
static inline bool faultsweep_once(const struct faultsweep *s, size_t k, bool later)
{
    struct errinfo info = {0};
    size_t alive = mem_alive();
    mem_fault(k, later);
    err e = s->work(&info);
    size_t attempts = mem_attempts();
    mem_fault(0, 0);
    if (mem_alive() != alive) {
        fail_msg("%s: allocation %zu refused: %zd left behind", s->name, k,
                 (ssize_t)(mem_alive() - alive));
    }
    if (attempts < k) {
        if (e != ERR_OK) {
            fail_msg("%s: nothing refused, yet %s: %s", s->name, err_name(e), info.message);
        }
        return true;
    }
    if (e != ERR_NOMEM || info.message[0] == '\0') {
        fail_msg("%s: allocation %zu of %zu refused gave %s: \"%s\"", s->name, k, attempts, err_name(e),
                 info.message);
    }
    return false;
}

static inline void faultsweep_run(const struct faultsweep *s)
{
    struct errinfo info = {0};
    mem_fault(0, 0);
    if (s->work(&info) != ERR_OK) {
        fail_msg("%s: nothing refused, yet %s: %s", s->name, err_name(info.code), info.message);
    }
    size_t n = mem_attempts();
    if (n < s->least) {
        fail_msg("%s made only %zu allocations", s->name, n);
    }
    for (int later = 0; later < 2; later++) {
        for (size_t k = 1; !faultsweep_once(s, k, later);) {
            k += s->stride > 1 && k >= 64 && k + 64 < n ? s->stride : 1;
        }
    }
}

static inline void faultsweep_test(void **state)
{
    faultsweep_run(*state);
}

/* One cmocka test for each. */
static inline void faultsweep_tests(const struct faultsweep *sweeps, size_t n, struct CMUnitTest *tests)
{
    for (size_t i = 0; i < n; i++) {
        tests[i] = (struct CMUnitTest){.name = sweeps[i].name,
                                       .test_func = faultsweep_test,
                                       .initial_state = (void *)(uintptr_t)&sweeps[i]};
    }
}

#endif

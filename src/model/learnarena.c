/* model/learnarena.c: see learnarena.h. */
#include "model/learnarena.h"

#include "base/checked.h"
#include "base/mem.h"

enum { LEARNARENA_ALIGN = 64 };

err learnarena_init(struct learnarena *a, size_t size, struct errinfo *info)
{
    *a = (struct learnarena){.memory = mem_alloc_aligned(size), .size = size};
    return a->memory ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory: %zu MB for activations", size >> 20);
}

void learnarena_init_counting(struct learnarena *a)
{
    *a = (struct learnarena){.size = SIZE_MAX};
}

void learnarena_deinit(struct learnarena *a)
{
    mem_free_aligned(a->memory);
    *a = (struct learnarena){0};
}

void *learnarena_bytes(struct learnarena *a, size_t n)
{
    size_t aligned, end;
    if (!checked_align(n, LEARNARENA_ALIGN, &aligned) || !checked_add(a->used, aligned, &end) ||
        end > a->size) {
        a->failed = true;
        return NULL;
    }
    char *at = a->memory ? a->memory + a->used : NULL;
    a->used = end;
    a->most = end > a->most ? end : a->most;
    return at;
}

struct mat learnarena_mat(struct learnarena *a, enum mat_type type, size_t rows, size_t cols)
{
    size_t n;
    if (!checked_mul(rows, cols, &n) || !checked_mul(n, mat_type_bytes(type), &n)) {
        a->failed = true;
        n = 0;
    }
    return mat_of(learnarena_bytes(a, n), type, rows, cols);
}

size_t learnarena_mark(const struct learnarena *a)
{
    return a->used;
}

void learnarena_release(struct learnarena *a, size_t mark)
{
    a->used = mark;
}

/* base/mem.c: see mem.h. The counters are the only mutable globals in the program besides the log
 * sink; they are atomic and used by tests alone. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"

enum { MEM_ALIGN = 64, MEM_HUGE_ALIGN = 2 << 20, MEM_HUGE_MIN = 4 << 20 };

static atomic_size_t mem_count_alive;
static atomic_size_t mem_count_attempts;
static atomic_size_t mem_fault_at;
static atomic_int mem_fault_sticky;

static int mem_refused(void)
{
    size_t attempt = atomic_fetch_add(&mem_count_attempts, 1) + 1;
    size_t at = atomic_load(&mem_fault_at);
    return at != 0 && (attempt == at || (attempt > at && atomic_load(&mem_fault_sticky)));
}

static void *mem_counted(void *p)
{
    if (p) {
        atomic_fetch_add(&mem_count_alive, 1);
    }
    return p;
}

void *mem_alloc(size_t n)
{
    return mem_refused() ? NULL : mem_counted(malloc(n ? n : 1));
}

void *mem_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (!checked_mul(n, size, &bytes) || mem_refused()) {
        return NULL;
    }
    return mem_counted(calloc(bytes ? bytes : 1, 1));
}

void *mem_resize(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (!checked_mul(n, size, &bytes) || mem_refused()) {
        return NULL;
    }
    void *q = realloc(p, bytes ? bytes : 1);
    if (!p) {
        mem_counted(q);
    }
    return q;
}

void *mem_grow(void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return p;
    }
    size_t more = *cap ? 2 * *cap : 16;
    void *q = mem_resize(p, more, size);
    *cap = q ? more : *cap;
    return q;
}

void *mem_alloc_aligned(size_t n)
{
    size_t align = n >= MEM_HUGE_MIN ? MEM_HUGE_ALIGN : MEM_ALIGN;
    size_t bytes;
    if (!checked_align(n ? n : 1, align, &bytes) || mem_refused()) {
        return NULL;
    }
    void *p = aligned_alloc(align, bytes);
    if (p && align == MEM_HUGE_ALIGN) {
        madvise(p, bytes, MADV_HUGEPAGE);
    }
    return mem_counted(p);
}

char *mem_dup(const char *s, size_t n)
{
    size_t bytes;
    if (!checked_add(n, 1, &bytes)) {
        return NULL;
    }
    char *p = mem_alloc(bytes);
    if (p) {
        memcpy(p, s, n);
        p[n] = '\0';
    }
    return p;
}

void mem_free(void *p)
{
    if (p) {
        atomic_fetch_sub(&mem_count_alive, 1);
        free(p);
    }
}

void mem_free_aligned(void *p)
{
    mem_free(p);
}

void mem_fault(size_t k, int all_later)
{
    atomic_store(&mem_count_attempts, 0);
    atomic_store(&mem_fault_at, k);
    atomic_store(&mem_fault_sticky, all_later);
}

size_t mem_alive(void)
{
    return atomic_load(&mem_count_alive);
}

size_t mem_attempts(void)
{
    return atomic_load(&mem_count_attempts);
}

/* base/mem.h: the one allocator. Everything Fathom allocates on its own behalf, and what its
 * libraries let us redirect (jansson, PCRE2), comes through here, so that a test can make the k-th
 * allocation fail and count what is still alive.
 * Thread rule: allocation is thread-safe; setting the fault is for single-threaded tests. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "base/err.h"

/* n bytes, uninitialised / zeroed. n * size is checked. NULL when refused; n == 0 gives a valid
 * pointer. Release with mem_free. */
void *mem_alloc(size_t n) __attribute__((malloc, warn_unused_result));
void *mem_calloc(size_t n, size_t size) __attribute__((malloc, warn_unused_result));

/* Array growth: like realloc with checked n * size; on NULL the old block stays valid. */
void *mem_resize(void *p, size_t n, size_t size) __attribute__((warn_unused_result));
/* An array of *cap elements, n of them in use, with room for one more: itself, or twice as large, and *cap with
 * it (16 to begin with: NULL and 0). NULL: refused, nothing changed. */
void *mem_grow(void *p, size_t n, size_t *cap, size_t size) __attribute__((warn_unused_result));

/* 64-byte aligned memory (2 MiB aligned and marked for huge pages from 4 MiB on), zeroed lazily
 * by the kernel only when large. Release with mem_free_aligned. */
void *mem_alloc_aligned(size_t n) __attribute__((malloc, warn_unused_result));

char *mem_dup(const char *s, size_t n) __attribute__((warn_unused_result)); /* adds a NUL */

void mem_free(void *p);         /* NULL is fine */
void mem_free_aligned(void *p); /* NULL is fine */

/* Tests only. The allocation number `k` from now (1 = the next one) fails, and with `all_later`
 * every one after it; k == 0 switches the fault off. */
void mem_fault(size_t k, int all_later);
/* Allocations alive at this moment; allocations attempted since the last mem_fault call. */
size_t mem_alive(void);
size_t mem_attempts(void);

#endif

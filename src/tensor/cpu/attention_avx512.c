/* tensor/cpu/attention_avx512.c: see attention.h. */
#include "tensor/cpu/vec_avx512.h"

enum {
    ATTENTION_ROWS = 64,
    ATTENTION_KEYS = 64,
    ATTENTION_TILE_KEYS = 8, /* 16 sums, 2 queries, 1 key: 19 of 32 registers */
    ATTENTION_TILE_ROWS = 8,
    ATTENTION_WORK = 1000000,
};

#include "tensor/cpu/attention_float.h"

err attention_avx512(struct compute *c, const struct attention_args *calls, size_t n_calls)
{
    return attention_run(c, calls, n_calls);
}

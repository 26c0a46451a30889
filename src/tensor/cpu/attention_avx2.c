/* tensor/cpu/attention_avx2.c: see attention.h. */
#include "tensor/cpu/vec_avx2.h"

enum {
    ATTENTION_ROWS = 64,
    ATTENTION_KEYS = 64,
    ATTENTION_TILE_KEYS = 4, /* 8 sums, 2 queries, 1 key: 11 of 16 registers */
    ATTENTION_TILE_ROWS = 4,
    ATTENTION_WORK = 500000,
};

#include "tensor/cpu/attention_float.h"

err attention_avx2(struct compute *c, const struct attention_args *calls, size_t n_calls)
{
    return attention_run(c, calls, n_calls);
}

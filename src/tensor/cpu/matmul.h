/* tensor/cpu/matmul.h: how ops_matmul runs on x86: one driver (matmul.c) that plans, prepares the
 * activations and shares the work, and per CPU level the kernels it calls.
 *
 * Two ways to multiply, by weight type and number of rows:
 *   product  16 activation rows at a time, weights unpacked to float32 or bfloat16 panels in cache.
 *            Every output is a sum over k in one fixed order, whatever the rows beside it, the
 *            threads or the other jobs: the only way used in deterministic mode. With VNNI, block types
 *            multiply as integers of 16 bits, activations quantised per run.
 *   dot      up to MATMUL_DOT_ROWS activation rows against the weights as they stream from memory;
 *            block types multiply as integers, activations quantised to 15 bits per 16 values.
 * The driver never looks at intrinsics; kernels never look at jobs. */
#ifndef TENSOR_CPU_MATMUL_H
#define TENSOR_CPU_MATMUL_H

#include "tensor/ops.h"

enum {
    MATMUL_RUN = 256,         /* weights of a row: a k-quant block, 8 small blocks */
    MATMUL_GROUP = 32,        /* k is padded to this in packed activations and panels */
    MATMUL_TILE = 16,         /* activation rows packed side by side */
    MATMUL_PANEL = 32,        /* weight rows of a product task */
    MATMUL_DOT_ROWS = 4,      /* most activation rows of a dot task */
    MATMUL_Q16_ROWS = 8,    /* most activation rows that a product of integers takes at once */
    MATMUL_Q15_MAX = 127 * 128, /* most of a quantised activation */
    MATMUL_CHUNK = 512,       /* k per unpacked float32 panel; a multiple of MATMUL_RUN */
    MATMUL_WIDTH = 4,         /* most tiles that a bfloat16 product takes at once */
    MATMUL_TILE_BYTES = 1024, /* 16 rows of 32 bfloat16 */
    MATMUL_TASK_X = 4 << 17,  /* bytes of a task's activations, about: they stay in the second cache */
};

/* MATMUL_RUN activations as integers of 15 bits in two bytes, each of which multiplies with bytes of weights:
 * x = d[i / 16] * (128 * high[i] + low[i]); s = the sums of 16 x, for weights with an offset. The tail of the
 * last run is zero. (One byte would be as fast where memory is the limit, but moves perplexity by 0.4%.)
 *
 * The rest is for Q4_K on AVX512, which unpacks 128 bytes to [4 times 16 low halves of bytes 0 to 15 of 32],
 * [… 16 to 31], then the high halves so: the same integers in this order; their scale in each lane of 4 of the
 * low halves, and a sixteenth of that of the high ones (d is the same for 32 there); eight zeros, then the sums
 * of s in pairs. */
struct matmul_q15 {
    int8_t high[MATMUL_RUN], low[MATMUL_RUN];
    float d[MATMUL_RUN / 16];
    float s[MATMUL_RUN / 16];
    int8_t k_high[MATMUL_RUN], k_low[MATMUL_RUN];
    float k_d[2][16];
    float k_s[16];
};

/* MATMUL_RUN activations as integers of 16 bits, x = d * q; of each four the second and third change places.
 * Sums of 16 and 32 q, for weights with an offset. The tail of the last run is zero. */
struct matmul_q16 {
    _Alignas(64) int16_t q[MATMUL_RUN];
    float sum[MATMUL_RUN / 16], sum32[MATMUL_RUN / 32];
    float d;
};

/* Packed activations of a product, one tile of 16 rows after the other, missing rows zero:
 *   F32   [k][16 rows] float
 *   BF16  [k / 2][16 rows][2] bfloat16, the tiles of a width side by side every 32 k
 *   Q16   struct matmul_q16 [k / MATMUL_RUN][rows of a tile], matmul_q16_tile rows, in matmul_q16_block
 * and of a dot: Q15 struct matmul_q15 per MATMUL_RUN, PLAIN the caller's floats themselves. */
enum matmul_form { MATMUL_F32, MATMUL_BF16, MATMUL_Q16, MATMUL_Q15, MATMUL_PLAIN };

/* y[t * y_stride + n] for `n_rows` activation rows and weight rows row .. row + n - 1. */
struct matmul_task {
    const struct tensor *w;
    size_t row, n;
    size_t n_rows;
    const void *x;                         /* product: first tile */
    const void *dot_x[MATMUL_DOT_ROWS];    /* dot: one per activation row */
    float *y;
    size_t y_stride;
    size_t ahead; /* product: weight rows from here to where this thread probably goes on */
    const uint8_t *next; /* dot: the weights of the task it probably does next */
    size_t next_quarter; /* bytes of a quarter of their rows */
    void *panel;  /* this thread's scratch */
};

/* The kernels of a level; NULL entries do not exist there. */
struct matmul_kernels {
    /* Packs up to 16 rows x[i][0..k) into one tile; bfloat16: each 32 k `step` bytes on. */
    void (*pack_f32)(void *tile, const float *const *x, size_t n, size_t k);
    void (*pack_bf16)(void *tile, size_t step, const float *const *x, size_t n, size_t k);
    /* One row, its runs `step` apart. */
    void (*pack_q16)(struct matmul_q16 *q, size_t step, const float *x, size_t k);
    void (*quantize)(struct matmul_q15 *q, const float *x, size_t k);
    /* At most MATMUL_PANEL weight rows, any number of activation rows. */
    void (*product_f32)(const struct matmul_task *t);
    void (*product_bf16)(const struct matmul_task *t);
    void (*product_q16)(const struct matmul_task *t);
    size_t (*q16_panel)(size_t n_rows); /* bytes of scratch that it wants */
    /* n a multiple of 4 except at the end of the weight. */
    void (*dot)(const struct matmul_task *t);
    void (*thread_begin)(void); /* around a thread's tasks */
    void (*thread_end)(void);
    size_t dot_rows; /* the fast mode's limit, at most MATMUL_DOT_ROWS */
};

/* The driver: see ops_matmul. */
err matmul_run(struct compute *c, const struct matmul_job *jobs, size_t n_jobs,
               const struct matmul_kernels *k);

/* The levels, for ops.c. */
err matmul_avx2(struct compute *c, const struct matmul_job *jobs, size_t n_jobs);
err matmul_avx512(struct compute *c, const struct matmul_job *jobs, size_t n_jobs);
err matmul_amx(struct compute *c, const struct matmul_job *jobs, size_t n_jobs);

static inline size_t matmul_round(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* n in as few parts of at most `most` as can be, and those as even as can be: the size of each but the last. */
static inline size_t matmul_even(size_t n, size_t most)
{
    size_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

/* Rows of each tile of n_rows in a task of integers. */
static inline size_t matmul_q16_tile(size_t n_rows)
{
    return matmul_even(n_rows, MATMUL_Q16_ROWS);
}

/* Rows of each task of integers: at least eight tiles, that unpacking the weights stays little beside them. */
static inline size_t matmul_q16_block(size_t n_rows, size_t k)
{
    size_t most = MATMUL_TASK_X / (matmul_round(k, MATMUL_RUN) / MATMUL_RUN * sizeof(struct matmul_q16));
    return matmul_even(n_rows, most < 8 * MATMUL_Q16_ROWS ? 8 * MATMUL_Q16_ROWS : most);
}

/* How many tiles a bfloat16 product takes next when `left` are left of its block. */
static inline size_t matmul_width(size_t left)
{
    return left <= MATMUL_WIDTH ? left : left < 2 * MATMUL_WIDTH ? (left + 1) / 2 : MATMUL_WIDTH;
}

/* Tiles of a bfloat16 task of n_rows activation rows: equal blocks of at most MATMUL_TASK_X bytes or
 * a width. */
static inline size_t matmul_block_tiles(size_t n_rows, size_t k)
{
    size_t tiles = (n_rows + MATMUL_TILE - 1) / MATMUL_TILE;
    size_t most = MATMUL_TASK_X / (matmul_round(k, MATMUL_GROUP) * MATMUL_TILE * 2);
    most = most < MATMUL_WIDTH ? MATMUL_WIDTH : most;
    size_t blocks = (tiles + most - 1) / most;
    return (tiles + blocks - 1) / blocks;
}

/* A thread's scratch for the bfloat16 product of a weight, in bytes from its start: two runs of k of 16 rows
 * unpacked, the sums of a width, two sets of scales, and the rows of a panel with fewer than MATMUL_PANEL. */
struct matmul_bf16_panel {
    size_t sums, scales, rows, size;
};
static inline struct matmul_bf16_panel matmul_bf16_panel(const struct tensor *w)
{
    struct matmul_bf16_panel p = {.sums = 2 * MATMUL_RUN / MATMUL_GROUP * MATMUL_TILE_BYTES};
    p.scales = p.sums + MATMUL_WIDTH * MATMUL_TILE_BYTES;
    p.rows = p.scales + 2 * 16 * 16 * sizeof(float);
    p.size = p.rows + (tensor_rows(w) % MATMUL_PANEL ? MATMUL_PANEL * tensor_row_bytes(w) : 0);
    return p;
}

#endif

/* tensor/cpu/matmul_amx.c: the bfloat16 product of the AMX level. A tile of weights is 16 rows of 32
 * values along k, as unpacked; a tile of activations 16 pairs along k of 16 rows; a tile of
 * sums [16 weight rows][16 activation rows] float32. TDPBF16PS adds the pairs of a sum in the order of
 * k whatever is beside it. Tiles 0 to 3 hold sums, 6 weights, 7 activations.
 *
 * The tile unit and the vector units work side by side as long as the instructions alternate: the next unit
 * of weights (64 k of 16 rows) is unpacked between the tile instructions of the one before, a row after each.
 *
 * While the other hardware thread of a core is busy, two things cost (docs/measurements.md): tile instructions
 * that follow each other at once, and tiles that hold something, because the core has few registers left to
 * rename them to. So there is always something between two of them, and at most four sums: with six,
 * fewer loads, a product takes half as long again. More than four tiles of activations unpack the weights
 * again: keeping them in the second cache takes longer. */
#include <string.h>

#include "tensor/cpu/matmul_avx512.h"
#include "tensor/cpu/tiles.h"
#include "tensor/cpu/unit_avx512.h"

static void matmul_amx_pack(void *tile, size_t step, const float *const *x, size_t n, size_t k)
{
    char *out = tile;
    for (size_t i = 0; i < k; i += MATMUL_GROUP, out += step) {
        size_t left = k - i;
        __mmask32 m = left >= 32 ? 0xffffffffu : (1u << left) - 1;
        __m512i v[16];
        for (size_t r = 0; r < 16; r++) {
            v[r] = r < n ? (__m512i)_mm512_cvtne2ps_pbh(
                               _mm512_maskz_loadu_ps((__mmask16)(m >> 16), x[r] + i + 16),
                               _mm512_maskz_loadu_ps((__mmask16)m, x[r] + i))
                         : _mm512_setzero_si512();
        }
        matmul_transpose(v);
        for (size_t r = 0; r < 16; r++) {
            _mm512_storeu_si512(out + 64 * r, v[r]);
        }
    }
}

/* All sums, and the tiles that are not used: they may not hold anything. */
static inline void matmul_sums_zero(void)
{
    TILES_ZERO(0);
    TILES_ZERO(1);
    TILES_ZERO(2);
    TILES_ZERO(3);
    TILES_ZERO(4);
    TILES_ZERO(5);
}

/* Sums [tile][16 weight rows][16 activation rows]. */
UNPACK_INLINE void matmul_sums_store(size_t tiles, char *s)
{
    TILES_STORE(0, s);
    if (tiles > 1) {
        TILES_STORE(1, s + MATMUL_TILE_BYTES);
    }
    if (tiles > 2) {
        TILES_STORE(2, s + 2 * MATMUL_TILE_BYTES);
    }
    if (tiles > 3) {
        TILES_STORE(3, s + 3 * MATMUL_TILE_BYTES);
    }
}

/* The weight side of 16 rows of a task.
 *   scales  two sets, used in turn
 *   ahead   what this thread will probably read next. It is asked for a line or two after each product,
 *           into the second cache: a burst of requests would keep the tile loads waiting, and rows read in
 *           columns are no pattern that the processor would foresee. */
struct matmul_source {
    const struct tensor *w;
    unpack_fn *unpack;   /* for types without units of their own, and for what is less than a unit */
    const uint8_t *data; /* the first row; all 16 can be read */
    size_t row, row_bytes, k;
    float (*scales)[UNIT_SCALES];
    const uint8_t *ahead;
    size_t ahead_step, ahead_each; /* bytes from one to the next; how many after each product */
    struct unit_constants constants;
};

/* Stands for all types that are unpacked by s->unpack, a run at a time. */
#define MATMUL_ANY DTYPE_F32

static inline size_t matmul_unit_k(enum dtype type)
{
    return type == MATMUL_ANY ? (size_t)MATMUL_RUN : (size_t)UNIT_K;
}

/* Makes scales, piece after piece. Past the end the last ones again, read by nobody. */
UNPACK_INLINE void matmul_scales(enum dtype type, const struct matmul_source *s, size_t piece)
{
    const size_t units = unit_scales_units(type);
    if (!units) {
        return;
    }
    size_t last = (s->k / UNIT_K - 1) / units, at = piece < last ? piece : last;
    if (type == DTYPE_F8_E4M3) {
        unit_table_e4m3(*matmulpanel_scale(s->w, s->row, at * units * UNIT_K), s->scales[piece % 2]);
    } else {
        unit_scales(type, s->data, s->row_bytes, at, s->scales[piece % 2]);
    }
}

/* Unpacks rows [first, last) of unit u to `to`. */
UNPACK_INLINE void matmul_rows(enum dtype type, const struct matmul_source *s, size_t u, size_t first,
                               size_t last, char *to)
{
    const size_t units = unit_scales_units(type);
    const float *scales = s->scales[units ? u / units % 2 : 0];
#pragma GCC unroll 8
    for (size_t r = first; r < last; r++) {
        const uint8_t *row = s->data + r * s->row_bytes;
        if (type == MATMUL_ANY) {
            const struct dtype_info *d = dtype_info(s->w->dtype);
            s->unpack(row + u * MATMUL_RUN / d->block_elems * d->block_bytes, MATMUL_RUN,
                      matmulpanel_scale(s->w, s->row + r, u * MATMUL_RUN), to + 64 * r, UNIT_GROUP_BYTES);
        } else {
            unit_row(type, &s->constants, row, u, type == DTYPE_F8_E4M3 ? scales : scales + r, to + 64 * r);
        }
    }
}

/* What goes on beside the multiplication of a unit. */
struct matmul_beside {
    size_t u; /* the unit to unpack */
    char *to; /* where to */
    const uint8_t *ahead;
};

/* What is done after tile instruction `op` of the `ops` that a unit's multiplication takes; without b there is
 * nothing to do. asks: for what is ahead, too. */
UNPACK_INLINE void matmul_slot(enum dtype type, const struct matmul_source *s, struct matmul_beside *b,
                               size_t op, size_t ops, bool asks)
{
    const size_t first = UNIT_ROWS * op / ops, last = UNIT_ROWS * (op + 1) / ops;
    if (!b) {
        return;
    }
    if (type == DTYPE_BF16) { /* hardly anything is unpacked */
        __asm__ volatile("nop; nop; nop; nop; nop; nop");
    }
    matmul_rows(type, s, b->u, first, last, b->to);
    for (size_t i = 0; asks && i < s->ahead_each; i++, b->ahead += s->ahead_step) {
        _mm_prefetch((const char *)b->ahead, _MM_HINT_T1);
    }
}

/* Multiplies 32 k: weights at w, `tiles` activation tiles at x, side by side; step `step` of the
 * `steps` of a unit. */
UNPACK_INLINE void matmul_step(enum dtype type, size_t tiles, size_t step, size_t steps, const char *w,
                               const char *x, const struct matmul_source *s, struct matmul_beside *b)
{
    const size_t ops = 2 * tiles + 1;
    size_t op = 0; /* every other one asks: as many as there are products */
#define THEN() matmul_slot(type, s, b, step * ops + op, steps * ops, op % 2), op++
    TILES_LOAD(6, w, 64);
    THEN();
    TILES_LOAD(7, x, 64);
    THEN();
    TILES_ADD(0, 6, 7);
    THEN();
    if (tiles > 1) {
        TILES_LOAD(7, x + MATMUL_TILE_BYTES, 64);
        THEN();
        TILES_ADD(1, 6, 7);
        THEN();
    }
    if (tiles > 2) {
        TILES_LOAD(7, x + 2 * MATMUL_TILE_BYTES, 64);
        THEN();
        TILES_ADD(2, 6, 7);
        THEN();
    }
    if (tiles > 3) {
        TILES_LOAD(7, x + 3 * MATMUL_TILE_BYTES, 64);
        THEN();
        TILES_ADD(3, 6, 7);
        THEN();
    }
#undef THEN
}

/* Multiplies units [u, end), which take turns in the panel, and where `fills` unpacks the one after each. */
UNPACK_INLINE void matmul_units(enum dtype type, bool fills, size_t tiles, const struct matmul_source *s,
                                size_t u, size_t end, const char *x, char *panel)
{
    const size_t steps = matmul_unit_k(type) / MATMUL_GROUP, bytes = steps * UNIT_GROUP_BYTES;
    const size_t served = unit_scales_units(type);
    struct matmul_beside b = {.ahead = s->ahead};
    for (; u < end; u++, x += steps * tiles * MATMUL_TILE_BYTES) {
        const char *w = panel + u % 2 * bytes;
        b.u = u + 1;
        b.to = panel + (u + 1) % 2 * bytes;
        if (fills && served && u % served == 0) {
            matmul_scales(type, s, (u + 1) / served + 1);
        }
#pragma GCC unroll 8
        for (size_t i = 0; i < steps; i++) {
            matmul_step(type, tiles, i, steps, w + i * UNIT_GROUP_BYTES, x + i * tiles * MATMUL_TILE_BYTES,
                        s, fills ? &b : NULL);
        }
    }
}

/* The last columns, less than a unit: after all others, by themselves. */
UNPACK_INLINE void matmul_rest(size_t tiles, const struct matmul_source *s, size_t at, const char *x,
                               char *w)
{
    const struct dtype_info *d = dtype_info(s->w->dtype);
    for (size_t r = 0; r < UNIT_ROWS; r++) {
        s->unpack(s->data + r * s->row_bytes + at / d->block_elems * d->block_bytes, s->k - at,
                  matmulpanel_scale(s->w, s->row + r, at), w + 64 * r, UNIT_GROUP_BYTES);
    }
    for (; at < s->k; at += MATMUL_GROUP) {
        matmul_step(MATMUL_ANY, tiles, 0, 1, w, x, s, NULL);
        w += UNIT_GROUP_BYTES;
        x += tiles * MATMUL_TILE_BYTES;
    }
}

/* `tiles` activation tiles times 16 rows: sums [tile][16 weight rows][16]. */
UNPACK_INLINE void matmul_pass(enum dtype type, size_t tiles, const struct matmul_source *source,
                               const char *x, char *panel, char *sums)
{
    const struct matmul_source copy = *source, *s = &copy; /* in registers, whatever is written */
    const size_t unit = matmul_unit_k(type), units = s->k / unit;
    const size_t x_bytes = unit / MATMUL_GROUP * tiles * MATMUL_TILE_BYTES;
    matmul_sums_zero();
    if (units) {
        matmul_scales(type, s, 0);
        matmul_scales(type, s, 1);
        matmul_rows(type, s, 0, 0, UNIT_ROWS, panel);
        matmul_units(type, true, tiles, s, 0, units - 1, x, panel);
        matmul_units(type, false, tiles, s, units - 1, units, x + (units - 1) * x_bytes, panel);
    }
    if (units * unit < s->k) {
        matmul_rest(tiles, s, units * unit, x + units * x_bytes, panel + units % 2 * unit * UNIT_ROWS * 2);
    }
    matmul_sums_store(tiles, sums);
}

/* A pass of each type and width, each a function of its own: together they are more than a compiler keeps
 * registers for. */
typedef void matmul_pass_fn(const struct matmul_source *s, const char *x, char *panel, char *sums);
#define MATMUL_PASS(name, type, tiles)                                                             \
    static __attribute__((noinline)) void matmul_##name##_##tiles(                                 \
        const struct matmul_source *s, const char *x, char *panel, char *sums)                     \
    {                                                                                              \
        matmul_pass(type, tiles, s, x, panel, sums);                                               \
    }
#define MATMUL_PASSES(name, type)                                                                  \
    MATMUL_PASS(name, type, 1)                                                                     \
    MATMUL_PASS(name, type, 2)                                                                     \
    MATMUL_PASS(name, type, 3)                                                                     \
    MATMUL_PASS(name, type, 4)                                                                     \
    static matmul_pass_fn *const matmul_##name[MATMUL_WIDTH] = {                                   \
        matmul_##name##_1, matmul_##name##_2, matmul_##name##_3, matmul_##name##_4};
MATMUL_PASSES(q4_k, DTYPE_Q4_K)
MATMUL_PASSES(q5_k, DTYPE_Q5_K)
MATMUL_PASSES(q6_k, DTYPE_Q6_K)
MATMUL_PASSES(q8_0, DTYPE_Q8_0)
MATMUL_PASSES(q5_0, DTYPE_Q5_0)
MATMUL_PASSES(q4_0, DTYPE_Q4_0)
MATMUL_PASSES(mxfp4, DTYPE_MXFP4)
MATMUL_PASSES(f8_e4m3, DTYPE_F8_E4M3)
MATMUL_PASSES(bf16, DTYPE_BF16)
MATMUL_PASSES(any, MATMUL_ANY)

/* Fewer than MATMUL_PANEL rows: a copy of them, the last one repeated. */
static const uint8_t *matmul_padded(const struct matmul_task *t, const uint8_t *data, char *copy)
{
    size_t row_bytes = tensor_row_bytes(t->w);
    for (size_t r = 0; r < MATMUL_PANEL; r++) {
        memcpy(copy + r * row_bytes, data + (r < t->n ? r : t->n - 1) * row_bytes, row_bytes);
    }
    return (const uint8_t *)copy;
}

/* products: those of a pass. */
static struct matmul_source matmul_source(const struct matmul_task *t, size_t products)
{
    struct matmul_bf16_panel at = matmul_bf16_panel(t->w);
    struct matmul_source s = {.w = t->w,
                              .unpack = unpack_avx512_bf16(t->w->dtype),
                              .row = t->row,
                              .row_bytes = tensor_row_bytes(t->w),
                              .k = tensor_cols(t->w),
                              .scales = (float(*)[UNIT_SCALES])(void *)((char *)t->panel + at.scales),
                              .constants = unit_begin(t->w->dtype)};
    const uint8_t *data = (const uint8_t *)t->w->data + t->row * s.row_bytes;
    s.data = t->n < MATMUL_PANEL ? matmul_padded(t, data, (char *)t->panel + at.rows) : data;
    s.ahead = data + t->ahead * s.row_bytes;
    /* A request brings two lines. */
    size_t bytes = UNIT_ROWS * s.row_bytes, each = bytes / products / 128 + 1;
    s.ahead_each = each;
    s.ahead_step = bytes / products / each + 1;
    return s;
}

/* Goes on to the next 16 rows. */
static void matmul_source_next(struct matmul_source *s)
{
    s->data += UNIT_ROWS * s->row_bytes;
    s->ahead += UNIT_ROWS * s->row_bytes;
    s->row += UNIT_ROWS;
}

static matmul_pass_fn *const *matmul_passes(enum dtype type)
{
    switch (type) {
    case DTYPE_Q4_K: return matmul_q4_k;
    case DTYPE_Q5_K: return matmul_q5_k;
    case DTYPE_Q6_K: return matmul_q6_k;
    case DTYPE_Q8_0: return matmul_q8_0;
    case DTYPE_Q5_0: return matmul_q5_0;
    case DTYPE_Q4_0: return matmul_q4_0;
    case DTYPE_MXFP4: return matmul_mxfp4;
    case DTYPE_F8_E4M3: return matmul_f8_e4m3;
    case DTYPE_BF16: return matmul_bf16;
    default: return matmul_any;
    }
}

/* `width` activation tiles from row `first` on. */
static void matmul_amx_width(const struct matmul_task *t, size_t first, size_t width)
{
    size_t steps = matmul_round(tensor_cols(t->w), MATMUL_GROUP) / MATMUL_GROUP;
    matmul_pass_fn *pass = matmul_passes(t->w->dtype)[width - 1];
    struct matmul_source s = matmul_source(t, width * steps);
    const char *x = (const char *)t->x + first / MATMUL_TILE * steps * MATMUL_TILE_BYTES;
    char *panel = t->panel, *sums = panel + matmul_bf16_panel(t->w).sums;
    for (size_t r = 0; r < t->n; r += UNIT_ROWS) {
        pass(&s, x, panel, sums);
        for (size_t j = 0; j < width; j++) {
            size_t at = first + j * MATMUL_TILE;
            matmul_store_tile((const float *)(const void *)(sums + j * MATMUL_TILE_BYTES),
                              t->y + at * t->y_stride + t->row + r, t->y_stride, t->n - r,
                              t->n_rows - at);
        }
        matmul_source_next(&s);
    }
}

static void matmul_amx_product(const struct matmul_task *t)
{
    size_t tiles = (t->n_rows + MATMUL_TILE - 1) / MATMUL_TILE;
    for (size_t i = 0, width; i < tiles; i += width) {
        width = matmul_width(tiles - i);
        matmul_amx_width(t, i * MATMUL_TILE, width);
    }
}

static const struct matmul_kernels matmul_kernels_amx = {
    .pack_f32 = matmul_avx512_pack,
    .pack_bf16 = matmul_amx_pack,
    .quantize = dot_avx512_quantize,
    .product_f32 = matmul_avx512_product,
    .product_bf16 = matmul_amx_product,
    .dot = dot_avx512,
    .thread_begin = tiles_begin,
    .thread_end = tiles_end,
    .dot_rows = MATMUL_DOT_ROWS,
};

err matmul_amx(struct compute *c, const struct matmul_job *jobs, size_t n_jobs)
{
    return matmul_run(c, jobs, n_jobs, &matmul_kernels_amx);
}

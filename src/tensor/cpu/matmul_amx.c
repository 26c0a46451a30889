/* tensor/cpu/matmul_amx.c: the bfloat16 product of the AMX level. A tile of weights is 16 rows of 32
 * values along k, as unpacked; a tile of activations 16 pairs along k of 16 rows; a tile of
 * sums [16 weight rows][16 activation rows] float32. TDPBF16PS adds the pairs of a sum in the order of
 * k whatever is beside it. Tiles 0 to 5 hold sums, 6 weights, 7 activations.
 *
 * The tile unit and the vector units work side by side as long as the instructions alternate and
 * everything stays in the first cache: so the next unit of weights (64 k of 32 rows, 4 KiB) is
 * unpacked between the tile products of the one before, a few rows after each. What is unpacked is used
 * once, by at most 48 activation rows; more rows unpack again, in the shadow of their products. */
#include "tensor/cpu/matmul_avx512.h"
#include "tensor/cpu/unpack_avx512.h"

enum { MATMUL_UNIT = 64 }; /* k unpacked while as many are multiplied; MATMUL_RUN for some types */

/* Plain assembly with a memory clobber: GCC 12's intrinsics do not tell it that tiles read memory. */
#define TILE_LOAD(tile, p)                                                                         \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(p), "r"((size_t)64) : "memory")
#define TILE_STORE(tile, p)                                                                        \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(p), "r"((size_t)64) : "memory")
#define TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile ::: "memory")
#define TILE_ADD(sum, x, w) \
    __asm__ volatile("tdpbf16ps %%tmm" #x ", %%tmm" #w ", %%tmm" #sum ::: "memory")

static void matmul_tiles_begin(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes_per_row[16];
        uint8_t rows[16];
    } cfg = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        cfg.bytes_per_row[i] = 64;
        cfg.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(cfg) : "memory");
}

static void matmul_tiles_end(void)
{
    __asm__ volatile("tilerelease" ::: "memory");
}

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

static inline void matmul_sums_zero(void)
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    TILE_ZERO(4);
    TILE_ZERO(5);
}

/* Sums [tile][32 weight rows][16 activation rows]. */
UNPACK_INLINE void matmul_sums_store(size_t tiles, char *s)
{
    TILE_STORE(0, s);
    TILE_STORE(3, s + MATMUL_TILE_BYTES);
    if (tiles > 1) {
        TILE_STORE(1, s + 2 * MATMUL_TILE_BYTES);
        TILE_STORE(4, s + 3 * MATMUL_TILE_BYTES);
    }
    if (tiles > 2) {
        TILE_STORE(2, s + 4 * MATMUL_TILE_BYTES);
        TILE_STORE(5, s + 5 * MATMUL_TILE_BYTES);
    }
}

/* The weight side of a task, and how far it is unpacked. A row past the weight's last is that one
 * again.
 *   scales  Q4_K: of even and odd runs, as unpack_k_both gives them times UNPACK_CUT; made a run ahead,
 *           or the first products of a run would wait for them.
 *   ahead   what this thread will probably read next. It is asked for a few lines after each product,
 *           into the second cache: a burst of requests would keep the tile loads waiting, and rows read in
 *           columns are no pattern that the processor would foresee. */
struct matmul_source {
    const struct tensor *w;
    unpack_fn *unpack;
    const uint8_t *data; /* the task's first row */
    size_t row, n, k;    /* its number, rows, columns */
    size_t row_bytes, run_bytes;
    float (*scales)[MATMUL_PANEL][16];
    const uint8_t *ahead;
    size_t ahead_lines; /* after each product */
    /* The unit being unpacked: k positions [at, at + n_at) to `to`, rows from r on, which begin at p. */
    size_t at, n_at, r;
    const uint8_t *p;
    char *to;
    struct unpack_q4_k_constants constants;
};

/* The scales of rows [first, last) for a run; past the end the last run's again, read by nobody. */
UNPACK_INLINE void matmul_scales(const struct matmul_source *s, size_t run, size_t first, size_t last)
{
    size_t runs = s->k / MATMUL_RUN;
    const uint8_t *p = s->data + (run < runs ? run : runs - 1) * s->run_bytes;
#pragma GCC unroll 8
    for (size_t r = first; r < last; r++) {
        const uint8_t *row = p + (r < s->n ? r : s->n - 1) * s->row_bytes;
        __m512 scales = _mm512_mul_ps(unpack_k_both(row), _mm512_set1_ps(UNPACK_CUT));
        _mm512_storeu_ps(s->scales[run % 2][r], scales);
    }
}

/* Unpacks the next rows of the unit, two tiles per 32 k. */
UNPACK_INLINE void matmul_fill(enum dtype type, struct matmul_source *s, size_t rows)
{
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
        if (type == DTYPE_Q4_K) {
            const float *scales = s->scales[s->at / MATMUL_RUN % 2][s->r];
            unpack_unit_q4_k(&s->constants, s->p, scales + s->at % MATMUL_RUN / 32, s->to,
                             2 * MATMUL_TILE_BYTES);
        } else {
            s->unpack(s->p, s->n_at, matmulpanel_scale(s->w, s->row + s->r, s->at), s->to,
                      2 * MATMUL_TILE_BYTES);
        }
        s->p += s->r + 1 < s->n ? s->row_bytes : 0;
        s->r++;
        s->to += 64;
    }
}

/* The next unit is the one at column `at`; past the end it is the first again, which nobody reads. */
UNPACK_INLINE void matmul_fill_begin(enum dtype type, size_t unit, struct matmul_source *s, size_t at,
                                     char *to)
{
    s->at = at < s->k ? at : 0;
    s->n_at = s->k - s->at < unit ? s->k - s->at : unit;
    s->r = 0;
    s->to = to;
    if (type == DTYPE_Q4_K) {
        s->p = s->data + s->at / MATMUL_RUN * 144 + 16 + s->at % MATMUL_RUN / 2;
    } else {
        s->p = s->data + s->at / MATMUL_GROUP * s->run_bytes / (MATMUL_RUN / MATMUL_GROUP);
    }
}

/* What is done after product `slot` of `slots` that a unit's multiplication takes. */
UNPACK_INLINE void matmul_beside(enum dtype type, struct matmul_source *s, size_t slot, size_t slots)
{
    matmul_fill(type, s, MATMUL_PANEL * (slot + 1) / slots - MATMUL_PANEL * slot / slots);
    for (size_t i = 0; i < s->ahead_lines; i++, s->ahead += 64) {
        _mm_prefetch((const char *)s->ahead, _MM_HINT_T1);
    }
    if (type == DTYPE_Q4_K) {
        enum { QUARTER = MATMUL_PANEL / 4 };
        size_t run = s->at / MATMUL_RUN + 1, from = s->at % MATMUL_RUN / MATMUL_UNIT * QUARTER;
        matmul_scales(s, run, from + QUARTER * slot / slots, from + QUARTER * (slot + 1) / slots);
    }
}

/* Multiplies 32 k: weights at w, `tiles` activation tiles at x, side by side; step `step` of the
 * `steps` of a unit. */
UNPACK_INLINE void matmul_step(enum dtype type, size_t tiles, size_t step, size_t steps,
                               const char *w, const char *x, struct matmul_source *s)
{
    size_t slots = steps * tiles * 2, slot = step * tiles * 2;
    TILE_LOAD(6, w);
    TILE_LOAD(7, x);
    TILE_ADD(0, 7, 6);
    matmul_beside(type, s, slot++, slots);
    if (tiles > 1) {
        TILE_LOAD(7, x + MATMUL_TILE_BYTES);
        TILE_ADD(1, 7, 6);
        matmul_beside(type, s, slot++, slots);
    }
    if (tiles > 2) {
        TILE_LOAD(7, x + 2 * MATMUL_TILE_BYTES);
        TILE_ADD(2, 7, 6);
        matmul_beside(type, s, slot++, slots);
    }
    TILE_LOAD(6, w + MATMUL_TILE_BYTES); /* the last activation tile is still there */
    if (tiles > 2) {
        TILE_ADD(5, 7, 6);
        matmul_beside(type, s, slot++, slots);
        TILE_LOAD(7, x + MATMUL_TILE_BYTES);
    }
    if (tiles > 1) {
        TILE_ADD(4, 7, 6);
        matmul_beside(type, s, slot++, slots);
        TILE_LOAD(7, x);
    }
    TILE_ADD(3, 7, 6);
    matmul_beside(type, s, slot, slots);
}

/* `tiles` activation tiles times the task's rows: sums [tile][32 weight rows][16]. */
UNPACK_INLINE void matmul_multiply(enum dtype type, size_t unit, size_t tiles,
                                   struct matmul_source *s, const char *x, char *panel, char *sums)
{
    const size_t steps = unit / MATMUL_GROUP;
    if (type == DTYPE_Q4_K) {
        for (size_t r = 0; r < MATMUL_PANEL; r += 8) {
            matmul_scales(s, 0, r, r + 8);
        }
        matmul_scales(s, 1, 0, 8); /* the quarter that goes with a run's first unit */
    }
    matmul_fill_begin(type, unit, s, 0, panel);
    for (size_t r = 0; r < MATMUL_PANEL; r += 8) {
        matmul_fill(type, s, 8);
    }
    matmul_sums_zero();
    size_t part = 0;
    for (size_t at = 0; at < s->k; at += unit, part = !part) {
        const char *w = panel + part * MATMUL_UNITS;
        matmul_fill_begin(type, unit, s, at + unit, panel + !part * MATMUL_UNITS);
        if (at + unit <= s->k) {
#pragma GCC unroll 8
            for (size_t i = 0; i < steps; i++) {
                matmul_step(type, tiles, i, steps, w + i * 2 * MATMUL_TILE_BYTES,
                            x + i * tiles * MATMUL_TILE_BYTES, s);
            }
            x += steps * tiles * MATMUL_TILE_BYTES;
        } else {
            for (size_t left = at; left < s->k; left += MATMUL_GROUP) {
                matmul_step(type, tiles, 0, steps, w, x, s);
                w += 2 * MATMUL_TILE_BYTES;
                x += tiles * MATMUL_TILE_BYTES;
            }
        }
    }
    matmul_sums_store(tiles, sums);
}

UNPACK_INLINE void matmul_blocks(enum dtype type, size_t unit, const struct matmul_task *t)
{
    const struct dtype_info *d = dtype_info(t->w->dtype);
    char *panel = t->panel, *sums = panel + 2 * MATMUL_UNITS;
    struct matmul_source s = {
        .w = t->w,
        .unpack = unpack_avx512_bf16(t->w->dtype),
        .row = t->row,
        .n = t->n,
        .k = tensor_cols(t->w),
        .row_bytes = tensor_row_bytes(t->w),
        .run_bytes = MATMUL_RUN / d->block_elems * d->block_bytes,
        .scales = (float(*)[MATMUL_PANEL][16])(void *)(sums + MATMUL_WIDTH * 2 * MATMUL_TILE_BYTES),
        .constants = unpack_q4_k_begin()};
    s.data = (const uint8_t *)t->w->data + t->row * s.row_bytes;
    s.ahead = s.data + t->ahead * s.row_bytes;
    size_t steps = (s.k + MATMUL_GROUP - 1) / MATMUL_GROUP;
    size_t tiles = (t->n_rows + MATMUL_TILE - 1) / MATMUL_TILE, width;
    for (size_t i = 0; i < tiles; i += width) {
        width = matmul_width(tiles - i);
        const char *x = (const char *)t->x + i * steps * MATMUL_TILE_BYTES;
        size_t products = 2 * width * steps;
        s.ahead_lines = i == 0 ? (t->n * s.row_bytes / 64 + products - 1) / products : 0;
        switch (width) {
        case 1: matmul_multiply(type, unit, 1, &s, x, panel, sums); break;
        case 2: matmul_multiply(type, unit, 2, &s, x, panel, sums); break;
        default: matmul_multiply(type, unit, 3, &s, x, panel, sums); break;
        }
        for (size_t j = 0; j < width; j++) {
            for (size_t r = 0; r < t->n; r += 16) {
                size_t first = (i + j) * MATMUL_TILE;
                matmul_store_tile((const float *)(const void *)sums + (j * MATMUL_PANEL + r) * 16,
                                  t->y + first * t->y_stride + t->row + r, t->y_stride, t->n - r,
                                  t->n_rows - first);
            }
        }
    }
}

/* Types whose blocks are no longer than a unit are unpacked by units. */
static void matmul_amx_product(const struct matmul_task *t)
{
    switch (t->w->dtype) {
    case DTYPE_Q4_K: matmul_blocks(DTYPE_Q4_K, MATMUL_UNIT, t); break;
    case DTYPE_Q8_0:
    case DTYPE_Q5_0:
    case DTYPE_Q4_0:
    case DTYPE_BF16:
    case DTYPE_F8_E4M3: matmul_blocks(DTYPE_BF16, MATMUL_UNIT, t); break;
    default: matmul_blocks(DTYPE_BF16, MATMUL_RUN, t); break;
    }
}

static const struct matmul_kernels matmul_kernels_amx = {
    .pack_f32 = matmul_avx512_pack,
    .pack_bf16 = matmul_amx_pack,
    .quantize = dot_avx512_quantize,
    .product_f32 = matmul_avx512_product,
    .product_bf16 = matmul_amx_product,
    .dot = dot_avx512,
    .thread_begin = matmul_tiles_begin,
    .thread_end = matmul_tiles_end,
    .dot_rows = MATMUL_DOT_ROWS,
};

err matmul_amx(struct compute *c, const struct matmul_job *jobs, size_t n_jobs)
{
    return matmul_run(c, jobs, n_jobs, &matmul_kernels_amx);
}

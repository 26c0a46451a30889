/* tensor/cpu/matmul_amx.c: the bfloat16 product of the AMX level. A tile of weights is 16 rows of 32
 * values along k, as unpacked; a tile of activations 16 pairs along k of 16 rows; a tile of
 * sums [16 weight rows][16 activation rows] float32. TDPBF16PS adds the pairs of a sum in the order of
 * k whatever is beside it. Tiles 0 to 5 hold sums, 6 weights, 7 activations.
 *
 * Unpacking and tile work alternate in runs of 256 k, the panel staying in the first cache. Finer
 * interleaving loses: tile loads wait for the stores before them (measured: a step of 2x3 tiles
 * with 4 rows unpacked between steps takes 345 cycles, against 183 + 131 apart). */
#include "tensor/cpu/matmul_avx512.h"
#include "tensor/cpu/unpack_avx512.h"

enum {
    MATMUL_STEP_BYTES = 1024,               /* a tile */
    MATMUL_STEPS = MATMUL_RUN / MATMUL_GROUP, /* tile steps of a run */
    MATMUL_WIDTH = 3,                       /* activation tiles multiplied together */
    MATMUL_RUN_BYTES = MATMUL_STEPS * 2 * MATMUL_STEP_BYTES, /* panel of a run */
    MATMUL_RUNS = 2,                        /* in a panel that is used more than once */
};

/* Plain assembly with a memory clobber: GCC 12's intrinsics do not tell it that tiles read memory. */
#define TILE_LOAD(tile, p)                                                                         \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(p), "r"((size_t)64) : "memory")
#define TILE_STORE(tile, p)                                                                        \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(p), "r"((size_t)64) : "memory")
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

static void matmul_amx_pack(void *tile, const float *const *x, size_t n, size_t k)
{
    char *out = tile;
    for (size_t i = 0; i < k; i += MATMUL_GROUP, out += MATMUL_STEP_BYTES) {
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

/* One step of 32 k: two weight tiles at w, `tiles` activation tiles x_tile bytes apart. */
UNPACK_INLINE void matmul_step(size_t tiles, const char *w, const char *x, size_t x_tile)
{
    TILE_LOAD(6, w);
    TILE_LOAD(7, x);
    TILE_ADD(0, 7, 6);
    if (tiles > 1) {
        TILE_LOAD(7, x + x_tile);
        TILE_ADD(1, 7, 6);
    }
    if (tiles > 2) {
        TILE_LOAD(7, x + 2 * x_tile);
        TILE_ADD(2, 7, 6);
    }
    TILE_LOAD(6, w + MATMUL_STEP_BYTES); /* the last activation tile is still there */
    if (tiles > 2) {
        TILE_ADD(5, 7, 6);
        TILE_LOAD(7, x + x_tile);
    }
    if (tiles > 1) {
        TILE_ADD(4, 7, 6);
        TILE_LOAD(7, x);
    }
    TILE_ADD(3, 7, 6);
}

/* Sums [tile][32 weight rows][16 activation rows]. */
UNPACK_INLINE void matmul_sums_load(size_t tiles, const char *s)
{
    TILE_LOAD(0, s);
    TILE_LOAD(3, s + MATMUL_STEP_BYTES);
    if (tiles > 1) {
        TILE_LOAD(1, s + 2 * MATMUL_STEP_BYTES);
        TILE_LOAD(4, s + 3 * MATMUL_STEP_BYTES);
    }
    if (tiles > 2) {
        TILE_LOAD(2, s + 4 * MATMUL_STEP_BYTES);
        TILE_LOAD(5, s + 5 * MATMUL_STEP_BYTES);
    }
}

UNPACK_INLINE void matmul_sums_store(size_t tiles, char *s)
{
    TILE_STORE(0, s);
    TILE_STORE(3, s + MATMUL_STEP_BYTES);
    if (tiles > 1) {
        TILE_STORE(1, s + 2 * MATMUL_STEP_BYTES);
        TILE_STORE(4, s + 3 * MATMUL_STEP_BYTES);
    }
    if (tiles > 2) {
        TILE_STORE(2, s + 4 * MATMUL_STEP_BYTES);
        TILE_STORE(5, s + 5 * MATMUL_STEP_BYTES);
    }
}

/* The weight side of a task. */
struct matmul_source {
    const struct matmul_task *t;
    unpack_fn *unpack;
    const uint8_t *data; /* the task's first row */
    size_t row_bytes, run_bytes, k;
};

/* Asks for row r's part of the run after next, or of this thread's likely next task: 32 rows read
 * in columns are no pattern that the processor would foresee. */
static inline void matmul_prefetch(const struct matmul_source *s, size_t run, size_t r)
{
    size_t runs = (s->k + MATMUL_RUN - 1) / MATMUL_RUN, next = run + 2;
    const uint8_t *p = s->data + r * s->row_bytes;
    if (next >= runs) {
        next = next - runs < runs ? next - runs : 0;
        p += s->t->ahead * s->row_bytes;
    }
    for (size_t i = 0; i < s->run_bytes; i += 64) {
        _mm_prefetch((const char *)p + next * s->run_bytes + i, _MM_HINT_T0);
    }
}

/* Unpacks a run of all rows, step after step, two tiles each. */
static void matmul_unpack(const struct matmul_source *s, size_t run, char *panel)
{
    size_t at = run * MATMUL_RUN, n = s->k - at < MATMUL_RUN ? s->k - at : MATMUL_RUN;
    const uint8_t *p = s->data + run * s->run_bytes;
    for (size_t r = 0; r < s->t->n; r++, p += s->row_bytes, panel += 64) {
        matmul_prefetch(s, run, r);
        s->unpack(p, n, matmulpanel_scale(s->t->w, s->t->row + r, at), panel, 2 * MATMUL_STEP_BYTES);
    }
}

static size_t matmul_steps(const struct matmul_source *s, size_t run)
{
    size_t left = s->k - run * MATMUL_RUN;
    return left < MATMUL_RUN ? (left + MATMUL_GROUP - 1) / MATMUL_GROUP : MATMUL_STEPS;
}

/* `tiles` activation tiles from x over runs [first, last). With `fill` the panel holds one run and is
 * unpacked as it goes, otherwise it holds them all. */
UNPACK_INLINE void matmul_width(size_t tiles, const struct matmul_source *s, size_t first,
                                size_t last, char *panel, const char *x, size_t x_tile, char *sums,
                                bool fill)
{
    const char *w = panel;
    matmul_sums_load(tiles, sums);
    for (size_t run = first; run < last; run++) {
        size_t steps = matmul_steps(s, run);
        if (fill) {
            matmul_unpack(s, run, panel);
            w = panel;
        }
        for (size_t i = 0; i < steps; i++) {
            matmul_step(tiles, w, x, x_tile);
            w += 2 * MATMUL_STEP_BYTES;
            x += MATMUL_STEP_BYTES;
        }
    }
    matmul_sums_store(tiles, sums);
}

static void matmul_runs(const struct matmul_source *s, size_t tiles, size_t first, size_t last,
                        char *panel, char *sums, bool fill)
{
    size_t x_tile = (s->k + MATMUL_GROUP - 1) / MATMUL_GROUP * MATMUL_STEP_BYTES;
    const char *x = (const char *)s->t->x + first * MATMUL_STEPS * MATMUL_STEP_BYTES;
    for (size_t i = 0; i < tiles;) {
        size_t left = tiles - i, take = left == 4 ? 2 : left < 3 ? left : 3;
        const char *xi = x + i * x_tile;
        char *to = sums + i * 2 * MATMUL_STEP_BYTES;
        switch (take) {
        case 1: matmul_width(1, s, first, last, panel, xi, x_tile, to, fill); break;
        case 2: matmul_width(2, s, first, last, panel, xi, x_tile, to, fill); break;
        default: matmul_width(3, s, first, last, panel, xi, x_tile, to, fill); break;
        }
        i += take;
    }
}

static void matmul_amx_product(const struct matmul_task *t)
{
    const struct dtype_info *d = dtype_info(t->w->dtype);
    struct matmul_source s = {.t = t,
                              .unpack = unpack_avx512_bf16(t->w->dtype),
                              .row_bytes = tensor_row_bytes(t->w),
                              .run_bytes = MATMUL_RUN / d->block_elems * d->block_bytes,
                              .k = tensor_cols(t->w)};
    s.data = (const uint8_t *)t->w->data + t->row * s.row_bytes;
    size_t tiles = (t->n_rows + MATMUL_TILE - 1) / MATMUL_TILE;
    size_t runs = (s.k + MATMUL_RUN - 1) / MATMUL_RUN;
    char *panel = t->panel, *sums = panel + MATMUL_RUNS * MATMUL_RUN_BYTES;
    memset(sums, 0, tiles * 2 * MATMUL_STEP_BYTES);
    if (tiles <= MATMUL_WIDTH) {
        matmul_runs(&s, tiles, 0, runs, panel, sums, true);
    } else {
        for (size_t first = 0; first < runs; first += MATMUL_RUNS) {
            size_t last = runs - first < MATMUL_RUNS ? runs : first + MATMUL_RUNS;
            for (size_t run = first; run < last; run++) {
                matmul_unpack(&s, run, panel + (run - first) * MATMUL_RUN_BYTES);
            }
            matmul_runs(&s, tiles, first, last, panel, sums, false);
        }
    }
    for (size_t i = 0; i < tiles; i++) {
        for (size_t r = 0; r < t->n; r += 16) {
            matmul_store_tile((const float *)(const void *)sums + (i * MATMUL_PANEL + r) * 16,
                              t->y + i * MATMUL_TILE * t->y_stride + t->row + r, t->y_stride,
                              t->n - r, t->n_rows - i * MATMUL_TILE);
        }
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

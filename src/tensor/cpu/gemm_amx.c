/* tensor/cpu/gemm_amx.c: products of learning on AMX. A tile of sums is [16 m][16 n]; up to two tiles of w (16
 * pairs along k of 16 n, packed) meet up to two tiles of x ([16 m][32 k]; of rows as they are in memory, where
 * they are whole). A block's sums leave their tiles in the first step of the next block, and what becomes of
 * them beside the steps of the one after; between products what the next rows of x and y need is asked for.
 * docs/measurements.md: what was tried. */
#include <immintrin.h>
#include <string.h>

#include "tensor/cpu/gemm.h"
#include "tensor/cpu/tiles.h"

enum {
    GEMM_TILE = 1024, /* bytes */
    GEMM_STEP = 32,   /* of the sum: a tile's */
    GEMM_WIDTH = 2,   /* tiles of x together, and of w */
    GEMM_GROUP = 16 * GEMM_WIDTH,
    GEMM_WANTED = 4,
    GEMM_SHORT = 128, /* sums up to this long end too soon to begin with what is in y */
    GEMM_CHUNK = 256,  /* of the sum: as much of a group of x as stays in the first cache */
    GEMM_PANEL = 1024, /* of the sum: as much of w as is packed at a time */
    GEMM_X_BYTES = GEMM_ROWS / 16 * (GEMM_CHUNK / GEMM_STEP) * GEMM_TILE,
    GEMM_EDGE_BYTES = GEMM_PANEL / GEMM_STEP * GEMM_TILE,
    GEMM_SUM_BYTES = GEMM_WIDTH * GEMM_TILE,
    GEMM_PAIR_BYTES = 2 * GEMM_SUM_BYTES, /* sums of a block, 32 columns */
    GEMM_WIDE_BYTES = GEMM_ROWS * GEMM_COLS * 4, /* sums between chunks, in tiles */
    GEMM_SCRATCH = GEMM_X_BYTES + GEMM_EDGE_BYTES + 2 * GEMM_PAIR_BYTES + GEMM_WIDE_BYTES,
};

static size_t gemm_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t gemm_tiles(size_t n, size_t each)
{
    return (n + each - 1) / each;
}

static const char *gemm_at(const struct mat *m, size_t row, size_t col)
{
    return (const char *)m->data + (row * m->stride + col) * sizeof(uint16_t);
}

/* ---- Packing. ---- */

/* A part of a mat: rows `stride` bytes apart. */
struct gemm_area {
    const char *data;
    size_t stride;
};

/* n_rows of n_cols, at most 32 of 32, as rows of 64 bytes filled up with 0. */
static void gemm_copy(const struct gemm_area *a, size_t n_rows, size_t n_cols, size_t rows, char *to)
{
    __mmask32 mask = n_cols >= 32 ? 0xffffffffu : (1u << n_cols) - 1;
    for (size_t i = 0; i < rows; i++) {
        __mmask32 here = i < n_rows ? mask : 0;
        _mm512_store_si512((void *)(to + 64 * i), _mm512_maskz_loadu_epi16(here, a->data + i * a->stride));
    }
}

/* The same as an area: the mat's own memory, where it has 32 columns and `rows` rows. */
static struct gemm_area gemm_whole(const struct mat *m, size_t row, size_t n_rows, size_t col, size_t n_cols,
                                   size_t rows, char *copy)
{
    struct gemm_area a = {gemm_at(m, row, col), m->stride * sizeof(uint16_t)};
    if (n_rows >= rows && n_cols >= 32) {
        return a;
    }
    gemm_copy(&a, n_rows, n_cols, rows, copy);
    return (struct gemm_area){copy, 64};
}

static inline __m128i gemm_quarter(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Of 16 rows, columns [4 part, 4 part + 4) of 32 bits: as four rows of 16. */
static inline void gemm_turn(struct gemm_area a, size_t part, __m512i out[4])
{
    __m512i z[4];
    for (size_t j = 0; j < 4; j++) { /* 128-bit lane l: row 4 l + j */
        const char *p = a.data + j * a.stride + 16 * part;
        z[j] = _mm512_castsi128_si512(gemm_quarter(p));
        z[j] = _mm512_mask_broadcast_i32x4(z[j], 0x00f0, gemm_quarter(p + 4 * a.stride));
        z[j] = _mm512_mask_broadcast_i32x4(z[j], 0x0f00, gemm_quarter(p + 8 * a.stride));
        z[j] = _mm512_mask_broadcast_i32x4(z[j], 0xf000, gemm_quarter(p + 12 * a.stride));
    }
    __m512i low = _mm512_unpacklo_epi32(z[0], z[1]), low2 = _mm512_unpacklo_epi32(z[2], z[3]);
    __m512i high = _mm512_unpackhi_epi32(z[0], z[1]), high2 = _mm512_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm512_unpacklo_epi64(low, low2);
    out[1] = _mm512_unpackhi_epi64(low, low2);
    out[2] = _mm512_unpacklo_epi64(high, high2);
    out[3] = _mm512_unpackhi_epi64(high, high2);
}

/* Low halves of 32 bits of a and b together, and high halves. */
static inline __m512i gemm_lows(__m512i a, __m512i b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
}

static inline __m512i gemm_highs(__m512i a, __m512i b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(a, 16), b);
}

/* 16 n of 32 k along them: a tile of w. */
static void gemm_pack_along(struct gemm_area a, char *to)
{
    for (size_t part = 0; part < 4; part++) {
        __m512i v[4];
        gemm_turn(a, part, v);
        for (size_t i = 0; i < 4; i++) {
            _mm512_store_si512((void *)(to + 64 * (4 * part + i)), v[i]);
        }
    }
}

/* Asks for what is `rows` further down. */
static void gemm_ask(struct gemm_area a, size_t rows)
{
    for (size_t i = 0; i < 32; i++) {
        _mm_prefetch(a.data + (rows + i) * a.stride, _MM_HINT_T0);
    }
}

/* 32 k, down, of 32 n: two tiles of w. Row p of a tile: the pair of k at p * each and p * each + apart. */
static void gemm_pack_down(struct gemm_area a, size_t each, size_t apart, char *to, char *second)
{
    const __m512i first_half = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second_half = _mm512_add_epi32(first_half, _mm512_set1_epi32(8));
    for (size_t p = 0; p < 16; p++) {
        const char *row = a.data + p * each * a.stride;
        __m512i u = _mm512_loadu_si512(row), v = _mm512_loadu_si512(row + apart * a.stride);
        __m512i even = gemm_lows(u, v), odd = gemm_highs(u, v);
        _mm512_store_si512((void *)(to + 64 * p), _mm512_permutex2var_epi32(even, first_half, odd));
        if (second) {
            _mm512_store_si512((void *)(second + 64 * p), _mm512_permutex2var_epi32(even, second_half, odd));
        }
    }
}

/* 32 k, down, of 32 m: two tiles of x, their pairs 16 rows of k apart. */
static void gemm_pack_turned(struct gemm_area a, char *to, char *second)
{
    struct gemm_area below = {a.data + 16 * a.stride, a.stride};
    for (size_t part = 0; part < 4; part++) {
        __m512i u[4], v[4];
        char *at = part < 2 ? to + 512 * part : second + 512 * (part - 2);
        gemm_turn(a, part, u);
        gemm_turn(below, part, v);
        for (size_t i = 0; i < 4 && (part < 2 || second); i++, at += 128) {
            _mm512_store_si512((void *)at, gemm_lows(u[i], v[i]));
            _mm512_store_si512((void *)(at + 64), gemm_highs(u[i], v[i]));
        }
    }
}

/* Tiles of w side by side from column n on. */
static inline size_t gemm_side(size_t n, size_t n_n)
{
    return n / 32 * 32 + 16 < n_n ? 2 : 1;
}

/* Of n_n columns and `steps` along the sum: where the panel has the tile of column n and step s. Tiles that are
 * used together are together: [n / 32][step][1 or 2]. */
static inline size_t gemm_panel_at(size_t n, size_t n_n, size_t steps, size_t s)
{
    return (n / 32 * 2 * steps + s * gemm_side(n, n_n) + n / 16 % 2) * GEMM_TILE;
}

/* w's columns of y, n_k of the sum from k on. */
static void gemm_pack_w(const struct gemm_task *t, size_t k, size_t n_k, char *to)
{
    size_t steps = gemm_tiles(n_k, GEMM_STEP), width = t->product == LEARNOPS_NT ? 16 : 32;
    size_t each = t->product == LEARNOPS_TN ? 1 : 2, apart = t->product == LEARNOPS_TN ? 16 : 1;
    char copy[32 * 64] __attribute__((aligned(64)));
    for (size_t s = 0; s < steps; s++) {
        size_t at = k + GEMM_STEP * s, left = n_k - GEMM_STEP * s;
        for (size_t n = 0; n < t->n_n; n += width) {
            char *tile = to + gemm_panel_at(n, t->n_n, steps, s);
            if (t->product == LEARNOPS_NT) {
                gemm_pack_along(gemm_whole(&t->w, t->n + n, t->n_n - n, at, left, 16, copy), tile);
            } else {
                char *second = n + 16 < t->n_n ? tile + GEMM_TILE : NULL;
                struct gemm_area a = gemm_whole(&t->w, at, left, t->n + n, t->n_n - n, 32, copy);
                gemm_ask(a, 2 * GEMM_STEP);
                gemm_pack_down(a, each, apart, tile, second);
            }
        }
    }
}

/* x^T's rows of y: tiles [m / 16][n_k / 32]. */
static void gemm_pack_x(const struct gemm_task *t, size_t k, size_t n_k, char *to)
{
    size_t steps = gemm_tiles(n_k, GEMM_STEP);
    char copy[32 * 64] __attribute__((aligned(64)));
    for (size_t s = 0; s < steps; s++) {
        size_t at = k + GEMM_STEP * s, left = n_k - GEMM_STEP * s;
        for (size_t m = 0; m < t->n_m; m += 32) {
            char *tile = to + (m / 16 * steps + s) * GEMM_TILE;
            struct gemm_area a = gemm_whole(&t->x, at, left, t->m + m, t->n_m - m, 32, copy);
            gemm_ask(a, 2 * GEMM_STEP);
            gemm_pack_turned(a, tile, m + 16 < t->n_m ? tile + steps * GEMM_TILE : NULL);
        }
    }
}

/* ---- Results. ---- */

/* How rows of 32 sums come to y. Streamed: past the caches. */
enum gemm_way { GEMM_ANY, GEMM_BF16, GEMM_BF16_STREAM, GEMM_F32, GEMM_F32_STREAM, GEMM_F32_ADD };

/* Rows of a block's sums on their way to y. */
struct gemm_store {
    const float *sums; /* [rows][16], and GEMM_SUM_BYTES further on the next 16 columns */
    char *y;
    size_t stride, rows; /* bytes between y's rows */
    __mmask32 mask;      /* of columns */
    enum gemm_way way;
    enum mat_type type;
    bool add;
};

static void gemm_store_any(const struct gemm_store *s, size_t half)
{
    __m512 v = _mm512_load_ps(s->sums + half * GEMM_SUM_BYTES / 4);
    __mmask16 mask = (__mmask16)(s->mask >> 16 * half);
    char *y = s->y + 16 * half * (s->type == MAT_F32 ? sizeof(float) : sizeof(uint16_t));
    if (s->type == MAT_F32) {
        v = s->add ? _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, y)) : v;
        _mm512_mask_storeu_ps(y, mask, v);
        return;
    }
    if (s->add) {
        __m512i old = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, y));
        v = _mm512_add_ps(v, _mm512_castsi512_ps(_mm512_slli_epi32(old, 16)));
    }
    _mm256_mask_storeu_epi16(y, mask, (__m256i)_mm512_cvtneps_pbh(v));
}

static inline __attribute__((always_inline)) void gemm_store_row(struct gemm_store *s)
{
    __m512 low = _mm512_load_ps(s->sums), high = _mm512_load_ps(s->sums + GEMM_SUM_BYTES / 4);
    switch (s->way) {
    case GEMM_BF16: _mm512_storeu_si512(s->y, (__m512i)_mm512_cvtne2ps_pbh(high, low)); break;
    case GEMM_BF16_STREAM:
        _mm512_stream_si512((void *)s->y, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        break;
    case GEMM_F32:
        _mm512_storeu_ps(s->y, low);
        _mm512_storeu_ps(s->y + 64, high);
        break;
    case GEMM_F32_STREAM:
        _mm512_stream_ps((float *)(void *)s->y, low);
        _mm512_stream_ps((float *)(void *)s->y + 16, high);
        break;
    case GEMM_F32_ADD:
        _mm512_storeu_ps(s->y, _mm512_add_ps(low, _mm512_loadu_ps(s->y)));
        _mm512_storeu_ps(s->y + 64, _mm512_add_ps(high, _mm512_loadu_ps(s->y + 64)));
        break;
    default:
        gemm_store_any(s, 0);
        gemm_store_any(s, 1);
    }
    s->sums += 16;
    s->y += s->stride;
    s->rows--;
}

static inline __attribute__((always_inline)) void gemm_store_some(struct gemm_store *s, size_t n)
{
    for (size_t i = 0; i < n && s->rows; i++) {
        gemm_store_row(s);
    }
}

/* ---- Products. ---- */

/* Tiles in memory: bytes between rows of a tile, between tiles below each other, steps of k, and tiles side by
 * side. */
struct gemm_tiles {
    const char *data;
    size_t row, tile, step, side;
};

/* Lines to ask for: of `rows` rows for each step, one or two lines of each. */
struct gemm_ahead {
    const char *data;
    size_t row, step, rows;
    bool two;
};

/* One or two tiles of x times one or two of w: `steps` of them, and a last one of x packed. */
struct gemm_block {
    struct gemm_tiles x;
    size_t steps;
    const char *last; /* NULL: none; tiles one after the other */
    const char *w;    /* a panel's, from here on */
    struct gemm_tiles from;   /* sums to begin with; data NULL: 0 */
    struct gemm_tiles before; /* where those that are in the tiles go; data NULL: nowhere */
    struct gemm_ahead ahead_x, ahead_y;
    const char *wanted[GEMM_WANTED]; /* a line of each is asked for at each step, and the next is next */
    size_t n_wanted;                 /* GEMM_WANTED or 0 */
};

static inline __attribute__((always_inline)) void gemm_ask_ahead(struct gemm_ahead *a)
{
    for (size_t i = 0; i < a->rows; i++) {
        _mm_prefetch(a->data + i * a->row, _MM_HINT_T1);
        if (a->two) {
            _mm_prefetch(a->data + i * a->row + 64, _MM_HINT_T1);
        }
    }
    a->data += a->step;
}

/* Stands between tile instructions (docs/measurements.md, What a busy hardware thread costs). */
static inline __attribute__((always_inline)) void gemm_rest(void)
{
    __asm__ volatile("nop;nop;nop;nop;nop;nop;nop;nop");
}

/* Where a tile of sums is in memory, or will be. */
#define GEMM_AT(a, down, right) ((a)->data + (down) * (a)->tile + (right) * (a)->side)

/* Tile i of sums: those of the block before go where they belong, and the block's own begin. */
#define GEMM_TURN(i, b, down, right)                                             \
    do {                                                                         \
        if ((b)->before.data) {                                                  \
            TILES_STORE_ROWS(i, GEMM_AT(&(b)->before, down, right), (b)->before.row); \
            gemm_rest();                                                         \
        }                                                                        \
        if ((b)->from.data) {                                                    \
            TILES_LOAD(i, GEMM_AT(&(b)->from, down, right), (b)->from.row);      \
        } else {                                                                 \
            TILES_ZERO(i);                                                       \
        }                                                                        \
        gemm_rest();                                                             \
    } while (0)

/* Sums: tile 0 and right of it 1; below them 2 and 3. An operand is zeroed after its last use: such tiles take
 * no register of the few that a busy hardware thread leaves. */
static inline __attribute__((always_inline)) void gemm_step(size_t tiles, size_t side, bool first,
                                                            const char *x, size_t row, size_t tile,
                                                            struct gemm_block *b,
                                                            struct gemm_store *waits, size_t each)
{
    TILES_LOAD(6, b->w, 64);
    gemm_rest();
    TILES_LOAD(4, x, row);
    gemm_rest();
    if (first) {
        GEMM_TURN(0, b, 0, 0);
    }
    TILES_ADD(0, 4, 6);
    gemm_store_some(waits, each);
    if (tiles > 1) {
        TILES_LOAD(5, x + tile, row);
        gemm_ask_ahead(&b->ahead_x);
        gemm_rest();
        if (first) {
            GEMM_TURN(2, b, 1, 0);
        }
        TILES_ADD(2, 5, 6);
        gemm_store_some(waits, each);
    } else {
        gemm_ask_ahead(&b->ahead_x);
    }
    TILES_ZERO(6);
    if (side > 1) {
        TILES_LOAD(7, b->w + GEMM_TILE, 64);
        gemm_rest();
        if (first) {
            GEMM_TURN(1, b, 0, 1);
        }
        TILES_ADD(1, 4, 7);
        gemm_store_some(waits, each);
    }
    TILES_ZERO(4);
    gemm_ask_ahead(&b->ahead_y);
    for (size_t i = 0; i < b->n_wanted; i++) {
        _mm_prefetch(b->wanted[i], _MM_HINT_T1);
        b->wanted[i] += 64;
    }
    if (tiles > 1 && side > 1) {
        if (first) {
            GEMM_TURN(3, b, 1, 1);
        }
        TILES_ADD(3, 5, 7);
        gemm_store_some(waits, each);
    }
    TILES_ZERO(5);
    TILES_ZERO(7);
    b->w += side * GEMM_TILE;
}

/* The block's sums, which stay in their tiles; meanwhile stores what waits, `each` rows after a product. Not in
 * the first step: tiles are stored there to where these rows seem to be (4 KB further), and sums of 64 take
 * half as long again. */
static inline __attribute__((always_inline)) void gemm_block_run(size_t tiles, size_t side, enum gemm_way way,
                                                                 size_t each, const struct gemm_block *block,
                                                                 struct gemm_store *waits)
{
    struct gemm_block b = *block;
    struct gemm_store s = *waits;
    size_t row = b.x.row, tile = b.x.tile, n = b.steps + (b.last != NULL);
    s.way = way;
    for (size_t i = 0; i < n; i++, b.x.data += b.x.step) {
        if (i == b.steps) {
            b.x.data = b.last;
            row = 64;
            tile = GEMM_TILE;
        }
        if (i == 0) {
            gemm_step(tiles, side, true, b.x.data, row, tile, &b, &s, 0);
        } else {
            gemm_step(tiles, side, false, b.x.data, row, tile, &b, &s, each);
        }
    }
    *waits = s;
}

/* tiles, side and way as constants. */
static inline __attribute__((always_inline)) void gemm_block_of(size_t tiles, size_t side, size_t each,
                                                                const struct gemm_block *b,
                                                                struct gemm_store *waits)
{
    if (!waits->rows) {
        gemm_block_run(tiles, side, GEMM_BF16, 0, b, waits);
        return;
    }
    switch (waits->way) {
    case GEMM_BF16: gemm_block_run(tiles, side, GEMM_BF16, each, b, waits); break;
    case GEMM_BF16_STREAM: gemm_block_run(tiles, side, GEMM_BF16_STREAM, each, b, waits); break;
    case GEMM_F32: gemm_block_run(tiles, side, GEMM_F32, each, b, waits); break;
    case GEMM_F32_STREAM: gemm_block_run(tiles, side, GEMM_F32_STREAM, each, b, waits); break;
    case GEMM_F32_ADD: gemm_block_run(tiles, side, GEMM_F32_ADD, each, b, waits); break;
    default: gemm_block_run(tiles, side, GEMM_ANY, each, b, waits);
    }
}

static void gemm_block_any(size_t tiles, size_t side, size_t each, const struct gemm_block *b,
                           struct gemm_store *waits)
{
    switch (2 * tiles + side) {
    case 6: gemm_block_of(2, 2, each, b, waits); break;
    case 5: gemm_block_of(2, 1, each, b, waits); break;
    case 4: gemm_block_of(1, 2, each, b, waits); break;
    default: gemm_block_of(1, 1, each, b, waits);
    }
}

/* ---- Tasks. ---- */

/* A block whose sums are in the tiles still: where they go with the next block, and what is done then. */
struct gemm_sums {
    struct gemm_tiles to; /* data NULL: there is none */
    size_t tiles, side;
    struct gemm_store then; /* no rows: nothing */
};

/* A task on its way: one panel of it at a time. */
struct gemm_walk {
    const struct gemm_task *t;
    char *w, *x, *edge, *sums, *wide;
    size_t panel, n_k; /* of the sum: [panel, panel + n_k) of the task's */
    struct gemm_store waits;
    struct gemm_sums done;
    size_t turn; /* of the two blocks' sums */
};

/* `tiles` tiles of rows from m on, `rows` of them y's. */
struct gemm_group {
    size_t m, tiles, rows;
    struct gemm_tiles x;
    const char *last; /* the packed tiles of the panel's last step, where it is not whole */
    const char *next; /* x of the next group, NULL: none */
    size_t next_rows;
};

static inline size_t gemm_y_bytes(const struct gemm_task *t)
{
    return t->y.type == MAT_F32 ? sizeof(float) : sizeof(uint16_t);
}

static inline char *gemm_y(const struct gemm_task *t, size_t m, size_t n)
{
    return (char *)t->y.data + ((t->m + m) * t->y.stride + t->n + n) * gemm_y_bytes(t);
}

static enum gemm_way gemm_way_of(const struct gemm_task *t, const char *y, __mmask32 mask)
{
    bool f32 = t->y.type == MAT_F32;
    bool streams = t->stream && (uintptr_t)y % 64 == 0 && t->y.stride * gemm_y_bytes(t) % 64 == 0;
    if (mask != 0xffffffffu || (t->add && !f32)) {
        return GEMM_ANY;
    }
    if (f32) {
        return t->add ? GEMM_F32_ADD : streams ? GEMM_F32_STREAM : GEMM_F32;
    }
    return streams ? GEMM_BF16_STREAM : GEMM_BF16;
}

/* What is to be done with a block's sums. */
static struct gemm_store gemm_wait(const struct gemm_task *t, const struct gemm_group *g, size_t n,
                                   const char *sums)
{
    size_t cols = gemm_smaller(t->n_n - n, 32);
    struct gemm_store w = {.sums = (const float *)(const void *)sums,
                           .y = gemm_y(t, g->m, n),
                           .stride = t->y.stride * gemm_y_bytes(t),
                           .rows = g->rows,
                           .mask = cols == 32 ? 0xffffffffu : (1u << cols) - 1,
                           .type = t->y.type,
                           .add = t->add};
    w.way = gemm_way_of(t, w.y, w.mask);
    return w;
}

/* Where a block's sums begin and end: in y itself, if that is float32, of whole tiles, and neither streamed nor
 * added to by a short sum. */
static void gemm_ends(struct gemm_walk *a, const struct gemm_group *g, size_t n, bool first, bool last,
                      struct gemm_block *b, struct gemm_sums *sums)
{
    const struct gemm_task *t = a->t;
    bool whole = g->rows == 16 * g->tiles && gemm_smaller(t->n_n - n, 32) % 16 == 0;
    bool direct = t->y.type == MAT_F32 && whole && (t->add ? t->n_k > GEMM_SHORT : !t->stream);
    size_t row = t->y.stride * sizeof(float);
    struct gemm_tiles y = {gemm_y(t, g->m, n), row, 16 * row, 0, 64};
    struct gemm_tiles wide = {a->wide, 64, GEMM_TILE, 0, g->tiles * GEMM_TILE};
    wide.data += (g->m / 16 * gemm_tiles(t->n_n, 16) + n / 16 * g->tiles) * GEMM_TILE;
    b->from = !first ? wide : (struct gemm_tiles){0};
    if (first && direct && t->add) {
        b->from = y;
    }
    sums->to = !last ? wide : y;
    if (last && !direct) {
        const char *here = a->sums + a->turn % 2 * GEMM_PAIR_BYTES;
        sums->to = (struct gemm_tiles){here, 64, GEMM_TILE, 0, GEMM_SUM_BYTES};
        sums->then = gemm_wait(t, g, n, sums->to.data);
        a->turn++;
    }
}

#define GEMM_STORE(i, a, down, right) TILES_STORE_ROWS(i, GEMM_AT(a, down, right), (a)->row)

/* What is in the tiles to its place, without a next block. */
static void gemm_put_sums(struct gemm_walk *a)
{
    const struct gemm_sums *d = &a->done;
    gemm_store_some(&a->waits, a->waits.rows);
    if (!d->to.data) {
        return;
    }
    GEMM_STORE(0, &d->to, 0, 0);
    if (d->side > 1) {
        GEMM_STORE(1, &d->to, 0, 1);
    }
    if (d->tiles > 1) {
        GEMM_STORE(2, &d->to, 1, 0);
    }
    if (d->tiles > 1 && d->side > 1) {
        GEMM_STORE(3, &d->to, 1, 1);
    }
    a->waits = d->then;
    a->done.to.data = NULL;
}

/* A block; its sums go to their place with the next one. */
static void gemm_go(struct gemm_walk *a, struct gemm_block *b, const struct gemm_sums *sums)
{
    size_t later = b->steps + (b->last != NULL) - 1;
    size_t slots = (later ? later : 1) * sums->tiles * sums->side;
    if (a->done.tiles != sums->tiles || a->done.side != sums->side) {
        gemm_put_sums(a);
    }
    b->before = a->done.to;
    gemm_block_any(sums->tiles, sums->side, gemm_tiles(a->waits.rows, slots), b, &a->waits);
    gemm_store_some(&a->waits, a->waits.rows);
    if (a->done.to.data) {
        a->waits = a->done.then;
    }
    a->done = *sums;
}

/* What the group's first block asks for of the next group's y, in so many steps: its columns' lines. */
static struct gemm_ahead gemm_ahead_y(const struct gemm_task *t, const struct gemm_group *g, size_t steps)
{
    size_t row = t->y.stride * gemm_y_bytes(t), rows = gemm_tiles(g->next_rows, steps);
    bool asks = t->far && (t->add || !t->stream);
    return (struct gemm_ahead){gemm_y(t, g->m + g->rows, 0), row, rows * row, asks ? rows : 0,
                               t->y.type == MAT_F32};
}

/* A block of n_steps asks for the pieces that come next: n_steps lines of each of its places, so that a piece
 * takes more than one of them if the block is short. */
static void gemm_ask_wanted(struct gemm_wants *wants, size_t n_steps, struct gemm_block *b)
{
    size_t line = 0;
    if (!wants || wants->next == wants->n) {
        return;
    }
    for (size_t i = 0; i < GEMM_WANTED; i++) {
        b->wanted[i] = wants->pieces[gemm_smaller(wants->next, wants->n - 1)] + line * 64;
        line += n_steps;
        if (line >= GEMM_PIECE / 64) {
            wants->next++;
            line = 0;
        }
    }
    wants->next = gemm_smaller(wants->next + (line > 0), wants->n);
    b->n_wanted = GEMM_WANTED;
}

/* A group times all of the panel of w. */
static void gemm_group_run(struct gemm_walk *a, const struct gemm_group *g)
{
    const struct gemm_task *t = a->t;
    size_t steps = gemm_tiles(a->n_k, GEMM_STEP), n_blocks = gemm_tiles(t->n_n, 32);
    size_t share = g->next ? gemm_tiles(g->next_rows, n_blocks) : 0;
    for (size_t s = 0; s < steps; s += GEMM_CHUNK / GEMM_STEP) {
        size_t n_steps = gemm_smaller(steps - s, GEMM_CHUNK / GEMM_STEP);
        bool first = a->panel + s == 0, end = s + n_steps == steps, last = end && a->panel + a->n_k == t->n_k;
        bool packed = end && g->last;
        struct gemm_ahead ahead_y = gemm_ahead_y(t, g, n_steps);
        for (size_t n = 0; n < t->n_n; n += 32) {
            struct gemm_block b = {.x = g->x,
                                   .steps = n_steps - packed,
                                   .last = packed ? g->last : NULL,
                                   .w = a->w + gemm_panel_at(n, t->n_n, steps, s)};
            size_t ahead = n / 32 * share;
            b.x.data += s * g->x.step;
            if (g->next && ahead < g->next_rows) {
                b.ahead_x = (struct gemm_ahead){g->next + ahead * g->x.row + s * g->x.step, g->x.row,
                                                g->x.step, gemm_smaller(share, g->next_rows - ahead), false};
            }
            b.ahead_y = ahead_y;
            ahead_y.data += 32 * gemm_y_bytes(t);
            gemm_ask_wanted(t->wants, n_steps, &b);
            struct gemm_sums sums = {.tiles = g->tiles, .side = gemm_side(n, t->n_n)};
            gemm_ends(a, g, n, first, last, &b, &sums);
            gemm_go(a, &b, &sums);
        }
    }
}

/* x of the panel as tiles: rows as they are, but for the last step and the last tile, if they are not whole. */
static struct gemm_tiles gemm_rows(struct gemm_walk *a)
{
    const struct gemm_task *t = a->t;
    size_t row = t->x.stride * sizeof(uint16_t), k = t->k + a->panel, whole = a->n_k / GEMM_STEP * GEMM_STEP;
    if (t->product == LEARNOPS_TN) {
        size_t steps = gemm_tiles(a->n_k, GEMM_STEP);
        gemm_pack_x(t, k, a->n_k, a->x);
        return (struct gemm_tiles){a->x, 64, steps * GEMM_TILE, GEMM_TILE, 0};
    }
    for (size_t m = 0; whole < a->n_k && m < t->n_m; m += 16) {
        struct gemm_area area = {gemm_at(&t->x, t->m + m, k + whole), row};
        gemm_copy(&area, t->n_m - m, a->n_k - whole, 16, a->x + m / 16 * GEMM_TILE);
    }
    size_t m = t->n_m / 16 * 16;
    for (size_t s = 0; m < t->n_m && s < whole; s += GEMM_STEP) {
        struct gemm_area area = {gemm_at(&t->x, t->m + m, k + s), row};
        gemm_copy(&area, t->n_m - m, GEMM_STEP, 16, a->edge + s / GEMM_STEP * GEMM_TILE);
    }
    return (struct gemm_tiles){gemm_at(&t->x, t->m, k), row, 16 * row, 2 * GEMM_STEP, 0};
}

static void gemm_panel(struct gemm_walk *a)
{
    const struct gemm_task *t = a->t;
    bool turned = t->product == LEARNOPS_TN;
    struct gemm_tiles x = gemm_rows(a);
    for (size_t m = 0; m < t->n_m;) {
        size_t left = t->n_m - m, rows = left >= GEMM_GROUP ? GEMM_GROUP : gemm_smaller(left, 16);
        struct gemm_group g = {.m = m, .tiles = gemm_tiles(rows, 16), .rows = rows, .x = x};
        g.x.data += m / 16 * x.tile;
        g.next_rows = gemm_smaller(t->n_m - m - rows, GEMM_GROUP);
        if (!turned) {
            g.last = a->n_k % GEMM_STEP ? a->x + m / 16 * GEMM_TILE : NULL;
            g.next = g.next_rows ? g.x.data + rows * x.row : NULL;
            if (rows < 16) {
                g.x = (struct gemm_tiles){a->edge, 64, GEMM_TILE, GEMM_TILE, 0};
            }
        }
        gemm_group_run(a, &g);
        m += rows;
    }
}

static void gemm_amx_task(const struct gemm_task *t)
{
    struct gemm_walk a = {.t = t, .w = t->panel, .x = t->scratch};
    size_t most = t->product == LEARNOPS_TN ? GEMM_CHUNK : GEMM_PANEL;
    a.edge = a.x + GEMM_X_BYTES;
    a.sums = a.edge + GEMM_EDGE_BYTES;
    a.wide = a.sums + 2 * GEMM_PAIR_BYTES;
    for (; a.panel < t->n_k; a.panel += most) {
        a.n_k = gemm_smaller(t->n_k - a.panel, most);
        if (!t->same_w || t->n_k > most) {
            gemm_pack_w(t, t->k + a.panel, a.n_k, a.w);
        }
        gemm_panel(&a);
    }
    gemm_put_sums(&a);
    gemm_store_some(&a.waits, a.waits.rows);
    _mm_sfence();
}

static size_t gemm_amx_panel(size_t n_n, size_t n_k)
{
    return gemm_tiles(n_n, 16) * gemm_tiles(gemm_smaller(n_k, GEMM_PANEL), GEMM_STEP) * GEMM_TILE;
}

const struct gemm_kernels gemm_amx = {gemm_amx_task, GEMM_SCRATCH, gemm_amx_panel, tiles_begin, tiles_end};

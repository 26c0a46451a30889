/* tensor/cpu/learnhead_amx.c: see learnhead.h. Groups of 32 tokens, steps of 32 rows of w: products are of two
 * tiles by two. Something stands between any two tile instructions: vector work, requests for what the next
 * products read, or no-operations (docs/measurements.md, What a busy hardware thread costs). */
#include "tensor/cpu/learnhead.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "tensor/cpu/tilepack.h"
#include "tensor/cpu/tiles.h"
#include "tensor/cpu/vec_avx512.h"

enum {
    LEARNHEAD_TILE = 512,       /* numbers of bfloat16, in 1024 bytes */
    LEARNHEAD_SUMS = 256,       /* numbers of float32, in as many */
    LEARNHEAD_PANEL = 8,        /* steps of w whose products with x and e are made in turn */
    LEARNHEAD_RUN = 256,        /* tokens of e by which x is multiplied before dw's next rows are */
    LEARNHEAD_TASK = 16,        /* steps of w whose dw one task makes */
};
#define LEARNHEAD_FAR 60.0f /* as a power of 2: this far above the target's score others are too large */
#define LEARNHEAD_LOG2E 0x1.715476p+0f
#define LEARNHEAD_LN2 0.69314718055994530942

static size_t learnhead_ceil(size_t n, size_t d)
{
    return (n + d - 1) / d;
}

static size_t learnhead_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- Exponentials. ---- */

/* Scores of a step and a group on their way; 0 and 1: the group's halves. */
struct learnhead_exps {
    const float *scores; /* 2 x 2 tiles */
    size_t row;          /* of them, the next pair's; LEARNHEAD_GROUP: none left */
    uint16_t *left;      /* where e goes: left tiles, the second so many numbers further; NULL: nowhere */
    size_t left_down;
    uint16_t *right;     /* and right tiles, whose columns are in learnhead_token's order */
    __mmask16 live0, live1; /* tokens with a target */
    vec origin0, origin1, sum0, sum1, most0, most1;
    vec e00, e01, e10; /* of the pair, so far */
};

/* 2^x, relative error below 2e-7, 0 below 2^-126 and where not live. */
static inline vec learnhead_exp2(__mmask16 live, vec x)
{
    __mmask16 normal = _mm512_mask_cmp_ps_mask(live, x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
    vec f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* 0 to 1 */
    vec p = _mm512_set1_ps(1.8775767e-3f); /* fitted to the least relative error */
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(8.9893401e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5826318e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4015362e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9315307e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9999993e-1f));
    return _mm512_maskz_scalef_ps(normal, p, x);
}

static inline vec learnhead_one(const float *score, __mmask16 live, vec origin, vec *sum, vec *most)
{
    vec t = _mm512_fmsub_ps(_mm512_load_ps(score), _mm512_set1_ps(LEARNHEAD_LOG2E), origin);
    vec e = learnhead_exp2(live, t);
    *most = _mm512_max_ps(t, *most);
    *sum = _mm512_add_ps(*sum, e);
    return e;
}

static inline __attribute__((always_inline)) void learnhead_put(const struct learnhead_exps *b, vec e11)
{
    uint16_t *left = b->left + b->row / 16 * b->left_down + b->row % 16 * 32;
    uint16_t *right = b->right + b->row * 16;
    __m512i even = (__m512i)_mm512_cvtne2ps_pbh(b->e01, b->e00);
    __m512i odd = (__m512i)_mm512_cvtne2ps_pbh(e11, b->e10);
    _mm512_stream_si512((void *)left, even); /* more than the caches keep until it is read */
    _mm512_stream_si512((void *)(left + 32), odd);
    _mm512_store_si512(right, _mm512_unpacklo_epi16(even, odd));
    _mm512_store_si512(right + LEARNHEAD_TILE, _mm512_unpackhi_epi16(even, odd));
}

/* A quarter of the next two rows, if there are: quarter 0, 1, 2 or 3, in turn. */
static inline __attribute__((always_inline)) void learnhead_turn(struct learnhead_exps *b, int quarter)
{
    if (b->row == LEARNHEAD_GROUP) {
        return;
    }
    const float *at = b->scores + b->row * 16 + (b->row & 16) * 16;
    if (quarter == 0) {
        b->e00 = learnhead_one(at, b->live0, b->origin0, &b->sum0, &b->most0);
    } else if (quarter == 1) {
        b->e01 = learnhead_one(at + LEARNHEAD_SUMS, b->live1, b->origin1, &b->sum1, &b->most1);
    } else if (quarter == 2) {
        b->e10 = learnhead_one(at + 16, b->live0, b->origin0, &b->sum0, &b->most0);
    } else {
        vec e11 = learnhead_one(at + LEARNHEAD_SUMS + 16, b->live1, b->origin1, &b->sum1, &b->most1);
        if (b->left) {
            learnhead_put(b, e11);
        }
        b->row += 2;
    }
}

/* The rest of them. */
static inline __attribute__((always_inline)) void learnhead_turn_all(struct learnhead_exps *b)
{
    while (b->row < LEARNHEAD_GROUP) {
        learnhead_turn(b, 0);
        learnhead_turn(b, 1);
        learnhead_turn(b, 2);
        learnhead_turn(b, 3);
    }
}

/* Which token of a group is column j of right tile l. */
static inline size_t learnhead_token(size_t l, size_t j)
{
    return j / 4 * 8 + 4 * l + j % 4;
}

/* ---- Products. ---- */

/* Two tiles of the left operand below each other; bytes between rows of a tile, tiles, steps. */
struct learnhead_left {
    const char *data;
    size_t row, down, step;
};

struct learnhead_right {
    const char *data;
    size_t across, step;
};

/* What is done between tile instructions, eight times a step: `place` 0 to 7. */
typedef void learnhead_beside(void *what, int place);

static inline __attribute__((always_inline)) void learnhead_rest(void *what, int place)
{
    (void)what, (void)place;
    __asm__ volatile("nop;nop;nop;nop;nop;nop;nop;nop");
}

static inline __attribute__((always_inline)) void learnhead_turn_one(void *exps, int place)
{
    learnhead_turn(exps, place % 4);
}

/* For short sums. */
static inline __attribute__((always_inline)) void learnhead_turn_four(void *exps, int place)
{
    (void)place;
    learnhead_turn(exps, 0);
    learnhead_turn(exps, 1);
    learnhead_turn(exps, 2);
    learnhead_turn(exps, 3);
}

/* What the next products read: lines side by side, and rows of two lines. */
struct learnhead_ahead {
    const char *lines, *rows;
    size_t n_lines, n_rows, row; /* bytes */
};

static inline __attribute__((always_inline)) void learnhead_ask(void *ahead, int place)
{
    struct learnhead_ahead *a = ahead;
    if (place % 2 && a->n_rows) {
        _mm_prefetch(a->rows, _MM_HINT_T1);
        _mm_prefetch(a->rows + 64, _MM_HINT_T1);
        a->rows += a->row;
        a->n_rows--;
    } else if (place % 2 == 0 && a->n_lines) {
        _mm_prefetch(a->lines, _MM_HINT_T1);
        a->lines += 64;
        a->n_lines--;
    } else {
        learnhead_rest(NULL, place);
    }
}

/* Adds to tiles 0 and 1 and, below them, 2 and 3. */
static inline __attribute__((always_inline)) void learnhead_steps(struct learnhead_left a,
                                                                  struct learnhead_right b, size_t steps,
                                                                  learnhead_beside *beside, void *what)
{
    for (size_t s = 0; s < steps; s++, a.data += a.step, b.data += b.step) {
        TILES_LOAD(6, a.data, a.row);
        beside(what, 0);
        TILES_LOAD(7, b.data, 64);
        beside(what, 1);
        TILES_ADD(0, 6, 7);
        beside(what, 2);
        TILES_LOAD(7, b.data + b.across, 64);
        beside(what, 3);
        TILES_ADD(1, 6, 7);
        beside(what, 4);
        TILES_LOAD(6, a.data + a.down, a.row);
        beside(what, 5);
        TILES_ADD(3, 6, 7);
        beside(what, 6);
        TILES_LOAD(7, b.data, 64);
        beside(what, 7);
        TILES_ADD(2, 6, 7);
    }
}

static inline void learnhead_zero(void)
{
    TILES_ZERO(0);
    TILES_ZERO(1);
    TILES_ZERO(2);
    TILES_ZERO(3);
}

/* In floats. */
static inline void learnhead_load(const float *c, size_t row, size_t across, size_t down)
{
    TILES_LOAD(0, c, 4 * row);
    TILES_LOAD(1, c + across, 4 * row);
    TILES_LOAD(2, c + down, 4 * row);
    TILES_LOAD(3, c + down + across, 4 * row);
}

static inline void learnhead_store(float *c, size_t row, size_t across, size_t down)
{
    TILES_STORE_ROWS(0, c, 4 * row);
    TILES_STORE_ROWS(1, c + across, 4 * row);
    TILES_STORE_ROWS(2, c + down, 4 * row);
    TILES_STORE_ROWS(3, c + down + across, 4 * row);
}

/* ---- A block of tokens. ---- */

/* A thread's memory. */
struct learnhead_room {
    uint16_t *x;    /* right tiles [groups][2][k_steps] */
    uint16_t *rows; /* a panel of w, filled up with 0, where it is not whole */
    uint16_t *e;    /* right tiles [steps][2] of a group */
    float *dx;      /* tiles of sums [groups][2 k_steps][2] */
    float *scores;  /* two of 2 x 2 tiles */
    float *origin;  /* [block] the score that e counts from, as a power of 2 */
    float *factor;  /* [block] */
    double *hit, *sum; /* [block] the target's score, as a power of 2; of e */
};

/* `memory` NULL: how much it takes. */
static size_t learnhead_lay(const struct learnhead_plan *p, struct learnhead_room *r, char *memory)
{
    enum { PARTS = 9 };
    size_t block = p->groups * LEARNHEAD_GROUP, at = 0;
    void *parts[PARTS];
    const size_t sizes[PARTS] = {
        p->groups * 2 * p->k_steps * LEARNHEAD_TILE * sizeof(uint16_t),
        LEARNHEAD_PANEL * 2 * p->k_steps * LEARNHEAD_TILE * sizeof(uint16_t),
        LEARNHEAD_PANEL * 2 * LEARNHEAD_TILE * sizeof(uint16_t),
        p->a->dx.data ? p->groups * 4 * p->k_steps * LEARNHEAD_SUMS * sizeof(float) : 0,
        2 * 4 * LEARNHEAD_SUMS * sizeof(float),
        block * sizeof(float),
        block * sizeof(float),
        block * sizeof(double),
        block * sizeof(double),
    };
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] = memory ? memory + at : NULL;
        at += learnhead_ceil(sizes[i], 64) * 64;
    }
    *r = (struct learnhead_room){parts[0], parts[1], parts[2], parts[3], parts[4],
                                 parts[5], parts[6], parts[7], parts[8]};
    return at;
}

struct learnhead_block {
    const struct learnhead_plan *p;
    struct learnhead_room *r;
    size_t number, first, n; /* of the chunk; its tokens */
};

static const uint16_t *learnhead_row(const struct mat *m, size_t row)
{
    return (const uint16_t *)m->data + row * m->stride;
}

static float learnhead_dot(const uint16_t *a, const uint16_t *b, size_t n)
{
    vec sum = vec_set(0);
    for (size_t i = 0; i < n; i += VEC_N) {
        size_t here = n - i;
        sum = here >= VEC_N ? vec_fma(vec_load_bf16(a + i), vec_load_bf16(b + i), sum)
                            : vec_fma(vec_load_bf16_n(a + i, here), vec_load_bf16_n(b + i, here), sum);
    }
    return _mm512_reduce_add_ps(sum);
}

static bool learnhead_predicts(const struct learnhead_block *b, size_t t)
{
    return t < b->n && b->p->a->targets[b->first + t] >= 0;
}

static void learnhead_begin(const struct learnhead_block *b)
{
    const struct learnops_head *a = b->p->a;
    struct learnhead_room *r = b->r;
    size_t block = b->p->groups * LEARNHEAD_GROUP;
    const struct tilepack side = {mat_rows(a->x, b->first, b->n), 0, block, false, true};
    tilepack(&side, 0, a->x.cols, b->p->k_steps, (char *)r->x);
    for (size_t t = 0; t < block; t++) {
        bool live = learnhead_predicts(b, t);
        float hit = live ? learnhead_dot(learnhead_row(&a->x, b->first + t),
                                         learnhead_row(&a->w, (size_t)a->targets[b->first + t]), a->x.cols) : 0;
        r->origin[t] = hit * LEARNHEAD_LOG2E;
        r->sum[t] = 0;
    }
    if (a->dx.data) {
        memset(r->dx, 0, b->p->groups * 4 * b->p->k_steps * LEARNHEAD_SUMS * sizeof *r->dx);
    }
}

/* Rows of w as left tiles. */
static struct learnhead_left learnhead_panel(const struct learnhead_block *b, size_t step, size_t steps)
{
    const struct mat *w = &b->p->a->w;
    size_t row = step * LEARNHEAD_GROUP, left = w->rows - row, all = 64 * b->p->k_steps;
    if (left >= steps * LEARNHEAD_GROUP && w->cols % 32 == 0) {
        return (struct learnhead_left){(const char *)learnhead_row(w, row), 2 * w->stride, 32 * w->stride, 64};
    }
    char *to = (char *)b->r->rows;
    memset(to, 0, steps * LEARNHEAD_GROUP * all);
    for (size_t i = 0; i < left && i < steps * LEARNHEAD_GROUP; i++) {
        memcpy(to + i * all, learnhead_row(w, row + i), w->cols * sizeof(uint16_t));
    }
    return (struct learnhead_left){to, all, 16 * all, 64};
}

static uint16_t *learnhead_e(const struct learnhead_block *b, size_t v_tile, size_t group)
{
    return b->p->e + ((b->number * 2 * b->p->v_steps + v_tile) * b->p->groups + group) * LEARNHEAD_TILE;
}

/* What was made of a group's token i goes down, panels before `step`. */
static void learnhead_scale_down(const struct learnhead_block *b, size_t group, size_t i, size_t step,
                                 float factor)
{
    size_t l = i / 4 % 2, j = i / 8 * 4 + i % 4; /* learnhead_token's way back */
    float *dx = b->r->dx + (group * 4 * b->p->k_steps + l) * LEARNHEAD_SUMS + j;
    b->r->sum[group * LEARNHEAD_GROUP + i] *= (double)factor;
    if (!b->p->a->dx.data) {
        return;
    }
    for (size_t d = 0; d < 32 * b->p->k_steps; d++) {
        dx[d / 16 * 2 * LEARNHEAD_SUMS + d % 16 * 16] *= factor;
    }
    for (size_t v = 0; v < step * LEARNHEAD_GROUP; v++) {
        const struct mat one = mat_of(learnhead_e(b, v / 16, group) + v % 16 * 32 + i, MAT_BF16, 1, 1);
        mat_set(&one, 0, 0, mat_get(&one, 0, 0) * (double)factor);
    }
}

/* Whether scores of a panel were too far above their tokens' origins, which are higher now. */
static bool learnhead_rescale(const struct learnhead_block *b, size_t group, size_t step,
                              const struct learnhead_exps *x)
{
    float most[LEARNHEAD_GROUP];
    bool any = false;
    vec_store(most, x->most0);
    vec_store(most + 16, x->most1);
    for (size_t i = 0; i < LEARNHEAD_GROUP; i++) {
        size_t t = group * LEARNHEAD_GROUP + i;
        if (most[i] > LEARNHEAD_FAR && learnhead_predicts(b, t)) {
            _mm_sfence(); /* e is read */
            learnhead_scale_down(b, group, i, step, exp2f(-most[i]));
            b->r->origin[t] += most[i];
            any = true;
        }
    }
    return any;
}

static struct learnhead_exps learnhead_exps_begin(const struct learnhead_block *b, size_t group)
{
    size_t t = group * LEARNHEAD_GROUP;
    struct learnhead_exps e = {.row = LEARNHEAD_GROUP,
                               .left_down = b->p->groups * LEARNHEAD_TILE,
                               .origin0 = vec_load(b->r->origin + t),
                               .origin1 = vec_load(b->r->origin + t + 16),
                               .most0 = vec_set(-INFINITY),
                               .most1 = vec_set(-INFINITY)};
    for (size_t i = 0; i < 16; i++) {
        e.live0 = (__mmask16)(e.live0 | learnhead_predicts(b, t + i) << i);
        e.live1 = (__mmask16)(e.live1 | learnhead_predicts(b, t + 16 + i) << i);
    }
    return e;
}

/* Rows that do not exist: their e is 0. */
static void learnhead_mask(float *scores, size_t rows)
{
    for (size_t i = rows; i < LEARNHEAD_GROUP; i++) {
        float *at = scores + i * 16 + (i & 16) * 16;
        vec_store(at, vec_set(-INFINITY));
        vec_store(at + LEARNHEAD_SUMS, vec_set(-INFINITY));
    }
}

/* Whose target is among the rows of w from `row` on: its score as a product makes it. */
static void learnhead_hits(const struct learnhead_block *b, size_t group, const float *scores, size_t row)
{
    for (size_t l = 0; l < 2; l++) {
        size_t t = group * LEARNHEAD_GROUP + 16 * l, here = b->n > t ? b->n - t : 0;
        const int32_t *targets = b->p->a->targets + b->first + t;
        __mmask16 in = (__mmask16)tilepack_mask(here);
        __m512i beyond = _mm512_maskz_loadu_epi32(in, targets);
        beyond = _mm512_sub_epi32(beyond, _mm512_set1_epi32((int32_t)row));
        in = _mm512_mask_cmplt_epu32_mask(in, beyond, _mm512_set1_epi32(LEARNHEAD_GROUP));
        for (size_t i = 0; in >> i; i++) {
            if (in >> i & 1) {
                size_t at = (size_t)targets[i] - row;
                float score = scores[(at / 16 * 2 + l) * LEARNHEAD_SUMS + at % 16 * 16 + i];
                b->r->hit[t + i] = (double)score * (double)LEARNHEAD_LOG2E;
            }
        }
    }
}

/* e of a group and a panel, and their sums: each step's beside the products of the next. */
static void learnhead_scores(const struct learnhead_block *b, struct learnhead_left w, size_t step,
                             size_t steps, size_t group, struct learnhead_exps *out)
{
    const struct learnhead_plan *p = b->p;
    const struct learnhead_right x = {(const char *)(b->r->x + group * 2 * p->k_steps * LEARNHEAD_TILE),
                                      2 * p->k_steps * LEARNHEAD_TILE, 2 * LEARNHEAD_TILE};
    struct learnhead_exps e = learnhead_exps_begin(b, group);
    for (size_t s = 0; s < steps; s++, w.data += 2 * w.down) {
        float *to = b->r->scores + s % 2 * 4 * LEARNHEAD_SUMS;
        learnhead_zero();
        if (p->k_steps >= 8) {
            learnhead_steps(w, x, p->k_steps, learnhead_turn_one, &e);
        } else {
            learnhead_steps(w, x, p->k_steps, learnhead_turn_four, &e);
        }
        learnhead_store(to, 16, LEARNHEAD_SUMS, 2 * LEARNHEAD_SUMS);
        learnhead_turn_all(&e);
        learnhead_hits(b, group, to, (step + s) * LEARNHEAD_GROUP);
        learnhead_mask(to, p->a->w.rows - (step + s) * LEARNHEAD_GROUP);
        e.scores = to;
        e.row = 0;
        e.left = p->a->dx.data ? learnhead_e(b, 2 * (step + s), group) : NULL;
        e.right = b->r->e + s * 2 * LEARNHEAD_TILE;
    }
    learnhead_turn_all(&e);
    *out = e;
}

/* dx^T += w^T e. */
static void learnhead_back(const struct learnhead_block *b, size_t step, size_t steps, size_t group)
{
    const struct learnhead_plan *p = b->p;
    const uint16_t *w = p->turned + step * 2 * p->k_steps * LEARNHEAD_TILE;
    const struct learnhead_right right = {(const char *)b->r->e, 2 * LEARNHEAD_TILE, 4 * LEARNHEAD_TILE};
    for (size_t d = 0; d < 2 * p->k_steps; d += 2) {
        float *to = b->r->dx + (group * 2 * p->k_steps + d) * 2 * LEARNHEAD_SUMS;
        const struct learnhead_left left = {(const char *)(w + d * steps * LEARNHEAD_TILE), 64,
                                            2 * steps * LEARNHEAD_TILE, 2 * LEARNHEAD_TILE};
        learnhead_load(to, 16, LEARNHEAD_SUMS, 2 * LEARNHEAD_SUMS);
        learnhead_steps(left, right, steps, learnhead_rest, NULL);
        learnhead_store(to, 16, LEARNHEAD_SUMS, 2 * LEARNHEAD_SUMS);
    }
}

/* One token's loss; its factor, and what dx gets of the target's row of w besides. */
static double learnhead_finish_token(const struct learnhead_block *b, size_t t, double *loss)
{
    const struct learnops_head *a = b->p->a;
    struct learnhead_room *r = b->r;
    r->factor[t] = 0;
    if (!learnhead_predicts(b, t)) {
        *loss = 0;
        return 0;
    }
    double far = ((double)r->origin[t] - r->hit[t]) * LEARNHEAD_LN2, log_sum = log(r->sum[t]);
    double lse = (double)r->origin[t] * LEARNHEAD_LN2 + log_sum;
    double each = a->scale * (1 + 2 * a->z_loss * lse), factor = each / r->sum[t];
    *loss = far + log_sum + a->z_loss * lse * lse;
    if (!a->dx.data) {
        return 0;
    }
    size_t target = (size_t)a->targets[b->first + t];
    uint16_t *kept = learnhead_e(b, target / 16, t / LEARNHEAD_GROUP) + target % 16 * 32 + t % LEARNHEAD_GROUP;
    const struct mat one = mat_of(kept, MAT_BF16, 1, 1);
    double grad = each * exp(-far - log_sum) - a->scale, old = mat_get(&one, 0, 0);
    mat_set(&one, 0, 0, factor != 0 ? grad / factor : 0);
    r->factor[t] = (float)factor;
    return grad - factor * old;
}

/* dx of a group, 16 columns from d on; `besides`: what it gets of its target's row of w. */
static void learnhead_put_dx(const struct learnhead_block *b, size_t group, size_t d, const double *besides)
{
    const struct learnops_head *a = b->p->a;
    size_t n = learnhead_smaller(a->dx.cols - d, 16);
    for (size_t l = 0; l < 2; l++) {
        vec rows[VEC_N];
        const float *from = b->r->dx + ((group * 2 * b->p->k_steps + d / 16) * 2 + l) * LEARNHEAD_SUMS;
        for (size_t i = 0; i < 16; i++) {
            rows[i] = vec_load(from + 16 * i);
        }
        vec_transpose(rows);
        for (size_t j = 0; j < 16; j++) {
            size_t t = group * LEARNHEAD_GROUP + learnhead_token(l, j);
            vec v = vec_set(0);
            if (t >= b->n) {
                continue;
            }
            if (learnhead_predicts(b, t)) {
                const uint16_t *w = learnhead_row(&a->w, (size_t)a->targets[b->first + t]) + d;
                v = vec_mul(n < 16 ? vec_load_bf16_n(w, n) : vec_load_bf16(w), vec_set((float)besides[t]));
                v = vec_fma(rows[j], vec_set(b->r->factor[t]), v);
            }
            float *to = (float *)a->dx.data + (b->first + t) * a->dx.stride + d;
            _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), v);
        }
    }
}

/* x times factors, as pairs of tokens. */
static void learnhead_put_x(const struct learnhead_block *b, size_t group)
{
    const struct learnops_head *a = b->p->a;
    size_t tiles = 2 * b->p->k_steps;
    uint16_t *to = b->p->x + (b->number * b->p->groups + group) * tiles * LEARNHEAD_TILE;
    for (size_t i = 0; i < LEARNHEAD_GROUP; i += 2) {
        size_t t = group * LEARNHEAD_GROUP + i;
        for (size_t d = 0; d < tiles * 16; d += 16) {
            vec v[2] = {vec_set(0), vec_set(0)};
            for (size_t j = 0; j < 2; j++) {
                if (learnhead_predicts(b, t + j) && d < a->x.cols) {
                    size_t n = learnhead_smaller(a->x.cols - d, 16);
                    v[j] = vec_mul(vec_load_bf16_n(learnhead_row(&a->x, b->first + t + j) + d, n),
                                   vec_set(b->r->factor[t + j]));
                }
            }
            _mm512_store_si512(to + d / 16 * LEARNHEAD_TILE + i * 16,
                               tilepack_interleave((__m512i)_mm512_cvtne2ps_pbh(v[1], v[0])));
        }
    }
}

static void learnhead_finish(const struct learnhead_block *b)
{
    const struct learnops_head *a = b->p->a;
    double besides[LEARNHEAD_BLOCK_MOST];
    _mm_sfence(); /* e is read, and changed */
    for (size_t t = 0; t < b->p->groups * LEARNHEAD_GROUP; t++) {
        double loss;
        besides[t] = learnhead_finish_token(b, t, &loss);
        if (t < b->n) {
            a->losses[b->first + t] = loss;
        }
    }
    for (size_t g = 0; g < b->p->groups && a->dx.data; g++) {
        for (size_t d = 0; d < a->dx.cols; d += 16) {
            learnhead_put_dx(b, g, d, besides);
        }
        learnhead_put_x(b, g);
    }
}

static void learnhead_sum_up(const struct learnhead_block *b, size_t group, const struct learnhead_exps *x)
{
    float sums[LEARNHEAD_GROUP];
    vec_store(sums, x->sum0);
    vec_store(sums + 16, x->sum1);
    for (size_t i = 0; i < LEARNHEAD_GROUP; i++) {
        b->r->sum[group * LEARNHEAD_GROUP + i] += (double)sums[i];
    }
}

static void learnhead_tokens(const struct learnhead_plan *p, size_t number, void *room)
{
    struct learnhead_room r;
    size_t block = p->groups * LEARNHEAD_GROUP, first = p->first + number * block;
    learnhead_lay(p, &r, room);
    const struct learnhead_block b = {p, &r, number, first, learnhead_smaller(p->a->x.rows - first, block)};
    learnhead_begin(&b);
    for (size_t step = 0; step < p->v_steps; step += LEARNHEAD_PANEL) {
        size_t steps = learnhead_smaller(p->v_steps - step, LEARNHEAD_PANEL);
        struct learnhead_left w = learnhead_panel(&b, step, steps);
        for (size_t g = 0; g < p->groups; g++) {
            struct learnhead_exps x = {0};
            do {
                learnhead_scores(&b, w, step, steps, g, &x);
            } while (learnhead_rescale(&b, g, step, &x));
            learnhead_sum_up(&b, g, &x);
            if (p->a->dx.data) {
                learnhead_back(&b, step, steps, g);
            }
        }
    }
    learnhead_finish(&b);
}

/* ---- dw += e x. ---- */

/* The sums of 32 rows and 32 columns: 2 x 2 tiles in dw itself, or, where it ends within them, in a copy. */
static float *learnhead_sums(const struct mat *dw, size_t v, size_t d, float *copy, size_t *row)
{
    float *at = (float *)dw->data + v * dw->stride + d;
    if (dw->rows - v >= 32 && dw->cols - d >= 32) {
        *row = dw->stride;
        return at;
    }
    *row = 32;
    memset(copy, 0, 32 * 32 * sizeof *copy);
    for (size_t i = 0; i < 32 && v + i < dw->rows; i++) {
        memcpy(copy + 32 * i, at + i * dw->stride, learnhead_smaller(dw->cols - d, 32) * sizeof *copy);
    }
    return copy;
}

static void learnhead_put_sums(const struct mat *dw, size_t v, size_t d, const float *copy)
{
    float *at = (float *)dw->data + v * dw->stride + d;
    for (size_t i = 0; i < 32 && v + i < dw->rows; i++) {
        memcpy(at + i * dw->stride, copy + 32 * i, learnhead_smaller(dw->cols - d, 32) * sizeof *copy);
    }
}

/* 32 rows of dw, tokens of blocks [first, end) of the chunk; `more`: the next 32 rows follow. */
static void learnhead_rows(const struct learnhead_plan *p, size_t step, size_t first, size_t end, bool more)
{
    const struct mat *dw = &p->a->dw;
    float copy[32 * 32] __attribute__((aligned(64)));
    size_t tile = 2 * LEARNHEAD_TILE, tiles = 2 * p->k_steps, v = step * LEARNHEAD_GROUP, row;
    size_t e_bytes = 2 * p->groups * tile, share = e_bytes / 64 / p->k_steps * 64;
    for (size_t d = 0; d < dw->cols; d += 32) {
        float *to = learnhead_sums(dw, v, d, copy, &row);
        struct learnhead_ahead ahead = {.rows = (const char *)(to + 32 * row), .row = sizeof(float) * row};
        ahead.n_rows = more && to != copy ? LEARNHEAD_GROUP : 0;
        learnhead_load(to, row, 16, 16 * row);
        for (size_t i = first; i < end; i++) {
            const char *e = (const char *)p->e + (i * p->v_steps + step) * e_bytes;
            const char *x = (const char *)(p->x + (i * p->groups * tiles + d / 16) * LEARNHEAD_TILE);
            ahead.lines = e + e_bytes + d / 32 * share;
            ahead.n_lines = more ? share / 64 : 0;
            learnhead_steps((struct learnhead_left){e, 64, p->groups * tile, tile},
                            (struct learnhead_right){x, tile, tiles * tile}, p->groups, learnhead_ask, &ahead);
        }
        learnhead_store(to, row, 16, 16 * row);
        if (to == copy) {
            learnhead_put_sums(dw, v, d, copy);
        }
    }
}

/* The runs of a chunk one after the other, so that the second cache keeps x. */
static void learnhead_weights(const struct learnhead_plan *p, size_t task, void *room)
{
    size_t run = learnhead_ceil(LEARNHEAD_RUN, p->groups * LEARNHEAD_GROUP);
    size_t end = learnhead_smaller((task + 1) * LEARNHEAD_TASK, p->v_steps);
    (void)room;
    for (size_t i = 0; i < p->blocks; i += run) {
        for (size_t step = task * LEARNHEAD_TASK; step < end; step++) {
            learnhead_rows(p, step, i, learnhead_smaller(i + run, p->blocks), step + 1 < end);
        }
    }
}

/* ---- The whole. ---- */

static void learnhead_turn_panel(const struct learnhead_plan *p, size_t task, void *room)
{
    size_t step = task * LEARNHEAD_PANEL, steps = learnhead_smaller(p->v_steps - step, LEARNHEAD_PANEL);
    size_t row = step * LEARNHEAD_GROUP, left = p->a->w.rows - row;
    const struct tilepack side = {p->a->w, 0, 32 * p->k_steps, true, false};
    (void)room;
    tilepack(&side, row, left, steps, (char *)(p->turned + step * 2 * p->k_steps * LEARNHEAD_TILE));
}

static void learnhead_share(struct compute *c, const struct learnhead_plan *p, size_t n_tasks,
                            void (*task)(const struct learnhead_plan *p, size_t task, void *room), size_t each)
{
    atomic_size_t next = 0;
#pragma omp parallel for schedule(static, 1) num_threads(c->n_threads)
    for (int i = 0; i < c->n_threads; i++) {
        size_t mine;
        tiles_begin();
        while ((mine = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed)) < n_tasks) {
            task(p, mine, (char *)c->scratch + (size_t)i * each);
        }
        tiles_end();
    }
}

err learnhead_amx(struct compute *c, const struct learnops_head *a)
{
    struct learnhead_plan p = learnhead_shape(a->x.rows, a->w.rows, a->x.cols);
    struct learnhead_room r;
    size_t most = p.blocks, block = p.groups * LEARNHEAD_GROUP;
    p.a = a;
    size_t each = learnhead_lay(&p, &r, NULL);
    if (!compute_scratch(c, each * (size_t)c->n_threads)) {
        return ERR_NOMEM;
    }
    if (a->dx.data) {
        learnhead_place(&p, a->memory);
        learnhead_share(c, &p, learnhead_ceil(p.v_steps, LEARNHEAD_PANEL), learnhead_turn_panel, each);
    }
    for (; p.first < a->x.rows; p.first += most * block) {
        p.blocks = learnhead_smaller(most, learnhead_ceil(a->x.rows - p.first, block));
        learnhead_share(c, &p, p.blocks, learnhead_tokens, each);
        if (a->dx.data) {
            learnhead_share(c, &p, learnhead_ceil(p.v_steps, LEARNHEAD_TASK), learnhead_weights, each);
        }
    }
    return ERR_OK;
}

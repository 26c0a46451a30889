/* tensor/cpu/learnexperts.c: see learnexperts.h. */
#include "tensor/cpu/learnexperts.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "tensor/cpu/gemm.h"

enum { LEARNEXPERTS_ALIGN = 64, LEARNEXPERTS_AHEAD = 8, LEARNEXPERTS_STREAM = 4 << 20 };

/* ---- The plan. ---- */

struct learnexperts_part {
    size_t expert, first, n; /* places [first, first + n) */
    size_t sums;             /* 0: the gradients themselves; otherwise its own, number sums - 1 */
};

struct learnexperts_plan {
    const struct learnops_experts *a;
    const struct learnops_experts_grads *g; /* NULL: forward */
    struct mat y;
    const struct gemm_kernels *gemm;
    const struct learnexperts_rows *rows;
    struct learnexperts_part *parts; /* the largest first */
    size_t n_parts, n_sums, block;
    atomic_size_t *next; /* the part that is taken next */
    size_t d, f, each; /* each: floats of an expert's gradients */
    float *sums;       /* [n_sums][each] */
};

bool learnexperts_takes(const struct learnops_experts *a, const struct mat *y,
                        const struct learnops_experts_grads *g)
{
    bool narrow = a->h.type == MAT_BF16 && a->gate.type == MAT_BF16 && a->up.type == MAT_BF16 &&
                  a->down.type == MAT_BF16 && a->gates.type == MAT_BF16 && a->ups.type == MAT_BF16;
    if (!g) {
        return narrow && y->type != MAT_F64;
    }
    return narrow && g->d.type == MAT_BF16 && g->weight.type == MAT_F32 && g->dweight.type == MAT_F32 &&
           g->dplaces.type != MAT_F64 && g->dgate.type == MAT_F32 && g->dup.type == MAT_F32 &&
           g->ddown.type == MAT_F32;
}

static int learnexperts_order(const void *a, const void *b)
{
    const struct learnexperts_part *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : (x->first > y->first) - (x->first < y->first);
}

static size_t learnexperts_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t learnexperts_part_places(size_t n_places)
{
    size_t share = (n_places + LEARNEXPERTS_PARTS - 1) / LEARNEXPERTS_PARTS;
    return share > LEARNEXPERTS_PART ? share : LEARNEXPERTS_PART;
}

static err learnexperts_parts(struct learnexperts_plan *p)
{
    const struct learnops_experts *a = p->a;
    size_t all = a->first[a->n_experts], most = learnexperts_part_places(all);
    p->parts = mem_calloc(a->n_experts + all / most + 1, sizeof *p->parts);
    if (!p->parts) {
        return ERR_NOMEM;
    }
    for (size_t e = 0; e < a->n_experts; e++) {
        for (size_t at = a->first[e]; at < a->first[e + 1]; at += most) {
            p->parts[p->n_parts++] = (struct learnexperts_part){
                e, at, learnexperts_smaller(most, a->first[e + 1] - at), at > a->first[e] ? ++p->n_sums : 0};
        }
    }
    qsort(p->parts, p->n_parts, sizeof *p->parts, learnexperts_order);
    return ERR_OK;
}

/* An expert's matrices, or their gradients. */
struct learnexperts_mats {
    struct mat gate, up, down;
};

static struct learnexperts_mats learnexperts_of(const struct learnexperts_plan *p, size_t e, struct mat gate,
                                                struct mat up, struct mat down)
{
    return (struct learnexperts_mats){mat_rows(gate, e * p->f, p->f), mat_rows(up, e * p->f, p->f),
                                      mat_rows(down, e * p->d, p->d)};
}

/* ---- A thread's memory. ---- */

struct learnexperts_work {
    struct mat h, d;        /* bfloat16 [block, D]: rows of the block's tokens */
    struct mat wide, wide2; /* float32 [block, F]: gates and ups; back: dinner, none */
    struct mat inner;       /* bfloat16 [block, F] */
    struct mat both;        /* bfloat16 [block, 2F]: dgate and dup side by side */
    struct mat weights;     /* bfloat16 [2F, D]: gate and up, one above the other */
    float *weight, *dweight; /* [block] */
    char *panels[4];
    struct gemm_wants *wants;
    void *scratch;
};

struct learnexperts_area {
    char *base; /* NULL: counting */
    size_t used;
};

static void *learnexperts_take(struct learnexperts_area *a, size_t n)
{
    void *at = a->base ? a->base + a->used : NULL;
    a->used += (n + LEARNEXPERTS_ALIGN - 1) / LEARNEXPERTS_ALIGN * LEARNEXPERTS_ALIGN;
    return at;
}

/* Rows begin at whole cache lines. */
static struct mat learnexperts_take_mat(struct learnexperts_area *a, enum mat_type type, size_t rows,
                                        size_t cols)
{
    struct mat m = mat_of(NULL, type, rows, cols);
    m.stride = (cols + LEARNEXPERTS_ALIGN / 2 - 1) / (LEARNEXPERTS_ALIGN / 2) * (LEARNEXPERTS_ALIGN / 2);
    m.data = learnexperts_take(a, rows * m.stride * mat_type_bytes(type));
    return m;
}

static char *learnexperts_take_panel(const struct learnexperts_plan *p, struct learnexperts_area *a, size_t n,
                                     size_t k)
{
    size_t size = n / GEMM_COLS * p->gemm->panel(GEMM_COLS, k);
    return learnexperts_take(a, size + (n % GEMM_COLS ? p->gemm->panel(n % GEMM_COLS, k) : 0));
}

/* Of a block and an expert together. */
static size_t learnexperts_pieces(const struct learnexperts_plan *p)
{
    size_t row = p->d * 2 / GEMM_PIECE + 2, inner = p->f * 2 / GEMM_PIECE + 2;
    return p->block * (2 * row + 2 * inner) + 2 * p->f * row + p->d * inner;
}

static struct learnexperts_work learnexperts_work(const struct learnexperts_plan *p,
                                                  struct learnexperts_area *a)
{
    size_t n = p->block, d = p->d, f = p->f;
    struct learnexperts_work w = {.h = learnexperts_take_mat(a, MAT_BF16, n, d),
                                  .wide = learnexperts_take_mat(a, MAT_F32, n, f),
                                  .inner = learnexperts_take_mat(a, MAT_BF16, n, f)};
    if (!p->g) {
        w.wide2 = learnexperts_take_mat(a, MAT_F32, n, f);
        w.panels[0] = learnexperts_take_panel(p, a, f, d);
        w.panels[1] = learnexperts_take_panel(p, a, f, d);
        w.panels[2] = learnexperts_take_panel(p, a, d, f);
    } else {
        w.d = learnexperts_take_mat(a, MAT_BF16, n, d);
        w.both = learnexperts_take_mat(a, MAT_BF16, n, 2 * f);
        w.weights = learnexperts_take_mat(a, MAT_BF16, 2 * f, d);
        w.weight = learnexperts_take(a, n * sizeof(float));
        w.dweight = learnexperts_take(a, n * sizeof(float));
        w.panels[0] = learnexperts_take_panel(p, a, f, d);
        w.panels[1] = learnexperts_take_panel(p, a, d, 2 * f);
        w.panels[2] = learnexperts_take_panel(p, a, d, n);
        w.panels[3] = learnexperts_take_panel(p, a, f, n);
    }
    w.scratch = learnexperts_take(a, p->gemm->scratch);
    w.wants = learnexperts_take(a, sizeof *w.wants);
    const char **pieces = learnexperts_take(a, learnexperts_pieces(p) * sizeof *pieces);
    if (w.wants) {
        *w.wants = (struct gemm_wants){.pieces = pieces};
    }
    return w;
}

/* Places whose rows, and what is made of them, fit: a multiple of 32. */
static size_t learnexperts_block(size_t d, size_t f)
{
    size_t n = LEARNEXPERTS_BYTES / (4 * d + 10 * f) / 32 * 32;
    n = n < 32 ? 32 : n;
    return n < LEARNEXPERTS_BLOCK ? n : LEARNEXPERTS_BLOCK;
}

/* ---- Pieces of a block. ---- */

/* A product of any size, whose w is packed to `panel`, or there already. */
static void learnexperts_product(const struct learnexperts_plan *p, const struct learnexperts_work *w,
                                 struct gemm_task t, char *panel, bool same_w)
{
    t.n_k = t.product == LEARNOPS_TN ? t.x.rows : t.x.cols;
    t.scratch = w->scratch;
    t.wants = w->wants;
    for (t.n = 0; t.n < t.y.cols; t.n += GEMM_COLS) {
        t.n_n = learnexperts_smaller(t.y.cols - t.n, GEMM_COLS);
        t.panel = panel;
        for (t.m = 0; t.m < t.y.rows; t.m += GEMM_ROWS) {
            t.n_m = learnexperts_smaller(t.y.rows - t.m, GEMM_ROWS);
            t.same_w = same_w || t.m > 0;
            p->gemm->task(&t);
        }
        panel += p->gemm->panel(t.n_n, t.n_k);
    }
}

static const char *learnexperts_row(const struct mat *m, size_t row)
{
    return (const char *)m->data + row * m->stride * mat_type_bytes(m->type);
}

/* to[i] = from's row of the token at place first + i. What comes next only the list knows: it is asked for. */
static void learnexperts_gather(const struct learnexperts_plan *p, struct mat to, struct mat from, size_t first)
{
    const uint32_t *choice = p->a->choice + first;
    size_t bytes = to.cols * mat_type_bytes(to.type);
    for (size_t i = 0; i < to.rows; i++) {
        for (size_t at = 0; i + LEARNEXPERTS_AHEAD < to.rows && at < bytes; at += 64) {
            __builtin_prefetch(learnexperts_row(&from, choice[i + LEARNEXPERTS_AHEAD] / p->a->n_chosen) + at);
        }
        memcpy((char *)to.data + i * to.stride * mat_type_bytes(to.type),
               learnexperts_row(&from, choice[i] / p->a->n_chosen), bytes);
    }
}

static void learnexperts_copy(struct mat to, struct mat from)
{
    for (size_t i = 0; i < to.rows; i++) {
        memcpy((char *)to.data + i * to.stride * mat_type_bytes(to.type), learnexperts_row(&from, i),
               to.cols * mat_type_bytes(to.type));
    }
}

static bool learnexperts_large(const struct mat *m, size_t least)
{
    return m->rows * m->cols * mat_type_bytes(m->type) >= least;
}

static bool learnexperts_lines(const struct mat *m)
{
    return (uintptr_t)m->data % 64 == 0 && m->stride * mat_type_bytes(m->type) % 64 == 0;
}

/* ---- What comes next is asked for. ---- */

static void learnexperts_want(struct gemm_wants *w, const char *data, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += GEMM_PIECE) {
        w->pieces[w->n++] = data + at;
    }
}

/* All rows of a mat: in one go, if there is nothing between them. */
static void learnexperts_want_mat(struct gemm_wants *w, struct mat m)
{
    size_t bytes = mat_type_bytes(m.type);
    if (m.stride == m.cols) {
        learnexperts_want(w, m.data, m.rows * m.cols * bytes);
        return;
    }
    for (size_t i = 0; i < m.rows; i++) {
        learnexperts_want(w, learnexperts_row(&m, i), m.cols * bytes);
    }
}

static void learnexperts_want_tokens(const struct learnexperts_plan *p, struct gemm_wants *w, struct mat m,
                                     size_t place, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        learnexperts_want(w, learnexperts_row(&m, p->a->choice[place + i] / p->a->n_chosen),
                          m.cols * mat_type_bytes(m.type));
    }
}

/* What the block after the first `done` places of the part reads: another part's, after the last. */
static void learnexperts_want_next(const struct learnexperts_plan *p, const struct learnexperts_part *part,
                                   size_t done, struct gemm_wants *w)
{
    const struct learnops_experts *a = p->a;
    bool other = done == part->n;
    w->n = w->next = 0;
    if (other) {
        size_t next = atomic_load_explicit(p->next, memory_order_relaxed);
        if (next >= p->n_parts) {
            return;
        }
        part = &p->parts[next];
        done = 0;
    }
    size_t place = part->first + done, n = learnexperts_smaller(part->n - done, p->block);
    if (p->g) {
        learnexperts_want_tokens(p, w, p->g->d, place, n);
        learnexperts_want_mat(w, mat_rows(a->gates, place, n));
        learnexperts_want_mat(w, mat_rows(a->ups, place, n));
    }
    learnexperts_want_tokens(p, w, a->h, place, n);
    if (other) {
        learnexperts_want_mat(w, mat_rows(a->gate, part->expert * p->f, p->f));
        learnexperts_want_mat(w, mat_rows(a->up, part->expert * p->f, p->f));
        learnexperts_want_mat(w, mat_rows(a->down, part->expert * p->d, p->d));
    }
}

/* ---- Forward. ---- */

static void learnexperts_part_forward(const struct learnexperts_plan *p, const struct learnexperts_part *part,
                                      const struct learnexperts_work *all)
{
    const struct learnops_experts *a = p->a;
    struct learnexperts_mats weights = learnexperts_of(p, part->expert, a->gate, a->up, a->down);
    bool stream = learnexperts_large(&a->gates, LEARNEXPERTS_STREAM) && learnexperts_lines(&a->gates) &&
                  learnexperts_lines(&a->ups);
    for (size_t at = 0, n; at < part->n; at += n) {
        n = learnexperts_smaller(part->n - at, p->block);
        struct mat h = mat_rows(all->h, 0, n), y = mat_rows(p->y, part->first + at, n);
        const struct learnexperts_forward rows = {.gates = mat_rows(all->wide, 0, n),
                                                  .ups = mat_rows(all->wide2, 0, n),
                                                  .kept_gates = mat_rows(a->gates, part->first + at, n),
                                                  .kept_ups = mat_rows(a->ups, part->first + at, n),
                                                  .inner = mat_rows(all->inner, 0, n),
                                                  .stream = stream};
        learnexperts_want_next(p, part, at + n, all->wants);
        learnexperts_gather(p, h, a->h, part->first + at);
        struct gemm_task t = {.product = LEARNOPS_NT, .y = rows.gates, .x = h, .w = weights.gate};
        learnexperts_product(p, all, t, all->panels[0], at > 0);
        t.y = rows.ups;
        t.w = weights.up;
        learnexperts_product(p, all, t, all->panels[1], at > 0);
        p->rows->forward(&rows);
        t = (struct gemm_task){.product = LEARNOPS_NT, .y = y, .x = rows.inner, .w = weights.down};
        t.stream = learnexperts_large(&p->y, GEMM_STREAM);
        learnexperts_product(p, all, t, all->panels[2], at > 0);
    }
}

/* ---- Backward. ---- */

static struct learnexperts_mats learnexperts_sums(const struct learnexperts_plan *p, size_t i)
{
    float *at = p->sums + i * p->each;
    return (struct learnexperts_mats){mat_of(at, MAT_F32, p->f, p->d),
                                      mat_of(at + p->f * p->d, MAT_F32, p->f, p->d),
                                      mat_of(at + 2 * p->f * p->d, MAT_F32, p->d, p->f)};
}

/* A place's element of a mat [T, K]. */
static float *learnexperts_weight(const struct learnexperts_plan *p, const struct mat *m, size_t place)
{
    size_t choice = p->a->choice[place], k = p->a->n_chosen;
    return (float *)m->data + choice / k * m->stride + choice % k;
}

/* What follows from the gradients of `both` and `inner`: of the inputs, and of the matrices. */
static void learnexperts_block_grads(const struct learnexperts_plan *p, const struct learnexperts_work *w,
                                     struct mat dplaces, const struct learnexperts_mats *grads, bool first,
                                     bool add)
{
    struct gemm_task t = {.product = LEARNOPS_NN, .y = dplaces, .x = w->both, .w = w->weights};
    t.stream = learnexperts_large(&p->g->dplaces, GEMM_STREAM);
    learnexperts_product(p, w, t, w->panels[1], !first);
    t = (struct gemm_task){.product = LEARNOPS_TN, .w = w->h, .add = add, .far = first};
    t.y = grads->gate;
    t.x = mat_cols(w->both, 0, p->f);
    learnexperts_product(p, w, t, w->panels[2], false);
    t.y = grads->up;
    t.x = mat_cols(w->both, p->f, p->f);
    learnexperts_product(p, w, t, w->panels[2], true);
    t.y = grads->down;
    t.x = w->d;
    t.w = w->inner;
    learnexperts_product(p, w, t, w->panels[3], false);
}

/* Sets `both`, `inner` and the weights' gradients of the block that begins at `place`. */
static void learnexperts_block_inner(const struct learnexperts_plan *p, const struct learnexperts_work *w,
                                     size_t place, struct mat down, bool first)
{
    const struct learnops_experts_grads *g = p->g;
    size_t n = w->inner.rows;
    struct learnexperts_back rows = {.gates = mat_rows(p->a->gates, place, n),
                                     .ups = mat_rows(p->a->ups, place, n),
                                     .dinner = mat_rows(w->wide, 0, n),
                                     .inner = w->inner,
                                     .dgate = mat_cols(w->both, 0, p->f),
                                     .dup = mat_cols(w->both, p->f, p->f),
                                     .weight = w->weight,
                                     .dweight = w->dweight};
    struct gemm_task t = {.product = LEARNOPS_NN, .y = rows.dinner, .x = w->d, .w = down};
    learnexperts_product(p, w, t, w->panels[0], !first);
    for (size_t i = 0; i < n; i++) {
        w->weight[i] = *learnexperts_weight(p, &g->weight, place + i);
    }
    p->rows->back(&rows);
    for (size_t i = 0; i < n; i++) {
        *learnexperts_weight(p, &g->dweight, place + i) = w->dweight[i];
    }
}

static void learnexperts_part_back(const struct learnexperts_plan *p, const struct learnexperts_part *part,
                                   const struct learnexperts_work *all)
{
    const struct learnops_experts *a = p->a;
    const struct learnops_experts_grads *g = p->g;
    struct learnexperts_mats grads = part->sums ? learnexperts_sums(p, part->sums - 1) :
                                     learnexperts_of(p, part->expert, g->dgate, g->dup, g->ddown);
    struct learnexperts_mats weights = learnexperts_of(p, part->expert, a->gate, a->up, a->down);
    learnexperts_copy(mat_rows(all->weights, 0, p->f), weights.gate);
    learnexperts_copy(mat_rows(all->weights, p->f, p->f), weights.up);
    for (size_t at = 0, n; at < part->n; at += n) {
        n = learnexperts_smaller(part->n - at, p->block);
        size_t place = part->first + at;
        struct learnexperts_work w = *all;
        w.h = mat_rows(w.h, 0, n);
        w.d = mat_rows(w.d, 0, n);
        w.both = mat_rows(w.both, 0, n);
        w.inner = mat_rows(w.inner, 0, n);
        learnexperts_want_next(p, part, at + n, w.wants);
        learnexperts_gather(p, w.d, g->d, place);
        learnexperts_block_inner(p, &w, place, weights.down, at == 0);
        learnexperts_gather(p, w.h, a->h, place);
        learnexperts_block_grads(p, &w, mat_rows(g->dplaces, place, n), &grads, at == 0,
                                 at > 0 || !part->sums);
    }
}

/* Adds the share of rows of a matrix that one of n_threads has. */
static void learnexperts_add(struct mat to, struct mat from, size_t thread, size_t n_threads)
{
    for (size_t r = to.rows * thread / n_threads; r < to.rows * (thread + 1) / n_threads; r++) {
        float *y = (float *)to.data + r * to.stride;
        const float *x = (const float *)from.data + r * from.stride;
        for (size_t i = 0; i < to.cols; i++) {
            y[i] += x[i];
        }
    }
}

/* The parts' own sums to the gradients. An expert's parts are in their order: only the last may be smaller. */
static void learnexperts_add_sums(const struct learnexperts_plan *p, size_t thread, size_t n_threads)
{
    for (size_t i = 0; i < p->n_parts; i++) {
        const struct learnexperts_part *part = &p->parts[i];
        if (part->sums) {
            struct learnexperts_mats to = learnexperts_of(p, part->expert, p->g->dgate, p->g->dup, p->g->ddown);
            struct learnexperts_mats from = learnexperts_sums(p, part->sums - 1);
            learnexperts_add(to.gate, from.gate, thread, n_threads);
            learnexperts_add(to.up, from.up, thread, n_threads);
            learnexperts_add(to.down, from.down, thread, n_threads);
        }
    }
}

/* ---- All of it. ---- */

static void learnexperts_share(struct learnexperts_plan *p, int n_threads, char *memory, size_t each)
{
    atomic_size_t next = 0;
    p->next = &next;
#pragma omp parallel for schedule(static, 1) num_threads(n_threads)
    for (int i = 0; i < n_threads; i++) {
        struct learnexperts_area area = {memory + (size_t)i * each, 0};
        struct learnexperts_work w = learnexperts_work(p, &area);
        size_t part;
        p->gemm->thread_begin();
        while ((part = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed)) < p->n_parts) {
            if (p->g) {
                learnexperts_part_back(p, &p->parts[part], &w);
            } else {
                learnexperts_part_forward(p, &p->parts[part], &w);
            }
        }
        p->gemm->thread_end();
    }
    if (p->g && p->n_sums) {
#pragma omp parallel for schedule(static, 1) num_threads(n_threads)
        for (int i = 0; i < n_threads; i++) {
            learnexperts_add_sums(p, (size_t)i, (size_t)n_threads);
        }
    }
}

static err learnexperts_go(struct compute *c, struct learnexperts_plan *p)
{
    static const struct learnexperts_rows *const rows[CPUINFO_LEVELS] = {
        [CPUINFO_AVX2] = &learnexperts_avx2,
        [CPUINFO_AVX512] = &learnexperts_avx512,
        [CPUINFO_AVX512BF16] = &learnexperts_avx512bf16,
        [CPUINFO_AMX] = &learnexperts_avx512bf16,
    };
    p->gemm = gemm_of(c->level);
    p->rows = rows[c->level];
    p->d = p->a->h.cols;
    p->f = p->a->gates.cols;
    p->each = 3 * p->d * p->f;
    p->block = learnexperts_block(p->d, p->f);
    TRY(learnexperts_parts(p));
    struct learnexperts_area one = {0};
    learnexperts_work(p, &one);
    size_t works = one.used * (size_t)c->n_threads, sums = 0, size = 0;
    bool fits = !p->g || checked_mul(p->n_sums, p->each * sizeof(float), &sums);
    char *memory = fits && checked_add(works, sums, &size) ? compute_scratch(c, size) : NULL;
    if (memory) {
        p->sums = (float *)(void *)(memory + works);
        learnexperts_share(p, c->n_threads, memory, one.used);
    }
    mem_free(p->parts);
    return memory ? ERR_OK : ERR_NOMEM;
}

err learnexperts_run(struct compute *c, const struct learnops_experts *a, struct mat y)
{
    struct learnexperts_plan p = {.a = a, .y = y};
    return learnexperts_go(c, &p);
}

err learnexperts_run_backward(struct compute *c, const struct learnops_experts *a,
                              const struct learnops_experts_grads *g)
{
    struct learnexperts_plan p = {.a = a, .g = g};
    return learnexperts_go(c, &p);
}

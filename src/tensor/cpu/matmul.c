/* tensor/cpu/matmul.c: the driver of matmul.h. All jobs of a call become one list of packs (rows of
 * activations in the form a kernel wants, made once however many jobs share them) and one list of
 * tasks (some weight rows of one job). One parallel region; threads take packs, then tasks, from
 * a counter, so that many small experts and one large matrix are shared out alike. */
#include "tensor/cpu/matmul.h"

#include <stdatomic.h>
#include <string.h>

enum {
    MATMUL_DOT_BYTES = 131072, /* weight bytes of a dot task: its streams are worth prefetching */
    MATMUL_SERIAL_PACK = 8192, /* activations below this are packed before the threads start */
    MATMUL_LINE = 64,
};

struct matmul_pack {
    const float *x;
    const uint32_t *rows;
    size_t n_rows, x_stride, k;
    enum matmul_form form;
    size_t data;      /* offset in the scratch */
    size_t tile_size; /* bytes of a unit: 16 rows, or one row of integers */
    size_t unit;      /* number of the first unit among all packs */
};

struct matmul_part {
    const struct matmul_job *job;
    enum matmul_form form;
    size_t pack[MATMUL_DOT_ROWS]; /* product: the first one; dot: one per activation row */
    size_t step;                  /* weight rows of a task */
    size_t block, panels;         /* activation rows of a task; tasks per block */
    size_t task;                  /* number of the first task among all parts */
};

struct matmul_plan {
    const struct matmul_kernels *kern;
    struct matmul_part *parts;
    struct matmul_pack *packs;
    uint32_t *slots; /* hash table of packs, pack number + 1; n_slots is a power of two */
    size_t n_parts, n_packs, n_slots;
    size_t n_units, n_tasks, pack_floats;
    size_t panel, panel_size; /* per-thread scratch: offset of the first, bytes of each */
    size_t size;              /* scratch bytes in all */
    int n_threads;
    char *scratch;
};

static bool matmul_is_plain(enum dtype t)
{
    return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16 || t == DTYPE_F8_E4M3;
}

/* Types of which a product of integers unpacks 16 rows side by side in less time than a dot unpacks one. */
static bool matmul_skips_dot(const struct matmul_kernels *k, enum dtype t)
{
    return k->product_q16 && (t == DTYPE_Q4_1 || t == DTYPE_Q5_1);
}

/* Deterministic mode looks at the weight type alone. F32 and F16 keep their precision. */
static enum matmul_form matmul_choose(const struct compute *c, const struct matmul_kernels *k,
                                      const struct matmul_job *j)
{
    if (!c->deterministic && j->n_rows <= k->dot_rows && !matmul_skips_dot(k, j->w.dtype)) {
        return matmul_is_plain(j->w.dtype) ? MATMUL_PLAIN : MATMUL_Q15;
    }
    if (k->product_q16 && !matmul_is_plain(j->w.dtype)) {
        return MATMUL_Q16;
    }
    bool exact = j->w.dtype == DTYPE_F32 || j->w.dtype == DTYPE_F16;
    return k->product_bf16 && !exact ? MATMUL_BF16 : MATMUL_F32;
}

static size_t matmul_unit_size(enum matmul_form form, size_t k)
{
    size_t padded = matmul_round(k, MATMUL_GROUP);
    switch (form) {
    case MATMUL_F32: return padded * MATMUL_TILE * sizeof(float);
    case MATMUL_BF16: return padded * MATMUL_TILE * sizeof(uint16_t);
    case MATMUL_Q16: return matmul_round(k, MATMUL_RUN) / MATMUL_RUN * sizeof(struct matmul_q16);
    case MATMUL_Q15: return matmul_round(k, MATMUL_RUN) / MATMUL_RUN * sizeof(struct matmul_q15);
    default: return 0;
    }
}

/* A thread's scratch for a product: the unpacked weights, and where sums wait. */
static size_t matmul_panel_size(const struct matmul_kernels *kern, enum matmul_form form,
                                const struct tensor *w, size_t n_rows)
{
    if (form == MATMUL_Q16) {
        return kern->q16_panel(n_rows);
    }
    if (form == MATMUL_BF16) {
        return matmul_bf16_panel(w).size;
    }
    size_t sums = matmul_round(n_rows, MATMUL_TILE) * MATMUL_PANEL * sizeof(float);
    return MATMUL_PANEL * MATMUL_CHUNK * sizeof(float) + sums;
}

static size_t matmul_hash(const struct matmul_pack *p)
{
    uint64_t h = (uint64_t)(uintptr_t)p->x * 0x9e3779b97f4a7c15u;
    h ^= ((uint64_t)(uintptr_t)p->rows + p->n_rows * 31 + p->k) * 0xc2b2ae3d27d4eb4fu;
    return (size_t)(h ^ h >> 29);
}

/* The number of a pack equal to `p`, added if it is new. */
static size_t matmul_pack_add(struct matmul_plan *plan, struct matmul_pack p)
{
    size_t at = matmul_hash(&p) & (plan->n_slots - 1);
    for (; plan->slots[at]; at = (at + 1) & (plan->n_slots - 1)) {
        const struct matmul_pack *o = &plan->packs[plan->slots[at] - 1];
        if (o->x == p.x && o->rows == p.rows && o->n_rows == p.n_rows && o->k == p.k &&
            o->x_stride == p.x_stride && o->form == p.form) {
            return plan->slots[at] - 1;
        }
    }
    size_t units = p.form == MATMUL_PLAIN ? 0
                   : p.form == MATMUL_Q15 || p.form == MATMUL_Q16
                       ? p.n_rows
                       : (p.n_rows + MATMUL_TILE - 1) / MATMUL_TILE;
    p.tile_size = matmul_round(matmul_unit_size(p.form, p.k), MATMUL_LINE);
    p.unit = plan->n_units;
    p.data = plan->size;
    plan->n_units += units;
    plan->size += units * p.tile_size;
    plan->pack_floats += units ? p.n_rows * p.k : 0;
    plan->packs[plan->n_packs] = p;
    plan->slots[at] = (uint32_t)++plan->n_packs;
    return plan->n_packs - 1;
}

static void matmul_part_add(struct matmul_plan *plan, const struct compute *c,
                            const struct matmul_job *j)
{
    struct matmul_part *part = &plan->parts[plan->n_parts++];
    size_t k = tensor_cols(&j->w), n = tensor_rows(&j->w);
    *part = (struct matmul_part){.job = j, .task = plan->n_tasks, .block = j->n_rows};
    part->form = matmul_choose(c, plan->kern, j);
    struct matmul_pack p = {.k = k, .form = part->form};
    if (part->form == MATMUL_Q15 || part->form == MATMUL_PLAIN) {
        p.n_rows = 1;
        for (size_t t = 0; t < j->n_rows; t++) {
            p.x = j->x + (j->rows ? j->rows[t] : t) * j->x_stride;
            part->pack[t] = matmul_pack_add(plan, p);
        }
        size_t step = MATMUL_DOT_BYTES / tensor_row_bytes(&j->w);
        size_t share = n / ((size_t)c->n_threads * 4);
        step = step < share ? step : share;
        part->step = step < 4 ? 4 : step / 4 * 4;
    } else {
        p.x = j->x;
        p.rows = j->rows;
        p.n_rows = j->n_rows;
        p.x_stride = j->x_stride;
        part->pack[0] = matmul_pack_add(plan, p);
        part->step = MATMUL_PANEL;
        if (part->form == MATMUL_BF16) {
            part->block = matmul_block_tiles(j->n_rows, k) * MATMUL_TILE;
        } else if (part->form == MATMUL_Q16) {
            part->block = matmul_q16_block(j->n_rows, k);
        }
        size_t panel = matmul_panel_size(plan->kern, part->form, &j->w, part->block);
        plan->panel_size = panel > plan->panel_size ? panel : plan->panel_size;
    }
    part->panels = (n + part->step - 1) / part->step;
    plan->n_tasks += part->panels * ((j->n_rows + part->block - 1) / part->block);
}

/* Lays everything out in the scratch, which may still be too small: plan->size says. */
static void matmul_plan_make(struct matmul_plan *plan, const struct compute *c,
                             const struct matmul_job *jobs, size_t n_jobs, size_t max_packs)
{
    plan->n_parts = plan->n_packs = plan->n_units = plan->n_tasks = plan->pack_floats = 0;
    plan->panel_size = 0;
    plan->parts = (struct matmul_part *)plan->scratch;
    plan->packs = (struct matmul_pack *)(plan->parts + n_jobs);
    plan->slots = (uint32_t *)(plan->packs + max_packs);
    memset(plan->slots, 0, plan->n_slots * sizeof *plan->slots);
    plan->size = matmul_round((size_t)((char *)(plan->slots + plan->n_slots) - plan->scratch),
                              MATMUL_LINE);
    for (size_t i = 0; i < n_jobs; i++) {
        if (jobs[i].n_rows) {
            matmul_part_add(plan, c, &jobs[i]);
        }
    }
    plan->panel = plan->size;
    plan->size += (size_t)c->n_threads * matmul_round(plan->panel_size, MATMUL_LINE);
}

/* Row i of a product of integers, among the other rows of its tile. */
static void matmul_pack_q16(const struct matmul_plan *plan, const struct matmul_pack *p, size_t i)
{
    size_t block = matmul_q16_block(p->n_rows, p->k), of_block = i / block * block;
    size_t n = p->n_rows - of_block < block ? p->n_rows - of_block : block;
    size_t tile = matmul_q16_tile(n), first = of_block + (i - of_block) / tile * tile;
    size_t end = of_block + n, rows = end - first < tile ? end - first : tile;
    struct matmul_q16 *out = (struct matmul_q16 *)(void *)(plan->scratch + p->data + first * p->tile_size);
    plan->kern->pack_q16(out + (i - first), rows, p->x + (p->rows ? p->rows[i] : i) * p->x_stride, p->k);
}

static void matmul_pack_unit(const struct matmul_plan *plan, const struct matmul_pack *p, size_t i)
{
    char *out = plan->scratch + p->data + i * p->tile_size;
    if (p->form == MATMUL_Q15) {
        plan->kern->quantize((struct matmul_q15 *)(void *)out, p->x, p->k);
        return;
    }
    if (p->form == MATMUL_Q16) {
        matmul_pack_q16(plan, p, i);
        return;
    }
    const float *x[MATMUL_TILE];
    size_t first = i * MATMUL_TILE, n = 0;
    for (; n < MATMUL_TILE && first + n < p->n_rows; n++) {
        x[n] = p->x + (p->rows ? p->rows[first + n] : first + n) * p->x_stride;
    }
    if (p->form == MATMUL_F32) {
        plan->kern->pack_f32(out, x, n, p->k);
        return;
    }
    size_t tiles = (p->n_rows + MATMUL_TILE - 1) / MATMUL_TILE;
    size_t block = matmul_block_tiles(p->n_rows, p->k), at = i / block * block, end = at + block;
    end = end < tiles ? end : tiles;
    size_t width = matmul_width(end - at);
    while (at + width <= i) {
        at += width;
        width = matmul_width(end - at);
    }
    out = plan->scratch + p->data + at * p->tile_size + (i - at) * MATMUL_TILE_BYTES;
    plan->kern->pack_bf16(out, width * MATMUL_TILE_BYTES, x, n, p->k);
}

/* Takes units until there are none; each thread's units grow, so the pack is searched forward. */
static void matmul_pack_all(const struct matmul_plan *plan, atomic_size_t *next)
{
    size_t pack = 0, unit;
    while ((unit = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < plan->n_units) {
        while (pack + 1 < plan->n_packs && plan->packs[pack + 1].unit <= unit) {
            pack++;
        }
        matmul_pack_unit(plan, &plan->packs[pack], unit - plan->packs[pack].unit);
    }
}

/* The weights of the task that a thread probably gets after number `task`, which is one of `part`. */
static void matmul_find_next(const struct matmul_plan *plan, const struct matmul_part *part, size_t task,
                             struct matmul_task *t)
{
    const struct matmul_part *end = plan->parts + plan->n_parts;
    size_t next = task + (size_t)plan->n_threads;
    next = next < plan->n_tasks ? next : task;
    while (part + 1 < end && part[1].task <= next) {
        part++;
    }
    const struct tensor *w = &part->job->w;
    size_t row = (next - part->task) % part->panels * part->step, left = tensor_rows(w) - row;
    size_t bytes = tensor_row_bytes(w);
    t->next = (const uint8_t *)w->data + row * bytes;
    t->next_quarter = ((left < part->step ? left : part->step) + 3) / 4 * bytes;
}

static void matmul_task_run(const struct matmul_plan *plan, const struct matmul_part *part,
                            size_t i, void *panel)
{
    const struct matmul_job *j = part->job;
    size_t rows = tensor_rows(&j->w), first = i / part->panels * part->block;
    size_t left = j->n_rows - first;
    struct matmul_task t = {.w = &j->w,
                            .row = i % part->panels * part->step,
                            .n_rows = left < part->block ? left : part->block,
                            .y = j->y + first * j->y_stride,
                            .y_stride = j->y_stride,
                            .ahead = part->step * (size_t)plan->n_threads,
                            .panel = panel};
    t.n = rows - t.row < part->step ? rows - t.row : part->step;
    const struct matmul_pack *p = &plan->packs[part->pack[0]];
    switch (part->form) {
    case MATMUL_F32:
        t.x = plan->scratch + p->data;
        plan->kern->product_f32(&t);
        break;
    case MATMUL_BF16:
        t.x = plan->scratch + p->data + first / MATMUL_TILE * p->tile_size;
        plan->kern->product_bf16(&t);
        break;
    case MATMUL_Q16:
        t.x = plan->scratch + p->data + first * p->tile_size;
        plan->kern->product_q16(&t);
        break;
    default:
        matmul_find_next(plan, part, part->task + i, &t);
        for (size_t r = 0; r < j->n_rows; r++) {
            p = &plan->packs[part->pack[r]];
            t.dot_x[r] = part->form == MATMUL_PLAIN ? (const void *)p->x
                                                    : (const void *)(plan->scratch + p->data);
        }
        plan->kern->dot(&t);
    }
}

static void matmul_tasks_all(const struct matmul_plan *plan, atomic_size_t *next, void *panel)
{
    size_t part = 0, task;
    while ((task = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < plan->n_tasks) {
        while (part + 1 < plan->n_parts && plan->parts[part + 1].task <= task) {
            part++;
        }
        matmul_task_run(plan, &plan->parts[part], task - plan->parts[part].task, panel);
    }
}

static void matmul_share(const struct matmul_plan *plan)
{
    int n_threads = plan->n_threads;
    atomic_size_t units = 0, tasks = 0;
    bool serial = plan->pack_floats <= MATMUL_SERIAL_PACK;
    if (serial) {
        matmul_pack_all(plan, &units);
    }
#pragma omp parallel for schedule(static, 1) num_threads(n_threads) if (!serial)
    for (int i = 0; i < n_threads; i++) {
        matmul_pack_all(plan, &units);
    }
    size_t panel_size = matmul_round(plan->panel_size, MATMUL_LINE);
#pragma omp parallel for schedule(static, 1) num_threads(n_threads)
    for (int i = 0; i < n_threads; i++) {
        if (plan->kern->thread_begin) {
            plan->kern->thread_begin();
        }
        matmul_tasks_all(plan, &tasks, plan->scratch + plan->panel + (size_t)i * panel_size);
        if (plan->kern->thread_end) {
            plan->kern->thread_end();
        }
    }
}

err matmul_run(struct compute *c, const struct matmul_job *jobs, size_t n_jobs,
               const struct matmul_kernels *kern)
{
    struct matmul_plan plan = {.kern = kern, .n_slots = 16, .n_threads = c->n_threads};
    size_t max_packs = n_jobs * MATMUL_DOT_ROWS;
    while (plan.n_slots < 2 * max_packs) {
        plan.n_slots *= 2;
    }
    plan.size = n_jobs * sizeof *plan.parts + max_packs * sizeof *plan.packs +
                plan.n_slots * sizeof *plan.slots + MATMUL_LINE;
    do { /* again when the first plan asks for more scratch than there was: growing forgets */
        plan.scratch = compute_scratch(c, plan.size);
        if (!plan.scratch) {
            return ERR_NOMEM;
        }
        matmul_plan_make(&plan, c, jobs, n_jobs, max_packs);
    } while (plan.size > c->scratch_size);
    if (plan.n_tasks) {
        matmul_share(&plan);
    }
    return ERR_OK;
}

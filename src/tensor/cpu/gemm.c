/* tensor/cpu/gemm.c: see gemm.h. */
#include "tensor/cpu/gemm.h"

#include <stdatomic.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

enum { GEMM_ALIGN = 64 };

/* A job's tasks: parts of the sum, each of all rows and columns. */
struct gemm_job {
    const struct learnops_matmul *job;
    size_t n_k, part;                /* of the sum: all, and each part but the last */
    size_t n_parts, n_rows, n_cols;  /* tasks along the sum, and down and across y */
    size_t task;                     /* number of the first one */
    float *parts; /* [n_parts][M * N]; NULL when there is one part */
};

struct gemm_plan {
    enum learnops_product product;
    const struct gemm_kernels *kernels;
    struct gemm_job *jobs;
    size_t n_jobs, n_tasks, n_floats, y_bytes;
    size_t panel; /* bytes, of the largest task */
};

const struct gemm_kernels *gemm_of(enum cpuinfo_level level)
{
    static const struct gemm_kernels *const all[CPUINFO_LEVELS] = {
        [CPUINFO_AVX2] = &gemm_avx2,
        [CPUINFO_AVX512] = &gemm_avx512,
        [CPUINFO_AVX512BF16] = &gemm_avx512bf16,
        [CPUINFO_AMX] = &gemm_amx,
    };
    return all[level];
}

bool gemm_takes(const struct learnops_matmul *job)
{
    return job->x.type == MAT_BF16 && job->w.type == MAT_BF16 && job->y.type != MAT_F64;
}

static size_t gemm_ceil(size_t n, size_t d)
{
    return (n + d - 1) / d;
}

/* Cuts the sum. */
static void gemm_parts(struct gemm_job *g)
{
    size_t tasks = g->n_rows * g->n_cols, wanted = tasks ? gemm_ceil(GEMM_TASKS, tasks) : 1;
    size_t each = gemm_ceil(gemm_ceil(g->n_k, wanted), GEMM_PART) * GEMM_PART;
    g->part = wanted > 1 && each < g->n_k ? each : g->n_k;
    g->n_parts = g->n_k ? gemm_ceil(g->n_k, g->part) : 1;
}

static size_t gemm_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct gemm_plan gemm_plan_make(enum learnops_product product, const struct learnops_matmul *jobs,
                                       size_t n_jobs, const struct gemm_kernels *kernels, struct gemm_job *out)
{
    struct gemm_plan p = {.product = product, .kernels = kernels, .jobs = out};
    for (size_t i = 0; i < n_jobs; i++) {
        const struct learnops_matmul *j = &jobs[i];
        bool tn = product == LEARNOPS_TN;
        struct gemm_job g = {.job = j,
                             .n_k = tn ? j->x.rows : j->x.cols,
                             .n_rows = gemm_ceil(j->y.rows, GEMM_ROWS),
                             .n_cols = gemm_ceil(j->y.cols, GEMM_COLS),
                             .task = p.n_tasks};
        gemm_parts(&g);
        p.n_tasks += g.n_parts * g.n_rows * g.n_cols;
        p.y_bytes += j->y.rows * j->y.cols * mat_type_bytes(j->y.type);
        p.n_floats += g.n_parts > 1 ? g.n_parts * j->y.rows * j->y.cols : 0;
        size_t panel = kernels->panel(gemm_smaller(j->y.cols, GEMM_COLS), g.part);
        p.panel = panel > p.panel ? panel : p.panel;
        p.jobs[p.n_jobs++] = g;
    }
    return p;
}

/* y = 0: the sum of nothing. */
static void gemm_zero(const struct gemm_task *t)
{
    size_t each = mat_type_bytes(t->y.type);
    for (size_t m = t->m; m < t->m + t->n_m; m++) {
        memset((char *)t->y.data + (m * t->y.stride + t->n) * each, 0, t->n_n * each);
    }
}

static void gemm_task_run(const struct gemm_plan *p, const struct gemm_job *g, size_t i, bool same_w,
                          void *scratch)
{
    const struct learnops_matmul *j = g->job;
    size_t row = i % g->n_rows, col = i / g->n_rows % g->n_cols, part = i / g->n_rows / g->n_cols;
    struct gemm_task t = {.product = p->product,
                          .y = j->y,
                          .x = j->x,
                          .w = j->w,
                          .m = row * GEMM_ROWS,
                          .n = col * GEMM_COLS,
                          .k = part * g->part,
                          .add = j->add,
                          .far = p->y_bytes >= GEMM_FAR,
                          .stream = p->y_bytes >= GEMM_STREAM && g->n_parts == 1,
                          .same_w = same_w,
                          .panel = scratch,
                          .scratch = (char *)scratch + p->panel};
    t.n_m = gemm_smaller(j->y.rows - t.m, GEMM_ROWS);
    t.n_n = gemm_smaller(j->y.cols - t.n, GEMM_COLS);
    t.n_k = gemm_smaller(g->n_k - t.k, g->part);
    if (g->n_parts > 1) {
        t.y = mat_of(g->parts + part * j->y.rows * j->y.cols, MAT_F32, j->y.rows, j->y.cols);
        t.add = false;
    }
    if (t.n_k) {
        p->kernels->task(&t);
    } else if (!t.add) {
        gemm_zero(&t);
    }
}

/* y = or += the sum of the parts, in their order: rows [first, end). */
static void gemm_sum_parts(const struct gemm_job *g, size_t first, size_t end)
{
    const struct learnops_matmul *j = g->job;
    size_t n = j->y.cols, each = j->y.rows * n;
    for (size_t r = first; r < end; r++) {
        float *sum = g->parts + r * n;
        for (size_t part = 1; part < g->n_parts; part++) {
            for (size_t i = 0; i < n; i++) {
                sum[i] += sum[part * each + i];
            }
        }
        float *y = (float *)j->y.data + r * j->y.stride;
        for (size_t i = 0; i < n; i++) {
            if (j->y.type == MAT_F32) {
                y[i] = j->add ? y[i] + sum[i] : sum[i];
            } else {
                mat_set(&j->y, r, i, sum[i] + (j->add ? mat_get(&j->y, r, i) : 0));
            }
        }
    }
}

static void gemm_tasks(const struct gemm_plan *p, atomic_size_t *next, void *scratch)
{
    size_t job = 0, task, last = SIZE_MAX; /* the panel of w that scratch holds, by its first task */
    while ((task = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < p->n_tasks) {
        while (job + 1 < p->n_jobs && p->jobs[job + 1].task <= task) {
            job++;
        }
        size_t i = task - p->jobs[job].task, panel = task - i % p->jobs[job].n_rows;
        gemm_task_run(p, &p->jobs[job], i, panel == last, scratch);
        last = panel;
    }
}

/* This thread's share of what follows the tasks. */
static void gemm_sums(const struct gemm_plan *p, size_t thread, size_t n_threads)
{
    for (size_t i = 0; i < p->n_jobs; i++) {
        size_t rows = p->jobs[i].job->y.rows;
        if (p->jobs[i].n_parts > 1) {
            gemm_sum_parts(&p->jobs[i], rows * thread / n_threads, rows * (thread + 1) / n_threads);
        }
    }
}

static void gemm_share(const struct gemm_plan *p, int n_threads, char *scratch, size_t each)
{
    atomic_size_t next = 0;
#pragma omp parallel for schedule(static, 1) num_threads(n_threads)
    for (int i = 0; i < n_threads; i++) {
        p->kernels->thread_begin();
        gemm_tasks(p, &next, scratch + (size_t)i * each);
        p->kernels->thread_end();
    }
    if (p->n_floats) {
#pragma omp parallel for schedule(static, 1) num_threads(n_threads)
        for (int i = 0; i < n_threads; i++) {
            gemm_sums(p, (size_t)i, (size_t)n_threads);
        }
    }
}

err gemm_run(struct compute *c, enum learnops_product product, const struct learnops_matmul *jobs,
             size_t n_jobs, const struct gemm_kernels *kernels)
{
    struct gemm_job *list = mem_calloc(n_jobs, sizeof *list);
    if (!list) {
        return ERR_NOMEM;
    }
    struct gemm_plan p = gemm_plan_make(product, jobs, n_jobs, kernels, list);
    size_t each = p.panel + gemm_ceil(kernels->scratch, GEMM_ALIGN) * GEMM_ALIGN, floats, size;
    bool fits = checked_mul(p.n_floats, sizeof(float), &floats) &&
                checked_add(floats, each * (size_t)c->n_threads, &size);
    char *scratch = fits ? compute_scratch(c, size) : NULL;
    float *parts = (float *)(void *)(scratch + each * (size_t)c->n_threads);
    for (size_t i = 0; scratch && i < n_jobs; i++) {
        if (list[i].n_parts > 1) {
            list[i].parts = parts;
            parts += list[i].n_parts * list[i].job->y.rows * list[i].job->y.cols;
        }
    }
    if (scratch && p.n_tasks) {
        gemm_share(&p, c->n_threads, scratch, each);
    }
    mem_free(list);
    return scratch ? ERR_OK : ERR_NOMEM;
}

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
    size_t n_k, n_parts, n_rows, n_cols; /* tasks along the sum, and down and across y */
    size_t task;                         /* number of the first one */
    float *parts; /* [n_parts][M * N]; NULL when there is one part */
};

struct gemm_plan {
    enum learnops_product product;
    const struct gemm_kernels *kernels;
    struct gemm_job *jobs;
    size_t n_jobs, n_tasks, n_floats;
};

bool gemm_takes(const struct learnops_matmul *job)
{
    return job->x.type == MAT_BF16 && job->w.type == MAT_BF16 && job->y.type != MAT_F64;
}

static size_t gemm_ceil(size_t n, size_t d)
{
    return (n + d - 1) / d;
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
        g.n_parts = tn && g.n_k > GEMM_PART ? gemm_ceil(g.n_k, GEMM_PART) : 1;
        p.n_tasks += g.n_parts * g.n_rows * g.n_cols;
        p.n_floats += g.n_parts > 1 ? g.n_parts * j->y.rows * j->y.cols : 0;
        p.jobs[p.n_jobs++] = g;
    }
    return p;
}

static size_t gemm_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void gemm_task_run(const struct gemm_plan *p, const struct gemm_job *g, size_t i, void *scratch)
{
    const struct learnops_matmul *j = g->job;
    size_t col = i % g->n_cols, row = i / g->n_cols % g->n_rows, part = i / g->n_cols / g->n_rows;
    struct gemm_task t = {.product = p->product,
                          .y = j->y,
                          .x = j->x,
                          .w = j->w,
                          .m = row * GEMM_ROWS,
                          .n = col * GEMM_COLS,
                          .k = part * GEMM_PART,
                          .add = j->add,
                          .scratch = scratch};
    t.n_m = gemm_smaller(j->y.rows - t.m, GEMM_ROWS);
    t.n_n = gemm_smaller(j->y.cols - t.n, GEMM_COLS);
    t.n_k = g->n_parts > 1 ? gemm_smaller(g->n_k - t.k, GEMM_PART) : g->n_k;
    if (g->n_parts > 1) {
        t.y = mat_of(g->parts + part * j->y.rows * j->y.cols, MAT_F32, j->y.rows, j->y.cols);
        t.add = false;
    }
    p->kernels->task(&t);
}

/* y = or += the sum of the parts, in their order. */
static void gemm_sum_parts(const struct gemm_job *g)
{
    const struct learnops_matmul *j = g->job;
    size_t each = j->y.rows * j->y.cols;
    for (size_t part = 1; part < g->n_parts; part++) {
        for (size_t i = 0; i < each; i++) {
            g->parts[i] += g->parts[part * each + i];
        }
    }
    for (size_t r = 0; r < j->y.rows; r++) {
        for (size_t k = 0; k < j->y.cols; k++) {
            double sum = g->parts[r * j->y.cols + k] + (j->add ? mat_get(&j->y, r, k) : 0);
            mat_set(&j->y, r, k, sum);
        }
    }
}

static void gemm_tasks(const struct gemm_plan *p, atomic_size_t *next, void *scratch)
{
    size_t job = 0, task;
    while ((task = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < p->n_tasks) {
        while (job + 1 < p->n_jobs && p->jobs[job + 1].task <= task) {
            job++;
        }
        gemm_task_run(p, &p->jobs[job], task - p->jobs[job].task, scratch);
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
    for (size_t i = 0; i < p->n_jobs; i++) {
        if (p->jobs[i].n_parts > 1) {
            gemm_sum_parts(&p->jobs[i]);
        }
    }
}

err gemm_run(struct compute *c, enum learnops_product product, const struct learnops_matmul *jobs,
             size_t n_jobs,
             const struct gemm_kernels *kernels)
{
    size_t each = gemm_ceil(kernels->scratch, GEMM_ALIGN) * GEMM_ALIGN, floats, size;
    struct gemm_job *list = mem_calloc(n_jobs, sizeof *list);
    if (!list) {
        return ERR_NOMEM;
    }
    struct gemm_plan p = gemm_plan_make(product, jobs, n_jobs, kernels, list);
    bool fits = checked_mul(p.n_floats, sizeof(float), &floats) && checked_add(floats,
                                                                               each * (size_t)c->n_threads,
                                                                                   &size);
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

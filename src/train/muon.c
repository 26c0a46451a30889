/* train/muon.c: see muon.h. A matrix of moderate size is one thread's from its gradient to its new values, so
 * that all of it stays in that core's cache, and the threads meet once; for a large one all threads work
 * together. */
#include "train/muon.h"

#include <math.h>
#include <stdatomic.h>

#include "base/checked.h"
#include "base/mem.h"
#include "tensor/updateops.h"

enum { MUON_LARGE = 1 << 20 }; /* elements: from here on a matrix is everybody's */

static const double MUON_SCALE = 0.2;
static const double MUON_A = 3.4445, MUON_B = -4.7750, MUON_C = 2.0315;

struct muon_matrix {
    struct mat value, work, grad, momentum;
    double squares; /* of the last step's direction */
};

/* Who works on a matrix: one thread, or all of them. */
struct muon_worker {
    struct compute *compute;
    void *scratch; /* x, y, gram, poly; see muon_orthogonalise */
    double *sums;  /* [rows] */
    err failed;
};

struct muon {
    struct muon_matrix *matrices; /* [n], the large ones last */
    size_t n, n_large;
    struct muon_worker *workers; /* [n_workers], one thread each */
    int n_workers;
    struct muon_worker all;      /* its compute is borrowed */
    enum mat_type type;          /* of products */
};

static size_t muon_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t muon_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool muon_is_large(size_t rows, size_t cols)
{
    return rows >= MUON_LARGE / cols;
}

/* ---- Making ---- */

/* Lists the matrices that are large, or those that are not; counts them without a list. */
static size_t muon_list(const struct muon_part *parts, size_t n, bool large, struct muon_matrix *list)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const struct learnparam *q = parts[i].param;
        if (muon_is_large(q->value.rows / q->n_matrices, q->value.cols) != large) {
            continue;
        }
        for (size_t k = 0; list && k < q->n_matrices; k++) {
            list[found + k] = (struct muon_matrix){.value = learnparams_matrix(q, q->value, k),
                                                   .work = learnparams_matrix(q, q->work, k),
                                                   .grad = learnparams_matrix(q, q->grad, k),
                                                   .momentum = learnparams_matrix(q, parts[i].momentum, k)};
        }
        found += q->n_matrices;
    }
    return found;
}

/* Scratch for the largest of the matrices. */
static err muon_equip(struct muon_worker *w, const struct muon_matrix *matrices, size_t n, enum mat_type type)
{
    size_t elements = 0, rows = 0, bytes;
    for (size_t i = 0; i < n; i++) {
        const struct mat *v = &matrices[i].value;
        size_t small = muon_smaller(v->rows, v->cols);
        elements = muon_larger(elements, 2 * v->rows * v->cols + 2 * small * small);
        rows = muon_larger(rows, v->rows);
    }
    if (n == 0) {
        return ERR_OK;
    }
    if (!checked_mul(elements, mat_type_bytes(type), &bytes)) {
        return ERR_NOMEM;
    }
    w->scratch = mem_alloc_aligned(bytes);
    w->sums = mem_calloc(rows, sizeof *w->sums);
    return w->scratch && w->sums ? ERR_OK : ERR_NOMEM;
}

static err muon_hire(struct muon *m, struct compute *c, struct errinfo *info)
{
    size_t n = m->n - m->n_large;
    m->n_workers = (int)muon_smaller((size_t)c->n_threads, muon_larger(n, 1));
    m->workers = mem_calloc((size_t)m->n_workers, sizeof *m->workers);
    if (!m->workers) {
        m->n_workers = 0;
        return ERR_NOMEM;
    }
    for (int i = 0; i < m->n_workers; i++) {
        TRY(compute_new(c->level, 1, c->deterministic, &m->workers[i].compute, info));
        TRY(muon_equip(&m->workers[i], m->matrices, n, m->type));
    }
    m->all.compute = c;
    return muon_equip(&m->all, m->matrices + n, m->n_large, m->type);
}

static err muon_make(struct muon *m, const struct muon_part *parts, size_t n, struct compute *c,
                     struct errinfo *info)
{
    size_t n_small = muon_list(parts, n, false, NULL);
    m->type = n && parts[0].momentum.type == MAT_F64 ? MAT_F64 : MAT_BF16;
    m->n_large = muon_list(parts, n, true, NULL);
    m->n = n_small + m->n_large;
    m->matrices = mem_calloc(m->n, sizeof *m->matrices);
    if (!m->matrices) {
        return ERR_NOMEM;
    }
    muon_list(parts, n, false, m->matrices);
    muon_list(parts, n, true, m->matrices + n_small);
    return muon_hire(m, c, info);
}

err muon_new(const struct muon_part *parts, size_t n, struct compute *c, struct muon **out,
             struct errinfo *info)
{
    struct muon *m = mem_calloc(1, sizeof *m);
    err e = m ? muon_make(m, parts, n, c, info) : ERR_NOMEM;
    if (e != ERR_OK) {
        muon_free(m);
        return err_set(info, e, "out of memory for Muon's scratch");
    }
    *out = m;
    return ERR_OK;
}

static void muon_dismiss(struct muon_worker *w)
{
    mem_free_aligned(w->scratch);
    mem_free(w->sums);
}

void muon_free(struct muon *m)
{
    if (m) {
        for (int i = 0; i < m->n_workers; i++) {
            compute_free(m->workers[i].compute);
            muon_dismiss(&m->workers[i]);
        }
        muon_dismiss(&m->all);
        mem_free(m->workers);
        mem_free(m->matrices);
        mem_free(m);
    }
}

/* ---- A matrix ---- */

static err muon_product(struct compute *c, enum learnops_product product, struct mat y, struct mat x,
                        struct mat w)
{
    return learnops_matmul(c, product, &(struct learnops_matmul){.y = y, .x = x, .w = w}, 1);
}

/* *x becomes nearly orthogonal; x and y take turns. a X + b G X + c G^2 X, G = X X^T, is
 * (a I + b G + c G^2) X, and the other way round with X^T X, which is the smaller one of a high matrix. */
static err muon_orthogonalise(struct compute *c, struct mat *x, struct mat y, int steps)
{
    bool wide = x->rows <= x->cols;
    size_t small = muon_smaller(x->rows, x->cols), each = mat_type_bytes(x->type);
    struct mat gram = mat_of((char *)y.data + x->rows * x->cols * each, x->type, small, small);
    struct mat poly = mat_of((char *)gram.data + small * small * each, x->type, small, small);
    for (int i = 0; i < steps; i++) {
        struct mat old = *x;
        TRY(muon_product(c, wide ? LEARNOPS_NT : LEARNOPS_TN, gram, old, old));
        TRY(muon_product(c, LEARNOPS_NN, poly, gram, gram));
        updateops_polynomial(c, poly, gram, MUON_A, MUON_B, MUON_C);
        TRY(muon_product(c, LEARNOPS_NN, y, wide ? poly : old, wide ? old : poly));
        *x = y;
        y = old;
    }
    return ERR_OK;
}

static err muon_update(struct muon_worker *w, struct muon_matrix *a, enum mat_type type,
                       const struct muon_rule *rule)
{
    size_t rows = a->value.rows, cols = a->value.cols;
    double scale = MUON_SCALE * sqrt((double)muon_larger(rows, cols));
    struct mat x = mat_of(w->scratch, type, rows, cols);
    struct mat y = mat_of((char *)w->scratch + rows * cols * mat_type_bytes(type), type, rows, cols);
    const struct updateops_momentum u = {.momentum = a->momentum,
                                         .grad = a->grad,
                                         .grad_scale = rule->grad_scale,
                                         .decay = rule->momentum,
                                         .nesterov = rule->nesterov,
                                         .sums = w->sums};
    updateops_momentum(w->compute, &u);
    double norm = sqrt(updateops_total(w->sums, rows)), inverse = 1 / (norm > rule->eps ? norm : rule->eps);
    a->squares = 0;
    if (norm == 0) {
        return ERR_OK;
    }
    updateops_direction(w->compute, &u, x, &inverse, rows);
    TRY(muon_orthogonalise(w->compute, &x, y, rule->steps));
    updateops_descend(w->compute, &(struct updateops_descend){.value = a->value,
                                                              .work = a->work,
                                                              .x = x,
                                                              .keep = 1 - rule->rate * rule->weight_decay,
                                                              .rate = rule->rate * scale,
                                                              .sums = w->sums});
    a->squares = scale * scale * updateops_total(w->sums, rows);
    return ERR_OK;
}

/* ---- A step ---- */

static void muon_share(struct muon *m, struct muon_worker *w, atomic_size_t *next, const struct muon_rule *rule)
{
    size_t i, n = m->n - m->n_large;
    w->failed = ERR_OK;
    while (w->failed == ERR_OK && (i = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < n) {
        w->failed = muon_update(w, &m->matrices[i], m->type, rule);
    }
}

err muon_step(struct muon *m, const struct muon_rule *rule, double *squares)
{
    atomic_size_t next = 0;
    double sum = 0;
#pragma omp parallel for schedule(static, 1) num_threads(m->n_workers)
    for (int i = 0; i < m->n_workers; i++) {
        muon_share(m, &m->workers[i], &next, rule);
    }
    for (int i = 0; i < m->n_workers; i++) {
        TRY(m->workers[i].failed);
    }
    for (size_t i = m->n - m->n_large; i < m->n; i++) {
        TRY(muon_update(&m->all, &m->matrices[i], m->type, rule));
    }
    for (size_t i = 0; i < m->n; i++) {
        sum += m->matrices[i].squares;
    }
    *squares = sum;
    return ERR_OK;
}

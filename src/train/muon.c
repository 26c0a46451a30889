/* train/muon.c: see muon.h. */
#include "train/muon.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/mem.h"
#include "tensor/updateops.h"

enum {
    MUON_MATRICES = 64,        /* of one shape together, at most */
    MUON_CHUNK_BYTES = 3 << 19, /* of what Newton-Schulz works on: what second-level caches hold */
};

static const double MUON_SCALE = 0.2;
static const double MUON_A = 3.4445, MUON_B = -4.7750, MUON_C = 2.0315;

/* Matrices of one parameter, one below the other. */
struct muon_piece {
    struct mat value, work, grad, momentum;
    size_t n, rows, cols; /* of one matrix */
};

struct muon {
    struct muon_piece *pieces; /* [n], equal shapes together */
    size_t n;
    enum mat_type type;          /* of products */
    void *scratch;               /* see muon_chunk */
    double *sums;                /* [rows of a chunk] */
    double scales[MUON_MATRICES];
    struct learnops_matmul jobs[MUON_MATRICES];
};

/* Matrices of one shape that are worked on together. x and y take turns: what is being made orthogonal. gram:
 * x x^T or x^T x, the smaller one; poly: what x is multiplied by. */
struct muon_chunk {
    struct muon_piece *pieces;
    size_t n_pieces, n, rows, cols, small;
    struct mat x, y, gram, poly; /* of all n, one below the other */
};

static size_t muon_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t muon_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t muon_elements(const struct muon_piece *p) /* of scratch, for one matrix */
{
    size_t small = muon_smaller(p->rows, p->cols);
    return 2 * p->rows * p->cols + 2 * small * small;
}

static size_t muon_together(const struct muon *m, const struct muon_piece *p)
{
    size_t n = MUON_CHUNK_BYTES / (muon_elements(p) * mat_type_bytes(m->type));
    return n < 1 ? 1 : muon_smaller(n, MUON_MATRICES);
}

/* ---- Making ---- */

static int muon_by_shape(const void *a, const void *b)
{
    const struct muon_piece *p = a, *q = b;
    if (p->rows != q->rows) {
        return p->rows < q->rows ? -1 : 1;
    }
    if (p->cols != q->cols) {
        return p->cols < q->cols ? -1 : 1;
    }
    uintptr_t at = (uintptr_t)p->value.data, other = (uintptr_t)q->value.data;
    return at < other ? -1 : at > other;
}

static struct muon_piece muon_whole(const struct muon_part *part)
{
    const struct learnparam *q = part->param;
    return (struct muon_piece){.value = q->value,
                               .work = q->work,
                               .grad = q->grad,
                               .momentum = part->momentum,
                               .n = q->n_matrices,
                               .rows = q->value.rows / q->n_matrices,
                               .cols = q->value.cols};
}

static struct muon_piece muon_cut(const struct muon_piece *p, size_t first, size_t n)
{
    struct muon_piece cut = *p;
    cut.value = mat_rows(p->value, first * p->rows, n * p->rows);
    cut.work = mat_rows(p->work, first * p->rows, n * p->rows);
    cut.grad = mat_rows(p->grad, first * p->rows, n * p->rows);
    cut.momentum = mat_rows(p->momentum, first * p->rows, n * p->rows);
    cut.n = n;
    return cut;
}

/* The pieces of all parts, none more than fits a chunk; counts them when m->pieces is NULL. */
static void muon_pieces(struct muon *m, const struct muon_part *parts, size_t n)
{
    m->n = 0;
    for (size_t i = 0; i < n; i++) {
        struct muon_piece whole = muon_whole(&parts[i]);
        size_t most = muon_together(m, &whole);
        for (size_t first = 0; first < whole.n; first += most, m->n++) {
            if (m->pieces) {
                m->pieces[m->n] = muon_cut(&whole, first, muon_smaller(most, whole.n - first));
            }
        }
    }
}

static err muon_make(struct muon *m, const struct muon_part *parts, size_t n)
{
    size_t elements = 0, rows = 0, bytes, each;
    m->type = n && parts[0].momentum.type == MAT_F64 ? MAT_F64 : MAT_BF16;
    muon_pieces(m, parts, n);
    m->pieces = mem_calloc(m->n, sizeof *m->pieces);
    if (!m->pieces) {
        return ERR_NOMEM;
    }
    muon_pieces(m, parts, n);
    qsort(m->pieces, m->n, sizeof *m->pieces, muon_by_shape);
    for (size_t i = 0; i < m->n; i++) {
        size_t most = muon_together(m, &m->pieces[i]);
        if (!checked_mul(most, muon_elements(&m->pieces[i]), &each)) {
            return ERR_NOMEM;
        }
        elements = muon_larger(elements, each);
        rows = muon_larger(rows, most * m->pieces[i].rows);
    }
    if (!checked_mul(elements, mat_type_bytes(m->type), &bytes)) {
        return ERR_NOMEM;
    }
    m->scratch = mem_alloc_aligned(bytes);
    m->sums = mem_calloc(rows, sizeof *m->sums);
    return m->scratch && m->sums ? ERR_OK : ERR_NOMEM;
}

err muon_new(const struct muon_part *parts, size_t n, struct muon **out, struct errinfo *info)
{
    struct muon *m = mem_calloc(1, sizeof *m);
    if (!m || muon_make(m, parts, n) != ERR_OK) {
        muon_free(m);
        return err_set(info, ERR_NOMEM, "out of memory for Muon's scratch");
    }
    *out = m;
    return ERR_OK;
}

void muon_free(struct muon *m)
{
    if (m) {
        mem_free(m->pieces);
        mem_free(m->sums);
        mem_free_aligned(m->scratch);
        mem_free(m);
    }
}

/* ---- Newton-Schulz ---- */

/* y = x w or x w^T and so on, matrix by matrix. */
static err muon_products(struct muon *m, struct compute *c, enum learnops_product product, size_t n,
                         struct mat y, struct mat x, struct mat w)
{
    for (size_t i = 0; i < n; i++) {
        m->jobs[i] = (struct learnops_matmul){.y = mat_rows(y, i * (y.rows / n), y.rows / n),
                                              .x = mat_rows(x, i * (x.rows / n), x.rows / n),
                                              .w = mat_rows(w, i * (w.rows / n), w.rows / n)};
    }
    return learnops_matmul(c, product, m->jobs, n);
}

/* The chunk's x becomes nearly orthogonal. a X + b G X + c G^2 X, G = X X^T, is (a I + b G + c G^2) X. */
static err muon_orthogonalise(struct muon *m, struct compute *c, struct muon_chunk *k, int steps)
{
    bool wide = k->rows <= k->cols;
    for (int i = 0; i < steps; i++) {
        struct mat x = k->x;
        TRY(muon_products(m, c, wide ? LEARNOPS_NT : LEARNOPS_TN, k->n, k->gram, x, x));
        TRY(muon_products(m, c, LEARNOPS_NN, k->n, k->poly, k->gram, k->gram));
        updateops_polynomial(c, k->poly, k->gram, MUON_A, MUON_B, MUON_C);
        TRY(muon_products(m, c, LEARNOPS_NN, k->n, k->y, wide ? k->poly : x, wide ? x : k->poly));
        k->x = k->y;
        k->y = x;
    }
    return ERR_OK;
}

/* ---- A step ---- */

static void muon_begin(struct muon *m, struct compute *c, const struct muon_rule *rule, struct muon_chunk *k)
{
    size_t at = 0; /* number of a matrix */
    for (size_t i = 0; i < k->n_pieces; i++) {
        struct muon_piece *p = &k->pieces[i];
        const struct updateops_momentum a = {.momentum = p->momentum,
                                             .grad = p->grad,
                                             .grad_scale = rule->grad_scale,
                                             .decay = rule->momentum,
                                             .nesterov = rule->nesterov,
                                             .sums = m->sums};
        updateops_momentum(c, &a);
        for (size_t j = 0; j < p->n; j++) {
            double norm = sqrt(updateops_total(m->sums + j * p->rows, p->rows));
            m->scales[j] = 1 / (norm > rule->eps ? norm : rule->eps);
        }
        updateops_direction(c, &a, mat_rows(k->x, at * k->rows, p->n * k->rows), m->scales, k->rows);
        at += p->n;
    }
}

static double muon_end(struct muon *m, struct compute *c, const struct muon_rule *rule, struct muon_chunk *k)
{
    double scale = MUON_SCALE * sqrt((double)muon_larger(k->rows, k->cols)), squares = 0;
    size_t at = 0;
    for (size_t i = 0; i < k->n_pieces; i++) {
        struct muon_piece *p = &k->pieces[i];
        updateops_descend(c, &(struct updateops_descend){.value = p->value,
                                                         .work = p->work,
                                                         .x = mat_rows(k->x, at * k->rows, p->n * k->rows),
                                                         .keep = 1 - rule->rate * rule->weight_decay,
                                                         .rate = rule->rate * scale,
                                                         .sums = m->sums});
        squares += scale * scale * updateops_total(m->sums, p->n * k->rows);
        at += p->n;
    }
    return squares;
}

/* The pieces from `first` on that go together. */
static struct muon_chunk muon_chunk(struct muon *m, size_t first)
{
    const struct muon_piece *p = &m->pieces[first];
    struct muon_chunk k = {.pieces = &m->pieces[first],
                           .rows = p->rows,
                           .cols = p->cols,
                           .small = muon_smaller(p->rows, p->cols)};
    size_t most = muon_together(m, p);
    while (first + k.n_pieces < m->n && p[k.n_pieces].rows == k.rows && p[k.n_pieces].cols == k.cols &&
           k.n + p[k.n_pieces].n <= most) {
        k.n += p[k.n_pieces++].n;
    }
    size_t each = mat_type_bytes(m->type), large = k.n * k.rows * k.cols, square = k.n * k.small * k.small;
    char *at = m->scratch;
    k.x = mat_of(at, m->type, k.n * k.rows, k.cols);
    k.y = mat_of(at + large * each, m->type, k.n * k.rows, k.cols);
    k.gram = mat_of(at + 2 * large * each, m->type, k.n * k.small, k.small);
    k.poly = mat_of(at + (2 * large + square) * each, m->type, k.n * k.small, k.small);
    return k;
}

err muon_step(struct muon *m, struct compute *c, const struct muon_rule *rule, double *squares)
{
    *squares = 0;
    for (size_t i = 0; i < m->n;) {
        struct muon_chunk k = muon_chunk(m, i);
        muon_begin(m, c, rule, &k);
        TRY(muon_orthogonalise(m, c, &k, rule->steps));
        *squares += muon_end(m, c, rule, &k);
        i += k.n_pieces;
    }
    return ERR_OK;
}

/* tensor/cpu/learnmoves_body.h: rows that go to other places and come back, of learnrows.h: embeddings, tokens
 * to their experts and back; written once over vec_*.h; included by learnrows_avx2.c and learnrows_avx512.c. */
#include "tensor/cpu/learnrows.h"

#include "tensor/cpu/matrow.h"
#include "tensor/cpu/rowsplit.h"

struct learnmoves_mats {
    struct mat to, from;
    const uint32_t *index;
};

enum { LEARNMOVES_AHEAD = 8 }; /* rows asked for before they are needed: what comes next only the index knows */

static inline void learnmoves_ask(const struct mat *m, size_t row)
{
    const char *p = matrow_at(m, row).data;
    for (size_t i = 0; i < m->cols * mat_type_bytes(m->type); i += 64) {
        __builtin_prefetch(p + i);
    }
}

static void learnmoves_gather_rows(const void *args, size_t first, size_t last)
{
    const struct learnmoves_mats *m = args;
    size_t d = m->to.cols;
    bool stream = matrow_streams(&m->to);
    for (size_t t = first; t < last; t++) {
        struct matrow y = matrow_out(&m->to, t, stream), x = matrow_at(&m->from, m->index[t]);
        if (t + LEARNMOVES_AHEAD < last) {
            learnmoves_ask(&m->from, m->index[t + LEARNMOVES_AHEAD]);
        }
        for (size_t i = 0; i < d; i += VEC_N) {
            matrow_store(y, i, d - i, matrow_load(x, i, d - i));
        }
    }
    vec_stream_end();
}

static void learnmoves_gather(struct compute *c, struct mat y, struct mat x, const uint32_t *rows)
{
    const struct learnmoves_mats m = {y, x, rows};
    rowsplit_run(c, y.rows, y.cols, learnmoves_gather_rows, &m);
}

/* Several rows may go to one: each thread takes all rows of its columns, in their order. */
enum { LEARNMOVES_COLUMNS = 32 }; /* whole cache lines of both types */

static void learnmoves_scatter_columns(const void *args, size_t first, size_t last)
{
    const struct learnmoves_mats *m = args;
    size_t begin = first * LEARNMOVES_COLUMNS, end = last * LEARNMOVES_COLUMNS;
    end = end < m->to.cols ? end : m->to.cols;
    for (size_t t = 0; t < m->from.rows; t++) {
        struct matrow dx = matrow_at(&m->to, m->index[t]), dy = matrow_at(&m->from, t);
        for (size_t i = begin; i < end; i += VEC_N) {
            size_t n = end - i;
            matrow_store(dx, i, n, vec_add(matrow_load(dx, i, n), matrow_load(dy, i, n)));
        }
    }
}

static void learnmoves_gather_backward(struct compute *c, struct mat dx, struct mat dy, const uint32_t *rows)
{
    const struct learnmoves_mats m = {dx, dy, rows};
    size_t blocks = (dy.cols + LEARNMOVES_COLUMNS - 1) / LEARNMOVES_COLUMNS;
    rowsplit_run(c, blocks, dy.rows * LEARNMOVES_COLUMNS, learnmoves_scatter_columns, &m);
}

/* ---- Experts' outputs back to their tokens ---- */

enum { LEARNMOVES_TOGETHER = 8 }; /* experts whose rows are added in one go */

struct learnmoves_combine {
    struct mat y, x, weight;
    const uint32_t *slot;
};

/* y += sum of n weighted rows. */
static void learnmoves_add(struct matrow y, const struct matrow *x, const float *weight, size_t n, size_t d)
{
    for (size_t i = 0; i < d; i += VEC_N) {
        vec sum = matrow_load(y, i, d - i);
        for (size_t k = 0; k < n; k++) {
            sum = vec_fma(matrow_load(x[k], i, d - i), vec_set(weight[k]), sum);
        }
        matrow_store(y, i, d - i, sum);
    }
}

static void learnmoves_combine_rows(const void *args, size_t first, size_t last)
{
    const struct learnmoves_combine *m = args;
    struct matrow x[LEARNMOVES_TOGETHER];
    float weight[LEARNMOVES_TOGETHER];
    size_t n_k = m->weight.cols;
    for (size_t t = first; t < last; t++) {
        struct matrow weights = matrow_at(&m->weight, t);
        for (size_t k = 0, n; k < n_k; k += n) {
            for (n = 0; n < LEARNMOVES_TOGETHER && k + n < n_k; n++) {
                x[n] = matrow_at(&m->x, m->slot[t * n_k + k + n]);
                weight[n] = m->weight.data ? matrow_get(weights, k + n) : 1;
            }
            learnmoves_add(matrow_at(&m->y, t), x, weight, n, m->y.cols);
        }
    }
}

static void learnmoves_combine(struct compute *c, struct mat y, struct mat x, struct mat weight,
                               const uint32_t *slot)
{
    const struct learnmoves_combine m = {y, x, weight, slot};
    rowsplit_run(c, y.rows, y.cols * weight.cols, learnmoves_combine_rows, &m);
}

#define LEARNMOVES_BODY                                                                                    \
    .gather = learnmoves_gather, .gather_backward = learnmoves_gather_backward,                            \
    .combine = learnmoves_combine

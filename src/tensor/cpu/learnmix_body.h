/* tensor/cpu/learnmix_body.h: the sum of two mats by two weights, of learnrows.h; written once over vec_*.h;
 * included by learnrows_avx2.c and learnrows_avx512.c. */
#include "tensor/cpu/learnrows.h"

#include "tensor/cpu/matrow.h"
#include "tensor/cpu/rowsplit.h"

struct learnmix_job {
    struct mat y;             /* forward */
    struct learnops_mix mats; /* a, b, weight; backward: all */
    double *sums;             /* [blocks][2] of dweight */
};

static void learnmix_rows(const void *args, size_t first, size_t last)
{
    const struct learnmix_job *j = args;
    struct matrow weight = matrow_at(&j->mats.weight, 0);
    vec by_a = vec_set(matrow_get(weight, 0)), by_b = vec_set(matrow_get(weight, 1));
    for (size_t t = first; t < last; t++) {
        struct matrow y = matrow_at(&j->y, t), a = matrow_at(&j->mats.a, t), b = matrow_at(&j->mats.b, t);
        for (size_t i = 0, n; i < j->y.cols; i += VEC_N) {
            n = j->y.cols - i;
            vec v = vec_mul(by_b, matrow_load(b, i, n));
            matrow_store(y, i, n, vec_fma(by_a, matrow_load(a, i, n), v));
        }
    }
}

static void learnmix_run(struct compute *c, struct mat y, struct mat a, struct mat b, struct mat weight)
{
    const struct learnmix_job j = {.y = y, .mats = {.a = a, .b = b, .weight = weight}};
    rowsplit_run(c, y.rows, y.cols, learnmix_rows, &j);
}

/* One row; sums adds what is dweight's. */
static void learnmix_back(const struct learnops_mix *m, size_t t, double sums[2])
{
    struct matrow da = matrow_at(&m->da, t), db = matrow_at(&m->db, t), dy = matrow_at(&m->dy, t);
    struct matrow a = matrow_at(&m->a, t), b = matrow_at(&m->b, t), weight = matrow_at(&m->weight, 0);
    vec by_a = vec_set(matrow_get(weight, 0)), by_b = vec_set(matrow_get(weight, 1));
    vec dot_a = vec_set(0), dot_b = vec_set(0);
    for (size_t i = 0, n; i < m->dy.cols; i += VEC_N) {
        n = m->dy.cols - i;
        vec d = matrow_load(dy, i, n);
        dot_a = vec_fma(d, matrow_load(a, i, n), dot_a);
        dot_b = vec_fma(d, matrow_load(b, i, n), dot_b);
        matrow_store(da, i, n, vec_mul(by_a, d));
        matrow_store(db, i, n, vec_fma(by_b, d, matrow_load(db, i, n)));
    }
    sums[0] += (double)matrow_sum(dot_a);
    sums[1] += (double)matrow_sum(dot_b);
}

static void learnmix_blocks(const void *args, size_t first, size_t last)
{
    const struct learnmix_job *j = args;
    for (size_t block = first; block < last; block++) {
        size_t t = block * LEARNROWS_BLOCK, end = t + LEARNROWS_BLOCK;
        double *sums = j->sums + 2 * block;
        sums[0] = sums[1] = 0;
        for (; t < end && t < j->mats.dy.rows; t++) {
            learnmix_back(&j->mats, t, sums);
        }
    }
}

static err learnmix_backward(struct compute *c, const struct learnops_mix *m)
{
    size_t d = m->dy.cols, blocks = (m->dy.rows + LEARNROWS_BLOCK - 1) / LEARNROWS_BLOCK;
    struct learnmix_job j = {.mats = *m};
    if (blocks == 0) {
        return ERR_OK;
    }
    j.sums = compute_scratch(c, blocks * 2 * sizeof *j.sums);
    if (!j.sums) {
        return ERR_NOMEM;
    }
    rowsplit_run(c, blocks, LEARNROWS_BLOCK * d, learnmix_blocks, &j);
    for (size_t i = 0; i < 2; i++) {
        double sum = mat_get(&m->dweight, 0, i);
        for (size_t block = 0; block < blocks; block++) {
            sum += j.sums[2 * block + i];
        }
        mat_set(&m->dweight, 0, i, sum);
    }
    return ERR_OK;
}

#define LEARNMIX_BODY .mix = learnmix_run, .mix_backward = learnmix_backward

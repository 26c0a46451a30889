/* tensor/cpu/learnscores_body.h: the router's operations of learnrows.h, written once over vec_*.h; included by
 * learnrows_avx2.c and learnrows_avx512.c. Formulas: ref/learnref_router.c. */
#include "tensor/cpu/learnrows.h"

#include <math.h>

#include "tensor/cpu/matrow.h"
#include "tensor/cpu/rowsplit.h"

struct learnscores {
    const struct learnops_router *router;
    struct mat logits, dweights, dlogits;
    double balance_scale, *losses;
};

static size_t learnscores_length(const struct learnops_router *a)
{
    return a->load.rows ? a->scores.rows / a->load.rows : 0;
}

static void learnscores_logistic(struct matrow s, struct matrow x, size_t n)
{
    for (size_t i = 0; i < n; i += VEC_N) {
        vec e = vec_exp(vec_sub(vec_set(0), matrow_load(x, i, n - i)));
        matrow_store(s, i, n - i, vec_div(vec_set(1), vec_add(vec_set(1), e)));
    }
}

static void learnscores_softmax(struct matrow s, struct matrow x, size_t n)
{
    vec most = vec_set(-INFINITY), sum = vec_set(0);
    float lanes[VEC_N], best = -INFINITY;
    for (size_t i = 0; i < n; i += VEC_N) {
        most = vec_max(vec_first(n - i, matrow_load(x, i, n - i), vec_set(-INFINITY)), most);
    }
    vec_store(lanes, most);
    for (int k = 0; k < VEC_N; k++) {
        best = lanes[k] > best ? lanes[k] : best;
    }
    for (size_t i = 0; i < n; i += VEC_N) {
        vec e = vec_exp(vec_sub(matrow_load(x, i, n - i), vec_set(best)));
        sum = vec_add(sum, vec_first(n - i, e, vec_set(0)));
    }
    vec over = vec_set(1 / matrow_sum(sum));
    for (size_t i = 0; i < n; i += VEC_N) {
        vec e = vec_exp(vec_sub(matrow_load(x, i, n - i), vec_set(best)));
        matrow_store(s, i, n - i, vec_mul(e, over));
    }
}

static void learnscores_score_rows(const void *args, size_t first, size_t last)
{
    const struct learnscores *a = args;
    for (size_t t = first; t < last; t++) {
        struct matrow s = matrow_at(&a->router->scores, t), x = matrow_at(&a->logits, t);
        if (a->router->softmax) {
            learnscores_softmax(s, x, a->logits.cols);
        } else {
            learnscores_logistic(s, x, a->logits.cols);
        }
    }
}

static void learnscores_score(struct compute *c, const struct learnops_router *router, struct mat logits)
{
    const struct learnscores a = {.router = router, .logits = logits};
    rowsplit_run(c, logits.rows, 2 * logits.cols, learnscores_score_rows, &a);
}

/* The sum of the chosen scores of a row. */
static float learnscores_chosen(const struct learnops_router *a, struct matrow s, size_t t)
{
    size_t n_k = a->weights.cols;
    float sum = (float)LEARNOPS_ROUTER_TINY;
    for (size_t k = 0; k < n_k; k++) {
        sum += matrow_get(s, a->chosen[t * n_k + k]);
    }
    return sum;
}

static void learnscores_weigh_rows(const void *args, size_t first, size_t last)
{
    const struct learnops_router *a = args;
    size_t n_k = a->weights.cols;
    for (size_t t = first; t < last; t++) {
        struct matrow s = matrow_at(&a->scores, t), weights = matrow_at(&a->weights, t);
        float over = (float)a->scale / (a->normalise ? learnscores_chosen(a, s, t) : 1);
        for (size_t k = 0; k < n_k; k++) {
            matrow_store(weights, k, 1, vec_set(over * matrow_get(s, a->chosen[t * n_k + k])));
        }
    }
}

static void learnscores_weigh(struct compute *c, const struct learnops_router *a)
{
    rowsplit_run(c, a->scores.rows, 4 * a->weights.cols, learnscores_weigh_rows, a);
}

/* The sums of the scores of a row, and of f times them. */
static void learnscores_sums(struct matrow s, struct matrow f, size_t n, float *sum, float *weighed)
{
    vec plain = vec_set(0), load = vec_set(0);
    for (size_t i = 0; i < n; i += VEC_N) {
        vec v = matrow_load(s, i, n - i);
        plain = vec_add(plain, v);
        load = vec_fma(v, matrow_load(f, i, n - i), load);
    }
    *sum = matrow_sum(plain) + (float)LEARNOPS_ROUTER_TINY;
    *weighed = matrow_sum(load);
}

static void learnscores_balance_rows(const void *args, size_t first, size_t last)
{
    const struct learnscores *a = args;
    const struct learnops_router *router = a->router;
    size_t length = learnscores_length(router);
    for (size_t t = first; t < last; t++) {
        float sum, weighed;
        learnscores_sums(matrow_at(&router->scores, t), matrow_at(&router->load, t / length),
                         router->scores.cols, &sum, &weighed);
        a->losses[t] = (double)weighed / ((double)sum * (double)length);
    }
}

static void learnscores_balance(struct compute *c, const struct learnops_router *router, double *losses)
{
    const struct learnscores a = {.router = router, .losses = losses};
    rowsplit_run(c, router->scores.rows, router->scores.cols, learnscores_balance_rows, &a);
}

/* Of a row: what the weights' gradient gives to a chosen score is share * dweight + less. */
struct learnscores_back {
    float share, less, dot; /* dot: of that and the scores */
};

static struct learnscores_back learnscores_by_weights(const struct learnops_router *a, struct matrow s,
                                                      struct matrow dweights, size_t t)
{
    size_t n_k = a->weights.cols;
    float over = learnscores_chosen(a, s, t), dot = 0;
    for (size_t k = 0; k < n_k; k++) {
        dot += matrow_get(dweights, k) * matrow_get(s, a->chosen[t * n_k + k]);
    }
    float share = (float)a->scale / (a->normalise ? over : 1);
    float less = a->normalise ? -share * dot / over : 0;
    return (struct learnscores_back){share, less, share * dot + less * (over - (float)LEARNOPS_ROUTER_TINY)};
}

/* ds[e] = balance (f[e] - mean), and besides for chosen e what comes by their weights. The first is at right
 * angles to the scores, so that the softmax's dot product of ds and scores is the second's alone. */
static void learnscores_back_row(const struct learnscores *a, size_t t)
{
    const struct learnops_router *router = a->router;
    struct matrow s = matrow_at(&router->scores, t), dx = matrow_at(&a->dlogits, t);
    struct matrow dweights = matrow_at(&a->dweights, t);
    size_t n = router->scores.cols, n_k = router->weights.cols, length = learnscores_length(router);
    struct matrow f = matrow_at(&router->load, t / length);
    struct learnscores_back back = learnscores_by_weights(router, s, dweights, t);
    float sum, weighed;
    learnscores_sums(s, f, n, &sum, &weighed);
    float balance = (float)(a->balance_scale / (double)length) / sum, mean = weighed / sum;
    float away = router->softmax ? back.dot : 0, steep = router->softmax ? 0 : 1;
    for (size_t i = 0; i < n; i += VEC_N) {
        vec v = matrow_load(s, i, n - i);
        vec ds = vec_fma(vec_sub(matrow_load(f, i, n - i), vec_set(mean)), vec_set(balance), vec_set(-away));
        matrow_store(dx, i, n - i, vec_mul(vec_mul(ds, v), vec_sub(vec_set(1), vec_mul(v, vec_set(steep)))));
    }
    for (size_t k = 0; k < n_k; k++) {
        size_t e = router->chosen[t * n_k + k];
        float v = matrow_get(s, e), by_weight = back.share * matrow_get(dweights, k) + back.less;
        float ds = (matrow_get(f, e) - mean) * balance - away + by_weight;
        matrow_store(dx, e, 1, vec_set(ds * v * (1 - steep * v)));
    }
}

static void learnscores_back_rows(const void *args, size_t first, size_t last)
{
    for (size_t t = first; t < last; t++) {
        learnscores_back_row(args, t);
    }
}

static void learnscores_backward(struct compute *c, const struct learnops_router *router, struct mat dweights,
                                 double balance_scale, struct mat dlogits)
{
    const struct learnscores a = {
        .router = router, .dweights = dweights, .dlogits = dlogits, .balance_scale = balance_scale};
    rowsplit_run(c, dlogits.rows, 2 * dlogits.cols, learnscores_back_rows, &a);
}

#define LEARNSCORES_BODY                                                                                   \
    .router_scores = learnscores_score, .router_weigh = learnscores_weigh,                                 \
    .router_balance = learnscores_balance, .router_backward = learnscores_backward

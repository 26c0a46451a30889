/* tensor/ref/learnref_attention.c: the reference of attention for learning; see learnops.h. */
#include <math.h>

#include "base/checked.h"
#include "base/mem.h"
#include "tensor/ref/learnref.h"

/* One head's sums in float64, whatever the mats hold. */
struct learnref_sums {
    double *q, *k, *v; /* [T, k_dim], [T, k_dim], [T, v_dim] */
};

static double learnref_score(const struct learnops_attention *a, size_t h, size_t t, size_t s)
{
    size_t g = h / (a->n_heads / a->n_kv_heads);
    double dot = 0;
    for (size_t i = 0; i < a->k_dim; i++) {
        dot += mat_get(&a->q, t, h * a->k_dim + i) * mat_get(&a->k, s, g * a->k_dim + i);
    }
    return dot * a->scale;
}

static void learnref_attend(const struct learnops_attention *a, size_t h, size_t t, double *scores)
{
    size_t g = h / (a->n_heads / a->n_kv_heads), first = t - (size_t)a->positions[t];
    double most = -INFINITY, sum = 0;
    for (size_t s = first; s <= t; s++) {
        scores[s] = learnref_score(a, h, t, s);
        most = fmax(most, scores[s]);
    }
    for (size_t s = first; s <= t; s++) {
        sum += exp(scores[s] - most);
    }
    double lse = most + log(sum);
    mat_set(&a->lse, t, h, lse);
    for (size_t i = 0; i < a->v_dim; i++) {
        double out = 0;
        for (size_t s = first; s <= t; s++) {
            out += exp(scores[s] - lse) * mat_get(&a->v, s, g * a->v_dim + i);
        }
        mat_set(&a->out, t, h * a->v_dim + i, out);
    }
}

err learnref_attention(const struct learnops_attention *a)
{
    double *scores = mem_calloc(a->q.rows, sizeof *scores);
    if (!scores) {
        return ERR_NOMEM;
    }
    for (size_t h = 0; h < a->n_heads; h++) {
        for (size_t t = 0; t < a->q.rows; t++) {
            learnref_attend(a, h, t, scores);
        }
    }
    mem_free(scores);
    return ERR_OK;
}

/* With p = softmax(s), dp = dout . v:  ds = p (dp - sum over keys of p dp), and that sum is dout . out. */
static void learnref_attend_backward(const struct learnops_attention *a, const struct mat *dout, size_t h,
                                     size_t t, const struct learnref_sums *d)
{
    size_t g = h / (a->n_heads / a->n_kv_heads);
    double both = 0, lse = mat_get(&a->lse, t, h);
    for (size_t i = h * a->v_dim; i < (h + 1) * a->v_dim; i++) {
        both += mat_get(dout, t, i) * mat_get(&a->out, t, i);
    }
    for (size_t s = t - (size_t)a->positions[t]; s <= t; s++) {
        double p = exp(learnref_score(a, h, t, s) - lse), dp = 0;
        for (size_t i = 0; i < a->v_dim; i++) {
            double o = mat_get(dout, t, h * a->v_dim + i);
            dp += o * mat_get(&a->v, s, g * a->v_dim + i);
            d->v[s * a->v_dim + i] += p * o;
        }
        double ds = p * (dp - both) * a->scale;
        for (size_t i = 0; i < a->k_dim; i++) {
            d->q[t * a->k_dim + i] += ds * mat_get(&a->k, s, g * a->k_dim + i);
            d->k[s * a->k_dim + i] += ds * mat_get(&a->q, t, h * a->k_dim + i);
        }
    }
}

/* A head's sums into its columns. */
static void learnref_put(const struct mat *to, size_t head, size_t dim, double *sums)
{
    for (size_t t = 0; t < to->rows; t++) {
        for (size_t i = 0; i < dim; i++) {
            mat_set(to, t, head * dim + i, sums[t * dim + i]);
            sums[t * dim + i] = 0;
        }
    }
}

err learnref_attention_backward(const struct learnops_attention *a, struct mat dout, struct mat dq,
                                struct mat dk, struct mat dv)
{
    size_t n = a->q.rows, group = a->n_heads / a->n_kv_heads, all;
    if (!checked_mul(n, 2 * a->k_dim + a->v_dim, &all)) {
        return ERR_NOMEM;
    }
    double *memory = mem_calloc(all, sizeof *memory);
    if (!memory) {
        return ERR_NOMEM;
    }
    struct learnref_sums d = {.q = memory, .k = memory + n * a->k_dim, .v = memory + 2 * n * a->k_dim};
    for (size_t h = 0; h < a->n_heads; h++) {
        for (size_t t = 0; t < n; t++) {
            learnref_attend_backward(a, &dout, h, t, &d);
        }
        learnref_put(&dq, h, a->k_dim, d.q);
        if ((h + 1) % group == 0) { /* the last head that reads these keys */
            learnref_put(&dk, h / group, a->k_dim, d.k);
            learnref_put(&dv, h / group, a->v_dim, d.v);
        }
    }
    mem_free(memory);
    return ERR_OK;
}

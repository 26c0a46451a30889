/* tensor/ref/learnref_experts.c: routed experts, place by place. */
#include <math.h>

#include "base/mem.h"
#include "tensor/ref/learnref.h"

/* A place of expert e. */
struct learnref_place {
    size_t place, token, k;
    size_t gate, down; /* the expert's first rows */
    double *inner, *dgate, *dup; /* [F] */
};

static double learnref_row_dot(const struct mat *x, size_t row, const struct mat *w, size_t w_row)
{
    double sum = 0;
    for (size_t i = 0; i < x->cols; i++) {
        sum += mat_get(x, row, i) * mat_get(w, w_row, i);
    }
    return sum;
}

static void learnref_expert(const struct learnops_experts *a, const struct learnref_place *p, struct mat y)
{
    for (size_t i = 0; i < a->gates.cols; i++) {
        double g = learnref_row_dot(&a->h, p->token, &a->gate, p->gate + i);
        double u = learnref_row_dot(&a->h, p->token, &a->up, p->gate + i);
        mat_set(&a->gates, p->place, i, g);
        mat_set(&a->ups, p->place, i, u);
        p->inner[i] = g / (1 + exp(-g)) * u;
    }
    for (size_t j = 0; j < y.cols; j++) {
        double sum = 0;
        for (size_t i = 0; i < a->gates.cols; i++) {
            sum += p->inner[i] * mat_get(&a->down, p->down + j, i);
        }
        mat_set(&y, p->place, j, sum);
    }
}

/* Sets p's vectors, and dweight. */
static void learnref_expert_inner(const struct learnops_experts *a, const struct learnops_experts_grads *d,
                                  const struct learnref_place *p)
{
    double weight = mat_get(&d->weight, p->token, p->k), dweight = 0;
    for (size_t i = 0; i < a->gates.cols; i++) {
        double g = mat_get(&a->gates, p->place, i), u = mat_get(&a->ups, p->place, i), dinner = 0;
        for (size_t j = 0; j < a->h.cols; j++) {
            dinner += mat_get(&d->d, p->token, j) * mat_get(&a->down, p->down + j, i);
        }
        double s = 1 / (1 + exp(-g)), inner = g * s * u;
        dweight += dinner * inner;
        p->inner[i] = weight * inner;
        p->dgate[i] = weight * dinner * u * s * (1 + g * (1 - s));
        p->dup[i] = weight * dinner * g * s;
    }
    mat_set(&d->dweight, p->token, p->k, dweight);
}

static void learnref_plus(const struct mat *m, size_t row, size_t col, double value)
{
    mat_set(m, row, col, mat_get(m, row, col) + value);
}

static void learnref_expert_backward(const struct learnops_experts *a, const struct learnops_experts_grads *d,
                                     const struct learnref_place *p)
{
    learnref_expert_inner(a, d, p);
    for (size_t j = 0; j < a->h.cols; j++) {
        double h = mat_get(&a->h, p->token, j), dy = mat_get(&d->d, p->token, j), sum = 0;
        for (size_t i = 0; i < a->gates.cols; i++) {
            sum += p->dgate[i] * mat_get(&a->gate, p->gate + i, j);
            sum += p->dup[i] * mat_get(&a->up, p->gate + i, j);
            learnref_plus(&d->dgate, p->gate + i, j, p->dgate[i] * h);
            learnref_plus(&d->dup, p->gate + i, j, p->dup[i] * h);
            learnref_plus(&d->ddown, p->down + j, i, dy * p->inner[i]);
        }
        mat_set(&d->dplaces, p->place, j, sum);
    }
}

/* Every place: forward to y, or back for d. */
static err learnref_places(const struct learnops_experts *a, const struct mat *y,
                           const struct learnops_experts_grads *d)
{
    size_t f = a->gates.cols;
    double *memory = mem_calloc(3 * f + 1, sizeof *memory);
    if (!memory) {
        return ERR_NOMEM;
    }
    struct learnref_place p = {.inner = memory, .dgate = memory + f, .dup = memory + 2 * f};
    for (size_t e = 0; e < a->n_experts; e++) {
        p.gate = e * f;
        p.down = e * a->h.cols;
        for (p.place = a->first[e]; p.place < a->first[e + 1]; p.place++) {
            p.token = a->choice[p.place] / a->n_chosen;
            p.k = a->choice[p.place] % a->n_chosen;
            if (d) {
                learnref_expert_backward(a, d, &p);
            } else {
                learnref_expert(a, &p, *y);
            }
        }
    }
    mem_free(memory);
    return ERR_OK;
}

err learnref_experts(const struct learnops_experts *a, struct mat y)
{
    return learnref_places(a, &y, NULL);
}

err learnref_experts_backward(const struct learnops_experts *a, const struct learnops_experts_grads *d)
{
    return learnref_places(a, NULL, d);
}

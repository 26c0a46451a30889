/* model/learnrouter.c: see learnrouter.h. */
#include "model/learnrouter.h"

#include <math.h>

#include "model/router.h"

/* Scores of a row in place of its logits. */
static void learnrouter_score(const struct config *c, const struct mat *logits, size_t t,
                              const struct mat *scores)
{
    size_t n = c->n_routed_experts;
    double most = -INFINITY, sum = 0;
    if (c->scoring_func == CONFIG_SIGMOID) {
        for (size_t e = 0; e < n; e++) {
            mat_set(scores, t, e, 1 / (1 + exp(-mat_get(logits, t, e))));
        }
        return;
    }
    for (size_t e = 0; e < n; e++) {
        most = fmax(most, mat_get(logits, t, e));
    }
    for (size_t e = 0; e < n; e++) {
        sum += exp(mat_get(logits, t, e) - most);
    }
    for (size_t e = 0; e < n; e++) {
        mat_set(scores, t, e, exp(mat_get(logits, t, e) - most) / sum);
    }
}

static double learnrouter_sum(const struct learnrun *r, const struct learnrouter *kept, size_t t)
{
    size_t k = r->config->num_experts_per_tok;
    double sum = 0;
    for (size_t i = 0; i < k; i++) {
        sum += mat_get(&kept->scores, t, kept->chosen[t * k + i]);
    }
    return sum;
}

static void learnrouter_weigh(const struct learnrun *r, const struct learnrouter *kept, size_t t)
{
    const struct config *c = r->config;
    size_t k = c->num_experts_per_tok;
    double over = c->norm_topk_prob ? learnrouter_sum(r, kept, t) : 1;
    for (size_t i = 0; i < k; i++) {
        double s = mat_get(&kept->scores, t, kept->chosen[t * k + i]);
        mat_set(&kept->weights, t, i, c->routed_scaling_factor * s / over);
    }
}

err learnrouter_forward(const struct learnrun *r, struct mat logits, const struct learnparam *balance,
                        struct learnrouter *kept)
{
    const struct config *c = r->config;
    size_t n = c->n_routed_experts, k = c->num_experts_per_tok;
    *kept = (struct learnrouter){learnrun_wide(r, r->n_tokens, n), learnrun_wide(r, r->n_tokens, k),
                                 learnarena_bytes(r->arena, r->n_tokens * k * sizeof *kept->chosen)};
    size_t mark = learnarena_mark(r->arena);
    float *row = learnarena_bytes(r->arena, n * sizeof *row), *bias = learnarena_bytes(r->arena,
                                                                                       n * sizeof *bias);
    float *scratch = learnarena_bytes(r->arena, 2 * n * sizeof *scratch);
    float *weights = learnarena_bytes(r->arena, k * sizeof *weights);
    for (size_t e = 0; !r->counting && e < n; e++) {
        bias[e] = balance ? (float)mat_get(&balance->value, 0, e) : 0;
    }
    for (size_t t = 0; !r->counting && t < r->n_tokens; t++) {
        for (size_t e = 0; e < n; e++) {
            row[e] = (float)mat_get(&logits, t, e);
        }
        router_select(c, row, balance ? bias : NULL, scratch, kept->chosen + t * k, weights);
        learnrouter_score(c, &logits, t, &kept->scores);
        learnrouter_weigh(r, kept, t);
    }
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

/* f of the sequence that begins at token `first`. */
static void learnrouter_load(const struct learnrun *r, const struct learnrouter *kept, size_t first, double *f)
{
    size_t n = r->config->n_routed_experts, k = r->config->num_experts_per_tok;
    size_t length = r->n_tokens / r->n_sequences;
    for (size_t e = 0; e < n; e++) {
        f[e] = 0;
    }
    for (size_t i = first * k; i < (first + length) * k; i++) {
        f[kept->chosen[i]] += (double)n / (double)(k * length);
    }
}

static double learnrouter_row_sum(const struct mat *m, size_t t)
{
    double sum = 0;
    for (size_t e = 0; e < m->cols; e++) {
        sum += mat_get(m, t, e);
    }
    return sum;
}

double learnrouter_balance_loss(const struct learnrun *r, const struct learnrouter *kept)
{
    size_t mark = learnarena_mark(r->arena), n = r->config->n_routed_experts;
    size_t length = r->n_tokens / r->n_sequences;
    double *f = learnarena_bytes(r->arena, n * sizeof *f), loss = 0;
    for (size_t first = 0; !r->counting && first < r->n_tokens; first += length) {
        learnrouter_load(r, kept, first, f);
        for (size_t t = first; t < first + length; t++) {
            double sum = learnrouter_row_sum(&kept->scores, t);
            for (size_t e = 0; e < n; e++) {
                loss += f[e] * mat_get(&kept->scores, t, e) / (sum * (double)length);
            }
        }
    }
    learnarena_release(r->arena, mark);
    return loss;
}

/* ds, the gradient by the scores of a row, from the weights' and the balance's. */
static void learnrouter_row(const struct learnrun *r, const struct learnrouter *kept,
                            const struct mat *dweights,
                            double balance_scale, const double *f, size_t t, double *ds)
{
    const struct config *c = r->config;
    size_t n = c->n_routed_experts, k = c->num_experts_per_tok;
    double length = (double)(r->n_tokens / r->n_sequences), mean = 0, back = 0;
    double sum = learnrouter_row_sum(&kept->scores, t), over = learnrouter_sum(r, kept, t);
    for (size_t e = 0; e < n; e++) {
        mean += f[e] * mat_get(&kept->scores, t, e) / sum;
    }
    for (size_t e = 0; e < n; e++) {
        ds[e] = balance_scale / length * (f[e] - mean) / sum;
    }
    for (size_t i = 0; i < k; i++) {
        back += mat_get(dweights, t, i) * mat_get(&kept->scores, t, kept->chosen[t * k + i]) / over;
    }
    for (size_t i = 0; i < k; i++) {
        double d = c->routed_scaling_factor * mat_get(dweights, t, i);
        ds[kept->chosen[t * k + i]] += c->norm_topk_prob ? (d - c->routed_scaling_factor * back) / over : d;
    }
}

void learnrouter_backward(const struct learnrun *r, const struct learnrouter *kept, struct mat dweights,
                          double balance_scale, struct mat dlogits)
{
    size_t mark = learnarena_mark(r->arena), n = r->config->n_routed_experts;
    size_t length = r->n_tokens / r->n_sequences;
    double *f = learnarena_bytes(r->arena, n * sizeof *f), *ds = learnarena_bytes(r->arena, n * sizeof *ds);
    for (size_t t = 0; !r->counting && t < r->n_tokens; t++) {
        double dot = 0;
        if (t % length == 0) {
            learnrouter_load(r, kept, t, f);
        }
        learnrouter_row(r, kept, &dweights, balance_scale, f, t, ds);
        for (size_t e = 0; e < n; e++) {
            dot += ds[e] * mat_get(&kept->scores, t, e);
        }
        for (size_t e = 0; e < n; e++) {
            double s = mat_get(&kept->scores, t, e);
            bool sigmoid = r->config->scoring_func == CONFIG_SIGMOID;
            mat_set(&dlogits, t, e, sigmoid ? ds[e] * s * (1 - s) : s * (ds[e] - dot));
        }
    }
    learnarena_release(r->arena, mark);
}

/* model/learnrouter.c: see learnrouter.h. */
#include "model/learnrouter.h"

#include "model/router.h"

enum { LEARNROUTER_PARTS = 64 }; /* of the tokens, each with its own scratch */

static struct learnops_router learnrouter_op(const struct learnrun *r, const struct learnrouter *kept)
{
    const struct config *c = r->config;
    return (struct learnops_router){.scores = kept->scores,
                                    .weights = kept->weights,
                                    .load = kept->load,
                                    .chosen = kept->chosen,
                                    .softmax = c->scoring_func == CONFIG_SOFTMAX,
                                    .normalise = c->norm_topk_prob,
                                    .scale = c->routed_scaling_factor};
}

/* Every token's experts, from float32 scores as in serving. scratch [parts][2 * E]. */
static void learnrouter_choose(const struct learnrun *r, struct mat scores, const float *bias, float *scratch,
                               uint32_t *chosen)
{
    size_t n = r->config->n_routed_experts, k = r->config->num_experts_per_tok, tokens = r->n_tokens;
#pragma omp parallel for schedule(static) num_threads(r->compute->n_threads)
    for (size_t i = 0; i < LEARNROUTER_PARTS; i++) {
        for (size_t t = tokens * i / LEARNROUTER_PARTS; t < tokens * (i + 1) / LEARNROUTER_PARTS; t++) {
            const float *row = (const float *)scores.data + t * scores.stride;
            router_choose(r->config, row, bias, scratch + i * 2 * n, chosen + t * k);
        }
    }
}

/* f of every sequence: E / (K n) for each token that chose an expert. */
static void learnrouter_load(const struct learnrun *r, const struct learnrouter *kept, uint32_t *count)
{
    size_t n = r->config->n_routed_experts, places = r->n_tokens * r->config->num_experts_per_tok;
    size_t each = places / r->n_sequences;
    for (size_t s = 0; s < r->n_sequences; s++) {
        for (size_t e = 0; e < n; e++) {
            count[e] = 0;
        }
        for (size_t i = s * each; i < (s + 1) * each; i++) {
            count[kept->chosen[i]]++;
        }
        for (size_t e = 0; e < n; e++) {
            mat_set(&kept->load, s, e, (double)n / (double)each * (double)count[e]);
        }
    }
}

void learnrouter_keep(const struct learnrun *r, struct learnrouter *kept)
{
    size_t n = r->config->n_routed_experts, k = r->config->num_experts_per_tok, t = r->n_tokens;
    *kept = (struct learnrouter){learnrun_wide(r, t, n), learnrun_wide(r, t, k),
                                 learnrun_wide(r, r->n_sequences, n),
                                 learnarena_bytes(r->arena, t * k * sizeof *kept->chosen)};
}

struct learnrouter learnrouter_rows(const struct learnrun *r, const struct learnrouter *kept, size_t first,
                                    size_t n)
{
    size_t context = r->n_tokens / r->n_sequences;
    return (struct learnrouter){mat_rows(kept->scores, first, n), mat_rows(kept->weights, first, n),
                                mat_rows(kept->load, first / context, n / context),
                                kept->chosen ? kept->chosen + first * r->config->num_experts_per_tok : NULL};
}

void learnrouter_forward(const struct learnrun *r, struct mat logits, const struct learnparam *balance,
                         const struct learnrouter *kept)
{
    size_t n = r->config->n_routed_experts, t = r->n_tokens;
    size_t mark = learnarena_mark(r->arena);
    struct mat single = r->wide == MAT_F32 ? kept->scores : learnarena_mat(r->arena, MAT_F32, t, n);
    struct mat bias = learnarena_mat(r->arena, MAT_F32, 1, n);
    float *scratch = learnarena_bytes(r->arena, 2 * n * LEARNROUTER_PARTS * sizeof *scratch);
    uint32_t *count = learnarena_bytes(r->arena, n * sizeof *count);
    if (!r->counting) {
        const struct learnops_router op = learnrouter_op(r, kept);
        learnops_router_scores(r->compute, &op, logits);
        if (single.data != kept->scores.data) {
            learnrun_copy(r, single, kept->scores);
        }
        if (balance) {
            learnrun_copy(r, bias, balance->value);
        }
        learnrouter_choose(r, single, balance ? bias.data : NULL, scratch, kept->chosen);
        learnops_router_weigh(r->compute, &op);
        learnrouter_load(r, kept, count);
    }
    learnarena_release(r->arena, mark);
}

double learnrouter_balance_loss(const struct learnrun *r, const struct learnrouter *kept)
{
    size_t mark = learnarena_mark(r->arena);
    double *losses = learnarena_bytes(r->arena, r->n_tokens * sizeof *losses), sum = 0;
    if (!r->counting) {
        const struct learnops_router op = learnrouter_op(r, kept);
        learnops_router_balance(r->compute, &op, losses);
    }
    for (size_t t = 0; !r->counting && t < r->n_tokens; t++) {
        sum += losses[t];
    }
    learnarena_release(r->arena, mark);
    return sum;
}

void learnrouter_backward(const struct learnrun *r, const struct learnrouter *kept, struct mat dweights,
                          double balance_scale, struct mat dlogits)
{
    if (!r->counting) {
        const struct learnops_router op = learnrouter_op(r, kept);
        learnops_router_backward(r->compute, &op, dweights, balance_scale, dlogits);
    }
}

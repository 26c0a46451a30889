/* model/router.c: see router.h. Formulas: DeepSeek-V2 section 2.2, DeepSeek-V3 section 2.1.2 and their
 * published code; all in float32, as there. */
#include "model/router.h"

#include <math.h>

static void router_softmax(float *x, size_t n)
{
    float max = x[0], sum = 0;
    for (size_t i = 1; i < n; i++) {
        max = x[i] > max ? x[i] : max;
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += x[i];
    }
    for (size_t i = 0; i < n; i++) {
        x[i] /= sum;
    }
}

static void router_sigmoid(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = 1.0f / (1.0f + expf(-x[i]));
    }
}

/* The best of n values that are not -inf; NaN never wins while a number is left. */
static size_t router_best(const float *x, size_t n)
{
    size_t best = 0;
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        if (x[i] != -INFINITY && (!found || x[i] > x[best] || (isnan(x[best]) && !isnan(x[i])))) {
            best = i;
            found = true;
        }
    }
    return best;
}

static float router_group_score(const struct config *c, const float *choice, size_t n)
{
    size_t best = router_best(choice, n);
    if (c->topk_method == CONFIG_GROUP_LIMITED_GREEDY) {
        return choice[best];
    }
    float second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (i != best && choice[i] > second) {
            second = choice[i];
        }
    }
    return choice[best] + second;
}

/* Sets the choice of every expert outside the topk_group best groups to -inf. */
static void router_mask_groups(const struct config *c, float *choice, float *group)
{
    size_t per_group = c->n_routed_experts / c->n_group;
    for (size_t g = 0; g < c->n_group; g++) {
        group[g] = router_group_score(c, choice + g * per_group, per_group);
        if (group[g] == -INFINITY) {
            group[g] = NAN; /* comes last, yet stays eligible */
        }
    }
    for (size_t k = 0; k < c->topk_group; k++) {
        group[router_best(group, c->n_group)] = -INFINITY; /* -inf now means chosen */
    }
    for (size_t i = 0; i < c->n_routed_experts; i++) {
        if (group[i / per_group] != -INFINITY) {
            choice[i] = -INFINITY;
        } else if (choice[i] == -INFINITY) {
            choice[i] = NAN;
        }
    }
}

static void router_weigh(const struct config *c, float *weights)
{
    float scale = c->routed_scaling_factor;
    if (c->norm_topk_prob) {
        float sum = 1e-20f;
        for (size_t k = 0; k < c->num_experts_per_tok; k++) {
            sum += weights[k];
        }
        for (size_t k = 0; k < c->num_experts_per_tok; k++) {
            weights[k] /= sum;
        }
    }
    for (size_t k = 0; k < c->num_experts_per_tok; k++) {
        weights[k] *= scale;
    }
}

/* Whether a comes before b, which stands at a lower index. */
static bool router_before(float a, float b)
{
    return a > b || (isnan(b) && !isnan(a));
}

/* The k best of n values that are not -inf, best first; numbers before NaN. */
static void router_top(const float *x, size_t n, uint32_t *ids, size_t k)
{
    size_t found = 0;
    float last = -INFINITY; /* the least of k found */
    for (size_t i = 0; i < n; i++) {
        if (x[i] <= last || x[i] == -INFINITY || (found == k && !router_before(x[i], last))) {
            continue;
        }
        size_t at = found < k ? found++ : k - 1;
        for (; at > 0 && router_before(x[i], x[ids[at - 1]]); at--) {
            ids[at] = ids[at - 1];
        }
        ids[at] = (uint32_t)i;
        last = found == k ? x[ids[k - 1]] : last;
    }
    for (; found < k; found++) {
        ids[found] = 0;
    }
}

void router_choose(const struct config *c, const float *scores, const float *bias, float *scratch,
                   uint32_t *ids)
{
    size_t n = c->n_routed_experts;
    float *choice = scratch;
    for (size_t i = 0; i < n; i++) {
        choice[i] = bias ? scores[i] + bias[i] : scores[i];
        if (choice[i] == -INFINITY) {
            choice[i] = NAN;
        }
    }
    if (c->topk_method != CONFIG_GREEDY && c->n_group > 1) {
        router_mask_groups(c, choice, scratch + n);
    }
    router_top(choice, n, ids, c->num_experts_per_tok);
}

void router_select(const struct config *c, float *logits, const float *bias, float *scratch,
                   uint32_t *ids, float *weights)
{
    if (c->scoring_func == CONFIG_SOFTMAX) {
        router_softmax(logits, c->n_routed_experts);
    } else {
        router_sigmoid(logits, c->n_routed_experts);
    }
    router_choose(c, logits, bias, scratch, ids);
    for (size_t k = 0; k < c->num_experts_per_tok; k++) {
        weights[k] = logits[ids[k]];
    }
    router_weigh(c, weights);
}

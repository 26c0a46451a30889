/* model/learnmoe.c: see learnmoe.h. */
#include "model/learnmoe.h"

/* Where every token's experts are. */
static void learnmoe_sort(const struct learnrun *r, const struct learnmoe *a)
{
    size_t n = r->config->n_routed_experts, places = r->n_tokens * r->config->num_experts_per_tok;
    for (size_t e = 0; e <= n; e++) {
        a->first[e] = 0;
    }
    for (size_t i = 0; i < places; i++) {
        a->first[a->router.chosen[i] + 1]++;
    }
    for (size_t e = 0; e < n; e++) {
        a->first[e + 1] += a->first[e];
    }
    for (size_t i = 0; i < places; i++) { /* first[e] runs to the end of its places, and back below */
        size_t place = a->first[a->router.chosen[i]]++;
        a->slot[i] = (uint32_t)place;
        a->choice[place] = (uint32_t)i;
    }
    for (size_t e = n; e > 0; e--) {
        a->first[e] = a->first[e - 1];
    }
    a->first[0] = 0;
}

static struct learnops_experts learnmoe_experts(const struct learnrun *r, const struct learnparams_layer *p,
                                                struct mat h, const struct learnmoe *a)
{
    return (struct learnops_experts){.h = h,
                                     .gate = p->expert_gate->work,
                                     .up = p->expert_up->work,
                                     .down = p->expert_down->work,
                                     .gates = a->gates,
                                     .ups = a->ups,
                                     .first = a->first,
                                     .choice = a->choice,
                                     .n_experts = r->config->n_routed_experts,
                                     .n_chosen = r->config->num_experts_per_tok};
}

void learnmoe_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learnmoe *kept)
{
    size_t n = r->config->n_routed_experts, places = r->n_tokens * r->config->num_experts_per_tok;
    size_t ff = p->expert_gate->value.rows / n;
    learnrouter_keep(r, &kept->router);
    kept->slot = learnarena_bytes(r->arena, places * sizeof *kept->slot);
    kept->choice = learnarena_bytes(r->arena, places * sizeof *kept->choice);
    kept->first = learnarena_bytes(r->arena, (n + 1) * sizeof *kept->first);
    kept->gates = learnrun_narrow(r, places, ff);
    kept->ups = learnrun_narrow(r, places, ff);
}

err learnmoe_route(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                   const struct learnrouter *kept)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat logits = learnrun_wide(r, r->n_tokens, r->config->n_routed_experts);
    TRY(learnrun_matmul(r, LEARNOPS_NT, logits, h, p->router->work, false));
    learnrouter_forward(r, logits, p->balance, kept);
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

err learnmoe_route_backward(const struct learnrun *r, const struct learnparams_layer *p,
                            const struct learnrouter *kept, struct mat dweights, double balance_scale,
                            struct mat dlogits, struct mat dh, bool add)
{
    learnrouter_backward(r, kept, dweights, balance_scale, dlogits);
    return learnrun_matmul(r, LEARNOPS_NN, dh, dlogits, p->router->work, add);
}

err learnmoe_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h, struct mat x,
                     const struct learnmoe *kept)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat y = learnrun_narrow(r, kept->gates.rows, h.cols);
    if (!r->counting) {
        learnmoe_sort(r, kept);
        const struct learnops_experts experts = learnmoe_experts(r, p, h, kept);
        err e = learnops_experts(r->compute, &experts, y);
        if (e != ERR_OK) {
            return err_set(r->info, e, "out of memory for the experts");
        }
        learnops_combine(r->compute, x, y, kept->router.weights, kept->slot);
    }
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

err learnmoe_backward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h,
                      const struct learnmoe *kept, struct mat d, struct mat dweights, struct mat dplaces)
{
    if (r->counting) {
        return ERR_OK;
    }
    const struct learnops_experts experts = learnmoe_experts(r, p, h, kept);
    const struct learnops_experts_grads grads = {.d = d,
                                                 .weight = kept->router.weights,
                                                 .dweight = dweights,
                                                 .dplaces = dplaces,
                                                 .dgate = p->expert_gate->grad,
                                                 .dup = p->expert_up->grad,
                                                 .ddown = p->expert_down->grad};
    err e = learnops_experts_backward(r->compute, &experts, &grads);
    return e == ERR_OK ? e : err_set(r->info, e, "out of memory for the experts' gradients");
}

void learnmoe_collect(const struct learnrun *r, const struct learnmoe *kept, size_t first, struct mat dplaces,
                      struct mat dh)
{
    size_t k = r->config->num_experts_per_tok;
    const struct mat ones = {.type = r->wide, .rows = r->n_tokens, .cols = k};
    if (!r->counting) {
        learnops_combine(r->compute, dh, dplaces, ones, kept->slot + first * k);
    }
}

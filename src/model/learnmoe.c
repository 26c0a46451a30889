/* model/learnmoe.c: see learnmoe.h. */
#include "model/learnmoe.h"

/* Where every token's experts are. */
static void learnmoe_sort(const struct learnrun *r, const struct learnmoe *a)
{
    size_t n = r->config->n_routed_experts, k = r->config->num_experts_per_tok, places = r->n_tokens * k;
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
        a->rows[place] = (uint32_t)(i / k);
    }
    for (size_t e = n; e > 0; e--) {
        a->first[e] = a->first[e - 1];
    }
    a->first[0] = 0;
}

static struct mat learnmoe_places(const struct learnmoe *a, struct mat m, size_t e)
{
    return mat_rows(m, a->first[e], a->first[e + 1] - a->first[e]);
}

/* A product of each expert: of rows of places, and of param's matrices (`y` for gradients, else `w`). */
static err learnmoe_matmul(const struct learnrun *r, const struct learnmoe *a, enum learnops_product product,
                           struct mat y, struct mat x, struct mat w, const struct learnparam *param, bool add)
{
    size_t n = r->config->n_routed_experts, mark = learnarena_mark(r->arena);
    struct learnops_matmul *jobs = learnarena_bytes(r->arena, n * sizeof *jobs);
    if (r->counting) {
        learnarena_release(r->arena, mark);
        return ERR_OK;
    }
    for (size_t e = 0; e < n; e++) {
        bool grad = product == LEARNOPS_TN;
        jobs[e] = (struct learnops_matmul){grad ? learnparams_matrix(param, y, e) : learnmoe_places(a, y, e),
                                           learnmoe_places(a, x, e),
                                           grad ? learnmoe_places(a, w, e) : learnparams_matrix(param, w, e),
                                               add};
    }
    err result = learnops_matmul(r->compute, product, jobs, n);
    learnarena_release(r->arena, mark);
    return result == ERR_OK ? result : err_set(r->info, result, "out of memory for the experts' products");
}

void learnmoe_keep(const struct learnrun *r, const struct learnparams_layer *p, struct learnmoe *kept)
{
    size_t n = r->config->n_routed_experts, places = r->n_tokens * r->config->num_experts_per_tok;
    size_t d = r->config->hidden_size, ff = p->expert_gate->value.rows / n;
    learnrouter_keep(r, &kept->router);
    kept->slot = learnarena_bytes(r->arena, places * sizeof *kept->slot);
    kept->rows = learnarena_bytes(r->arena, places * sizeof *kept->rows);
    kept->first = learnarena_bytes(r->arena, (n + 1) * sizeof *kept->first);
    kept->h = learnrun_narrow(r, places, d);
    kept->gate = learnrun_narrow(r, places, ff);
    kept->up = learnrun_narrow(r, places, ff);
    kept->inner = learnrun_narrow(r, places, ff);
    kept->y = learnrun_narrow(r, places, d);
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
                            struct mat dlogits, struct mat dh)
{
    learnrouter_backward(r, kept, dweights, balance_scale, dlogits);
    return learnrun_matmul(r, LEARNOPS_NN, dh, dlogits, p->router->work, true);
}

err learnmoe_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat h, struct mat x,
                     const struct learnmoe *kept)
{
    if (!r->counting) {
        learnmoe_sort(r, kept);
        learnops_gather(r->compute, kept->h, h, kept->rows);
    }
    TRY(learnmoe_matmul(r, kept, LEARNOPS_NT, kept->gate, kept->h, p->expert_gate->work, p->expert_gate,
                        false));
    TRY(learnmoe_matmul(r, kept, LEARNOPS_NT, kept->up, kept->h, p->expert_up->work, p->expert_up, false));
    if (!r->counting) {
        learnops_swiglu(r->compute, kept->inner, kept->gate, kept->up);
    }
    TRY(learnmoe_matmul(r, kept, LEARNOPS_NT, kept->y, kept->inner, p->expert_down->work, p->expert_down,
                        false));
    if (!r->counting) {
        learnops_combine(r->compute, x, kept->y, kept->router.weights, kept->slot);
    }
    return ERR_OK;
}

/* dy [P, D]: sets the experts' gradients, and adds the inputs' to dh. */
static err learnmoe_experts_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                     const struct learnmoe *a, struct mat dy, struct mat dh)
{
    struct mat dinner = learnrun_narrow(r, a->inner.rows, a->inner.cols);
    struct mat dplaces = learnrun_wide(r, a->h.rows, a->h.cols);
    TRY(learnmoe_matmul(r, a, LEARNOPS_TN, p->expert_down->grad, dy, a->inner, p->expert_down, true));
    TRY(learnmoe_matmul(r, a, LEARNOPS_NN, dinner, dy, p->expert_down->work, p->expert_down, false));
    if (!r->counting) {
        learnops_swiglu_backward(r->compute, a->gate, a->up, dinner, a->gate, a->up);
    }
    TRY(learnmoe_matmul(r, a, LEARNOPS_TN, p->expert_gate->grad, a->gate, a->h, p->expert_gate, true));
    TRY(learnmoe_matmul(r, a, LEARNOPS_TN, p->expert_up->grad, a->up, a->h, p->expert_up, true));
    TRY(learnmoe_matmul(r, a, LEARNOPS_NN, dplaces, a->gate, p->expert_gate->work, p->expert_gate, false));
    TRY(learnmoe_matmul(r, a, LEARNOPS_NN, dplaces, a->up, p->expert_up->work, p->expert_up, true));
    if (!r->counting) { /* each token's places together, which reads dh once */
        const struct mat ones = {.type = r->wide, .rows = r->n_tokens, .cols = r->config->num_experts_per_tok};
        learnops_combine(r->compute, dh, dplaces, ones, a->slot);
    }
    return ERR_OK;
}

err learnmoe_backward(const struct learnrun *r, const struct learnparams_layer *p, const struct learnmoe *kept,
                      struct mat d, struct mat dweights, struct mat dh)
{
    size_t mark = learnarena_mark(r->arena);
    struct mat dy = learnrun_narrow(r, kept->y.rows, kept->y.cols);
    if (!r->counting) {
        learnops_combine_backward(r->compute, dy, dweights, d, kept->y, kept->router.weights, kept->slot);
    }
    TRY(learnmoe_experts_backward(r, p, kept, dy, dh));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

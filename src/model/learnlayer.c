/* model/learnlayer.c: see learnlayer.h. */
#include "model/learnlayer.h"

/* What the blocks of a layer share. */
struct learnlayer_there {
    const struct learnparams_layer *p;
    const struct learnskip *skip;
    struct learnlayer *kept;
    struct mat x;
};

static void learnlayer_keep(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                            struct learnlayer *kept)
{
    *kept = (struct learnlayer){.x = learnrun_wide(r, x.rows, x.cols), .h = learnrun_narrow(r, x.rows, x.cols)};
    if (config_is_mla(r->config)) {
        learnmla_keep(r, p, &kept->mla);
    } else {
        learngqa_keep(r, p, &kept->gqa);
    }
    if (p->x0_skip) {
        kept->before = learnrun_wide(r, x.rows, x.cols);
    }
    if (p->gate) {
        learnffn_keep(r, p, &kept->ffn);
    }
    if (p->router) {
        learnmoe_keep(r, p, &kept->moe);
    }
}

static err learnlayer_attend(const struct learnrun *r, size_t first, const struct learnlayer_there *a,
                             struct mat x)
{
    const struct learnskip skip = learnskip_rows(a->skip, first, r->n_tokens);
    learnskip_input(r, a->p, &skip, x, mat_rows(a->kept->before, first, r->n_tokens));
    if (config_is_mla(r->config)) {
        const struct learnmla kept = learnmla_rows(&a->kept->mla, first, r->n_tokens);
        return learnmla_forward(r, a->p, x, &kept, &skip);
    }
    const struct learngqa kept = learngqa_rows(&a->kept->gqa, first, r->n_tokens);
    return learngqa_forward(r, a->p, x, &kept, &skip);
}

static err learnlayer_forward_block(const struct learnrun *r, size_t first, const void *user)
{
    const struct learnlayer_there *a = user;
    size_t n = r->n_tokens;
    struct mat x = mat_rows(a->x, first, n), h = mat_rows(a->kept->h, first, n);
    TRY(learnlayer_attend(r, first, a, x));
    learnrun_copy(r, mat_rows(a->kept->x, first, n), x);
    learnrun_norm(r, h, x, a->p->ffn_norm);
    if (a->p->router) {
        const struct learnrouter router = learnrouter_rows(r, &a->kept->moe.router, first, n);
        TRY(learnmoe_route(r, a->p, h, &router));
    }
    if (a->p->gate) {
        const struct learnffn ffn = learnffn_rows(&a->kept->ffn, first, n);
        TRY(learnffn_forward(r, a->p, h, x, &ffn));
    }
    return ERR_OK;
}

static err learnlayer_gpt2_block(const struct learnrun *r, size_t first, const void *user)
{
    const struct learnlayer_there *a = user;
    const struct learngpt2 kept = learngpt2_rows(&a->kept->gpt2, first, r->n_tokens);
    return learngpt2_forward(r, a->p, mat_rows(a->x, first, r->n_tokens), &kept);
}

err learnlayer_forward(const struct learnrun *r, const struct learnparams_layer *p, struct mat x,
                       const struct learnskip *skip, struct learnlayer *kept)
{
    const struct learnlayer_there a = {p, skip, kept, x};
    if (p->qkv) {
        *kept = (struct learnlayer){0};
        learngpt2_keep(r, &kept->gpt2);
        return learnblocks_run(r, learnlayer_gpt2_block, &a);
    }
    learnlayer_keep(r, p, x, kept);
    TRY(learnblocks_run(r, learnlayer_forward_block, &a));
    return p->router ? learnmoe_forward(r, p, kept->h, x, &kept->moe) : ERR_OK;
}

/* ---- Backward: the experts first, then block by block, then the weights. ---- */

struct learnlayer_back {
    const struct learnparams_layer *p;
    const struct learnskip *skip;
    const struct learnlayer *kept;
    double balance_scale;
    struct mat dx;
    struct mat d;                 /* [T, D]: dx as it was, narrow */
    struct mat dplaces;           /* [P, D]: by the rows of h that the experts got; none without */
    struct mat dweights, dlogits; /* [T, K], wide; [T, E] */
    struct mat ffn_norm, x0_skip; /* sums of blocks */
    struct learnmla_grads mla;
    struct learngqa_grads gqa;
};

static void learnlayer_begin(const struct learnrun *r, struct learnlayer_back *a)
{
    const struct config *c = r->config;
    a->d = learnrun_narrow(r, a->dx.rows, a->dx.cols);
    a->ffn_norm = learnblocks_sums(r, a->dx.cols);
    a->x0_skip = learnblocks_sums(r, 2);
    if (a->p->router) {
        a->dplaces = learnrun_narrow(r, a->kept->moe.gates.rows, a->dx.cols);
        a->dweights = learnrun_wide(r, r->n_tokens, c->num_experts_per_tok);
        a->dlogits = learnrun_narrow(r, r->n_tokens, c->n_routed_experts);
    }
    if (config_is_mla(c)) {
        learnmla_begin(r, &a->kept->mla, &a->mla);
    } else {
        learngqa_begin(r, &a->kept->gqa, &a->gqa);
    }
}

static err learnlayer_feed_backward(const struct learnrun *r, size_t first, const struct learnlayer_back *a)
{
    size_t n = r->n_tokens, mark = learnarena_mark(r->arena);
    struct mat dh = learnrun_wide(r, n, a->dx.cols);
    if (a->p->gate) {
        const struct learnffn ffn = learnffn_rows(&a->kept->ffn, first, n);
        TRY(learnffn_backward(r, a->p, &ffn, mat_rows(a->d, first, n), dh));
    }
    if (a->p->router) {
        const struct learnrouter router = learnrouter_rows(r, &a->kept->moe.router, first, n);
        TRY(learnmoe_route_backward(r, a->p, &router, mat_rows(a->dweights, first, n), a->balance_scale,
                                    mat_rows(a->dlogits, first, n), dh, a->p->gate != NULL));
        learnmoe_collect(r, &a->kept->moe, first, a->dplaces, dh);
    }
    TRY(learnrun_norm_backward_to(r, mat_rows(a->dx, first, n), learnblocks_sum(r, a->ffn_norm, first), dh,
                                  mat_rows(a->kept->x, first, n), a->p->ffn_norm));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

static err learnlayer_attend_backward(const struct learnrun *r, size_t first, const struct learnlayer_back *a,
                                      struct mat dx)
{
    size_t n = r->n_tokens;
    const struct learnskip skip = learnskip_rows(a->skip, first, n);
    if (config_is_mla(r->config)) {
        const struct learnmla kept = learnmla_rows(&a->kept->mla, first, n);
        const struct learnmla_grads g = learnmla_grads_rows(r, &a->mla, first, n);
        TRY(learnmla_backward(r, a->p, &kept, &g, &skip, dx));
    } else {
        const struct learngqa kept = learngqa_rows(&a->kept->gqa, first, n);
        const struct learngqa_grads g = learngqa_grads_rows(r, &a->gqa, first, n);
        TRY(learngqa_backward(r, a->p, &kept, &g, &skip, dx));
    }
    return learnskip_input_backward(r, a->p, &skip, mat_rows(a->kept->before, first, n),
                                    learnblocks_sum(r, a->x0_skip, first), dx);
}

static err learnlayer_backward_block(const struct learnrun *r, size_t first, const void *user)
{
    const struct learnlayer_back *a = user;
    size_t n = r->n_tokens;
    struct mat dx = mat_rows(a->dx, first, n);
    if (!a->p->router) { /* with experts it was needed before */
        learnrun_copy(r, mat_rows(a->d, first, n), dx);
    }
    TRY(learnlayer_feed_backward(r, first, a));
    return learnlayer_attend_backward(r, first, a, dx);
}

static err learnlayer_weights(const struct learnrun *r, const struct learnlayer_back *a)
{
    struct learnrun_grads list = {.n = 0};
    bool mla = config_is_mla(r->config);
    if (mla) {
        learnmla_list(a->p, &a->kept->mla, &a->mla, &list);
    } else {
        learngqa_list(a->p, &a->kept->gqa, &a->gqa, &list);
    }
    if (a->p->gate) {
        learnffn_list(a->p, a->kept->h, &a->kept->ffn, a->d, &list);
    }
    if (a->p->router) {
        learnrun_grad(&list, a->p->router->grad, a->dlogits, a->kept->h, true);
    }
    TRY(learnrun_grads_make(r, &list));
    learnblocks_add(r, a->p->ffn_norm->grad, a->ffn_norm);
    if (a->p->x0_skip) {
        learnblocks_add(r, a->p->x0_skip->grad, a->x0_skip);
    }
    if (mla) {
        learnmla_end(r, a->p, &a->mla);
    } else {
        learngqa_end(r, a->p, &a->gqa);
    }
    return ERR_OK;
}

/* ---- GPT-2's class. ---- */

struct learnlayer_gpt2_back {
    const struct learnparams_layer *p;
    const struct learngpt2 *kept;
    struct learngpt2_grads g;
    struct mat dx;
};

static err learnlayer_gpt2_backward_block(const struct learnrun *r, size_t first, const void *user)
{
    const struct learnlayer_gpt2_back *a = user;
    const struct learngpt2 kept = learngpt2_rows(a->kept, first, r->n_tokens);
    const struct learngpt2_grads g = learngpt2_grads_rows(r, &a->g, first, r->n_tokens);
    return learngpt2_backward(r, a->p, &kept, &g, mat_rows(a->dx, first, r->n_tokens));
}

static err learnlayer_gpt2_backward(const struct learnrun *r, const struct learnparams_layer *p,
                                    const struct learngpt2 *kept, struct mat dx)
{
    struct learnlayer_gpt2_back a = {.p = p, .kept = kept, .dx = dx};
    struct learnrun_grads list = {.n = 0};
    learngpt2_begin(r, p, kept, &a.g);
    TRY(learnblocks_run(r, learnlayer_gpt2_backward_block, &a));
    learngpt2_list(p, kept, &a.g, &list);
    TRY(learnrun_grads_make(r, &list));
    learngpt2_end(r, p, &a.g);
    return ERR_OK;
}

err learnlayer_backward(const struct learnrun *r, const struct learnparams_layer *p,
                        const struct learnskip *skip, const struct learnlayer *kept, double balance_scale,
                        struct mat dx)
{
    size_t mark = learnarena_mark(r->arena);
    struct learnlayer_back a = {.p = p, .skip = skip, .kept = kept, .balance_scale = balance_scale, .dx = dx};
    if (p->qkv) {
        TRY(learnlayer_gpt2_backward(r, p, &kept->gpt2, dx));
        learnarena_release(r->arena, mark);
        return ERR_OK;
    }
    learnlayer_begin(r, &a);
    if (p->router) {
        learnrun_copy(r, a.d, dx);
        TRY(learnmoe_backward(r, p, kept->h, &kept->moe, a.d, a.dweights, a.dplaces));
    }
    TRY(learnblocks_run(r, learnlayer_backward_block, &a));
    TRY(learnlayer_weights(r, &a));
    learnarena_release(r->arena, mark);
    return ERR_OK;
}

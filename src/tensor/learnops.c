/* tensor/learnops.c: dispatch; see learnops.h. */
#include "tensor/learnops.h"

#include "tensor/cpu/gemm.h"
#include "tensor/cpu/learnattention.h"
#include "tensor/cpu/learnexperts.h"
#include "tensor/cpu/learnhead.h"
#include "tensor/cpu/learnrows.h"
#include "tensor/ref/learnref.h"

err learnops_matmul(struct compute *c, enum learnops_product product, const struct learnops_matmul *jobs,
                    size_t n_jobs)
{
#if defined(__x86_64__)
    bool fast = c->level != CPUINFO_REF;
    for (size_t i = 0; fast && i < n_jobs; i++) {
        fast = gemm_takes(&jobs[i]);
    }
    if (fast) {
        return gemm_run(c, product, jobs, n_jobs, gemm_of(c->level));
    }
#endif
    (void)c;
    for (size_t i = 0; i < n_jobs; i++) {
        learnref_matmul(product, &jobs[i]);
    }
    return ERR_OK;
}

/* Whether a fast version did it, for good or ill. */
static bool learnops_attend(struct compute *c, const struct learnops_attention *a,
                            const struct learnattention_grads *d, err *e)
{
#if defined(__x86_64__)
    if (c->level == CPUINFO_REF || !learnattention_takes(a, d)) {
        return false;
    }
    *e = c->level == CPUINFO_AMX    ? learnattention_amx(c, a, d)
         : c->level == CPUINFO_AVX2 ? learnattention_avx2(c, a, d)
                                    : learnattention_avx512(c, a, d);
    return true;
#else
    (void)c, (void)a, (void)d, (void)e;
    return false;
#endif
}

err learnops_attention(struct compute *c, const struct learnops_attention *a)
{
    err e;
    return learnops_attend(c, a, NULL, &e) ? e : learnref_attention(a);
}

err learnops_attention_backward(struct compute *c, const struct learnops_attention *a, struct mat dout,
                                struct mat dq, struct mat dk, struct mat dv)
{
    const struct learnattention_grads d = {dout, dq, dk, dv};
    err e;
    return learnops_attend(c, a, &d, &e) ? e : learnref_attention_backward(a, dout, dq, dk, dv);
}

/* The compute's fast versions, if all n mats are of their types; NULL: the reference. */
static const struct learnrows_table *learnops_rows(const struct compute *c, const struct mat *mats, size_t n)
{
    static const struct learnrows_table *const tables[CPUINFO_LEVELS] = {
#if defined(__x86_64__)
        [CPUINFO_AVX2] = &learnrows_avx2,
        [CPUINFO_AVX512] = &learnrows_avx512,
        [CPUINFO_AVX512BF16] = &learnrows_avx512,
        [CPUINFO_AMX] = &learnrows_avx512,
#endif
    };
    for (size_t i = 0; i < n; i++) {
        if (mats[i].type == MAT_F64) {
            return NULL;
        }
    }
    return tables[c->level];
}

void learnops_rmsnorm(struct compute *c, struct mat y, struct mat x, struct mat weight, double eps)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, x, weight}, 3);
    if (fast) {
        fast->rmsnorm(c, y, x, weight, eps);
    } else {
        learnref_rmsnorm(y, x, weight, eps);
    }
}

err learnops_rmsnorm_backward(struct compute *c, struct mat dx, struct mat dweight, struct mat dy,
                              struct mat x, struct mat weight, double eps)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){dx, dweight, dy, x, weight}, 5);
    if (fast) {
        return fast->rmsnorm_backward(c, dx, dweight, dy, x, weight, eps);
    }
    learnref_rmsnorm_backward(dx, dweight, dy, x, weight, eps);
    return ERR_OK;
}

void learnops_rope(struct compute *c, const struct learnops_rope *a)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){a->x}, 1);
    if (fast) {
        fast->rope(c, a);
    } else {
        learnref_rope(a);
    }
}

void learnops_swiglu(struct compute *c, struct mat y, struct mat gate, struct mat up)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, gate, up}, 3);
    if (fast) {
        fast->swiglu(c, y, gate, up);
    } else {
        learnref_swiglu(y, gate, up);
    }
}

void learnops_swiglu_backward(struct compute *c, struct mat dgate, struct mat dup, struct mat dy,
                              struct mat gate, struct mat up)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){dgate, dup, dy, gate, up}, 5);
    if (fast) {
        fast->swiglu_backward(c, dgate, dup, dy, gate, up);
    } else {
        learnref_swiglu_backward(dgate, dup, dy, gate, up);
    }
}

void learnops_layernorm(struct compute *c, struct mat y, struct mat x, struct mat weight, struct mat bias,
                        double eps)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, x, weight, bias}, 4);
    if (fast) {
        fast->layernorm(c, y, x, weight, bias, eps);
    } else {
        learnref_layernorm(y, x, weight, bias, eps);
    }
}

err learnops_layernorm_backward(struct compute *c, const struct learnops_layernorm *a, double eps)
{
    const struct mat mats[] = {a->dx, a->dweight, a->dbias, a->dy, a->x, a->weight};
    const struct learnrows_table *fast = learnops_rows(c, mats, 6);
    if (fast) {
        return fast->layernorm_backward(c, a, eps);
    }
    learnref_layernorm_backward(a, eps);
    return ERR_OK;
}

void learnops_gelu(struct compute *c, struct mat y, struct mat x)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, x}, 2);
    if (fast) {
        fast->gelu(c, y, x);
    } else {
        learnref_gelu(y, x);
    }
}

void learnops_gelu_backward(struct compute *c, struct mat dx, struct mat dy, struct mat x)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){dx, dy, x}, 3);
    if (fast) {
        fast->gelu_backward(c, dx, dy, x);
    } else {
        learnref_gelu_backward(dx, dy, x);
    }
}

void learnops_bias(struct compute *c, struct mat y, struct mat bias)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, bias}, 2);
    if (fast) {
        fast->bias(c, y, bias);
    } else {
        learnref_bias(y, bias);
    }
}

err learnops_bias_backward(struct compute *c, struct mat dbias, struct mat dy)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){dbias, dy}, 2);
    if (fast) {
        return fast->bias_backward(c, dbias, dy);
    }
    learnref_bias_backward(dbias, dy);
    return ERR_OK;
}

void learnops_cross_entropy(struct compute *c, struct mat dlogits, struct mat logits,
                            const int32_t *targets, double *losses, double z_loss, double scale)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){dlogits, logits}, 2);
    if (fast) {
        fast->cross_entropy(c, dlogits, logits, targets, losses, z_loss, scale);
    } else {
        learnref_cross_entropy(dlogits, logits, targets, losses, z_loss, scale);
    }
}

/* Logits are at least float32; their gradients are what products read. */
static enum mat_type learnops_logits(enum mat_type x)
{
    return x == MAT_F64 ? MAT_F64 : MAT_F32;
}

size_t learnops_head_bytes(struct mat x, struct mat w, bool gradients)
{
    size_t rows = x.rows < LEARNOPS_HEAD_ROWS ? x.rows : LEARNOPS_HEAD_ROWS, most = 0;
    size_t each = mat_type_bytes(learnops_logits(x.type)) + (gradients ? mat_type_bytes(x.type) : 0);
#if defined(__x86_64__)
    most = gradients && x.type == MAT_BF16 ? learnhead_bytes(x.rows, w.rows, x.cols) : 0;
#endif
    return rows * w.rows * each > most ? rows * w.rows * each : most;
}

/* Rows [first, first + n). */
static err learnops_head_rows(struct compute *c, const struct learnops_head *a, size_t first, size_t n)
{
    struct mat x = mat_rows(a->x, first, n), d = {.type = a->x.type};
    struct mat logits = mat_of(a->memory, learnops_logits(a->x.type), n, a->w.rows);
    const struct learnops_matmul forward = {logits, x, a->w, false};
    if (a->dx.data) {
        d = mat_of((char *)a->memory + n * a->w.rows * mat_type_bytes(logits.type), a->x.type, n, a->w.rows);
    }
    TRY(learnops_matmul(c, LEARNOPS_NT, &forward, 1));
    learnops_cross_entropy(c, d, logits, a->targets + first, a->losses + first, a->z_loss, a->scale);
    if (!a->dx.data) {
        return ERR_OK;
    }
    const struct learnops_matmul to_w = {a->dw, d, x, true};
    const struct learnops_matmul to_x = {mat_rows(a->dx, first, n), d, a->w, false};
    TRY(learnops_matmul(c, LEARNOPS_TN, &to_w, 1));
    return learnops_matmul(c, LEARNOPS_NN, &to_x, 1);
}

err learnops_head(struct compute *c, const struct learnops_head *a)
{
#if defined(__x86_64__)
    if (c->level == CPUINFO_AMX && learnhead_takes(a)) {
        return learnhead_amx(c, a);
    }
#endif
    for (size_t t = 0; t < a->x.rows; t += LEARNOPS_HEAD_ROWS) {
        size_t left = a->x.rows - t;
        TRY(learnops_head_rows(c, a, t, left < LEARNOPS_HEAD_ROWS ? left : LEARNOPS_HEAD_ROWS));
    }
    return ERR_OK;
}

/* Tokens are not negative: as rows they are the same bits. */
void learnops_embed(struct compute *c, struct mat y, struct mat table, const int32_t *ids)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, table}, 2);
    if (fast) {
        fast->gather(c, y, table, (const uint32_t *)ids);
    } else {
        learnref_embed(y, table, ids);
    }
}

void learnops_embed_backward(struct compute *c, struct mat dtable, struct mat dy, const int32_t *ids)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){dtable, dy}, 2);
    if (fast) {
        fast->gather_backward(c, dtable, dy, (const uint32_t *)ids);
    } else {
        learnref_embed_backward(dtable, dy, ids);
    }
}

void learnops_combine(struct compute *c, struct mat y, struct mat x, struct mat weight, const uint32_t *slot)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, x, weight}, 3);
    if (fast) {
        fast->combine(c, y, x, weight, slot);
    } else {
        learnref_combine(y, x, weight, slot);
    }
}

err learnops_experts(struct compute *c, const struct learnops_experts *a, struct mat y)
{
#if defined(__x86_64__)
    if (c->level != CPUINFO_REF && learnexperts_takes(a, &y, NULL)) {
        return learnexperts_run(c, a, y);
    }
#endif
    (void)c;
    return learnref_experts(a, y);
}

err learnops_experts_backward(struct compute *c, const struct learnops_experts *a,
                              const struct learnops_experts_grads *g)
{
#if defined(__x86_64__)
    if (c->level != CPUINFO_REF && learnexperts_takes(a, NULL, g)) {
        return learnexperts_run_backward(c, a, g);
    }
#endif
    (void)c;
    return learnref_experts_backward(a, g);
}

void learnops_mix(struct compute *c, struct mat y, struct mat a, struct mat b, struct mat weight)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, a, b, weight}, 4);
    if (fast) {
        fast->mix(c, y, a, b, weight);
    } else {
        learnref_mix(y, a, b, weight);
    }
}

err learnops_mix_backward(struct compute *c, const struct learnops_mix *m)
{
    const struct mat mats[] = {m->da, m->db, m->dweight, m->dy, m->a, m->b, m->weight};
    const struct learnrows_table *fast = learnops_rows(c, mats, sizeof mats / sizeof *mats);
    if (fast) {
        return fast->mix_backward(c, m);
    }
    learnref_mix_backward(m);
    return ERR_OK;
}

void learnops_add(struct compute *c, struct mat y, struct mat x)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, x}, 2);
    if (fast) {
        fast->add(c, y, x);
    } else {
        learnref_add(y, x);
    }
}

void learnops_copy(struct compute *c, struct mat y, struct mat x)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y, x}, 2);
    if (fast) {
        fast->copy(c, y, x);
    } else {
        learnref_copy(y, x);
    }
}

void learnops_zero(struct compute *c, struct mat y)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){y}, 1);
    if (fast) {
        fast->zero(c, y);
    } else {
        learnref_zero(y);
    }
}

void learnops_router_scores(struct compute *c, const struct learnops_router *a, struct mat logits)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){a->scores, logits}, 2);
    if (fast) {
        fast->router_scores(c, a, logits);
    } else {
        learnref_router_scores(a, logits);
    }
}

void learnops_router_weigh(struct compute *c, const struct learnops_router *a)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){a->scores, a->weights}, 2);
    if (fast) {
        fast->router_weigh(c, a);
    } else {
        learnref_router_weigh(a);
    }
}

void learnops_router_balance(struct compute *c, const struct learnops_router *a, double *losses)
{
    const struct learnrows_table *fast = learnops_rows(c, (const struct mat[]){a->scores, a->load}, 2);
    if (fast) {
        fast->router_balance(c, a, losses);
    } else {
        learnref_router_balance(a, losses);
    }
}

void learnops_router_backward(struct compute *c, const struct learnops_router *a, struct mat dweights,
                              double balance_scale, struct mat dlogits)
{
    const struct mat mats[] = {a->scores, a->load, dweights, dlogits};
    const struct learnrows_table *fast = learnops_rows(c, mats, 4);
    if (fast) {
        fast->router_backward(c, a, dweights, balance_scale, dlogits);
    } else {
        learnref_router_backward(a, dweights, balance_scale, dlogits);
    }
}

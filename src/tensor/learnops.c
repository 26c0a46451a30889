/* tensor/learnops.c: dispatch; see learnops.h. */
#include "tensor/learnops.h"

#include "tensor/cpu/gemm.h"
#include "tensor/cpu/learnattention.h"
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
        return c->level == CPUINFO_AMX      ? gemm_amx(c, product, jobs, n_jobs)
               : c->level == CPUINFO_AVX512 ? gemm_avx512(c, product, jobs, n_jobs)
                                            : gemm_avx2(c, product, jobs, n_jobs);
    }
#endif
    (void)c;
    for (size_t i = 0; i < n_jobs; i++) {
        learnref_matmul(product, &jobs[i]);
    }
    return ERR_OK;
}

void learnops_rmsnorm(struct compute *c, struct mat y, struct mat x, struct mat weight, double eps)
{
    (void)c;
    learnref_rmsnorm(y, x, weight, eps);
}

void learnops_rmsnorm_backward(struct compute *c, struct mat dx, struct mat dweight, struct mat dy,
                               struct mat x, struct mat weight, double eps)
{
    (void)c;
    learnref_rmsnorm_backward(dx, dweight, dy, x, weight, eps);
}

void learnops_rope(struct compute *c, const struct learnops_rope *a)
{
    (void)c;
    learnref_rope(a);
}

void learnops_swiglu(struct compute *c, struct mat y, struct mat gate, struct mat up)
{
    (void)c;
    learnref_swiglu(y, gate, up);
}

void learnops_swiglu_backward(struct compute *c, struct mat dgate, struct mat dup, struct mat dy,
                              struct mat gate, struct mat up)
{
    (void)c;
    learnref_swiglu_backward(dgate, dup, dy, gate, up);
}

/* Whether a fast version did it, for good or ill. */
static bool learnops_attend(struct compute *c, const struct learnops_attention *a,
                            const struct learnattention_grads *d, err *e)
{
#if defined(__x86_64__)
    if (c->level == CPUINFO_REF || !learnattention_takes(a, d)) {
        return false;
    }
    *e = c->level == CPUINFO_AMX      ? learnattention_amx(c, a, d)
         : c->level == CPUINFO_AVX512 ? learnattention_avx512(c, a, d)
                                      : learnattention_avx2(c, a, d);
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

void learnops_cross_entropy(struct compute *c, struct mat logits, const int32_t *targets, double *losses,
                            double z_loss, double scale)
{
    (void)c;
    learnref_cross_entropy(logits, targets, losses, z_loss, scale);
}

void learnops_embed(struct compute *c, struct mat y, struct mat table, const int32_t *ids)
{
    (void)c;
    learnref_embed(y, table, ids);
}

void learnops_embed_backward(struct compute *c, struct mat dtable, struct mat dy, const int32_t *ids)
{
    (void)c;
    learnref_embed_backward(dtable, dy, ids);
}

void learnops_gather(struct compute *c, struct mat y, struct mat x, const uint32_t *rows)
{
    (void)c;
    learnref_gather(y, x, rows);
}

void learnops_gather_backward(struct compute *c, struct mat dx, struct mat dy, const uint32_t *rows)
{
    (void)c;
    learnref_gather_backward(dx, dy, rows);
}

void learnops_combine(struct compute *c, struct mat y, struct mat x, struct mat weight, const uint32_t *slot)
{
    (void)c;
    learnref_combine(y, x, weight, slot);
}

void learnops_combine_backward(struct compute *c, struct mat dx, struct mat dweight, struct mat dy,
                               struct mat x, struct mat weight, const uint32_t *slot)
{
    (void)c;
    learnref_combine_backward(dx, dweight, dy, x, weight, slot);
}

void learnops_add(struct compute *c, struct mat y, struct mat x)
{
    (void)c;
    learnref_add(y, x);
}

void learnops_copy(struct compute *c, struct mat y, struct mat x)
{
    (void)c;
    learnref_copy(y, x);
}

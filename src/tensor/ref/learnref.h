/* tensor/ref/learnref.h: the reference of every operation of learnops.h: plain loops in float64 over mats of
 * any type, never optimised. Contracts there. */
#ifndef TENSOR_REF_LEARNREF_H
#define TENSOR_REF_LEARNREF_H

#include "tensor/learnops.h"

void learnref_matmul(enum learnops_product product, const struct learnops_matmul *job);
void learnref_rmsnorm(struct mat y, struct mat x, struct mat weight, double eps);
void learnref_rmsnorm_backward(struct mat dx, struct mat dweight, struct mat dy, struct mat x,
                               struct mat weight, double eps);
void learnref_rope(const struct learnops_rope *a);
void learnref_swiglu(struct mat y, struct mat gate, struct mat up);
void learnref_swiglu_backward(struct mat dgate, struct mat dup, struct mat dy, struct mat gate, struct mat up);
void learnref_layernorm(struct mat y, struct mat x, struct mat weight, struct mat bias, double eps);
void learnref_layernorm_backward(const struct learnops_layernorm *a, double eps);
void learnref_gelu(struct mat y, struct mat x);
void learnref_gelu_backward(struct mat dx, struct mat dy, struct mat x);
void learnref_bias(struct mat y, struct mat bias);
void learnref_bias_backward(struct mat dbias, struct mat dy);
err learnref_attention(const struct learnops_attention *a);
err learnref_attention_backward(const struct learnops_attention *a, struct mat dout, struct mat dq,
                                struct mat dk, struct mat dv);
void learnref_cross_entropy(struct mat dlogits, struct mat logits, const int32_t *targets, double *losses,
                            double z_loss, double scale);
void learnref_embed(struct mat y, struct mat table, const int32_t *ids);
void learnref_embed_backward(struct mat dtable, struct mat dy, const int32_t *ids);
void learnref_combine(struct mat y, struct mat x, struct mat weight, const uint32_t *slot);
err learnref_experts(const struct learnops_experts *a, struct mat y);
err learnref_experts_backward(const struct learnops_experts *a, const struct learnops_experts_grads *d);
void learnref_mix(struct mat y, struct mat a, struct mat b, struct mat weight);
void learnref_mix_backward(const struct learnops_mix *m);
void learnref_add(struct mat y, struct mat x);
void learnref_copy(struct mat y, struct mat x);
void learnref_zero(struct mat y);
void learnref_router_scores(const struct learnops_router *a, struct mat logits);
void learnref_router_weigh(const struct learnops_router *a);
void learnref_router_balance(const struct learnops_router *a, double *losses);
void learnref_router_backward(const struct learnops_router *a, struct mat dweights, double balance_scale,
                              struct mat dlogits);

#endif

/* tensor/learnops.h: the operations that learning needs: forward where activations are kept, and backward.
 * T tokens, D width, H heads, E experts, K experts per token. Every operation has a reference that takes mats
 * of any type and computes in float64 (ref/learnref*.c, the judge: float64 mats all through give gradients that
 * finite differences confirm), and fast versions for the types named at each.
 *
 * Gradients: dx is the gradient of the loss by x. "Adds": the output's old value counts. Positions: token t
 * of a sequence attends to itself and the positions[t] tokens before it, so a 0 begins a document.
 *
 * Outputs may not overlap inputs, except where it is said. Thread rule: one op at a time per compute. */
#ifndef TENSOR_LEARNOPS_H
#define TENSOR_LEARNOPS_H

#include <stdbool.h>

#include "tensor/mat.h"
#include "tensor/ops.h"

/* Matrix products: y = x w^T [M, N] of x [M, K], w [N, K];  y = x w of x [M, K], w [K, N];
 * y = x^T w of x [K, M], w [K, N]. Jobs run as one batch with one work queue. Fast: x and w bfloat16, y float32
 * or bfloat16. */
enum learnops_product { LEARNOPS_NT, LEARNOPS_NN, LEARNOPS_TN };
struct learnops_matmul {
    struct mat y, x, w;
    bool add; /* adds to y */
};
ERR_MUST_USE err learnops_matmul(struct compute *c, enum learnops_product product,
                                 const struct learnops_matmul *jobs, size_t n_jobs);

/* From here on, attention aside, there are fast versions for float32 and bfloat16 mats in any mix, whose
 * results do not depend on the number of threads; where one of the mats is float64, the reference computes.
 *
 * y = x / sqrt(mean(x^2) + eps) * weight, per row; weight [1, D], without data 1 everywhere. Backward adds to
 * dx and dweight, which has no data where weight has none; ERR_NOMEM for its partial sums. */
void learnops_rmsnorm(struct compute *c, struct mat y, struct mat x, struct mat weight, double eps);
ERR_MUST_USE err learnops_rmsnorm_backward(struct compute *c, struct mat dx, struct mat dweight,
                                           struct mat dy, struct mat x, struct mat weight, double eps);

/* Rotates dims [first, first + dim) of each of n_heads heads of x [T, n_heads * head_dim] in place by angle
 * positions[t] * freqs[i]; back: by its negative, which is the gradient's way. */
struct learnops_rope {
    struct mat x;
    size_t n_heads, head_dim, first, dim;
    const int32_t *positions; /* [T] */
    const float *freqs;       /* [dim / 2] */
    enum rope_pairs pairs;
    bool back;
};
void learnops_rope(struct compute *c, const struct learnops_rope *a);

/* y = silu(gate) * up. Backward sets dgate and dup, which may be gate and up themselves. */
void learnops_swiglu(struct compute *c, struct mat y, struct mat gate, struct mat up);
void learnops_swiglu_backward(struct compute *c, struct mat dgate, struct mat dup, struct mat dy,
                              struct mat gate, struct mat up);

/* What GPT-2's class has in their place. y = (x - mean) / sqrt(variance + eps) * weight + bias, per row;
 * weight and bias [1, D]. Backward adds to dx, dweight and dbias; ERR_NOMEM for its partial sums. */
struct learnops_layernorm {
    struct mat dx, dweight, dbias, dy, x, weight;
};
void learnops_layernorm(struct compute *c, struct mat y, struct mat x, struct mat weight, struct mat bias,
                        double eps);
ERR_MUST_USE err learnops_layernorm_backward(struct compute *c, const struct learnops_layernorm *a, double eps);
/* y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. Backward sets dx, which may be x or dy itself. */
void learnops_gelu(struct compute *c, struct mat y, struct mat x);
void learnops_gelu_backward(struct compute *c, struct mat dx, struct mat dy, struct mat x);
/* Every row of y adds bias [1, D]; dbias adds the rows of dy; ERR_NOMEM for its partial sums. */
void learnops_bias(struct compute *c, struct mat y, struct mat bias);
ERR_MUST_USE err learnops_bias_backward(struct compute *c, struct mat dbias, struct mat dy);

/* Attention, causal and within documents; head h reads the keys and values of head h / (n_heads / n_kv_heads).
 * out and lse (the logarithm of the softmax's denominator, float32 or float64) are kept for the backward. */
struct learnops_attention {
    struct mat q;    /* [T, n_heads * k_dim] */
    struct mat k, v; /* [T, n_kv_heads * k_dim], [T, n_kv_heads * v_dim] */
    struct mat out;  /* [T, n_heads * v_dim] */
    struct mat lse;  /* [T, n_heads] */
    const int32_t *positions; /* [T], positions[t] <= t */
    size_t n_heads, n_kv_heads, k_dim, v_dim;
    double scale;
};
ERR_MUST_USE err learnops_attention(struct compute *c, const struct learnops_attention *a);
/* Sets dq, dk, dv, shaped as q, k, v. */
ERR_MUST_USE err learnops_attention_backward(struct compute *c, const struct learnops_attention *a,
                                             struct mat dout, struct mat dq, struct mat dk, struct mat dv);

/* The loss of next tokens: losses[t] = -log softmax(logits[t])[targets[t]] + z_loss * lse^2, lse being the
 * logarithm of the softmax's denominator; 0 where targets[t] < 0. Sets dlogits [T, V], the gradient of
 * sum_t losses[t] * scale: a mat of its own, after which logits hold nothing useful, or logits itself, or a mat
 * without data for the losses alone. */
void learnops_cross_entropy(struct compute *c, struct mat dlogits, struct mat logits, const int32_t *targets,
                            double *losses, double z_loss, double scale);

/* The head and that loss in one: logits are x w^T. losses as above; sets dx, and adds to dw, the gradients
 * of sum_t losses[t] * scale. Fast (AMX): x and w bfloat16, dx and dw float32; logits are then
 * nowhere in memory, bfloat16 exponentials for a chunk of tokens at a time (cpu/learnhead.h). Otherwise the
 * product, the loss and the products back for LEARNOPS_HEAD_ROWS tokens at a time. */
enum { LEARNOPS_HEAD_ROWS = 512 };
struct learnops_head {
    struct mat x, w;          /* [T, D], [V, D], of one type */
    const int32_t *targets;   /* [T] */
    double *losses;           /* [T] */
    double z_loss, scale;
    struct mat dx, dw;        /* [T, D], [V, D]; both without data: losses alone */
    void *memory;             /* learnops_head_bytes of it, 64-byte aligned */
};
/* For x [T, D] and w [V, D], which need no data, at any level. */
size_t learnops_head_bytes(struct mat x, struct mat w, bool gradients);
ERR_MUST_USE err learnops_head(struct compute *c, const struct learnops_head *a); /* ERR_NOMEM */

/* y[t] = table[ids[t]]; backward adds dy[t] to dtable[ids[t]], in the order of t. */
void learnops_embed(struct compute *c, struct mat y, struct mat table, const int32_t *ids);
void learnops_embed_backward(struct compute *c, struct mat dtable, struct mat dy, const int32_t *ids);

/* y[t] adds sum_k weight[t, k] x[slot[t * K + k]]; a weight [T, K] without data is 1 everywhere. */
void learnops_combine(struct compute *c, struct mat y, struct mat x, struct mat weight, const uint32_t *slot);

/* Routed experts: y[p] = down (silu(gate h) * (up h)) with the matrices of the place's expert and the row of h
 * of its token. There are P = first[E] places; expert e's are [first[e], first[e + 1]), and place p is choice
 * k = choice[p] % K of token choice[p] / K. Fast: h, matrices, gates, ups and d bfloat16; weights and the
 * gradients of matrices float32; y and dplaces either. ERR_NOMEM. */
struct learnops_experts {
    struct mat h;          /* [T, D] */
    struct mat gate, up;   /* [E * F, D] */
    struct mat down;       /* [E * D, F] */
    struct mat gates, ups; /* [P, F]: gate h and up h, kept for the backward */
    const size_t *first;    /* [E + 1] */
    const uint32_t *choice; /* [P] */
    size_t n_experts, n_chosen; /* E, K */
};
/* Sets gates, ups and y [P, D]. */
ERR_MUST_USE err learnops_experts(struct compute *c, const struct learnops_experts *a, struct mat y);
/* Of a loss whose gradient by a token's result, sum over k of weight[t, k] y[place of its choice k], is d. */
struct learnops_experts_grads {
    struct mat d;       /* [T, D] */
    struct mat weight;  /* [T, K] */
    struct mat dweight; /* [T, K], set */
    struct mat dplaces; /* [P, D], set: by the row of h, place by place */
    struct mat dgate, dup, ddown; /* added to */
};
ERR_MUST_USE err learnops_experts_backward(struct compute *c, const struct learnops_experts *a,
                                           const struct learnops_experts_grads *g);

/* y = weight[0] a + weight[1] b; weight [1, 2]; y may be a. Backward sets da, which may be dy, and adds to db
 * and dweight; ERR_NOMEM for its partial sums. */
void learnops_mix(struct compute *c, struct mat y, struct mat a, struct mat b, struct mat weight);
struct learnops_mix {
    struct mat da, db, dweight, dy, a, b, weight;
};
ERR_MUST_USE err learnops_mix_backward(struct compute *c, const struct learnops_mix *m);

/* y adds x. y becomes x, in y's type. y becomes 0. */
void learnops_add(struct compute *c, struct mat y, struct mat x);
void learnops_copy(struct compute *c, struct mat y, struct mat x);
void learnops_zero(struct compute *c, struct mat y);

/* A router, whose formulas are in model/learnrouter.h; who is chosen is decided there. The rows of T tokens are
 * load.rows sequences of the same length. */
#define LEARNOPS_ROUTER_TINY 1e-20 /* added to sums of scores, as in the model's published code */
struct learnops_router {
    struct mat scores;      /* [T, E] */
    struct mat weights;     /* [T, K] */
    struct mat load;        /* [sequences, E]: f, a constant */
    const uint32_t *chosen; /* [T * K], K different experts for each token */
    bool softmax;           /* scores are the softmax of a row of logits; otherwise their logistic function */
    bool normalise;         /* a token's weights add up to scale; otherwise they are scores times scale */
    double scale;
};
/* Sets a->scores, which may be the logits [T, E]. */
void learnops_router_scores(struct compute *c, const struct learnops_router *a, struct mat logits);
/* Sets a->weights from scores and chosen. */
void learnops_router_weigh(struct compute *c, const struct learnops_router *a);
/* losses[t]: what token t adds to its sequence's balance loss. */
void learnops_router_balance(struct compute *c, const struct learnops_router *a, double *losses);
/* Sets dlogits [T, E]: by way of the weights, whose gradient is dweights [T, K], and of balance_scale times all
 * balance losses. */
void learnops_router_backward(struct compute *c, const struct learnops_router *a, struct mat dweights,
                              double balance_scale, struct mat dlogits);

#endif

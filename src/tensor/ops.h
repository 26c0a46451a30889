/* tensor/ops.h: the operations models are written in, called directly, no graph. Activations are
 * float32, row-major; weights are `struct tensor` in any computable dtype. Every op has a reference in
 * ref/ (the judge) and may have faster versions per CPU level, reached through the table of the
 * compute it is called with. T tokens, D width, H heads, E experts, K experts per token.
 *
 * Aliasing: an output may be the same buffer as an input only where the comment says so.
 * Thread rule: one op at a time per compute. Ops do not fail except for scratch memory. */
#ifndef TENSOR_OPS_H
#define TENSOR_OPS_H

#include "tensor/compute.h"
#include "tensor/tensor.h"

/* y[t, n] = sum_k x[rows ? rows[t] : t, k] * w[n, k]  for t < n_rows. Strides count floats.
 * Several jobs run as one batch with one work queue over all of them: that is how Q, K and V, or all
 * experts of a layer, become one parallel region. */
struct matmul_job {
    struct tensor w; /* [N, K] */
    const float *x;
    const uint32_t *rows; /* gather of x rows; NULL for 0, 1, 2 … */
    float *y;
    size_t n_rows; /* 0 is allowed: nothing to do */
    size_t x_stride, y_stride;
};

ERR_MUST_USE err ops_matmul(struct compute *c, const struct matmul_job *jobs, size_t n_jobs);

/* Causal attention of n_tokens queries at positions pos … pos+n_tokens-1 over keys 0 … position.
 * Head h reads KV head h / (n_heads / n_kv_heads). Covers GQA (per-head K and V), MLA expanded
 * (n_kv_heads = n_heads, k_dim 192, v_dim 128) and MLA absorbed (n_kv_heads 1, k_dim 576 = latent|rope,
 * v the first 512 of the same rows). softmax in fp32.
 * In deterministic mode each output depends only on its own query and keys, not on n_tokens. */
struct attention_rows { /* keys or values; element (position s, kv head g, i) is in page s >> shift, at ... */
    const char *const *pages;
    size_t offset; /* ... so many bytes and then, with s counted from the page's first position, ... */
    size_t stride, head_stride; /* ... s * stride + g * head_stride + i elements */
    unsigned shift;             /* positions of a page: 2^shift, at least 16 */
};
enum { ATTENTION_ONE_PAGE = 63 }; /* a shift: all rows follow each other */

struct attention_args {
    float *out;     /* [T, n_heads, v_dim], out_stride floats between tokens */
    const float *q; /* [T, n_heads, k_dim], q_stride floats between tokens */
    size_t out_stride, q_stride;
    struct attention_rows k, v;
    enum dtype kv_dtype; /* F32, F16 or BF16 */
    size_t n_tokens, n_heads, n_kv_heads, k_dim, v_dim;
    size_t pos; /* position of the first query */
    float scale;
};

/* n_calls of them, of one shape (heads, dimensions, dtype), one sequence each: together they keep all threads
 * busy where each alone would not. No result depends on the others. */
ERR_MUST_USE err ops_attention(struct compute *c, const struct attention_args *calls, size_t n_calls);

/* y = x / sqrt(mean(x^2) + eps) * w, per row of D. y may be x. Strides in floats. */
void ops_rmsnorm(struct compute *c, float *y, size_t y_stride, const float *x, size_t x_stride,
                 const float *w, size_t n_rows, size_t d, float eps);

/* Rotates x[t, h, 0..dim) in place by angle (pos + t) * freqs[i], i < dim/2, computed in double.
 * Interleaved: pairs (2i, 2i+1), DeepSeek and Llama GGUF. Half: pairs (i, i + dim/2), Hugging Face
 * Qwen2 and Llama. x points at the first rotated element; strides in floats. */
enum rope_pairs { ROPE_INTERLEAVED, ROPE_HALF };
struct rope_args {
    float *x;
    size_t n_tokens, n_heads, token_stride, head_stride, dim, pos;
    const float *freqs; /* [dim / 2] */
    enum rope_pairs pairs;
};
void ops_rope(struct compute *c, const struct rope_args *a);

/* y = silu(gate) * up, n values; y may be gate or up. silu(v) = v / (1 + exp(-v)). */
void ops_swiglu(struct compute *c, float *y, const float *gate, const float *up, size_t n);

/* y += x, n values. y[t, :] += bias for every row. */
void ops_add(struct compute *c, float *y, const float *x, size_t n);
void ops_add_bias(struct compute *c, float *y, const float *bias, size_t n_rows, size_t d);

/* y[t, :] = row ids[t] of the table [V, D], dequantised. Every id must be < V. */
void ops_embed(struct compute *c, float *y, const struct tensor *table, const int32_t *ids,
               size_t n_rows);

/* y[t, :] += sum_k weight[t, k] * x[slot[t * K + k], :] in order of k: the way expert outputs come
 * back to their tokens. x rows are x_stride floats apart. */
void ops_combine(struct compute *c, float *y, const float *x, size_t x_stride, const uint32_t *slot,
                 const float *weight, size_t n_rows, size_t k, size_t d);

/* Floats to the cache dtype (F32, F16, BF16), n per row, strides in elements. */
void ops_store(struct compute *c, void *dst, enum dtype dtype, size_t dst_stride, const float *src,
               size_t src_stride, size_t n_rows, size_t n);
/* And back. */
void ops_load(struct compute *c, float *dst, size_t dst_stride, const void *src, enum dtype dtype,
              size_t src_stride, size_t n_rows, size_t n);

/* One CPU level's kernels. A level starts as a copy of the level below; later files override. */
struct ops_table {
    err (*matmul)(struct compute *, const struct matmul_job *, size_t);
    err (*attention)(struct compute *, const struct attention_args *, size_t);
    void (*rmsnorm)(struct compute *, float *, size_t, const float *, size_t, const float *, size_t,
                    size_t, float);
    void (*rope)(struct compute *, const struct rope_args *);
    void (*swiglu)(struct compute *, float *, const float *, const float *, size_t);
    void (*add)(struct compute *, float *, const float *, size_t);
    void (*add_bias)(struct compute *, float *, const float *, size_t, size_t);
    void (*embed)(struct compute *, float *, const struct tensor *, const int32_t *, size_t);
    void (*combine)(struct compute *, float *, const float *, size_t, const uint32_t *,
                    const float *, size_t, size_t, size_t);
    void (*store)(struct compute *, void *, enum dtype, size_t, const float *, size_t, size_t,
                  size_t);
    void (*load)(struct compute *, float *, size_t, const void *, enum dtype, size_t, size_t,
                 size_t);
};

/* The table of a level, NULL when this build has no such level. */
const struct ops_table *ops_for_level(enum cpuinfo_level level);

#endif

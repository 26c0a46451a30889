/* tensor/cpu/attention.h: causal attention per CPU level (contract: ops_attention in ops.h).
 *
 * One algorithm for prefill and decode, so that a query's result is the same bits whatever stands
 * beside it: keys are walked in blocks at fixed positions with an online softmax, blocks are
 * gathered into spans of 256 keys at fixed positions, and the spans of a query are merged in order.
 * Rows of work are (query, head) pairs that share a KV head; they lie in vector lanes, or, where they
 * are few, keys do (attention_few.h): no sum runs over lanes and no row's arithmetic depends on its
 * neighbours. The rows of all calls are shared among the threads; of a call with few rows and a great
 * part of the work its spans are (flash decoding).
 *
 * avx2, avx512: float32 throughout. amx: for BF16 caches with k_dim % 32 == 0 and v_dim % 32 == 0,
 * queries and probabilities are rounded to BF16 (sums in float32, probabilities normalised by the
 * sum of what was rounded); everything else runs as avx512.
 * Error against the reference, for scores up to 12 in size and relative to the largest |v|: 1e-5 in
 * float32 (measured 2.5e-6), 2^-6 for amx (measured 0.005); it grows with the scores.
 * Keys and values of positions after a query never reach it, except that a NaN or infinity among
 * the values of a later query of the same call may turn it into NaN. */
#ifndef TENSOR_CPU_ATTENTION_H
#define TENSOR_CPU_ATTENTION_H

#include "tensor/ops.h"

err attention_avx2(struct compute *c, const struct attention_args *calls, size_t n_calls);
err attention_avx512(struct compute *c, const struct attention_args *calls, size_t n_calls);
err attention_amx(struct compute *c, const struct attention_args *calls, size_t n_calls);

#endif

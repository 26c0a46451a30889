/* engine/sampler.h: from logits to the next token.
 *
 * Order of operations (each one off at its default):
 *   1. log-probabilities for the caller are taken from the model's own logits, before everything else
 *   2. what may not come gets the logit -inf; logit bias is added
 *   3. repetition penalty r on every distinct token so far, prompt included, or of the last penalty_window of
 *      them: l > 0 ? l / r : l * r (Keskar et al., CTRL, 2019)
 *   4. presence and frequency penalty on every distinct generated token: l -= presence + frequency * n
 *      (OpenAI's definition)
 *   5. temperature 0 (below 1e-5): the largest logit, the smallest id among equals; done
 *   6. top-k: the k best tokens, equal logits in order of id
 *   7. temperature: p = softmax(l / t) over what is left
 *   8. top-p: the fewest best tokens whose probabilities sum to at least top_p (Holtzman et al., 2019)
 *   9. min-p: tokens with p >= min_p * (the best token's p) (Nguyen et al., 2024)
 *  10. one draw from what is left, renormalised, walking in order of id
 *
 * Temperature comes before top-p and min-p, as in Hugging Face and vLLM, which published sampling
 * advice assumes. No step sorts the vocabulary: sets are cut by selection, O(vocabulary) on average.
 * The draw is a pure function of (logits, seed, position): no hidden random state, so saved, rewound
 * or batched sequences continue exactly. NaN counts as -inf, +inf as the largest float.
 * Thread rule: a sampler is scratch memory and belongs to one thread at a time. */
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include "fathom.h"

struct sampler;

ERR_MUST_USE err sampler_new(size_t vocab_size, struct sampler **out, struct errinfo *info);
void sampler_free(struct sampler *s); /* NULL is fine */

/* What the penalties look at: the sequence so far, of which the last n_generated were sampled. */
struct sampler_past {
    const int32_t *tokens;
    size_t n_tokens, n_generated;
    const uint64_t *allowed; /* bit i % 64 of word i / 64: token i may come; NULL: all may */
};

/* Picks the token for position past->n_tokens. `p` has passed sampling_check. ERR_CORRUPT when no
 * logit is a number above -inf: the weights, or what was computed from them, are broken. */
ERR_MUST_USE err sampler_pick(struct sampler *s, const struct sampling *p, const float *logits,
                              const struct sampler_past *past, int32_t *id, struct errinfo *info);

/* ln of the sum of exp(logits); NaN ignored; -inf when nothing is left. */
double sampler_logsumexp(const float *logits, size_t n);

/* The model's log-probability of `id` and the n_top (0 … 20) best alternatives, best first, into the
 * token's fields. */
void sampler_logprobs(const float *logits, size_t vocab_size, int32_t id, int n_top,
                      struct session_token *token);

#endif

/* model/mla.h: multi-head latent attention (DeepSeek-V2 paper, section 2.1). The cache holds, per
 * token, the normed latent c [kv_lora] and one rotated key k_pe [rope] shared by all heads.
 *   expanded: k_h = [Wk_h c | k_pe], v_h = Wv_h c, ordinary attention: cheaper for many queries
 *   absorbed: q~_h = Wk_h^T q_nope_h; scores (q~_h . c + q_pe_h . k_pe) over the cache itself;
 *             o_h = Wv_h (sum p c): cheaper for few queries, and what decoding always uses
 * Both are the same mathematics; scores are scaled by config.attention_scale. Up to MLA_FEW tokens of a
 * sequence are always absorbed: a step that tries a few guesses rounds as single tokens do. */
#ifndef MODEL_MLA_H
#define MODEL_MLA_H

#include "model/forward.h"

enum { MLA_FEW = 4 };

/* workspace.x → workspace.out; the new tokens' rows join the caches. */
ERR_MUST_USE err mla_forward(struct forward *f, size_t layer);

/* Scratch floats mla_forward needs for max_tokens tokens. */
size_t mla_scratch(const struct config *c, size_t max_tokens);

/* Would n tokens at position pos cost fewer operations in expanded form? */
bool mla_prefers_expanded(const struct config *c, size_t pos, size_t n);

#endif

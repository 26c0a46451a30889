/* model/gqa.h: grouped-query attention of the Qwen2 and Llama classes. */
#ifndef MODEL_GQA_H
#define MODEL_GQA_H

#include "model/forward.h"

/* x [T, d] → q [T, H, head_dim], k and v [T, KV, head_dim]; q and k rotated; k and v join the cache;
 * causal attention; out [T, d] = heads Wo^T. */
ERR_MUST_USE err gqa_forward(struct forward *f, size_t layer);

#endif

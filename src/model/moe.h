/* model/moe.h: DeepSeekMoE: routed experts that each see the tokens sent to them, plus shared experts
 * that see all. All experts of a layer go through the matrices as one batch. */
#ifndef MODEL_MOE_H
#define MODEL_MOE_H

#include "model/forward.h"

/* out = sum_k weight_k expert_k(x) + shared(x) */
ERR_MUST_USE err moe_forward(struct forward *f, size_t layer);

#endif

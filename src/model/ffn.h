/* model/ffn.h: the dense feed-forward block: down( silu(gate x) * up x ). */
#ifndef MODEL_FFN_H
#define MODEL_FFN_H

#include "model/forward.h"

ERR_MUST_USE err ffn_forward(struct forward *f, size_t layer);

#endif

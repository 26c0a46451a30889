/* model/absorb.h: the two halves of MLA's kv_b, per head, in the two orders attention needs them.
 * Rows of kv_b [H * (nope + v), kv_lora] are, per head, nope rows that make keys, then v rows that make
 * values. Expanded attention multiplies latents by both as they are; absorbed attention multiplies
 * queries by the transposed key half (DeepSeek-V2 paper, section 2.1). */
#ifndef MODEL_ABSORB_H
#define MODEL_ABSORB_H

#include "model/weights.h"

/* From one kv_b tensor: values and keys are views of it, k_absorb is made (f32 and 16-bit sources keep
 * their type, FP8 becomes f32, block types bf16, whose rounding is far below their own). */
ERR_MUST_USE err absorb_from_joined(struct weights *w, const struct config *c,
                                    const struct tensor *kv_b, struct weights_layer *layer);
/* From GGUF's k_b [H, kv_lora, nope] and v_b [H, v, kv_lora]: the views are those, k_up is made. */
ERR_MUST_USE err absorb_from_split(struct weights *w, const struct config *c,
                                   const struct tensor *k_b, const struct tensor *v_b,
                                   struct weights_layer *layer);

#endif

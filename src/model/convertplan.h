/* model/convertplan.h: the list of tensors a file will hold and how each is made: from Hugging Face
 * names to GGUF's, back, or from one GGUF file to another of smaller types. Differences between the two
 * worlds: names (weightnames.h); all experts of a layer in one tensor or each in its own; kv_b whole or
 * split into k_b (transposed per head) and v_b; the rows of Llama's q and k, which GGUF keeps with the
 * halves of a rotary pair side by side; llama3 rope scaling as config fields or as a tensor of divisors. */
#ifndef MODEL_CONVERTPLAN_H
#define MODEL_CONVERTPLAN_H

#include "model/imatrix.h"
#include "model/quantmix.h"
#include "model/recipe.h"

struct convertplan {
    struct recipe *items;
    size_t n, cap;
    float divisors[CONFIG_ROPE_MAX / 2]; /* rope_freqs.weight, when one is made */
};

/* The plan must stay where it is; the table and the imatrix must outlive it. Errors name the tensor
 * that is missing, or has another shape than the config says, or a type that cannot be decoded. The
 * config's MTP layers must be there for the first two. */
ERR_MUST_USE err convertplan_to_gguf(struct convertplan *p, const struct config *c,
                                     const struct tensortable *in, const struct quantmix *mix,
                                     struct errinfo *info);
/* Every tensor in `type`; the router's selection bias always f32. */
ERR_MUST_USE err convertplan_to_folder(struct convertplan *p, const struct config *c,
                                       const struct tensortable *in, enum dtype type,
                                       struct errinfo *info);
/* Same names, new types; `m` may be NULL. */
ERR_MUST_USE err convertplan_requantize(struct convertplan *p, const struct tensortable *in,
                                        const struct quantmix *mix, const struct imatrix *m,
                                        struct errinfo *info);
void convertplan_deinit(struct convertplan *p); /* a zeroed struct is fine */

/* Bytes of all results. */
size_t convertplan_bytes(const struct convertplan *p);

#endif

/* model/weightnames.h: what every tensor is called in Hugging Face folders and in GGUF files. */
#ifndef MODEL_WEIGHTNAMES_H
#define MODEL_WEIGHTNAMES_H

#include "formats/tensortable.h"

enum weightnames_scheme { WEIGHTNAMES_HF, WEIGHTNAMES_GGUF };

enum weightnames_id {
    WEIGHTNAMES_EMBED,
    WEIGHTNAMES_NORM,
    WEIGHTNAMES_HEAD,
    /* per layer */
    WEIGHTNAMES_ATTN_NORM,
    WEIGHTNAMES_FFN_NORM,
    WEIGHTNAMES_Q,
    WEIGHTNAMES_K,
    WEIGHTNAMES_V,
    WEIGHTNAMES_Q_BIAS,
    WEIGHTNAMES_K_BIAS,
    WEIGHTNAMES_V_BIAS,
    WEIGHTNAMES_O,
    WEIGHTNAMES_Q_A,
    WEIGHTNAMES_Q_A_NORM,
    WEIGHTNAMES_Q_B,
    WEIGHTNAMES_KV_A,
    WEIGHTNAMES_KV_A_NORM,
    WEIGHTNAMES_KV_B,
    WEIGHTNAMES_K_B, /* GGUF only */
    WEIGHTNAMES_V_B, /* GGUF only */
    WEIGHTNAMES_GATE,
    WEIGHTNAMES_UP,
    WEIGHTNAMES_DOWN,
    WEIGHTNAMES_SHARED_GATE,
    WEIGHTNAMES_SHARED_UP,
    WEIGHTNAMES_SHARED_DOWN,
    WEIGHTNAMES_ROUTER,
    WEIGHTNAMES_ROUTER_BIAS,
    /* of multi-token-prediction layers, which also have all of the above */
    WEIGHTNAMES_MTP_JOIN,
    WEIGHTNAMES_MTP_EMBED_NORM,
    WEIGHTNAMES_MTP_HIDDEN_NORM,
    WEIGHTNAMES_MTP_EMBED,
    WEIGHTNAMES_MTP_NORM,
    WEIGHTNAMES_MTP_HEAD,
    /* per expert in Hugging Face folders, all experts of a layer in GGUF files */
    WEIGHTNAMES_EXPERT_GATE,
    WEIGHTNAMES_EXPERT_UP,
    WEIGHTNAMES_EXPERT_DOWN,
    WEIGHTNAMES_COUNT
};

/* Which scheme a table follows, by the name of its embedding. ERR_CORRUPT when neither is there. */
ERR_MUST_USE err weightnames_detect(const struct tensortable *table, enum weightnames_scheme *out,
                                    struct errinfo *info);

/* The full name; layer and expert are ignored where the name has none. "" when the scheme does not
 * know the tensor. */
void weightnames_format(enum weightnames_scheme scheme, enum weightnames_id id, size_t layer,
                        size_t expert, char out[TENSORTABLE_NAME_MAX + 1]);

#endif

/* model/quantmix.h: which type each tensor gets when a model is quantised. A plain type name gives
 * every matrix that type; a mix (q4_k_m …) spends more bits where errors hurt most, by the rules GGUF
 * users know from llama.cpp: the head, the value projection and some layers' down projection. What
 * does not fit a type's block falls back to the next one that does. */
#ifndef MODEL_QUANTMIX_H
#define MODEL_QUANTMIX_H

#include "model/config.h"
#include "tensor/dtype.h"

enum quantmix_kind {
    QUANTMIX_UNIFORM,
    QUANTMIX_Q2_K,
    QUANTMIX_Q3_K_M,
    QUANTMIX_Q4_K_S,
    QUANTMIX_Q4_K_M,
    QUANTMIX_Q5_K_S,
    QUANTMIX_Q5_K_M,
};

struct quantmix {
    const char *name; /* "q4_k_m" …, static */
    enum quantmix_kind kind;
    enum dtype base;
    size_t n_layers;
    bool tied;      /* the embedding is also the head */
    bool wide_gqa;  /* at least 4 query heads per key head */
    bool is_70b;    /* 80 layers with grouped queries: attn_v is small and gets Q5_K at least */
    int ggml_ftype; /* general.file_type of such a file */
    bool has_dense;   /* quantmix_set_dense was called */
    enum dtype dense; /* then: what every matrix gets but the routed experts' */
};

/* `name`: a type quantize_has, or a mix; case does not matter. ERR_ARGUMENT lists what is known. */
ERR_MUST_USE err quantmix_init(struct quantmix *mix, const char *name, const struct config *c,
                               struct errinfo *info);

/* The mix holds for the routed experts alone; all other matrices get the plain type `name`. They are few in a
 * mixture of experts and every token goes through them, so they are worth more bits. ERR_ARGUMENT: `name` is no
 * plain type, or the model has no routed experts. */
ERR_MUST_USE err quantmix_set_dense(struct quantmix *mix, const char *name, const struct config *c,
                                    struct errinfo *info);

/* The type for one tensor of a GGUF name and shape (outermost first). Vectors, the router and what
 * else must stay exact get F32. */
enum dtype quantmix_type(const struct quantmix *mix, const char *name, uint32_t rank,
                         const size_t *shape);
/* Whether that is not the type the mix wanted, because the rows do not fit its block. */
bool quantmix_falls_back(const struct quantmix *mix, const char *name, uint32_t rank,
                         const size_t *shape);

/* The i-th name quantmix_init knows, largest type first; NULL past the end. */
const char *quantmix_name_at(size_t i);

#endif

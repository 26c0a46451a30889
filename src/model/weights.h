/* model/weights.h: the tensors of a model, found in a table under their Hugging Face or GGUF names,
 * checked against the config and sorted into layers. Matrices stay where the file maps them; what is
 * owned here is small: norms, biases and router weights as f32, and the rearranged halves of kv_b
 * (absorb.h). Shapes in brackets: d hidden_size, H heads, E experts. Immutable once bound. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "formats/tensortable.h"
#include "model/config.h"

/* down( silu(gate x) * up x ) */
struct weights_mlp {
    struct tensor gate, up; /* [ff, d] */
    struct tensor down;     /* [d, ff] */
};

struct weights_layer {
    const float *attn_norm, *ffn_norm; /* [d] */
    struct tensor o;                   /* [d, H * v_dim] */

    /* GQA */
    struct tensor q, k, v;                    /* [H or KV * head_dim, d]; q also for MLA without q_a */
    const float *q_bias, *k_bias, *v_bias;    /* NULL when the class has none */

    /* MLA */
    struct tensor q_a, q_b;              /* [q_lora, d], [H * qk_dim, q_lora]; absent: q is direct */
    struct tensor kv_a;                  /* [kv_lora + rope, d] */
    const float *q_a_norm, *kv_a_norm;   /* [q_lora], [kv_lora] */
    const struct tensor *k_up;           /* per head [nope, kv_lora]: latent to keys (expanded) */
    const struct tensor *k_absorb;       /* per head [kv_lora, nope]: query to latent (absorbed) */
    const struct tensor *v_up;           /* per head [v_dim, kv_lora]: latent to values (both) */

    /* FFN */
    struct weights_mlp mlp;              /* dense layer, or the shared experts as one; may be absent */
    struct tensor router;                /* [E, d], f32; absent in dense layers */
    const float *router_bias;            /* [E] selection bias, NULL when there is none */
    const struct weights_mlp *experts;   /* [E] */
};

/* A multi-token-prediction layer (mtp.h): a layer like the last ones, and what joins it to the others. */
struct weights_mtp {
    const float *embed_norm, *hidden_norm, *norm; /* [d] */
    struct tensor join;                           /* [d, 2d]: embedding half first */
    struct tensor embed, head; /* [vocab, d]; the model's own where the files have no others */
    struct weights_layer layer;
};

struct weights_block; /* memory owned by a struct weights */

struct weights {
    struct tensor embed; /* [vocab, d] */
    struct tensor head;  /* [vocab, d]; the embedding again when tied */
    const float *norm;   /* [d] */
    const struct weights_layer *layers;
    size_t n_layers;
    const struct weights_mtp *mtp; /* the first one; NULL when the files have none */
    struct weights_block *blocks;
};

/* Binds every tensor the config asks for. `table` and the memory it points into must outlive *out.
 * ERR_CORRUPT names the tensor that is missing or has another shape (found and needed);
 * ERR_UNSUPPORTED names the tensor whose type cannot be computed with. Tensors that nothing asks for
 * (further MTP layers, rotary tables) are left alone; an MTP layer the config speaks of may be missing, but
 * not half of it. */
ERR_MUST_USE err weights_bind(const struct config *config, const struct tensortable *table,
                              struct weights *out, struct errinfo *info);
void weights_deinit(struct weights *w); /* a zeroed struct is fine */

/* Memory that lives as long as `w`, 64-byte aligned; NULL when short. For the binding code. */
void *weights_own(struct weights *w, size_t n, size_t size);

/* Calls `each` for every matrix and vector as decoding uses it, `share` being the part of it that one
 * token reads: K/E for experts, 0 for the embedding, 1 otherwise. A tied head is visited once, as head;
 * of kv_b the absorbed halves are visited. */
typedef void (*weights_visitor)(void *user, const struct tensor *t, double share);
void weights_visit(const struct weights *w, const struct config *c, weights_visitor each, void *user);
/* The same for one guess of the MTP layer, its head included; weights_visit leaves that layer out. */
void weights_visit_mtp(const struct weights_mtp *m, const struct config *c, weights_visitor each,
                       void *user);

#endif

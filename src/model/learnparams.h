/* model/learnparams.h: the parameters of a model that learns: all of inventory.h's tensors, their gradients,
 * and the copies that matrix products read.
 *
 * Exact mode, for checking: float64 throughout. Otherwise values and gradients are float32, and matrices have a
 * bfloat16 copy besides (`work`), made again by learnparams_refresh after every change of the values. */
#ifndef MODEL_LEARNPARAMS_H
#define MODEL_LEARNPARAMS_H

#include "base/rng.h"
#include "formats/tensortable.h"
#include "model/config.h"
#include "tensor/learnops.h"

enum learnparams_kind {
    LEARNPARAMS_MATRIX,    /* of a layer: [out, in], or several of them one below the other */
    LEARNPARAMS_EMBEDDING, /* the tables of tokens, positions and pairs, and the head */
    LEARNPARAMS_ROUTER,
    LEARNPARAMS_VECTOR,    /* the weights of a norm, a bias, the two of a skip */
    LEARNPARAMS_BALANCE,   /* the router's selection bias: no gradient */
};

struct learnparam {
    char name[64]; /* as in GGUF */
    enum learnparams_kind kind;
    size_t n_matrices;         /* 1, or experts or heads */
    struct mat value, grad;    /* [n_matrices * rows, cols]; vectors are [1, n] */
    struct mat work;           /* what products read; vectors: value itself */
    uint32_t rank;
    size_t shape[TENSOR_RANK_MAX];
};

struct learnparams_layer { /* NULL: not in this layer */
    struct learnparam *attn_norm, *ffn_norm, *o;
    struct learnparam *q, *q_a, *q_a_norm, *q_b;              /* MLA has q or the other three */
    struct learnparam *kv_a, *kv_a_norm, *k_b, *v_b;          /* MLA; per head [kv_lora, nope], [v, kv_lora] */
    struct learnparam *k, *v;                                 /* GQA */
    struct learnparam *x0_skip, *value_residual;              /* [1, 2] (learnskip.h) */
    struct learnparam *gate, *up, *down;                      /* dense, or the shared experts */
    struct learnparam *qkv, *attn_norm_bias, *qkv_bias, *o_bias;       /* GPT-2 */
    struct learnparam *ffn_norm_bias, *up_bias, *down_bias;
    struct learnparam *router, *balance, *expert_gate, *expert_up, *expert_down;
};

struct learnparams_mtp {
    struct learnparam *join, *embed_norm, *hidden_norm, *norm;
};

struct learnparams {
    bool exact;
    struct compute *compute; /* borrowed: whose threads refresh and clear; NULL: one thread, slowly */
    struct learnparam *all; /* [n], in file order */
    size_t n;
    size_t n_values;        /* of all parameters together */
    struct learnparam *embed, *norm, *head; /* head is embed when they are tied */
    struct learnparam *places, *norm_bias;  /* GPT-2: the table of positions; NULL without */
    struct learnparam *bigrams;             /* with bigram_vocab_size; NULL without */
    struct learnparams_layer *layers;       /* num_hidden_layers, then one for each MTP layer */
    struct learnparams_mtp *mtp;            /* NULL without */
    void *memory;
};

/* Values are 0 but for norms, which are 1, and the weights of skips (learnskip.h). ERR_UNSUPPORTED for what
 * cannot learn yet: Qwen2's biases. Bytes: 10 per parameter, exact 16. `c` is borrowed during the call only. */
ERR_MUST_USE err learnparams_new(const struct config *c, bool exact, struct learnparams **out,
                                 struct errinfo *info);
void learnparams_free(struct learnparams *p); /* NULL is fine */
/* Names and shapes alone: no value has memory. For planning. */
ERR_MUST_USE err learnparams_list(const struct config *c, bool exact, struct learnparams **out,
                                  struct errinfo *info);
size_t learnparams_size(const struct learnparams *p); /* bytes of values, gradients and copies */

/* Normal values for all matrices, deviation gain / sqrt(cols), or std where that is above 0; embeddings
 * embed_std, those of pairs 0; a head of its own head_std; routers as matrices; what writes to the residual
 * stream (o, down) times out_gain. */
struct learnparams_init {
    double gain, out_gain, std, embed_std, head_std;
    uint64_t seed;
};
/* With all threads of the compute, whose number changes no value. */
void learnparams_randomise(struct learnparams *p, const struct learnparams_init *init);

void learnparams_refresh(struct learnparams *p); /* work from values */
void learnparams_zero_grad(struct learnparams *p);

/* Matrix i of a param's value, grad or work. */
struct mat learnparams_matrix(const struct learnparam *p, struct mat of, size_t i);

struct learnparam *learnparams_find(const struct learnparams *p, const char *name); /* NULL: none */

/* The values as a table that model_from_tensors takes; they stay where they are (not in exact mode). A layer of
 * multi-token prediction has no embedding and no head of its own there: whoever reads it takes the model's.
 * Release with tensortable_free. */
ERR_MUST_USE err learnparams_table(const struct learnparams *p, struct tensortable **out, struct errinfo *info);

/* The values, and their copies, from the tensors of a model that exists: under GGUF or Hugging Face names, of
 * any type, as weights_bind takes them, with its errors; `c` is the config of both. ERR_CORRUPT also when the
 * config has an MTP layer and the tensors have none, ERR_UNSUPPORTED when it has several. An MTP layer learns
 * with the model's own embedding and head, whatever its tensors bring. After an error: as before. Rows of
 * q and k are in the order that c->rope_pairs names, so write them out under the same config. */
ERR_MUST_USE err learnparams_from_tensors(struct learnparams *p, const struct config *c,
                                          const struct tensortable *table, struct errinfo *info);

#endif

/* model/learnmodel.h: a whole model for learning: the loss of a batch and its gradients. DeepSeek's
 * classes: multi-head latent attention, dense or with experts, multi-token prediction (mtp.h); Llama's:
 * grouped-query attention; and GPT-2's (learngpt2.h).
 *
 *     loss = sum of next-token losses * token_scale
 *          + sum of the losses one token further * mtp_scale        (with an MTP layer)
 *          + sum over layers and sequences of balance losses * balance_scale
 *
 * With bigram_vocab_size, what goes into the first layer is the token's embedding plus that of its pair: a row
 * of a second table that the token and the one before it hash to (a document's first: the token alone). After
 * the hashed n-gram embeddings of "fastText" (Bojanowski and others, 2017); not in any published class.
 *
 * With x0_skip, what goes into the first layer is normed, without weights; that and value_residual are in
 * learnskip.h, qk_norm in learnmla.h and learngqa.h.
 *
 * Thread rule: one call at a time; inside it all threads of the compute are used. */
#ifndef MODEL_LEARNMODEL_H
#define MODEL_LEARNMODEL_H

#include "model/learnlayer.h"

struct learnmodel_options {
    bool exact;          /* float64 throughout: for checking */
    bool recompute;      /* keep only what goes into layers; go through each again before its backward */
    size_t n_sequences, context; /* of a batch */
    double z_loss;       /* times the square of the logarithm of the softmax's denominator */
};

struct learnmodel;

/* `config` is copied; params are made here, values 0. ERR_UNSUPPORTED for classes that do not learn yet. */
ERR_MUST_USE err learnmodel_new(const struct config *config, const struct learnmodel_options *options,
                                struct compute *compute, struct learnmodel **out, struct errinfo *info);
void learnmodel_free(struct learnmodel *m); /* NULL is fine */

/* What a model takes, in bytes, without making it, with so many threads; 0: every core this process may use. */
struct learnmodel_sizes {
    size_t n_values; /* parameters */
    size_t parameters, activations;
};
ERR_MUST_USE err learnmodel_measure(const struct config *config, const struct learnmodel_options *options,
                                    int n_threads, struct learnmodel_sizes *out, struct errinfo *info);

struct learnparams *learnmodel_params(struct learnmodel *m);
const struct config *learnmodel_config(const struct learnmodel *m);

struct learnmodel_batch { /* each [n_sequences * context]; as feed.h fills them */
    const int32_t *tokens, *targets, *positions;
};
struct learnmodel_scales {
    double token, mtp, balance;
};
struct learnmodel_losses {
    double sum, mtp_sum, balance_sum; /* unscaled */
    size_t n, mtp_n;                  /* tokens predicted */
};

/* With scales: adds the gradients of the loss. Without (NULL): the losses alone. ERR_ARGUMENT for a token
 * that is not in the vocabulary. */
ERR_MUST_USE err learnmodel_step(struct learnmodel *m, const struct learnmodel_batch *batch,
                                 const struct learnmodel_scales *scales, struct learnmodel_losses *losses,
                                 struct errinfo *info);

/* The losses of the next token alone, without gradients; the MTP layer does not work. */
ERR_MUST_USE err learnmodel_score(struct learnmodel *m, const struct learnmodel_batch *batch,
                                  struct learnmodel_losses *losses, struct errinfo *info);

/* How many tokens each expert of a layer was chosen by since learnmodel_forget_load; [E], NULL for dense
 * layers. */
const uint64_t *learnmodel_load(const struct learnmodel *m, size_t layer);
void learnmodel_forget_load(struct learnmodel *m);

#endif

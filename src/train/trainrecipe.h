/* train/trainrecipe.h: a training run as a person writes it down: an INI file of sections and `key = value`
 * lines, ';' begins a comment. [model] holds the names of Hugging Face's config.json; [mix] weights of the
 * dataset's sources; all other sections and keys are listed, with ranges and defaults, by trainrecipe_keys.
 *
 *     [model]
 *     model_type = deepseek_v3
 *     hidden_size = 256
 *     ...
 *     [schedule]
 *     tokens = 135e6
 *
 * Unknown sections and keys, a key given twice, numbers out of range: ERR_ARGUMENT with file and line. */
#ifndef TRAIN_TRAINRECIPE_H
#define TRAIN_TRAINRECIPE_H

#include <jansson.h>
#include <stdio.h>

#include "model/config.h"
#include "train/feed.h"

enum { TRAINRECIPE_NAME = 64, TRAINRECIPE_MIX_MAX = 64, TRAINRECIPE_TEXT = 256 };
enum { TRAINRECIPE_SIZE_MAX = 1 << 16 }; /* bytes of a file */

struct trainrecipe {
    char name[TRAINRECIPE_NAME]; /* of the file, without its ending */
    struct config config;
    json_t *given; /* {section: {key: "value"}}: the file's, and overrides; owned */

    /* [data] */
    size_t context;
    uint64_t seed; /* of the order of the text and of the first weights */
    /* [mix] */
    char mix_names[TRAINRECIPE_MIX_MAX][DATASET_NAME];
    double mix_weights[TRAINRECIPE_MIX_MAX];
    size_t n_mix; /* 0: every source by its tokens */
    /* [tasks]: given alone has them, trainertasks.h reads them */
    /* [init] */
    double init_gain, init_std, init_out_gain, init_embed_std, init_head_std;
    char init_from[TRAINRECIPE_TEXT]; /* a model whose weights are taken instead; "": none */
    /* [loss] */
    double mtp_weight, mtp_from, balance_weight, balance_step, z_loss;
    /* [optimizer] */
    int muon; /* of matrices; else AdamW */
    double lr, lr_embeddings, lr_head, lr_routers, lr_vectors;
    double weight_decay, embedding_decay, beta1, beta2, eps, momentum, clip, ema;
    size_t muon_steps;
    /* [schedule] */
    double tokens, ramp_tokens;
    size_t sequences, first_sequences;  /* in a step; first_sequences until ramp_tokens */
    double warmup, decay, final_lr;     /* shares of all steps; a factor */
    int decay_shape;                    /* enum schedule_shape */
    /* [run] */
    size_t micro_sequences; /* that go through the model together */
    int recompute;
    size_t validate_every, validate_rows, checkpoint_every, keep; /* steps; 0: never, at the end only */
    double spike;                                                 /* nats; 0: never */
    char prompt[TRAINRECIPE_TEXT];
    size_t sample_tokens;
    char tasks_format[TRAINRECIPE_TEXT]; /* chat_format_from_name's; "": plain */
};

/* `overrides`: "section.key=value", over what the file says. Release with trainrecipe_deinit. */
ERR_MUST_USE err trainrecipe_read(const char *path, const char *const *overrides, size_t n_overrides,
                                  struct trainrecipe *out, struct errinfo *info);
void trainrecipe_deinit(struct trainrecipe *r); /* a zeroed struct is fine */

/* The first key, [run] aside, that two recipes (trainrecipe.given) do not say alike; NULL: none. */
const char *trainrecipe_difference(const json_t *a, const json_t *b);

/* The table of keys, for people. */
void trainrecipe_keys(FILE *to);

#endif

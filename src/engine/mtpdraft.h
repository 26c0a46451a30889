/* engine/mtpdraft.h: guesses by the model's own multi-token-prediction layer (model_mtp_forward). It needs
 * the main model's output for every position, so it looks on while tokens are read and keeps the last
 * MTPDRAFT_PAST of them; the layer catches up when a guess is wanted. It does not see what lies further
 * back than that at its first guess, or after a pause: its guesses are worse for it, nothing else is.
 * Guesses are sampled as the real tokens will be, with the seed of their place, so that both agree where
 * the layer's logits are like the model's.
 * Thread rule: belongs to its session. */
#ifndef ENGINE_MTPDRAFT_H
#define ENGINE_MTPDRAFT_H

#include "engine/session.h"

enum { MTPDRAFT_PAST = MODEL_MTP_TOKENS };

struct mtpdraft {
    size_t width;      /* hidden_size */
    float *hidden;     /* [2 * MTPDRAFT_PAST, width] the model's outputs at positions first … end - 1 */
    size_t first, end;
    struct kvcache kv; /* of the layer; its rows are the positions before `next` */
    size_t next;       /* position whose output goes through the layer next */
    float *logits;     /* [vocab_size] */
    float *output;     /* [width] */
};

/* For a session of that many positions, of a model that has the layer. ERR_NOMEM. */
ERR_MUST_USE err mtpdraft_init(struct mtpdraft *m, const struct session *s, struct errinfo *info);
void mtpdraft_deinit(struct mtpdraft *m); /* a zeroed struct is fine */

/* The model's outputs x [n, width] at positions `position` and on; what was kept of these before is void. */
void mtpdraft_look(struct mtpdraft *m, size_t position, const float *x, size_t n);
/* Only the first n tokens of the sequence remain. */
void mtpdraft_rewind(struct mtpdraft *m, size_t n);

/* Guesses up to k tokens after the one that waits; there must be room for them in s->tokens, which is used
 * as scratch behind s->n_tokens. *n: how many; 0 when the layer has nothing to go by. *caught_up: positions
 * the layer read for that. */
ERR_MUST_USE err mtpdraft_guess(struct mtpdraft *m, struct session *s, const struct sampling *sampling,
                                size_t k, int32_t *out, size_t *n, size_t *caught_up,
                                struct errinfo *info);

#endif

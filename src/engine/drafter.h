/* engine/drafter.h: speculative decoding of one session: makes a draft of the tokens to come, reads it in
 * one step with the token that waits, and hands out the logits of each place for as long as the tokens
 * sampled from them are the draft's. Every token is sampled from the model's own logits for its place, and
 * a token depends on logits, seed and place alone (sampler.h), so that drafts change the speed and nothing
 * else.
 *
 * That holds bit for bit because a step of several rows gives the bits of single ones: always in
 * deterministic mode, and in the fast mode for up to DRAFTER_FAST_ROWS rows, which go through the same
 * kernels as one (tests/engine/test_drafter.c).
 *
 * To everybody else the session is as if there were no drafts: cache.len counts what was read and is
 * certain; rows of the draft lie behind it, and each is claimed when its token was sampled.
 * Thread rule: belongs to its session. */
#ifndef ENGINE_DRAFTER_H
#define ENGINE_DRAFTER_H

#include "engine/session.h"
#include "engine/speculation.h"

enum { DRAFTER_FAST_ROWS = 4, DRAFTER_MOST = SPECULATION_ROWS_MAX - 1 };

struct drafter;

/* At the start of a generation: makes the session's drafter, or takes it up again with what it has learnt.
 * *out is NULL when nothing is to be guessed. ERR_ARGUMENT, ERR_UNSUPPORTED, ERR_NOMEM. */
ERR_MUST_USE err drafter_begin(struct session *s, const struct generate_options *options,
                               struct drafter **out, struct errinfo *info);
void drafter_free(struct drafter *d); /* NULL is fine */

/* As session_read when one token waits: afterwards s->logits are those after it. `room`: tokens that may
 * still be made, at least 1. */
ERR_MUST_USE err drafter_read(struct drafter *d, struct session *s, const struct sampling *sampling,
                              size_t room, struct errinfo *info);

/* Tokens guessed and tried, and those of them that were right, since drafter_begin. */
void drafter_counts(const struct drafter *d, size_t *drafted, size_t *accepted);

/* What must look on while the session's tokens are read, with the drafter as its user; NULL: nothing. `d` may
 * be NULL. */
model_observer drafter_observer(const struct drafter *d);

/* The session is about to keep only its first n tokens. */
void drafter_rewind(struct drafter *d, const int32_t *tokens, size_t n);

#endif

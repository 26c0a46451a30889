/* engine/sessionfile.h: sessions on disk (session_save and session_load of fathom.h).
 *
 * All numbers little-endian:
 *   "FATHSESS"  u32 version 2  u32 0
 *   char[8] type of the cache, u8[32] identity of the model
 *   u64 vocab_size, n_layers, k_width, v_width, capacity, n_tokens, n_read, answer_start
 *   u32 has_logits, u32 n_held, u8[8] bytes of an unfinished character
 *   i32 tokens[n_tokens], f32 logits[vocab_size] if has_logits
 *   per layer: k rows [n_read, k_width], v rows [n_read, v_width] as the cache stores them
 *   u8[32] BLAKE2b of everything before
 * The identity (identity.h) tells models apart that have the same shape. */
#ifndef ENGINE_SESSIONFILE_H
#define ENGINE_SESSIONFILE_H

#include "engine/session.h"

ERR_MUST_USE err sessionfile_write(const struct session *s, const char *path, struct errinfo *info);
ERR_MUST_USE err sessionfile_read(struct engine *e, const char *path, struct session **out,
                                  struct errinfo *info);

#endif

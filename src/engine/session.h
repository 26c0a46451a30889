/* engine/session.h: the inside of a session, for the files of this folder. Public functions: fathom.h.
 *
 *     tokens:  [ read by the model | waiting to be read ]
 *              0 …… kv.cache.len …………………… n_tokens ≤ capacity
 *
 * `logits` are those of the last read token while has_logits. Every function that fails leaves the
 * session usable: what was read stays read, the rest keeps waiting. */
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "engine/engine.h"
#include "engine/kvcache.h"
#include "text/tokenizer.h"

struct session {
    struct engine *engine;
    struct kvcache kv;
    int32_t *tokens; /* [capacity] */
    size_t n_tokens;
    size_t answer_start; /* tokens from here on were sampled; what presence penalties look at */
    float *logits;       /* [vocab_size] */
    bool has_logits;
    struct tokenizer_stream stream; /* an unfinished character at the end of the answer */
    struct drafter *drafter;        /* guesses ahead; NULL until a generation does (drafter.h) */
};

/* A session of exactly `capacity` positions with a cache of `dtype`; limits already checked. `pool`: where its
 * pages come from, as the owner makes the cache grow (kvcache_grow) before each pass; NULL: reserved at
 * once. */
ERR_MUST_USE err session_make(struct engine *e, size_t capacity, enum dtype dtype, struct kvpool *pool,
                              struct session **out, struct errinfo *info);

/* Reads what waits, in chunks; afterwards has_logits unless the session is empty. */
ERR_MUST_USE err session_read(struct session *s, session_progress progress, void *user,
                              struct errinfo *info);

#endif

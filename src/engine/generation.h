/* engine/generation.h: the generation loop behind session_generate (fathom.h), whole and in steps. */
#ifndef ENGINE_GENERATION_H
#define ENGINE_GENERATION_H

#include "engine/loopguard.h"
#include "engine/session.h"
#include "engine/stopper.h"

ERR_MUST_USE err generation_run(struct session *s, const struct sampling *sampling,
                                const struct generate_options *options, session_callback callback,
                                void *user, struct generate_result *result, struct errinfo *info);

/* The steps, for whoever reads several sessions at once (batcher.h):
 *
 *     generation_begin; until finished: { read what waits in the session; generation_step }; generation_end
 *
 * and between the two, where others wait, generation_ready until it is.
 *
 * The pointers given to begin are borrowed until end. options' progress and speculation are the reader's. */
struct generation {
    struct session *session;
    const struct sampling *sampling;
    const struct generate_options *options;
    struct stopper stopper;
    struct loopguard loopguard;
    char *piece; /* text of one token */
    size_t piece_cap;
    uint64_t *allowed; /* [vocab_size bits] with a grammar or min_tokens: what may come next */
    size_t made; /* tokens so far */
    size_t forced; /* of options' think_end: still to come, the last ones */
    bool finished;
    enum session_finish finish; /* why */
};

/* Checks sampling and options. A session that is full is finished from the beginning. */
ERR_MUST_USE err generation_begin(struct generation *g, struct session *s, const struct sampling *sampling,
                                  const struct generate_options *options, struct errinfo *info);
/* The think block ends with the next token, if it has not ended yet (generate_options.think_end). */
void generation_answer_now(struct generation *g);
/* Works out what the grammar lets come next, until progress_clock() says `until`. False: the step would still
 * have to (grammarmask_ready). */
bool generation_ready(struct generation *g, double until);
/* Samples from session.logits, stores and shows one token; it then waits in the session to be read. */
ERR_MUST_USE err generation_step(struct generation *g, session_callback callback, void *user,
                                 struct errinfo *info);
void generation_end(struct generation *g); /* a zeroed struct is fine */

#endif

/* text/grammarmask.h: one answer that must match a grammar: which tokens may come next.
 *
 *     grammarmask_new(grammar, trie, &m, info);
 *     for (…) { grammarmask_next(m, &bits, info); …choose id…; grammarmask_accept(m, id, info); }
 *
 * Whoever has others to serve asks grammarmask_ready first, as often as it takes.
 *
 * What ends an answer (eos) is no text and is the caller's to allow, where grammarmask_may_end. Masks of
 * the states met last are kept: in the middle of a string a step costs a look-up. The work of an answer is
 * bounded (some 40 ns a step of grammarstates.h), so that nobody's grammar takes the machine. Thread rule:
 * one thread at a time; grammar and trie are shared. */
#ifndef TEXT_GRAMMARMASK_H
#define TEXT_GRAMMARMASK_H

#include "text/grammar.h"
#include "text/tokentrie.h"

/* Steps of work. Schemas of several hundred properties or a thousand values need a fifth of these. */
enum {
    GRAMMARMASK_WORK_MAX = 1 << 20,   /* what an answer may have in hand, and begins with */
    GRAMMARMASK_WORK_TOKEN = 1 << 16, /* what each of its tokens adds */
};

struct grammarmask;

/* Both must outlive it. ERR_ARGUMENT when the grammar names a token that the vocabulary does not have. */
ERR_MUST_USE err grammarmask_new(const struct grammar *g, const struct tokentrie *v,
                                 struct grammarmask **out, struct errinfo *info);
void grammarmask_free(struct grammarmask *m); /* NULL is fine */

/* Back to the beginning, for another answer. With `after` at least 0 the grammar begins behind the first
 * token of that id (the end of thinking), and what comes before is free. */
void grammarmask_begin(struct grammarmask *m, int32_t after);

/* Works out what grammarmask_next will say, until progress_clock() says `until` (within a few ms) or it is
 * known. False: it is not, and the next call goes on from there. True also where it fails: grammarmask_next
 * says why. */
bool grammarmask_ready(struct grammarmask *m, double until);
/* Token i may come next when bit i % 64 of (*bits)[i / 64] is set; [vocab_size + 63) / 64], valid until the
 * next call. *bits NULL: whatever may come. ERR_LIMIT as grammarstates_next, and for more work than that. */
ERR_MUST_USE err grammarmask_next(struct grammarmask *m, const uint64_t **bits, struct errinfo *info);
/* May the answer end here? Not before the grammar has begun. */
bool grammarmask_may_end(const struct grammarmask *m);
/* The answer goes on with `id`. ERR_ARGUMENT when the grammar does not allow it; then nothing has changed. */
ERR_MUST_USE err grammarmask_accept(struct grammarmask *m, int32_t id, struct errinfo *info);
/* Likewise with a text, however it is cut into tokens; no token may be waited for. ERR_ARGUMENT with the byte
 * where it fails; ERR_LIMIT. */
ERR_MUST_USE err grammarmask_accept_text(struct grammarmask *m, const char *text, struct errinfo *info);

#endif
